# SPDX-License-Identifier: BSD-2-Clause
"""endpoints_api: webhook endpoints and event destinations (v2).

An endpoint that is created here gets events like one of control.py.
"""
from clock import iso
from delivery import Endpoint
from errors import invalid, missing, refused
from params import Need, anything, boolean, metadata, one_of, text
from render import list_of
from routes import page, paged, route
from world import Table

# The names that Stripe accepts, of the families that have to do with billing. There are no patterns.
SNAPSHOT_EVENTS = set("""
billing.alert.triggered billing.credit_balance_transaction.created billing.credit_grant.created
billing.credit_grant.updated billing.meter.created billing.meter.deactivated
billing.meter.reactivated billing.meter.updated billing_portal.configuration.created
billing_portal.configuration.updated billing_portal.session.created charge.captured
charge.dispute.closed charge.dispute.created charge.dispute.funds_reinstated
charge.dispute.funds_withdrawn charge.dispute.updated charge.expired charge.failed
charge.pending charge.refund.updated charge.refunded charge.succeeded charge.updated
checkout.session.async_payment_failed checkout.session.async_payment_succeeded
checkout.session.completed checkout.session.expired customer.created customer.deleted
customer.discount.created customer.discount.deleted customer.discount.updated
customer.source.created customer.source.deleted customer.source.expiring customer.source.updated
customer.subscription.created customer.subscription.deleted customer.subscription.paused
customer.subscription.pending_update_applied customer.subscription.pending_update_expired
customer.subscription.resumed customer.subscription.trial_will_end customer.subscription.updated
customer.tax_id.created customer.tax_id.deleted customer.tax_id.updated customer.updated
entitlements.active_entitlement_summary.updated invoice.created invoice.deleted
invoice.finalization_failed invoice.finalized invoice.marked_uncollectible invoice.overdue
invoice.overpaid invoice.paid invoice.payment_action_required invoice.payment_attempt_required
invoice.payment_failed invoice.payment_succeeded invoice.sent invoice.upcoming invoice.updated
invoice.voided invoice.will_be_due invoice_payment.paid invoiceitem.created invoiceitem.deleted
payment_intent.amount_capturable_updated payment_intent.canceled payment_intent.created
payment_intent.partially_funded payment_intent.payment_failed payment_intent.processing
payment_intent.requires_action payment_intent.succeeded price.created price.deleted
price.updated product.created product.deleted product.updated refund.created refund.failed
refund.updated subscription_schedule.aborted subscription_schedule.canceled
subscription_schedule.completed subscription_schedule.created subscription_schedule.expiring
subscription_schedule.released subscription_schedule.updated coupon.created coupon.deleted coupon.updated
promotion_code.created promotion_code.updated test_helpers.test_clock.advancing
test_helpers.test_clock.created test_helpers.test_clock.deleted
test_helpers.test_clock.internal_failure test_helpers.test_clock.ready
""".split())
THIN_EVENTS = {f"v1.{name}" for name in SNAPSHOT_EVENTS} | {
    "v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found"}
URL_SECRETS = ("webhook_endpoint.url", "webhook_endpoint.signing_secret")


def check_events(names, known):
    for name in names:
        if name not in known and name != "*":
            raise invalid(f"Invalid enabled_events: must be one of {', '.join(sorted(known))[:60]}..., not {name}",
                          "enabled_events")
    if not names:
        raise invalid("enabled_events must not be empty.", "enabled_events")


def check_url(url):
    if not url.startswith(("http://", "https://")):
        raise refused(f"Invalid URL: {url}", "url", "url_invalid")


def endpoints_of(world, is_thin):
    return [e for e in world.events.courier.endpoints.values() if (e.payload == "thin") == is_thin]


def find(world, name, is_thin):
    for endpoint in endpoints_of(world, is_thin):
        if endpoint.id == name:
            return endpoint
    raise missing("webhook endpoint", name)


def add(world, name, url, types, version, payload):
    endpoint = Endpoint(name, url, [world.new_id("whsec", 32)], version, payload, types)
    endpoint.created = world.now()
    world.events.courier.endpoints[name] = endpoint
    return endpoint


# Endpoints (v1).

def shown(endpoint, secret=False):
    found = {"id": endpoint.id, "object": "webhook_endpoint", "api_version": endpoint.api_version,
             "application": None, "created": getattr(endpoint, "created", 0), "description": None,
             "enabled_events": list(endpoint.types), "livemode": False, "metadata": {},
             "status": "enabled" if endpoint.is_enabled else "disabled", "url": endpoint.url}
    return {**found, "secret": endpoint.secrets[0]} if secret else found


@route("GET", "/v1/webhook_endpoints", paged())
def endpoints(world, call):
    table = Table("webhook endpoint")
    for endpoint in endpoints_of(world, False):
        table.add(shown(endpoint))
    return page(table, call)


@route("GET", "/v1/webhook_endpoints/{}")
def endpoint(world, call, name):
    return shown(find(world, name, False))


@route("POST", "/v1/webhook_endpoints", {
    "url": Need(text), "enabled_events": Need([text]), "api_version": text, "connect": boolean, "description": text,
    "metadata": metadata})
def create_endpoint(world, call):
    p = call.params
    check_url(p["url"])
    check_events(p["enabled_events"], SNAPSHOT_EVENTS)
    version = p.get("api_version") or world.settings["api_version"]
    return shown(add(world, world.new_id("we"), p["url"], p["enabled_events"], version, "snapshot"), True)


@route("POST", "/v1/webhook_endpoints/{}", {
    "url": text, "enabled_events": [text], "disabled": boolean, "description": text, "metadata": metadata})
def update_endpoint(world, call, name):
    p, found = call.params, find(world, name, False)
    check_events(p.get("enabled_events", found.types), SNAPSHOT_EVENTS)
    found.types = p.get("enabled_events", found.types)
    found.url = p.get("url", found.url)
    found.is_enabled = not p.get("disabled", not found.is_enabled)
    return shown(found)


@route("DELETE", "/v1/webhook_endpoints/{}")
def delete_endpoint(world, call, name):
    find(world, name, False)
    world.events.courier.drop(name)
    return {"id": name, "object": "webhook_endpoint", "deleted": True}


# Event destinations (v2): those for thin events, and the endpoints above.

INCLUDE = {"include": [one_of(*URL_SECRETS)]}


def destination(endpoint, call, secret=False):
    include = call.params.get("include", [])
    is_thin = endpoint.payload == "thin"
    where = {}
    if "webhook_endpoint.url" in include:
        where["url"] = endpoint.url
    if secret and "webhook_endpoint.signing_secret" in include:
        where["signing_secret"] = endpoint.secrets[0]
    when = iso(getattr(endpoint, "created", 0))
    return {"id": endpoint.id, "object": "v2.core.event_destination", "created": when, "updated": when,
            "description": "", "enabled_events": list(endpoint.types), "events_from": ["@self"],
            "event_payload": "thin" if is_thin else "snapshot", "livemode": False, "name": "",
            **({} if is_thin else {"snapshot_api_version": endpoint.api_version}),
            "status": "enabled" if endpoint.is_enabled else "disabled", "type": "webhook_endpoint",
            "webhook_endpoint": where}


@route("GET", "/v2/core/event_destinations", {"limit": anything, **INCLUDE})
def destinations(world, call):
    return {"data": [destination(e, call) for e in world.events.courier.endpoints.values()],
            "next_page_url": None, "previous_page_url": None}


@route("POST", "/v2/core/event_destinations", {
    "name": Need(text), "type": Need(one_of("webhook_endpoint")), "event_payload": Need(one_of("snapshot", "thin")),
    "enabled_events": Need([text]), "webhook_endpoint": Need({"url": Need(text)}), "description": text,
    "metadata": metadata, **INCLUDE})
def create_destination(world, call):
    p = call.params
    check_url(p["webhook_endpoint"]["url"])
    check_events(p["enabled_events"], THIN_EVENTS if p["event_payload"] == "thin" else SNAPSHOT_EVENTS)
    made = add(world, world.new_id("ed_test", 32), p["webhook_endpoint"]["url"], p["enabled_events"],
               world.settings["api_version"], p["event_payload"])
    return destination(made, call, True)


@route("POST", "/v2/core/event_destinations/{}", {"enabled_events": [text], "name": text, **INCLUDE})
def update_destination(world, call, name):
    found = find(world, name, True)
    check_events(call.params.get("enabled_events", found.types), THIN_EVENTS)
    found.types = call.params.get("enabled_events", found.types)
    return destination(found, call)


@route("POST", "/v2/core/event_destinations/{}/enable")
def enable_destination(world, call, name):
    found = find(world, name, True)
    found.is_enabled = True
    return destination(found, call)


@route("POST", "/v2/core/event_destinations/{}/disable")
def disable_destination(world, call, name):
    found = find(world, name, True)
    found.is_enabled = False
    return destination(found, call)
