# SPDX-License-Identifier: BSD-2-Clause
"""simulated: test clocks.

A customer of a test clock, and all that it has, lives by simulated time: its events are dated by it,
while answers keep the real Date. Lists of subscriptions leave it out unless they name the clock.
The fake only dates events so; the timers of its subscriptions run by the fake's own clock.
"""
from errors import refused
from params import Need, integer, text
from routes import page, paged, route


def clock_of(world, obj):
    """The test clock of a customer, or of an object of a customer; None: real time."""
    name = obj.get("test_clock")
    if not name and isinstance(obj.get("customer"), str):
        owner = world.customers.find(obj["customer"])
        name = owner and owner.get("test_clock")
    return world.test_clocks.find(name) if name else None


def now(world, obj):
    clock = clock_of(world, obj)
    return world.now() + (clock["_ahead"] if clock else 0)


@route("POST", "/v1/test_helpers/test_clocks", {"frozen_time": Need(integer), "name": text})
def post(world, call):
    when = call.params["frozen_time"]
    return world.test_clocks.add({
        "id": world.new_id("clock"), "object": "test_helpers.test_clock", "created": world.now(),
        "deletes_after": world.now() + 30 * 86400, "frozen_time": when, "livemode": False,
        "name": call.params.get("name"), "status": "ready", "status_details": {},
        "_ahead": when - world.now()})


@route("GET", "/v1/test_helpers/test_clocks", paged())
def index(world, call):
    return page(world.test_clocks, call)


@route("GET", "/v1/test_helpers/test_clocks/{}")
def get(world, call, name):
    return world.test_clocks.get(name)


@route("POST", "/v1/test_helpers/test_clocks/{}/advance", {"frozen_time": Need(integer)})
def advance(world, call, name):
    clock, when = world.test_clocks.get(name), call.params["frozen_time"]
    if when < clock["frozen_time"]:
        raise refused("The test clock can only be advanced to a later time.", "frozen_time")
    clock["frozen_time"], clock["_ahead"] = when, when - world.now()
    return clock
