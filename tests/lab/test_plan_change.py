# SPDX-License-Identifier: BSD-2-Clause
"""A signed-in customer picks another plan. Stripe's portal changes the subscription, and nobody pays twice."""
import pytest
import stripe

from billing import Billing
from shopper import Shopper
from test_selling import APP_URL, TIERS, at_stripe, bought, one


def allow(billing, updates=("price", "quantity"), prices=("price_basic", "price_pro", "price_seat"), **more):
    """The operator's settings of the billing portal: customers may switch between these prices."""
    (default,) = stripe.billing_portal.Configuration.list(active=True, is_default=True, **billing.auth()).data
    products = {}
    for price in prices:
        products.setdefault(stripe.Price.retrieve(price, **billing.auth()).product, []).append(price)
    stripe.billing_portal.Configuration.modify(default.id, features={"subscription_update": {
        "enabled": True, "default_allowed_updates": list(updates), "proration_behavior": "always_invoice",
        "products": [{"product": p, "prices": names, "adjustable_quantity": {"enabled": "quantity" in updates}}
                     for p, names in products.items()], **more}}, **billing.auth())


@pytest.fixture
def billing(make):
    tiers = [*TIERS[:1], {k: v for k, v in TIERS[1].items() if k not in ("extra_prices", "meter")}, *TIERS[2:]]
    billing = Billing(make, tiers=tiers, stripe={"app_url": APP_URL})
    billing.fake.price("price_seat", unit_amount=700)
    return billing


@pytest.fixture
def shopper(billing):
    return Shopper(billing.agent)


def pick(shopper, tier, **fields):
    return shopper.submit(shopper.get("/pricing"), "/checkout", fields, tier=tier)


def at_portal(billing, page, price=None):
    """What the customer does on Stripe's page. Returns where Stripe sends them."""
    assert page.status == 303, page.text
    url = page.get("Location")
    assert url.startswith(f"{billing.fake.url}/p/session/")
    stripes = Shopper(type("Place", (), {"address": (billing.fake.host, billing.fake.port)}))
    answer = stripes.post(url[len(billing.fake.url):], {"price": price} if price else {})
    assert answer.status == 303, answer.text
    return answer.get("Location")


def test_another_plan_changes_the_subscription(billing, shopper):
    allow(billing)
    account = bought(billing, shopper)
    before = one(billing)
    page = shopper.get("/pricing")
    assert "Your current plan" in page.text and "Switch to pro" in page.text and "Get pro" not in page.text
    assert "First 14 days free" not in page.text
    page = pick(shopper, "pro")
    (call,) = billing.fake.calls("POST", "/v1/billing_portal/sessions")
    assert call["params"]["flow_data[type]"] == "subscription_update_confirm"
    assert billing.wait_account(before["subscription"], tier="basic")  # nothing has changed so far
    assert call["params"]["return_url"] == f"{APP_URL}/dashboard"  # if the customer changes nothing
    back = at_portal(billing, page)
    assert back == f"{APP_URL}/dashboard?done=plan-changed"
    after = billing.wait_account(before["subscription"], tier="pro")
    assert after["id"] == before["id"] and len(billing.accounts()) == 1
    assert "Your plan is being changed" in shopper.get("/dashboard?done=plan-changed").text
    assert billing.status(account) == 200
    # The rest of the period is paid, and nothing else: one subscription, of the dearer price.
    paid = stripe.Invoice.list(subscription=before["subscription"], **billing.auth()).data
    assert len(paid) == 2 and 3900 < paid[0].amount_paid <= 4000 and paid[1].amount_paid == 1000
    assert len(billing.fake.calls("POST", "/v1/checkout/sessions")) == 1


def test_seats_are_changed_in_the_same_way(billing, shopper):
    allow(billing)
    page = shopper.submit(shopper.get("/pricing"), "/checkout", {"quantity": "2"}, tier="team")
    session = page.get("Location").rsplit("/", 1)[1]
    billing.fake.pay(session)
    shopper.claim(session)
    before = one(billing)
    page = shopper.get("/pricing")
    assert 'name="quantity" value="2"' in page.text
    at_portal(billing, shopper.submit(page, "/checkout", {"quantity": "5"}, tier="team"))
    assert billing.wait_account(before["subscription"], seats=5)["quota"] == 15


def test_from_seats_to_a_flat_plan_one_is_paid(billing, shopper):
    """One unit, not as many as there were seats."""
    allow(billing)
    page = shopper.submit(shopper.get("/pricing"), "/checkout", {"quantity": "5"}, tier="team")
    session = page.get("Location").rsplit("/", 1)[1]
    billing.fake.pay(session)
    shopper.claim(session)
    subscription = one(billing)["subscription"]
    at_portal(billing, pick(shopper, "pro"))
    billing.wait_account(subscription, tier="pro", seats=1)
    assert at_stripe(billing, subscription)["items"].data[0].quantity == 1


def test_the_plan_that_one_has_is_not_bought_again(billing, shopper):
    allow(billing)
    bought(billing, shopper)
    page = shopper.post("/checkout", {"tier": "basic"})
    assert (page.status, page.get("Location")) == (303, "/dashboard?done=same-plan")
    assert "You already have this plan." in shopper.get("/dashboard?done=same-plan").text
    page = shopper.ask("POST", "/checkout", '{"tier": "basic"}', Content_Type="application/json",
                       Accept="application/json")
    assert page.status == 409 and "already have this plan" in page.json()["detail"]
    assert not billing.fake.calls("POST", "/v1/billing_portal/sessions")
    assert len(billing.fake.calls("POST", "/v1/checkout/sessions")) == 1


def test_a_program_gets_the_url_of_the_change(billing, shopper):
    allow(billing)
    bought(billing, shopper)
    page = shopper.ask("POST", "/checkout", '{"tier": "pro"}', Content_Type="application/json",
                       Accept="application/json")
    assert page.status == 200 and page.json()["url"].startswith(f"{billing.fake.url}/p/session/")


def test_if_the_price_is_not_offered_the_customer_chooses_at_stripe(billing, shopper):
    allow(billing, prices=("price_basic", "price_seat"))
    bought(billing, shopper)
    subscription = one(billing)["subscription"]
    page = pick(shopper, "pro")
    kinds = [c["params"]["flow_data[type]"] for c in billing.fake.calls("POST", "/v1/billing_portal/sessions")]
    assert kinds == ["subscription_update_confirm", "subscription_update"]
    at_portal(billing, page, "price_seat")
    billing.wait_account(subscription, tier="team")


def refused(page):
    return page.status == 409 and "be changed online" in page.text


def test_a_change_that_stripe_does_not_offer_is_explained(billing, shopper):
    bought(billing, shopper)
    assert refused(pick(shopper, "pro"))
    log = billing.agent.log()
    assert "check that the billing portal's configuration at Stripe allows it" in log
    assert len(billing.fake.calls("POST", "/v1/checkout/sessions")) == 1
    # A subscription with several prices.
    allow(billing)
    stripe.Subscription.modify(one(billing)["subscription"], items=[{"price": "price_metered"}], **billing.auth())
    assert refused(pick(shopper, "pro"))


@pytest.mark.parametrize("outcome,status", [("fails", "past_due"), ("fails", "unpaid")])
def test_a_customer_who_owes_money_pays_first(billing, shopper, outcome, status):
    allow(billing)
    billing.fake.settings(after_retries="unpaid")
    bought(billing, shopper)
    account = one(billing)
    billing.fake.payments(account["customer"], outcome)
    billing.fake.renew(account["subscription"])
    if status == "unpaid":
        billing.fake.advance(days=20)
    billing.wait_account(account["subscription"], status=status)
    assert "/dashboard" == pick(shopper, "pro").get("Location")
    assert "pay under billing" in shopper.get("/dashboard").text.lower()
    assert not billing.fake.calls("POST", "/v1/billing_portal/sessions")


def test_without_a_session_or_with_anothers_a_plan_is_bought(billing, shopper):
    bought(billing, shopper)
    stranger = Shopper(billing.agent)
    page = stranger.get("/pricing")
    assert "Your current plan" not in page.text and "Get basic" in page.text
    assert "/c/pay/" in pick(stranger, "pro").get("Location")


def test_a_program_may_send_seats_as_a_number(billing, shopper):
    page = shopper.ask("POST", "/checkout", '{"tier": "team", "quantity": 3}', Content_Type="application/json",
                       Accept="application/json")
    assert page.status == 200, page.text
    assert billing.fake.calls("POST", "/v1/checkout/sessions")[-1]["params"]["line_items[0][quantity]"] == "3"


def test_a_subscription_of_the_other_mode_is_not_changed(make):
    """The operator goes live, and a customer from test mode buys."""
    billing = Billing(make, tiers=TIERS[:1], stripe={"app_url": APP_URL})
    shopper = Shopper(billing.agent)
    bought(billing, shopper)
    billing.agent.configure(stripe={**billing.agent.config["stripe"], "livemode": True})
    billing.agent.reload()
    page = shopper.get("/pricing")
    assert "Your current plan" not in page.text
    assert shopper.post("/checkout", {"tier": "basic"}).status == 303
    assert "customer" not in billing.fake.calls("POST", "/v1/checkout/sessions")[-1]["params"]


def test_the_api_behind_never_gets_the_session(billing, shopper):
    account = bought(billing, shopper)
    assert {path for name, path in shopper.cookies if name == "tollgate_session"} == {
        "/dashboard", "/pricing", "/checkout"}
    page = shopper.submit(shopper.get("/dashboard"), "/sign-out")
    assert page.status == 303 and not [n for n, _ in shopper.cookies if n == "tollgate_session"]
    assert "Your current plan" not in shopper.get("/pricing").text
    assert billing.status(account) == 200


def test_a_failure_of_stripe_leaves_the_plan_as_it_is(billing, shopper):
    allow(billing)
    bought(billing, shopper)
    for path in ("/v1/billing_portal/sessions", "/v1/subscriptions"):
        billing.fake.fault(path=f"{path}.*", status=500, count=None)
        page = pick(shopper, "pro")
        assert page.status == 502 and "your plan has not changed" in page.text, path
        billing.fake.no_faults()
    assert one(billing)["tier"] == "basic"
