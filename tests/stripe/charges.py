# SPDX-License-Identifier: BSD-2-Clause
"""charges: what payments charged, and how the money comes back: refunds and disputes.

A charge that paid an invoice leads to it by its payment intent and an invoice payment or, in
versions before 2025-03-31.basil, by its member `invoice` (render.py).
"""
from clock import DAY
from errors import refused
from params import Need, integer, metadata, one_of, text
from render import changing
from routes import page, paged, route

STATES = ("warning_needs_response", "warning_under_review", "warning_closed", "needs_response",
          "under_review", "won", "lost", "prevented")
CLOSED = ("warning_closed", "won", "lost", "prevented")
NO_ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
INQUIRIES = ("warning_needs_response", "warning_under_review", "warning_closed")


def create(world, customer, amount, currency, invoice=None):
    """A payment that succeeded. @invoice: the one that it paid."""
    charge = world.charges.add({
        "id": world.new_id("ch"), "object": "charge", "amount": amount, "amount_captured": amount,
        "amount_refunded": 0, "balance_transaction": world.new_id("txn"), "captured": True,
        "billing_details": {"address": dict(NO_ADDRESS), "email": None, "name": None, "phone": None, "tax_id": None},
        "created": world.now(), "currency": currency, "customer": customer, "description": None,
        "disputed": False, "failure_code": None, "failure_message": None, "livemode": False,
        "metadata": {}, "outcome": None, "paid": True, "payment_intent": world.new_id("pi"),
        "payment_method": world.new_id("pm"), "receipt_email": None, "refunded": False,
        "status": "succeeded", "_invoice": invoice and invoice["id"]})
    if invoice:
        world.invoice_payments.add({
            "id": world.new_id("inpay"), "object": "invoice_payment", "amount_paid": amount,
            "amount_requested": amount, "created": world.now(), "currency": currency,
            "invoice": invoice["id"], "is_default": True, "livemode": False,
            "payment": {"type": "payment_intent", "payment_intent": charge["payment_intent"]},
            "status": "paid", "status_transitions": {"canceled_at": None, "paid_at": world.now()}})
    world.emit("charge.succeeded", charge)
    return charge


@route("GET", "/v1/charges", paged(customer=text, payment_intent=text))
def index(world, call):
    p = call.params
    return page(world.charges, call, lambda c: p.get("customer", c["customer"]) == c["customer"]
                and p.get("payment_intent", c["payment_intent"]) == c["payment_intent"])


@route("GET", "/v1/charges/{}")
def get(world, call, name):
    return world.charges.get(name)


@route("GET", "/v1/invoice_payments", paged(
    invoice=text, status=one_of("open", "paid", "canceled"),
    payment={"type": Need(one_of("payment_intent", "payment_record")), "payment_intent": text,
             "payment_record": text}))
def payments(world, call):
    p = call.params
    intent = p.get("payment", {}).get("payment_intent")
    return page(world.invoice_payments, call,
                lambda i: p.get("invoice", i["invoice"]) == i["invoice"]
                and (intent is None or i["payment"]["payment_intent"] == intent))


# Refunds.

def refund(world, charge, amount):
    left = charge["amount"] - charge["amount_refunded"]
    if amount > left:
        raise refused(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
                      "amount")
    row = world.refunds.add({
        "id": world.new_id("re"), "object": "refund", "amount": amount, "charge": charge["id"],
        "created": world.now(), "currency": charge["currency"], "metadata": {},
        "payment_intent": charge["payment_intent"], "reason": None, "status": "succeeded"})
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    world.emit("refund.created", row)
    world.emit("charge.refunded", charge)
    return row


def fail_refund(world, row):
    """The bank sent the money back to Stripe."""
    charge = world.charges.get(row["charge"])
    charge["amount_refunded"] -= row["amount"]
    charge["refunded"] = False
    with changing(world, row, "refund.updated"):
        row["status"] = "failed"
    world.emit("refund.failed", row)
    return row


@route("POST", "/v1/refunds", {"charge": text, "payment_intent": text, "amount": integer,
                               "reason": text, "metadata": metadata})
def post_refund(world, call):
    p = call.params
    if "charge" in p:
        charge = world.charges.get(p["charge"], "charge")
    else:
        charge = next((c for c in world.charges if c["payment_intent"] == p.get("payment_intent")),
                      None)
    if charge is None:
        raise refused("One of the following params should be provided for this request: "
                      "payment_intent or charge.")
    return refund(world, charge, p.get("amount", charge["amount"] - charge["amount_refunded"]))


@route("GET", "/v1/refunds", paged(charge=text, payment_intent=text))
def refunds(world, call):
    p = call.params
    return page(world.refunds, call, lambda r: p.get("charge", r["charge"]) == r["charge"])


@route("GET", "/v1/refunds/{}")
def get_refund(world, call, name):
    return world.refunds.get(name)


# Disputes.

def open_dispute(world, charge, status="needs_response"):
    """A dispute, or an inquiry (warning_...), which moves no money."""
    charge["disputed"] = True
    row = world.disputes.add({
        "id": world.new_id("du"), "object": "dispute", "amount": charge["amount"],
        "balance_transactions": [], "charge": charge["id"], "created": world.now(),
        "currency": charge["currency"], "enhanced_eligibility_types": [],
        "evidence": {"enhanced_evidence": {}},
        "evidence_details": {"due_by": world.now() + 7 * DAY, "enhanced_eligibility": {}, "has_evidence": False,
                             "past_due": False, "submission_count": 0, "submission_method": "not_submitted"},
        "is_charge_refundable": status in INQUIRIES, "livemode": False, "metadata": {},
        "payment_intent": charge["payment_intent"], "reason": "fraudulent", "status": status})
    world.emit("charge.dispute.created", row)
    if status not in INQUIRIES:
        world.emit("charge.dispute.funds_withdrawn", row)
    return row


def move_dispute(world, row, status):
    if status not in STATES:
        raise ValueError(f"status: one of {', '.join(STATES)}")
    with changing(world, row, "charge.dispute.updated"):
        row["status"] = status
    if status == "won":
        world.emit("charge.dispute.funds_reinstated", row)
    if status in CLOSED:
        world.emit("charge.dispute.closed", row)
    return row


@route("GET", "/v1/disputes", paged(charge=text, payment_intent=text))
def disputes(world, call):
    p = call.params
    return page(world.disputes, call, lambda d: p.get("charge", d["charge"]) == d["charge"]
                and p.get("payment_intent", d["payment_intent"]) == d["payment_intent"])


@route("GET", "/v1/disputes/{}")
def get_dispute(world, call, name):
    return world.disputes.get(name)
