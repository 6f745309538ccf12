# SPDX-License-Identifier: BSD-2-Clause
"""prorations: what a change of a subscription's items in the middle of a period costs.

For each item that changed, Stripe creates two invoice items: a credit for the unused time of the old
price and a charge for the remaining time of the new one. They wait for the subscription's next invoice,
or get one of their own at once. Usage is never prorated. Percentage discounts are part of the amounts;
discounts of a fixed amount are not.
"""
import time

from catalog import amount_of, is_metered
from coupons import percent_of
from params import text
from routes import page, paged, route


def worth(sub):
    """{item's ID: (price, quantity, part that discounts leave, start, end)}, without metered items."""
    return {item["id"]: (item["price"], item["quantity"], percent_of(sub), item["current_period_start"],
                         item["current_period_end"])
            for item in sub["items"]["data"] if not is_metered(item["price"])}


def add(world, sub, before, is_restarted=False):
    """Creates the invoice items for a change. @before: worth() before the change.

    @is_restarted: a new period starts now, and its invoice charges the new prices in full.
    """
    after = worth(sub)
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if old is not None and new is not None and old[:2] == new[:2] and not is_restarted:
            continue
        if old:
            create(world, sub, name, old, -1)
        if new and not is_restarted:
            create(world, sub, name, new, 1)


def create(world, sub, item, part, sign):
    price, quantity, rest, start, end = part
    now = world.now()
    left = max(end - now, 0) / (end - start)
    if not left:
        return
    amount = sign * int(amount_of(price, quantity) * rest * left + 0.5)
    word = "Remaining time on" if sign > 0 else "Unused time on"
    name = world.products.get(price["product"])["name"]
    count = f"{quantity} × " if quantity != 1 else ""
    row = world.invoice_items.add({
        "id": world.new_id("ii"), "object": "invoiceitem", "amount": amount, "currency": price["currency"],
        "customer": sub["customer"], "customer_account": None, "date": now,
        "description": f"{word} {count}{name} after {time.strftime('%d %b %Y', time.gmtime(now))}",
        "discountable": False, "discounts": [], "invoice": None, "livemode": False, "metadata": {},
        "net_amount": amount,
        "parent": {"type": "subscription_details", "subscription_details": {
            "subscription": sub["id"], "subscription_item": item}},
        "period": {"start": now, "end": max(end, now)},
        "pricing": {"type": "price_details", "unit_amount_decimal": price["unit_amount_decimal"],
                    "price_details": {"price": price["id"], "product": price["product"]}},
        "proration": True, "proration_details": {"credited_items": None, "discount_amounts": []},
        "quantity": quantity, "quantity_decimal": str(quantity), "tax_rates": [],
        "test_clock": sub["test_clock"], "_price": price})
    sub["_pending"].append(row)
    world.emit("invoiceitem.created", row)


def take(world, sub):
    """The lines for an invoice of @sub from all invoice items that wait for one."""
    rows, sub["_pending"] = sub["_pending"], []
    return [line_of(world, row) for row in rows]


def line_of(world, row):
    details = row["parent"]["subscription_details"]
    return {
        "id": world.new_id("il"), "object": "line_item", "amount": row["amount"], "currency": row["currency"],
        "description": row["description"], "discount_amounts": [], "discountable": row["discountable"],
        "discounts": [], "invoice": None, "livemode": False, "metadata": {},
        "parent": {"type": "subscription_item_details", "invoice_item_details": None,
                   "subscription_item_details": {
                       "invoice_item": row["id"], "proration": True, "proration_details": {"credited_items": None},
                       "subscription": details["subscription"],
                       "subscription_item": details["subscription_item"]}},
        "period": dict(row["period"]), "pretax_credit_amounts": [], "pricing": row["pricing"],
        "quantity": row["quantity"], "quantity_decimal": row["quantity_decimal"],
        "subscription": details["subscription"], "subtotal": row["amount"], "taxes": [], "_price": row["_price"]}


def attach(world, invoice):
    """Notes on the invoice items that @invoice has them now."""
    for line in invoice["lines"]["data"]:
        name = line["parent"]["subscription_item_details"].get("invoice_item")
        if name:
            world.invoice_items.get(name)["invoice"] = invoice["id"]


@route("GET", "/v1/invoiceitems", paged(customer=text, invoice=text))
def index(world, call):
    p = call.params
    return page(world.invoice_items, call, lambda i: p.get("customer", i["customer"]) == i["customer"]
                and p.get("invoice", i["invoice"]) == i["invoice"])


@route("GET", "/v1/invoiceitems/{}")
def get(world, call, name):
    return world.invoice_items.get(name)
