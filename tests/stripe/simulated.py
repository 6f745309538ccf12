# SPDX-License-Identifier: BSD-2-Clause
"""simulated: test clocks.

A customer of a test clock, and all that it has, lives by that clock's frozen time, which moves only when
it is advanced: renewals, trials, retries and cancellations happen then, in order, each dated with its own
time. Answers keep the real Date. Lists of subscriptions leave its subscriptions out unless they name the
clock. Meter events are checked by real time, because Stripe does not document anything else.
"""
import contextlib

from clock import DAY, Clock, add_interval
from errors import missing, refused
from params import Need, integer, text
from routes import page, paged, route

MOST_CUSTOMERS = 3
YEARS = 2


class SimulatedClock(Clock):
    """A clock that stands still until it is advanced."""

    def __init__(self, lock, frozen):
        super().__init__(lock)
        self.frozen = frozen

    def exact(self):
        return self.frozen if self.held is None else self.held

    def advance_to(self, when):
        self.run_until(when)
        self.frozen = max(self.frozen, int(when))


def clock_of(world, obj):
    """The test clock of a customer, or of an object of a customer; None: real time."""
    name = obj.get("test_clock")
    if not name and isinstance(obj.get("customer"), str):
        owner = world.customers.find(obj["customer"])
        name = owner and owner.get("test_clock")
    return world.test_clocks.find(name) if name else None


def now(world, obj):
    """The time for an event of @obj."""
    clock = clock_of(world, obj)
    return (clock["_clock"] if clock else world.real).now()


@contextlib.contextmanager
def acting(world, names):
    """While the body acts on the objects with the IDs @names, `world.clock` is their clock."""
    found = None
    for name in names:
        row = find(world, name)
        clock = row and (row if row.get("object") == "test_helpers.test_clock" else clock_of(world, row))
        found = found or (clock and clock["_clock"])
    before, world.clock = world.clock, found or world.clock
    try:
        yield
        if found and found.held is None:
            found.run_until(found.frozen)
    finally:
        world.clock = before


def find(world, name):
    table = world.table_of(name) if isinstance(name, str) else None
    return table and table.find(name)


def ids_in(params):
    """All strings in @params."""
    for value in params.values() if isinstance(params, dict) else params:
        if isinstance(value, (dict, list)):
            yield from ids_in(value)
        elif isinstance(value, str):
            yield value


def customers_of(world, clock):
    return [c for c in world.customers if c.get("test_clock") == clock["id"] and not c.get("deleted")]


def check_room(world, name):
    clock = living(world, name, "test_clock")
    if clock["status"] != "ready":
        raise refused("The test clock is still advancing.", "test_clock")
    if len(customers_of(world, clock)) >= MOST_CUSTOMERS:
        raise refused(f"You can only add up to {MOST_CUSTOMERS} customers to a test clock.", "test_clock")


def living(world, name, param="id"):
    clock = world.test_clocks.get(name, param)
    if clock.get("deleted"):
        raise missing("test clock", name, param)
    return clock


@route("POST", "/v1/test_helpers/test_clocks", {"frozen_time": Need(integer), "name": text})
def post(world, call):
    if world.settings["livemode"]:
        raise refused("Test clocks exist in test mode only.")
    when = call.params["frozen_time"]
    row = world.test_clocks.add({
        "id": world.new_id("clock"), "object": "test_helpers.test_clock", "created": world.now(),
        "deletes_after": world.now() + 30 * DAY, "frozen_time": when, "livemode": False,
        "name": call.params.get("name"), "status": "ready", "status_details": {},
        "_clock": SimulatedClock(world.lock, when)})
    world.emit("test_helpers.test_clock.created", row)
    return row


@route("GET", "/v1/test_helpers/test_clocks", paged())
def index(world, call):
    return page(world.test_clocks, call, lambda c: not c.get("deleted"))


@route("GET", "/v1/test_helpers/test_clocks/{}")
def get(world, call, name):
    return living(world, name)


@route("DELETE", "/v1/test_helpers/test_clocks/{}")
def delete(world, call, name):
    """Everything that lives by the clock is gone with it. Only the clock has an event."""
    clock = living(world, name)
    for customer in customers_of(world, clock):
        for sub in map(world.subscriptions.get, customer["_subs"]):
            sub["status"] = "canceled"
        subs = customer["_subs"]
        row = {"id": customer["id"], "object": "customer", "deleted": True, "_subs": subs}
        customer.clear()
        customer.update(row)
    clock["_clock"].heap.clear()
    world.emit("test_helpers.test_clock.deleted", clock)
    clock["deleted"] = True
    return {"id": name, "object": "test_helpers.test_clock", "deleted": True}


def latest(world, clock):
    """How far the clock may be advanced at once: two intervals of its shortest subscription."""
    ends = []
    for customer in customers_of(world, clock):
        for sub in map(world.subscriptions.get, customer["_subs"]):
            if sub["status"] not in ("canceled", "incomplete_expired"):
                for item in sub["items"]["data"]:
                    every = item["price"]["recurring"]
                    ends.append(add_interval(clock["frozen_time"], every["interval"], 2 * every["interval_count"]))
    return min(ends) if ends else add_interval(clock["frozen_time"], "year", YEARS)


@route("POST", "/v1/test_helpers/test_clocks/{}/advance", {"frozen_time": Need(integer)})
def advance(world, call, name):
    """Like Stripe, answers that the clock is advancing; by the next call it is ready."""
    clock, when = living(world, name), call.params["frozen_time"]
    if when <= clock["frozen_time"]:
        raise refused("The test clock can only be advanced to a later time.", "frozen_time")
    if when > latest(world, clock):
        raise refused("You can only advance a test clock by at most two intervals of its shortest subscription, or by "
                      f"{YEARS} years without subscriptions.", "frozen_time")
    clock["status"], clock["status_details"] = "advancing", {"advancing": {"target_frozen_time": when}}
    world.emit("test_helpers.test_clock.advancing", clock)
    shown = dict(clock)
    clock["_clock"].advance_to(when)
    clock["frozen_time"] = when
    clock["status"], clock["status_details"] = "ready", {}
    world.emit("test_helpers.test_clock.ready", clock)
    return shown
