# SPDX-License-Identifier: BSD-2-Clause
"""routes: the table of the API's endpoints, to which other modules add theirs.

An endpoint is a function (world, call, *names) -> object; `names` are the values of {} in its
pattern. Its result is then formatted for the caller's version and expanded. Lists come from page().
"""
import re

import accepted
from params import Empty, PAGE, text, when
from render import list_of

TABLE = []
ALSO = {"expand": [text]}


class Call:
    def __init__(self, method, path, params, version):
        self.method = method
        self.path = path
        self.params = params
        self.version = version


class Route:
    def __init__(self, method, pattern, spec, function):
        self.method = method
        self.pattern = pattern
        self.spec = {**(spec or {}), **ALSO}
        self.function = function
        self.expression = re.compile(pattern.replace("{}", "([^/]+)"))


def route(method, pattern, spec=None):
    def add(function):
        TABLE.append(Route(method, pattern, spec, function))
        return function
    return add


def find(method, path, version):
    """(route, names), or None if @version does not have the call."""
    for one in TABLE:
        match = one.method == method and one.expression.fullmatch(path)
        if match and accepted.has_call(method, one.pattern, version):
            return one, match.groups()
    return None


def paged(**more):
    return {**PAGE, "created": when, **more}


def in_range(value, wanted):
    if isinstance(wanted, int):
        return value == wanted
    return (value > wanted.get("gt", value - 1) and value >= wanted.get("gte", value)
            and value < wanted.get("lt", value + 1) and value <= wanted.get("lte", value))


def page(table, call, matches=lambda row: True):
    """A page of a list: rows that match @matches, the cursors and `created`."""
    created = call.params.get("created")

    def fits(row):
        return matches(row) and (created is None or in_range(row.get("created", row.get("date", 0)), created))

    rows, has_more = table.page(call.params, fits)
    return list_of(rows, call.path, has_more)


def optional(value):
    """A string, or None for "", which unsets a member."""
    return value or None


EMPTY_TEXT = Empty(text)
