# SPDX-License-Identifier: BSD-2-Clause
"""Customers who bought elsewhere get their first key through a link that the operator's server requests."""
import hashlib
import hmac
import json
import threading
import time
from urllib.parse import urlsplit

import pytest
import stripe

from agent import Account
from billing import Billing
from shopper import Shopper
from test_selling import APP_URL, TIERS


@pytest.fixture
def billing(make):
    return Billing(make, tiers=TIERS, stripe={"app_url": APP_URL})


def ask(billing, **body):
    """The admin call. Returns (status, answer)."""
    answer = billing.agent.admin("POST", "/api/v1/claims", body)
    return answer.status, json.loads(answer.body)


def link(billing, **body):
    """The path and query of a new link."""
    status, answer = ask(billing, **body)
    assert status == 200, answer
    url = urlsplit(answer["url"])
    assert answer["url"].startswith(APP_URL + "/dashboard/claim?link=")
    return f"{url.path}?{url.query}"


def take(billing, path):
    """Takes the key in a fresh browser. Returns the last page and the browser."""
    browser = Shopper(billing.agent)
    page = browser.get(path)
    return (browser.submit(page, "/claim") if "Show my API key" in page.text else page), browser


def seal(billing, purpose, text):
    """A seal as only the agent should be able to make it, because only it has the pepper."""
    with open(billing.agent.config["state_dir"] + "/pepper", "rb") as pepper:
        secret = hmac.digest(pepper.read(), b"tollgate portal 1", hashlib.sha256)
    return hmac.digest(secret, purpose.encode() + b"\0" + text.encode(), hashlib.sha256).hex()


def works(billing, key):
    return billing.agent.get("/", Account("", key, "")).status


def test_a_link_gives_one_key_to_whoever_opens_it(billing):
    sub = billing.subscribe()
    account = billing.wait_account(sub.id)
    path = link(billing, subscription=sub.id)
    first = Shopper(billing.agent).get(path)
    assert first.status == 200 and "Show my API key" in first.text and not first.key()  # mail scanners open links
    assert first.get("Referrer-Policy") == "no-referrer" and first.get("Cache-Control") == "no-store"
    page, browser = take(billing, path)
    assert works(billing, page.key()) == 200
    assert account["id"] in browser.get("/dashboard").text  # signed in
    page, _ = take(billing, path)
    assert page.status == 200 and "Your key was already shown" in page.text and not page.key()


@pytest.mark.parametrize("name", ["account", "customer", "subscription"])
def test_all_links_of_an_account_lead_to_the_same_key(billing, name):
    sub = billing.subscribe()
    account = billing.wait_account(sub.id)
    ids = {"account": account["id"], "customer": sub.customer, "subscription": sub.id}
    before = link(billing, **{name: ids[name]})
    assert ask(billing, account=account["id"])[1]["claimed"] is False
    page, _ = take(billing, link(billing, account=account["id"]))
    assert page.key()
    assert "already shown" in take(billing, before)[0].text
    status, answer = ask(billing, **{name: ids[name]})
    assert (status, answer["claimed"], answer["account"]) == (200, True, account["id"])
    page, _ = take(billing, link(billing, **{name: ids[name]}, further=True))
    assert works(billing, page.key()) == 200


def test_a_subscription_is_fetched_if_its_event_is_late(make):
    billing = Billing(make, tiers=TIERS, webhook=False, stripe={"app_url": APP_URL})
    sub = billing.subscribe()
    page, _ = take(billing, link(billing, subscription=sub.id))
    assert works(billing, page.key()) == 200


def test_a_paid_checkout_session_leads_to_the_key_that_its_buyer_claims(billing):
    """For a session of the operator's own checkout or of a Payment Link."""
    session = stripe.checkout.Session.create(
        mode="subscription", line_items=[{"price": "price_basic", "quantity": 1}], client_reference_id="order-9",
        success_url="https://shop.example.com/thanks?s={CHECKOUT_SESSION_ID}", **billing.auth())
    status, answer = ask(billing, checkout_session=session.id)
    assert status == 409 and "not paid" in answer["detail"]
    billing.fake.pay(session.id)
    page, _ = take(billing, link(billing, checkout_session=session.id))
    assert works(billing, page.key()) == 200
    assert billing.accounts()[0]["client_reference_id"] == "order-9"
    assert ask(billing, checkout_session=session.id)[1]["claimed"] is True


@pytest.mark.parametrize("first", ["page", "checkout_session", "subscription", "customer", "account"])
def test_an_account_has_one_first_key_wherever_it_is_claimed(billing, first):
    """Whether on the page of the portal's checkout, or by a link for any of the account's ids."""
    buyer = Shopper(billing.agent)
    session = buyer.buy()
    billing.fake.pay(session)
    early = {"checkout_session": link(billing, checkout_session=session)}
    [account] = billing.accounts()
    names = {"checkout_session": session, "account": account["id"], **{n: account[n] for n in ("subscription", "customer")}}
    early.update({name: link(billing, **{name: names[name]}) for name in names})
    page = buyer.claim(session) if first == "page" else take(billing, early[first])[0]
    assert works(billing, page.key()) == 200
    for name, value in names.items():
        assert ask(billing, **{name: value})[1]["claimed"] is True, name
        assert "already shown" in take(billing, early[name])[0].text, name
    assert "already shown" in buyer.arrive(session).text
    assert len(json.loads(billing.agent.admin("GET", "/api/v1/keys").body)) == 1


def test_a_customer_who_comes_back_can_claim_once_more(billing):
    sub = billing.subscribe()
    account = billing.wait_account(sub.id)
    old = link(billing, account=account["id"])
    assert take(billing, old)[0].key()
    billing.cancel(sub)
    second = billing.subscribe(customer=stripe.Customer.retrieve(sub.customer, **billing.auth()))
    assert billing.wait_account(second.id)["id"] == account["id"]
    assert ask(billing, subscription=second.id)[1]["claimed"] is False
    assert works(billing, take(billing, old)[0].key()) == 200
    assert "already shown" in take(billing, link(billing, subscription=second.id))[0].text


def test_a_key_has_the_label_that_the_operator_chose(billing):
    sub = billing.subscribe()
    billing.wait_account(sub.id)
    take(billing, link(billing, subscription=sub.id, label="Jörg's first key"))
    take(billing, link(billing, subscription=sub.id, further=True))
    assert sorted(k["label"] for k in json.loads(billing.agent.admin("GET", "/api/v1/keys").body)) == \
        ["Jörg's first key", "claim link"]


def test_at_the_same_time_only_one_gets_the_key(billing):
    sub = billing.subscribe()
    billing.wait_account(sub.id)
    path = link(billing, subscription=sub.id)
    browsers = [Shopper(billing.agent) for _ in range(8)]
    pages = [browser.get(path) for browser in browsers]
    keys = []
    threads = [threading.Thread(target=lambda b=b, p=p: keys.append(b.submit(p, "/claim").key()))
               for b, p in zip(browsers, pages)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([key for key in keys if key]) == 1 and len(keys) == 8


def test_links_that_are_not_valid_say_so(billing):
    sub = billing.subscribe()
    account = billing.wait_account(sub.id)
    path = link(billing, account=account["id"], expires="1m")
    browser = Shopper(billing.agent)
    start = path.split("=")[0] + "="
    other = account["id"].replace(account["id"][-1], "0" if account["id"][-1] != "0" else "1")
    for bad in (path[:-1], path[:-1] + ("0" if path[-1] != "0" else "1"), path + "0", start, start + "x" * 2000,
                path.replace(account["id"].encode().hex(), other.encode().hex()), "/dashboard/claim", start + "---"):
        page = browser.get(bad)
        assert page.status == 404 and "This link is not valid" in page.text, bad
    page = browser.get(path)
    action, fields = page.form("/claim")
    for name in fields:
        assert browser.post(action, {**fields, name: fields[name][:-1]}).status in (403, 404)
        assert browser.post(action, {n: v for n, v in fields.items() if n != name}).status in (400, 403, 404)
    assert browser.ask("POST", action, "link=" + fields["link"] + "&token=" + fields["token"],
                       Content_Type="application/x-www-form-urlencoded", Sec_Fetch_Site="cross-site").status == 403
    assert json.loads(billing.agent.admin("GET", "/api/v1/keys").body) == []
    assert browser.submit(page, "/claim").key()


def test_an_expired_link_shows_no_key(billing):
    sub = billing.subscribe()
    account = billing.wait_account(sub.id)
    path = link(billing, account=account["id"])
    page = Shopper(billing.agent).get(path)
    action, fields = page.form("/claim")
    # The same link, with a time in the past and the seal that belongs to it.
    start, ident, _, _ = path.split("=")[1].split("-")
    old = f"{start}-{ident}-{int(time.time()) - 1:x}"
    old += "-" + seal(billing, "claim link", old)
    for page in (Shopper(billing.agent).get("/dashboard/claim?link=" + old),
                 Shopper(billing.agent).post(action, {"link": old, "token": seal(billing, "claim token", old)})):
        assert page.status == 410 and "This link has expired" in page.text
        assert page.get("Referrer-Policy") == "no-referrer" and page.get("Cache-Control") == "no-store"
    # The seals are right: the link itself works.
    page = Shopper(billing.agent).post(action, {**fields, "token": seal(billing, "claim token", fields["link"])})
    assert works(billing, page.key()) == 200


def test_a_link_ends_with_its_account(billing):
    made = json.loads(billing.agent.admin("POST", "/api/v1/accounts", {"tier": "free"}).body)
    path = link(billing, account=made["id"], expires="30d")
    billing.agent.cli("account", "delete", made["id"])
    page = Shopper(billing.agent).get(path)
    assert page.status == 410 and "has been deleted" in page.text


def test_invalid_orders_are_refused(billing):
    sub = billing.subscribe()
    billing.wait_account(sub.id)
    for body, status, why in (
            ({}, 400, "name exactly one of"),
            ({"subscription": sub.id, "customer": sub.customer}, 400, "name exactly one of"),
            ({"subscription": 7}, 400, "'subscription' has the wrong type"),
            ({"subscription": sub.id, "expires": "59s"}, 400, "from 1m to 30d"),
            ({"subscription": sub.id, "expires": "31d"}, 400, "from 1m to 30d"),
            ({"subscription": sub.id, "further": "yes"}, 400, "'further' has the wrong type"),
            ({"subscription": sub.id, "label": "x" * 128}, 400, "'label' has the wrong type or is too long"),
            ({"account": "acc_1"}, 404, "there is no such account"),
            ({"subscription": "sub_/../x"}, 400, "the ID is not valid"),
            ({"subscription": "sub_none"}, 404, "Stripe has no such object"),
            ({"checkout_session": "cs_test_none"}, 404, "Stripe has no such object"),
            ({"account": "acc_0000000000000001"}, 404, "there is no such account"),
            ({"customer": "cus_none"}, 404, "has no account yet")):
        got, answer = ask(billing, **body)
        assert got == status and why in answer["detail"], (body, got, answer)
    second = billing.subscribe("price_pro", customer=stripe.Customer.retrieve(sub.customer, **billing.auth()))
    billing.wait_account(second.id)
    got, answer = ask(billing, customer=sub.customer)
    assert got == 409 and "has 2 accounts" in answer["detail"]
    assert all(a["id"] in answer["detail"] for a in billing.accounts())
    billing.fake.price("price_of_no_tier")
    got, answer = ask(billing, subscription=billing.subscribe("price_of_no_tier").id)
    assert got == 404 and "no tier has its price" in answer["detail"]


def test_a_failure_of_stripe_is_reported(billing):
    sub = billing.subscribe()
    billing.fake.down()
    got, answer = ask(billing, subscription="sub_unknown")
    assert got == 502, answer
    billing.fake.up()
    assert ask(billing, subscription=sub.id)[0] == 200


def test_without_pages_there_are_no_links(make):
    billing = Billing(make, tiers=TIERS)
    status, answer = ask(billing, customer="cus_1")
    assert status == 409 and "stripe.app_url" in answer["detail"]


def test_the_command_prints_a_link(billing):
    sub = billing.subscribe()
    billing.wait_account(sub.id)
    said = billing.agent.cli("claim", "--subscription", sub.id, "--expires", "2h", "--label", "by hand")
    url = urlsplit(said.stdout.strip())
    page, _ = take(billing, f"{url.path}?{url.query}")
    assert works(billing, page.key()) == 200
    assert json.loads(billing.agent.admin("GET", "/api/v1/keys").body)[0]["label"] == "by hand"
    said = billing.agent.cli("claim", "--subscription", sub.id)
    assert "already claimed; use --further" in said.stderr
    assert billing.agent.cli("claim", check=False).returncode == 2
