# SPDX-License-Identifier: BSD-2-Clause
"""render: formats objects for an API version, with what the caller asked to expand.

From 2025-03-31.basil on, billing periods are members of a subscription's items, an invoice has its
subscription in `parent`, and a line has its price in `pricing`. In older versions these are members
of the subscription, the invoice and the line.
"""
import contextlib

from errors import invalid

BASIL = "2025-03-31"
CLOVER = "2025-09-30"  # coupons are in `promotion` and `source`
ENDIVE = "2026-09-30"  # no payment_method_types; other names for ui_mode
OLDEST = "2024-06-20"
MOST_DEPTH = 4

# Members that contain an ID and may be expanded.
EXPANDABLE = {
    "checkout.session": ("customer", "subscription", "invoice", "line_items", "payment_intent"),
    "subscription_schedule": ("customer", "subscription"),
    "subscription": ("schedule", "customer", "latest_invoice", "default_payment_method",
                     "pending_setup_intent", "discounts"),
    "invoice": ("customer", "subscription", "payment_intent", "charge", "default_payment_method", "discounts"),
    "price": ("product",),
    "charge": ("customer", "invoice", "payment_intent"),
    "refund": ("charge", "payment_intent"),
    "dispute": ("charge", "payment_intent"),
    "invoice_payment": ("invoice",),
    "invoiceitem": ("customer", "invoice"),
    "billing_portal.session": ("configuration",),
    "product": ("default_price",),
    "discount": ("customer", "promotion_code"),
    "promotion_code": ("customer",),
    "item": (),
    "entitlements.active_entitlement": ("feature",),
}
# Private members that older versions show.
ONLY_OLD = ("_price", "_invoice", "_coupon", "_discounts")
# Those of members without `object`: invoice.parent.subscription_details, discount.source, promotion_code.promotion.
IN_PARENT = ("subscription", "coupon")


def is_live():
    """Whether all objects are of live mode. The world replaces this."""
    return False


def is_old(version):
    return version[:10] < BASIL


def freeze(value):
    """A deep copy that later changes do not affect, of what any version shows."""
    if isinstance(value, dict):
        return {key: freeze(item) for key, item in value.items() if key[:1] != "_" or key in ONLY_OLD}
    if isinstance(value, list):
        return [freeze(item) for item in value]
    return value


def shape(value, version):
    """A copy of @value in the format of @version."""
    if isinstance(value, list):
        return [shape(item, version) for item in value]
    if not isinstance(value, dict):
        return value
    shown = {key: shape(item, version) for key, item in value.items() if key[:1] != "_"}
    if "livemode" in shown:
        shown["livemode"] = is_live()
    for before, makers in CHANGES:
        if version[:10] < before and value.get("object") in makers:
            makers[value["object"]](value, shown)
    return shown


def old_subscription(sub, shown):
    item = sub["items"]["data"][0]
    shown["current_period_start"] = item["current_period_start"]
    shown["current_period_end"] = item["current_period_end"]
    shown["discount"] = shape(sub["_discounts"][0], OLDEST) if sub["_discounts"] else None
    shown["plan"] = {"id": item["price"]["id"], "object": "plan"}


def old_item(item, shown):
    del shown["current_period_start"], shown["current_period_end"]


def old_invoice(invoice, shown):
    details = (shown.pop("parent") or {}).get("subscription_details") or {}
    shown["subscription"] = details.get("subscription")
    shown["subscription_details"] = {"metadata": details.get("metadata")}
    shown["paid"] = invoice["status"] == "paid"
    shown["payment_intent"] = shown["charge"] = None


def old_charge(charge, shown):
    shown["invoice"] = charge.get("_invoice")


def old_discount(row, shown):
    """Also of promotion codes."""
    shown.pop("source", None)
    shown.pop("promotion", None)
    shown["coupon"] = shape(row["_coupon"], OLDEST)


def old_session(session, shown):
    shown["ui_mode"] = "hosted"


def old_line(line, shown):
    del shown["pricing"], shown["parent"]
    shown["price"] = shape(line["_price"], OLDEST)
    shown["subscription"] = line["subscription"]
    shown["subscription_item"] = line["parent"]["subscription_item_details"]["subscription_item"]
    details = line["parent"]["subscription_item_details"]
    shown["type"] = "invoiceitem" if details["invoice_item"] else "subscription"
    shown["proration"] = details["proration"]
    if details["invoice_item"]:
        shown["invoice_item"] = details["invoice_item"]


# What is different in versions before a date.
CHANGES = (
    (ENDIVE, {"checkout.session": old_session}),
    (CLOVER, {"discount": old_discount, "promotion_code": old_discount}),
    (BASIL, {"subscription": old_subscription, "subscription_item": old_item, "invoice": old_invoice,
             "line_item": old_line, "charge": old_charge}))


def difference(before, after):
    """previous_attributes: the members of @before that are different in @after."""
    old = {}
    for key in before.keys() | after.keys():
        was, is_now = before.get(key), after.get(key)
        if was == is_now:
            continue
        if isinstance(was, dict) and isinstance(is_now, dict) and was.get("object") != "list":
            old[key] = difference(was, is_now)
        else:
            old[key] = was
    return old


@contextlib.contextmanager
def changing(world, obj, kind):
    """Emits @kind if the body of the with statement changed public members of @obj."""
    before = freeze(obj)
    yield
    newest = world.settings["api_version"]
    if shape(before, newest) != shape(obj, newest):
        world.emit(kind, obj, before)


def list_of(rows, url, has_more=False):
    return {"object": "list", "data": rows, "has_more": has_more, "url": url}


def expanded(world, obj, version, paths):
    """A copy of @obj in the format of @version, with all @paths expanded."""
    shown = shape(obj, version)
    for path in paths:
        steps = path.split(".")
        if len(steps) > MOST_DEPTH:
            raise invalid(f"You cannot expand more than {MOST_DEPTH} levels of a property: {path}",
                          "expand")
        fill(world, shown, steps, version, path)
    return shown


def fill(world, node, steps, version, path):
    if not steps or node is None:
        return
    if isinstance(node, list):
        for item in node:
            fill(world, item, steps, version, path)
        return
    if not isinstance(node, dict):
        raise cannot_expand(path)
    name, rest = steps[0], steps[1:]
    if name == "line_items" and node.get("object") == "checkout.session":
        lines = world.sessions.get(node["id"])["_line_items"]
        node.setdefault(name,
                        shape(list_of(lines, f"/v1/checkout/sessions/{node['id']}/line_items"),
                                    version))
    elif name == "tiers" and node.get("object") == "price":
        node.setdefault(name, shape(world.prices.get(node["id"])["_tiers"], version))
        return
    elif name not in node:
        raise cannot_expand(path)
    may_grow = name in EXPANDABLE.get(node.get("object"), IN_PARENT)
    if not may_grow and not (rest and isinstance(node[name], (dict, list))):
        raise cannot_expand(path)
    if may_grow and isinstance(node[name], str):
        node[name] = shape(world.table_of(node[name], name).get(node[name]), version)
    elif may_grow and isinstance(node[name], list):
        node[name] = [shape(world.table_of(item).get(item), version) if isinstance(item, str) else item
                      for item in node[name]]
    fill(world, node[name], rest, version, path)


def cannot_expand(path):
    return invalid(f"This property cannot be expanded ({path}).", "expand")
