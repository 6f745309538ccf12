# SPDX-License-Identifier: BSD-2-Clause
"""customers: customers, and the outcomes of their payments, which tests choose."""
from params import Empty, anything, merge_metadata, metadata, text
from render import changing
from errors import refused
from routes import EMPTY_TEXT, optional, page, paged, route
import simulated
import subscription

FIELDS = {"email": EMPTY_TEXT, "name": EMPTY_TEXT, "description": EMPTY_TEXT, "phone": EMPTY_TEXT,
          "metadata": metadata, "address": Empty(anything), "shipping": Empty(anything),
          "source": text, "invoice_settings": anything, "tax_exempt": text,
          "preferred_locales": anything}
NEW = {**FIELDS, "payment_method": text, "test_clock": text}
OUTCOMES = ("succeeds", "fails", "requires_action", "none")


def create(world, fields):
    customer = world.customers.add({
        "id": world.new_id("cus",
                           14), "object": "customer", "address": fields.get("address") or None,
        "balance": 0, "created": world.now(), "currency": None, "default_source": None,
        "delinquent": False, "description": optional(fields.get("description")), "discount": None,
        "email": optional(fields.get("email")), "invoice_prefix": world.new_id("x", 8)[2:].upper(),
        "invoice_settings": {"custom_fields": None, "default_payment_method": None, "footer": None},
        "livemode": False, "metadata": merge_metadata({}, fields.get("metadata", {})),
        "name": optional(fields.get("name")), "phone": optional(fields.get("phone")),
        "preferred_locales": [], "shipping": None, "tax_exempt": "none",
        "test_clock": fields.get("test_clock"),
        "_payment": None, "_payments_left": None, "_subs": [],
    })
    world.emit("customer.created", customer)
    return customer


def living(world, name, param="customer"):
    """The customer @name, which must not be deleted."""
    customer = world.customers.get(name, param)
    if customer.get("deleted"):
        raise refused(f"No such customer: '{name}'", param, "resource_missing")
    return customer


def check_currency(world, customer, currency):
    """A customer's subscriptions all have one currency."""
    for sub in map(world.subscriptions.get, customer["_subs"]):
        if sub["status"] not in subscription.ENDED and sub["currency"] != currency:
            raise refused("You cannot combine currencies on a single customer. This customer has an active "
                          "subscription, subscription schedule, discount, quote, invoice item or active subscription "
                          f"mode checkout session with currency {sub['currency']}.")


def set_payments(customer, outcome, count=None):
    """Sets the outcome of the customer's next @count payments, or of all if it is None."""
    if outcome not in OUTCOMES + (None,):
        raise ValueError(f"payments: one of {', '.join(OUTCOMES)}")
    customer["_payment"], customer["_payments_left"] = outcome, count


def take_payment(world, customer):
    """Uses up and returns the outcome of one payment."""
    outcome = customer["_payment"] or world.settings["payment"]
    if customer["_payment"] and customer["_payments_left"] is not None:
        customer["_payments_left"] -= 1
        if customer["_payments_left"] <= 0:
            customer["_payment"] = customer["_payments_left"] = None
    return outcome


@route("POST", "/v1/customers", NEW)
def post(world, call):
    if "test_clock" in call.params:
        simulated.check_room(world, call.params["test_clock"])
    return create(world, call.params)


@route("GET", "/v1/customers", paged(email=text, test_clock=text))
def index(world, call):
    email = call.params.get("email")
    return page(world.customers, call,
                lambda c: not c.get("deleted") and (email is None or c["email"] == email)
                and c.get("test_clock") == call.params.get("test_clock"))


@route("GET", "/v1/customers/{}")
def get(world, call, name):
    return world.customers.get(name)


@route("POST", "/v1/customers/{}", FIELDS)
def update(world, call, name):
    customer = living(world, name, "id")
    with changing(world, customer, "customer.updated"):
        for field in ("email", "name", "description", "phone"):
            if field in call.params:
                customer[field] = optional(call.params[field])
        customer["metadata"] = merge_metadata(customer["metadata"], call.params.get("metadata", {}))
    return customer


@route("DELETE", "/v1/customers/{}")
def delete(world, call, name):
    customer = living(world, name, "id")
    for sub in map(world.subscriptions.get, customer["_subs"]):
        if sub["status"] not in subscription.ENDED:
            subscription.end(world, sub)
    world.emit("customer.deleted", customer)
    subs = customer["_subs"]
    customer.clear()
    customer.update({"id": name, "object": "customer", "deleted": True, "_subs": subs})
    return customer
