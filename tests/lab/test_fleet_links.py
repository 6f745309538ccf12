# SPDX-License-Identifier: BSD-2-Clause
"""Links in mails at several hosts that share a Redis: what one host has given out, no other gives again."""
import json
import threading

from agent import Account
from lab import Loopback, wait_until
from mailserver import MailServer
from shopper import Shopper
from test_fleet_billing import FleetBilling, Forward
from test_recovery import links
from test_selling import APP_URL

SMTP_PORT = 9125  # on each host's loopback
TIERS = [{"name": "free", "self_service": True}]


def sell(make):
    mail = MailServer()
    make.made.append(mail)
    smtp = {"server": f"localhost:{SMTP_PORT}", "tls": "none", "from": "billing@example.com"}
    billing = FleetBilling(make, tiers=TIERS, stripe={"app_url": APP_URL}, notices={"smtp": smtp})
    for host in billing.hosts:
        make.made.append(Forward(host.place, "edge", SMTP_PORT, Loopback(), "edge", lambda: [("127.0.0.1", mail.port)]))
    return billing, mail


def ask(host, path, form, **fields):
    with host.place.inside("client"):
        browser = Shopper(host)
        assert browser.submit(browser.get(path), form, {"email": "zoe@example.com"}, **fields).status == 200


def mailed(mail, subject):
    found = wait_until(lambda: [m for m in mail.mails if m["Subject"] == subject], f"a mail '{subject}'")
    (path,) = links(found[-1])
    return path


def press_everywhere(billing, path, form, values=None):
    """Presses the button of the link four times at each host, all at once. Returns the answers."""
    answers = []

    def press(host):
        with host.place.inside("client"):
            browser = Shopper(host)
            page = browser.get(path)
            ready.wait()
            answers.append(browser.submit(page, form, values))
    ready = threading.Barrier(4 * len(billing.hosts))
    threads = [threading.Thread(target=press, args=(host,)) for host in billing.hosts for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == len(threads)
    return answers


def wait_works(billing, key):
    wait_until(lambda: [host.get("/", Account("", key, "")).status for host in billing.hosts] == [200] * 3, "the key")


def test_links_work_once_at_all_hosts_together(make):
    billing, mail = sell(make)
    ask(billing.hosts[0], "/pricing", "/checkout/free", tier="free")
    path = mailed(mail, "Confirm your email address")
    answers = press_everywhere(billing, path, "/start")
    (first,) = [a.key() for a in answers if a.key()]
    assert {a.status for a in answers} <= {200, 503}  # 503: the account is not known there yet
    assert all("already shown" in a.text for a in answers if a.status == 200 and not a.key())
    wait_works(billing, first)
    for host in billing.hosts:
        assert len(json.loads(host.admin("GET", "/api/v1/accounts").body)) == 1

    ask(billing.hosts[1], "/dashboard/recover", "/recover")
    path = mailed(mail, "Get a new API key")
    answers = press_everywhere(billing, path, "/key", {"revoke": "yes"})
    (second,) = [a.key() for a in answers if a.key()]
    assert sorted(a.status for a in answers) == [200] + [410] * 11
    wait_works(billing, second)
    wait_until(lambda: [host.get("/", Account("", first, "")).status for host in billing.hosts] == [401] * 3, "the end")
