# SPDX-License-Identifier: BSD-2-Clause
"""Selling: several prices at once, trials, promotion codes, taxes and seats; and returning customers."""
import json

import pytest
import stripe

from agent import Account
from billing import Billing, event, post_event, sign
from lab import wait_until
from shopper import Shopper

APP_URL = "http://127.0.0.1:1"  # nothing listens there; only Stripe gets this URL
TIERS = [
    {"name": "basic", "prices": ["price_basic"], "rate": "100/s", "burst": 100},
    {"name": "pro", "prices": ["pro_monthly"], "rate": "1000/s", "extra_prices": ["price_metered"],
     "meter": "api_requests", "trial_days": 14},
    {"name": "team", "prices": ["price_seat"], "per_seat": True, "rate": "1/h", "burst": 2, "quota": "3/day",
     "concurrency": 2},
    {"name": "free", "rate": "1/s"},
]


def sell(make, tiers=None, **options):
    billing = Billing(make, tiers=tiers or TIERS, stripe={"app_url": APP_URL, **options})
    billing.fake.price("price_seat", unit_amount=700)
    return billing


@pytest.fixture
def billing(make):
    return sell(make)


@pytest.fixture
def shopper(billing):
    return Shopper(billing.agent)


def order(billing):
    """The parameters of the last checkout session."""
    return billing.fake.calls("POST", "/v1/checkout/sessions")[-1]["params"]


def bought(billing, shopper, tier="basic", **pay):
    """Buys and claims. Returns the account, with its key."""
    session = shopper.buy(tier)
    billing.fake.pay(session, **pay)
    page = shopper.claim(session)
    assert page.key(), page.text
    (key,) = [k for k in json.loads(billing.agent.admin("GET", "/api/v1/keys").body)
              if page.key().endswith(k["hint"][-4:])]
    return Account(key["account"], page.key(), key["id"])


def at_stripe(billing, subscription):
    return stripe.Subscription.retrieve(subscription, **billing.auth())


def item_of(billing, subscription):
    return at_stripe(billing, subscription)["items"]["data"][0]["id"]


def one(billing):
    (account,) = billing.accounts()
    return account


# One order.

def test_prices_that_belong_together_are_sold_together(billing, shopper):
    page = wait_until(lambda: (p := shopper.get("/pricing")) and "Plus $0.01" in p.text and p, "the extra price")
    assert "First 14 days free" in page.text and "Pay only for what you use" not in page.text
    pro = [t for t in shopper.get("/pricing?format=json").json()["tiers"] if t["name"] == "pro"][0]
    assert [p["id"] for p in pro["extra_prices"]] == ["price_metered"] and pro["trial_days"] == 14
    account = bought(billing, shopper, "pro")
    asked = order(billing)
    assert asked["line_items[0][price]"] == "price_pro" and asked["line_items[0][quantity]"] == "1"
    assert asked["line_items[1][price]"] == "price_metered" and "line_items[1][quantity]" not in asked
    assert asked["subscription_data[trial_period_days]"] == "14"
    assert billing.status(account) == 200
    assert one(billing)["status"] == "trialing" and one(billing)["tier"] == "pro"


def test_promotion_codes_and_tax_are_options_of_the_checkout(make):
    for options in ({}, {"allow_promotion_codes": True, "automatic_tax": True}):
        billing = sell(make, **options)
        Shopper(billing.agent).buy()
        asked = order(billing)
        assert asked.get("allow_promotion_codes") == ("true" if options else None)
        assert asked.get("automatic_tax[enabled]") == ("true" if options else None)
        assert "customer_update[address]" not in asked


# Seats.

def test_limits_follow_the_seats(billing, shopper):
    page = shopper.get("/pricing")
    assert "Price and limits are per seat." in page.text and 'name="quantity"' in page.text
    page = shopper.submit(page, "/checkout", {"quantity": "3"}, tier="team")
    session = page.get("Location").rsplit("/", 1)[1]
    assert order(billing)["line_items[0][quantity]"] == "3"
    billing.fake.pay(session)
    key = shopper.claim(session).key()
    account = one(billing)
    assert account["seats"] == 3 and account["quota"] == 9
    member = Account(account["id"], key, "")
    answers = [billing.agent.get("/", member) for _ in range(7)]
    assert [a.status for a in answers] == [200] * 6 + [429]  # a burst of 2 for each of 3 seats
    # An hour for one unit, divided by the seats.
    assert 1190 < int(answers[-1].get("Retry-After")) <= 1201
    subscription = account["subscription"]
    billing.change(at_stripe(billing, subscription), items=[{"id": item_of(billing, subscription), "quantity": 1}])
    billing.wait_account(subscription, seats=1, quota=3)
    dashboard = shopper.get("/dashboard")
    assert "<dt>Seats</dt><dd>1</dd>" in dashboard.text


def test_invalid_numbers_of_seats_are_refused(billing, shopper):
    for tier, quantity in (("team", "0"), ("team", "1000000"), ("team", "x"), ("team", "-1"), ("team", ""),
                           ("basic", "2")):
        page = shopper.post("/checkout", {"tier": tier, "quantity": quantity})
        assert page.status == 400 and ("seat" in page.text), (tier, quantity, page.text)
    assert not billing.fake.calls("POST", "/v1/checkout/sessions")
    assert shopper.post("/checkout", {"tier": "basic", "quantity": "1"}).status == 303


def test_more_seats_than_stripes_default_can_be_bought(billing, shopper):
    page = shopper.post("/checkout", {"tier": "team", "quantity": "150"})
    assert page.status == 303, page.text
    assert order(billing)["line_items[0][adjustable_quantity][maximum]"] == "999999"


def test_a_new_number_of_seats_in_the_configuration_applies_at_once(make):
    tiers = [dict(t) for t in TIERS]
    tiers[2]["per_seat"] = False
    billing = sell(make, tiers)
    sub = billing.subscribe("price_seat")
    billing.change(sub, items=[{"id": item_of(billing, sub.id), "quantity": 5}])
    billing.wait_account(sub.id, seats=5, quota=3)
    billing.agent.configure(tiers=TIERS)
    billing.agent.reload()
    wait_until(lambda: billing.account_of(sub.id)["quota"] == 15, "the limits of five seats")


# What the operator sees.

def test_reference_and_metadata_are_shown(billing, shopper):
    page = shopper.post("/checkout", {"tier": "basic", "client_reference_id": "order-17"})
    billing.fake.pay(page.get("Location").rsplit("/", 1)[1])
    account = wait_until(lambda: [a for a in billing.accounts() if a["client_reference_id"]], "the reference")[0]
    assert account["client_reference_id"] == "order-17"
    assert account["metadata"] == {"source": "api_subscription"}
    shown = billing.agent.cli("account", "show", account["id"]).stdout
    assert "client reference" in shown and "order-17" in shown and "source=api_subscription" in shown
    stripe.Subscription.modify(account["subscription"], metadata={"team": "a"}, **billing.auth())
    billing.wait_account(account["subscription"], metadata={"source": "api_subscription", "team": "a"},
                         client_reference_id="order-17")


# Returning customers.

def test_a_customer_who_comes_back_keeps_account_and_keys(billing, shopper):
    account = bought(billing, shopper)
    before = one(billing)
    billing.cancel(at_stripe(billing, before["subscription"]))
    billing.wait_account(before["subscription"], status="canceled")
    assert billing.status(account) == 403
    # The session is still valid, so the customer is known.
    session = shopper.buy("pro")
    asked = order(billing)
    assert asked["customer"] == before["customer"] and "customer_email" not in asked
    assert asked["subscription_data[metadata][tollgate_account]"] == account.id
    assert "subscription_data[trial_period_days]" not in asked  # no second trial
    billing.fake.pay(session)
    page = shopper.arrive(session)
    assert "Welcome back" in page.text and "Your API keys stay the same" in page.text
    assert billing.status(account) == 200
    after = one(billing)
    assert after["id"] == before["id"] and after["tier"] == "pro" and after["subscription"] != before["subscription"]
    # One more key, if the customer has lost the other.
    key = shopper.submit(page, "/claim").key()
    assert billing.agent.get("/", Account(account.id, key, "")).status == 200 and billing.status(account) == 200


def test_a_customer_whom_stripe_has_deleted_buys_as_a_new_one(billing, shopper):
    bought(billing, shopper)
    was = one(billing)
    stripe.Customer.delete(was["customer"], **billing.auth())
    billing.wait_account(was["subscription"], status="canceled")
    # All keys were revoked with the customer. The operator makes a new one.
    key = json.loads(billing.agent.admin("POST", "/api/v1/keys", {"account": was["id"]}).body)["key"]
    assert shopper.sign_in(key).status == 303
    session = shopper.buy("pro")
    assert "customer" not in order(billing)
    billing.fake.pay(session)
    account = wait_until(lambda: (a := one(billing)) and a["tier"] == "pro" and a, "the new subscription")
    assert account["id"] == was["id"] and account["customer"] != was["customer"]
    assert billing.agent.get("/", Account(was["id"], key, "")).status == 200


def test_a_customer_of_the_operators_own_checkout_comes_back(billing):
    customer = billing.customer()
    first = billing.subscribe(customer=customer)
    account = billing.key_for(first.id)
    billing.cancel(first)
    billing.wait_account(first.id, status="canceled")
    second = billing.subscribe("price_pro", customer=customer)
    assert billing.wait_account(second.id, entitled=True)["id"] == account.id
    assert billing.status(account) == 200 and len(billing.accounts()) == 1


def test_a_customer_comes_back_whatever_event_arrives_first(make):
    """The new subscription's event overtakes the end of the old one."""
    billing = Billing(make, webhook=False, tiers=TIERS)
    customer = billing.customer()
    first = billing.subscribe(customer=customer)
    billing.agent.cli("sync")
    account = billing.key_for(first.id)
    billing.cancel(first)
    second = billing.subscribe("price_pro", customer=customer)
    billing.fake.endpoint(billing.agent.url("/webhooks/stripe"))
    stripe.Subscription.modify(second.id, metadata={"a": "b"}, **billing.auth())
    assert billing.wait_account(second.id, entitled=True)["id"] == account.id
    assert len(billing.accounts()) == 1 and billing.status(account) == 200


def test_two_subscriptions_at_once_are_two_accounts(billing):
    customer = billing.customer()
    first = billing.subscribe(customer=customer)
    a = billing.key_for(first.id)
    second = billing.subscribe("price_pro", customer=customer)
    b = billing.key_for(second.id)
    assert a.id != b.id and billing.status(a) == billing.status(b) == 200


def test_an_old_event_of_a_former_subscription_takes_no_account(billing):
    """A copy of the subscription from before its end arrives after its successor."""
    customer = billing.customer()
    first = billing.subscribe(customer=customer)
    account = billing.key_for(first.id)
    old = json.loads(str(at_stripe(billing, first.id)))
    billing.cancel(first)
    billing.wait_account(first.id, status="canceled")
    second = billing.subscribe("price_pro", customer=customer)
    billing.wait_account(second.id, entitled=True)
    body = event("customer.subscription.updated", old, name="evt_late")
    assert post_event(billing, body, sign(body))[0] == 200
    billing.quiet()
    (left,) = billing.accounts()
    assert left["subscription"] == second.id and billing.status(account) == 200


def test_somebody_with_an_account_of_the_operator_buys_for_it(billing, shopper):
    made = json.loads(billing.agent.admin("POST", "/api/v1/accounts", {"tier": "free"}).body)
    key = json.loads(billing.agent.admin("POST", "/api/v1/keys", {"account": made["id"]}).body)["key"]
    assert shopper.sign_in(key).status == 303
    session = shopper.buy("pro")
    asked = order(billing)
    assert "customer" not in asked and asked["subscription_data[metadata][tollgate_account]"] == made["id"]
    assert asked["subscription_data[trial_period_days]"] == "14"
    billing.fake.pay(session)
    account = wait_until(lambda: (a := one(billing)) and a["subscription"] and a, "the subscription")
    assert account["id"] == made["id"] and account["tier"] == "pro"
    assert billing.agent.get("/", Account(made["id"], key, "")).status == 200


def test_metadata_cannot_take_an_account_that_is_in_use(billing):
    first = billing.subscribe()
    account = billing.key_for(first.id)
    for name in (account.id, "acc_0000000000000001", "x", ""):
        other = billing.subscribe("price_pro", metadata={"tollgate_account": name})
        assert billing.wait_account(other.id)["id"] != account.id
    assert billing.account_of(first.id)["tier"] == "basic"
