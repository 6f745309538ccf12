# SPDX-License-Identifier: BSD-2-Clause
"""portal: the billing portal: its configurations, its sessions with their flows, and its pages.

A new account's dashboard has saved one configuration. It does not let customers switch plans until
its feature subscription_update lists the products and prices.
"""
import html

import form
import subscription
from errors import ApiError, invalid, refused
from params import Empty, Need, boolean, integer, metadata, one_of, text
from routes import page, paged, route
from server import Answer
from subscription_api import plan_cancellation, update_items

AGE_S = 300  # after which a session's URL shows nothing
UPDATES = one_of("price", "quantity", "promotion_code")
ANCHOR = one_of("now", "unchanged")
PRORATION = one_of("always_invoice", "create_prorations", "none")

FEATURES = {
    "customer_update": {"enabled": boolean, "allowed_updates": Empty([text])},
    "invoice_history": {"enabled": Need(boolean)},
    "payment_method_update": {"enabled": Need(boolean), "payment_method_configuration": Empty(text)},
    "subscription_cancel": {"enabled": Need(boolean), "mode": one_of("at_period_end", "immediately"),
                            "proration_behavior": PRORATION,
                            "cancellation_reason": {"enabled": Need(boolean), "options": Empty([text])}},
    "subscription_update": {
        "enabled": boolean, "default_allowed_updates": Empty([UPDATES]), "billing_cycle_anchor": ANCHOR,
        "proration_behavior": PRORATION, "trial_update_behavior": one_of("continue_trial", "end_trial"),
        "products": Empty([{"product": Need(text), "prices": Need([text]),
                            "adjustable_quantity": {"enabled": Need(boolean), "minimum": integer,
                                                    "maximum": integer}}])},
}
PROFILE = {"headline": Empty(text), "privacy_policy_url": text, "terms_of_service_url": text}
SHARED = {"business_profile": PROFILE, "default_return_url": Empty(text), "metadata": metadata,
          "name": Empty(text), "login_page": {"enabled": Need(boolean)}}


# Configurations.

def features():
    return {
        "customer_update": {"allowed_updates": ["email", "tax_id"], "enabled": True},
        "invoice_history": {"enabled": True},
        "payment_method_update": {"enabled": True, "payment_method_configuration": None},
        "subscription_cancel": {
            "cancellation_reason": {"enabled": False, "feedback_options": None,
                                    "options": ["too_expensive", "other"]},
            "enabled": True, "mode": "at_period_end", "proration_behavior": "none"},
        "subscription_pause": {"duration": {"interval_options": [], "type": "indefinite"}, "enabled": False},
        "subscription_update": {
            "billing_cycle_anchor": None, "default_allowed_updates": [], "enabled": False,
            "products": [], "proration_behavior": "none",
            "schedule_at_period_end": {"conditions": []}, "trial_update_behavior": "end_trial"},
    }


def configurations(world):
    if not len(world.portal_configurations):
        make_configuration(world, True)
    return world.portal_configurations


def make_configuration(world, is_default):
    return world.portal_configurations.add({
        "id": world.new_id("bpc"), "object": "billing_portal.configuration", "active": True,
        "application": None,
        "business_profile": {"headline": None, "privacy_policy_url": None, "terms_of_service_url": None},
        "created": world.now(), "default_return_url": None, "features": features(),
        "is_default": is_default, "livemode": False, "login_page": {"enabled": False, "url": None},
        "metadata": {}, "name": None, "updated": world.now()})


def change_features(world, configuration, asked):
    for name, values in asked.items():
        configuration["features"][name].update(values)
    allowed = configuration["features"]["subscription_update"]
    for key in ("products", "default_allowed_updates"):
        allowed[key] = allowed[key] or []
    if allowed["enabled"] and not (allowed["products"] and allowed["default_allowed_updates"]):
        raise refused("You must set `products` and `default_allowed_updates` if `subscription_update` is enabled.",
                      "features[subscription_update][products]")
    for row in allowed["products"]:
        world.products.get(row["product"])
        for price in row["prices"]:
            if world.prices.get(price)["product"] != row["product"]:
                raise refused(f"The price {price} is not of the product {row['product']}.",
                              "features[subscription_update][products]")
        row.setdefault("adjustable_quantity", {"enabled": False})
        row["adjustable_quantity"] = {"minimum": 1, "maximum": None, **row["adjustable_quantity"]}


@route("GET", "/v1/billing_portal/configurations", paged(active=boolean, is_default=boolean))
def list_configurations(world, call):
    p = call.params
    return page(configurations(world), call, lambda c: p.get("active", c["active"]) == c["active"]
                and p.get("is_default", c["is_default"]) == c["is_default"])


@route("GET", "/v1/billing_portal/configurations/{}")
def get_configuration(world, call, name):
    return configurations(world).get(name)


@route("POST", "/v1/billing_portal/configurations", {"features": Need(FEATURES), **SHARED})
def create_configuration(world, call):
    configurations(world)
    made = make_configuration(world, False)
    change_features(world, made, call.params["features"])
    return made


@route("POST", "/v1/billing_portal/configurations/{}", {"active": boolean, "features": FEATURES, **SHARED})
def update_configuration(world, call, name):
    found = configurations(world).get(name)
    found["active"] = call.params.get("active", found["active"])
    change_features(world, found, call.params.get("features", {}))
    found["updated"] = world.now()
    return found


# Sessions.

OF_SUBSCRIPTION = {"subscription": Need(text)}
FLOW = {
    "type": Need(one_of("customer_update", "payment_method_update", "subscription_cancel", "subscription_pause",
                        "subscription_update", "subscription_update_confirm")),
    "after_completion": {"type": Need(one_of("hosted_confirmation", "portal_homepage", "redirect")),
                         "hosted_confirmation": {"custom_message": text},
                         "redirect": {"return_url": Need(text)}},
    "subscription_cancel": {**OF_SUBSCRIPTION,
                            "retention": {"type": Need(one_of("coupon_offer")),
                                          "coupon_offer": Need({"coupon": Need(text)})}},
    "subscription_pause": OF_SUBSCRIPTION,
    "subscription_update": OF_SUBSCRIPTION,
    "subscription_update_confirm": {
        **OF_SUBSCRIPTION, "items": Need([{"id": Need(text), "price": text, "quantity": integer}]),
        "discounts": [{"coupon": text, "promotion_code": text}]},
}


def check_url(url, path):
    if not url.startswith(("http://", "https://")):
        raise invalid("Not a valid URL", path, "url_invalid")


@route("POST", "/v1/billing_portal/sessions", {
    "customer": Need(text), "return_url": text, "configuration": text, "flow_data": FLOW, "locale": text,
    "on_behalf_of": text})
def create_session(world, call):
    p = call.params
    customer = world.customers.get(p["customer"], "customer")
    check_url(p.get("return_url", "http://"), "return_url")
    if "configuration" in p:
        configuration = configurations(world).get(p["configuration"], "configuration")
    else:
        configuration = next((c for c in configurations(world) if c["is_default"] and c["active"]), None)
        if configuration is None:
            raise refused("No configuration provided and your test mode default configuration has not been created. "
                          "Provide a configuration or create your default by saving your customer portal settings "
                          "in test mode at https://dashboard.stripe.com/test/settings/billing/portal.")
    secret = world.new_id("test", 58)
    session = world.portals.add({
        "id": world.new_id("bps"), "object": "billing_portal.session", "configuration": configuration["id"],
        "created": world.now(), "customer": customer["id"], "customer_account": None,
        "flow": flow_of(world, customer, configuration, p["flow_data"]) if "flow_data" in p else None,
        "livemode": False, "locale": None, "on_behalf_of": None, "return_url": p.get("return_url"),
        "url": f"{world.base_url}/p/session/{secret}"})
    world.portals.places[secret] = world.portals.places[session["id"]]
    return session


def flow_of(world, customer, configuration, asked):
    kind = asked["type"]
    after = asked.get("after_completion", {"type": "portal_homepage"})
    if after["type"] == "redirect":
        if "redirect" not in after:
            raise invalid("Missing required param: flow_data[after_completion][redirect].",
                          "flow_data[after_completion][redirect]", "parameter_missing")
        check_url(after["redirect"]["return_url"], "flow_data[after_completion][redirect][return_url]")
    flow = {"after_completion": {"hosted_confirmation": after.get("hosted_confirmation"),
                                 "redirect": after.get("redirect"), "type": after["type"]},
            "customer_update": None, "subscription_cancel": None, "subscription_pause": None,
            "subscription_update": None, "subscription_update_confirm": None, "type": kind}
    for name in FLOW:
        if name.startswith("subscription_") and name != kind and name in asked:
            raise refused(f"`flow_data[{name}]` cannot be used with `flow_data[type]={kind}`.", f"flow_data[{name}]")
    if kind.startswith("subscription_"):
        if kind not in asked:
            raise invalid(f"Missing required param: flow_data[{kind}].", f"flow_data[{kind}]", "parameter_missing")
        check_flow(world, customer, configuration, kind, asked[kind])
        flow[kind] = {**({"retention": None} if kind == "subscription_cancel" else {}),
                      **({"discounts": None} if kind == "subscription_update_confirm" else {}), **asked[kind]}
    return flow


def check_flow(world, customer, configuration, kind, asked):
    where = f"flow_data[{kind}]"
    feature = "subscription_update" if kind == "subscription_update_confirm" else kind
    allowed = configuration["features"][feature]
    if not allowed["enabled"]:
        raise refused(f"This subscription cannot be updated because the `{feature}` feature in the portal "
                      "configuration is disabled.", where)
    sub = world.subscriptions.find(asked["subscription"])
    if sub is None or sub["customer"] != customer["id"]:
        raise refused(f"No such subscription: '{asked['subscription']}'", f"{where}[subscription]",
                      "resource_missing")
    if sub["status"] in subscription.ENDED + ("incomplete",):
        raise refused(f"The subscription {sub['id']} cannot be updated: it is {sub['status']}.",
                      f"{where}[subscription]")
    if feature != "subscription_update":
        return
    items = sub["items"]["data"]
    if len(items) > 1 or "quantity" not in items[0]:
        raise refused("Subscriptions with multiple items or usage-based prices cannot be updated in the portal.",
                      f"{where}[subscription]")
    if sub["schedule"]:
        raise refused("Subscriptions with a schedule cannot be updated in the portal.", f"{where}[subscription]")
    if kind == "subscription_update_confirm":
        check_items(world, allowed, sub, asked["items"], f"{where}[items]")


def check_items(world, allowed, sub, rows, where):
    if len(rows) != 1:
        raise refused("Exactly one subscription item can be updated.", where)
    row, item = rows[0], sub["items"]["data"][0]
    if row["id"] != item["id"]:
        raise refused(f"No such subscription item: '{row['id']}'", f"{where}[0][id]", "resource_missing")
    listed = next((p for p in allowed["products"] if row.get("price", item["price"]["id"]) in p["prices"]), None)
    if "price" in row:
        price = world.prices.get(row["price"], f"{where}[0][price]")
        if listed is None or not price["active"] or "price" not in allowed["default_allowed_updates"]:
            raise refused(f"The price {row['price']} is not in the portal configuration's "
                          "`features[subscription_update][products]`.", f"{where}[0][price]")
    if row.get("quantity", item["quantity"]) != item["quantity"]:
        if "quantity" not in allowed["default_allowed_updates"]:
            raise refused("The portal configuration does not allow to update the quantity.",
                          f"{where}[0][quantity]")
    if row.get("price", item["price"]["id"]) == item["price"]["id"] \
            and row.get("quantity", item["quantity"]) == item["quantity"]:
        raise refused("The subscription has these items already, so there is nothing to confirm.", where)


# Pages.

def show(status, title, body):
    text_ = (f"<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{html.escape(title)}</title>"
             f"</head><body><h1>{html.escape(title)}</h1>{body}</body></html>")
    return Answer(status, text_, {"Cache-Control": "no-store"}, "text/html; charset=utf-8")


def see_other(url):
    return Answer(303, b"", {"Location": url}, "text/plain")


def portal_page(world, request, session):
    if session is None or world.now() - session["created"] > AGE_S:
        return show(410, "This page has expired", "")
    flow = session["flow"]
    if flow and flow["type"] in ("subscription_update", "subscription_update_confirm"):
        return update_page(world, request, session, flow)
    return home_page(world, request, session)


def home_page(world, request, session):
    customer = world.customers.get(session["customer"])
    mine = [world.subscriptions.get(name) for name in customer["_subs"]]
    if request.method == "POST":
        fields = dict(form.pairs(request.body.decode()))
        for sub in mine:
            if sub["id"] == fields.get("subscription") and sub["status"] not in subscription.ENDED:
                with subscription.updating(world, sub):
                    plan_cancellation(world, sub, fields.get("do") == "cancel")
        return see_other(request.path)
    rows = "".join(home_row(request, sub) for sub in mine)
    back = session["return_url"] and (
        f"<p><a id=\"return\" href=\"{html.escape(session['return_url'])}\">Return</a></p>") or ""
    return show(200, "Billing", f"<p>A fake of Stripe's billing portal.</p><ul>{rows}</ul>{back}")


def home_row(request, sub):
    shown = f"{sub['id']}: {sub['status']}"
    if sub["status"] in subscription.ENDED:
        return f"<li>{shown}</li>"
    do, label = ("keep", "Keep") if sub["cancel_at_period_end"] else ("cancel",
                                                                      "Cancel at the period's end")
    return (f"<li>{shown}<form method=\"post\" action=\"{request.path}\"><input type=\"hidden\" "
            f"name=\"subscription\" value=\"{sub['id']}\"><button name=\"do\" value=\"{do}\" "
            f"type=\"submit\">{label}</button></form></li>")


def update_page(world, request, session, flow):
    """Confirms the change that the flow names, or lets the customer choose a price."""
    asked = flow[flow["type"]]
    sub = world.subscriptions.get(asked["subscription"])
    configuration = configurations(world).get(session["configuration"])
    problem = ""
    if request.method == "POST":
        chosen = dict(form.pairs(request.body.decode())).get("price")
        try:
            change(world, configuration, sub, asked.get("items") or [
                {"id": sub["items"]["data"][0]["id"], "price": chosen}])
            after = flow["after_completion"]
            return see_other(after["redirect"]["return_url"]) if after["redirect"] else see_other(
                session["return_url"] or request.path)
        except ApiError as e:
            problem = f"<p class=\"error\" role=\"alert\">{html.escape(str(e))}</p>"
    prices = [asked["items"][0].get("price", "")] if "items" in asked else [
        price for row in configuration["features"]["subscription_update"]["products"] for price in row["prices"]]
    buttons = "".join(f"<button name=\"price\" value=\"{price}\" type=\"submit\">Confirm {price}</button>"
                      for price in prices)
    return show(402 if problem else 200, "Confirm your updates",
                f"{problem}<form method=\"post\" action=\"{request.path}\">{buttons}</form>")


def change(world, configuration, sub, rows):
    allowed = configuration["features"]["subscription_update"]
    check_items(world, allowed, sub, rows, "items")
    update_items(world, sub, {"items": rows, "proration_behavior": allowed["proration_behavior"]})
