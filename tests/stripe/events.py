# SPDX-License-Identifier: BSD-2-Clause
"""events: creates snapshot and thin events, and passes them to endpoints.

A snapshot event contains the object at that time, in the API version of the reader: an endpoint has
its own version, and GET /v1/events has the account's. A body that is sent never changes, however
often and late it is sent.
"""
import json

import render
import simulated
from clock import DAY, iso
from render import difference, freeze, shape

# Where the object of a thin event can be fetched.
PLACES = {
    "subscription": "/v1/subscriptions/", "customer": "/v1/customers/", "invoice": "/v1/invoices/",
    "checkout.session": "/v1/checkout/sessions/", "price": "/v1/prices/",
    "product": "/v1/products/",
    "billing.meter": "/v1/billing/meters/", "charge": "/v1/charges/", "dispute": "/v1/disputes/",
    "refund": "/v1/refunds/",
}
# Statuses with a thin event of their own, in addition to that of the update.
STATUS_EVENTS = ("active", "past_due", "unpaid", "trialing", "incomplete", "incomplete_expired")


def dump(value):
    return json.dumps(value, ensure_ascii=False).encode()


class Events:
    def __init__(self, world):
        self.world = world
        self.snapshots = []
        self.places = {}
        self.thin = {}
        self.courier = None  # set by fake.py; has endpoints and takes deliveries

    def emit(self, kind, obj, before=None):
        """For an update, @before is a frozen copy of the object before it."""
        world = self.world
        event = {
            "id": world.new_id("evt"), "object": "event",
            "api_version": world.settings["api_version"],
            "created": simulated.now(world, obj), "_made": world.real.now(), "type": kind, "livemode": False,
            "pending_webhooks": 0,
            "request": dict(world.request or {"id": None, "idempotency_key": None}),
            "_object": freeze(obj), "_before": before,
        }
        event["data"] = self.data(event, event["api_version"])
        self.places[event["id"]] = len(self.snapshots)
        self.snapshots.append(event)
        self.send(event, before)
        return event

    def data(self, event, version):
        data = {"object": shape(event["_object"], version)}
        if event["_before"] is not None:
            data["previous_attributes"] = difference(shape(event["_before"], version),
                                                     data["object"])
        return data

    def send(self, event, before):
        wanted = [e for e in self.courier.endpoints.values() if e.takes(event["type"])]
        event["pending_webhooks"] = sum(1 for e in wanted if e.payload != "thin")
        thin = None
        for endpoint in wanted:
            if endpoint.payload != "thin":
                body = self.public(event)
                if endpoint.api_version != event["api_version"]:
                    body["api_version"] = endpoint.api_version
                    body["data"] = self.data(event, endpoint.api_version)
                self.courier.post(endpoint, event["id"], event["type"], dump(body))
            if endpoint.payload != "snapshot":
                thin = thin or self.thin_of(event, before)
                for one in thin:
                    self.send_thin(one, [endpoint])

    def thin_of(self, event, before):
        obj = event["_object"]
        kinds = ["v1." + event["type"]]
        if obj.get("object") == "subscription" and obj["status"] in STATUS_EVENTS:
            if before is None or before["status"] != obj["status"]:
                kinds.append(f"v1.customer.subscription.{obj['status']}")
        place = PLACES.get(obj.get("object"))
        related = place and {"id": obj["id"], "type": obj["object"], "url": place + obj["id"]}
        return [self.make_thin(kind, related, None, event["id"]) for kind in kinds]

    def make_thin(self, kind, related, data=None, snapshot=None):
        world = self.world
        thin = {"id": world.new_id("evt_test", 36), "object": "v2.core.event",
                "created": iso(world.clock.exact()), "livemode": False, "type": kind}
        if related:
            thin["related_object"] = related
        if snapshot:
            thin["snapshot_event"] = snapshot
        if world.request:
            thin["reason"] = {"type": "request", "request": dict(world.request)}
        thin["_data"] = data
        self.thin[thin["id"]] = thin
        return thin

    def send_thin(self, thin, endpoints=None):
        """Thin events that have no snapshot go to every endpoint."""
        for endpoint in self.courier.endpoints.values() if endpoints is None else endpoints:
            self.courier.post(endpoint, thin["id"], thin["type"], dump(self.notice(thin)))

    @staticmethod
    def notice(thin):
        """A thin event as it is sent, without its data, which must be fetched."""
        shown = {key: value for key, value in thin.items() if key[0] != "_"}
        return {**shown, "livemode": render.is_live()}

    def full(self, thin):
        """A thin event as GET /v2/core/events/{id} shows it."""
        return {**self.notice(thin), **({} if thin["_data"] is None else {"data": thin["_data"]})}

    def public(self, event):
        shown = {key: value for key, value in event.items() if key[0] != "_"}
        shown["livemode"] = render.is_live()
        shown["pending_webhooks"] = self.courier.pending(event["id"], event["pending_webhooks"])
        return shown

    def find(self, name):
        place = self.places.get(name)
        return None if place is None else self.snapshots[place]

    def is_kept(self, event):
        return event["_made"] >= self.world.now() - self.world.settings["event_days"] * DAY
