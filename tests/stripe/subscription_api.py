# SPDX-License-Identifier: BSD-2-Clause
"""subscription_api: the endpoints of subscriptions. Their effects are in subscription.py."""
import coupons
import prorations
import subscription as life
from catalog import is_metered, living_price
from customers import living
from errors import invalid, refused
from invoices import finalize
from params import Empty, Need, anything, between, boolean, integer, merge_metadata, metadata, now_or_time
from params import one_of, text
from routes import EMPTY_TEXT, page, paged, route

PRORATION = one_of("create_prorations", "always_invoice", "none")
PAYMENT_BEHAVIOR = one_of("allow_incomplete", "default_incomplete", "error_if_incomplete",
                          "pending_if_incomplete")
TRIAL_SETTINGS = {"end_behavior": Need({"missing_payment_method": Need(one_of("cancel",
                                                                              "create_invoice",
                                                                               "pause"))})}
BILLING_MODE = {"type": Need(one_of("classic", "flexible"))}
DETAILS = {"comment": EMPTY_TEXT, "feedback": EMPTY_TEXT}
SHARED = {"metadata": metadata, "cancel_at_period_end": boolean, "cancel_at": Empty(integer),
          "trial_end": now_or_time, "proration_behavior": PRORATION,
          "payment_behavior": PAYMENT_BEHAVIOR,
          "default_payment_method": text, "description": EMPTY_TEXT, "off_session": boolean,
          "collection_method": one_of("charge_automatically", "send_invoice"),
          "days_until_due": integer,
          "payment_settings": anything, "trial_settings": TRIAL_SETTINGS, "automatic_tax": {"enabled": Need(boolean)},
          "trial_from_plan": boolean, "discounts": Empty(coupons.DISCOUNTS), "coupon": EMPTY_TEXT,
          "promotion_code": EMPTY_TEXT}
STATUSES = life.LIVING + life.ENDED
STATUS = one_of(*STATUSES, "ended", "all")
UPDATE_BEHAVIOR = Need(one_of("keep_as_draft", "mark_uncollectible", "void"))


def priced(world, rows, path):
    """A pair (price, quantity) for each row of items or line_items."""
    found = []
    for i, row in enumerate(rows):
        price = living_price(world, row["price"], f"{path}[{i}][price]")
        if is_metered(price) and "quantity" in row:
            raise refused("Quantity should not be specified where usage_type is `metered`. Remove quantity from "
                          f"`{path}[{i}]`", f"{path}[{i}][quantity]")
        if price["type"] != "recurring":
            raise refused(f"The price specified is set to `type=one_time` but this field only accepts prices "
                          "with `type=recurring`.", f"{path}[{i}][price]")
        found.append((price, row.get("quantity")))
    return found


@route("POST", "/v1/subscriptions", {
    **SHARED, "customer": Need(text), "trial_period_days": between(0, 730),
    "items": Need([{"price": Need(text), "quantity": between(0, 1000000), "metadata": metadata}]),
    "billing_cycle_anchor": integer, "currency": text, "billing_mode": BILLING_MODE})
def post(world, call):
    p = call.params
    customer = living(world, p["customer"])
    if not p["items"]:
        raise invalid("Missing required param: items.", "items", "parameter_missing")
    items = priced(world, p["items"], "items")
    pairs = coupons.chosen(world, discounts_in(p) or (), customer, items[0][0]["currency"])
    life.check_payable(world, customer, p)
    return life.create(world, customer, items, {**p, "_discounts": pairs,
                                                "_is_flexible": life.is_flexible(p, call.version)})


def discounts_in(p):
    """The `discounts` parameter, or what older versions have instead; None: not given."""
    for name in ("coupon", "promotion_code"):
        if name in p:
            return [{name: p[name]}] if p[name] else []
    return p["discounts"] or [] if "discounts" in p else None


@route("GET", "/v1/subscriptions", paged(
    customer=text, price=text, status=STATUS, collection_method=text, current_period_start=anything,
    current_period_end=anything, test_clock=text))
def index(world, call):
    p = call.params
    status = p.get("status")

    def fits(sub):
        if status is None and sub["status"] in life.ENDED:
            return False
        if status == "ended" and sub["status"] not in life.ENDED:
            return False
        if status in STATUSES and sub["status"] != status:
            return False
        if "price" in p and all(i["price"]["id"] != p["price"] for i in sub["items"]["data"]):
            return False
        if p.get("test_clock") != sub["test_clock"] and "customer" not in p:
            return False
        return p.get("customer", sub["customer"]) == sub["customer"]
    return page(world.subscriptions, call, fits)


@route("GET", "/v1/subscriptions/{}")
def get(world, call, name):
    return world.subscriptions.get(name)


@route("POST", "/v1/subscriptions/{}", {
    **SHARED,
    "items": [{"id": text, "price": text, "quantity": between(0, 1000000), "deleted": boolean,
                         "clear_usage": boolean, "metadata": metadata}],
    "pause_collection": Empty({"behavior": UPDATE_BEHAVIOR, "resumes_at": integer}),
    "billing_cycle_anchor": one_of("now", "unchanged"), "cancellation_details": DETAILS})
def update(world, call, name):
    sub = world.subscriptions.get(name)
    p = call.params
    if sub["status"] in life.ENDED and set(p) - {"metadata", "cancellation_details"}:
        raise refused("A canceled subscription can only update its cancellation_details and metadata.")
    if sub["schedule"] and {"cancel_at_period_end", "cancel_at"} & set(p):
        raise refused(f"The subscription is managed by the subscription schedule `{sub['schedule']}`, and updating any "
                      "cancelation behavior directly is not allowed. Please update the schedule instead.")
    asked = discounts_in(p)
    before = prorations.worth(sub)
    pairs = None if asked is None else coupons.chosen(world, asked, world.customers.get(sub["customer"]),
                                                      sub["currency"])
    with life.updating(world, sub):
        if pairs is not None:
            coupons.redeem(world, sub, pairs)
        change_plain(world, sub, p)
        if "items" in p or p.get("billing_cycle_anchor") == "now":
            change_items(world, sub, p, before)
        if "trial_end" in p:
            change_trial(world, sub, p["trial_end"])
        if sub["status"] not in life.ENDED:
            life.set_timers(world, sub)
    return sub


def change_plain(world, sub, p):
    sub["metadata"] = merge_metadata(sub["metadata"], p.get("metadata", {}))
    sub["cancellation_details"].update(p.get("cancellation_details", {}))
    if "description" in p:
        sub["description"] = p["description"] or None
    if "cancel_at_period_end" in p:
        plan_cancellation(world, sub, p["cancel_at_period_end"])
    if "cancel_at" in p:
        sub["cancel_at"] = p["cancel_at"] or None
        sub["canceled_at"] = world.now() if sub["cancel_at"] else None
    if "pause_collection" in p:
        asked = p["pause_collection"]
        sub["pause_collection"] = asked and {"resumes_at": None, **asked} or None
    if "trial_settings" in p:
        sub["trial_settings"] = {"end_behavior": p["trial_settings"]["end_behavior"]}


def plan_cancellation(world, sub, is_planned):
    if sub["cancel_at_period_end"] == is_planned:
        return
    sub["cancel_at_period_end"] = is_planned
    sub["canceled_at"] = world.now() if is_planned else None
    sub["cancel_at"] = life.last_period_end(sub) if is_planned else None
    sub["cancellation_details"]["reason"] = "cancellation_requested" if is_planned else None


def change_items(world, sub, p, before):
    """@before: prorations.worth() before the whole change."""
    items = list(sub["items"]["data"])
    prices = {item["id"]: item["price"] for item in items}
    for i, row in enumerate(p.get("items", ())):
        if "id" not in row:
            if "price" not in row:
                raise refused("Missing required param: items[price].", f"items[{i}][price]")
            price, quantity = priced(world, [row], "items")[0]
            items.append(new_item(world, sub, items, price, quantity))
            continue
        item = next((item for item in items if item["id"] == row["id"]), None)
        if item is None:
            raise refused(f"No such subscription item: '{row['id']}'", f"items[{i}][id]",
                          "resource_missing")
        if row.get("deleted"):
            items.remove(item)
        else:
            change_item(world, item, row, f"items[{i}]")
    if not items:
        raise refused("A subscription must have at least one active plan. In order to delete the last one, "
                      "please cancel the subscription instead.", "items")
    life.check_rhythms([item["price"] for item in items], sub["billing_mode"]["type"] == "flexible")
    sub["items"]["data"] = items
    settle_change(world, sub, p, before, prices)


def new_item(world, sub, items, price, quantity):
    """Has the period of the items with its interval, or one that starts now."""
    same = next((item for item in items if life.rhythm(item["price"]) == life.rhythm(price)), None)
    if same or sub["status"] == "trialing":
        same = same or items[0]
        return life.make_item(world, sub["id"], price, quantity,
                              (same["current_period_start"], same["current_period_end"]))
    item = life.make_item(world, sub["id"], price, quantity, (world.now(), 0))
    life.next_period(sub, item, world.now())
    return item


def change_item(world, item, row, path):
    if "price" in row:
        price = living_price(world, row["price"], f"{path}[price]")
        item["price"] = price
        if is_metered(price):
            item.pop("quantity", None)
        else:
            item.setdefault("quantity", 1)
    if "quantity" in row:
        if is_metered(item["price"]):
            raise refused("Quantity must not be set for a metered price.", f"{path}[quantity]")
        item["quantity"] = row["quantity"]


def settle_change(world, sub, p, before, prices):
    """Invoices the cost of a change of items, now or with the next invoice. @prices: those before, by item."""
    behavior = p.get("proration_behavior", "create_prorations")
    if sub["status"] == "trialing":
        return
    items = sub["items"]["data"]
    is_restarted = p.get("billing_cycle_anchor") == "now" or any(
        life.rhythm(prices.get(item["id"], item["price"])) != life.rhythm(item["price"]) for item in items)
    if behavior != "none":
        prorations.add(world, sub, before, is_restarted)
    if is_restarted:
        kept = {item["id"] for item in items if prices.get(item["id"]) is item["price"]}
        past = {name: period for name, period in life.restart_period(world, sub).items() if name in kept}
        life.invoice_now(world, sub, "subscription_update", past)
    elif behavior == "always_invoice":
        life.invoice_now(world, sub, "subscription_update")


def change_trial(world, sub, trial_end):
    if trial_end == "now" or trial_end <= world.now():
        if sub["status"] == "trialing":
            sub["trial_end"], sub["status"] = world.now(), "active"
            life.restart_period(world, sub)
            life.invoice_now(world, sub, "subscription_update", {})
        return
    sub["trial_end"] = sub["billing_cycle_anchor"] = trial_end
    sub["trial_start"] = sub["trial_start"] or world.now()
    sub["status"] = "trialing"
    sub["_is_warned"] = False
    for item in sub["items"]["data"]:
        item["current_period_end"] = trial_end


CANCEL = {"invoice_now": boolean, "prorate": boolean, "cancellation_details": DETAILS}


@route("DELETE", "/v1/subscriptions/{}", CANCEL)
def cancel(world, call, name):
    sub = world.subscriptions.get(name)
    if sub["status"] in life.ENDED:
        raise refused(f"No such subscription: '{name}'", "id", "resource_missing", status=404)
    sub["cancellation_details"].update(call.params.get("cancellation_details", {}))
    life.end(world, sub)
    if call.params.get("invoice_now"):
        life.bill_last_usage(world, sub)
        finalize(world, world.invoices.get(sub["latest_invoice"]))
    return sub


@route("POST", "/v1/subscriptions/{}/resume", {
    "billing_cycle_anchor": one_of("now", "unchanged"), "proration_behavior": PRORATION,
    "proration_date": integer, "payment_behavior": text})
def resume(world, call, name):
    sub = world.subscriptions.get(name)
    if sub["status"] != "paused":
        raise refused("The subscription could not be resumed: it is not paused.")
    life.resume(world, sub)
    return sub


@route("POST", "/v1/subscriptions/{}/pause",
       {"type": text, "bill_for": anything, "invoicing_behavior": text})
def pause(world, call, name):
    sub = world.subscriptions.get(name)
    if sub["status"] not in ("active", "trialing", "past_due"):
        raise refused(f"The subscription could not be paused: it is {sub['status']}.")
    life.pause(world, sub, "pause_requested")
    return sub
