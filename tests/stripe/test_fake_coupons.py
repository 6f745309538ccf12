# SPDX-License-Identifier: BSD-2-Clause
"""Coupons, promotion codes and discounts of the fake."""
import pytest
import stripe

from test_fake_checkout import bought, checkout, refused
from test_fake_life import Story
from test_fake_portal import confirm, session

DAY = 86400


def subscribe(customer, price="price_pro", **fields):
    return stripe.Subscription.create(customer=customer.id, items=[{"price": price}], **fields)


def invoice_of(sub):
    return stripe.Invoice.retrieve(stripe.Subscription.retrieve(sub.id).latest_invoice)


def code_for(coupon, **fields):
    return stripe.PromotionCode.create(promotion={"type": "coupon", "coupon": coupon.id}, **fields)


def fails(words, call, *args, **fields):
    with pytest.raises(stripe.error.InvalidRequestError, match=words):
        call(*args, **fields)


def test_a_percentage_lowers_an_invoice_and_its_lines(customer):
    coupon = stripe.Coupon.create(percent_off=25, duration="forever")
    sub, story = subscribe(customer, discounts=[{"coupon": coupon.id}]), Story(customer)
    paid = invoice_of(sub)
    assert (paid.subtotal, paid.total, paid.amount_paid) == (2000, 1500, 1500)
    assert paid.total_discount_amounts[0].amount == paid.lines.data[0].discount_amounts[0].amount == 500
    assert paid.lines.data[0].amount == 2000 and paid.discounts == sub.discounts
    full = stripe.Subscription.retrieve(sub.id, expand=["discounts.source.coupon"])
    assert full.discounts[0].source.coupon.percent_off == 25
    assert stripe.Coupon.retrieve(coupon.id).times_redeemed == 1
    assert story.told()[0] == []


def test_once_is_the_first_invoice_only(fake, customer):
    coupon = stripe.Coupon.create(amount_off=500, currency="usd")
    sub = subscribe(customer, discounts=[{"coupon": coupon.id}])
    assert invoice_of(sub).amount_paid == 1500
    assert stripe.Subscription.retrieve(sub.id).discounts == []
    fake.renew(sub.id)
    assert invoice_of(sub).amount_paid == 2000


def test_repeating_ends_after_its_months(fake, customer):
    coupon = stripe.Coupon.create(percent_off=50, duration="repeating", duration_in_months=2)
    sub = subscribe(customer, discounts=[{"coupon": coupon.id}])
    paid = [invoice_of(sub).amount_paid]
    for _ in range(3):
        fake.renew(sub.id)
        paid.append(invoice_of(sub).amount_paid)
    assert paid == [1000, 1000, 2000, 2000]


def test_a_hundred_percent_needs_no_payment(fake):
    coupon = stripe.Coupon.create(percent_off=100, duration="forever")
    done, sub = bought(fake, checkout(discounts=[{"coupon": coupon.id}]))
    assert (done.amount_subtotal, done.total_details.amount_discount, done.amount_total) == (2000, 2000, 0)
    assert done.payment_status == "no_payment_required" and sub.status == "active"
    free = invoice_of(sub)
    assert (free.status, free.subtotal, free.total, free.amount_paid) == ("paid", 2000, 0, 0)
    fake.renew(sub.id)
    assert stripe.Subscription.retrieve(sub.id).status == "active" and invoice_of(sub).status == "paid"
    assert not stripe.Charge.list(customer=sub.customer).data, "nothing was charged"


def test_a_free_subscription_does_not_become_a_credit(fake, customer):
    """What was never paid is not given back when the plan changes."""
    fake.plans("price_pro", "price_max")
    coupon = stripe.Coupon.create(percent_off=100, duration="forever")
    sub = subscribe(customer, "price_max", discounts=[{"coupon": coupon.id}])
    fake.confirm(session(customer, confirm(sub, "price_pro")).id)
    assert invoice_of(sub).total == 0 and stripe.Customer.retrieve(customer.id).balance == 0
    fake.plans()


def test_without_a_card_a_free_subscription_ends_with_its_discount(fake):
    coupon = stripe.Coupon.create(percent_off=100, duration="once")
    done, sub = bought(fake, checkout(discounts=[{"coupon": coupon.id}], payment_method_collection="if_required"))
    assert done.payment_status == "no_payment_required"
    fake.renew(sub.id)
    assert stripe.Subscription.retrieve(sub.id).status == "past_due"


def test_a_buyer_enters_a_promotion_code(fake):
    code = code_for(stripe.Coupon.create(percent_off=10, duration="forever"), code="SAVE10")
    with pytest.raises(Exception, match="not enabled"):
        fake.pay(checkout().id, code="SAVE10")
    open_session = checkout(allow_promotion_codes=True)
    with pytest.raises(Exception, match="invalid"):
        fake.pay(open_session.id, code="SAVE11")
    done, sub = bought(fake, open_session, code="save10")
    assert done.amount_total == 1800 and done.discounts[0].promotion_code == code.id
    assert stripe.Subscription.retrieve(sub.id, expand=["discounts"]).discounts[0].promotion_code == code.id
    assert stripe.PromotionCode.retrieve(code.id).times_redeemed == 1
    stripe.PromotionCode.modify(code.id, active=False)
    refused("not active", discounts=[{"promotion_code": code.id}])


def test_checkout_checks_discounts():
    coupon = stripe.Coupon.create(percent_off=10)
    row = {"coupon": coupon.id}
    refused("allow_promotion_codes, discounts", allow_promotion_codes=True, discounts=[row])
    refused("maximum 1", discounts=[row, row])
    refused("No such coupon", discounts=[{"coupon": "nope"}])
    refused("exactly one", discounts=[{**row, "promotion_code": "promo_1"}])
    euro = stripe.Coupon.create(amount_off=100, currency="eur")
    refused("currency", discounts=[{"coupon": euro.id}])


def test_coupons_are_checked(fake, customer):
    fails("either `percent_off` or `amount_off`", stripe.Coupon.create)
    fails("must pass currency", stripe.Coupon.create, amount_off=5)
    fails("at most 100", stripe.Coupon.create, percent_off=101)
    fails("duration_in_months", stripe.Coupon.create, percent_off=5, duration="repeating")
    once = stripe.Coupon.create(percent_off=5, max_redemptions=1, id="ONE")
    fails("already exists", stripe.Coupon.create, percent_off=5, id="ONE")
    sub = subscribe(customer, discounts=[{"coupon": once.id}])
    fails("Coupon expired", subscribe, customer, discounts=[{"coupon": once.id}])
    late = stripe.Coupon.create(percent_off=5, redeem_by=int(fake.now()) + DAY)
    fake.advance(days=1)
    fails("Coupon expired", stripe.Subscription.modify, sub.id, discounts=[{"coupon": late.id}])
    stripe.Coupon.delete(late.id)
    fails("No such coupon", stripe.Coupon.retrieve, late.id)


def test_promotion_codes_are_restricted(customer):
    coupon = stripe.Coupon.create(percent_off=5, duration="forever")
    first = code_for(coupon, code="FIRST", restrictions={"first_time_transaction": True})
    fails("already exists", code_for, coupon, code="first")
    subscribe(customer)
    fails("prior transactions", subscribe, customer, discounts=[{"promotion_code": first.id}])
    other = stripe.Customer.create()
    mine = code_for(coupon, customer=other.id)
    fails("by this customer", subscribe, customer, discounts=[{"promotion_code": mine.id}])
    subscribe(other, discounts=[{"promotion_code": mine.id}])


def test_a_discount_is_added_and_removed(customer):
    coupon = stripe.Coupon.create(percent_off=5, duration="forever")
    sub, story = subscribe(customer), Story(customer)
    stripe.Subscription.modify(sub.id, discounts=[{"coupon": coupon.id}])
    assert story.told()[0] == ["customer.discount.created", "customer.subscription.updated"]
    stripe.Subscription.modify(sub.id, discounts="")
    assert story.told()[0] == ["customer.discount.deleted", "customer.subscription.updated"]


def test_a_portal_flow_brings_a_discount(fake, customer):
    fake.plans("price_pro", "price_max")
    coupon = stripe.Coupon.create(percent_off=50, duration="forever")
    sub = subscribe(customer)
    flow = confirm(sub)
    flow["subscription_update_confirm"]["discounts"] = [{"coupon": coupon.id}]
    fake.confirm(session(customer, flow).id)
    credit, charge = invoice_of(sub).lines.data
    assert -2000 <= credit.amount < -1990 and 2490 < charge.amount <= 2500, "the old price was paid in full"
    fake.renew(sub.id)
    assert invoice_of(sub).amount_paid == 2500
    keep = {"type": "subscription_cancel", "subscription_cancel": {"subscription": sub.id, "retention": {
        "type": "coupon_offer", "coupon_offer": {"coupon": stripe.Coupon.create(percent_off=90).id}}}}
    fake.confirm(session(customer, keep).id, do="accept")
    assert not stripe.Subscription.retrieve(sub.id).cancel_at_period_end
    fake.renew(sub.id)
    assert invoice_of(sub).amount_paid == 500
    fake.plans()


def test_old_versions_have_the_coupon_itself(customer):
    coupon = stripe.Coupon.create(percent_off=5, duration="forever")
    sub = subscribe(customer, discounts=[{"coupon": coupon.id}])
    old = stripe.Subscription.retrieve(sub.id, expand=["discounts"], stripe_version="2024-06-20")
    assert old.discount.coupon.id == old.discounts[0].coupon.id == coupon.id
    assert "source" not in old.discount
