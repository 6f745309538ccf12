# SPDX-License-Identifier: BSD-2-Clause
"""GET /v1/events lists every kind of event that the fake makes, also those of older API versions, by its filters."""
import collections

import pytest

import world_of_objects
from fakestripe import FakeStripe

OLD, NEW = "2024-06-20", "2026-10-28.endive"


@pytest.fixture(scope="module")
def called():
    """(fake, a caller of the newest version, all events); the older half has the old version."""
    with FakeStripe() as fake:
        fake.begin_at(world_of_objects.BEGIN)
        fake.settings(api_version=OLD, event_days=3650)
        world_of_objects.fill(fake, world_of_objects.Caller(fake, OLD))
        fake.settings(api_version=NEW)
        call = world_of_objects.Caller(fake, NEW)
        customer = call.post("/v1/customers", email="new@example.com")["id"]
        world_of_objects.subscribe(call, customer)
        yield fake, call, world_of_objects.events(call)


def listed(call, **fields):
    return [event["id"] for event in call.get("/v1/events", limit=100, **fields)["data"]]


def test_events_keep_the_version_in_which_they_were_made(called):
    _, call, events = called
    versions = [event["api_version"] for event in events]
    assert versions == sorted(versions, reverse=True) and set(versions) == {OLD, NEW}
    old = world_of_objects.Caller(call.fake, OLD)
    for event in events:
        assert old.get(f"/v1/events/{event['id']}") == call.get(f"/v1/events/{event['id']}") == event
    subscriptions = {event["api_version"]: event["data"]["object"] for event in events
                     if event["type"] == "customer.subscription.created"}
    assert "current_period_end" in subscriptions[OLD] and "current_period_end" not in subscriptions[NEW]


def test_each_type_is_found_by_its_name(called):
    _, call, events = called
    by_type = collections.defaultdict(list)
    for event in events:
        by_type[event["type"]].append(event["id"])
    assert len(by_type) > 40
    for name, ids in by_type.items():
        assert listed(call, types=[name]) == listed(call, type=name) == ids[:100], name
    some = sorted(by_type)[:20]
    assert listed(call, types=some) == [e["id"] for e in events if e["type"] in some][:100]
    assert set(listed(call, type="invoice.*")) <= {e["id"] for e in events if e["type"].startswith("invoice.")}


def test_a_range_of_time_holds_what_was_created_in_it(called):
    _, call, events = called
    times = sorted({event["created"] for event in events})
    low, high = times[len(times) // 3], times[len(times) // 2]
    for fields, fits in (({"gte": low, "lt": high}, lambda t: low <= t < high),
                         ({"gt": low, "lte": high}, lambda t: low < t <= high)):
        wanted = [e["id"] for e in events if fits(e["created"])]
        assert wanted and listed(call, created=fields) == wanted[:100]
    assert listed(call, created=low) == [e["id"] for e in events if e["created"] == low][:100]


def test_undelivered_events_are_found(called):
    fake, call, _ = called
    endpoint = fake.endpoint("http://127.0.0.1:9/nothing", types=["customer.created"])["id"]
    fake.rule("fail", type="customer.created", count=1)
    call.post("/v1/customers")
    fake.settle()
    (lost,) = listed(call, types=["customer.created"], delivery_success=False)
    assert lost not in listed(call, types=["customer.created"], delivery_success=True)
    assert call.get(f"/v1/events/{lost}")["type"] == "customer.created"
    fake.control("DELETE", f"/endpoints/{endpoint}")
