# SPDX-License-Identifier: BSD-2-Clause
"""checkout: Checkout sessions: customers pay, cancel, or let them expire.

With the setting checkout_is_async the page completes the session with payment_status unpaid, and
a control call says later whether the payment succeeded.
"""
import coupons
import customers
import invoices
import subscription
from catalog import amount_of, is_metered
from clock import DAY, HOUR
from errors import declined, invalid, refused
from params import Need, anything, at_most, between, boolean, integer, merge_metadata, metadata, one_of
from params import text
from render import ENDIVE, changing, list_of
from routes import page, paged, route
from subscription_api import BILLING_MODE, TRIAL_SETTINGS, priced

AUTO = one_of("auto", "never")
MOST_ITEMS = 20
# What buyers enter on the page.
ADDRESS = {"city": None, "country": "US", "line1": None, "line2": None, "postal_code": "94110", "state": None}


@route("POST", "/v1/checkout/sessions", {
    "mode": Need(one_of("payment", "setup", "subscription")), "success_url": text,
    "cancel_url": text,
    "line_items": Need([{"price": Need(text), "quantity": between(1, 999999),
                         "adjustable_quantity": {"enabled": Need(boolean), "maximum": between(1, 999999),
                                                 "minimum": between(0, 999999)},
                         "metadata": metadata}]),
    "customer": text, "customer_email": text, "client_reference_id": at_most(200),
    "metadata": metadata,
    "subscription_data": {"metadata": metadata, "trial_period_days": between(1, 730),
                          "trial_end": integer,
                          "description": text, "trial_settings": TRIAL_SETTINGS, "billing_mode": BILLING_MODE},
    "payment_method_types": [text], "expires_at": integer, "allow_promotion_codes": boolean,
    "billing_address_collection": text, "locale": text, "ui_mode": text, "automatic_tax": {"enabled": Need(boolean)},
    "tax_id_collection": anything, "consent_collection": anything,
    "customer_update": {"address": AUTO, "name": AUTO, "shipping": AUTO},
    "payment_method_collection": one_of("always", "if_required"), "submit_type": text,
    "discounts": [{"coupon": text, "promotion_code": text}]})
def post(world, call):
    p = call.params
    hosted = "hosted_page" if call.version[:10] >= ENDIVE else "hosted"
    if p.get("ui_mode", hosted) != hosted:
        raise refused(f"The fake has hosted pages only: ui_mode must be {hosted}.", "ui_mode")
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
    if "allow_promotion_codes" in p and "discounts" in p:
        raise refused("You may only specify one of these parameters: allow_promotion_codes, discounts.",
                      "allow_promotion_codes")
    if len(p.get("discounts", ())) > 1:
        raise invalid("Array discounts exceeded maximum 1 allowed elements.", "discounts")
    if "customer" in p:
        check_customer(world, p)
    elif "customer_update" in p:
        raise refused("`customer_update` can only be used with `customer`.", "customer_update")
    if "customer_email" in p and "@" not in p["customer_email"]:
        raise refused(f"Invalid email address: {p['customer_email']}", "customer_email",
                      "email_invalid")
    p = {**p, "subscription_data": dict(p.get("subscription_data", {}))}
    p["subscription_data"]["_is_flexible"] = subscription.is_flexible(p["subscription_data"], call.version)
    return create(world, p)


def check_customer(world, p):
    customer = customers.living(world, p["customer"])
    if not p.get("automatic_tax", {}).get("enabled") or customer["address"]:
        return
    if p.get("customer_update", {}).get("address") != "auto":
        raise refused("Automatic tax calculation in Checkout requires a valid address on the Customer. Add a valid "
                      "address to the Customer or set `customer_update[address]` to 'auto' to save the billing "
                      "address entered in Checkout to the Customer.", code="customer_tax_location_invalid")


def check_items(world, p, items):
    if len(items) > MOST_ITEMS:
        raise refused(f"A Checkout Session in subscription mode can have at most {MOST_ITEMS} line items with "
                      "recurring prices.", "line_items")
    if not items:
        raise invalid("Missing required param: line_items.", "line_items", "parameter_missing")
    for i, (price, quantity) in enumerate(items):
        if quantity is None and not is_metered(price):
            raise refused(f"Quantity is required. Add `quantity` to `line_items[{i}]`",
                          f"line_items[{i}][quantity]")
        if price["currency"] != items[0][0]["currency"]:
            raise refused("All line items must have the same currency.", f"line_items[{i}]")
    subscription.check_rhythms([price for price, _ in items], p["subscription_data"]["_is_flexible"], "line_items")
    for i, (price, quantity) in enumerate(items):
        adjustable = p["line_items"][i].get("adjustable_quantity")
        if adjustable and adjustable["enabled"]:
            check_adjustable(price, quantity, adjustable, f"line_items[{i}]")
    if "customer" in p:
        customers.check_currency(world, world.customers.get(p["customer"]), items[0][0]["currency"])


def check_adjustable(price, quantity, adjustable, path):
    least, most = adjustable.get("minimum", 0), adjustable.get("maximum", 99)
    if is_metered(price) or not least <= quantity <= most:
        raise refused(f"The quantity must be between {least} and {most}, the minimum and maximum of "
                      f"`{path}[adjustable_quantity]`.", f"{path}[adjustable_quantity]")


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
    check_items(world, p, items)
    now = world.now()
    expires = p.get("expires_at", now + DAY)
    if not now + HOUR // 2 <= expires <= now + DAY + 60:
        raise refused("The `expires_at` timestamp must be at least 30 minutes and less than 24 hours from "
                      "Checkout Session creation.", "expires_at")
    data = p.get("subscription_data", {})
    check_trial(data, now)
    lines = line_items_of(world, items)
    for line, asked in zip(lines, p["line_items"]):
        line["metadata"] = asked.get("metadata", {})
        line["_adjustable"] = asked.get("adjustable_quantity", {"enabled": False})
    customer = world.customers.get(p["customer"]) if "customer" in p else None
    pairs = coupons.chosen(world, p.get("discounts", ()), customer, items[0][0]["currency"])
    taxed = p.get("automatic_tax", {}).get("enabled", False)
    name = world.new_id("cs_test", 58)
    session = world.sessions.add({
        "id": name, "object": "checkout.session", "adaptive_pricing": None,
        "after_expiration": None,
        "allow_promotion_codes": p.get("allow_promotion_codes"), "amount_subtotal": 0,
        "amount_total": 0,
        "automatic_tax": {"enabled": taxed, "liability": {"type": "self"} if taxed else None,
                          "provider": "stripe" if taxed else None, "status": None},
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
        "payment_intent": None, "payment_link": None,
        "payment_method_collection": p.get("payment_method_collection", "always"),
        "payment_method_options": None, "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": False}, "recovered_from": None, "setup_intent": None,
        "shipping_address_collection": None, "shipping_cost": None, "shipping_options": [],
        "status": "open", "submit_type": None, "subscription": None,
        "success_url": p["success_url"],
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": f"{world.base_url}/c/pay/{name}",
        "_line_items": lines, "_items": items, "_data": data, "_timer": None,
        "_update": p.get("customer_update", {}), "_discounts": [],
    })
    discount(session, pairs)
    session["_timer"] = world.clock.at(expires, lambda: expire(world, session))
    return session


def check_trial(data, now):
    if "trial_period_days" in data and "trial_end" in data:
        raise refused("You may only specify one of these parameters: trial_end, trial_period_days.",
                      "subscription_data[trial_end]")
    if data.get("trial_end", now + 2 * DAY) < now + 2 * DAY:
        raise refused("The `trial_end` date has to be at least 2 days in the future.", "subscription_data[trial_end]")


def discount(session, pairs):
    """Applies the coupons of @pairs, and computes what is due today: nothing, if there is a trial."""
    lines = session["_line_items"]
    rows = [{"id": "", "_coupon": coupon} for coupon, _ in pairs]
    as_invoice = {"lines": {"data": [{"amount": line["amount_subtotal"], "discountable": True, "pricing": {
        "price_details": {"product": line["price"]["product"]}}} for line in lines]}}
    coupons.apply(as_invoice, rows)
    for line, lowered in zip(lines, as_invoice["lines"]["data"]):
        line["amount_discount"] = sum(d["amount"] for d in lowered["discount_amounts"])
        line["amount_total"] = line["amount_subtotal"] - line["amount_discount"]
    has_trial = session["_data"].get("trial_period_days") or session["_data"].get("trial_end")
    totals = {name: 0 if has_trial else sum(line[name] for line in lines)
              for name in ("amount_subtotal", "amount_discount", "amount_total")}
    session["amount_subtotal"], session["amount_total"] = totals["amount_subtotal"], totals["amount_total"]
    session["total_details"]["amount_discount"] = totals["amount_discount"]
    session["discounts"] = [{"coupon": None if code else coupon["id"], "promotion_code": code and code["id"]}
                            for coupon, code in pairs]
    session["_discounts"] = pairs


def enter_code(world, session, code):
    """A customer enters a promotion code on the page."""
    if not session["allow_promotion_codes"]:
        raise refused("Promotion codes are not enabled for this session.")
    customer = session["customer"] and world.customers.get(session["customer"])
    found = coupons.by_code(world, code, session["customer"])
    coupons.check(world, found["_coupon"], found, customer, session["currency"])
    discount(session, [(found["_coupon"], found)])


def adjust(session, quantity):
    """The customer chooses the quantity of the first line that allows it."""
    for i, line in enumerate(session["_line_items"]):
        limits = line["_adjustable"]
        if not limits["enabled"]:
            continue
        if not limits.get("minimum", 0) <= quantity <= limits.get("maximum", 99) or quantity == 0:
            raise refused("This quantity is not available.")
        total = amount_of(line["price"], quantity)
        line.update(quantity=quantity, amount_subtotal=total, amount_total=total)
        session["_items"][i] = (line["price"], quantity)
        discount(session, session["_discounts"])
        return
    raise refused("No quantity can be changed.")


def buyer(world, session, email):
    if session["customer"]:
        customer = world.customers.get(session["customer"])
        with changing(world, customer, "customer.updated"):
            customer["email"] = customer["email"] or email
            if session["_update"].get("address") == "auto":
                customer["address"] = dict(ADDRESS)
            if session["_update"].get("name") == "auto":
                customer["name"] = customer["name"] or "Ada Buyer"
        return customer
    return customers.create(world,
                            {"email": session["customer_email"] or email or "buyer@example.com"})


def complete(world, session, email=None, is_async=None):
    """Completes the session, as the page's button does. Raises ApiError if the card is declined."""
    if session["status"] != "open":
        raise refused(f"This Checkout Session is {session['status']}.")
    is_async = world.settings["checkout_is_async"] if is_async is None else is_async
    needs_card = session["amount_total"] or session["payment_method_collection"] == "always"
    if needs_card and not is_async:
        may_pay(world, session)
    customer = buyer(world, session, email)
    if not needs_card and not session["customer"]:
        customers.set_payments(customer, "none")
    fields = {**session["_data"], "_discounts": session["_discounts"], "_session": session["id"],
              "automatic_tax": {"enabled": session["automatic_tax"]["enabled"]}}
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
        "automatic_tax": {**session["automatic_tax"],
                          "status": "complete" if session["automatic_tax"]["enabled"] else None},
        "customer_details": {"address": customer["address"] or dict(ADDRESS),
                             "email": customer["email"], "name": customer["name"],
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
