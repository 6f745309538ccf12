# SPDX-License-Identifier: BSD-2-Clause
"""Subscription schedules of the fake: phases, and how schedules end."""
import pytest
import stripe

from test_fake_life import Story
from test_fake_portal import confirm, session

DAY = 86400


def schedule(customer, *phases, **fields):
    return stripe.SubscriptionSchedule.create(
        customer=customer.id, phases=[{"items": [{"price": p}], **more} for p, more in phases],
        **{"start_date": "now", **fields})


def adopted(customer, price="price_pro"):
    sub = stripe.Subscription.create(customer=customer.id, items=[{"price": price}])
    return sub, stripe.SubscriptionSchedule.create(from_subscription=sub.id)


def price_of(sub):
    return stripe.Subscription.retrieve(sub)["items"].data[0].price.id


def fails(words, call, *args, **fields):
    with pytest.raises(stripe.error.InvalidRequestError, match=words):
        call(*args, **fields)


def test_phases_follow_each_other_and_the_subscription_stays(fake, customer):
    story = Story(customer)
    made = schedule(customer, ("price_pro", {"duration": {"interval": "month"}}),
                    ("price_max", {"duration": {"interval": "month", "interval_count": 2}}))
    assert made.status == "active" and made.phases[0].end_date == made.phases[1].start_date
    types = story.told()[0]
    assert types[0] == "subscription_schedule.created" and "customer.subscription.created" in types
    sub = stripe.Subscription.retrieve(made.subscription)
    assert sub.schedule == made.id and price_of(sub.id) == "price_pro"
    fake.turn_to(made.phases[0].end_date + 3601)
    types, events = story.told()
    assert "subscription_schedule.updated" in types and "invoiceitem.created" not in types
    paid = [e.data.object for e in events if e.type == "invoice.paid"]
    assert [i.amount_paid for i in paid] == [5000], "the next period is billed with the next phase's price"
    assert stripe.SubscriptionSchedule.retrieve(made.id).current_phase.start_date == made.phases[1].start_date
    fake.turn_to(made.phases[1].end_date + 3601)
    done = stripe.SubscriptionSchedule.retrieve(made.id)
    assert (done.status, done.subscription, done.released_subscription) == ("released", None, sub.id)
    assert "subscription_schedule.released" in story.told()[0]
    after = stripe.Subscription.retrieve(sub.id)
    assert after.status == "active" and after.schedule is None and price_of(sub.id) == "price_max"


def test_a_schedule_can_start_later_and_cancel_at_its_end(fake, customer):
    start = int(fake.now()) + 5 * DAY
    made = schedule(customer, ("price_pro", {"iterations": 1}), start_date=start, end_behavior="cancel",
                    stripe_version="2025-03-31.basil")
    assert made.status == "not_started" and made.subscription is None
    assert not stripe.Subscription.list(customer=customer.id).data
    fake.turn_to(start + 1)
    made = stripe.SubscriptionSchedule.retrieve(made.id)
    assert made.status == "active"
    fake.turn_to(made.phases[0].end_date + 1)
    assert stripe.SubscriptionSchedule.retrieve(made.id).status == "completed"
    assert stripe.Subscription.retrieve(made.subscription).status == "canceled"


def test_a_change_inside_a_period_is_prorated(fake, customer):
    middle = int(fake.now()) + 10 * DAY
    made = schedule(customer, ("price_pro", {"end_date": middle}), ("price_max", {"duration": {"interval": "month"}}))
    story = Story(customer)
    fake.turn_to(middle + 1)
    assert story.told()[0] == ["invoiceitem.created", "invoiceitem.created", "customer.subscription.updated",
                               "subscription_schedule.updated"]
    assert price_of(made.subscription) == "price_max"


def test_a_subscription_gets_a_schedule_with_what_it_has(fake, customer):
    sub, made = adopted(customer)
    assert [i.price for i in made.phases[0]["items"]] == ["price_pro"]
    item = sub["items"].data[0]
    assert (made.phases[0].start_date, made.phases[0].end_date) == (item.current_period_start, item.current_period_end)
    fails("already attached", stripe.SubscriptionSchedule.create, from_subscription=sub.id)
    fails("cannot set", stripe.SubscriptionSchedule.create, from_subscription=sub.id, end_behavior="cancel")
    first = {"items": [{"price": "price_pro"}], "start_date": made.phases[0].start_date,
             "end_date": made.phases[0].end_date}
    stripe.SubscriptionSchedule.modify(made.id, phases=[first, {"items": [{"price": "price_max"}]}])
    fake.renew(sub.id)
    assert price_of(sub.id) == "price_max"
    assert stripe.Invoice.retrieve(stripe.Subscription.retrieve(sub.id).latest_invoice).amount_paid == 5000


def test_a_schedule_owns_the_cancellation(customer):
    sub, made = adopted(customer)
    fails("is managed by the subscription schedule", stripe.Subscription.modify, sub.id, cancel_at_period_end=True)
    story = Story(customer)
    assert stripe.SubscriptionSchedule.release(made.id).status == "released"
    assert story.told()[0] == ["customer.subscription.updated", "subscription_schedule.released"]
    fails("currently in the `released` status", stripe.SubscriptionSchedule.cancel, made.id)
    assert stripe.Subscription.modify(sub.id, cancel_at_period_end=True).cancel_at_period_end


def test_canceling_ends_both(customer):
    sub, made = adopted(customer)
    story = Story(customer)
    assert stripe.SubscriptionSchedule.cancel(made.id).status == "canceled"
    assert story.told()[0] == ["customer.subscription.deleted", "subscription_schedule.canceled"]
    sub, made = adopted(customer)
    stripe.Subscription.delete(sub.id)
    assert stripe.SubscriptionSchedule.retrieve(made.id).status == "canceled"


def test_phases_are_checked(fake, customer):
    fails("Missing required param: phases", schedule, customer)
    fails("only specify one", schedule, customer, ("price_pro", {
        "end_date": int(fake.now()) + DAY, "duration": {"interval": "day"}}))
    fails("end after it starts", schedule, customer, ("price_pro", {"end_date": int(fake.now()) - DAY}))
    fails("No such price", schedule, customer, ("price_nope", {}))


def test_the_portal_delays_a_downgrade_if_it_should(fake, customer):
    fake.plans("price_pro", "price_max", schedule_at_period_end={"conditions": [{"type": "decreasing_item_amount"}]})
    sub = stripe.Subscription.create(customer=customer.id, items=[{"price": "price_max"}])
    fake.confirm(session(customer, confirm(sub, "price_pro")).id)
    assert price_of(sub.id) == "price_max" and stripe.Subscription.retrieve(sub.id).schedule
    fails("managed by a subscription schedule", session, customer, confirm(sub, "price_pro"))
    fake.renew(sub.id)
    assert price_of(sub.id) == "price_pro"
    fake.plans(schedule_at_period_end={"conditions": []})
