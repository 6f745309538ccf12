# SPDX-License-Identifier: BSD-2-Clause
"""invoices: invoices from draft to paid, with payment attempts.

The invoice of a renewal is a draft for a while (setting draft_s), so that late usage is included.
Then it is finalized and its payment is attempted. subscription.py decides what that means for the
subscription.
"""
import charges
import coupons
import customers
import prorations
import subscription
from catalog import amount_of, is_metered
from clock import DAY
from errors import declined, refused
from meters import usage_of
from params import boolean, one_of, text
from render import changing, list_of
from routes import page, paged, route


def line_of(world, sub, item, period, quantity, description):
    price = item["price"]
    return {
        "id": world.new_id("il"), "object": "line_item",
        "amount": amount_of(price, quantity), "currency": price["currency"],
        "description": description,
        "discountable": True, "discounts": [], "invoice": None, "livemode": False, "metadata": {},
        "parent": {"type": "subscription_item_details", "subscription_item_details": {
            "invoice_item": None, "subscription_item": item["id"], "subscription": sub["id"], "proration": False,
            "proration_details": None}, "invoice_item_details": None},
        "period": {"start": period[0], "end": period[1]},
        "pricing": {"type": "price_details", "unit_amount_decimal": price["unit_amount_decimal"],
                    "price_details": {"price": price["id"], "product": price["product"]}},
        "quantity": quantity, "quantity_decimal": str(quantity), "subscription": sub["id"], "subtotal": 0,
        "taxes": [], "pretax_credit_amounts": [], "_item": item, "_price": price,
    }


def lines_of(world, sub, items, past, is_free):
    """The lines due at the start of a period of @items: licenses for it, and usage of the @past periods."""
    lines = []
    for item in items:
        ahead = (item["current_period_start"], item["current_period_end"])
        if is_metered(item["price"]):
            line = line_of(world, sub, item, past.get(item["id"], ahead), 0, "Metered usage")
            line["_is_usage"] = item["id"] in past
        else:
            line = line_of(world, sub, item, ahead, item["quantity"], "Subscription")
            line["amount"] = 0 if is_free else line["amount"]
        lines.append(line)
    return lines


def draft(world, sub, reason, lines):
    customer = world.customers.get(sub["customer"])
    now = world.now()
    name = world.new_id("in")
    first = sub["items"]["data"][0]
    period = (now, now) if reason == "subscription_create" else (
        lines[0]["period"]["start"], lines[0]["period"]["end"])
    for line in lines:
        line["invoice"] = name
    invoice = world.invoices.add({
        "id": name, "object": "invoice", "account_country": "US", "account_name": "Fake",
        "automatic_tax": {"disabled_reason": None, "enabled": sub["automatic_tax"]["enabled"],
                          "liability": sub["automatic_tax"]["liability"], "provider": None,
                          "status": "complete" if sub["automatic_tax"]["enabled"] else None},
        "default_tax_rates": [], "issuer": {"type": "self"}, "payment_settings": {
            "default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "post_payment_credit_notes_amount": 0, "pre_payment_credit_notes_amount": 0,
        "amount_due": 0, "amount_overpaid": 0, "amount_paid": 0, "amount_remaining": 0,
        "amount_shipping": 0, "attempt_count": 0, "attempted": False, "auto_advance": True,
        "automatically_finalizes_at": None, "billing_reason": reason,
        "collection_method": sub["collection_method"], "created": now,
        "currency": first["price"]["currency"], "custom_fields": None, "customer": sub["customer"],
        "customer_email": customer.get("email"), "customer_name": customer.get("name"),
        "default_payment_method": None, "description": None, "discounts": [], "due_date": None,
        "effective_at": None, "ending_balance": None, "hosted_invoice_url": None,
        "invoice_pdf": None,
        "lines": list_of(lines, f"/v1/invoices/{name}/lines"), "livemode": False, "metadata": {},
        "next_payment_attempt": None, "number": None,
        "parent": {"type": "subscription_details", "quote_details": None, "subscription_details": {
            "metadata": dict(sub["metadata"]), "subscription": sub["id"]}},
        "period_start": period[0], "period_end": period[1], "starting_balance": 0,
        "status": "draft",
        "status_transitions": {"finalized_at": None, "marked_uncollectible_at": None,
                               "paid_at": None,
                               "voided_at": None},
        "subtotal": 0, "total": 0, "test_clock": sub["test_clock"], "webhooks_delivered_at": None,
        "total_discount_amounts": [],
        "_subscription": sub["id"], "_discounts": discounts_of(world, sub, lines), "_retry": None,
        "_first_failure": None, "_timers": {},
    })
    prorations.attach(world, invoice)
    add_up(invoice)
    sub["_invoices"].append(name)
    world.emit("invoice.created", invoice)
    return invoice


def discounts_of(world, sub, lines):
    """The discounts of the subscription, if they lower this invoice."""
    coupons.end_old(world, sub)
    return [row for row in sub["_discounts"] if coupons.reductions(
        [{**line, "discount_amounts": []} for line in lines], row["_coupon"])
        or any(line.get("_is_usage") for line in lines)]


def use_discounts(world, invoice, sub):
    """Ends the discounts that were for one invoice."""
    for row in invoice["_discounts"]:
        if row["_coupon"]["duration"] == "once" and row["id"] in sub["discounts"]:
            if any(d["amount"] for d in invoice["total_discount_amounts"] if d["discount"] == row["id"]):
                with subscription.updating(world, sub):
                    coupons.end(world, sub, row["id"])


def add_up(invoice):
    invoice["total_discount_amounts"] = coupons.apply(invoice, invoice["_discounts"])
    invoice["discounts"] = [row["id"] for row in invoice["_discounts"]]
    for line in invoice["lines"]["data"]:
        line["subtotal"] = line["amount"]
    invoice["subtotal"] = sum(line["amount"] for line in invoice["lines"]["data"])
    invoice["subtotal_excluding_tax"] = invoice["subtotal"]
    total = invoice["subtotal"] - sum(d["amount"] for d in invoice["total_discount_amounts"])
    invoice["total"] = invoice["total_excluding_tax"] = total
    invoice["amount_due"] = max(total, 0)
    invoice["amount_remaining"] = invoice["amount_due"] - invoice["amount_paid"]


def count_usage(world, invoice):
    for line in invoice["lines"]["data"]:
        if line.get("_is_usage"):
            line["quantity"] = usage_of(world, line["_item"], invoice["customer"],
                                        line["period"]["start"],
                                        line["period"]["end"])
            line["amount"] = amount_of(line["_item"]["price"], line["quantity"])
            line["quantity_decimal"] = str(line["quantity"])
    add_up(invoice)


def finalize(world, invoice, is_tried=True):
    if invoice["status"] != "draft":
        return
    count_usage(world, invoice)
    now = world.now()
    invoice["status"] = "open"
    invoice["status_transitions"]["finalized_at"] = invoice["effective_at"] = now
    invoice["number"] = f"FAKE-{len(world.invoices):05d}"
    invoice["hosted_invoice_url"] = f"{world.base_url}/i/{invoice['id']}"
    use_balance(world, invoice)
    world.emit("invoice.finalized", invoice)
    sub = world.subscriptions.get(invoice["_subscription"])
    use_discounts(world, invoice, sub)
    pause = sub["pause_collection"]
    if pause and pause["behavior"] == "void":
        void(world, invoice)
    elif pause and pause["behavior"] == "mark_uncollectible":
        mark_uncollectible(world, invoice)
    elif invoice["amount_due"] == 0:
        settle(world, invoice)
    elif is_tried and invoice["collection_method"] == "charge_automatically":
        attempt(world, invoice)


def use_balance(world, invoice):
    """Adds an invoice below zero to the customer's credit, or pays as much as possible from the credit."""
    customer = world.customers.get(invoice["customer"])
    if customer.get("deleted"):
        return
    balance = invoice["starting_balance"] = customer["balance"]
    after = min(balance + invoice["total"], 0)
    invoice["ending_balance"] = after
    invoice["amount_due"] = invoice["amount_remaining"] = max(balance + invoice["total"], 0)
    if after != balance:
        with changing(world, customer, "customer.updated"):
            customer["balance"] = after


def attempt(world, invoice):
    """Attempts the payment; returns whether it succeeded."""
    outcome = customers.take_payment(world, world.customers.get(invoice["customer"]))
    invoice["attempt_count"] += 1
    invoice["attempted"] = True
    if outcome == "succeeds":
        charges.create(world, invoice["customer"], invoice["amount_due"], invoice["currency"],
                       invoice)
        settle(world, invoice)
        return True
    fail(world, invoice, outcome)
    return False


def settle(world, invoice):
    stop(invoice)
    invoice["status"] = "paid"
    invoice["attempted"] = True
    invoice["amount_paid"], invoice["amount_remaining"] = invoice["amount_due"], 0
    invoice["next_payment_attempt"] = None
    invoice["auto_advance"] = False
    invoice["status_transitions"]["paid_at"] = world.now()
    world.emit("invoice.paid", invoice)
    world.emit("invoice.payment_succeeded", invoice)
    subscription.on_paid(world, world.subscriptions.get(invoice["_subscription"]))


def fail(world, invoice, outcome):
    sub = world.subscriptions.get(invoice["_subscription"])
    now = world.now()
    invoice["_first_failure"] = invoice["_first_failure"] or now
    later = [invoice["_first_failure"] + day * DAY for day in world.settings["retry_days"]]
    later = [at for at in later if at > now]
    may_retry = later and invoice["auto_advance"] and sub["status"] in subscription.LIVING
    stop(invoice)
    invoice["next_payment_attempt"] = later[0] if may_retry else None
    if may_retry:
        invoice["_timers"]["retry"] = world.clock.at(later[0], lambda: retry(world, invoice))
    world.emit("invoice.payment_failed", invoice)
    if outcome == "requires_action":
        world.emit("invoice.payment_action_required", invoice)
    subscription.on_unpaid(world, sub, not may_retry)


def retry(world, invoice):
    if invoice["status"] == "open":
        attempt(world, invoice)


def stop(invoice):
    """Cancels the invoice's timers, so that nothing more happens to it by itself."""
    for timer in invoice["_timers"].values():
        timer.is_off = True
    invoice["_timers"].clear()


def void(world, invoice):
    stop(invoice)
    invoice["status"] = "void"
    invoice["auto_advance"], invoice["next_payment_attempt"] = False, None
    invoice["status_transitions"]["voided_at"] = world.now()
    world.emit("invoice.voided", invoice)


def mark_uncollectible(world, invoice):
    stop(invoice)
    invoice["status"] = "uncollectible"
    invoice["auto_advance"], invoice["next_payment_attempt"] = False, None
    invoice["status_transitions"]["marked_uncollectible_at"] = world.now()
    world.emit("invoice.marked_uncollectible", invoice)


@route("GET", "/v1/invoices", paged(customer=text, subscription=text, collection_method=text,
                                    status=one_of("draft", "open", "paid", "uncollectible",
                                                  "void")))
def index(world, call):
    p = call.params
    return page(world.invoices, call, lambda i: p.get("customer", i["customer"]) == i["customer"]
                and p.get("status", i["status"]) == i["status"]
                and p.get("subscription", i["_subscription"]) == i["_subscription"])


@route("GET", "/v1/invoices/{}")
def get(world, call, name):
    return world.invoices.get(name)


@route("GET", "/v1/invoices/{}/lines", paged())
def lines(world, call, name):
    return world.invoices.get(name)["lines"]


@route("POST", "/v1/invoices/{}/pay", {"payment_method": text, "source": text, "forgive": boolean,
                                       "off_session": boolean, "paid_out_of_band": boolean})
def pay(world, call, name):
    invoice = world.invoices.get(name)
    if invoice["status"] == "draft":
        finalize(world, invoice, is_tried=False)
    if invoice["status"] == "paid":
        raise refused("Invoice is already paid", code="invoice_already_paid")
    if invoice["status"] not in ("open", "uncollectible"):
        raise refused(f"Invoice is {invoice['status']}", code="invoice_not_editable")
    if call.params.get("paid_out_of_band"):
        settle(world, invoice)
    elif not attempt(world, invoice):
        raise declined()
    return invoice


@route("POST", "/v1/invoices/{}/finalize", {"auto_advance": boolean})
def post_finalize(world, call, name):
    invoice = world.invoices.get(name)
    if invoice["status"] != "draft":
        raise refused("This invoice is already finalized, you can't re-finalize a non-draft invoice.",
                      code="invoice_not_editable")
    stop(invoice)
    finalize(world, invoice)
    return invoice


@route("POST", "/v1/invoices/{}/void")
def post_void(world, call, name):
    void(world, open_invoice(world, name))
    return world.invoices.get(name)


@route("POST", "/v1/invoices/{}/mark_uncollectible")
def post_uncollectible(world, call, name):
    mark_uncollectible(world, open_invoice(world, name))
    return world.invoices.get(name)


def open_invoice(world, name):
    invoice = world.invoices.get(name)
    if invoice["status"] not in ("open", "uncollectible"):
        raise refused(f"This invoice is {invoice['status']}; it must be open.",
                      code="invoice_not_editable")
    return invoice
