# SPDX-License-Identifier: BSD-2-Clause
"""Checkout sessions of the fake: what they accept, and what buying through them makes."""
import pytest
import stripe

DAY = 86400
TAX = {"enabled": True}


def checkout(*items, **fields):
    rows = [item if isinstance(item, dict) else {"price": item, "quantity": 1} for item in items or ("price_pro",)]
    return stripe.checkout.Session.create(mode="subscription", success_url="https://example.com/done", line_items=rows,
                                          **fields)


def refused(words, *items, param=None, **fields):
    with pytest.raises(stripe.error.InvalidRequestError) as caught:
        checkout(*items, **fields)
    assert words in str(caught.value) and caught.value.http_status == 400
    if param:
        assert caught.value.param == param


def bought(fake, session, **fields):
    """The session and its subscription, after the customer has paid."""
    fake.pay(session.id, **fields)
    session = stripe.checkout.Session.retrieve(session.id)
    return session, stripe.Subscription.retrieve(session.subscription)


def test_an_existing_customer_is_kept(fake, customer):
    session, sub = bought(fake, checkout(customer=customer.id), email="other@example.com")
    assert session.customer == sub.customer == customer.id
    assert stripe.Customer.retrieve(customer.id).email == "ada@example.com"


def test_customer_and_email_exclude_each_other(customer):
    refused("You may only specify one of these parameters", customer=customer.id, customer_email="a@example.com")
    refused("`customer_update` can only be used with `customer`", customer_update={"address": "auto"})


def test_base_and_metered_prices_make_one_subscription(fake):
    session, sub = bought(fake, checkout("price_pro", {"price": "price_use"}))
    assert session.amount_total == 2000 and session.payment_status == "paid"
    assert [(i.price.id, i.get("quantity")) for i in sub["items"].data] == [("price_pro", 1), ("price_use", None)]


def test_line_items_are_checked(fake, customer):
    fake.price("price_eur", currency="eur")
    refused("Remove quantity from `line_items[1]`", "price_pro", "price_use")
    refused("Add `quantity` to `line_items[0]`", {"price": "price_pro"})
    refused("same currency", "price_pro", "price_eur")
    refused("at most 20", *["price_pro"] * 21)
    stripe.Subscription.create(customer=customer.id, items=[{"price": "price_pro"}])
    refused("cannot combine currencies", "price_eur", customer=customer.id)


def test_a_trial_needs_no_payment(fake, customer):
    session = checkout(customer=customer.id, subscription_data={"trial_period_days": 14, "metadata": {"plan": "pro"}},
                       client_reference_id="user-7", allow_promotion_codes=True)
    assert (session.amount_total, session.client_reference_id, session.allow_promotion_codes) == (0, "user-7", True)
    session, sub = bought(fake, session)
    assert session.payment_status == "no_payment_required"
    assert sub.status == "trialing" and sub.trial_end == sub.created + 14 * DAY
    assert sub.metadata == {"plan": "pro"} and stripe.Invoice.retrieve(sub.latest_invoice).amount_due == 0


def test_trials_are_checked(fake):
    refused("between 1 and 730", subscription_data={"trial_period_days": 0})
    refused("Invalid integer", subscription_data={"trial_period_days": "two"})
    refused("at least 2 days in the future", subscription_data={"trial_end": int(fake.now()) + DAY})
    refused("only specify one", subscription_data={"trial_end": int(fake.now()) + 3 * DAY, "trial_period_days": 3})


def test_tax_needs_the_address_of_an_existing_customer(fake, customer):
    refused("requires a valid address on the Customer", customer=customer.id, automatic_tax=TAX)
    session = checkout(customer=customer.id, automatic_tax=TAX, customer_update={"address": "auto"})
    assert session.automatic_tax.enabled and session.automatic_tax.status is None
    session, sub = bought(fake, session)
    assert session.automatic_tax.status == "complete" and sub.automatic_tax.enabled
    assert stripe.Customer.retrieve(customer.id).address.country == "US"
    checkout(customer=customer.id, automatic_tax=TAX)
    checkout(automatic_tax=TAX)


def test_a_buyer_adjusts_the_quantity_within_its_limits(fake):
    item = {"price": "price_pro", "quantity": 2, "adjustable_quantity": {"enabled": True, "minimum": 2, "maximum": 5}}
    refused("between 2 and 5", {**item, "quantity": 1})
    session = checkout(item)
    with pytest.raises(Exception, match="not available"):
        fake.pay(session.id, quantity=6)
    session, sub = bought(fake, session, quantity=4)
    assert session.amount_total == 8000 and sub["items"].data[0].quantity == 4
    with pytest.raises(Exception, match="No quantity"):
        fake.pay(checkout().id, quantity=2)


def test_the_page_has_the_names_of_the_version(fake):
    assert checkout().ui_mode == "hosted_page"
    assert checkout(stripe_version="2025-03-31.basil").ui_mode == "hosted"
    refused("must be hosted_page", ui_mode="hosted")
