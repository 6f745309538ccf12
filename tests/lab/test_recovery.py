# SPDX-License-Identifier: BSD-2-Clause
"""Customers who have lost their key get a new one by mail."""
import http.client
import json
import re
import threading

import pytest

from agent import Account
from billing import Billing
from lab import wait_until
from mailserver import MailServer
from shopper import Shopper
from test_notices import text_of
from test_selling import APP_URL, TIERS

SAME = "If an account has this email address, we have sent a link to it."


@pytest.fixture
def mail(make):
    server = MailServer()
    make.made.append(server)
    return server


def sell(make, mail, **config):
    smtp = {"server": f"localhost:{mail.port}", "tls": "none", "from": "billing@example.com"}
    return Billing(make, stripe={"app_url": APP_URL}, notices={"smtp": smtp}, **{"tiers": TIERS, **config})


@pytest.fixture
def billing(make, mail):
    return sell(make, mail)


def links(message):
    """The paths of the links in a mail, without the host."""
    return [url[len(APP_URL):] for url in re.findall(r"http://\S+", text_of(message))]


def ask(billing, email):
    browser = Shopper(billing.agent)
    return browser.submit(browser.get("/dashboard/recover"), "/recover", {"email": email})


def recovered(mail):
    """The mails with links, without notices about other things."""
    return [m for m in mail.mails if m["Subject"] == "Get a new API key"]


def known(billing, subscription):
    """The subscription's account with a key, once its mail address is known, which the event does not contain."""
    wait_until(lambda: (a := billing.account_of(subscription.id)) and a["email"], "the address")
    return billing.key_for(subscription.id)


def works(billing, key):
    return billing.agent.get("/", Account("", key, "")).status


def test_a_link_gives_a_new_key_once(billing, mail):
    account = known(billing, billing.subscribe())
    assert "Lost your key?" in Shopper(billing.agent).get("/dashboard").text
    assert SAME in ask(billing, " Ann@Example.com ").text  # as people type it
    message = wait_until(lambda: recovered(mail), "the mail")[0]
    assert message.recipients == ["ann@example.com"]  # as Stripe has it
    (path,) = links(message)
    browser = Shopper(billing.agent)
    page = browser.get(path)
    assert page.status == 200 and not page.key() and page.get("Referrer-Policy") == "no-referrer"
    assert len(json.loads(billing.agent.admin("GET", "/api/v1/keys").body)) == 1  # opening changes nothing
    page = browser.submit(page, "/key")
    assert works(billing, page.key()) == 200 and works(billing, account.key) == 200
    assert account.id in browser.get("/dashboard").text
    again = Shopper(billing.agent)
    assert "already used" in again.submit(again.get(path), "/key").text


def test_the_other_keys_can_be_revoked(billing, mail):
    account = known(billing, billing.subscribe())
    ask(billing, "ann@example.com")
    (path,) = links(wait_until(lambda: recovered(mail), "the mail")[0])
    browser = Shopper(billing.agent)
    page = browser.get(path)
    key = browser.submit(page, "/key", {"revoke": "yes"}).key()
    assert works(billing, key) == 200 and works(billing, account.key) == 401
    assert browser.submit(page, "/key", {"revoke": "yes"}).status == 410
    assert works(billing, key) == 200  # a used link revokes nothing


def test_a_link_that_is_used_many_times_at_once_gives_one_valid_key(billing, mail):
    """Revoking must not revoke a key that another of these requests has shown."""
    account = known(billing, billing.subscribe())
    ask(billing, "ann@example.com")
    (path,) = links(wait_until(lambda: recovered(mail), "the mail")[0])
    browsers = [Shopper(billing.agent) for _ in range(12)]
    pages = [browser.get(path) for browser in browsers]
    answers = []
    threads = [threading.Thread(target=lambda b=b, p=p: answers.append(b.submit(p, "/key", {"revoke": "yes"})))
               for b, p in zip(browsers, pages)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (key,) = [answer.key() for answer in answers if answer.key()]
    assert sorted(answer.status for answer in answers) == [200] + [410] * 11
    assert works(billing, key) == 200 and works(billing, account.key) == 401
    valid = [k for k in json.loads(billing.agent.admin("GET", "/api/v1/keys").body) if not k["revoked"]]
    assert [k["hint"][-4:] for k in valid] == [key[-4:]]


def test_a_used_link_is_logged_with_account_and_key(billing, mail):
    account = known(billing, billing.subscribe())
    ask(billing, "ann@example.com")
    (path,) = links(wait_until(lambda: recovered(mail), "the mail")[0])
    browser = Shopper(billing.agent)
    browser.submit(browser.get(path), "/key", {"revoke": "yes"})
    assert re.search(rf"recovery: account {account.id} has a new key key_\w+, and all others are revoked",
                     billing.agent.log())


def test_more_accounts_than_a_mail_lists_are_mentioned(billing, mail):
    customer = billing.customer()
    for _ in range(21):
        billing.subscribe(customer=customer)
    wait_until(lambda: len(billing.accounts()) == 21, "all accounts")
    ask(billing, "ann@example.com")
    message = wait_until(lambda: recovered(mail), "the mail")[0]
    assert len(set(links(message))) == 20 and "more accounts than we can list" in text_of(message)


def test_all_accounts_of_the_address_are_listed(billing, mail):
    customer = billing.customer()
    accounts = [known(billing, billing.subscribe(price, customer=customer)) for price in ("price_basic", "price_pro")]
    known(billing, billing.subscribe(customer=billing.customer("bob@example.com")))
    ask(billing, "ann@example.com")
    message = wait_until(lambda: recovered(mail), "the mail")[0]
    assert len(links(message)) == 2
    assert all(account.id in text_of(message) for account in accounts)


def test_nobody_learns_who_is_a_customer(billing, mail):
    known(billing, billing.subscribe())
    pages = [ask(billing, email) for email in ("nobody@example.com", "ann@example.com")]
    assert pages[0].status == pages[1].status == 200 and pages[0].text == pages[1].text
    wait_until(lambda: recovered(mail), "the mail")
    assert [m.recipients for m in mail.mails] == [["ann@example.com"]]


def test_mails_are_limited_by_address_and_source(billing, mail):
    known(billing, billing.subscribe())
    assert [ask(billing, "ann@example.com").status for _ in range(4)] == [200, 200, 200, 429]
    assert "try again in 20 minutes" in ask(billing, "ANN@example.com").text
    assert [ask(billing, f"b{i}@example.com").status for i in range(3)] == [200, 200, 429]


def test_mails_are_limited_for_all_sources_together(make, mail):
    billing = sell(make, mail)

    def ask_from(number):
        connection = http.client.HTTPConnection(*billing.agent.address, timeout=20, source_address=(f"127.0.1.{number}", 0))
        connection.request("POST", "/dashboard/recover", f"email=c{number}%40example.com",
                           {"Content-Type": "application/x-www-form-urlencoded"})
        status = connection.getresponse().status
        connection.close()
        return status
    statuses = [ask_from(number) for number in range(1, 131)]
    assert set(statuses[:60]) == {200} and 429 in statuses[60:]


def test_other_sites_cannot_ask_for_mails(billing, mail):
    browser = Shopper(billing.agent)
    for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Origin": "https://evil.example"}):
        for path in ("/dashboard/recover", "/checkout/free"):
            assert browser.post(path, {"email": "ann@example.com"}, **headers).status == 403


def test_a_mail_is_not_sent_after_its_links_have_expired(billing, mail):
    known(billing, billing.subscribe())
    billing.agent.stop()
    for number, expires in enumerate((1, 4000000000)):
        billing.agent.sql("INSERT INTO tasks(queue, id, object, account, created_ms, due_ms, tried_ms, attempts, state, "
                          f"note, body) VALUES('mail', 'recovery:{number}', '', 0, 1, 0, 0, 0, 0, '', "
                          f"""'{{"type": "recovery", "expires": {expires}, "values": {{"email": "a{number}@example.com", """
                          """"links": "x"}}')""")
    billing.agent.start()
    wait_until(lambda: recovered(mail), "the mail that is still useful")
    wait_until(lambda: "its links have expired" in billing.agent.log(), "the other one to be given up")
    assert [m.recipients for m in mail.mails] == [["a1@example.com"]]


def test_invalid_addresses_and_links_are_refused(billing, mail):
    browser = Shopper(billing.agent)
    for email in ("", "x", "a@b c", "a@b\r\nBcc: c@d", "<a@b>", "a" * 130 + "@example.com"):
        page = browser.post("/dashboard/recover", {"email": email})
        assert page.status == 400 and "not a valid email address" in page.text, email
    for path in ("/dashboard/recover/key", "/dashboard/recover/key?link=x", "/dashboard/recover/key?link=" + "a-" * 600):
        assert browser.get(path).status == 404
    known(billing, billing.subscribe())
    ask(billing, "ann@example.com")
    (path,) = links(wait_until(lambda: recovered(mail), "the mail")[0])
    page = browser.get(path)
    action, fields = page.form("/key")
    assert browser.post(action, {**fields, "token": "0" * 64}).status == 403
    assert browser.ask("POST", action, f"link={fields['link']}&token={fields['token']}", Sec_Fetch_Site="cross-site",
                       Content_Type="application/x-www-form-urlencoded").status == 403
    # A link for one purpose is not valid for another.
    for other in ("/dashboard/claim?link=", "/dashboard/start?link="):
        assert browser.get(other + fields["link"]).status == 404
    assert not mail.mails[1:]


def test_without_a_mail_server_there_is_no_recovery(make):
    billing = Billing(make, stripe={"app_url": APP_URL})
    browser = Shopper(billing.agent)
    assert "Lost your key?" not in browser.get("/dashboard").text
    page = browser.get("/dashboard/recover")
    assert page.status == 404 and "contact the provider" in page.text


def test_a_search_through_many_accounts_blocks_nothing(make, mail):
    billing = sell(make, mail, max_accounts=40000)
    billing.agent.stop()
    billing.agent.sql("INSERT INTO accounts(id, status, is_held, created_ms, past_due_ms, tier, customer, subscription, "
                      "label, email) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) "
                      "SELECT i, 'active', 0, 1, 0, 'basic', '', '', '', 'u' || i || '@example.com' FROM n")
    billing.agent.start()
    for number in (1, 29999):
        ask(billing, f"u{number}@example.com")
        wait_until(lambda: [m for m in recovered(mail) if m.recipients == [f"u{number}@example.com"]], "the mail")


def test_the_claim_page_of_another_browser_offers_it(billing):
    session = Shopper(billing.agent).buy()
    billing.fake.pay(session)
    page = Shopper(billing.agent).arrive(session)
    assert page.status == 403 and "Please use your other browser" in page.text and "Get a key by email" in page.text
    page = Shopper(billing.agent).arrive("cs_test_" + "a" * 50)
    assert page.status == 404 and "Order not found" in page.text and "Get a key by email" in page.text


def test_claim_pages_without_a_key_offer_it(billing):
    browser = Shopper(billing.agent)
    session = browser.buy()
    billing.fake.pay(session)
    assert browser.claim(session).key()
    again = browser.arrive(session)
    assert "already shown" in again.text and "Get a key by email" in again.text
    late = Shopper(billing.agent)
    session = late.buy()
    billing.fake.pay(session)
    billing.fake.advance(hours=25)
    page = late.arrive(session)
    assert page.status == 410 and "Get a key by email" in page.text


@pytest.mark.parametrize("name,shown", [("Maps & More", "Maps & More"), (None, "127.0.0.1:1")])
def test_mails_name_the_product(make, mail, name, shown):
    named = {"product_name": name} if name else {}
    billing = Billing(make, stripe={"app_url": APP_URL, **named}, tiers=TIERS, notices={"smtp": {
        "server": f"localhost:{mail.port}", "tls": "none", "from": "billing@example.com"}})
    subscription = billing.subscribe()
    billing.key_for(subscription.id)
    billing.fake.payments(billing.accounts()[0]["customer"], "fails")
    billing.fake.renew(subscription.id)
    ask(billing, "ann@example.com")
    mails = wait_until(lambda: mail.mails if len(mail.mails) == 2 else None, "both mails")
    texts = {m["Subject"]: text_of(m) for m in mails}
    assert f"a new API key for {shown}." in texts["Get a new API key"]
    assert f"A payment for your {shown} subscription (basic) failed." in texts["Your payment failed"]
