# SPDX-License-Identifier: BSD-2-Clause
"""members: which members the objects of each API version have.

members.txt lists, for each kind of object that the fake has, the members in the types of npm's `stripe` of three
versions, and in which of these a member that may be null is always there. render.py leaves out what only other
versions have, and adds the nulls. A member that no version has is left alone: then test_fake_types.py fails.
sdk_types.py writes the file.
"""
import os

from accepted import ALL, letter_of

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "members.txt")
HEAD = """\
# Written by sdk_types.py, from npm's stripe: the members of objects, the versions that have them, and those in which
# they are always there and may be null: {}
"""
KINDS = """
billing.meter billing.meter_event billing.meter_event_summary billing_portal.configuration billing_portal.session charge
checkout.session coupon customer discount dispute entitlements.active_entitlement
entitlements.active_entitlement_summary entitlements.feature invoice invoice_payment invoiceitem item line_item plan
price product product_feature promotion_code refund subscription subscription_item subscription_schedule
test_helpers.test_clock usage_record usage_record_summary webhook_endpoint
""".split()
# What the fake leaves null, and is large.
LARGE = ("payment_method_details", "payment_method_options", "enhanced_evidence", "custom_fields", "invoice_creation",
         "shipping_cost", "shipping_options", "level3")


class Node:
    def __init__(self, letters="", nullable=""):
        self.letters, self.nullable = letters, nullable
        self.below = {}
        self.changes = {}  # letter -> (names that it does not have, names that may be null)

    def trim(self, shown, version):
        """Gives the members in @shown the form of @version."""
        letter = letter_of(version)
        if letter not in self.changes:
            self.changes[letter] = ([name for name, node in self.below.items() if letter not in node.letters],
                                    [name for name, node in self.below.items() if letter in node.nullable])
        foreign, nullable = self.changes[letter]
        for name in foreign:
            shown.pop(name, None)
        for name in nullable:
            shown.setdefault(name)


def load():
    root = Node()
    stack = [root]
    if not os.path.exists(PATH):
        return {}
    with open(PATH) as file:
        for line in file:
            if line.startswith("#"):
                continue
            depth = (len(line) - len(line.lstrip())) // 2
            name, letters, nullable = (line.split() + ["", ""])[:3]
            del stack[depth + 1:]
            stack[depth].below[name] = Node(letters, nullable)
            stack.append(stack[depth].below[name])
    return root.below


ROOT = load()


# Writing.

def text_of(sdks):
    from sdk_check import Checker
    checkers = [Checker(sdk) for sdk in sdks]
    lines = [HEAD.format(", ".join(f"{letter} {sdk.version}" for letter, sdk in zip(ALL, sdks)))]
    for kind in KINDS:
        found = {}
        for letter, checker in zip(ALL, checkers):
            place = checker.place_of(kind)
            if place:
                found[letter] = tree(checker, *place)
        lines.append(f"{kind} {''.join(found)}\n")
        lines += tree_lines(found, "  ")
    return "".join(lines)


def tree(checker, module, name, seen=()):
    """{member: (whether it is always there and may be null, {...})}"""
    from sdk_check import may_be_null
    found = {}
    for member, (is_optional, kind, where, within) in checker.sdk.members(module, name)[0].items():
        below = {}
        for place in checker.plain_interfaces(kind, where, within):
            if member not in LARGE and place not in seen:
                below.update(tree(checker, *place, (*seen, place)))
        found[member] = (not is_optional and may_be_null(kind), below)
    return found


def tree_lines(found, indent):
    lines = []
    for name in sorted({name for members in found.values() for name in members}):
        letters = [letter for letter, members in found.items() if name in members]
        nullable = "".join(letter for letter in letters if found[letter][name][0])
        lines.append(f"{indent}{name} {''.join(letters)} {nullable}".rstrip() + "\n")
        lines += tree_lines({letter: found[letter][name][1] for letter in letters}, indent + "  ")
    return lines


def write(sdks):
    with open(PATH, "w") as file:
        file.write(text_of(sdks))
