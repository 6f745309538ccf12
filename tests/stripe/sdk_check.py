# SPDX-License-Identifier: BSD-2-Clause
"""sdk_check: compares objects of the fake with the types of npm's `stripe` (sdk_types.py).

Every member must be in the type, with a value of a matching kind, and every member that the type does not mark
as optional must be there, also if it may be null.
"""
import os

KINDS = {"string": str, "boolean": bool, "Decimal": str, "OtherString": str}
LISTS = ("ApiList", "Stripe.ApiList")
WRAPPERS = ("Array", "Emptyable", "Stripe.Emptyable")


class Checker:
    def __init__(self, sdk):
        self.sdk = sdk
        self.by_object = {}  # "customer" -> [(module, name)]
        self.by_thin = {}  # "v1.customer.created" -> [(module, name)]
        for module in self.modules():
            for name, (what, kind, parents) in module.types.items():
                if what == "interface":
                    self.note(self.by_object, kind[1].get("object"), (module, name))
                    if parents and parents[0][1].endswith("EventBase"):
                        self.note(self.by_thin, kind[1].get("type"), (module, name))

    @staticmethod
    def note(table, member, place):
        literal = member and member[1]
        if literal and literal[0] == "literal":
            table.setdefault(literal[1], []).append(place)

    def modules(self):
        self.sdk.calls()  # loads the modules of all resources
        return list(self.sdk.modules.values()) if self.sdk.is_new else [self.sdk.all]

    # Looking into types.

    def place_of(self, kind):
        """(module, name) of the type of objects of this kind that are not deleted, or None."""
        places = [place for place in self.by_object.get(kind, ())
                  if not place[1].rpartition(".")[2].startswith("Deleted")]
        return places[0] if places else None

    def options(self, kind, module, within):
        """The types that a value of the type @kind may have, as (type, module, namespace)."""
        if kind[0] == "union":
            return [option for one in kind[1] for option in self.options(one, module, within)]
        if kind[0] == "name" and kind[1] in WRAPPERS:
            return self.options(kind[2][0], module, within)
        place = self.sdk.find(module, kind[1], within) if kind[0] == "name" else None
        if place and place[0].types[place[1]][0] == "type":
            return self.options(place[0].types[place[1]][1], place[0], namespace_of(place[1]))
        return [(kind, module, within)]

    def plain_interfaces(self, kind, module, within):
        """The interfaces without `object` that a value of the type @kind may have."""
        found = []
        for one, where, inside in self.options(kind, module, within):
            place = self.sdk.find(where, one[1], inside) if one[0] == "name" else None
            if place and "object" not in place[0].types[place[1]][1][1] and not one[1].endswith("Metadata"):
                found.append(place)
        return found

    # Comparing.

    def problems(self, value, path=""):
        """What is wrong with an object that an answer contains: a list of texts."""
        kind = value.get("object")
        if kind == "list":
            return self.list_problems(value, path)
        if kind is None and "data" in value:  # a list of API v2
            return [p for item in value["data"] for p in self.problems(item, path)]
        places = self.by_object.get(kind, [])
        if kind == "event":
            places = [place for place in places if place[1] == "EventBase"]
            about = value["data"]["object"]
            return self.best(value, places, kind) + self.problems(about, f"event {value['type']}:")
        if kind == "v2.core.event":
            places = self.by_thin.get(value["type"], places)
        if not places:
            return [f"{path} {kind}: the version has no such object"]
        return self.best(value, places, f"{path} {kind}".strip())

    def list_problems(self, value, path):
        found = [] if set(value) == {"object", "data", "has_more", "url"} else [f"{path}: {sorted(value)} in a list"]
        return found + [p for item in value["data"] for p in self.problems(item, path)]

    def best(self, value, places, path):
        """The problems with the interface of @places that fits best."""
        return min((self.members(value, module, name, path) for module, name in places), key=len)

    def members(self, value, module, name, path):
        members, any_key = self.sdk.members(module, name)
        if not members and any_key is None:
            return []  # such as Event.Data.Object: any object
        found = []
        for key, (is_optional, kind, where, within) in members.items():
            if key in value:
                found += self.kind(value[key], kind, where, within, f"{path}.{key}")
            elif not is_optional:
                found.append(f"{path}.{key} is missing")
        for key in value.keys() - members.keys():
            if any_key is None:
                found.append(f"{path}.{key} is not in the type")
            else:
                found += self.kind(value[key], any_key, module, name + ".", f"{path}.{key}")
        return found

    def kind(self, value, kind, module, within, path):
        """The problems of @value, which should be of the type @kind."""
        if kind[0] == "union":
            tries = [self.kind(value, one, module, within, path) for one in self.likely(value, kind)]
            return min(tries, key=len)
        if kind[0] == "literal":
            return [] if value == kind[1] else [f"{path} is {value!r}, not {kind[1]!r}"]
        if kind[0] == "object":
            return self.inline(value, kind, module, within, path)
        return self.named(value, kind, module, within, path)

    def likely(self, value, kind):
        """Those of a union that describe an object, if @value is one; otherwise all."""
        if not isinstance(value, dict):
            return kind[1]
        plain = ("string", "null", "number", "boolean", "OtherString")
        return [one for one in kind[1] if one[0] != "literal" and not (one[0] == "name" and one[1] in plain)] or kind[1]

    def inline(self, value, kind, module, within, path):
        if not isinstance(value, dict):
            return [f"{path} is {value!r}, not an object"]
        found = []
        for key, item in value.items():
            inner = kind[1].get(key, (None, kind[2]))[1]
            if inner is None:
                found.append(f"{path}.{key} is not in the type")
            else:
                found += self.kind(item, inner, module, within, f"{path}.{key}")
        return found

    def named(self, value, kind, module, within, path):
        name = kind[1]
        if name in KINDS:
            return [] if isinstance(value, KINDS[name]) else [f"{path} is {value!r}, not a {name}"]
        if name == "number":
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            return [] if is_number else [f"{path} is {value!r}, not a number"]
        if name == "null":
            return [] if value is None else [f"{path} is {value!r}, not null"]
        if name in ("void", "undefined"):
            return [f"{path} must not be there"]
        if name == "Array":
            if not isinstance(value, list):
                return [f"{path} is {value!r}, not an array"]
            return [p for item in value for p in self.kind(item, kind[2][0], module, within, path)]
        if name in LISTS:
            if not isinstance(value, dict) or value.get("object") != "list":
                return [f"{path} is not a list"]
            return [p for item in value["data"] for p in self.kind(item, kind[2][0], module, within, f"{path}.data")]
        return self.declared(value, kind, module, within, path)

    def declared(self, value, kind, module, within, path):
        place = self.sdk.find(module, kind[1], within)
        if place is None:
            raise LookupError(f"{path}: no type {kind[1]} in {module.path} {within}")
        where, name = place
        what, target, _ = where.types[name]
        if what == "type":
            return self.kind(value, target, where, namespace_of(name), path)
        if not isinstance(value, dict):
            return [f"{path} is {value!r}, not an object"]
        return self.members(value, where, name, path)


def namespace_of(name):
    return name.rpartition(".")[0] + "." if "." in name else ""


def may_be_null(kind):
    return any(one[:2] == ("name", "null") for one in (kind[1] if kind[0] == "union" else [kind]))
