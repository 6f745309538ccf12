# SPDX-License-Identifier: BSD-2-Clause
"""checkout: Checkout sessions: customers pay, cancel, or let them expire.

With the setting checkout_is_async the page completes the session with payment_status unpaid, and
a control call says later whether the payment succeeded.
"""
import customers
import invoices
import subscription
from catalog import amount_of, is_metered
from clock import DAY, HOUR
from errors import declined, invalid, refused
from params import Need, anything, at_most, between, boolean, integer, merge_metadata, metadata, one_of
from params import text
from render import list_of
from routes import page, paged, route
from subscription_api import TRIAL_SETTINGS, priced

# The first version without payment_method_types.
ENDIVE = "2026-09-30"


@route("POST", "/v1/checkout/sessions", {
    "mode": Need(one_of("payment", "setup", "subscription")), "success_url": text,
    "cancel_url": text,
    "line_items": Need([{"price": Need(text), "quantity": between(1, 999999),
                         "adjustable_quantity": anything,
                         "metadata": metadata}]),
    "customer": text, "customer_email": text, "client_reference_id": at_most(200),
    "metadata": metadata,
    "subscription_data": {"metadata": metadata, "trial_period_days": between(1, 730),
                          "trial_end": integer,
                          "description": text, "trial_settings": TRIAL_SETTINGS},
    "payment_method_types": [text], "expires_at": integer, "allow_promotion_codes": boolean,
    "billing_address_collection": text, "locale": text, "ui_mode": text, "automatic_tax": anything,
    "tax_id_collection": anything, "consent_collection": anything, "customer_update": anything,
    "payment_method_collection": one_of("always", "if_required"), "submit_type": text})
def post(world, call):
    p = call.params
    if "payment_method_types" in p and call.version[:10] >= ENDIVE:
        raise invalid("Received unknown parameter: payment_method_types", "payment_method_types",
                      "parameter_unknown")
    if p["mode"] != "subscription":
        raise refused("The fake sells subscriptions only: mode must be subscription.", "mode")
    if "success_url" not in p:
        raise invalid("Missing required param: success_url.", "success_url", "parameter_missing")
    for name in ("success_url", "cancel_url"):
        if not p.get(name, "http://").startswith(("http://", "https://")):
            raise refused("Not a valid URL", name, "url_invalid")
    if "customer" in p and "customer_email" in p:
        raise refused("You may only specify one of these parameters: customer, customer_email.",
                      "customer_email")
    if "customer" in p:
        customers.living(world, p["customer"])
    if "customer_email" in p and "@" not in p["customer_email"]:
        raise refused(f"Invalid email address: {p['customer_email']}", "customer_email",
                      "email_invalid")
    return create(world, p)


def line_items_of(world, items):
    rows = []
    for price, quantity in items:
        total = 0 if is_metered(price) else amount_of(price, quantity)
        rows.append({"id": world.new_id("li"), "object": "item", "amount_discount": 0,
                     "amount_subtotal": total, "amount_tax": 0, "amount_total": total,
                     "currency": price["currency"], "description": "Subscription", "price": price,
                     "quantity": quantity})
    return rows


def create(world, p):
    items = priced(world, p["line_items"], "line_items")
    for i, (price, quantity) in enumerate(items):
        if quantity is None and not is_metered(price):
            raise refused("Quantity is required. Add `quantity` to `line_items[{}]`.".format(i),
                          f"line_items[{i}][quantity]")
    now = world.now()
    expires = p.get("expires_at", now + DAY)
    if not now + HOUR // 2 <= expires <= now + DAY + 60:
        raise refused("The `expires_at` timestamp must be at least 30 minutes and less than 24 hours from "
                      "Checkout Session creation.", "expires_at")
    lines = line_items_of(world, items)
    total = sum(line["amount_total"] for line in lines)
    data = p.get("subscription_data", {})
    if data.get("trial_period_days") or data.get("trial_end"):
        total = 0
    name = world.new_id("cs_test", 58)
    session = world.sessions.add({
        "id": name, "object": "checkout.session", "adaptive_pricing": None,
        "after_expiration": None,
        "allow_promotion_codes": p.get("allow_promotion_codes"), "amount_subtotal": total,
        "amount_total": total,
        "automatic_tax": {"enabled": False, "liability": None, "status": None},
        "billing_address_collection": None, "cancel_url": p.get("cancel_url"),
        "client_reference_id": p.get("client_reference_id"), "client_secret": None,
        "collected_information": None, "consent": None, "consent_collection": None, "created": now,
        "currency": items[0][0]["currency"], "currency_conversion": None, "custom_fields": [],
        "custom_text": {}, "customer": p.get("customer"),
        "customer_creation": None if "customer" in p else "always", "customer_details": None,
        "customer_email": p.get("customer_email"), "discounts": [], "expires_at": expires,
        "invoice": None,
        "invoice_creation": None, "livemode": False, "locale": None,
        "metadata": merge_metadata({}, p.get("metadata", {})), "mode": "subscription",
        "payment_intent": None, "payment_link": None, "payment_method_collection": "always",
        "payment_method_options": None, "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": False}, "recovered_from": None, "setup_intent": None,
        "shipping_address_collection": None, "shipping_cost": None, "shipping_options": [],
        "status": "open", "submit_type": None, "subscription": None,
        "success_url": p["success_url"],
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted",
        "url": f"{world.base_url}/c/pay/{name}",
        "_line_items": lines, "_items": items, "_data": data, "_timer": None,
    })
    session["_timer"] = world.clock.at(expires, lambda: expire(world, session))
    return session


def buyer(world, session, email):
    if session["customer"]:
        return world.customers.get(session["customer"])
    return customers.create(world,
                            {"email": session["customer_email"] or email or "buyer@example.com"})


def complete(world, session, email=None, is_async=None):
    """Completes the session, as the page's button does. Raises ApiError if the card is declined."""
    if session["status"] != "open":
        raise refused(f"This Checkout Session is {session['status']}.")
    is_async = world.settings["checkout_is_async"] if is_async is None else is_async
    if not is_async:
        may_pay(world, session)
    customer = buyer(world, session, email)
    fields = dict(session["_data"])
    if is_async:
        fields["is_pending"] = True
    sub = subscription.create(world, customer, session["_items"], fields, is_checkout=True)
    session["_timer"].is_off = True
    invoice = world.invoices.get(sub["latest_invoice"])
    session.update({
        "status": "complete", "customer": customer["id"], "subscription": sub["id"], "url": None,
        "invoice": invoice["id"],
        "payment_status": "unpaid" if sub["status"] == "incomplete" else
        "paid" if session["amount_total"] else "no_payment_required",
        "customer_details": {"address": None, "email": customer["email"], "name": customer["name"],
                             "phone": None, "tax_exempt": "none", "tax_ids": []}})
    world.emit("checkout.session.completed", session)
    return session


def may_pay(world, session):
    """If the card is declined, the session stays open and nothing is created."""
    customer = session["customer"] and world.customers.get(session["customer"])
    outcome = customer and customer["_payment"] or world.settings["payment"]
    if outcome not in ("succeeds", "none"):
        if customer:
            customers.take_payment(world, customer)
        raise declined()


def end_async(world, session, has_succeeded):
    """Ends a pending payment."""
    if session["status"] != "complete" or session["payment_status"] != "unpaid":
        raise refused("Nothing is pending for this session.")
    if has_succeeded:
        session["payment_status"] = "paid"
        invoices.settle(world, world.invoices.get(session["invoice"]))
        world.emit("checkout.session.async_payment_succeeded", session)
        return
    invoice = world.invoices.get(session["invoice"])
    invoice["attempt_count"] += 1
    invoice["attempted"] = True
    world.emit("invoice.payment_failed", invoice)
    world.emit("checkout.session.async_payment_failed", session)


def expire(world, session):
    session["_timer"].is_off = True
    session["status"], session["url"] = "expired", None
    world.emit("checkout.session.expired", session)


@route("GET", "/v1/checkout/sessions", paged(customer=text, subscription=text, payment_intent=text,
                                             status=one_of("open", "complete", "expired")))
def index(world, call):
    p = call.params
    return page(world.sessions, call, lambda s: all(p.get(name, s[name]) == s[name] for name in (
        "customer", "subscription", "status")))


@route("GET", "/v1/checkout/sessions/{}")
def get(world, call, name):
    return world.sessions.get(name)


@route("GET", "/v1/checkout/sessions/{}/line_items", paged())
def line_items(world, call, name):
    return list_of(world.sessions.get(name)["_line_items"], call.path)


@route("POST", "/v1/checkout/sessions/{}/expire")
def post_expire(world, call, name):
    session = world.sessions.get(name)
    if session["status"] != "open":
        raise refused("Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout "
                      f"Session has a status of {session['status']}.")
    expire(world, session)
    return session
