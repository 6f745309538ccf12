# SPDX-License-Identifier: BSD-2-Clause
"""subscription: the life cycle of subscriptions, by the fake's clock.

    trialing --(3 days before: trial_will_end)--> active --period end--> active, invoice drafted
    invoice finalized and not paid --> past_due, retried --> active, or after the last attempt `after_retries`
    first invoice not paid --> incomplete --(23 h)--> incomplete_expired
    cancel_at_period_end, cancel_at, cancel, customer deleted --> canceled

Every change emits the events that Stripe would send. The endpoints are in subscription_api.py.
"""
import contextlib

import coupons
import customers
import entitlements
import invoices
import prorations
from catalog import is_metered
from clock import DAY, HOUR, add_interval
from errors import declined, refused
from params import merge_metadata
from render import changing, list_of

# Called with (world, subscription) when one has ended.
on_end = []
LIVING = ("trialing", "active", "past_due", "unpaid", "paused", "incomplete")
ENDED = ("canceled", "incomplete_expired")
INCOMPLETE_S = 23 * HOUR
WARNING_S = 3 * DAY
FLEXIBLE = "2025-09-30"


def make_item(world, sub_name, price, quantity, period):
    item = world.items.add({
        "id": world.new_id("si", 14), "object": "subscription_item", "billing_thresholds": None,
        "created": world.now(), "current_period_start": period[0], "current_period_end": period[1],
        "discounts": [], "metadata": {}, "price": price, "subscription": sub_name, "tax_rates": [], "_periods": 0,
    })
    if not is_metered(price):
        item["quantity"] = 1 if quantity is None else quantity
    return item


def rhythm(price):
    return price["recurring"]["interval"], price["recurring"]["interval_count"]


def is_flexible(fields, version):
    """Whether items may have different intervals: by default since 2025-09-30.clover."""
    kind = fields.get("billing_mode", {}).get("type")
    return version[:10] >= FLEXIBLE if kind is None else kind == "flexible"


def check_rhythms(prices, may_differ, path="items"):
    if not may_differ and len({rhythm(price) for price in prices}) > 1:
        raise refused("All prices on a subscription must have the same `recurring.interval` and "
                      "`recurring.interval_count`.", path)


def make(world, customer, items, fields):
    """@items are pairs (price, quantity). Emits no events; there are no invoice and timers yet."""
    now = world.now()
    price = items[0][0]
    may_differ = fields.get("_is_flexible", True)
    check_rhythms([other for other, _ in items], may_differ)
    if any(other["currency"] != price["currency"] for other, _ in items):
        raise refused("All prices on a subscription must have the same currency.", "items")
    customers.check_currency(world, customer, price["currency"])
    trial_end = fields.get("trial_end")
    if trial_end == "now" or (trial_end is not None and trial_end <= now):
        trial_end = None
    if trial_end is None and fields.get("trial_period_days"):
        trial_end = now + fields["trial_period_days"] * DAY
    anchor = trial_end or fields.get("billing_cycle_anchor") or now
    taxed = fields.get("automatic_tax", {}).get("enabled", False)
    name = world.new_id("sub")
    rows = [make_item(world, name, p, quantity, (now, anchor if anchor > now else add_interval(now, *rhythm(p))))
            for p, quantity in items]
    sub = world.subscriptions.add({
        "id": name, "object": "subscription", "application": None, "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": taxed, "liability": {"type": "self"} if taxed else None},
        "billing_cycle_anchor": anchor, "billing_cycle_anchor_config": None,
        "billing_mode": {"flexible": None, "type": "flexible" if may_differ else "classic"}, "billing_thresholds": None,
        "cancel_at": fields.get("cancel_at") or None,
        "cancel_at_period_end": fields.get("cancel_at_period_end", False), "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": fields.get("collection_method", "charge_automatically"),
        "created": now,
        "currency": price["currency"], "customer": customer["id"],
        "days_until_due": fields.get("days_until_due"), "default_payment_method": None,
        "default_source": None, "default_tax_rates": [], "description": fields.get("description"),
        "discounts": [], "ended_at": None,
        "billing_schedules": [], "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": list_of(rows, f"/v1/subscription_items?subscription={name}"),
        "latest_invoice": None,
        "livemode": False, "metadata": merge_metadata({}, fields.get("metadata", {})),
        "next_pending_invoice_item_invoice": None, "on_behalf_of": None, "pause_collection": None,
        "payment_settings": {"payment_method_options": None, "payment_method_types": None,
                             "save_default_payment_method": "off"},
        "pending_invoice_item_interval": None, "pending_setup_intent": None, "pending_update": None,
        "schedule": None, "start_date": now, "status": "trialing" if trial_end else "incomplete",
        "test_clock": customer["test_clock"], "transfer_data": None, "trial_end": trial_end,
        "trial_settings": {"end_behavior": {"missing_payment_method": missing_method(fields)}},
        "trial_start": now if trial_end else None,
        "_timers": {}, "_invoices": [], "_discounts": [], "_pending": [], "_is_new": True, "_is_changing": False,
    })
    customer["_subs"].append(name)
    coupons.redeem(world, sub, fields.get("_discounts", ()), fields.get("_session"))
    return sub


def missing_method(fields):
    behavior = fields.get("trial_settings", {}).get("end_behavior", {})
    return behavior.get("missing_payment_method", "create_invoice")


def create(world, customer, items, fields, is_checkout=False):
    """Creates a subscription and its first invoice, and attempts the payment."""
    behavior = fields.get("payment_behavior", "allow_incomplete")
    sub = make(world, customer, items, fields)
    if is_checkout:
        announce(world, sub)
    first = invoices.draft(world, sub, "subscription_create",
                           invoices.lines_of(world, sub, sub["items"]["data"], {}, sub["status"] == "trialing"))
    with updating(world, sub):
        sub["latest_invoice"] = first["id"]
        is_tried = behavior != "default_incomplete" and not fields.get("is_pending")
        invoices.finalize(world, first, is_tried)
        if sub["status"] == "incomplete" and sub["collection_method"] == "send_invoice":
            sub["status"] = "active"
    if not is_checkout:
        announce(world, sub)
    if sub["status"] == "incomplete":
        set_timer(world, sub, "incomplete", sub["created"] + INCOMPLETE_S, expire_incomplete)
    set_timers(world, sub)
    entitlements.refresh(world, customer["id"])
    return sub


def check_payable(world, customer, fields):
    """With payment_behavior=error_if_incomplete, raises an error if the payment would fail."""
    has_trial = fields.get("trial_period_days") or fields.get("trial_end", "now") != "now"
    if fields.get("payment_behavior") == "error_if_incomplete" and not has_trial:
        if (customer["_payment"] or world.settings["payment"]) != "succeeds":
            customers.take_payment(world, customer)
            raise declined()


def announce(world, sub):
    sub["_is_new"] = False
    world.emit("customer.subscription.created", sub)


@contextlib.contextmanager
def updating(world, sub):
    """Emits one customer.subscription.updated after the body, if @sub has been announced."""
    if sub["_is_new"] or sub["_is_changing"]:
        yield
        return
    sub["_is_changing"] = True
    try:
        with changing(world, sub, "customer.subscription.updated"):
            yield
    finally:
        sub["_is_changing"] = False
    entitlements.refresh(world, sub["customer"])


def period_end(sub):
    """When the next period of an item ends. With mixed intervals, other items go on."""
    return min(item["current_period_end"] for item in sub["items"]["data"])


def last_period_end(sub):
    return max(item["current_period_end"] for item in sub["items"]["data"])


def set_timer(world, sub, name, when, run):
    drop_timer(sub, name)
    sub["_timers"][name] = world.clock.at(when, lambda: run(world, sub))


def drop_timer(sub, name):
    timer = sub["_timers"].pop(name, None)
    if timer:
        timer.is_off = True


def set_timers(world, sub):
    """Sets the timers of @sub, after its times have changed."""
    for name in ("period", "warning", "cancel", "resume"):
        drop_timer(sub, name)
    if sub["status"] in ENDED or sub["status"] == "paused":
        return
    set_timer(world, sub, "period", period_end(sub), on_period_end)
    if sub["status"] == "trialing" and not sub.get("_is_warned"):
        set_timer(world, sub, "warning", max(sub["trial_end"] - WARNING_S, world.now()), on_warning)
    if sub["cancel_at"]:
        set_timer(world, sub, "cancel", sub["cancel_at"], end)
    resumes_at = (sub["pause_collection"] or {}).get("resumes_at")
    if resumes_at:
        set_timer(world, sub, "resume", resumes_at, on_collection_resumes)


def on_warning(world, sub):
    if sub["status"] == "trialing":
        sub["_is_warned"] = True
        world.emit("customer.subscription.trial_will_end", sub)


def on_collection_resumes(world, sub):
    with updating(world, sub):
        sub["pause_collection"] = None


def on_period_end(world, sub):
    if sub["cancel_at_period_end"] and last_period_end(sub) <= world.now():
        end(world, sub, at_period_end=True)
    elif sub["status"] == "trialing" and lacks_method(world, sub):
        if missing_method({"trial_settings": sub["trial_settings"]}) == "cancel":
            end(world, sub)
        else:
            pause(world, sub, "trial_end_without_payment_method")
    else:
        renew(world, sub)


def lacks_method(world, sub):
    customer = world.customers.get(sub["customer"])
    return (customer.get("_payment") == "none"
            and missing_method({"trial_settings": sub["trial_settings"]}) != "create_invoice")


def renew(world, sub, reason="subscription_cycle"):
    """Starts the next period of the items whose period is over, and drafts their invoice."""
    due = [item for item in sub["items"]["data"] if item["current_period_end"] <= world.now()]
    was_trial = sub["status"] == "trialing"
    past = {} if was_trial else periods_of(due)
    with updating(world, sub):
        for item in due:
            if was_trial:
                sub["status"] = "active"
                item["_periods"] = 0
            next_period(sub, item, item["current_period_end"])
        lines = invoices.lines_of(world, sub, due, past, False)
        lines += prorations.take(world, sub)
        invoice = invoices.draft(world, sub, reason, lines)
        sub["latest_invoice"] = invoice["id"]
    set_timers(world, sub)
    pause_behavior = (sub["pause_collection"] or {}).get("behavior")
    if sub["status"] == "unpaid" or pause_behavior == "keep_as_draft":
        invoice["auto_advance"] = False
        return
    when = world.now() + world.settings["draft_s"]
    invoice["automatically_finalizes_at"] = when
    invoice["_timers"]["finalize"] = world.clock.at(when, lambda: invoices.finalize(world, invoice))


def periods_of(items):
    return {item["id"]: (item["current_period_start"], item["current_period_end"]) for item in items}


def next_period(sub, item, start):
    """Counts from the anchor, so that a period that began on the 31st returns to the 31st."""
    interval, count = rhythm(item["price"])
    ends = start
    while ends <= start:
        item["_periods"] += 1
        ends = add_interval(sub["billing_cycle_anchor"], interval, count * item["_periods"])
    item["current_period_start"], item["current_period_end"] = start, ends


def restart_period(world, sub):
    """Starts a new period of all items now, with a new anchor. Returns the periods that it cut short."""
    now = sub["billing_cycle_anchor"] = world.now()
    past = {}
    for item in sub["items"]["data"]:
        past[item["id"]] = (item["current_period_start"], now)
        item["_periods"] = 0
        next_period(sub, item, now)
    return past


def invoice_now(world, sub, reason, past=None):
    """Invoices everything that is due, and attempts the payment at once. None if nothing is due.

    @past: the periods that ended now, if new ones start; then these are due too.
    """
    lines = [] if past is None else invoices.lines_of(world, sub, sub["items"]["data"], past, False)
    lines += prorations.take(world, sub)
    if not lines:
        return None
    invoice = invoices.draft(world, sub, reason, lines)
    sub["latest_invoice"] = invoice["id"]
    invoices.finalize(world, invoice)
    return invoice


def on_paid(world, sub):
    """Called by invoices.py when an invoice of @sub was paid."""
    unpaid = [i for i in map(world.invoices.get, sub["_invoices"])
              if i["status"] == "open" and i["attempted"]]
    if sub["status"] not in ("incomplete", "past_due", "unpaid") or unpaid:
        return
    with updating(world, sub):
        sub["status"] = "active"
        drop_timer(sub, "incomplete")


def on_unpaid(world, sub, was_last):
    """Called when a payment of @sub failed; with @was_last, no further attempt is scheduled."""
    if sub["status"] in ("active", "trialing"):
        with updating(world, sub):
            sub["status"] = "past_due"
    if not was_last or sub["status"] != "past_due":
        return
    after = world.settings["after_retries"]
    if after == "cancel":
        end(world, sub, reason="payment_failed")
    elif after == "unpaid":
        with updating(world, sub):
            sub["status"] = "unpaid"
    elif after == "pause":
        pause(world, sub, "final_payment_failure")


def expire_incomplete(world, sub):
    if sub["status"] != "incomplete":
        return
    for name in sub["_invoices"]:
        if world.invoices.get(name)["status"] == "open":
            invoices.void(world, world.invoices.get(name))
    with updating(world, sub):
        sub["status"] = "incomplete_expired"
        sub["ended_at"] = world.now()
        set_timers(world, sub)


def pause(world, sub, cause):
    with updating(world, sub):
        sub["status"] = "paused"
        sub["status_details"] = {"paused": {"subscription": {"type": cause}, "type": "subscription",
                                            "transitioned_at": world.now()}}
        set_timers(world, sub)
    world.emit("customer.subscription.paused", sub)


def resume(world, sub):
    with updating(world, sub):
        sub["status"] = "active"
        sub.pop("status_details", None)
        restart_period(world, sub)
        invoice_now(world, sub, "subscription_cycle", {})
        set_timers(world, sub)
    world.emit("customer.subscription.resumed", sub)


def end(world, sub, at_period_end=False, reason="cancellation_requested"):
    for timer in sub["_timers"].values():
        timer.is_off = True
    sub["_timers"].clear()
    for name in sub["_invoices"]:
        invoice = world.invoices.get(name)
        if invoice["status"] == "open":
            invoices.stop(invoice)
            invoice["auto_advance"], invoice["next_payment_attempt"] = False, None
    now = world.now()
    sub["status"] = "canceled"
    sub["canceled_at"] = sub["canceled_at"] or now
    sub["ended_at"] = now
    sub["cancellation_details"]["reason"] = sub["cancellation_details"]["reason"] or reason
    if at_period_end and any(is_metered(item["price"]) for item in sub["items"]["data"]):
        bill_last_usage(world, sub)
    world.emit("customer.subscription.deleted", sub)
    for notify in on_end:
        notify(world, sub)
    entitlements.refresh(world, sub["customer"])


def bill_last_usage(world, sub):
    metered = [item for item in sub["items"]["data"] if is_metered(item["price"])]
    lines = invoices.lines_of(world, sub, metered, periods_of(metered), False)
    invoice = invoices.draft(world, sub, "subscription_cycle", lines)
    sub["latest_invoice"] = invoice["id"]
    when = world.now() + world.settings["draft_s"]
    invoice["_timers"]["finalize"] = world.clock.at(when, lambda: invoices.finalize(world, invoice))
