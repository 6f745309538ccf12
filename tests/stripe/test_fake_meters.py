# SPDX-License-Identifier: BSD-2-Clause
"""Usage in the fake: how it is counted, deduplicated, refused and billed."""
import json

import pytest
import stripe

from test_fake import OLD, call

MINUTE, HOUR, DAY = 60, 3600, 86400


def report(fake, customer, value, identifier=None, **more):
    params = {"event_name": "api_requests", "payload[stripe_customer_id]": customer,
              "payload[value]": value, **more}
    if identifier:
        params["identifier"] = identifier
    status, headers, body = call(fake, "POST", "/v1/billing/meter_events", params)
    said = json.loads(body)
    return status, said.get("error", said), headers


def meter(fake):
    return json.loads(call(fake, "GET", "/v1/billing/meters?status=active")[2])["data"][0]


def summaries(fake, customer, start, end, more=""):
    path = (f"/v1/billing/meters/{meter(fake)['id']}/event_summaries?customer={customer}"
            f"&start_time={start}&end_time={end}{more}")
    status, _, body = call(fake, "GET", path)
    return status, json.loads(body)


def minute(when):
    return int(when) // MINUTE * MINUTE


def test_usage_adds_up_for_its_customer_and_time(fake, customer):
    now = int(fake.now())
    for value, when in ((5, now), (7, now - 2 * HOUR), (11, now - 2 * DAY)):
        assert report(fake, customer.id, value, timestamp=when)[0] == 200
    other = stripe.Customer.create()
    report(fake, other.id, 100)
    start, end = minute(now - 3 * HOUR), minute(now) + MINUTE
    status, found = summaries(fake, customer.id, start, end)
    assert status == 200 and [row["aggregated_value"] for row in found["data"]] == [12]
    start, end = now // DAY * DAY - 3 * DAY, now // DAY * DAY + DAY
    found = summaries(fake, customer.id, start, end, "&value_grouping_window=day")[1]
    assert sum(row["aggregated_value"] for row in found["data"]) == 23
    assert all(row["end_time"] - row["start_time"] == DAY for row in found["data"])
    status, found = summaries(fake, customer.id, start + 1, end)
    assert status == 400 and found["error"]["param"] == "start_time"


def test_an_identifier_counts_once_a_day(fake, customer):
    assert report(fake, customer.id, 3, f"once-{customer.id}")[0] == 200
    status, error, headers = report(fake, customer.id, 3, f"once-{customer.id}")
    assert status == 400
    assert error["message"] == f"An event already exists with identifier once-{customer.id}."
    assert headers["Stripe-Should-Retry"] == "false"
    assert fake.usage(customer=customer.id)["sum"] == 3
    fake.advance(hours=25)
    assert report(fake, customer.id, 3, f"once-{customer.id}")[0] == 200
    assert fake.usage(customer=customer.id)["sum"] == 6


@pytest.mark.parametrize("offset, code", [
    (-35 * DAY - 60, "timestamp_too_far_in_past"), (-35 * DAY + 60, None),
    (4 * MINUTE, None), (6 * MINUTE, "timestamp_in_future"),
])
def test_times_are_limited_by_the_fakes_clock(fake, customer, offset, code):
    status, said, _ = report(fake, customer.id, 1, timestamp=int(fake.now()) + offset)
    assert (status, said.get("code")) == ((400, code) if code else (200, None))


def test_the_length_of_an_identifier_is_limited(fake, customer):
    assert report(fake, customer.id, 1, f"{customer.id}{'x' * (100 - len(customer.id))}")[0] == 200
    assert report(fake, customer.id, 1, "y" * 101)[1]["param"] == "identifier"


@pytest.mark.parametrize("params, code", [
    ({"payload[stripe_customer_id]": "cus_nobody"}, "meter_event_customer_not_found"),
    ({"payload[value]": "1.5"}, "meter_event_invalid_value"),
    ({"payload[value]": "1" * 16}, "meter_event_value_too_many_digits"),
    ({"event_name": "no_such_meter"}, "no_meter"),
])
def test_errors_are_reported_later_or_at_once(fake, endpoint, receiver, customer, params, code):
    name = f"wrong-{code}-{customer.id}"
    assert report(fake, customer.id, 1, name, **params)[0] == 200
    assert fake.settle()
    thin = receiver.events()[-1]
    assert thin["object"] == "v2.core.event" and "data" not in thin
    full = json.loads(call(fake, "GET", f"/v2/core/events/{thin['id']}")[2])
    error = full["data"]["reason"]["error_types"][0]
    assert error["code"] == code
    assert error["sample_errors"][0]["request"]["identifier"] == name
    if code == "no_meter":
        assert thin["type"] == "v1.billing.meter.no_meter_found" and "related_object" not in thin
    else:
        assert thin["type"] == "v1.billing.meter.error_report_triggered"
        assert thin["related_object"]["id"] == meter(fake)["id"]
    assert fake.usage(customer=customer.id)["sum"] == 0
    fake.settings(meter_errors="sync")
    status, said, _ = report(fake, customer.id, 1, name + "-sync", **params)
    assert (status, said["code"]) == (400, code)


def test_errors_are_collected_into_one_report(fake, endpoint, receiver):
    fake.settings(meter_error_window_s=10)
    for i in range(3):
        report(fake, "cus_nobody", 1, f"gathered-{fake.now()}-{i}")
    assert fake.settle() and not receiver.got
    fake.advance(seconds=11)
    assert fake.settle()
    full = json.loads(call(fake, "GET", f"/v2/core/events/{receiver.events()[0]['id']}")[2])
    assert full["data"]["reason"]["error_count"] == 3 and len(receiver.got) == 1


def test_a_summary_may_lag(fake, customer):
    fake.settings(meter_lag_s=60)
    now = int(fake.now())
    report(fake, customer.id, 9, timestamp=now)
    window = (customer.id, minute(now), minute(now) + MINUTE)
    assert summaries(fake, *window)[1]["data"][0]["aggregated_value"] == 0
    fake.advance(seconds=61)
    assert summaries(fake, *window)[1]["data"][0]["aggregated_value"] == 9


def test_usage_is_billed_afterwards_and_late_usage_only_while_the_invoice_is_a_draft(fake, customer):
    sub = stripe.Subscription.create(customer=customer.id, items=[{"price": "price_use"}])
    ends = sub["items"].data[0].current_period_end
    fake.turn_to(ends - DAY)
    report(fake, customer.id, 10)
    fake.turn_to(ends + 60)
    report(fake, customer.id, 5, timestamp=ends - 60)
    invoice = stripe.Subscription.retrieve(sub.id, expand=["latest_invoice"]).latest_invoice
    assert invoice.status == "draft"
    fake.advance(hours=1)
    report(fake, customer.id, 7, timestamp=ends - 60)
    paid = stripe.Invoice.retrieve(invoice.id)
    assert (paid.status, paid.amount_paid) == ("paid", 15 * 3)
    assert paid.lines.data[0].quantity == 15


def test_usage_records_exist_only_in_old_versions(fake, customer):
    price = stripe.Price.create(stripe_version=OLD, currency="usd", unit_amount=2,
                                product_data={"name": "Old"},
                                recurring={"interval": "month", "usage_type": "metered"})
    sub = stripe.Subscription.create(customer=customer.id, items=[{"price": price.id}])
    item = sub["items"].data[0].id
    for _ in range(2):
        stripe.SubscriptionItem.create_usage_record(item, quantity=4, action="increment",
                                                    timestamp=sub.created, stripe_version=OLD)
    found = stripe.SubscriptionItem.list_usage_record_summaries(item, stripe_version=OLD)
    assert found.data[0].total_usage == 8
    with pytest.raises(stripe.error.InvalidRequestError) as caught:
        stripe.SubscriptionItem.create_usage_record(item, quantity=4)
    assert caught.value.http_status == 404
    fake.renew(sub.id)
    assert stripe.Invoice.list(subscription=sub.id, limit=1).data[0].amount_paid == 16
