# SPDX-License-Identifier: BSD-2-Clause
"""control: how tests control the fake: JSON calls below /_control, on the same port and without a
key. The paths below follow /_control; GET /_control itself returns an overview.

    GET    /                         clock, counts, settings
    POST   /reset                    {}: resets faults, rules, settings and `down`
    POST   /settings                 {name: value, ...}; the names are in world.py

    POST   /clock                    {"advance": seconds} or {"to": time}; runs all timers that become due;
                                     {"start": time}: where it begins, also in the past
    POST   /subscriptions/ID/renew   {}: advances the clock past the period's end and the payment of its invoice
    POST   /subscriptions/ID/status  {"status": word}: sets any status, known or unknown, as an update

    POST   /subscriptions/ID/items   {"price", "start", "end"}: adds an item with a period of its own

    POST   /prices                   {"id", "lookup_key", "unit_amount", "interval", "currency",
                                     "product", "name", "meter": event name, "features": [lookup keys],
                                     "unit_label", "unit_amount_decimal", "tiers", "tiers_mode",
                                     "transform_quantity"}
    POST   /portal/plans             {"prices": [IDs], "proration_behavior", ...}: lets customers change between
                                     these prices in the portal; with none, they cannot change their plan
    POST   /portal/ID/confirm        {"price", "quantity", "card"}: does what the flow's page does -> {"status", "url"}
    POST   /customers/ID/payments    {"outcome": succeeds | fails | requires_action | none | null,
                                     "count": n or null}: the outcome of the next payments
    POST   /checkout/ID/pay          {"email", "async": bool, "quantity", "code": promotion code}: does what
                                     the page does -> {"url"}
    POST   /checkout/ID/async        {"succeeded": bool}: ends the pending payment
    POST   /seed                     {"count", "price", "status"}: creates subscriptions without events
    POST   /charges                  {"customer", "amount", "invoice"}: a payment that succeeded
    POST   /disputes                 {"charge", "status"}: opens a dispute or an inquiry
    POST   /disputes/ID              {"status"}: moves it to that state
    POST   /refunds/ID/fail          {}: the money of a refund comes back
    POST   /emit                     {"type", "object": {...} or an id, "previous_attributes": {...}}

    GET    /endpoints                the endpoints that get events
    POST   /endpoints                {"url", "secrets", "api_version", "payload": snapshot | thin | both,
                                     "types": [patterns]}; with "id", changes that endpoint
    DELETE /endpoints/ID
    GET    /deliveries?state=&type=&event= the state and attempts of each
    POST   /deliveries/rules         {"do": hold | drop | fail | twice | delay | shuffle | corrupt,
                                     "type": pattern, "count": n or null, "seconds", "copies", "how"}
                                     drop: as if never sent; fail: all attempts have failed;
                                     how: signature, body, stale, future, missing, secret
    DELETE /deliveries/rules
    POST   /deliveries/release       {"shuffle", "reverse", "copies"}: sends held events, and stops holding
    POST   /deliveries/again         {"states": [...], "event", "type", "copies", "how"}: sends again, now
    POST   /deliveries/forget        {}: gives up all deliveries that wait for a retry
    POST   /settle                   {"timeout": s}: waits until all deliveries are done -> {"settled"}

    POST   /faults                   {"count": n or null, "skip", "method", "path": regex, "status",
                                     "code", "message", "body", "headers", "reset", "when": before |
                                     after, "delay": s, "cut": bytes, "saved", "every", "agent"}; see faults.py
    DELETE /faults
    POST   /down                     {"how": "reset" | "hang" | status | null}
    GET    /calls?method=&path=&since= every call: parameters as sent, some headers, status
    DELETE /calls
    GET    /usage?meter=EVENT_NAME&customer= all accepted meter events, and their sum
    GET    /usage_records            usage records (old API versions)
"""
import json
import re
import time
from urllib.parse import parse_qsl, urlencode, urlsplit

import catalog
import charges
import checkout
import customers
import meters
import pages
import portal
import render
import subscription
from delivery import Endpoint, Rule
from errors import ApiError, missing
from faults import Fault
from server import Answer, Request
from world import SETTINGS

ROUTES = []


def control(method, pattern):
    def add(function):
        ROUTES.append((method, re.compile("/_control" + pattern.replace("{}", "([^/]+)")),
                       function))
        return function
    return add


class Control:
    def __init__(self, world, api, courier):
        self.world, self.api, self.courier = world, api, courier

    def handle(self, request):
        try:
            fields = json.loads(request.body or b"{}")
            fields.update(parse_qsl(request.query))
            for method, pattern, function in ROUTES:
                match = pattern.fullmatch(request.path)
                if match and method == request.method:
                    return Answer.of_json(200, function(self, fields, *match.groups()))
            return Answer.of_json(404, {"error": f"no {request.method} {request.path}"})
        except ApiError as e:
            return Answer.of_json(e.status, {"error": e.body["message"]})
        except (ValueError, TypeError, KeyError, AttributeError) as e:
            return Answer.of_json(400, {"error": f"{type(e).__name__}: {e}"})

    def endpoint(self, fields):
        name = fields.pop("id", None)
        found = self.courier.endpoints.get(name)
        if name and not found:
            raise missing("endpoint", name)
        if found:
            vars(found).update({key: value for key, value in fields.items() if key in vars(found)})
        else:
            fields.setdefault("api_version", self.world.settings["api_version"])
            found = Endpoint(self.world.new_id("we"), **fields)
            self.courier.endpoints[found.id] = found
        return found.describe()


@control("GET", "")
def overview(self, fields):
    w = self.world
    with w.lock:
        return {"now": w.clock.exact(), "offset": w.clock.offset_s, "settings": w.settings,
                "customers": len(w.customers), "subscriptions": len(w.subscriptions),
                "sessions": len(w.sessions), "invoices": len(w.invoices),
                "events": len(w.events.snapshots),
                "calls": self.api.log.next, "down": self.api.faults.down}


@control("POST", "/reset")
def reset(self, fields):
    with self.world.lock:
        self.world.settings.clear()
        self.world.settings.update({key: list(v) if isinstance(v, list) else v for key,
                                    v in SETTINGS.items()})
    self.api.faults.faults = []
    self.api.faults.set_down(None)
    with self.courier.changed:
        self.courier.rules = []
    return {}


@control("POST", "/settings")
def settings(self, fields):
    unknown = fields.keys() - SETTINGS.keys()
    if unknown:
        raise ValueError(f"no such setting: {', '.join(unknown)}")
    with self.world.lock:
        self.world.settings.update(fields)
        with self.courier.changed:
            self.courier.changed.notify_all()
        return self.world.settings


@control("POST", "/clock")
def clock(self, fields):
    with self.world.lock:
        now = self.world.clock.exact()
        if "start" in fields:
            if len(self.world.customers):
                raise ValueError("the clock can be set back only before there are objects")
            self.world.clock.offset_s = fields["start"] - time.time()
            return {"now": self.world.clock.exact()}
        to = fields["to"] if "to" in fields else now + fields["advance"]
        if to < now:
            raise ValueError("the clock cannot go back")
        self.world.clock.advance_to(to)
        return {"now": self.world.clock.exact()}


@control("POST", "/subscriptions/{}/renew")
def renew(self, fields, name):
    with self.world.acting(name):
        sub = self.world.subscriptions.get(name)
        to = subscription.period_end(sub) + self.world.settings["draft_s"]
        self.world.clock.advance_to(max(to, self.world.clock.exact()))
        return render.shape(sub, self.world.settings["api_version"])


@control("POST", "/subscriptions/{}/status")
def status(self, fields, name):
    with self.world.acting(name):
        sub = self.world.subscriptions.get(name)
        with subscription.updating(self.world, sub):
            sub["status"] = fields["status"]
        return render.shape(sub, self.world.settings["api_version"])


@control("POST", "/prices")
def price(self, fields):
    """Creates a price with the ID that the test chose, and all that it needs."""
    w = self.world
    with w.lock:
        recurring = {"interval": fields.get("interval", "month"),
                     "interval_count": fields.get("interval_count", 1)}
        if fields.get("meter"):
            known = [m for m in w.meters if m["event_name"] == fields["meter"]]
            meter = known[0] if known else meters.create_meter(w, fields["meter"], fields["meter"])
            recurring.update(usage_type="metered", meter=meter["id"])
        product = fields.get("product") and w.products.find(fields["product"])
        if not product:
            name = fields.get("name") or fields.get("lookup_key") or fields.get("id") or "Product"
            product = catalog.create_product(
                w, {"name": name, "unit_label": fields.get("unit_label")}, fields.get("product"))
        for key in fields.get("features", ()):
            known = [f for f in w.features if f["lookup_key"] == key]
            catalog.attach(w, product, known[0] if known else catalog.create_feature(w, key, key))
        asked = {"currency": fields.get("currency", "usd"), "product": product["id"],
                 "recurring": recurring,
                 "unit_amount": fields.get("unit_amount", 1000), "transfer_lookup_key": True}
        asked.update({name: fields[name] for name in (
            "unit_amount_decimal", "tiers", "tiers_mode", "transform_quantity") if name in fields})
        if "unit_amount_decimal" in fields or "tiers" in fields:
            asked["unit_amount"] = None
        if fields.get("lookup_key"):
            asked["lookup_key"] = fields["lookup_key"]
        made = catalog.create_price(w, asked, w.settings["api_version"], fields.get("id"))
        product["default_price"] = product["default_price"] or made["id"]  # as Stripe's dashboard does
        return render.shape(made, w.settings["api_version"])


@control("POST", "/customers/{}/payments")
def payments(self, fields, name):
    with self.world.lock:
        customers.set_payments(self.world.customers.get(name), fields["outcome"],
                               fields.get("count"))
    return {}


@control("POST", "/checkout/{}/pay")
def pay(self, fields, name):
    with self.world.acting(name):
        session = self.world.sessions.get(name)
        if "code" in fields:
            checkout.enter_code(self.world, session, fields["code"])
        if "quantity" in fields:
            checkout.adjust(session, fields["quantity"])
        checkout.complete(self.world, session, fields.get("email"), fields.get("async"))
        return {"url": pages.success_url(session), "customer": session["customer"],
                "subscription": session["subscription"]}


@control("POST", "/checkout/{}/async")
def end_async(self, fields, name):
    with self.world.acting(name):
        checkout.end_async(self.world, self.world.sessions.get(name), fields["succeeded"])
    return {}


@control("POST", "/portal/plans")
def plans(self, fields):
    with self.world.lock:
        found = portal.allow_plans(self.world, fields.pop("prices"), fields)
        return render.shape(found, self.world.settings["api_version"])


@control("POST", "/portal/{}/confirm")
def confirm(self, fields, name):
    """Fills in the page of a session's flow. @name: the session's ID, or the last part of its URL."""
    session = self.world.portals.get(name)
    with self.world.acting(session["id"]):
        body = urlencode(fields).encode()
        answer = pages.portal_page(self.world, Request("POST", urlsplit(session["url"]).path, {}, body), session)
        return {"status": answer.status, "url": answer.headers.get("Location"), "text": answer.body.decode()}


@control("POST", "/seed")
def seed(self, fields):
    w = self.world
    made = []
    with w.lock:
        sold = w.prices.get(fields["price"])
        endpoints, self.courier.endpoints = self.courier.endpoints, {}
        try:
            for i in range(fields["count"]):
                customer = customers.create(w, {"email": f"seed{len(w.customers)}@example.com"})
                sub = subscription.create(w, customer, [(sold, None)], {})
                sub["status"] = fields.get("status", sub["status"])
                made.append({"customer": customer["id"], "subscription": sub["id"]})
        finally:
            self.courier.endpoints = endpoints
    return {"made": made}


@control("POST", "/subscriptions/{}/items")
def add_item(self, fields, name):
    """Adds an item with a period of its own, as flexible billing has it."""
    w = self.world
    with w.acting(name):
        sub = w.subscriptions.get(name)
        with render.changing(w, sub, "customer.subscription.updated"):
            item = subscription.make_item(w, name, w.prices.get(fields["price"]), None,
                                          (fields["start"], fields["end"]))
            sub["items"]["data"].append(item)
        return render.shape(item, w.settings["api_version"])


@control("POST", "/charges")
def charge(self, fields):
    w = self.world
    with w.acting(fields["customer"]):
        invoice = w.invoices.get(fields["invoice"]) if "invoice" in fields else None
        return render.shape(charges.create(w, fields["customer"], fields.get("amount", 2000),
                                           "usd", invoice), w.settings["api_version"])


@control("POST", "/disputes")
def dispute(self, fields):
    w = self.world
    with w.acting(fields["charge"]):
        row = charges.open_dispute(w, w.charges.get(fields["charge"]),
                                   fields.get("status", "needs_response"))
        return render.shape(row, w.settings["api_version"])


@control("POST", "/disputes/{}")
def dispute_state(self, fields, name):
    w = self.world
    with w.acting(name):
        row = charges.move_dispute(w, w.disputes.get(name), fields["status"])
        return render.shape(row, w.settings["api_version"])


@control("POST", "/refunds/{}/fail")
def refund_fails(self, _fields, name):
    w = self.world
    with w.acting(name):
        return render.shape(charges.fail_refund(w, w.refunds.get(name)),
                            w.settings["api_version"])


@control("POST", "/emit")
def emit(self, fields):
    w = self.world
    with w.lock:
        obj = fields.get("object", {})
        if isinstance(obj, str):
            obj = w.table_of(obj).get(obj)
        before = None
        if "previous_attributes" in fields:
            before = {**render.freeze(obj), **fields["previous_attributes"]}
        return w.events.public(w.emit(fields["type"], obj, before))


@control("GET", "/endpoints")
def endpoints(self, fields):
    return {"endpoints": [e.describe() for e in self.courier.endpoints.values()]}


@control("POST", "/endpoints")
def set_endpoint(self, fields):
    with self.world.lock:
        return self.endpoint(fields)


@control("DELETE", "/endpoints/{}")
def drop_endpoint(self, fields, name):
    with self.world.lock:
        return self.courier.drop(name).describe()


@control("GET", "/deliveries")
def deliveries(self, fields):
    with self.courier.changed:
        return {"deliveries": [d.describe() for d in self.courier.deliveries
                               if fields.get("state", d.state) == d.state
                               and fields.get("type", d.kind) == d.kind
                               and fields.get("event", d.event) == d.event]}


@control("POST", "/deliveries/rules")
def add_rule(self, fields):
    rule = Rule(**fields)
    with self.courier.changed:
        self.courier.rules.append(rule)
    return {}


@control("DELETE", "/deliveries/rules")
def drop_rules(self, fields):
    with self.courier.changed:
        self.courier.rules = []
    return {}


@control("POST", "/deliveries/release")
def release(self, fields):
    return {"released": self.courier.release(fields.get("shuffle", False),
                                             fields.get("reverse", False),
                                             fields.get("copies", 1))}


@control("POST", "/deliveries/again")
def again(self, fields):
    states = fields.get("states", ["delivered", "failed", "waiting", "unsent", "held"])
    return {"sent": self.courier.again(states, fields.get("event"), fields.get("type", "*"),
                                       fields.get("copies", 1), fields.get("how"))}


@control("POST", "/deliveries/forget")
def forget(self, fields):
    self.courier.forget()
    return {}


@control("POST", "/settle")
def settle(self, fields):
    return {"settled": self.courier.settle(fields.get("timeout", 10))}


@control("POST", "/faults")
def add_fault(self, fields):
    fault = Fault(**fields)
    with self.api.faults.lock:
        self.api.faults.faults.append(fault)
    return {}


@control("DELETE", "/faults")
def drop_faults(self, fields):
    with self.api.faults.lock:
        self.api.faults.faults = []
    return {}


@control("POST", "/down")
def down(self, fields):
    self.api.faults.set_down(fields.get("how"))
    return {}


@control("GET", "/calls")
def calls(self, fields):
    return {"calls": self.api.log.matching(fields.get("method"), fields.get("path"),
                                           int(fields.get("since", 0))), "time": time.time()}


@control("DELETE", "/calls")
def drop_calls(self, fields):
    self.api.log.calls.clear()
    return {"next": self.api.log.next}


@control("GET", "/usage")
def usage(self, fields):
    with self.world.lock:
        events = [dict(e, meter=m["event_name"]) for m in self.world.meters
                  if fields.get("meter", m["event_name"]) == m["event_name"] for e in m["_events"]
                  if fields.get("customer", e["customer"]) == e["customer"]]
        return {"events": events, "sum": sum(e["value"] for e in events)}


@control("GET", "/usage_records")
def usage_records(self, fields):
    with self.world.lock:
        return {"records": list(self.world.usage_records)}
