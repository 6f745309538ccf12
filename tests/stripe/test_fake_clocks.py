# SPDX-License-Identifier: BSD-2-Clause
"""Test clocks of the fake: what lives by them, and that nothing else does."""
import calendar

import pytest
import stripe

from test_fake_life import Story

DAY = 86400
BEGIN = calendar.timegm((2027, 1, 31, 12, 0, 0))


@pytest.fixture
def clock(fake):
    made = stripe.test_helpers.TestClock.create(frozen_time=BEGIN)
    yield made
    stripe.test_helpers.TestClock.delete(made.id)


@pytest.fixture
def customer(clock):
    return stripe.Customer.create(test_clock=clock.id)


def subscribe(customer, price="price_pro", **fields):
    return stripe.Subscription.create(customer=customer.id, items=[{"price": price}], **fields)


def advance(clock, when):
    made = stripe.test_helpers.TestClock.advance(clock.id, frozen_time=when)
    assert made.status == "advancing" and made.status_details.advancing.target_frozen_time == when
    made = stripe.test_helpers.TestClock.retrieve(clock.id)
    assert (made.status, made.frozen_time) == ("ready", when)


def status(sub):
    return stripe.Subscription.retrieve(sub.id).status


def test_objects_and_events_are_dated_by_the_clock(clock, customer):
    story = Story(customer)
    sub = subscribe(customer)
    assert customer.created == sub.created == sub["items"].data[0].current_period_start == BEGIN
    assert stripe.Invoice.retrieve(sub.latest_invoice).test_clock == sub.test_clock == clock.id
    assert {e.created for e in story.told()[1]} == {BEGIN}
    assert sub.id not in [s.id for s in stripe.Subscription.list(status="all", limit=100)]
    assert [s.id for s in stripe.Subscription.list(status="all", test_clock=clock.id)] == [sub.id]
    assert clock.id in [c.id for c in stripe.test_helpers.TestClock.list()]


def test_advancing_renews_its_own_subscriptions_only(fake, clock, customer):
    other = stripe.Customer.create()
    mine, real = subscribe(customer), subscribe(other)
    story = Story(customer)
    end = mine["items"].data[0].current_period_end
    assert end == calendar.timegm((2027, 2, 28, 12, 0, 0))
    advance(clock, end + 2 * 3600)
    types, events = story.told()
    assert types[:2] == ["invoice.created", "customer.subscription.updated"] and "invoice.paid" in types
    assert [e.created for e in events[:2]] == [end, end] and events[-1].created == end + 3600
    assert stripe.Subscription.retrieve(mine.id)["items"].data[0].current_period_start == end
    assert stripe.Subscription.retrieve(real.id)["items"].data[0].current_period_end == \
        real["items"].data[0].current_period_end
    stripe.Customer.delete(other.id)


def test_the_fakes_own_time_does_not_move_it(fake, clock, customer):
    sub = subscribe(customer, "price_daily")
    story = Story(customer)
    fake.advance(days=3)
    assert story.told()[0] == [] and stripe.Subscription.retrieve(sub.id)["items"].data == sub["items"].data


def test_a_trial_ends_by_the_clock(clock, customer):
    sub = subscribe(customer, trial_period_days=14)
    story = Story(customer)
    assert sub.trial_end == BEGIN + 14 * DAY
    advance(clock, BEGIN + 11 * DAY)
    types, events = story.told()
    assert types == ["customer.subscription.trial_will_end"] and events[0].created == BEGIN + 11 * DAY
    advance(clock, BEGIN + 15 * DAY)
    assert status(sub) == "active" and story.told()[1][-1].created == BEGIN + 14 * DAY + 3600


def test_failed_payments_are_retried_and_end_it_by_the_clock(fake, clock, customer):
    sub = subscribe(customer)
    fake.payments(customer.id, "fails")
    end = sub["items"].data[0].current_period_end
    advance(clock, end + 3601)
    assert status(sub) == "past_due"
    story = Story(customer)
    advance(clock, end + 8 * DAY)
    assert status(sub) == "canceled"
    types, events = story.told()
    assert types.count("invoice.payment_failed") == 3
    assert events[0].created == end + 3600 + 3 * DAY, "each event has the time when it happened"
    assert stripe.Subscription.retrieve(sub.id).ended_at == end + 3600 + 7 * DAY


def test_a_planned_cancellation_happens_by_the_clock(clock, customer):
    sub = subscribe(customer, cancel_at_period_end=True)
    end = sub["items"].data[0].current_period_end
    advance(clock, end - 1)
    assert status(sub) == "active"
    advance(clock, end)
    assert stripe.Subscription.retrieve(sub.id).ended_at == end


def test_checkout_and_the_portal_use_the_customers_clock(fake, clock, customer):
    session = stripe.checkout.Session.create(mode="subscription", customer=customer.id, success_url="https://a.example",
                                             line_items=[{"price": "price_pro", "quantity": 1}])
    fake.pay(session.id)
    (sub,) = stripe.Subscription.list(customer=customer.id).data
    assert sub.created == session.created == BEGIN
    advance(clock, BEGIN + 14 * DAY)
    fake.plans("price_pro", "price_max")
    flow = {"type": "subscription_update_confirm", "subscription_update_confirm": {
        "subscription": sub.id, "items": [{"id": sub["items"].data[0].id, "price": "price_max"}]}}
    fake.confirm(stripe.billing_portal.Session.create(customer=customer.id, flow_data=flow).id)
    invoice = stripe.Invoice.retrieve(stripe.Subscription.retrieve(sub.id).latest_invoice)
    assert invoice.created == BEGIN + 14 * DAY and invoice.amount_paid == 1500, "half of the period is left"
    fake.plans()


def test_a_clock_moves_forward_and_two_intervals_at_most(clock, customer):
    def refused(when, words):
        with pytest.raises(stripe.error.InvalidRequestError, match=words):
            stripe.test_helpers.TestClock.advance(clock.id, frozen_time=when)
    refused(BEGIN, "later time")
    refused(BEGIN + 800 * DAY, "2 years")
    subscribe(customer)
    refused(BEGIN + 62 * DAY, "two intervals")
    advance(clock, BEGIN + 58 * DAY)


def test_a_clock_has_three_customers_and_takes_them_along(fake):
    clock = stripe.test_helpers.TestClock.create(frozen_time=BEGIN)
    made = [stripe.Customer.create(test_clock=clock.id) for _ in range(3)]
    with pytest.raises(stripe.error.InvalidRequestError, match="up to 3 customers"):
        stripe.Customer.create(test_clock=clock.id)
    stripe.test_helpers.TestClock.delete(clock.id)
    assert stripe.Customer.retrieve(made[0].id).get("deleted")
    with pytest.raises(stripe.error.InvalidRequestError, match="No such test clock"):
        stripe.test_helpers.TestClock.retrieve(clock.id)
