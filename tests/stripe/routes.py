# SPDX-License-Identifier: BSD-2-Clause
"""routes: the table of the API's endpoints, to which other modules add theirs.

An endpoint is a function (world, call, *names) -> object; `names` are the values of {} in its
pattern. Its result is then formatted for the caller's version and expanded. Lists come from page().
"""
import re

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


def route(method, pattern, spec=None, until=None):
    """@until is the first API version without the endpoint."""
    expression = re.compile(pattern.replace("{}", "([^/]+)"))

    def add(function):
        TABLE.append((method, expression, {**(spec or {}), **ALSO}, until, function))
        return function
    return add


def find(method, path, version):
    """(spec, function, names), or None."""
    for its_method, expression, spec, until, function in TABLE:
        if its_method == method and not (until and version[:10] >= until):
            match = expression.fullmatch(path)
            if match:
                return spec, function, match.groups()
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
        return matches(row) and (created is None or in_range(row.get("created", row.get("date")), created))

    rows, has_more = table.page(call.params, fits)
    return list_of(rows, call.path, has_more)


def optional(value):
    """A string, or None for "", which unsets a member."""
    return value or None


EMPTY_TEXT = Empty(text)
