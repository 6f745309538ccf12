# SPDX-License-Identifier: BSD-2-Clause
"""meters: usage, as billing meter events and as usage records of old API versions.

Like Stripe, it checks the time and the identifier of a meter event at once, and the customer, the
meter and the value later: errors of these are reported in thin events (or at once, with the setting
meter_errors = sync). An identifier counts once in 24 hours.
"""
import re

from clock import DAY, HOUR, iso
from errors import ApiError, refused
from params import Need, at_most, hash_of_text, integer, now_or_time, one_of, text
from render import changing, list_of
from routes import page, paged, route

OLDEST_S = 35 * DAY
NEWEST_S = 5 * 60
MOST_SAMPLES = 10


def create_meter(world, event_name, display_name, formula="sum", customer_key="stripe_customer_id",
                 value_key="value", window=None):
    if any(m["event_name"] == event_name and m["status"] == "active" for m in world.meters):
        raise refused(f"A meter with event_name {event_name} already exists.", "event_name")
    meter = world.meters.add({
        "id": world.new_id("mtr_test", 36), "object": "billing.meter", "created": world.now(),
        "customer_mapping": {"event_payload_key": customer_key, "type": "by_id"},
        "default_aggregation": {"formula": formula}, "display_name": display_name,
        "event_name": event_name, "event_time_window": window, "livemode": False, "status": "active",
        "status_transitions": {"deactivated_at": None}, "updated": world.now(),
        "value_settings": {"event_payload_key": value_key},
        "_events": [],
    })
    world.emit("billing.meter.created", meter)
    return meter


@route("POST", "/v1/billing/meters", {
    "display_name": Need(at_most(250)), "event_name": Need(at_most(100)),
    "default_aggregation": Need({"formula": Need(one_of("sum", "count", "last"))}),
    "customer_mapping": {"event_payload_key": Need(at_most(100)), "type": Need(one_of("by_id"))},
    "value_settings": {"event_payload_key": Need(at_most(100))}, "event_time_window": one_of("day", "hour")})
def post_meter(world, call):
    p = call.params
    return create_meter(world, p["event_name"], p["display_name"],
                        p["default_aggregation"]["formula"],
                        p.get("customer_mapping", {}).get("event_payload_key",
                                                          "stripe_customer_id"),
                        p.get("value_settings", {}).get("event_payload_key", "value"),
                        p.get("event_time_window"))


@route("GET", "/v1/billing/meters", paged(status=one_of("active", "inactive")))
def index(world, call):
    return page(world.meters, call, lambda m: call.params.get("status", m["status"]) == m["status"])


@route("GET", "/v1/billing/meters/{}")
def get(world, call, name):
    return world.meters.get(name)


@route("POST", "/v1/billing/meters/{}/deactivate")
def deactivate(world, call, name):
    meter = world.meters.get(name)
    with changing(world, meter, "billing.meter.deactivated"):
        meter["status"], meter["status_transitions"]["deactivated_at"] = "inactive", world.now()
    return meter


@route("POST", "/v1/billing/meters/{}/reactivate")
def reactivate(world, call, name):
    meter = world.meters.get(name)
    with changing(world, meter, "billing.meter.reactivated"):
        meter["status"], meter["status_transitions"]["deactivated_at"] = "active", None
    return meter


# Meter events.

@route("POST", "/v1/billing/meter_events", {
    "event_name": Need(at_most(100)), "payload": Need(hash_of_text), "identifier": at_most(100),
    "timestamp": integer})
def post_event(world, call):
    p = call.params
    now = world.real.now()
    when = p.get("timestamp", now)
    if when < now - OLDEST_S:
        raise refused("The timestamp must be within the past 35 days.", "timestamp",
                      "timestamp_too_far_in_past")
    if when > now + NEWEST_S:
        raise refused("The timestamp must be at most 5 minutes in the future.", "timestamp",
                      "timestamp_in_future")
    named = [m for m in world.meters if m["event_name"] == p["event_name"]]
    meter = next((m for m in named if m["status"] == "active"), None)
    identifier = p.get("identifier") or world.new_id("meterevent", 32)
    check_new(world, identifier)
    error = fault_of(world, meter, named, p["payload"])
    if error and world.settings["meter_errors"] == "sync":
        raise refused(error[1], "payload", error[0])
    world.meter_identifiers[identifier] = now
    event = {"object": "billing.meter_event", "created": now, "event_name": p["event_name"],
             "identifier": identifier, "livemode": False, "payload": p["payload"],
             "timestamp": when}
    if error:
        report(world, meter or (named[-1] if named else None), error, identifier)
    else:
        value = p["payload"][meter["value_settings"]["event_payload_key"]]
        meter["_events"].append({
            "customer": p["payload"][meter["customer_mapping"]["event_payload_key"]],
            "value": int(value),
            "timestamp": when, "identifier": identifier, "created": now})
    return event


def check_new(world, identifier):
    seen = world.meter_identifiers.get(identifier)
    if seen is not None and world.real.now() - seen < DAY:
        raise ApiError(400, f"An event already exists with identifier {identifier}.",
                       param="identifier",
                       headers={"Stripe-Should-Retry": "false"})


def fault_of(world, meter, named, payload):
    """(code, message) of the error, or None."""
    if meter is None:
        return ("archived_meter", "The meter is archived.") if named else \
            ("no_meter", "No meter found for the event name.")
    customer_key = meter["customer_mapping"]["event_payload_key"]
    value_key = meter["value_settings"]["event_payload_key"]
    if customer_key not in payload:
        return ("meter_event_no_customer_defined",
                f"Customer mapping key {customer_key} not found in payload.")
    customer = world.customers.find(payload[customer_key])
    if customer is None or customer.get("deleted"):
        return ("meter_event_customer_not_found", f"Customer not found: {payload[customer_key]}.")
    value = payload.get(value_key)
    if value is None:
        return ("meter_event_invalid_value", f"Value key {value_key} not found in payload.")
    if not re.fullmatch(r"-?[0-9]+", value):
        return ("meter_event_invalid_value", f"The value {value} is not a whole number.")
    if len(value.lstrip("-")) > 15:
        return ("meter_event_value_too_many_digits", "The value has more than 15 digits.")
    return None


def report(world, meter, error, identifier):
    """Collects errors for a window of time, then reports them in one event."""
    errors = world.meter_errors.setdefault(meter["id"] if meter else None, [])
    errors.append((*error, identifier, world.real.exact()))
    window = world.settings["meter_error_window_s"]
    if not window:
        tell(world, meter)
    elif len(errors) == 1:
        world.real.at(world.real.exact() + window, lambda: tell(world, meter))


def tell(world, meter):
    errors = world.meter_errors.pop(meter["id"] if meter else None)
    types = []
    for code in dict.fromkeys(error[0] for error in errors):
        mine = [error for error in errors if error[0] == code]
        types.append({"code": code, "error_count": len(mine), "sample_errors": [
            {"error_message": e[1], "request": {"identifier": e[2]}} for e in mine[:MOST_SAMPLES]]})
    count = len(errors)
    data = {"developer_message_summary": f"There {'is' if count == 1 else 'are'} {count} invalid "
                                         f"event{'' if count == 1 else 's'}",
            "reason": {"error_count": count, "error_types": types},
            "validation_start": iso(errors[0][3]), "validation_end": iso(world.real.exact())}
    request, world.request = world.request, None
    if meter:
        place = {"id": meter["id"], "type": "billing.meter",
                 "url": f"/v1/billing/meters/{meter['id']}"}
        thin = world.events.make_thin("v1.billing.meter.error_report_triggered", place, data)
    else:
        thin = world.events.make_thin("v1.billing.meter.no_meter_found", None, data)
    world.request = request
    world.events.send_thin(thin)


# Sums of usage.

def total(meter, customer, start, end, latest=None):
    """Leaves out what was reported after @latest."""
    values = [e["value"] for e in meter["_events"] if e["customer"] == customer
              and start <= e["timestamp"] < end and (latest is None or e["created"] <= latest)]
    formula = meter["default_aggregation"]["formula"]
    if formula == "count":
        return len(values)
    if formula == "last":
        return values[-1] if values else 0
    return sum(values)


def usage_of(world, item, customer, start, end):
    """The usage of a metered item in a period."""
    meter = item["price"]["recurring"]["meter"]
    if meter:
        return max(total(world.meters.get(meter), customer, start, end), 0)
    return sum(r["quantity"] for r in world.usage_records
               if r["subscription_item"] == item["id"] and start <= r["timestamp"] < end)


@route("GET", "/v1/billing/meters/{}/event_summaries", paged(
    customer=Need(text), start_time=Need(integer), end_time=Need(integer),
    value_grouping_window=one_of("hour", "day")))
def summaries(world, call, name):
    p = call.params
    meter = world.meters.get(name)
    world.customers.get(p["customer"], "customer")
    start, end = p["start_time"], p["end_time"]
    step = {"hour": HOUR, "day": DAY}.get(p.get("value_grouping_window"))
    unit = step or 60
    for field, value in (("start_time", start), ("end_time", end)):
        if value % unit:
            word = {60: "minute", HOUR: "hour", DAY: "day (UTC)"}[unit]
            raise refused(f"{field} must be aligned with {word} boundaries.", field)
    if end <= start:
        raise refused("end_time must be after start_time.", "end_time")
    latest = world.real.now() - world.settings["meter_lag_s"]
    edges = range(start, end, step) if step else (start,)
    rows = []
    for edge in edges:
        upto = edge + step if step else end
        value = total(meter, p["customer"], edge, upto, latest)
        if value or not step:
            rows.append({"id": f"mtrusg_test_{meter['id'][-8:]}{edge}",
                         "object": "billing.meter_event_summary",
                         "aggregated_value": value, "end_time": upto, "livemode": False,
                         "meter": meter["id"], "start_time": edge})
    rows.reverse()
    names = [row["id"] for row in rows]
    first = names.index(p["starting_after"]) + 1 if p.get("starting_after") in names else 0
    limit = p.get("limit", 10)
    return list_of(rows[first:first + limit], call.path, first + limit < len(rows))


# Usage records, for API versions before 2025-03-31.

@route("POST", "/v1/subscription_items/{}/usage_records", {
    "quantity": Need(integer), "timestamp": now_or_time, "action": one_of("increment", "set")})
def post_usage(world, call, name):
    item = world.items.get(name)
    recurring = item["price"]["recurring"]
    if recurring["usage_type"] != "metered" or recurring["meter"]:
        raise refused("Cannot create the usage record because the subscription item's price is not metered "
                      "by usage records.", "subscription_item")
    when = call.params.get("timestamp", "now")
    when = world.now() if when == "now" else when
    if when < item["current_period_start"] or when > world.now() + NEWEST_S:
        raise refused("Cannot create the usage record with this timestamp because timestamps must be within "
                      "the subscription's current period.", "timestamp")
    if call.params["quantity"] < 0:
        raise refused("Quantity must be a positive number.", "quantity")
    if call.params.get("action", "increment") == "set":
        world.usage_records[:] = [r for r in world.usage_records if r["timestamp"] != when
                                  or r["subscription_item"] != name]
    record = {"id": world.new_id("mbur"), "object": "usage_record", "livemode": False,
              "quantity": call.params["quantity"], "subscription_item": name, "timestamp": when}
    world.usage_records.append(record)
    return record


@route("GET", "/v1/subscription_items/{}/usage_record_summaries", paged())
def usage_summaries(world, call, name):
    item = world.items.get(name)
    start, end = item["current_period_start"], item["current_period_end"]
    row = {"id": f"sis_{name[3:]}", "object": "usage_record_summary", "invoice": None,
           "livemode": False,
           "period": {"start": start, "end": None}, "subscription_item": name,
           "total_usage": usage_of(world, item,
                                   world.subscriptions.get(item["subscription"])["customer"],
                                   start, end)}
    return list_of([row], call.path)


@route("GET", "/v1/subscription_items/{}")
def get_item(world, call, name):
    return world.items.get(name)


@route("GET", "/v1/subscription_items", paged(subscription=Need(text)))
def items(world, call):
    sub = world.subscriptions.get(call.params["subscription"], "subscription")
    return list_of(sub["items"]["data"], call.path)
