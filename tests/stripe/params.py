# SPDX-License-Identifier: BSD-2-Clause
"""params: checks the parameters of an endpoint as strictly as Stripe does.

A spec is a dict from names to checks. A check is a function (text, path) -> value, a dict (a hash),
or a list of one check (a list). Need(check) must be there; Empty(check) may be "" (which unsets).
"""
import re

from errors import invalid


class Need:
    def __init__(self, check):
        self.check = check


class Empty:
    def __init__(self, check):
        self.check = check


def text(value, path):
    if isinstance(value, dict):
        raise invalid(f"Invalid string: {path}", path)
    if value == "":
        raise invalid(f"You passed an empty string for '{path}'. We assume empty values are an attempt "
                      f"to unset a parameter; however '{path}' cannot be unset. You should remove "
                      f"'{path}' from your request or supply a non-empty value.",
                      path, "parameter_invalid_empty")
    if len(value) > 5000:
        raise invalid(f"Invalid string: {value[:20]}...; must be at most 5000 characters", path)
    return value


def integer(value, path):
    if isinstance(value, dict) or not re.fullmatch(r"-?[0-9]{1,18}", value):
        raise invalid(f"Invalid integer: {value}", path, "parameter_invalid_integer")
    return int(value)


def boolean(value, path):
    """Also accepts True and False, which Python's library sends and Stripe accepts."""
    if value not in ("true", "false", "True", "False"):
        raise invalid(f"Invalid boolean: {value}", path)
    return value in ("true", "True")


def one_of(*words):
    def check(value, path):
        if value not in words:
            raise invalid(f"Invalid {path}: must be one of {', '.join(words)}", path)
        return value
    return check


def between(least, most):
    def check(value, path):
        number = integer(value, path)
        if not least <= number <= most:
            raise invalid(f"Invalid integer: {value}; must be between {least} and {most}", path)
        return number
    return check


def number(above, most):
    """A decimal number, more than @above."""
    def check(value, path):
        if isinstance(value, dict) or not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,12})?", value):
            raise invalid(f"Invalid decimal: {value}", path)
        if not above < float(value) <= most:
            raise invalid(f"Invalid decimal: {value}; must be more than {above} and at most {most}", path)
        return float(value)
    return check


def at_most(count):
    def check(value, path):
        if len(text(value, path)) > count:
            raise invalid(f"Invalid string: {value[:20]}...; must be at most {count} characters",
                          path)
        return value
    return check


def metadata(value, path):
    if value == "":
        return ""
    if not isinstance(value, dict) or len(value) > 50:
        raise invalid("Invalid metadata: must be a hash of at most 50 keys", path)
    for key, item in value.items():
        if isinstance(item, dict) or len(key) > 40 or len(item) > 500:
            raise invalid(f"Invalid metadata: {key[:50]}", f"{path}[{key}]")
    return dict(value)


def hash_of_text(value, path):
    if not isinstance(value, dict) or any(isinstance(item, dict) for item in value.values()):
        raise invalid("Invalid hash", path)
    return dict(value)


def anything(value, path):
    """For parameters that the fake accepts and ignores."""
    return value


def when(value, path):
    """Checks a time or a range of times."""
    if isinstance(value, dict):
        return check_hash({name: integer for name in ("gt", "gte", "lt", "lte")}, value, path)
    return integer(value, path)


def now_or_time(value, path):
    return "now" if value == "now" else integer(value, path)


PAGE = {"limit": between(1, 100), "starting_after": text, "ending_before": text}


def check(spec, value, path):
    if isinstance(spec, Need):
        spec = spec.check
    if isinstance(spec, Empty):
        return "" if value == "" else check(spec.check, value, path)
    if isinstance(spec, dict):
        return check_hash(spec, value, path)
    if isinstance(spec, list):
        return check_list(spec[0], value, path)
    return spec(value, path)


def check_list(spec, value, path):
    if not isinstance(value, dict) or not all(key.isdigit() for key in value):
        raise invalid(f"Invalid array: {path}", path)
    return [check(spec, value[key], f"{path}[{key}]") for key in sorted(value, key=int)]


def check_hash(spec, value, path=""):
    if not isinstance(value, dict):
        raise invalid(f"Invalid object: {path}", path)

    def full(name):
        return f"{path}[{name}]" if path else name

    for name in value:
        if name not in spec:
            raise invalid(f"Received unknown parameter: {full(name)}", full(name),
                          "parameter_unknown")
    for name, inner in spec.items():
        if isinstance(inner, Need) and name not in value:
            raise invalid(f"Missing required param: {full(name)}.", full(name), "parameter_missing")
    return {name: check(spec[name], item, full(name)) for name, item in value.items()}


def merge_metadata(old, new):
    """Merges @new metadata into @old, as Stripe does: "" removes a key, or all of them."""
    if new == "":
        return {}
    merged = {**old, **new}
    return {key: value for key, value in merged.items() if value != ""}
