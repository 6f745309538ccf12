# SPDX-License-Identifier: BSD-2-Clause
"""accepted: which calls and parameters each API version has.

accepted.txt lists, for each call of the fake, the parameters in the types of npm's `stripe` of three versions;
below a parameter that the fake does not implement, it lists nothing. sdk_types.py writes it, and
test_fake_types.py checks that it is up to date. A parameter that Stripe has, but not the fake, is refused with
an error of its own, so that nothing is ignored silently.
"""
import os

from errors import ApiError, invalid

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "accepted.txt")
HEAD = """\
# Written by sdk_types.py, from npm's stripe: the calls of the fake, their parameters, and the versions that have
# them: {}
"""
# The first API version that has the names of a letter's version.
LETTERS = (("c", "2026-09-30"), ("b", "2025-03-31"), ("a", ""))
ALL = "abc"


def letter_of(version):
    return next(letter for letter, first in LETTERS if version[:10] >= first)


def load():
    """{"POST /v1/coupons": (letters, {parameter: (letters, {...})})}"""
    root = {}
    stack = [root]
    with open(PATH) as file:
        for line in file:
            if line.startswith("#") or not line.strip():
                continue
            depth = (len(line) - len(line.lstrip())) // 2
            name, _, letters = line.strip().rpartition(" ")
            del stack[depth + 1:]
            below = {}
            stack[depth][name] = (letters, below)
            stack.append(below)
    return root


CALLS = load() if os.path.exists(PATH) else {}


def has_call(method, pattern, version):
    """Calls of API v2 are not bound to the version of v1's objects."""
    letters, _ = CALLS.get(f"{method} {pattern}", ("", {}))
    return letter_of(version) in letters or pattern.startswith("/v2/")


def check(method, pattern, version, spec, given):
    """Refuses what this version does not have, or the fake does not implement."""
    letters, names = CALLS[f"{method} {pattern}"]
    wanted = letter_of(version)
    check_names(names, wanted if wanted in letters else letters[0], spec, given, "")


def check_names(names, letter, spec, given, path):
    for name, value in given.items():
        full = f"{path}[{name}]" if path else name
        letters, below = names.get(name, ("", {}))
        if letter not in letters:
            raise invalid(f"Received unknown parameter: {full}", full, "parameter_unknown")
        if name not in spec:
            raise ApiError(400, f"The fake does not implement this parameter: {full}", "fake_parameter_missing", full)
        inner = inside(spec[name])
        for part, full_part in parts(spec[name], value, full) if inner is not None and below else ():
            check_names(below, letter, inner, part, full_part)


def bare(spec):
    while hasattr(spec, "check"):  # Need and Empty
        spec = spec.check
    return spec


def inside(spec):
    """The parameters in a hash or a list of hashes, or None."""
    spec = bare(spec)
    spec = bare(spec[0]) if isinstance(spec, list) else spec
    return spec if isinstance(spec, dict) else None


def parts(spec, value, path):
    """The hashes in a parameter's @value, with their paths."""
    if not isinstance(value, dict):
        return []
    if isinstance(bare(spec), list):
        return [(item, f"{path}[{i}]") for i, item in value.items() if isinstance(item, dict)]
    return [(value, path)]


# Writing.

def text_of(sdks):
    """The text of accepted.txt for the versions of @sdks, oldest first."""
    import fake  # noqa: F401  (adds all endpoints to the table)
    from routes import TABLE
    calls = [sdk.calls() for sdk in sdks]
    lines = [HEAD.format(", ".join(f"{letter} {sdk.version}" for letter, sdk in zip(ALL, sdks)))]
    for row in sorted(TABLE, key=lambda row: (row.pattern, row.method)):
        call = f"{row.method} {row.pattern}"
        found = {}
        for letter, sdk, known in zip(ALL, sdks, calls):
            if call in known:
                module, kind, place = known[call]
                found[letter] = names_of(sdk, module, kind, place, row.spec)
        lines.append(f"{call} {''.join(found)}\n")
        lines += tree_lines(found, "  ")
    return "".join(lines)


def tree_lines(found, indent):
    """@found: {letter: {name: {...}}}"""
    lines = []
    for name in sorted({name for names in found.values() for name in names}):
        having = {letter: names[name] for letter, names in found.items() if name in names}
        lines.append(f"{indent}{name} {''.join(having)}\n")
        lines += tree_lines(having, indent + "  ")
    return lines


def names_of(sdk, module, kind, place, spec):
    """{name: {...}} for the parameters of the type @kind."""
    found = {}
    for members in objects_of(sdk, module, kind, place):
        for name, (_, member, where, within) in members.items():
            inner = inside(spec[name]) if name in spec else None
            found[name] = {} if inner is None else names_of(sdk, where, member, within, inner)
    return found


def objects_of(sdk, module, kind, place):
    """The members of all interfaces that a value of the type @kind may have."""
    if kind is None or kind[0] == "literal":
        return []
    if kind[0] == "union":
        return [members for one in kind[1] for members in objects_of(sdk, module, one, place)]
    if kind[0] == "object":
        return [{name: (is_optional, member, module, place) for name, (is_optional, member) in kind[1].items()}]
    if kind[1].split(".")[-1] in ("Array", "Emptyable"):
        return objects_of(sdk, module, kind[2][0], place)
    found = sdk.find(module, kind[1], place)
    if not found:
        return []
    where, name = found
    what, target, _ = where.types[name]
    if what == "type":
        return objects_of(sdk, where, target, name.rpartition(".")[0] + "." if "." in name else "")
    return [sdk.members(where, name)[0]]


def write(sdks):
    with open(PATH, "w") as file:
        file.write(text_of(sdks))
