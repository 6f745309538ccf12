# SPDX-License-Identifier: BSD-2-Clause
"""world_of_objects: makes every kind of object in a fake, by the calls of one API version, and keeps all answers."""
import json
import urllib.error
import urllib.request
from urllib.parse import urlencode

DAY = 86400
BEGIN = 1790000000
BASIL, ENDIVE = "2025-03-31", "2026-09-30"
DONE = "https://example.com/done"


def flat(params, prefix=""):
    """Pairs in Stripe's form encoding."""
    for name, value in params.items():
        full = f"{prefix}[{name}]" if prefix else name
        if isinstance(value, dict):
            yield from flat(value, full)
        elif isinstance(value, list):
            yield from flat(dict(enumerate(value)), full)
        else:
            yield full, str(value).lower() if isinstance(value, bool) else value


class Caller:
    """Calls the fake with one API version, and keeps what it answered as `seen`: [(call, object)]."""

    def __init__(self, fake, version):
        self.fake, self.version = fake, version
        self.seen = []

    def __call__(self, method, path, **params):
        body, headers = None, {"Authorization": f"Bearer {self.fake.secret_key}", "Stripe-Version": self.version}
        target = self.fake.url + path
        if method == "GET":
            target += "?" + urlencode(list(flat(params))) if params else ""
        elif path.startswith("/v2/"):
            body, headers["Content-Type"] = json.dumps(params).encode(), "application/json"
        else:
            body = urlencode(list(flat(params))).encode()
        request = urllib.request.Request(target, body, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                said = json.loads(answer.read())
        except urllib.error.HTTPError as e:
            raise AssertionError(f"{method} {path} {params}: {e.read().decode()}") from e
        self.seen.append((f"{method} {path}", said))
        return said

    def get(self, path, **params):
        return self("GET", path, **params)

    def post(self, path, **params):
        return self("POST", path, **params)

    def is_before(self, version):
        return self.version[:10] < version


def fill(fake, call):
    """Makes the objects, and reads them in every way that the fake offers."""
    catalog(fake, call)
    customer = call.post("/v1/customers", email="ada@example.com", name="Ada", phone="1",
                         metadata={"user": "7"})["id"]
    code = discounts(call)
    sub = subscriptions(fake, call, customer, code)
    schedules(call, customer)
    money(fake, call, customer, sub)
    selling(fake, call, customer, code)
    portal(fake, call, customer, code)
    usage(fake, call, customer)
    clocks(call)
    endpoints(call)
    lists(call, customer, sub)


def catalog(fake, call):
    product = call.post("/v1/products", name="Pro", description="All of it", unit_label="request")["id"]
    call.post(f"/v1/products/{product}", metadata={"a": "b"})
    price = call.post("/v1/prices", product=product, currency="usd", unit_amount=2000, lookup_key="pro",
                      recurring={"interval": "month"})["id"]
    call.post(f"/v1/prices/{price}", nickname="Pro")
    tiers = call.post("/v1/prices", product=product, currency="usd", billing_scheme="tiered", tiers_mode="graduated",
                      recurring={"interval": "month"},
                      tiers=[{"up_to": 10, "unit_amount": 5}, {"up_to": "inf", "unit_amount_decimal": "0.5"}])["id"]
    call.get(f"/v1/prices/{tiers}", expand=["tiers", "product"])
    call.post("/v1/prices", product_data={"name": "Bundle"}, currency="usd", unit_amount=5,
              recurring={"interval": "day"}, transform_quantity={"divide_by": 1000, "round": "up"})
    feature = call.post("/v1/entitlements/features", lookup_key="export", name="Export")["id"]
    call.post(f"/v1/products/{product}/features", entitlement_feature=feature)
    call.get(f"/v1/products/{product}/features")
    fake.price("price_pro", unit_amount=2000, features=["export"])
    fake.price("price_max", unit_amount=5000)


def discounts(call):
    """A promotion code."""
    coupon = call.post("/v1/coupons", percent_off=10, duration="repeating", duration_in_months=3, name="Ten")["id"]
    call.post(f"/v1/coupons/{coupon}", metadata={"a": "b"})
    promotion = {"coupon": coupon} if call.is_before(ENDIVE) else {"promotion": {"type": "coupon", "coupon": coupon}}
    code = call.post("/v1/promotion_codes", code="TEN", **promotion)["id"]
    call.post(f"/v1/promotion_codes/{code}", metadata={"a": "b"})
    gone = call.post("/v1/coupons", amount_off=5, currency="usd")["id"]
    call.get(f"/v1/coupons/{gone}")
    call("DELETE", f"/v1/coupons/{gone}")
    return code


def subscribe(call, customer, price="price_pro", **fields):
    return call.post("/v1/subscriptions", customer=customer, items=[{"price": price}], **fields)


def subscriptions(fake, call, customer, code):
    sub = subscribe(call, customer, discounts=[{"promotion_code": code}], metadata={"a": "b"})
    name, item = sub["id"], sub["items"]["data"][0]["id"]
    call.get(f"/v1/subscriptions/{name}", expand=["customer", "latest_invoice", "discounts"])
    call.post(f"/v1/subscriptions/{name}", items=[{"id": item, "price": "price_max"}],
              proration_behavior="always_invoice")
    call.post(f"/v1/subscriptions/{name}", items=[{"id": item, "quantity": 2}])
    call.get(f"/v1/subscription_items/{item}")
    call.post(f"/v1/subscriptions/{name}", pause_collection={"behavior": "void"}, cancel_at_period_end=True)
    call.post(f"/v1/subscriptions/{name}", pause_collection="", cancel_at_period_end=False)
    call("DELETE", f"/v1/subscriptions/{subscribe(call, customer, trial_period_days=7)['id']}")
    call("DELETE", f"/v1/subscriptions/{name}/discount")
    if not call.is_before(ENDIVE):
        paused = subscribe(call, customer)["id"]
        call.post(f"/v1/subscriptions/{paused}/pause", type="subscription")
        call.post(f"/v1/subscriptions/{paused}/resume")
    fake.renew(name)
    return name


def schedules(call, customer):
    made = call.post("/v1/subscription_schedules", customer=customer, start_date="now", phases=[
        {"items": [{"price": "price_pro"}], "discounts": ""}, {"items": [{"price": "price_max", "quantity": 2}]}])["id"]
    call.post(f"/v1/subscription_schedules/{made}", end_behavior="cancel")
    call.get(f"/v1/subscription_schedules/{made}", expand=["subscription", "customer"])
    call.post(f"/v1/subscription_schedules/{made}/release")
    other = call.post("/v1/subscription_schedules", customer=customer, start_date=BEGIN + 90 * DAY,
                      phases=[{"items": [{"price": "price_pro"}]}])["id"]
    call.post(f"/v1/subscription_schedules/{other}/cancel")


def money(fake, call, customer, sub):
    fake.payments(customer, "fails")
    fake.renew(sub)
    fake.payments(customer, None)
    invoice = call.get(f"/v1/subscriptions/{sub}")["latest_invoice"]
    call.get(f"/v1/invoices/{invoice}", expand=["customer", "discounts"])
    call.post(f"/v1/invoices/{invoice}/pay")
    call.get(f"/v1/invoices/{invoice}/lines")
    charge = call.get("/v1/charges", customer=customer)["data"][0]["id"]
    refund = call.post("/v1/refunds", charge=charge, amount=100)["id"]
    call.get(f"/v1/refunds/{refund}", expand=["charge"])
    fake.fail_refund(refund)
    dispute = fake.dispute(charge)["id"]
    call.get(f"/v1/disputes/{dispute}", expand=["charge"])
    fake.move_dispute(dispute, "won")
    unpaid = []
    for outcome in ("fails", "requires_action", "fails"):
        fake.payments(customer, outcome)
        unpaid.append(subscribe(call, customer)["latest_invoice"])
    fake.payments(customer, None)
    call.post(f"/v1/invoices/{unpaid[0]}/void")
    call.post(f"/v1/invoices/{unpaid[1]}/mark_uncollectible")
    fake.advance(days=1)  # the incomplete ones expire
    end = call.get(f"/v1/subscriptions/{sub}", expand=["latest_invoice"])["latest_invoice"]["lines"]["data"][0]
    fake.turn_to(end["period"]["end"])
    call.post(f"/v1/invoices/{call.get(f'/v1/subscriptions/{sub}')['latest_invoice']}/finalize")


def sell(call, **fields):
    item = {"price": "price_pro", "quantity": 1, "adjustable_quantity": {"enabled": True, "maximum": 5}}
    return call.post("/v1/checkout/sessions", mode="subscription", success_url=DONE, line_items=[item], **fields)["id"]


def selling(fake, call, customer, code):
    made = sell(call, allow_promotion_codes=True, client_reference_id="user-7", automatic_tax={"enabled": True},
                subscription_data={"trial_period_days": 7})
    fake.pay(made)
    call.get(f"/v1/checkout/sessions/{made}", expand=["customer", "subscription", "line_items", "invoice"])
    call.get(f"/v1/checkout/sessions/{made}/line_items")
    late = sell(call, customer=customer, discounts=[{"promotion_code": code}])
    call.post(f"/v1/checkout/sessions/{late}/expire")
    fake.settings(checkout_is_async=True)
    for succeeded in (True, False):
        slow = sell(call)
        fake.pay(slow)
        fake.end_async(slow, succeeded)
    fake.settings(checkout_is_async=False)


def portal(fake, call, customer, code):
    fake.plans("price_pro", "price_max")
    default = call.get("/v1/billing_portal/configurations", is_default=True)["data"][0]["id"]
    call.get(f"/v1/billing_portal/configurations/{default}")
    call.post("/v1/billing_portal/configurations", features={"payment_method_update": {"enabled": True}},
              business_profile={"headline": "Hello"})
    call.post(f"/v1/billing_portal/configurations/{default}", default_return_url=DONE)
    call.post("/v1/billing_portal/sessions", customer=customer, return_url=DONE)
    sub = subscribe(call, customer)
    row = {"id": sub["items"]["data"][0]["id"], "price": "price_max", "quantity": 2}
    made = call.post("/v1/billing_portal/sessions", customer=customer, expand=["configuration"], flow_data={
        "type": "subscription_update_confirm", "subscription_update_confirm": {
            "subscription": sub["id"], "items": [row], "discounts": [{"promotion_code": code}]},
        "after_completion": {"type": "redirect", "redirect": {"return_url": DONE}}})
    fake.confirm(made["id"])
    for kind in ("subscription_update", "subscription_cancel"):
        call.post("/v1/billing_portal/sessions", customer=customer, flow_data={
            "type": kind, kind: {"subscription": sub["id"]}})
    card = call.post("/v1/billing_portal/sessions", customer=customer, flow_data={"type": "payment_method_update"})
    fake.confirm(card["id"])


def usage(fake, call, customer):
    meter = call.post("/v1/billing/meters", display_name="Requests", event_name="requests",
                      default_aggregation={"formula": "sum"})["id"]
    metered = call.post("/v1/prices", product_data={"name": "Usage"}, currency="usd", unit_amount=1,
                        recurring={"interval": "month", "usage_type": "metered", "meter": meter})["id"]
    sub = call.post("/v1/subscriptions", customer=customer, items=[{"price": "price_pro"}, {"price": metered}])["id"]
    for name, who in (("requests", customer), ("requests", "cus_nobody"), ("nothing", customer)):
        call.post("/v1/billing/meter_events", event_name=name, payload={"stripe_customer_id": who, "value": 3})
    minute = int(fake.now()) // 60 * 60
    call.get(f"/v1/billing/meters/{meter}/event_summaries", customer=customer, start_time=minute - 60,
             end_time=minute + 120)
    fake.renew(sub)
    call.post(f"/v1/billing/meters/{meter}/deactivate")
    call.post(f"/v1/billing/meters/{meter}/reactivate")
    if call.is_before(BASIL):
        counted = call.post("/v1/prices", product_data={"name": "Usage"}, currency="usd", unit_amount=1,
                            recurring={"interval": "month", "usage_type": "metered"})["id"]
        item = subscribe(call, customer, counted)["items"]["data"][0]["id"]
        call.post(f"/v1/subscription_items/{item}/usage_records", quantity=5)
        call.get(f"/v1/subscription_items/{item}/usage_record_summaries")


def clocks(call):
    clock = call.post("/v1/test_helpers/test_clocks", frozen_time=BEGIN, name="Ahead")["id"]
    customer = call.post("/v1/customers", test_clock=clock)["id"]
    subscribe(call, customer, trial_period_days=7)
    call.post(f"/v1/test_helpers/test_clocks/{clock}/advance", frozen_time=BEGIN + 40 * DAY)
    call.get(f"/v1/test_helpers/test_clocks/{clock}")
    call.get("/v1/test_helpers/test_clocks")
    call.get("/v1/subscriptions", test_clock=clock, expand=["data.latest_invoice"])
    call("DELETE", f"/v1/test_helpers/test_clocks/{clock}")
    call.get(f"/v1/customers/{customer}")


def endpoints(call):
    where = "http://127.0.0.1:9/hook"
    made = call.post("/v1/webhook_endpoints", url=where, enabled_events=["customer.created"])["id"]
    call.post(f"/v1/webhook_endpoints/{made}", enabled_events=["*"])
    call.get(f"/v1/webhook_endpoints/{made}")
    call.get("/v1/webhook_endpoints")
    call("DELETE", f"/v1/webhook_endpoints/{made}")
    thin = call.post("/v2/core/event_destinations", name="Thin", type="webhook_endpoint", event_payload="thin",
                     enabled_events=["v1.customer.created"], webhook_endpoint={"url": where},
                     include=["webhook_endpoint.url", "webhook_endpoint.signing_secret"])["id"]
    call.post(f"/v2/core/event_destinations/{thin}", name="Thinner")
    call.post(f"/v2/core/event_destinations/{thin}/disable")
    call.post(f"/v2/core/event_destinations/{thin}/enable")
    call.get("/v2/core/event_destinations")
    call.post("/v1/customers", email="late@example.com")
    for event in call.get("/v2/core/events")["data"]:
        call.get(f"/v2/core/events/{event['id']}")


def lists(call, customer, sub):
    for path in ("customers", "products", "prices", "subscriptions", "invoices", "invoiceitems", "charges", "refunds",
                 "disputes", "coupons", "promotion_codes", "checkout/sessions", "subscription_schedules",
                 "entitlements/features", "billing/meters"):
        found = call.get(f"/v1/{path}", limit=100)["data"]
        call.get(f"/v1/{path}/{found[0]['id']}")
    call.get("/v1/subscription_items", subscription=sub)
    call.get("/v1/entitlements/active_entitlements", customer=customer)
    if not call.is_before(BASIL):
        call.get("/v1/invoice_payments", limit=100)
    call("DELETE", f"/v1/customers/{call.post('/v1/customers')['id']}")
    call.post(f"/v1/customers/{customer}", metadata={"more": "x"})


def events(call):
    """All events, by pages."""
    found, after = [], {}
    while True:
        page = call.get("/v1/events", limit=100, **after)
        found += page["data"]
        if not page["has_more"]:
            return found
        after = {"starting_after": found[-1]["id"]}
