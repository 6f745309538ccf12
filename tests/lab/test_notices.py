# SPDX-License-Identifier: BSD-2-Clause
"""Notices to customers: mails to a local server, and webhooks that Stripe's library verifies."""
import email.header
import email.utils
import http.server
import json
import smtplib
import ssl
import subprocess
import threading
import time

import pytest
import stripe

from billing import Billing
from lab import wait_until
from mailserver import MailServer

HOOK_SECRET = "whsec_notices"
PASSWORD = "mail-password"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mail")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-days", "2", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                   check=True, capture_output=True)
    return folder


@pytest.fixture
def mail(make):
    server = MailServer()
    make.made.append(server)
    return server


class Receiver(http.server.ThreadingHTTPServer):
    """Receives webhooks.

    It answers customers' notices with the next of `statuses`, then with 200. What it gets about accounts
    is kept in `of_accounts` instead of `taken`.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Taker)
        self.statuses, self.taken, self.of_accounts = [], [], []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/notices"
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self):
        self.shutdown()
        self.server_close()
        self.thread.join()


class Taker(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        notice, status = json.loads(body), 200
        if notice["type"].startswith("account."):
            self.server.of_accounts.append(notice)
        else:
            status = self.server.statuses.pop(0) if self.server.statuses else 200
            self.server.taken.append((status, self.headers["Tollgate-Signature"], body))
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver(make):
    made = Receiver()
    make.made.append(made)
    return made


def smtp(server, **more):
    return {"server": f"localhost:{server.port}", "tls": "none", "from": "billing@example.com", **more}


def sell(make, notices, grace="7d", **tier):
    return Billing(make, tiers=[{"name": "basic", "prices": ["price_basic"], "grace": grace, **tier}],
                   notices=notices)


def fail_payment(billing):
    sub = billing.subscribe()
    account = billing.key_for(sub.id)
    billing.fake.payments(sub.customer, "fails")
    billing.fake.renew(sub.id)
    billing.wait_account(sub.id, status="past_due")
    return sub, account


def text_of(message):
    """The text of a mail, which has this one part."""
    [part] = message.get_payload()
    assert part.get_content_type() == "text/plain" and part.get_content_charset() == "utf-8"
    return part.get_payload(decode=True).decode()


def test_pythons_library_accepts_the_mail_server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    server = MailServer(tls=context, password=PASSWORD)
    try:
        with smtplib.SMTP("localhost", server.port) as client:
            client.starttls(context=ssl.create_default_context(cafile=certificate / "cert.pem"))
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login("tollgate", "wrong")
            client.login("tollgate", PASSWORD)
            client.sendmail("a@example.com", ["b@example.com"], "Subject: x\r\n\r\n.dot\r\n")
        assert server.mails[0].is_known and server.mails[0].recipients == ["b@example.com"]
        assert server.mails[0].get_payload() == ".dot\r\n"
    finally:
        server.close()


def test_a_failed_payment_is_notified_once_by_mail_and_webhook(make, mail, receiver):
    billing = sell(make, {"smtp": smtp(mail), "webhook": {"url": receiver.url, "secret": HOOK_SECRET}})
    sub, account = fail_payment(billing)
    wait_until(lambda: mail.mails and receiver.taken, "both notices")
    message = mail.mails[0]
    assert message.recipients == ["ann@example.com"] and message["To"] == "<ann@example.com>"
    assert message["Subject"] == "Your payment failed" and message["From"] == "<billing@example.com>"
    assert abs(email.utils.parsedate_to_datetime(message["Date"]).timestamp() - time.time()) < 60
    assert "basic" in text_of(message) and "{{" not in text_of(message)
    status, signature, body = receiver.taken[0]
    assert stripe.WebhookSignature.verify_header(body, signature, HOOK_SECRET, tolerance=300)
    notice = json.loads(body)
    assert notice["type"] == "payment_failed" and notice["values"]["account"] == account.id
    # Repeat the event, the failure, and a start of the agent.
    billing.fake.again(type="customer.subscription.updated")
    billing.fake.advance(days=3)
    billing.fake.settle()
    assert billing.agent.stop() == 0
    billing.agent.start()
    billing.fake.advance(days=2)
    billing.fake.settle()
    # Notices of a second account come after any further notices of the first one.
    fail_payment(billing)
    def failures():
        sent = [json.loads(t[2]) for t in receiver.taken]
        return [t["values"]["account"] for t in sent if t["type"] == "payment_failed"]
    wait_until(lambda: len(failures()) >= 2, "the second account's notice")
    wait_until(lambda: len([m for m in mail.mails if m["Subject"] == "Your payment failed"]) >= 2, "its mail")
    assert len(failures()) == len(set(failures())) == 2
    assert len([m for m in mail.mails if m["Subject"] == "Your payment failed"]) == 2


def test_answers_during_grace_say_when_it_ends(make):
    billing = sell(make, {})
    sub, account = fail_payment(billing)
    answer = billing.agent.get("/", account)
    ends = email.utils.parsedate_to_datetime(answer.get("Tollgate-Grace-Ends")).timestamp()
    assert answer.status == 200 and abs(ends - (time.time() + 7 * 86400)) < 60
    billing.fake.payments(sub.customer, None)
    billing.fake.advance(days=7)
    billing.wait_account(sub.id, status="active")
    assert not billing.agent.get("/", account).get("Tollgate-Grace-Ends")


def test_the_end_of_grace_is_announced(make, receiver):
    billing = sell(make, {"webhook": {"url": receiver.url, "secret": HOOK_SECRET}}, grace="2d")
    fail_payment(billing)
    wait_until(lambda: len(receiver.taken) == 2, "notices of the failure and of the end within two days")
    assert sorted(json.loads(t[2])["type"] for t in receiver.taken) == ["grace_ending", "payment_failed"]


def test_a_suspension_and_the_end_of_a_trial_are_notified(make, receiver):
    billing = sell(make, {"webhook": {"url": receiver.url, "secret": HOOK_SECRET}})
    sub = billing.subscribe(trial_period_days=2)
    billing.wait_account(sub.id, status="trialing")
    wait_until(lambda: receiver.taken, "the trial's notice")
    assert json.loads(receiver.taken[0][2])["type"] == "trial_ending"
    billing.cancel(sub)
    wait_until(lambda: len(receiver.taken) == 2, "the suspension")
    assert json.loads(receiver.taken[1][2])["type"] == "suspended"
    assert json.loads(receiver.taken[1][2])["values"]["status"] == "canceled"


def test_a_used_quota_is_notified_at_80_and_100_percent(make, receiver):
    billing = sell(make, {"webhook": {"url": receiver.url, "secret": HOOK_SECRET}}, quota="10/month")
    account = billing.key_for(billing.subscribe().id)
    assert [billing.status(account) for _ in range(11)] == [200] * 10 + [429]
    assert billing.agent.stop() == 0  # all accounts are checked at the start and every half minute
    billing.agent.start()
    wait_until(lambda: len(receiver.taken) == 2, "both notices")
    assert sorted(json.loads(t[2])["type"] for t in receiver.taken) == ["quota_100", "quota_80"]
    assert json.loads(receiver.taken[0][2])["values"]["quota"] == "10"


def test_notices_that_are_not_accepted_are_retried(make, mail, receiver):
    mail.refusals = [451, None]
    receiver.statuses = [500, 302]
    billing = sell(make, {"smtp": smtp(mail), "webhook": {"url": receiver.url, "secret": HOOK_SECRET}})
    fail_payment(billing)
    wait_until(lambda: mail.mails and len(receiver.taken) == 3, "both notices in the end", timeout=20)
    assert [t[0] for t in receiver.taken] == [500, 302, 200]


def test_a_permanent_refusal_is_logged(make, mail):
    mail.refusals = [550]
    billing = sell(make, {"smtp": smtp(mail)})
    fail_payment(billing)
    wait_until(lambda: "failed, giving up" in billing.agent.log(), "a line in the log")
    assert not mail.mails


def test_a_notice_survives_a_crash_of_the_agent(make, receiver):
    port = receiver.server_address[1]
    receiver.close()
    make.made.remove(receiver)
    billing = sell(make, {"webhook": {"url": f"http://127.0.0.1:{port}/x", "secret": HOOK_SECRET}})
    fail_payment(billing)
    wait_until(lambda: "failed, will retry" in billing.agent.log(), "a try")
    billing.agent.kill()
    again = Receiver()
    make.made.append(again)
    billing.agent.configure(notices={"webhook": {"url": again.url, "secret": HOOK_SECRET}})
    billing.agent.start()
    wait_until(lambda: again.taken, "the notice", timeout=20)


def test_mail_goes_over_tls_with_a_login(make, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    server = MailServer(tls=context, password=PASSWORD)
    make.made.append(server)
    login = {"tls": "starttls", "user": "tollgate", "ca_file": str(certificate / "cert.pem")}
    billing = sell(make, {"smtp": smtp(server, password="wrong-secret", **login)})
    fail_payment(billing)
    wait_until(lambda: "failed, will retry" in billing.agent.log(), "the refused login")
    assert "wrong-secret" not in billing.agent.log() and not server.mails
    billing.agent.configure(notices={"smtp": smtp(server, password=PASSWORD, **login)})
    billing.agent.cli("reload")
    wait_until(lambda: server.mails, "the mail", timeout=20)
    assert server.mails[0].is_tls and server.mails[0].is_known


def test_a_server_that_cannot_be_trusted_gets_no_mail(make, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    server = MailServer(tls=context)
    make.made.append(server)
    billing = sell(make, {"smtp": smtp(server, tls="starttls")})
    fail_payment(billing)
    wait_until(lambda: "failed, will retry" in billing.agent.log(), "a try")
    assert not server.mails


def test_the_operators_texts_replace_the_built_in_ones(make, mail, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "payment_failed.txt").write_text("Subject: Zahlung für {{tier}} — offen\n\nGuten Tag {{email}}\n")
    billing = sell(make, {"smtp": smtp(mail), "templates": str(tmp_path / "texts")})
    fail_payment(billing)
    wait_until(lambda: mail.mails, "the mail")
    subject = str(email.header.make_header(email.header.decode_header(mail.mails[0]["Subject"])))
    assert subject == "Zahlung für basic — offen"
    assert text_of(mail.mails[0]) == "Guten Tag ann@example.com\n"


def test_an_invalid_text_is_reported_by_check(make, tmp_path):
    (tmp_path / "suspended.txt").write_text("Subject: {{nonsense}}\n\nx\n")
    billing = Billing(make, start=False, notices={"templates": str(tmp_path)})
    billing.agent.configure()
    checked = billing.agent.cli("check", "-c", billing.agent.config_path, check=False)
    assert checked.returncode == 1 and "unknown placeholder: nonsense" in checked.stderr


# What the operator's webhook gets about accounts.

def tell(make, receiver, mail=None, **config):
    tiers = [{"name": "basic", "prices": ["price_basic"], "grace": "2d"}, {"name": "pro", "prices": ["pro_monthly"]}]
    notices = {"webhook": {"url": receiver.url, "secret": HOOK_SECRET}, **({"smtp": smtp(mail)} if mail else {})}
    return Billing(make, tiers=tiers, notices=notices, stripe={"on_dispute": "suspend"}, **config)


def told(receiver, count):
    """The first @count of what was told, as (type, tier, what was added)."""
    wait_until(lambda: len(receiver.of_accounts) >= count, f"{count} webhooks about accounts")
    return [(n["type"], n["values"]["tier"], n["values"].get("old_tier") or n["values"].get("reason"))
            for n in receiver.of_accounts]


def test_the_webhook_is_told_what_stripe_does_to_accounts(make, mail, receiver):
    billing = tell(make, receiver, mail)
    sub = billing.subscribe()
    account = billing.key_for(sub.id)
    assert told(receiver, 1) == [("account.created", "basic", None)]
    assert receiver.of_accounts[0]["values"]["account"] == account.id
    billing.change(sub, items=[{"id": sub["items"].data[0].id, "price": "price_pro"}])
    assert told(receiver, 2)[1:] == [("account.tier_changed", "pro", "basic")]
    billing.fake.again()  # the same events once more
    assert billing.agent.stop() == 0
    billing.agent.start()
    billing.cancel(sub)
    assert told(receiver, 3)[2:] == [("account.suspended", "pro", "canceled")]
    assert not [m for m in mail.mails if "account." in m.as_string()]
    second = billing.subscribe()
    dispute = billing.fake.dispute(stripe.Charge.list(customer=second.customer, **billing.auth()).data[0].id)
    assert told(receiver, 5)[3:] == [("account.created", "basic", None), ("account.suspended", "basic", "dispute")]
    billing.fake.move_dispute(dispute["id"], "won")
    billing.wait_account(second.id, entitled=True)
    assert len(receiver.of_accounts) == 5


def test_the_webhook_is_told_what_the_operator_does_to_accounts(make, receiver):
    billing = tell(make, receiver)
    made = json.loads(billing.agent.admin("POST", "/api/v1/accounts", {"tier": "basic"}).body)["id"]
    billing.agent.cli("account", "set", made, "--tier", "pro")
    billing.agent.cli("account", "set", made, "--label", "a friend")
    billing.agent.cli("account", "suspend", made)
    billing.agent.cli("account", "resume", made)
    billing.agent.cli("account", "set", made, "--status", "unpaid")
    assert told(receiver, 4) == [("account.created", "basic", None), ("account.tier_changed", "pro", "basic"),
                                 ("account.suspended", "pro", "held"), ("account.suspended", "pro", "unpaid")]


def test_the_webhook_is_told_of_each_change_although_the_agent_crashes(make, receiver):
    billing = tell(make, receiver)
    made = json.loads(billing.agent.admin("POST", "/api/v1/accounts", {"tier": "basic"}).body)["id"]
    wanted = [("account.created", "basic", None)]
    for tier, old in (("pro", "basic"), ("basic", "pro")) * 3:
        billing.agent.cli("account", "set", made, "--tier", tier)
        billing.agent.kill()
        billing.agent.start()
        wanted.append(("account.tier_changed", tier, old))
    # One that was sent just before a crash may come twice, with the same ID.
    wait_until(lambda: len({n["id"] for n in receiver.of_accounts}) == len(wanted), "all of them")
    by_id = {n["id"]: (n["type"], n["values"]["tier"], n["values"].get("old_tier")) for n in receiver.of_accounts}
    assert sorted(by_id.values(), key=str) == sorted(wanted, key=str)


def test_the_webhook_is_told_that_grace_is_over_for_an_account_of_the_operator(make, receiver):
    billing = tell(make, receiver)
    billing.agent.configure(tiers=[{"name": "basic", "prices": ["price_basic"], "grace": "0s"}])
    billing.agent.reload()
    made = json.loads(billing.agent.admin("POST", "/api/v1/accounts", {"tier": "basic"}).body)["id"]
    billing.agent.cli("account", "set", made, "--status", "past_due")
    assert told(receiver, 2) == [("account.created", "basic", None), ("account.suspended", "basic", "grace_over")]
    billing.agent.cli("account", "set", made, "--status", "canceled")  # it has lost its access already
    billing.agent.cli("account", "set", made, "--status", "active")
    billing.agent.cli("account", "suspend", made)
    assert told(receiver, 3)[2:] == [("account.suspended", "basic", "held")]


def test_the_end_of_grace_is_not_told_of_an_account_that_is_held(make, receiver):
    billing = tell(make, receiver)
    billing.agent.configure(tiers=[{"name": "basic", "prices": ["price_basic"], "grace": "0s"}])
    billing.agent.reload()
    made = json.loads(billing.agent.admin("POST", "/api/v1/accounts", {"tier": "basic"}).body)["id"]
    billing.agent.cli("account", "suspend", made)
    billing.agent.cli("account", "set", made, "--status", "past_due")
    other = json.loads(billing.agent.admin("POST", "/api/v1/accounts", {"tier": "basic"}).body)["id"]
    billing.agent.cli("account", "set", other, "--status", "past_due")
    told(receiver, 4)  # the check of all accounts has come to both
    assert [n["values"]["reason"] for n in receiver.of_accounts
            if n["values"]["account"] == made and n["type"] == "account.suspended"] == ["held"]


def test_the_webhook_is_told_when_grace_is_over(make, receiver):
    billing = tell(make, receiver)
    billing.agent.configure(tiers=[{"name": "basic", "prices": ["price_basic"], "grace": "0s"}])
    billing.agent.reload()
    fail_payment(billing)
    assert told(receiver, 2)[1:] == [("account.suspended", "basic", "grace_over")]
    assert sorted(json.loads(t[2])["type"] for t in receiver.taken) == ["payment_failed", "suspended"]
