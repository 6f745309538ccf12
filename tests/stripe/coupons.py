# SPDX-License-Identifier: BSD-2-Clause
"""coupons: coupons, the promotion codes that customers enter for them, and discounts.

A discount is a coupon that was applied to a subscription. It lowers each invoice until it ends: `once`
lowers the first invoice that has something to lower.
"""
from clock import add_interval
from errors import invalid, refused
from params import Need, at_most, between, boolean, integer, merge_metadata, metadata, number, one_of, text
from render import ENDIVE, changing
from routes import page, paged, route

DISCOUNTS = [{"coupon": text, "promotion_code": text, "discount": text}]


# Coupons.

@route("POST", "/v1/coupons", {
    "id": at_most(500), "amount_off": between(1, 99999999), "percent_off": number(0, 100), "currency": text,
    "duration": one_of("forever", "once", "repeating"), "duration_in_months": between(1, 120), "name": at_most(40),
    "max_redemptions": between(1, 10 ** 9), "redeem_by": integer, "metadata": metadata,
    "applies_to": {"products": [text]}})
def post(world, call):
    p = call.params
    if ("amount_off" in p) == ("percent_off" in p):
        raise invalid("You must pass either `percent_off` or `amount_off`, but not both.", "percent_off",
                      "parameter_missing")
    if "amount_off" in p and "currency" not in p:
        raise invalid("You must pass currency when passing amount_off", "currency", "parameter_missing")
    duration = p.get("duration", "once")
    if (duration == "repeating") != ("duration_in_months" in p):
        raise invalid("You must pass `duration_in_months` if, and only if, `duration` is `repeating`.",
                      "duration_in_months")
    if p.get("redeem_by", world.now() + 1) <= world.now():
        raise refused("redeem_by must be in the future.", "redeem_by")
    return create(world, p, duration)


def create(world, p, duration):
    name = p.get("id") or world.new_id("c", 8)[2:]
    if world.coupons.find(name):
        raise refused("Coupon already exists.", "id", "resource_already_exists")
    for product in p.get("applies_to", {}).get("products", ()):
        world.products.get(product, "applies_to[products]")
    row = world.coupons.add({
        "id": name, "object": "coupon", "amount_off": p.get("amount_off"), "created": world.now(),
        "currency": p["currency"].lower() if "amount_off" in p else None, "duration": duration,
        "duration_in_months": p.get("duration_in_months"), "livemode": False,
        "max_redemptions": p.get("max_redemptions"), "metadata": merge_metadata({}, p.get("metadata", {})),
        "name": p.get("name"), "percent_off": p.get("percent_off"), "redeem_by": p.get("redeem_by"),
        "times_redeemed": 0, "valid": True, "_products": p.get("applies_to", {}).get("products")})
    world.emit("coupon.created", row)
    return row


@route("GET", "/v1/coupons", paged())
def index(world, call):
    return page(world.coupons, call, lambda c: not c.get("deleted"))


@route("GET", "/v1/coupons/{}")
def get(world, call, name):
    return usable(world, name, "id", 404)


@route("POST", "/v1/coupons/{}", {"name": text, "metadata": metadata})
def update(world, call, name):
    row = usable(world, name, "id", 404)
    with changing(world, row, "coupon.updated"):
        row["name"] = call.params.get("name", row["name"])
        row["metadata"] = merge_metadata(row["metadata"], call.params.get("metadata", {}))
    return row


@route("DELETE", "/v1/coupons/{}")
def delete(world, call, name):
    """Discounts that were made from it stay."""
    row = usable(world, name, "id", 404)
    row["valid"] = False
    world.emit("coupon.deleted", row)
    row["deleted"] = True
    return {"id": name, "object": "coupon", "deleted": True}


def usable(world, name, path, status=400):
    row = world.coupons.find(name)
    if row is None or row.get("deleted"):
        raise refused(f"No such coupon: '{name}'", path, "resource_missing", status)
    return row


# Promotion codes.

RESTRICTIONS = {"first_time_transaction": boolean, "minimum_amount": integer, "minimum_amount_currency": text}


@route("POST", "/v1/promotion_codes", {
    "promotion": {"type": Need(one_of("coupon")), "coupon": text}, "coupon": text, "code": at_most(500),
    "active": boolean, "customer": text, "expires_at": integer, "max_redemptions": integer, "metadata": metadata,
    "restrictions": RESTRICTIONS})
def post_code(world, call):
    p = call.params
    path = "promotion[coupon]" if call.version[:10] >= ENDIVE else "coupon"
    name = p.get("promotion", {}).get("coupon") if call.version[:10] >= ENDIVE else p.get("coupon")
    if not name:
        raise invalid(f"Missing required param: {path}.", path, "parameter_missing")
    coupon = usable(world, name, path)
    if "customer" in p:
        world.customers.get(p["customer"], "customer")
    code = p.get("code") or world.new_id("c", 8)[2:].upper()
    if any(c["active"] and c["code"].lower() == code.lower() and p.get("customer") in (None, c["customer"])
           for c in world.promotion_codes):
        raise refused(f"An active promotion code with `code: {code}` already exists.", "code")
    limits = p.get("restrictions", {})
    row = world.promotion_codes.add({
        "id": world.new_id("promo"), "object": "promotion_code", "active": p.get("active", True), "code": code,
        "created": world.now(), "customer": p.get("customer"), "customer_account": None,
        "expires_at": p.get("expires_at"), "livemode": False, "max_redemptions": p.get("max_redemptions"),
        "metadata": merge_metadata({}, p.get("metadata", {})),
        "promotion": {"coupon": coupon["id"], "type": "coupon"},
        "restrictions": {"first_time_transaction": limits.get("first_time_transaction", False),
                         "minimum_amount": limits.get("minimum_amount"),
                         "minimum_amount_currency": limits.get("minimum_amount_currency")},
        "times_redeemed": 0, "_coupon": coupon})
    world.emit("promotion_code.created", row)
    return row


@route("GET", "/v1/promotion_codes", paged(active=boolean, code=text, coupon=text, customer=text))
def codes(world, call):
    p = call.params
    return page(world.promotion_codes, call, lambda c: all(p.get(name, c[name]) == c[name] for name in (
        "active", "customer")) and p.get("code", c["code"]).lower() == c["code"].lower()
        and p.get("coupon", c["_coupon"]["id"]) == c["_coupon"]["id"])


@route("GET", "/v1/promotion_codes/{}")
def get_code(world, call, name):
    return world.promotion_codes.get(name)


@route("POST", "/v1/promotion_codes/{}", {"active": boolean, "metadata": metadata})
def update_code(world, call, name):
    row = world.promotion_codes.get(name)
    if call.params.get("active") and not row["_coupon"]["valid"]:
        raise refused("This promotion code cannot be activated because its coupon is not valid.", "active")
    with changing(world, row, "promotion_code.updated"):
        row["active"] = call.params.get("active", row["active"])
        row["metadata"] = merge_metadata(row["metadata"], call.params.get("metadata", {}))
    return row


def by_code(world, code, customer):
    """The promotion code that a customer entered on a page."""
    for row in world.promotion_codes:
        if row["code"].lower() == code.lower() and row["active"] and row["customer"] in (None, customer):
            return row
    raise refused("This code is invalid.", "promotion_code")


# Discounts.

def chosen(world, rows, customer, currency, path="discounts"):
    """Pairs (coupon, promotion code or None) for the rows of a `discounts` parameter."""
    found = []
    for i, row in enumerate(rows):
        if len(row) != 1:
            raise invalid(f"You must specify exactly one of coupon and promotion_code in {path}[{i}].",
                          f"{path}[{i}]")
        if "coupon" in row:
            pair = usable(world, row["coupon"], f"{path}[{i}][coupon]"), None
        elif "promotion_code" in row:
            code = world.promotion_codes.find(row["promotion_code"])
            if code is None:
                raise refused(f"No such promotion code: '{row['promotion_code']}'", f"{path}[{i}][promotion_code]",
                              "resource_missing")
            pair = code["_coupon"], code
        else:
            discount = world.discounts.get(row["discount"], f"{path}[{i}][discount]")
            pair = discount["_coupon"], discount["_code"]
        check(world, *pair, customer, currency)
        found.append(pair)
    return found


def check(world, coupon, code, customer, currency):
    """@customer: None if it will be created with the subscription."""
    refresh(world, coupon)
    if not coupon["valid"]:
        raise refused(f"Coupon expired: {coupon['id']}", "coupon", "coupon_expired")
    if coupon["currency"] not in (None, currency):
        raise refused(f"The coupon's currency ({coupon['currency']}) must be that of the prices ({currency}).",
                      "coupon")
    if code is None:
        return
    is_over = (code["expires_at"] or world.now() + 1) <= world.now() or (
        code["max_redemptions"] is not None and code["times_redeemed"] >= code["max_redemptions"])
    if not code["active"] or is_over:
        raise refused("This promotion code is not active.", "promotion_code")
    if code["customer"] is not None and (customer is None or code["customer"] != customer["id"]):
        raise refused("This promotion code cannot be redeemed by this customer.", "promotion_code")
    if code["restrictions"]["first_time_transaction"] and customer and any(
            invoice["customer"] == customer["id"] and invoice["amount_paid"] for invoice in world.invoices):
        raise refused("This promotion code cannot be redeemed because the associated customer has prior transactions.",
                      "promotion_code")


def refresh(world, coupon):
    """Makes a coupon invalid once it may not be redeemed any more."""
    is_late = coupon["redeem_by"] is not None and coupon["redeem_by"] <= world.now()
    is_used = coupon["max_redemptions"] is not None and coupon["times_redeemed"] >= coupon["max_redemptions"]
    if is_late or is_used:
        coupon["valid"] = False


def redeem(world, sub, pairs, session=None):
    """Replaces the discounts of @sub."""
    for name in list(sub["discounts"]):
        end(world, sub, name)
    for coupon, code in pairs:
        coupon["times_redeemed"] += 1
        if code:
            code["times_redeemed"] += 1
        now, months = world.now(), coupon["duration_in_months"]
        row = world.discounts.add({
            "id": world.new_id("di"), "object": "discount", "checkout_session": session, "customer": sub["customer"],
            "customer_account": None, "end": add_interval(now, "month", months) if months else None, "invoice": None,
            "invoice_item": None, "promotion_code": code and code["id"],
            "source": {"coupon": coupon["id"], "type": "coupon"}, "start": now, "subscription": sub["id"],
            "subscription_item": None, "_coupon": coupon, "_code": code})
        sub["discounts"].append(row["id"])
        sub["_discounts"].append(row)
        refresh(world, coupon)
        world.emit("customer.discount.created", row)


def end(world, sub, name):
    sub["discounts"].remove(name)
    sub["_discounts"] = [row for row in sub["_discounts"] if row["id"] != name]
    row = world.discounts.get(name)
    row["end"] = row["end"] or world.now()
    world.emit("customer.discount.deleted", row)


def end_old(world, sub):
    """Ends the discounts whose months are over."""
    for row in list(sub["_discounts"]):
        if row["end"] is not None and row["end"] <= world.now():
            end(world, sub, row["id"])


@route("DELETE", "/v1/subscriptions/{}/discount")
def delete_discount(world, call, name):
    import subscription
    sub = world.subscriptions.get(name)
    if not sub["discounts"]:
        raise refused("There is no discount on this subscription.", status=404)
    row = world.discounts.get(sub["discounts"][0])
    with subscription.updating(world, sub):
        end(world, sub, row["id"])
    return {**row, "deleted": True}


def percent_of(sub):
    """The part of a price, from 0 to 1, that percentage discounts leave."""
    left = 1.0
    for row in sub["_discounts"]:
        left *= 1 - (row["_coupon"]["percent_off"] or 0) / 100
    return left


def apply(invoice, rows):
    """Lowers the lines of @invoice by the discounts @rows, one after the other."""
    lines = invoice["lines"]["data"]
    for line in lines:
        line["discount_amounts"] = []
        line["discounts"] = []
    totals = []
    for row in rows:
        total = 0
        for line, amount in reductions(lines, row["_coupon"]):
            line["discount_amounts"].append({"amount": amount, "discount": row["id"]})
            line["discounts"].append(row["id"])
            total += amount
        totals.append({"amount": total, "discount": row["id"]})
    return totals


def left_of(line):
    return line["amount"] - sum(d["amount"] for d in line["discount_amounts"])


def reductions(lines, coupon):
    """[(line, amount)]"""
    mine = [line for line in lines if line["discountable"] and left_of(line) > 0 and (
        not coupon["_products"] or line["pricing"]["price_details"]["product"] in coupon["_products"])]
    if coupon["percent_off"] is not None:
        return [(line, int(left_of(line) * coupon["percent_off"] / 100 + 0.5)) for line in mine]
    left, found = coupon["amount_off"], []
    for line in mine:
        found.append((line, min(left, left_of(line))))
        left -= found[-1][1]
    return [pair for pair in found if pair[1]]
