# SPDX-License-Identifier: BSD-2-Clause
"""The life of a subscription in the fake: its states, and the events about them, in order."""
import calendar
import time

import pytest
import stripe

DAY = 86400
NEWLY_PAID = ["invoice.created", "invoice.finalized", "charge.succeeded", "invoice.paid",
              "invoice.payment_succeeded"]


class Story:
    """The new events of a subscription and its invoices."""

    def __init__(self, customer):
        self.customer = customer.id
        self.last = stripe.Event.list(limit=1).data[0].id

    def told(self):
        """(types, events), oldest first."""
        found = stripe.Event.list(limit=100, ending_before=self.last).data[::-1]
        assert len(found) < 100
        if found:
            self.last = found[-1].id
        mine = [e for e in found if e.data.object.get("customer") == self.customer]
        return [e.type for e in mine], mine


@pytest.fixture
def story(customer):
    return Story(customer)


def subscribe(customer, price="price_pro", **fields):
    return stripe.Subscription.create(customer=customer.id, items=[{"price": price}], **fields)


def status(sub):
    return stripe.Subscription.retrieve(sub.id).status


def test_the_first_payment_makes_it_active(customer, story):
    sub = subscribe(customer)
    assert sub.status == "active"
    types, events = story.told()
    assert types == NEWLY_PAID + ["customer.subscription.created"]
    assert events[-1].data.object.status == "active"


def test_a_trial_is_announced_ends_and_is_billed(fake, customer, story):
    sub = subscribe(customer, trial_period_days=14)
    assert sub.status == "trialing" and sub["items"].data[0].current_period_end == sub.trial_end
    assert stripe.Invoice.retrieve(sub.latest_invoice).amount_paid == 0
    story.told()
    fake.turn_to(sub.trial_end - 3 * DAY + 1)
    assert story.told()[0] == ["customer.subscription.trial_will_end"]
    fake.turn_to(sub.trial_end + 1)
    types, events = story.told()
    assert types == ["invoice.created", "customer.subscription.updated"]
    assert events[1].data.previous_attributes["status"] == "trialing"
    assert status(sub) == "active"
    fake.advance(hours=1)
    assert story.told()[0] == NEWLY_PAID[1:]
    paid = stripe.Invoice.retrieve(stripe.Subscription.retrieve(sub.id).latest_invoice)
    assert (paid.amount_paid, paid.billing_reason) == (2000, "subscription_cycle")


def test_a_short_trial_is_announced_at_once(customer, story, fake):
    subscribe(customer, trial_period_days=1)
    fake.advance(seconds=1)
    assert "customer.subscription.trial_will_end" in story.told()[0]


def test_a_renewal_starts_the_next_period(fake, customer, story):
    sub = subscribe(customer)
    story.told()
    before = sub["items"].data[0]
    after = fake.renew(sub.id)["items"]["data"][0]
    assert after["current_period_start"] == before.current_period_end
    assert 27 * DAY < after["current_period_end"] - after["current_period_start"] < 32 * DAY
    types, events = story.told()
    assert types == ["invoice.created", "customer.subscription.updated"] + NEWLY_PAID[1:]
    previous = events[1].data.previous_attributes
    assert previous["items"].data[0].current_period_end == before.current_period_end
    assert set(previous) == {"items", "latest_invoice"}


def test_time_passes_by_itself_and_through_many_periods(fake, customer, story):
    sub = subscribe(customer, "price_daily")
    story.told()
    fake.advance(days=3, hours=2)
    types, events = story.told()
    assert types.count("invoice.paid") == 3
    assert [e.created for e in events] == sorted(e.created for e in events)
    assert events[-1].created < fake.now() - 1000, "each event has the time when it happened"


def test_a_failed_renewal_is_past_due_and_recovers(fake, customer, story):
    sub = subscribe(customer)
    story.told()
    fake.payments(customer.id, "fails", 2)
    fake.renew(sub.id)
    types, events = story.told()
    assert types[-2:] == ["invoice.payment_failed", "customer.subscription.updated"]
    failed, updated = events[-2].data.object, events[-1].data
    assert (updated.object.status, updated.previous_attributes["status"]) == ("past_due", "active")
    assert (failed.attempt_count, failed.status) == (1, "open")
    fake.turn_to(failed.next_payment_attempt + 1)
    types, events = story.told()
    assert types == ["invoice.payment_failed"] and events[0].data.object.attempt_count == 2
    fake.advance(days=3)
    types, events = story.told()
    assert types == ["charge.succeeded", "invoice.paid", "invoice.payment_succeeded",
                     "customer.subscription.updated"]
    assert events[-1].data.object.status == status(sub) == "active"


def test_paying_the_invoice_recovers_at_once(fake, customer):
    sub = subscribe(customer)
    fake.payments(customer.id, "fails")
    fake.renew(sub.id)
    invoice = stripe.Subscription.retrieve(sub.id).latest_invoice
    with pytest.raises(stripe.error.CardError) as caught:
        stripe.Invoice.pay(invoice)
    assert caught.value.code == "card_declined"
    fake.payments(customer.id, None)
    assert stripe.Invoice.pay(invoice).status == "paid"
    assert status(sub) == "active"


@pytest.mark.parametrize("after, ends_as, last_event", [
    ("cancel", "canceled", "customer.subscription.deleted"),
    ("unpaid", "unpaid", "customer.subscription.updated"),
    ("past_due", "past_due", "invoice.payment_failed"),
    ("pause", "paused", "customer.subscription.paused"),
])
def test_after_the_last_attempt(fake, customer, story, after, ends_as, last_event):
    fake.settings(after_retries=after)
    sub = subscribe(customer)
    story.told()
    fake.payments(customer.id, "fails")
    fake.renew(sub.id)
    fake.advance(days=8)
    types, events = story.told()
    assert types.count("invoice.payment_failed") == 4 and types[-1] == last_event
    failures = [e.created for e in events if e.type == "invoice.payment_failed"]
    assert [round((at - failures[0]) / DAY) for at in failures] == [0, 3, 5, 7]
    assert status(sub) == ends_as
    ended = stripe.Subscription.retrieve(sub.id)
    if after == "cancel":
        assert ended.cancellation_details.reason == "payment_failed"
    if after == "pause":
        assert ended.status_details.paused.subscription.type == "final_payment_failure"


def test_an_unpaid_subscription_stays_unpaid_until_it_is_paid(fake, customer):
    fake.settings(after_retries="unpaid")
    sub = subscribe(customer)
    fake.payments(customer.id, "fails")
    fake.renew(sub.id)
    invoice = stripe.Subscription.retrieve(sub.id).latest_invoice
    fake.advance(days=60)
    assert status(sub) == "unpaid"
    drafted = stripe.Invoice.list(subscription=sub.id, status="draft")
    assert len(drafted) >= 1, "invoices of an unpaid subscription stay drafts"
    fake.payments(customer.id, "succeeds")
    stripe.Invoice.pay(invoice)
    assert status(sub) == "active"


def test_a_failed_first_payment_leaves_it_incomplete_until_it_expires(fake, customer, story):
    fake.payments(customer.id, "requires_action")
    sub = subscribe(customer)
    assert sub.status == "incomplete"
    assert story.told()[0] == ["invoice.created", "invoice.finalized", "invoice.payment_failed",
                               "invoice.payment_action_required", "customer.subscription.created"]
    fake.advance(hours=22)
    assert status(sub) == "incomplete"
    fake.advance(hours=2)
    types, events = story.told()
    assert types == ["invoice.voided", "customer.subscription.updated"]
    assert events[-1].data.object.status == "incomplete_expired"
    with pytest.raises(stripe.error.CardError):
        subscribe(customer, payment_behavior="error_if_incomplete")


def test_cancelling_at_the_end_of_the_period_ends_it_then(fake, customer, story):
    sub = subscribe(customer)
    story.told()
    planned = stripe.Subscription.modify(sub.id, cancel_at_period_end=True)
    assert planned.status == "active"
    types, events = story.told()
    assert types == ["customer.subscription.updated"]
    assert events[0].data.previous_attributes["cancel_at_period_end"] is False
    kept = stripe.Subscription.modify(sub.id, cancel_at_period_end=False)
    assert kept.cancel_at is None
    stripe.Subscription.modify(sub.id, cancel_at_period_end=True)
    story.told()
    fake.turn_to(sub["items"].data[0].current_period_end + 1)
    types, events = story.told()
    assert types == ["customer.subscription.deleted"]
    assert events[0].data.object.status == status(sub) == "canceled"


def test_cancelling_now_ends_it_now_and_for_good(customer, story):
    sub = subscribe(customer)
    story.told()
    assert stripe.Subscription.cancel(sub.id).status == "canceled"
    assert story.told()[0] == ["customer.subscription.deleted"]
    for change in (lambda: stripe.Subscription.cancel(sub.id),
                   lambda: stripe.Subscription.modify(sub.id, cancel_at_period_end=True)):
        with pytest.raises(stripe.error.InvalidRequestError):
            change()
    assert sub.id not in [s.id for s in stripe.Subscription.list(customer=customer.id)]
    assert sub.id in [s.id for s in stripe.Subscription.list(customer=customer.id, status="all")]


def test_deleting_a_customer_ends_the_subscriptions(customer):
    sub = subscribe(customer)
    last = stripe.Event.list(limit=1).data[0].id
    stripe.Customer.delete(customer.id)
    assert [e.type for e in stripe.Event.list(ending_before=last)][::-1] == [
        "customer.subscription.deleted", "customer.deleted"]
    assert status(sub) == "canceled"
    expanded = stripe.Subscription.retrieve(sub.id, expand=["customer"])
    assert expanded.customer.deleted


def test_a_changed_price_takes_effect_at_once_and_keeps_the_period(customer, story):
    sub = subscribe(customer)
    item = sub["items"].data[0]
    story.told()
    changed = stripe.Subscription.modify(sub.id, items=[{"id": item.id, "price": "price_max"}],
                                         proration_behavior="always_invoice")
    now = changed["items"].data[0]
    assert (now.id, now.price.id) == (item.id, "price_max")
    assert now.current_period_end == item.current_period_end
    types, events = story.told()
    assert types == ["invoiceitem.created"] * 2 + NEWLY_PAID + ["customer.subscription.updated"]
    assert events[-1].data.previous_attributes["items"].data[0].price.id == "price_pro"
    assert 2900 < stripe.Invoice.retrieve(changed.latest_invoice).amount_paid <= 3000


def test_another_interval_starts_a_new_period(customer):
    sub = subscribe(customer)
    item = sub["items"].data[0]
    changed = stripe.Subscription.modify(sub.id, items=[{"id": item.id, "price": "price_daily"}])
    assert changed["items"].data[0].current_period_end - changed.billing_cycle_anchor == DAY


def test_items_are_added_and_removed(customer):
    sub = stripe.Subscription.create(customer=customer.id,
                                     items=[{"price": "price_pro"}, {"price": "price_use"}])
    assert [i.get("quantity") for i in sub["items"].data] == [1, None]
    gone = stripe.Subscription.modify(sub.id, items=[
        {"id": sub["items"].data[0].id, "deleted": True}, {"price": "price_max"}])
    assert [i.price.id for i in gone["items"].data] == ["price_use", "price_max"]


def test_paused_collection_does_not_change_the_status(fake, customer):
    sub = subscribe(customer)
    stripe.Subscription.modify(sub.id, pause_collection={"behavior": "void"})
    fake.renew(sub.id)
    now = stripe.Subscription.retrieve(sub.id, expand=["latest_invoice"])
    assert (now.status, now.pause_collection.behavior, now.latest_invoice.status) == (
        "active", "void", "void")
    assert stripe.Subscription.modify(sub.id, pause_collection="").pause_collection is None


def test_a_trial_without_a_payment_method_pauses_and_resumes(fake, customer, story):
    fake.payments(customer.id, "none")
    sub = subscribe(customer, trial_period_days=1,
                    trial_settings={"end_behavior": {"missing_payment_method": "pause"}})
    fake.advance(days=2)
    assert status(sub) == "paused"
    assert story.told()[0][-1] == "customer.subscription.paused"
    fake.payments(customer.id, "succeeds")
    resumed = stripe.Subscription._static_request("post", f"/v1/subscriptions/{sub.id}/resume")
    assert resumed.status == "active"
    assert story.told()[0][-1] == "customer.subscription.resumed"


def test_an_unknown_status_is_sent_like_any_other(fake, customer, story):
    sub = subscribe(customer)
    story.told()
    fake.control("POST", f"/subscriptions/{sub.id}/status", status="hibernating")
    types, events = story.told()
    assert types == ["customer.subscription.updated"]
    assert events[0].data.object.status == status(sub) == "hibernating"


def test_a_month_without_that_day_ends_on_its_last_day(fake, customer):
    t = time.gmtime(fake.now())
    year = t.tm_year + 1
    fake.turn_to(calendar.timegm((year, 1, 31, 12, 0, 0)))
    sub = subscribe(customer)
    ends = []
    for _ in range(3):
        ends.append(time.gmtime(stripe.Subscription.retrieve(sub.id)["items"].data[0].current_period_end))
        fake.renew(sub.id)
    last_of_february = calendar.monthrange(year, 2)[1]
    assert [(e.tm_mon, e.tm_mday) for e in ends] == [(2, last_of_february), (3, 31), (4, 30)]


def test_a_revoked_cancellation_does_not_happen(fake, customer, story):
    sub = subscribe(customer)
    ends = sub["items"].data[0].current_period_end
    stripe.Subscription.modify(sub.id, cancel_at=int(fake.now()) + DAY)
    stripe.Subscription.modify(sub.id, cancel_at="")
    stripe.Subscription.modify(sub.id, cancel_at_period_end=True)
    stripe.Subscription.modify(sub.id, cancel_at_period_end=False)
    fake.turn_to(ends + 1)
    assert status(sub) == "active"
    assert "customer.subscription.deleted" not in story.told()[0]
    stripe.Subscription.modify(sub.id, cancel_at=int(fake.now()) + DAY)
    fake.advance(days=1, seconds=1)
    assert status(sub) == "canceled"


# Items with different intervals.

def mixed(customer, **fields):
    return stripe.Subscription.create(customer=customer.id, items=[{"price": "price_year", "quantity": 1},
                                                                   {"price": "price_use"}], **fields)


@pytest.fixture
def year(fake):
    fake.price("price_year", interval="year", unit_amount=90000)


@pytest.mark.usefixtures("year")
def test_each_item_has_its_own_period_and_invoices(fake, customer):
    sub = mixed(customer)
    yearly, monthly = sub["items"].data
    assert yearly.current_period_end - sub.created > 360 * DAY > 40 * DAY > monthly.current_period_end - sub.created
    assert stripe.Invoice.retrieve(sub.latest_invoice).amount_paid == 90000
    stripe.Customer._static_request("post", "/v1/billing/meter_events", params={
        "event_name": "api_requests", "payload": {"stripe_customer_id": customer.id, "value": 7}})
    fake.turn_to(monthly.current_period_end + 3601)
    after = stripe.Subscription.retrieve(sub.id)
    assert after["items"].data[0] == yearly, "the yearly item goes on"
    assert after["items"].data[1].current_period_start == monthly.current_period_end
    invoice = stripe.Invoice.retrieve(after.latest_invoice)
    assert [(line.quantity, line.amount) for line in invoice.lines.data] == [(7, 21)]
    assert invoice.lines.data[0].period.end == monthly.current_period_end


@pytest.mark.usefixtures("year")
def test_cancellation_at_the_end_waits_for_the_longest_period(fake, customer):
    sub = mixed(customer, cancel_at_period_end=True)
    yearly, monthly = sub["items"].data
    fake.turn_to(monthly.current_period_end + 1)
    assert status(sub) == "active"
    fake.turn_to(yearly.current_period_end + 1)
    assert status(sub) == "canceled"


@pytest.mark.usefixtures("year")
def test_older_versions_and_classic_billing_have_one_interval(customer):
    for fields in ({"stripe_version": "2025-03-31.basil"}, {"billing_mode": {"type": "classic"}}):
        with pytest.raises(stripe.error.InvalidRequestError, match="must have the same `recurring.interval`"):
            mixed(customer, **fields)
    with pytest.raises(stripe.error.InvalidRequestError, match="must have the same `recurring.interval`"):
        stripe.checkout.Session.create(mode="subscription", success_url="https://a.example", line_items=[
            {"price": "price_year", "quantity": 1}, {"price": "price_use"}], stripe_version="2025-03-31.basil")


@pytest.mark.usefixtures("year")
def test_a_new_period_for_all_bills_the_usage_so_far(fake, customer):
    sub = subscribe(customer, "price_use")
    stripe.Customer._static_request("post", "/v1/billing/meter_events", params={
        "event_name": "api_requests", "payload": {"stripe_customer_id": customer.id, "value": 5}})
    fake.advance(days=1)
    changed = stripe.Subscription.modify(sub.id, billing_cycle_anchor="now")
    assert [line.quantity for line in stripe.Invoice.retrieve(changed.latest_invoice).lines.data] == [5]
