# SPDX-License-Identifier: BSD-2-Clause
"""portal: configurations and sessions of the billing portal, and the flows that a session may start.

A configuration says what customers may do. A flow is one action that the operator has prepared, such as
the change to another price: the customer confirms it on the page (pages.py) and returns to the operator.
"""
import coupons
import customers
import prorations
import subscription
from catalog import amount_of
from clock import add_interval
from errors import declined, invalid, refused
from params import Empty, Need, at_most, between, boolean, merge_metadata, metadata, one_of, text
from render import changing, freeze
from routes import EMPTY_TEXT, optional, page, paged, route
from schedules import plan_change
from subscription_api import change_items, plan_cancellation

URL = "url_invalid"
PRORATION = one_of("always_invoice", "create_prorations", "none")
REASONS = one_of("customer_service", "low_quality", "missing_features", "other", "switched_service",
                 "too_complex", "too_expensive", "unused")
PRODUCTS = [{"product": Need(text), "prices": Need([text]), "adjustable_quantity": {
    "enabled": Need(boolean), "maximum": between(1, 999999), "minimum": between(0, 999999)}}]
FEATURES = {
    "customer_update": {"enabled": boolean, "allowed_updates": Empty([one_of(
        "address", "email", "name", "phone", "shipping", "tax_id")])},
    "invoice_history": {"enabled": Need(boolean)},
    "payment_method_update": {"enabled": Need(boolean), "payment_method_configuration": EMPTY_TEXT},
    "subscription_cancel": {
        "enabled": boolean, "mode": one_of("at_period_end", "immediately"), "proration_behavior": PRORATION,
        "cancellation_reason": {"enabled": Need(boolean), "options": Empty([REASONS])}},
    "subscription_update": {
        "enabled": boolean, "billing_cycle_anchor": one_of("now", "unchanged"),
        "default_allowed_updates": Empty([one_of("price", "promotion_code", "quantity")]),
        "products": Empty(PRODUCTS), "proration_behavior": PRORATION,
        "schedule_at_period_end": {"conditions": Empty([{
            "type": Need(one_of("decreasing_item_amount", "shortening_interval"))}])},
        "trial_update_behavior": one_of("continue_trial", "end_trial")}}
CONFIGURATION = {
    "business_profile": {"headline": EMPTY_TEXT, "privacy_policy_url": EMPTY_TEXT,
                         "terms_of_service_url": EMPTY_TEXT},
    "default_return_url": EMPTY_TEXT, "login_page": {"enabled": Need(boolean)}, "metadata": metadata,
    "name": EMPTY_TEXT}
MOST_PRODUCTS = 10
ALL_REASONS = ["too_expensive", "missing_features", "switched_service", "unused", "other"]


def features():
    """The features of a configuration unless its creator sets them."""
    return {
        "customer_update": {"allowed_updates": [], "enabled": False},
        "invoice_history": {"enabled": False},
        "payment_method_update": {"enabled": False, "payment_method_configuration": None},
        "subscription_cancel": {
            "cancellation_reason": {"enabled": False, "feedback_options": None, "options": list(ALL_REASONS)},
            "enabled": False, "mode": "at_period_end", "proration_behavior": "none"},
        "subscription_pause": {"duration": {"interval_options": [{"interval": "month", "interval_count": 1}],
                                            "type": "interval_options"}, "enabled": False},
        "subscription_update": {
            "billing_cycle_anchor": None, "default_allowed_updates": [], "enabled": False,
            "products": [], "proration_behavior": "none", "schedule_at_period_end": {"conditions": []},
            "trial_update_behavior": "end_trial"}}


def new_configuration(world, is_default=False):
    now = world.now()
    return {
        "id": world.new_id("bpc"), "object": "billing_portal.configuration", "active": True, "application": None,
        "business_profile": {"headline": None, "privacy_policy_url": None, "terms_of_service_url": None},
        "created": now, "default_return_url": None, "features": features(), "is_default": is_default,
        "livemode": False, "login_page": {"enabled": False, "url": None}, "metadata": {}, "name": None,
        "updated": now}


def default(world):
    """The default configuration, as the dashboard saves it: customers may do everything except change their plan."""
    if not len(world.portal_configurations):
        allowed = world.portal_configurations.add(new_configuration(world, True))["features"]
        allowed["customer_update"].update(enabled=True, allowed_updates=["email", "address", "tax_id"])
        for name in ("invoice_history", "payment_method_update", "subscription_cancel"):
            allowed[name]["enabled"] = True
    return next(c for c in world.portal_configurations if c["is_default"])


def apply(world, found, p):
    for name in ("headline", "privacy_policy_url", "terms_of_service_url"):
        if name in p.get("business_profile", {}):
            found["business_profile"][name] = optional(p["business_profile"][name])
    for name in ("default_return_url", "name"):
        if name in p:
            found[name] = optional(p[name])
    found["metadata"] = merge_metadata(found["metadata"], p.get("metadata", {}))
    if "login_page" in p:
        found["login_page"] = {"enabled": p["login_page"]["enabled"],
                               "url": f"{world.base_url}/p/login/test" if p["login_page"]["enabled"] else None}
    for name, fields in p.get("features", {}).items():
        feature = found["features"][name]
        for key, value in fields.items():
            if isinstance(feature[key], dict):
                feature[key].update({k: v or [] for k, v in value.items()})
            else:
                feature[key] = value if isinstance(value, bool) else value or (
                    [] if isinstance(feature[key], list) else None)
    if found["features"]["subscription_update"]["enabled"]:
        if not found["features"]["payment_method_update"]["enabled"]:
            raise refused("Cannot enable subscription updates while payment method update is disabled.")
    check_products(world, found["features"]["subscription_update"])
    found["updated"] = world.now()


def changed(world, found, p):
    """A changed copy, so that nothing changes if @p is refused."""
    copy = freeze(found)
    apply(world, copy, p)
    return copy


def check_products(world, update):
    path = "features[subscription_update][products]"
    if update["enabled"] and not (update["products"] and update["default_allowed_updates"]):
        raise invalid(f"Missing required param: {path}.", path, "parameter_missing")
    if len(update["products"]) > MOST_PRODUCTS:
        raise invalid(f"Array {path} exceeded maximum {MOST_PRODUCTS} allowed elements.", path)
    for i, row in enumerate(update["products"]):
        world.products.get(row["product"], f"{path}[{i}][product]")
        intervals = set()
        for name in row["prices"]:
            price = world.prices.get(name, f"{path}[{i}][prices]")
            if price["product"] != row["product"]:
                raise refused(f"The price {name} does not belong to the product {row['product']}.",
                              f"{path}[{i}][prices]")
            every = price["recurring"] and (price["recurring"]["interval"], price["recurring"]["interval_count"],
                                            price["currency"])
            if every in intervals:
                raise refused("Each price of a product must have a unique billing interval.",
                              f"{path}[{i}][prices]")
            intervals.add(every)
        given = row.get("adjustable_quantity") or {"enabled": False}
        row["adjustable_quantity"] = {"maximum": None, "minimum": 1, **given}


@route("GET", "/v1/billing_portal/configurations", paged(active=boolean, is_default=boolean))
def configurations(world, call):
    p = call.params
    default(world)
    return page(world.portal_configurations, call, lambda c: p.get("active", c["active"]) == c["active"]
                and p.get("is_default", c["is_default"]) == c["is_default"])


@route("GET", "/v1/billing_portal/configurations/{}")
def configuration(world, call, name):
    default(world)
    return world.portal_configurations.get(name)


@route("POST", "/v1/billing_portal/configurations", {**CONFIGURATION, "features": Need(FEATURES)})
def create_configuration(world, call):
    default(world)
    found = world.portal_configurations.add(changed(world, new_configuration(world), call.params))
    world.emit("billing_portal.configuration.created", found)
    return found


@route("POST", "/v1/billing_portal/configurations/{}", {**CONFIGURATION, "active": boolean, "features": FEATURES})
def update_configuration(world, call, name):
    default(world)
    found = world.portal_configurations.get(name)
    with changing(world, found, "billing_portal.configuration.updated"):
        found.update(changed(world, found, call.params))
        found["active"] = call.params.get("active", found["active"])
    return found


# Sessions.

SUBSCRIPTION = {"subscription": Need(text)}
UPDATES = ("subscription_update", "subscription_update_confirm")
FLOWS = ("payment_method_update", "subscription_cancel") + UPDATES
FLOW = {
    "type": Need(one_of(*FLOWS)),
    "after_completion": {"type": Need(one_of("hosted_confirmation", "portal_homepage", "redirect")),
                         "redirect": {"return_url": Need(text)},
                         "hosted_confirmation": {"custom_message": at_most(500)}},
    "subscription_cancel": {**SUBSCRIPTION, "retention": {
        "type": Need(one_of("coupon_offer")), "coupon_offer": Need({"coupon": Need(text)})}},
    "subscription_update": SUBSCRIPTION,
    "subscription_update_confirm": {
        **SUBSCRIPTION, "discounts": [{"coupon": text, "promotion_code": text}],
        "items": Need([{"id": Need(text), "price": text, "quantity": between(0, 1000000)}])}}


def check_url(url, path):
    if not url.startswith(("http://", "https://")):
        raise invalid("Not a valid URL", path, URL)


@route("POST", "/v1/billing_portal/sessions", {
    "customer": Need(text), "return_url": text, "configuration": text, "flow_data": FLOW, "locale": text,
    "on_behalf_of": text})
def post(world, call):
    p = call.params
    customer = customers.living(world, p["customer"])
    check_url(p.get("return_url", "http://"), "return_url")
    allowed = default(world)
    if "configuration" in p:
        allowed = world.portal_configurations.get(p["configuration"], "configuration")
    if not allowed["active"]:
        if "configuration" in p:
            raise refused("The configuration specified is not active.", "configuration")
        raise refused("No configuration provided and your test mode default configuration has not been created. "
                      "Provide a configuration or create your default by saving your customer portal settings in "
                      "test mode at https://dashboard.stripe.com/test/settings/billing/portal.")
    flow = None
    if "flow_data" in p:
        flow = flow_of(world, customer, allowed, p["flow_data"])
    secret = world.new_id("test", 58)
    session = world.portals.add({
        "id": world.new_id("bps"), "object": "billing_portal.session", "after_expiration": None,
        "configuration": allowed["id"], "created": world.now(), "customer": customer["id"],
        "customer_account": None, "flow": flow, "livemode": False, "locale": p.get("locale"),
        "on_behalf_of": p.get("on_behalf_of"),
        "return_url": p.get("return_url") or allowed["default_return_url"],
        "url": f"{world.base_url}/p/session/{secret}", "_is_done": flow is None})
    world.portals.places[secret] = world.portals.places[session["id"]]
    world.emit("billing_portal.session.created", session)
    return session


def flow_of(world, customer, allowed, asked):
    """The session's `flow`, if the customer may do that."""
    kind = asked["type"]
    for name in FLOWS:
        if name in asked and name != kind:
            raise invalid(f"You may only specify flow_data[{name}] if flow_data[type] is {name}.",
                          f"flow_data[{name}]")
    if kind != "payment_method_update" and kind not in asked:
        raise invalid(f"Missing required param: flow_data[{kind}].", f"flow_data[{kind}]", "parameter_missing")
    flow = {"after_completion": ending(asked.get("after_completion", {"type": "portal_homepage"})),
            "customer_update": None, "subscription_cancel": None, "subscription_pause": None,
            "subscription_update": None, "subscription_update_confirm": None, "type": kind}
    if kind == "payment_method_update":
        if not allowed["features"][kind]["enabled"]:
            raise refused("The payment method update feature in the portal configuration is disabled.")
        return flow
    path = f"flow_data[{kind}]"
    sub = own_subscription(world, customer, asked[kind]["subscription"], f"{path}[subscription]")
    if kind == "subscription_cancel":
        check_cancel(allowed, sub)
        retention = asked[kind].get("retention")
        if retention:
            coupons.chosen(world, [retention["coupon_offer"]], customer, sub["currency"],
                           f"{path}[retention][coupon_offer]")
        flow[kind] = {"retention": retention, "subscription": sub["id"]}
        return flow
    check_update(allowed, sub)
    flow[kind] = {"subscription": sub["id"]}
    if kind == "subscription_update_confirm":
        flow[kind] = confirmed(world, allowed, sub, asked[kind], path)
    return flow


def ending(asked):
    kind = asked["type"]
    for name in ("redirect", "hosted_confirmation"):
        if name in asked and name != kind:
            raise invalid(f"You may only specify flow_data[after_completion][{name}] if "
                          f"flow_data[after_completion][type] is {name}.", f"flow_data[after_completion][{name}]")
    if kind == "redirect":
        if "redirect" not in asked:
            raise invalid("Missing required param: flow_data[after_completion][redirect].",
                          "flow_data[after_completion][redirect]", "parameter_missing")
        check_url(asked["redirect"]["return_url"], "flow_data[after_completion][redirect][return_url]")
    note = {"custom_message": asked.get("hosted_confirmation", {}).get("custom_message")}
    return {"hosted_confirmation": note if kind == "hosted_confirmation" else None,
            "redirect": asked["redirect"] if kind == "redirect" else None, "type": kind}


def own_subscription(world, customer, name, path):
    sub = world.subscriptions.find(name)
    if sub is None or sub["customer"] != customer["id"]:
        raise refused(f"No such subscription: '{name}'", path, "resource_missing")
    if sub["status"] in subscription.ENDED or sub["status"] == "incomplete":
        raise refused(f"The subscription {name} cannot be changed in the portal because it is {sub['status']}.",
                      path)
    return sub


def check_cancel(allowed, sub):
    if not allowed["features"]["subscription_cancel"]["enabled"]:
        raise refused("This subscription cannot be canceled because the subscription cancel feature in the "
                      "portal configuration is disabled.")
    if sub["cancel_at_period_end"] or sub["cancel_at"]:
        raise refused(f"The subscription {sub['id']} is already set to be canceled at period end.")
    if sub["schedule"]:
        raise refused(f"The subscription is managed by the subscription schedule `{sub['schedule']}`, and updating any "
                      "cancelation behavior directly is not allowed. Please update the schedule instead.")


def check_update(allowed, sub):
    feature = allowed["features"]["subscription_update"]
    if not feature["enabled"] or not feature["default_allowed_updates"]:
        raise refused("This subscription cannot be updated because the subscription update feature in the portal "
                      "configuration is disabled.")
    for is_wrong, why in (
            (len(sub["items"]["data"]) > 1, "it contains multiple items"),
            ("quantity" not in sub["items"]["data"][0], "it has a price with usage-based billing"),
            (sub["collection_method"] != "charge_automatically", "its invoices are sent to the customer"),
            (sub["schedule"], "it is managed by a subscription schedule"),
            (sub["cancel_at_period_end"] or sub["cancel_at"], "it is set to be canceled")):
        if is_wrong:
            raise refused(f"This subscription cannot be updated because {why}.")


def offers(world, allowed):
    """{price's ID: the product's row in the configuration}: what a customer may change to."""
    return {name: row for row in allowed["features"]["subscription_update"]["products"] for name in row["prices"]
            if world.prices.get(name)["active"]}


def confirmed(world, allowed, sub, asked, path):
    rows, item = asked["items"], sub["items"]["data"][0]
    if len(rows) != 1:
        raise invalid(f"Array {path}[items] must have exactly one element.", f"{path}[items]")
    if rows[0]["id"] != item["id"]:
        raise refused(f"No such subscription item: '{rows[0]['id']}'", f"{path}[items][0][id]", "resource_missing")
    discounts = asked.get("discounts", [])
    if len(discounts) > 1:
        raise invalid(f"Array {path}[discounts] exceeded maximum 1 allowed elements.", f"{path}[discounts]")
    coupons.chosen(world, discounts, world.customers.get(sub["customer"]), sub["currency"], f"{path}[discounts]")
    price, quantity = rows[0].get("price", item["price"]["id"]), rows[0].get("quantity", item["quantity"])
    if (price, quantity) == (item["price"]["id"], item["quantity"]) and not discounts:
        raise refused("Cannot update the subscription because there are no changes to confirm.")
    check_change(world, allowed, item, price, quantity, f"{path}[items][0]")
    discounts = [{"coupon": None, "promotion_code": None, **row} for row in discounts]
    return {"discounts": discounts or None, "items": [{"id": item["id"], "price": price, "quantity": quantity}],
            "subscription": sub["id"]}


def check_change(world, allowed, item, price, quantity, path):
    may = allowed["features"]["subscription_update"]["default_allowed_updates"]
    if price != item["price"]["id"]:
        new = world.prices.get(price, f"{path}[price]")
        if "price" not in may:
            raise refused("The portal configuration does not allow customers to change the price.", f"{path}[price]")
        if price not in offers(world, allowed):
            raise refused(f"The price {price} is not among the prices that the portal configuration's "
                          "features[subscription_update][products] lists.", f"{path}[price]")
        if new["currency"] != item["price"]["currency"]:
            raise refused("The price must have the currency of the subscription.", f"{path}[price]")
    if quantity != item["quantity"]:
        row = offers(world, allowed).get(price)
        limits = (row or {}).get("adjustable_quantity", {"enabled": True, "minimum": 1, "maximum": None})
        if "quantity" not in may or not limits["enabled"]:
            raise refused("The portal configuration does not allow customers to change the quantity.",
                          f"{path}[quantity]")
        if quantity < limits["minimum"] or (limits["maximum"] is not None and quantity > limits["maximum"]):
            raise refused(f"The quantity {quantity} is outside the range that the portal configuration allows.",
                          f"{path}[quantity]")


# What the pages do.

def subscription_of(world, session):
    return world.subscriptions.get(session["flow"][session["flow"]["type"]]["subscription"])


def complete(world, session, fields):
    """Carries out the flow. Raises ApiError if that is no longer possible, or if the card is declined."""
    flow, kind = session["flow"], session["flow"]["type"]
    allowed = world.portal_configurations.get(session["configuration"])
    customer = customers.living(world, session["customer"])
    if kind == "payment_method_update":
        new_card(world, customer, fields.get("card", "succeeds"))
    else:
        sub = own_subscription(world, customer, flow[kind]["subscription"], "subscription")
        if kind == "subscription_cancel":
            check_cancel(allowed, sub)
            offer = flow[kind]["retention"]
            if offer and fields.get("do") == "accept":
                redeem(world, sub, [offer["coupon_offer"]])
            else:
                cancel(world, allowed, sub)
        else:
            check_update(allowed, sub)
            update(world, allowed, sub, chosen(sub, flow, fields),
                   (flow["subscription_update_confirm"] or {}).get("discounts"))
    session["_is_done"] = True


def chosen(sub, flow, fields):
    """The row for the subscription's item: the one to confirm, or what the customer chose on the page."""
    if flow["subscription_update_confirm"]:
        return dict(flow["subscription_update_confirm"]["items"][0])
    item = sub["items"]["data"][0]
    row = {"id": item["id"], "price": fields.get("price", item["price"]["id"]),
           "quantity": int(fields.get("quantity", item["quantity"]))}
    if (row["price"], row["quantity"]) == (item["price"]["id"], item["quantity"]):
        raise refused("Cannot update the subscription because there are no changes to confirm.")
    return row


def new_card(world, customer, outcome):
    customers.set_payments(customer, outcome)
    with changing(world, customer, "customer.updated"):
        customer["invoice_settings"]["default_payment_method"] = world.new_id("pm")


def cancel(world, allowed, sub):
    feature = allowed["features"]["subscription_cancel"]
    if feature["mode"] == "immediately":
        subscription.end(world, sub)
        return
    with subscription.updating(world, sub):
        plan_cancellation(world, sub, True)
        subscription.set_timers(world, sub)


def redeem(world, sub, rows):
    rows = [{name: value for name, value in row.items() if value} for row in rows]
    pairs = coupons.chosen(world, rows, world.customers.get(sub["customer"]), sub["currency"])
    with subscription.updating(world, sub):
        coupons.redeem(world, sub, pairs)


def update(world, allowed, sub, row, discounts=None):
    """Changes the subscription's only item. Unlike the API's call, a declined card changes nothing."""
    feature = allowed["features"]["subscription_update"]
    check_change(world, allowed, sub["items"]["data"][0], row["price"], row["quantity"], "items[0]")
    p = {"items": [row], "proration_behavior": feature["proration_behavior"]}
    if feature["billing_cycle_anchor"] == "now":
        p["billing_cycle_anchor"] = "now"
    if waits_for_the_end(world, feature, sub["items"]["data"][0], row):
        plan_change(world, sub, row["price"], row["quantity"])
        return
    may_pay(world, sub)
    before = prorations.worth(sub)
    with subscription.updating(world, sub):
        if discounts:
            redeem(world, sub, discounts)
        if sub["status"] == "trialing" and feature["trial_update_behavior"] == "end_trial":
            change_items(world, sub, p, before)
            end_trial(world, sub)
        else:
            change_items(world, sub, p, before)
        subscription.set_timers(world, sub)


def waits_for_the_end(world, feature, item, row):
    """Whether the configuration delays this change to the end of the period."""
    old, new = item["price"]["recurring"], world.prices.get(row["price"])
    seconds = {name: add_interval(0, every["interval"], every["interval_count"])
               for name, every in (("old", old), ("new", new["recurring"]))}
    is_wanted = {condition["type"] for condition in feature["schedule_at_period_end"]["conditions"]}
    return ("shortening_interval" in is_wanted and seconds["new"] < seconds["old"]
            or "decreasing_item_amount" in is_wanted
            and amount_of(new, row["quantity"]) < amount_of(item["price"], item["quantity"]))


def end_trial(world, sub):
    sub["trial_end"], sub["status"] = world.now(), "active"
    subscription.restart_period(world, sub)
    subscription.invoice_now(world, sub, "subscription_update", {})


def may_pay(world, sub):
    customer = world.customers.get(sub["customer"])
    if (customer["_payment"] or world.settings["payment"]) not in ("succeeds", "none"):
        customers.take_payment(world, customer)
        raise declined()


def allow_plans(world, prices, fields):
    """Lets customers switch between @prices, as an operator does in the dashboard."""
    found = default(world)
    products = {}
    for name in prices:
        products.setdefault(world.prices.get(name)["product"], []).append(name)
    update_ = {"enabled": bool(prices), "default_allowed_updates": ["price", "quantity", "promotion_code"],
               "proration_behavior": "always_invoice",
               "products": [{"product": product, "prices": names,
                             "adjustable_quantity": {"enabled": True, "minimum": 1, "maximum": None}}
                            for product, names in products.items()], **fields}
    with changing(world, found, "billing_portal.configuration.updated"):
        found.update(changed(world, found, {"features": {"subscription_update": update_}}))
    return found
