# SPDX-License-Identifier: BSD-2-Clause
"""Which of Stripe's undelivered events a reconciliation fetches."""
import pytest

from billing import Billing

DAY = 86400
HOUR = 3600
FOREIGN = ("payment_intent.succeeded", "invoice_payment.paid", "customer.subscription_item.created", "payout.paid")
MOST_TYPES = 20


@pytest.fixture
def billing(make):
    return Billing(make)


def event_calls(billing, since=0):
    """(types, created[gte]) of each call that lists events, after the first @since calls."""
    calls = [call["params"] for call in billing.fake.calls("GET", "^/v1/events$")][since:]
    return [([value for name, value in params.items() if name.startswith("types")], int(params["created[gte]"]))
            for params in calls]


def sync(billing):
    """The report of a run, and the calls in which it listed events."""
    before = len(event_calls(billing))
    report = billing.agent.json("sync")
    return report, event_calls(billing, before)


def failed_events(billing, types):
    return {d["event"] for d in billing.fake.deliveries(state="failed") if d["type"] in types}


def test_foreign_events_are_not_fetched_and_missed_ones_are_counted(billing):
    billing.wait_account(billing.subscribe().id)
    billing.quiet()
    sync(billing)
    billing.fake.rule("fail")
    for number in range(150):
        billing.fake.emit(FOREIGN[number % len(FOREIGN)], {"id": f"obj_{number}", "object": "foreign"})
    lost = billing.subscribe("price_pro")
    billing.fake.settle()
    report, calls = sync(billing)
    types = [name for call in calls for name in call[0]]
    assert len(types) == len(set(types)) and "customer.subscription.created" in types
    assert not set(types) & set(FOREIGN) and not any("*" in name for name in types)
    assert all(0 < len(call[0]) <= MOST_TYPES for call in calls)
    # One page for each group of types: 150 foreign events would have made a second one.
    assert len(calls) == -(-len(types) // MOST_TYPES)
    missed = failed_events(billing, types)
    assert len(missed) >= 2 and report["missed_events"] == len(missed)
    billing.wait_account(lost.id, status="active", tier="pro")
    assert sync(billing)[0]["missed_events"] == 0


def test_events_for_another_endpoint_were_not_missed(billing):
    billing.fake.endpoint("http://127.0.0.1:9/elsewhere", types=["customer.subscription.*"])
    sub = billing.subscribe()
    billing.wait_account(sub.id)
    billing.quiet()
    assert sync(billing)[0]["missed_events"] == 0


def test_events_are_listed_since_the_last_complete_run(billing):
    billing.quiet()
    sync(billing)
    first = billing.fake.now()
    billing.fake.advance(days=2)
    assert billing.fake.settle()
    report, calls = sync(billing)
    assert {since for _, since in calls} <= set(range(int(first) - HOUR - 5, int(first) - HOUR + 5))
    second = billing.fake.now()
    billing.fake.advance(hours=12)
    # A run that fails does not move the time.
    billing.fake.fault(method="GET", path="^/v1/events$", status=400)
    assert billing.agent.cli("sync", check=False).returncode == 1
    billing.fake.no_faults()
    billing.fake.advance(hours=12)
    billing.fake.rule("fail")
    billing.fake.emit("price.updated", "price_basic")
    report, calls = sync(billing)
    assert report["missed_events"] == 1
    assert {since for _, since in calls} <= set(range(int(second) - HOUR - 60, int(second) - HOUR + 5))


def test_a_start_and_a_run_after_a_long_time_list_all_that_stripe_keeps(billing):
    now = billing.fake.now()
    billing.quiet()
    since = {when for _, when in event_calls(billing)}
    assert since and all(abs(when - (now - 30 * DAY)) < 60 for when in since)
    billing.fake.advance(days=70)
    assert billing.fake.settle()
    now = billing.fake.now()
    calls = sync(billing)[1]
    assert all(abs(when - (now - 30 * DAY)) < 60 for _, when in calls)
