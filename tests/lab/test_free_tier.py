# SPDX-License-Identifier: BSD-2-Clause
"""Visitors take a free tier with a confirmed mail address, without Stripe."""
import json
import threading

import pytest
import stripe

from agent import Account
from lab import wait_until
from shopper import Shopper
from test_recovery import links, mail, sell  # noqa: F401  (a fixture)
from test_selling import TIERS

FREE = [*TIERS[:3], {"name": "free", "rate": "10/s", "self_service": True}]


@pytest.fixture
def billing(make, mail):  # noqa: F811
    return sell(make, mail, tiers=FREE)


def ask(billing, email="zoe@example.com", tier="free"):
    browser = Shopper(billing.agent)
    return browser.submit(browser.get("/pricing"), "/checkout/free", {"email": email}, tier=tier)


def link(billing, mail, email="zoe@example.com"):  # noqa: F811
    page = ask(billing, email)
    assert page.status == 200 and "We have sent you an email" in page.text, page.text
    message = wait_until(lambda: [m for m in mail.mails if m.recipients == [email]], "the mail")[-1]
    assert message["Subject"] == "Confirm your email address"
    (path,) = links(message)
    return path


def take(billing, path):
    browser = Shopper(billing.agent)
    page = browser.get(path)
    return (browser.submit(page, "/start") if "Show my API key" in page.text else page), browser


def works(billing, key):
    return billing.agent.get("/", Account("", key, "")).status


def test_a_confirmed_address_gets_an_account(billing, mail):  # noqa: F811
    page = Shopper(billing.agent).get("/pricing")
    assert '<p class="amount">Free</p>' in page.text and "10 requests per second" in page.text
    path = link(billing, mail)
    assert billing.accounts() == []
    assert Shopper(billing.agent).get(path).status == 200
    assert billing.accounts() == []  # opening the link changes nothing
    page, browser = take(billing, path)
    assert works(billing, page.key()) == 200
    (account,) = billing.accounts()
    assert (account["tier"], account["email"], account["status"], account["customer"]) == (
        "free", "zoe@example.com", "active", "")
    assert "zoe@example.com" in browser.get("/dashboard").text
    assert not billing.fake.calls("POST")
    answer = billing.agent.admin("POST", "/api/v1/claims", {"account": account["id"]})
    assert json.loads(answer.body)["claimed"] is True  # a claim link is for the same key


def test_an_address_has_one_account(billing, mail):  # noqa: F811
    first, second = link(billing, mail), link(billing, mail, "Zoe@Example.com")
    page, _ = take(billing, first)
    assert works(billing, page.key()) == 200
    for path in (first, second):
        page, _ = take(billing, path)
        assert "already shown" in page.text and not page.key()
    # Somebody who asks again gets the same answer, and a mail with a link to recover the account.
    page = ask(billing)
    assert "We have sent you an email" in page.text
    wait_until(lambda: [m for m in mail.mails if m["Subject"] == "Get a new API key"], "the other mail")
    assert len(billing.accounts()) == 1


def test_at_the_same_time_there_is_still_one_account(billing, mail):  # noqa: F811
    path = link(billing, mail)
    browsers = [Shopper(billing.agent) for _ in range(8)]
    pages = [browser.get(path) for browser in browsers]
    keys = []
    threads = [threading.Thread(target=lambda b=b, p=p: keys.append(b.submit(p, "/start").key()))
               for b, p in zip(browsers, pages)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([key for key in keys if key]) == 1 and len(keys) == 8 and len(billing.accounts()) == 1


def test_a_free_account_is_upgraded_by_buying(billing, mail):  # noqa: F811
    page, browser = take(billing, link(billing, mail))
    key, (before,) = page.key(), billing.accounts()
    billing.fake.pay(browser.buy("basic"))
    after = wait_until(lambda: (a := billing.accounts()[0])["subscription"] and a, "the subscription")
    assert after["id"] == before["id"] and after["tier"] == "basic" and works(billing, key) == 200
    assert len(billing.accounts()) == 1


def test_a_deleted_account_can_be_taken_again(billing, mail):  # noqa: F811
    first, _ = take(billing, link(billing, mail))
    (account,) = billing.accounts()
    billing.agent.cli("account", "delete", account["id"])
    assert works(billing, first.key()) == 401
    second, _ = take(billing, link(billing, mail))
    assert works(billing, second.key()) == 200 and works(billing, first.key()) == 401


def test_signed_in_customers_of_the_tier_see_that_they_have_it(billing, mail):  # noqa: F811
    _, browser = take(billing, link(billing, mail))
    page = browser.get("/pricing")
    assert "Your current plan" in page.text and not [f for f in page.forms() if f[0].endswith("/checkout/free")]
    assert [f for f in Shopper(billing.agent).get("/pricing").forms() if f[0].endswith("/checkout/free")]


def test_a_page_with_free_tiers_only_does_not_mention_payment(make, mail):  # noqa: F811
    page = Shopper(sell(make, mail, tiers=FREE[3:]).agent).get("/pricing")
    assert "Get free" in page.text and "Stripe" not in page.text and "email you a link" in page.text


def test_after_a_subscription_the_free_tier_can_be_taken_again(billing, mail):  # noqa: F811
    """Even if Stripe knows the customer by another address."""
    page, browser = take(billing, link(billing, mail))
    key = page.key()
    billing.fake.pay(browser.buy("basic"), email="buyer@example.com")
    bought = wait_until(lambda: (a := billing.accounts()[0])["subscription"] and a, "the subscription")
    # While it lasts, the owner gets a link to recover the account.
    ask(billing)
    wait_until(lambda: [m for m in mail.mails if m["Subject"] == "Get a new API key"
                        and m.recipients == ["zoe@example.com"]], "the link")
    stripe.Subscription.delete(bought["subscription"], **billing.auth())
    wait_until(lambda: works(billing, key) == 403, "the end")
    count = len(mail.mails)
    page = ask(billing)
    message = wait_until(lambda: [m for m in mail.mails[count:] if m["Subject"] == "Confirm your email address"],
                         "the other link")[0]
    page, _ = take(billing, links(message)[0])
    (account,) = billing.accounts()
    assert (account["id"], account["tier"], account["status"]) == (bought["id"], "free", "active")
    assert works(billing, key) == 200


def test_only_self_service_tiers_are_free(billing):
    browser = Shopper(billing.agent)
    for tier in ("basic", "pro", "none", ""):
        page = browser.post("/checkout/free", {"tier": tier, "email": "zoe@example.com"})
        assert page.status == 400 and "choose a plan" in page.text, tier
    for email in ("", "x", "a@b@c", "a@b\nc"):
        assert browser.post("/checkout/free", {"tier": "free", "email": email}).status == 400, email


def test_the_page_says_if_the_tier_is_gone_or_no_slot_is_left(make, mail):  # noqa: F811
    billing = sell(make, mail, tiers=FREE, max_accounts=16)
    path = link(billing, mail)
    for _ in range(16):
        billing.agent.admin("POST", "/api/v1/accounts", {"tier": "basic"})
    page, _ = take(billing, path)
    assert page.status == 503 and "Your link stays valid" in page.text
    made = json.loads(billing.agent.admin("GET", "/api/v1/accounts").body)[0]
    billing.agent.cli("account", "delete", made["id"])
    billing.agent.configure(tiers=[*TIERS[:3], {"name": "free", "rate": "10/s"}])
    billing.agent.reload()
    page, _ = take(billing, path)
    assert page.status == 410 and "no longer offered" in page.text
    billing.agent.configure(tiers=FREE)
    billing.agent.reload()
    page, _ = take(billing, path)
    assert works(billing, page.key()) == 200


@pytest.mark.parametrize("change,why", [
    ({"stripe": {"secret_key": "sk_test_x"}}, "self_service of tier 'free' needs the option stripe.app_url"),
    ({"notices": None}, "self_service of tier 'free' needs the option notices.smtp"),
    ({"tiers": [{"name": "free", "prices": ["p"], "self_service": True}]}, "a tier with prices cannot be free")])
def test_check_says_what_is_missing(billing, tmp_path, change, why):
    config = {k: v for k, v in {**billing.agent.config, **change}.items() if v is not None}
    path = tmp_path / "tollgate.yaml"
    path.write_text(json.dumps(config))
    checked = billing.agent.cli("check", str(path), check=False)
    assert checked.returncode == 1 and why in checked.stdout + checked.stderr, checked.stdout + checked.stderr
