# SPDX-License-Identifier: BSD-2-Clause
"""render: formats objects for an API version, with what the caller asked to expand.

From 2025-03-31.basil on, billing periods are members of a subscription's items, an invoice has its
subscription in `parent`, and a line has its price in `pricing`. In older versions these are members
of the subscription, the invoice and the line.
"""
import contextlib

import members
from errors import invalid

BASIL = "2025-03-31"
ENDIVE = "2026-09-30"  # other names for ui_mode; coupons are in `promotion` and `source`
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
# Left out of a portal's configuration unless it is expanded.
PORTAL_PRODUCTS = ["features", "subscription_update", "products"]
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


def shape(value, version, node=None):
    """A copy of @value in the format of @version. @node: its place in members.py, if it has no `object`."""
    if isinstance(value, list):
        return [shape(item, version, node) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("object") == "event":
        return value  # its data was formatted when it was made, and never changes
    node = members.ROOT.get(value.get("object"), node)
    below = node.below if node else {}
    shown = {key: shape(item, version, below.get(key)) for key, item in value.items() if key[:1] != "_"}
    if "livemode" in shown:
        shown["livemode"] = is_live()
    for before, makers in CHANGES:
        if version[:10] < before and value.get("object") in makers:
            makers[value["object"]](value, shown, version)
    if node and (not value.get("deleted") or value["object"] == "discount"):
        node.trim(shown, version)
    if value.get("object") == "discount" and value.get("deleted"):
        del shown["end"]
    return shown


def old_subscription(sub, shown, version):
    item = sub["items"]["data"][0]
    shown["current_period_start"] = item["current_period_start"]
    shown["current_period_end"] = item["current_period_end"]
    shown["discount"] = shape(sub["_discounts"][0], version) if sub["_discounts"] else None


def old_invoice(invoice, shown, version):
    details = (invoice["parent"] or {}).get("subscription_details") or {}
    shown["subscription"] = details.get("subscription")
    shown["subscription_details"] = {"metadata": details.get("metadata")}
    shown["paid"] = invoice["status"] == "paid"
    shown["payment_intent"] = shown["charge"] = None
    shown["paid_out_of_band"], shown["total_tax_amounts"] = False, []


def old_charge(charge, shown, version):
    shown["invoice"] = charge.get("_invoice")


def portal_without_products(portal, shown, version):
    del shown["features"]["subscription_update"]["products"]


def item_with_plan(item, shown, version):
    shown["plan"] = shape(plan_of(item["price"]), version)


def plan_of(price):
    """A price in the form that prices had before there were prices."""
    every = price["recurring"]
    bundle = price["transform_quantity"]
    return {"id": price["id"], "object": "plan", "active": price["active"],
            "aggregate_usage": every["aggregate_usage"], "amount": price["unit_amount"],
            "amount_decimal": price["unit_amount_decimal"], "billing_scheme": price["billing_scheme"],
            "created": price["created"], "currency": price["currency"], "interval": every["interval"],
            "interval_count": every["interval_count"], "livemode": is_live(), "metadata": price["metadata"],
            "meter": every["meter"], "nickname": price["nickname"], "product": price["product"],
            "tiers_mode": price["tiers_mode"], "transform_usage": bundle, "usage_type": every["usage_type"],
            "trial_period_days": every["trial_period_days"]}


def old_invoice_item(row, shown, version):
    details = row["parent"]["subscription_details"]
    shown.update(details, price=shape(row["_price"], version), plan=shape(plan_of(row["_price"]), version),
                 unit_amount=row["_price"]["unit_amount"], unit_amount_decimal=row["_price"]["unit_amount_decimal"])


def old_discount(row, shown, version):
    """Also of promotion codes."""
    shown["coupon"] = shape(row["_coupon"], version)


def old_session(session, shown, version):
    shown["ui_mode"] = "hosted"


def old_line(line, shown, version):
    shown["price"], shown["plan"] = shape(line["_price"], version), shape(plan_of(line["_price"]), version)
    shown["subscription"] = line["subscription"]
    shown["subscription_item"] = line["parent"]["subscription_item_details"]["subscription_item"]
    details = line["parent"]["subscription_item_details"]
    shown["type"] = "invoiceitem" if details["invoice_item"] else "subscription"
    shown["proration"] = details["proration"]
    if details["invoice_item"]:
        shown["invoice_item"] = details["invoice_item"]


# What is different in versions before a date.
CHANGES = (
    ("9999", {"subscription_item": item_with_plan, "billing_portal.configuration": portal_without_products}),
    (ENDIVE, {"checkout.session": old_session, "discount": old_discount, "promotion_code": old_discount}),
    (BASIL, {"subscription": old_subscription, "invoice": old_invoice,
             "line_item": old_line, "invoiceitem": old_invoice_item, "charge": old_charge}))


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
    elif steps == PORTAL_PRODUCTS and node.get("object") == "billing_portal.configuration":
        stored = world.portal_configurations.get(node["id"])["features"]["subscription_update"]["products"]
        node["features"]["subscription_update"]["products"] = shape(stored, version)
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
