# SPDX-License-Identifier: BSD-2-Clause
"""entitlements: the features that customers have because of their subscriptions."""
from params import PAGE, Need, text
from render import list_of
from routes import page, route
from world import Table

GIVING = ("active", "trialing", "past_due")


def subscriptions_of(world, customer):
    return [world.subscriptions.get(name) for name in world.customers.get(customer).get("_subs",
                                                                                        ())]


def features_of(world, customer):
    """The IDs of features, in the order in which they were bought."""
    found = {}
    for sub in subscriptions_of(world, customer):
        if sub["status"] in GIVING:
            for item in sub["items"]["data"]:
                product = world.products.find(item["price"]["product"])
                found.update(dict.fromkeys(product["_features"]))
    return list(found)


def active(world, customer):
    rows = []
    for name in features_of(world, customer):
        feature = world.features.get(name)
        rows.append({"id": f"ent_test_{customer[4:]}{name[-10:]}",
                     "object": "entitlements.active_entitlement",
                     "feature": name, "livemode": False, "lookup_key": feature["lookup_key"]})
    return rows


def summary(world, customer):
    return of_rows(customer, active(world, customer))


def of_rows(customer, rows):
    return {"object": "entitlements.active_entitlement_summary", "customer": customer,
            "livemode": False,
            "entitlements": list_of(rows, f"/v1/customer/{customer}/entitlements")}


def refresh(world, customer):
    """Call this when a change of a subscription may have changed the customer's entitlements."""
    if not len(world.features):
        return
    owner = world.customers.get(customer)
    before = owner.get("_summary") or of_rows(customer, [])
    now = summary(world, customer)
    if now != before:
        owner["_summary"] = now
        world.emit("entitlements.active_entitlement_summary.updated", now, before)


@route("GET", "/v1/entitlements/active_entitlements", {**PAGE, "customer": Need(text)})
def index(world, call):
    world.customers.get(call.params["customer"], "customer")
    table = Table("entitlements.active_entitlement")
    for row in reversed(active(world, call.params["customer"])):
        table.add(row)
    return page(table, call)
