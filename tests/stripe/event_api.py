# SPDX-License-Identifier: BSD-2-Clause
"""event_api: the endpoints for the events of the last 30 days."""
from errors import invalid, missing, refused
from params import boolean, text
from routes import page, paged, route
from world import Table


class Snapshots:
    """The events as a table, so that they are paged like other objects."""

    def __init__(self, events):
        self.events = events
        self.rows = events.snapshots

    def page(self, params, matches):
        table = Table("event")
        table.rows, table.places = self.rows, self.events.places
        rows, has_more = table.page(params, matches)
        return [self.events.public(row) for row in rows], has_more


def matches(kind, pattern):
    if pattern.endswith("*"):
        return kind.startswith(pattern[:-1])
    return kind == pattern


MOST_TYPES = 20


def check_types(names):
    """`type` may have a wildcard; `types` is a list of at most 20 names."""
    if len(names) > MOST_TYPES:
        raise invalid(f"Array types exceeded maximum {MOST_TYPES} allowed elements.", "types")
    for name in names:
        if "*" in name:
            raise invalid(f"Invalid event type: {name}", "types")


@route("GET", "/v1/events", paged(type=text, types=[text], delivery_success=boolean))
def index(world, call):
    p = call.params
    check_types(p.get("types", []))
    if "type" in p and "types" in p:
        raise refused("You may only specify one of these parameters: type, types.", "types")
    wanted = p.get("types") or ([p["type"]] if "type" in p else ["*"])
    success = p.get("delivery_success")

    def fits(event):
        return (world.events.is_kept(event) and any(matches(event["type"], w) for w in wanted)
                and (success is None or world.events.courier.has_succeeded(event["id"]) == success))
    return page(Snapshots(world.events), call, fits)


@route("GET", "/v1/events/{}")
def get(world, call, name):
    event = world.events.find(name)
    if event is None or not world.events.is_kept(event):
        raise missing("event", name)
    return world.events.public(event)


@route("GET", "/v2/core/events/{}")
def get_thin(world, call, name):
    thin = world.events.thin.get(name)
    if thin is None:
        raise missing("v2.core.event", name)
    return world.events.full(thin)


@route("GET", "/v2/core/events", {"object_id": text, "types": [text], "limit": text})
def thin_index(world, call):
    wanted, types = call.params.get("object_id"), call.params.get("types")
    rows = [world.events.full(t) for t in reversed(world.events.thin.values())
            if (not wanted or t.get("related_object", {}).get("id") == wanted)
            and (not types or t["type"] in types)]
    return {"data": rows[:100], "next_page_url": None, "previous_page_url": None}
