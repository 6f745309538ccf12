# SPDX-License-Identifier: BSD-2-Clause
"""form: parses Stripe's form encoding, `a[b][0][c]=v`, into nested dicts of strings.

A list becomes a dict of its indexes ("0", "1", ...), because only the parameter's check (params.py)
knows whether it is a list or a hash.
"""
import json
import re
from urllib.parse import parse_qsl

from errors import invalid

NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def pairs(text):
    """The decoded pairs, in order. ValueError if @text is not UTF-8."""
    return parse_qsl(text, keep_blank_values=True, encoding="utf-8", errors="strict")


def nest(items):
    root = {}
    for name, value in items:
        match = NAME.fullmatch(name)
        if not match:
            raise invalid(f"Invalid parameter name: {name}", name)
        keys = [match[1]] + re.findall(r"\[([^\[\]]*)\]", match[2])
        insert(root, keys, value, name)
    return root


def of_json(body):
    """The parameters in a JSON body, which API v2 takes, in the format of nest()."""
    def converted(value):
        if isinstance(value, dict):
            return {key: converted(item) for key, item in value.items()}
        if isinstance(value, list):
            return {str(i): converted(item) for i, item in enumerate(value)}
        return str(value).lower() if isinstance(value, bool) else str(value)

    try:
        given = json.loads(body)
    except ValueError as e:
        raise invalid("Invalid JSON in the request body.") from e
    if not isinstance(given, dict):
        raise invalid("The request body must be a JSON object.")
    return converted(given)


def insert(node, keys, value, name):
    for i, key in enumerate(keys):
        is_last = i == len(keys) - 1
        if key == "":
            key = next_index(node, None if is_last else keys[i + 1])
        if is_last:
            if isinstance(node.get(key), dict):
                raise invalid(f"Invalid hash: {name}", name)
            node[key] = value
            return
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            raise invalid(f"Invalid hash: {name}", name)


def next_index(node, inner):
    """The index for `[]`: a new one, or the last one if that has no @inner yet."""
    last = str(len(node) - 1)
    if inner and isinstance(node.get(last), dict) and inner not in node[last]:
        return last
    return str(len(node))
