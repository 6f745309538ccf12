# SPDX-License-Identifier: BSD-2-Clause
"""schedules: subscription schedules, which change a subscription at times that are known beforehand.

    not_started --start_date--> active --last phase ends--> released (the subscription goes on) or completed
    released by a call, or canceled with its subscription

A phase has items, and lasts until the next one starts. While a schedule is attached, the subscription's
cancellation cannot be changed directly.
"""
import coupons
import customers
import prorations
import subscription
from clock import add_interval
from errors import invalid, refused
from params import Empty, Need, anything, between, boolean, integer, merge_metadata, metadata, now_or_time
from params import one_of, text
from render import changing, freeze
from routes import page, paged, route
from subscription_api import PRORATION, change_items, priced

EVERY = {"interval": Need(one_of("day", "week", "month", "year")), "interval_count": between(1, 1095)}
PHASE = {
    "items": Need([{"price": Need(text), "quantity": between(0, 1000000), "metadata": metadata}]),
    "end_date": now_or_time,
    "duration": EVERY, "iterations": between(1, 1000), "proration_behavior": PRORATION, "metadata": metadata,
    "discounts": Empty(coupons.DISCOUNTS), "trial": boolean, "trial_end": integer, "currency": text,
    "description": text, "collection_method": one_of("charge_automatically", "send_invoice"),
    "billing_cycle_anchor": one_of("automatic", "phase_start")}
LATER_PHASE = {**PHASE, "start_date": now_or_time}
END = one_of("cancel", "release")
LIVING = ("not_started", "active")


def default_settings():
    return {"application_fee_percent": None,
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
            "billing_cycle_anchor": "automatic", "billing_thresholds": None,
            "collection_method": "charge_automatically", "default_payment_method": None, "description": None,
            "invoice_settings": {"account_tax_ids": None, "custom_fields": None, "days_until_due": None,
                                 "description": None, "footer": None, "issuer": {"type": "self"}},
            "on_behalf_of": None, "transfer_data": None}


def new(world, customer, p, phases):
    return world.schedules.add({
        "id": world.new_id("sub_sched"), "object": "subscription_schedule", "application": None,
        "billing_mode": {"flexible": None, "type": "flexible"}, "canceled_at": None, "completed_at": None,
        "created": world.now(), "current_phase": None, "customer": customer["id"], "customer_account": None,
        "default_settings": default_settings(), "end_behavior": p.get("end_behavior", "release"), "livemode": False,
        "metadata": merge_metadata({}, p.get("metadata", {})), "pause_schedules": [], "phases": phases,
        "released_at": None, "released_subscription": None, "status": "not_started", "subscription": None,
        "test_clock": customer["test_clock"], "_timer": None, "_place": -1})


def phase_of(world, customer, asked, start, path):
    """A phase of the parameters @asked, that starts at @start."""
    if not asked["items"]:
        raise invalid(f"Missing required param: {path}[items].", f"{path}[items]", "parameter_missing")
    items = priced(world, asked["items"], f"{path}[items]")
    currency = items[0][0]["currency"]
    pairs = coupons.chosen(world, asked.get("discounts") or (), customer, currency, f"{path}[discounts]")
    trial_end = end = end_of(asked, items, start, path)
    if asked.get("trial_end"):
        trial_end = asked["trial_end"]
    has_trial = asked.get("trial") or asked.get("trial_end")
    return {
        "add_invoice_items": [], "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": asked.get("billing_cycle_anchor"), "billing_thresholds": None,
        "collection_method": asked.get("collection_method"), "currency": currency, "default_payment_method": None,
        "default_tax_rates": [], "description": asked.get("description"),
        "discounts": [{"coupon": None if code else coupon["id"], "discount": None,
                       "promotion_code": code and code["id"]} for coupon, code in pairs],
        "end_date": end, "invoice_settings": None,
        "items": [item_of(price, quantity, row) for (price, quantity), row in zip(items, asked["items"])],
        "metadata": merge_metadata({}, asked.get("metadata", {})), "on_behalf_of": None,
        "proration_behavior": asked.get("proration_behavior", "create_prorations"), "start_date": start,
        "transfer_data": None, "trial_end": trial_end if has_trial else None, "_pairs": pairs}


def item_of(price, quantity, row):
    item = {"billing_thresholds": None, "discounts": [], "metadata": row.get("metadata", {}), "plan": price["id"],
            "price": price["id"], "tax_rates": []}
    if not subscription.is_metered(price):
        item["quantity"] = 1 if quantity is None else quantity
    return item


def end_of(asked, items, start, path):
    """When the phase ends; by default, after one interval of its first price."""
    given = [name for name in ("end_date", "duration", "iterations") if name in asked]
    if len(given) > 1:
        raise invalid(f"You may only specify one of these parameters: {', '.join(given)}.", f"{path}[{given[1]}]")
    every = items[0][0]["recurring"]
    if "end_date" in asked:
        if asked["end_date"] == "now" or asked["end_date"] <= start:
            raise refused("The phase must end after it starts.", f"{path}[end_date]")
        return asked["end_date"]
    if "duration" in asked:
        every = {"interval_count": 1, **asked["duration"]}
    return add_interval(start, every["interval"], every["interval_count"] * asked.get("iterations", 1))


def phases_of(world, customer, rows, start, kept=()):
    """@kept: phases that have begun; their start cannot change."""
    phases = []
    for i, row in enumerate(rows):
        begun = kept[i]["start_date"] if i < len(kept) else None
        asked = row.get("start_date")
        begin = begun if begun is not None else phases[-1]["end_date"] if phases else start
        if asked is not None and asked != "now" and asked != begin:
            raise refused("The start date of a phase must be the end date of the phase before it.",
                          f"phases[{i}][start_date]")
        phases.append(phase_of(world, customer, row, begin, f"phases[{i}]"))
    if not phases:
        raise invalid("Missing required param: phases.", "phases", "parameter_missing")
    return phases


@route("POST", "/v1/subscription_schedules", {
    "customer": text, "from_subscription": text, "phases": [PHASE], "start_date": now_or_time, "end_behavior": END,
    "metadata": metadata, "default_settings": anything})
def post(world, call):
    p = call.params
    if "from_subscription" in p:
        if set(p) - {"from_subscription"}:
            other = sorted(set(p) - {"from_subscription"})[0]
            raise invalid(f"You cannot set `{other}` if `from_subscription` is set.", other)
        return adopt(world, p)
    if "customer" not in p:
        raise invalid("Missing required param: customer.", "customer", "parameter_missing")
    customer = customers.living(world, p["customer"])
    start = p.get("start_date", "now")
    start = world.now() if start == "now" else start
    row = new(world, customer, p, phases_of(world, customer, p.get("phases", ()), start))
    if start > world.now():
        set_timer(world, row, start)
    world.emit("subscription_schedule.created", row)
    if start <= world.now():
        step(world, row)
    return row


def adopt(world, p):
    """A schedule for a subscription as it is, with its current period as the first phase."""
    sub = world.subscriptions.get(p["from_subscription"], "from_subscription")
    if sub["status"] in subscription.ENDED:
        raise refused(f"The subscription {sub['id']} is {sub['status']}.", "from_subscription")
    if sub["schedule"]:
        raise refused(f"You cannot migrate a subscription that is already attached to a schedule: {sub['schedule']}.",
                      "from_subscription")
    first = sub["items"]["data"][0]
    asked = {"items": [{"price": item["price"]["id"], **({"quantity": item["quantity"]} if "quantity" in item else {})}
                       for item in sub["items"]["data"]],
             "end_date": subscription.period_end(sub), "discounts": [{"discount": name} for name in sub["discounts"]],
             "metadata": sub["metadata"], **({"trial_end": sub["trial_end"]} if sub["status"] == "trialing" else {})}
    customer = world.customers.get(sub["customer"])
    row = new(world, customer, {}, [phase_of(world, customer, asked, first["current_period_start"], "phases[0]")])
    if sub["cancel_at_period_end"]:
        row["end_behavior"] = "cancel"
    row["_place"] = 0
    attach(world, row, sub)
    world.emit("subscription_schedule.created", row)
    return row


def attach(world, row, sub):
    row["status"], row["subscription"] = "active", sub["id"]
    follow(world, row)
    with subscription.updating(world, sub):
        sub["schedule"] = row["id"]


def follow(world, row):
    """Notes the current phase, and waits for its end."""
    phase = row["phases"][row["_place"]]
    row["current_phase"] = {"start_date": phase["start_date"], "end_date": phase["end_date"]}
    set_timer(world, row, phase["end_date"])


def set_timer(world, row, at):
    """Before the timers of the subscription: what changes at the end of its period counts for the next one."""
    drop_timer(row)
    row["_timer"] = world.clock.at(at, lambda: on_time(world, row), is_first=True)


def drop_timer(row):
    if row["_timer"]:
        row["_timer"].is_off = True


def on_time(world, row):
    if row["status"] not in LIVING:
        return
    if world.customers.get(row["customer"]).get("deleted"):
        row["status"], row["canceled_at"] = "canceled", world.now()
        world.emit("subscription_schedule.canceled", row)
        return
    with changing(world, row, "subscription_schedule.updated"):
        step(world, row)


def step(world, row):
    """Begins the next phase, or ends the schedule after the last one."""
    row["_place"] += 1
    if row["_place"] == len(row["phases"]):
        finish(world, row)
        return
    phase = row["phases"][row["_place"]]
    if row["subscription"] is None:
        begin(world, row, phase)
    else:
        turn(world, world.subscriptions.get(row["subscription"]), phase)
    if row["status"] in LIVING:
        follow(world, row)


def begin(world, row, phase):
    items = [(world.prices.get(item["price"]), item.get("quantity")) for item in phase["items"]]
    fields = {"metadata": phase["metadata"], "_discounts": phase["_pairs"], "description": phase["description"]}
    if phase["trial_end"]:
        fields["trial_end"] = phase["trial_end"]
    customer = customers.living(world, row["customer"])
    sub = subscription.create(world, customer, items, fields)
    attach(world, row, sub)


def turn(world, sub, phase):
    """Changes the subscription to what @phase says."""
    now = sub["items"]["data"]
    rows = []
    for i, item in enumerate(phase["items"]):
        same = next((own for own in now if own["price"]["id"] == item["price"]), None)
        own = same or (now[i] if len(now) == len(phase["items"]) == 1 else None)
        rows.append({**({"id": own["id"]} if own else {}), "price": item["price"],
                     **({"quantity": item["quantity"]} if "quantity" in item else {})})
    kept = {row.get("id") for row in rows}
    rows += [{"id": own["id"], "deleted": True} for own in now if own["id"] not in kept]
    before = prorations.worth(sub)
    p = {"items": rows, "proration_behavior": phase["proration_behavior"]}
    if phase["billing_cycle_anchor"] == "phase_start":
        p["billing_cycle_anchor"] = "now"
    with subscription.updating(world, sub):
        if {row["id"] for row in sub["_discounts"]} or phase["_pairs"]:
            coupons.redeem(world, sub, phase["_pairs"])
        sub["metadata"] = dict(phase["metadata"])
        change_items(world, sub, p, before)
        subscription.set_timers(world, sub)


def finish(world, row):
    sub = world.subscriptions.get(row["subscription"])
    if row["end_behavior"] == "cancel":
        row["status"], row["completed_at"], row["current_phase"] = "completed", world.now(), None
        subscription.end(world, sub)
        world.emit("subscription_schedule.completed", row)
        return
    release(world, row)


def release(world, row):
    drop_timer(row)
    sub = row["subscription"] and world.subscriptions.get(row["subscription"])
    row.update(status="released", released_at=world.now(), released_subscription=row["subscription"],
               subscription=None, current_phase=None)
    if sub:
        with subscription.updating(world, sub):
            sub["schedule"] = None
    world.emit("subscription_schedule.released", row)


def abandon(world, sub):
    """Called when a subscription ended by itself."""
    row = sub["schedule"] and world.schedules.get(sub["schedule"])
    if row and row["status"] in LIVING:
        drop_timer(row)
        row["status"], row["canceled_at"], row["current_phase"] = "canceled", world.now(), None
        world.emit("subscription_schedule.canceled", row)


subscription.on_end.append(abandon)


@route("GET", "/v1/subscription_schedules", paged(
    customer=text, scheduled=boolean, canceled_at=anything, completed_at=anything, released_at=anything))
def index(world, call):
    p = call.params
    return page(world.schedules, call, lambda s: p.get("customer", s["customer"]) == s["customer"]
                and p.get("scheduled", s["status"] == "not_started") == (s["status"] == "not_started"))


@route("GET", "/v1/subscription_schedules/{}")
def get(world, call, name):
    return world.schedules.get(name)


def living(world, name, what):
    row = world.schedules.get(name)
    if row["status"] not in LIVING:
        raise refused(f"You cannot {what} a subscription schedule that is currently in the `{row['status']}` status. "
                      "It must be in the `not_started` or `active` status.")
    return row


@route("POST", "/v1/subscription_schedules/{}", {
    "phases": [LATER_PHASE], "end_behavior": END, "metadata": metadata, "proration_behavior": PRORATION,
    "default_settings": anything})
def update(world, call, name):
    row, p = living(world, name, "update"), call.params
    customer = world.customers.get(row["customer"])
    phases = None
    if "phases" in p:
        kept = row["phases"][:row["_place"] + 1]
        phases = phases_of(world, customer, p["phases"], row["phases"][0]["start_date"], kept)
        if len(phases) < len(kept) or phases[max(row["_place"], 0)]["end_date"] <= world.now():
            raise refused("The current phase must be among the phases, and end in the future.", "phases")
    with changing(world, row, "subscription_schedule.updated"):
        row["end_behavior"] = p.get("end_behavior", row["end_behavior"])
        row["metadata"] = merge_metadata(row["metadata"], p.get("metadata", {}))
        if phases:
            replace(world, row, phases, p)
    return row


def replace(world, row, phases, p):
    place = row["_place"]
    old, row["phases"] = row["phases"], phases
    if place < 0:
        set_timer(world, row, phases[0]["start_date"])
        return
    for i in range(place):
        phases[i] = old[i]
    follow(world, row)
    if freeze(old[place]["items"]) != freeze(phases[place]["items"]):
        now = {**phases[place], "proration_behavior": p.get("proration_behavior", "create_prorations")}
        turn(world, world.subscriptions.get(row["subscription"]), now)


@route("POST", "/v1/subscription_schedules/{}/release", {"preserve_cancel_date": boolean})
def post_release(world, call, name):
    row = living(world, name, "release")
    release(world, row)
    return row


@route("POST", "/v1/subscription_schedules/{}/cancel", {"invoice_now": boolean, "prorate": boolean})
def cancel(world, call, name):
    row = living(world, name, "cancel")
    drop_timer(row)
    sub = row["subscription"] and world.subscriptions.get(row["subscription"])
    if sub and sub["status"] not in subscription.ENDED:
        subscription.end(world, sub)
    else:
        row["status"], row["canceled_at"] = "canceled", world.now()
        world.emit("subscription_schedule.canceled", row)
    return row


def plan_change(world, sub, price, quantity):
    """Changes the subscription's only item when its period ends, as the portal does for a downgrade."""
    row = adopt(world, {"from_subscription": sub["id"]})
    customer, first = world.customers.get(sub["customer"]), row["phases"][0]
    asked = {"items": [{"price": price, "quantity": quantity}], "iterations": 1}
    with changing(world, row, "subscription_schedule.updated"):
        row["phases"].append(phase_of(world, customer, asked, first["end_date"], "phases[1]"))
