# SPDX-License-Identifier: BSD-2-Clause
"""Selling on several hosts that share a Redis: what one host does is in force at all of them."""
import json
from urllib.parse import urlsplit

import stripe

from agent import Account
from lab import wait_until
from shopper import Shopper
from test_fleet_billing import FleetBilling
from test_selling import APP_URL, item_of

TIERS = [
    {"name": "basic", "prices": ["price_basic"]},
    {"name": "team", "prices": ["price_seat"], "per_seat": True, "quota": "10/day"},
    {"name": "metered", "prices": ["price_metered"], "meter": "api_requests"},
    {"name": "free"},
]


def sell(make):
    billing = FleetBilling(make, tiers=TIERS, stripe={"app_url": APP_URL, "report_every": "1h"})
    billing.fake.price("price_seat", unit_amount=700)
    return billing


def at_all(billing, subscription, **fields):
    """Waits until the subscription's account has these fields at every host. Returns it."""
    def is_so():
        found = [a for host in billing.hosts for a in json.loads(host.admin("GET", "/api/v1/accounts").body)
                 if a["subscription"] == subscription and all(a[k] == v for k, v in fields.items())]
        return found[0] if len(found) == len(billing.hosts) else None
    return wait_until(is_so, f"{subscription} is {fields} at all hosts")


def statuses(billing, key):
    return [host.get("/", Account("", key, "")).status for host in billing.hosts]


def test_a_customer_who_comes_back_has_the_account_at_all_hosts(make):
    billing = sell(make)
    customer = billing.customer()
    first = billing.subscribe(customer=customer)
    account = at_all(billing, first.id)
    key = json.loads(billing.hosts[1].admin("POST", "/api/v1/keys", {"account": account["id"]}).body)["key"]
    wait_until(lambda: statuses(billing, key) == [200] * 3, "the key everywhere")
    billing.cancel(first)
    wait_until(lambda: statuses(billing, key) == [403] * 3, "the end everywhere")
    second = billing.subscribe("price_seat", customer=customer)
    assert at_all(billing, second.id, tier="team", entitled=True)["id"] == account["id"]
    wait_until(lambda: statuses(billing, key) == [200] * 3, "the key again")
    billing.change(second, items=[{"id": item_of(billing, second.id), "quantity": 4}])
    at_all(billing, second.id, seats=4, quota=40)
    stripe.Subscription.modify(second.id, metadata={"team": "a"}, **billing.auth())
    at_all(billing, second.id, metadata={"team": "a"}, client_reference_id="")
    for host in billing.hosts:
        assert len(json.loads(host.admin("GET", "/api/v1/accounts").body)) == 1


def take(host, path):
    with host.place.inside("client"):
        browser = Shopper(host)
        page = browser.get(path)
        return browser.submit(page, "/claim") if "Show my API key" in page.text else page


def test_a_claim_link_of_one_host_works_once_at_any(make):
    billing = sell(make)
    sub = billing.subscribe()
    at_all(billing, sub.id)
    answer = billing.hosts[0].admin("POST", "/api/v1/claims", {"subscription": sub.id})
    url = urlsplit(json.loads(answer.body)["url"])
    path = f"{url.path}?{url.query}"
    key = take(billing.hosts[1], path).key()
    wait_until(lambda: statuses(billing, key) == [200] * 3, "the key everywhere")
    for host in billing.hosts:
        page = take(host, path)
        assert "already shown" in page.text and not page.key()


def test_usage_before_a_purchase_at_another_host_is_not_billed(make):
    """The host that applies the purchase is not the one that bills."""
    billing = sell(make)
    billing.fake.rule("hold")  # the webhook comes late, so that the claim applies the purchase
    holder = billing.holders()[0]
    other = next(host for host in billing.hosts if host is not holder)
    made = json.loads(other.admin("POST", "/api/v1/accounts", {"tier": "free"}).body)
    key = json.loads(other.admin("POST", "/api/v1/keys", {"account": made["id"]}).body)["key"]
    wait_until(lambda: statuses(billing, key) == [200] * 3, "the key everywhere")
    wait_until(lambda: other.usage(Account(made["id"], key, ""))[1] >= 3, "the usage in the store")
    before = other.usage(Account(made["id"], key, ""))[1]
    with other.place.inside("client"):
        shopper = Shopper(other)
        assert shopper.sign_in(key).status == 303
        session = shopper.ask("POST", "/checkout", '{"tier": "metered"}', Content_Type="application/json",
                              Accept="application/json").json()["id"]
        billing.fake.pay(session)
        assert "Welcome back" in shopper.arrive(session).text
    subscription = stripe.checkout.Session.retrieve(session, **billing.auth()).subscription
    account = at_all(billing, subscription, tier="metered")
    assert account["id"] == made["id"]
    number = account["id"].removeprefix("acc_")
    redis = billing.fleet.redis.client()
    wait_until(lambda: not [w for w in redis.zrange("tollgate:open_accounts", 0, -1) if w.decode().startswith(number)],
               f"the {before} units from before are closed")
    assert statuses(billing, key) == [200] * 3
    billing.fake.no_rules()
    billing.fake.release()
    stripe.Subscription.delete(subscription, **billing.auth())
    wait_until(lambda: billing.fake.usage("api_requests", account["customer"])["sum"] == 3, "the usage after", timeout=60)
