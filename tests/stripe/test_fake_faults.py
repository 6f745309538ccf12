# SPDX-License-Identifier: BSD-2-Clause
"""Injected faults, limits, and the log of calls."""
import threading
import time

import pytest
import stripe

from test_fake import call


@pytest.fixture
def patient(fake):
    """Makes the library retry, without waiting."""
    stripe.max_network_retries = 3
    pause = stripe.http_client.HTTPClient._sleep_time_seconds
    stripe.http_client.HTTPClient._sleep_time_seconds = lambda *_: 0.01
    yield fake
    stripe.http_client.HTTPClient._sleep_time_seconds = pause


@pytest.mark.parametrize("status, error", [
    (409, stripe.error.APIError), (429, stripe.error.RateLimitError), (500, stripe.error.APIError),
    (402, stripe.error.CardError), (403, stripe.error.PermissionError),
])
def test_the_next_calls_fail_as_asked(fake, status, error):
    fake.fault(status=status, count=1, method="GET", path="^/v1/customers$")
    stripe.Price.list()
    with pytest.raises(error) as caught:
        stripe.Customer.list()
    assert caught.value.http_status == status and caught.value.request_id
    stripe.Customer.list()


@pytest.mark.parametrize("fault", [
    {"status": 409}, {"status": 500}, {"status": 503, "body": "<html>busy"}, {"reset": True},
    {"status": 429, "headers": {"Stripe-Should-Retry": "true", "Retry-After": "0"}},
    {"reset": True, "when": "after"}, {"status": 500, "when": "after"},
])
def test_a_retry_with_the_same_key_takes_effect_once(patient, fault):
    patient.fault(count=2, path="^/v1/customers$", **fault)
    since = patient.control("GET", "")["calls"]
    email = f"{time.time()}@example.com"
    made = stripe.Customer.create(email=email)
    assert [c.id for c in stripe.Customer.list(email=email)] == [made.id]
    tries = patient.calls(method="POST", since=since)
    assert len(tries) == 3 and len({c["headers"]["idempotency-key"] for c in tries}) == 1


def test_should_retry_false_is_not_retried(patient):
    patient.fault(count=1, status=500, headers={"Stripe-Should-Retry": "false"})
    with pytest.raises(stripe.error.APIError):
        stripe.Customer.list()


def test_a_kept_500_is_repeated_under_its_key(fake):
    fake.fault(count=1, status=500, saved=True)
    key = {"idempotency_key": f"kept-{fake.now()}"}
    for _ in range(2):
        with pytest.raises(stripe.error.APIError):
            stripe.Customer.create(email="kept@example.com", **key)
    assert fake.calls()[-1]["replayed"]
    assert stripe.Customer.create(email="kept@example.com", idempotency_key="fresh").id


def test_an_answer_may_be_late_or_cut(fake):
    fake.fault(count=1, delay=0.2)
    start = time.monotonic()
    stripe.Customer.list()
    assert time.monotonic() - start >= 0.2
    fake.fault(count=1, cut=10)
    with pytest.raises((stripe.error.APIError, stripe.error.APIConnectionError)):
        stripe.Customer.list()


def test_down_mode_affects_everything_but_control(fake):
    for how, error in (("reset", stripe.error.APIConnectionError), ("503", stripe.error.APIError)):
        fake.down(how)
        with pytest.raises(error):
            stripe.Customer.list()
        fake.up()
        stripe.Customer.list()


def test_a_hanging_call_ends_when_the_fake_is_up_again(fake):
    fake.down("hang")
    ended = []

    def ask():
        try:
            stripe.Customer.list()
        except stripe.error.StripeError as e:
            ended.append(e)
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    fake.up()
    thread.join(5)
    assert len(ended) == 1


def test_too_many_calls_per_second_are_429(fake):
    fake.settings(calls_per_second=5)
    statuses = [call(fake, "GET", "/v1/prices")[0] for _ in range(12)]
    assert 429 in statuses and statuses.count(200) >= 5
    fake.settings(calls_per_second=0)
    stripe.Price.list()


def test_one_call_at_a_time_for_a_customer_and_meter(fake, customer):
    fake.fault(count=1, delay=0.3, path="meter_events")
    statuses = []

    def report():
        statuses.append(call(fake, "POST", "/v1/billing/meter_events", {
            "event_name": "api_requests", "payload[stripe_customer_id]": customer.id,
            "payload[value]": 1})[0])
    thread = threading.Thread(target=report)
    thread.start()
    while not fake.calls(path="meter_events") or fake.calls(path="meter_events")[-1]["status"]:
        time.sleep(0.01)
    report()
    thread.join()
    assert statuses == [429, 200]


def test_a_key_whose_call_is_in_progress_is_409(fake):
    fake.fault(count=1, delay=0.3, path="customers")
    key = {"idempotency_key": f"running-{fake.now()}"}
    since = fake.control("GET", "")["calls"]
    thread = threading.Thread(target=lambda: stripe.Customer.create(**key))
    thread.start()
    while not fake.calls(since=since):
        time.sleep(0.01)
    time.sleep(0.05)
    with pytest.raises(stripe.error.StripeError) as caught:
        stripe.Customer.create(**key)
    thread.join()
    assert (caught.value.http_status, caught.value.error.code) == (409, "idempotency_key_in_use")


def test_the_log_has_the_calls_and_no_secret(fake):
    since = fake.control("GET", "")["calls"]
    stripe.Customer.create(email="log@example.com", metadata={"a": "b"}, idempotency_key="log-1")
    said = fake.calls(since=since)
    assert len(said) == 1 and said[0]["params"] == {"email": "log@example.com", "metadata[a]": "b"}
    assert said[0]["headers"]["stripe-version"] == stripe.api_version
    assert said[0]["headers"]["idempotency-key"] == "log-1" and said[0]["status"] == 200
    assert fake.secret_key not in str(said)


def test_the_date_is_that_of_the_advanced_clock(fake):
    from email.utils import parsedate_to_datetime
    fake.advance(days=3)
    date = parsedate_to_datetime(call(fake, "GET", "/v1/prices")[1]["Date"]).timestamp()
    assert abs(date - fake.now()) < 3 and date > time.time() + 2.9 * 86400


def test_many_subscriptions_are_created_and_listed(fake):
    made = {row["subscription"] for row in fake.seed(250, "price_pro")}
    found = stripe.Subscription.list(status="all", limit=100, expand=["data.latest_invoice"])
    assert made <= {sub.id for sub in found.auto_paging_iter()}


def test_hundreds_of_calls_per_second(fake):
    start = time.monotonic()
    for _ in range(100):
        call(fake, "GET", "/v1/prices/price_pro")
    assert time.monotonic() - start < 2, "with a new connection each"
