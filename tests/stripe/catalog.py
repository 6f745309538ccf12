# SPDX-License-Identifier: BSD-2-Clause
"""catalog: products, their prices, and the features of products."""
from errors import invalid, refused
from params import Empty, Need, anything, at_most, between, boolean, integer, merge_metadata, metadata
from params import one_of, text
from render import changing, is_old, list_of
from routes import EMPTY_TEXT, optional, page, paged, route

INTERVAL = one_of("day", "week", "month", "year")
LOOKUP_KEY = at_most(200)
PRODUCT = {"name": Need(text), "id": text, "active": boolean, "description": EMPTY_TEXT,
           "metadata": metadata, "default_price_data": anything, "images": anything,
           "tax_code": text,
           "unit_label": text, "url": text, "statement_descriptor": text, "shippable": boolean,
           "marketing_features": anything}
RECURRING = {"interval": Need(INTERVAL), "interval_count": between(1, 1095), "meter": text,
             "usage_type": one_of("licensed", "metered"), "trial_period_days": integer,
             "aggregate_usage": one_of("sum", "max", "last_during_period", "last_ever")}
PRICE = {"currency": Need(text), "product": text,
         "product_data": {"name": Need(text), "metadata": metadata},
         "unit_amount": integer, "unit_amount_decimal": text, "recurring": RECURRING,
         "active": boolean,
         "lookup_key": LOOKUP_KEY, "transfer_lookup_key": boolean, "nickname": text,
         "metadata": metadata,
         "billing_scheme": text, "tax_behavior": text, "tiers": [anything],
         "tiers_mode": one_of("graduated", "volume"),
         "transform_quantity": {"divide_by": Need(integer), "round": Need(one_of("up", "down"))}}


def create_product(world, fields, name=None):
    name = fields.get("id") or name or world.new_id("prod", 14)
    if world.products.find(name):
        raise refused(f"Product already exists: {name}", "id", "resource_already_exists")
    product = world.products.add({
        "id": name, "object": "product", "active": fields.get("active", True),
        "created": world.now(),
        "default_price": None, "description": optional(fields.get("description")), "images": [],
        "livemode": False, "marketing_features": [],
        "metadata": merge_metadata({}, fields.get("metadata", {})), "name": fields["name"],
        "package_dimensions": None, "shippable": None, "statement_descriptor": None,
        "tax_code": None,
        "type": "service", "unit_label": fields.get("unit_label"), "updated": world.now(),
        "url": None,
        "_features": [],
    })
    world.emit("product.created", product)
    return product


def recurring_of(world, fields, version):
    recurring = fields.get("recurring")
    if recurring is None:
        return None
    usage_type = recurring.get("usage_type", "licensed")
    meter = recurring.get("meter")
    if meter:
        world.meters.get(meter, "recurring[meter]")
    if usage_type == "metered" and not meter and not is_old(version):
        raise refused("You must specify a meter for metered prices: usage records were removed.",
                      "recurring[meter]")
    if meter and usage_type != "metered":
        raise refused("You may only specify a meter when usage_type=metered.", "recurring[meter]")
    return {"aggregate_usage": recurring.get("aggregate_usage",
                                             None if meter or usage_type == "licensed"
                                             else "sum"),
            "interval": recurring["interval"], "interval_count": recurring.get("interval_count", 1),
            "meter": meter, "trial_period_days": recurring.get("trial_period_days"),
            "usage_type": usage_type}


def take_lookup_key(world, key, may_transfer):
    for price in world.prices:
        if key and price["lookup_key"] == key:
            if not may_transfer:
                raise refused(f"A price (`{price['id']}`) already uses that lookup key.",
                              "lookup_key")
            with changing(world, price, "price.updated"):
                price["lookup_key"] = None
    return key or None


def create_price(world, fields, version, name=None):
    """@name is the ID to give the price, for tests."""
    if ("product" in fields) == ("product_data" in fields):
        raise invalid("You must specify either `product` or `product_data` when creating a price.",
                      "product")
    recurring = recurring_of(world, fields, version)
    if "product" in fields:
        product = world.products.get(fields["product"], "product")
    else:
        product = create_product(world, fields["product_data"])
    amount, steps = fields.get("unit_amount"), steps_of(fields)
    if amount is None and "unit_amount_decimal" not in fields and not steps:
        raise invalid("Prices require an `unit_amount` or `unit_amount_decimal` parameter to be set.",
                      "unit_amount", "parameter_missing")
    price = world.prices.add({
        "id": name or world.new_id("price"), "object": "price",
        "active": fields.get("active", True),
        "billing_scheme": "tiered" if steps else "per_unit", "created": world.now(),
        "currency": fields["currency"].lower(),
        "custom_unit_amount": None, "livemode": False,
        "lookup_key": take_lookup_key(world, fields.get("lookup_key"),
                                      fields.get("transfer_lookup_key")),
        "metadata": merge_metadata({}, fields.get("metadata", {})),
        "nickname": fields.get("nickname"),
        "product": product["id"], "recurring": recurring, "tax_behavior": "unspecified",
        "tiers_mode": fields["tiers_mode"] if steps else None, "_tiers": steps,
        "transform_quantity": fields.get("transform_quantity"), "type": "recurring" if recurring else "one_time",
        "unit_amount": amount,
        "unit_amount_decimal": None if steps else fields.get("unit_amount_decimal", str(amount)),
    })
    world.emit("price.created", price)
    return price


def is_metered(price):
    return (price["recurring"] or {}).get("usage_type") == "metered"


def steps_of(fields):
    """The tiers of a tiered price, as Stripe shows them."""
    if "tiers" not in fields:
        return None
    if fields.get("tiers_mode") not in ("graduated", "volume"):
        raise invalid("You must specify `tiers_mode` when `billing_scheme` is `tiered`.", "tiers_mode",
                      "parameter_missing")
    steps = []
    for step in fields["tiers"]:
        shown = {"up_to": None if step["up_to"] == "inf" else int(step["up_to"])}
        for name in ("unit_amount", "flat_amount"):
            decimal = step.get(name + "_decimal", step.get(name))
            shown[name] = int(decimal) if decimal is not None and "." not in str(decimal) else None
            shown[name + "_decimal"] = None if decimal is None else str(decimal)
        steps.append(shown)
    if steps[-1]["up_to"] is not None:
        raise invalid("The last tier must have `up_to` set to `inf`.", "tiers")
    return steps


def amount_of(price, quantity):
    """The amount in the currency's smallest unit, rounded half up."""
    if price["_tiers"]:
        return int(tiered_amount(price, quantity) + 0.5)
    bundle = price["transform_quantity"]
    if bundle:
        whole, rest = divmod(quantity, bundle["divide_by"])
        quantity = whole + (1 if rest and bundle["round"] == "up" else 0)
    return int(float(price["unit_amount_decimal"]) * quantity + 0.5)


def tiered_amount(price, quantity):
    total, before = 0.0, 0
    for step in price["_tiers"]:
        unit = float(step["unit_amount_decimal"] or 0)
        flat = float(step["flat_amount_decimal"] or 0)
        is_last = step["up_to"] is None or quantity <= step["up_to"]
        if price["tiers_mode"] == "volume":
            if is_last:
                return unit * quantity + flat
            continue
        inside = (quantity if is_last else step["up_to"]) - before
        total += unit * inside + (flat if inside else 0)
        if is_last:
            break
        before = step["up_to"]
    return total


def living_price(world, name, param):
    price = world.prices.get(name, param)
    if not price["active"]:
        raise refused(f"The price specified is inactive. This field only accepts active prices: {name}", param)
    return price


@route("POST", "/v1/products", PRODUCT)
def post_product(world, call):
    return create_product(world, call.params)


@route("GET", "/v1/products", paged(active=boolean, ids=[text], url=text, shippable=boolean))
def products(world, call):
    active, ids = call.params.get("active"), call.params.get("ids")
    return page(world.products, call, lambda p: (active is None or p["active"] == active)
                and (ids is None or p["id"] in ids))


@route("GET", "/v1/products/{}")
def get_product(world, call, name):
    return world.products.get(name)


@route("POST", "/v1/products/{}", {**{name: check for name, check in PRODUCT.items() if name not in (
    "id", "default_price_data")}, "name": text, "default_price": text})
def update_product(world, call, name):
    product = world.products.get(name)
    with changing(world, product, "product.updated"):
        for field in ("name", "active", "description", "default_price"):
            product[field] = call.params.get(field, product[field])
        product["metadata"] = merge_metadata(product["metadata"], call.params.get("metadata", {}))
    return product


@route("POST", "/v1/prices", PRICE)
def post_price(world, call):
    return create_price(world, call.params, call.version)


@route("GET", "/v1/prices", paged(active=boolean, product=text, lookup_keys=[text], currency=text,
                                  type=one_of("recurring", "one_time"),
                                  recurring={"interval": INTERVAL, "meter": text,
                                             "usage_type": text}))
def prices(world, call):
    p = call.params
    recurring = p.get("recurring", {})

    def fits(price):
        return (p.get("active", price["active"]) == price["active"]
                and p.get("product", price["product"]) == price["product"]
                and p.get("currency", price["currency"]) == price["currency"]
                and p.get("type", price["type"]) == price["type"]
                and price["lookup_key"] in p.get("lookup_keys", [price["lookup_key"]])
                and all((price["recurring"] or {}).get(k) == v for k, v in recurring.items()))
    return page(world.prices, call, fits)


@route("GET", "/v1/prices/{}")
def get_price(world, call, name):
    return world.prices.get(name)


@route("POST", "/v1/prices/{}",
       {"active": boolean, "lookup_key": Empty(LOOKUP_KEY), "metadata": metadata,
                                 "transfer_lookup_key": boolean, "nickname": EMPTY_TEXT,
                                 "tax_behavior": text})
def update_price(world, call, name):
    price = world.prices.get(name)
    if call.params.get("lookup_key") and call.params["lookup_key"] != price["lookup_key"]:
        take_lookup_key(world, call.params["lookup_key"], call.params.get("transfer_lookup_key"))
    with changing(world, price, "price.updated"):
        price["active"] = call.params.get("active", price["active"])
        for field in ("lookup_key", "nickname"):
            price[field] = optional(call.params.get(field, price[field]))
        price["metadata"] = merge_metadata(price["metadata"], call.params.get("metadata", {}))
    return price


@route("POST", "/v1/entitlements/features",
       {"lookup_key": Need(at_most(80)), "name": Need(at_most(80)),
                                             "metadata": metadata})
def post_feature(world, call):
    return create_feature(world, call.params["lookup_key"], call.params["name"])


def create_feature(world, lookup_key, name):
    if any(f["lookup_key"] == lookup_key for f in world.features):
        raise refused(f"A feature with lookup_key {lookup_key} already exists.", "lookup_key")
    return world.features.add({
        "id": world.new_id("feat_test", 26), "object": "entitlements.feature", "active": True,
        "livemode": False, "lookup_key": lookup_key, "metadata": {}, "name": name})


@route("GET", "/v1/entitlements/features", {"lookup_key": text, "archived": boolean, **paged()})
def features(world, call):
    return page(world.features, call,
                lambda f: call.params.get("lookup_key", f["lookup_key"]) == f["lookup_key"])


@route("GET", "/v1/entitlements/features/{}")
def get_feature(world, call, name):
    return world.features.get(name)


@route("POST", "/v1/products/{}/features", {"entitlement_feature": Need(text)})
def attach_feature(world, call, name):
    return attach(world, world.products.get(name),
                  world.features.get(call.params["entitlement_feature"], "entitlement_feature"))


def attach(world, product, feature):
    if feature["id"] not in product["_features"]:
        product["_features"].append(feature["id"])
    return product_feature(product, feature)


def product_feature(product, feature):
    return {"id": f"prodft_{product['id'][5:]}{feature['id'][-8:]}", "object": "product_feature",
            "entitlement_feature": feature, "livemode": False}


@route("GET", "/v1/products/{}/features", paged())
def product_features(world, call, name):
    product = world.products.get(name)
    return list_of([product_feature(product, world.features.get(f)) for f in product["_features"]],
                   call.path)
