# SPDX-License-Identifier: BSD-2-Clause
"""Prices in bundles and in steps, and what they bill."""
import pytest
import stripe

import catalog

GRADUATED = [{"up_to": 10, "unit_amount": 0}, {"up_to": 100, "unit_amount": 5, "flat_amount": 100},
             {"up_to": "inf", "unit_amount_decimal": "0.5"}]


@pytest.mark.parametrize("fields,quantity,amount", [
    ({"unit_amount": 3}, 7, 21),
    ({"unit_amount_decimal": "0.05"}, 101, 5),
    ({"unit_amount": 500, "transform_quantity": {"divide_by": 1000, "round": "up"}}, 1001, 1000),
    ({"unit_amount": 500, "transform_quantity": {"divide_by": 1000, "round": "down"}}, 1999, 500),
    ({"tiers": GRADUATED, "tiers_mode": "graduated"}, 10, 0),
    ({"tiers": GRADUATED, "tiers_mode": "graduated"}, 11, 105),
    ({"tiers": GRADUATED, "tiers_mode": "graduated"}, 200, 600),
    ({"tiers": GRADUATED, "tiers_mode": "volume"}, 11, 155),
    ({"tiers": GRADUATED, "tiers_mode": "volume"}, 200, 100)])
def test_a_quantity_costs_what_stripe_would_bill(fields, quantity, amount):
    steps = catalog.steps_of(fields)
    price = {"unit_amount_decimal": fields.get("unit_amount_decimal", str(fields.get("unit_amount"))),
             "transform_quantity": fields.get("transform_quantity"), "_tiers": steps,
             "tiers_mode": fields.get("tiers_mode")}
    assert catalog.amount_of(price, quantity) == amount


def test_steps_are_shown_only_if_they_are_expanded(fake):
    product = stripe.Product.create(name="Stepped", unit_label="page")
    made = stripe.Price.create(product=product.id, currency="usd", billing_scheme="tiered", tiers_mode="graduated",
                               tiers=GRADUATED, recurring={"interval": "month"})
    assert "tiers" not in made and made.unit_amount is None and made.tiers_mode == "graduated"
    shown = stripe.Price.retrieve(made.id, expand=["tiers", "product"])
    assert [step.up_to for step in shown.tiers] == [10, 100, None]
    assert shown.tiers[2].unit_amount is None and shown.tiers[2].unit_amount_decimal == "0.5"
    assert shown.product.unit_label == "page"
