# SPDX-License-Identifier: BSD-2-Clause
"""Usage is billed exactly once: windows, closings, and delivery to Stripe."""
import http.client
import json
import time
from urllib.parse import urlencode

import pytest
import stripe

from billing import SECRET_KEY, TIERS, Billing
from lab import wait_until

METER = "api_requests"
ROUTES = [{"path": "/dear", "upstream": "api", "cost": 5}, {"path": "/", "upstream": "api"}]
EVENTS = "/v1/billing/meter_events"


@pytest.fixture
def billing(make):
    return Billing(make, routes=ROUTES, stripe={"report_every": "1h"})


def metered(billing, price="price_metered", **fields):
    sub = billing.subscribe(price, **fields)
    return sub, billing.key_for(sub.id)


def use(billing, account, count, path="/"):
    for _ in range(count):
        assert billing.agent.get(path, account).status == 200


def billed(billing, sub, meter=METER):
    """The usage that the fake's meter has for the subscription's customer."""
    return billing.fake.usage(meter, sub.customer)


def wait_billed(billing, sub, units, meter=METER, timeout=20):
    def is_billed():
        have = billed(billing, sub, meter)["sum"]
        assert have <= units, f"{have} units are billed, only {units} were used"
        return have == units
    wait_until(is_billed, f"{units} units are billed", timeout)
    return billed(billing, sub, meter)["events"]


def report(billing):
    return billing.agent.status()["stripe"]


def wait_quiet(billing):
    """Waits until no usage is pending. Usage billed twice would be visible by then."""
    wait_until(lambda: report(billing)["usage_pending"] == 0, "no usage waits")


def raw(billing, method, path, **fields):
    """Makes a call that Stripe's old library does not support."""
    connection = http.client.HTTPConnection(billing.fake.host, billing.fake.port, timeout=10)
    connection.request(method, path, urlencode(fields), {
        "Authorization": f"Bearer {SECRET_KEY}", "Content-Type": "application/x-www-form-urlencoded"})
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    assert answer.status == 200, said
    return said


def test_what_was_used_is_billed_once_when_the_subscription_ends(billing):
    sub, account = metered(billing)
    use(billing, account, 3)
    use(billing, account, 2, "/dear")
    began = int(time.time())
    billing.cancel(sub)
    (event,) = wait_billed(billing, sub, 13)
    window = began - began % 3600
    assert event["identifier"].startswith(f"tg_{account.id[4:]}_") and event["identifier"].endswith("_0")
    assert window - 3600 <= event["timestamp"] <= time.time()
    (call,) = billing.fake.calls("POST", EVENTS)
    assert call["headers"]["idempotency-key"] == event["identifier"]
    wait_quiet(billing)
    assert report(billing)["usage_delivered_units"] == 13
    assert billing.agent.metric("tollgate_usage_delivered_units_total") == 13
    assert billing.agent.metric("tollgate_usage_units", state="pending") == 0
    assert "units: 13 delivered, 0 wait, 0 blocked, 0 failed, 0 lost" in billing.agent.cli("status").stdout


def test_a_window_ends_with_the_billing_period(billing):
    end = int(time.time()) + 6
    sub, account = metered(billing, trial_end=end)
    shown = billing.account_of(sub.id)
    use(billing, account, 4)
    assert time.time() < end, f"too slow: {shown}"
    wait_until(lambda: time.time() > end, "the period's end")
    use(billing, account, 3)
    (event,) = wait_billed(billing, sub, 4)
    assert event["timestamp"] < end
    billing.cancel(sub)
    later = [e for e in wait_billed(billing, sub, 7) if e["value"] == 3]
    assert later[0]["timestamp"] >= end


def test_late_usage_is_another_closing(billing):
    sub, account = metered(billing)
    use(billing, account, 2)
    other = dict(TIERS[1], name="other", prices=["price_other"])
    billing.fake.price("price_other")
    billing.agent.configure(tiers=[*TIERS, other])
    billing.agent.cli("reload")
    item = sub["items"].data[0].id
    billing.change(sub, items=[{"id": item, "price": "price_other"}])
    wait_billed(billing, sub, 2)
    billing.change(sub, items=[{"id": item, "price": "price_metered"}])
    billing.wait_account(sub.id, tier="metered")
    use(billing, account, 3)
    billing.cancel(sub)
    events = wait_billed(billing, sub, 5)
    assert [e["identifier"][-2:] for e in events] == ["_0", "_1"]
    wait_quiet(billing)


TROUBLE = [{"status": 500}, {"status": 500, "when": "after"}, {"reset": True}, {"reset": True, "when": "after"},
           {"status": 429}, {"status": 409}, {"cut": 20, "when": "after"}]


def test_faults_neither_lose_nor_double_usage(billing):
    subs = []
    for _ in TROUBLE:
        sub, account = metered(billing)
        use(billing, account, 5)
        subs.append(sub)
    for fault in TROUBLE:
        billing.fake.fault(method="POST", path=EVENTS, count=2, **fault)
    for sub in subs:
        billing.cancel(sub)
    for sub in subs:
        wait_billed(billing, sub, 5)
    wait_quiet(billing)
    assert billing.fake.usage(METER)["sum"] == 5 * len(subs)
    assert {call["fault"] is not None for call in billing.fake.calls("POST", EVENTS)} == {True, False}


def test_an_event_that_stripe_already_has_counts_as_delivered(billing):
    sub, account = metered(billing)
    use(billing, account, 5)
    wait_until(lambda: billing.agent.usage(account)[1] == 5, "the usage in the store")
    (row,) = json.loads(billing.agent.admin("GET", f"/api/v1/usage?account={account.id}").body)
    start = int(time.mktime(time.strptime(row["window"], "%Y-%m-%dT%H:%M:%SZ"))) - time.timezone
    raw(billing, "POST", EVENTS, **{
        "event_name": METER, "identifier": f"tg_{account.id[4:]}_{start}_{row['seconds']}_0", "timestamp": int(time.time()),
        "payload[stripe_customer_id]": sub.customer, "payload[value]": 5})
    billing.cancel(sub)
    wait_until(lambda: report(billing)["usage_delivered"] == 1, "its delivery")
    assert billed(billing, sub)["sum"] == 5 and report(billing)["usage_failed"] == 0


def test_usage_is_delivered_after_stripe_was_down(billing):
    sub, account = metered(billing)
    use(billing, account, 5)
    billing.fake.settle()
    billing.cancel(sub)
    billing.wait_account(sub.id, status="canceled")
    billing.fake.down()
    wait_until(lambda: report(billing)["usage_pending"] == 1, "a closed window")
    wait_until(lambda: report(billing)["usage_setbacks"] or billing.fake.calls("POST", EVENTS), "a try")
    assert billed(billing, sub)["sum"] == 0
    billing.fake.up()
    wait_billed(billing, sub, 5)


@pytest.mark.parametrize("fault", [{"status": 500, "count": None}, {"delay": 3, "count": 1},
                                   {"delay": 3, "when": "after", "reset": True, "count": 1}], ids=str)
def test_a_crash_between_journal_and_delivery(billing, fault):
    sub, account = metered(billing)
    use(billing, account, 5)
    billing.fake.fault(method="POST", path=EVENTS, **fault)
    billing.cancel(sub)
    wait_until(lambda: billing.fake.calls("POST", EVENTS), "a try")
    billing.agent.kill()
    billing.fake.no_faults()
    billing.agent.start()
    wait_billed(billing, sub, 5)
    wait_quiet(billing)
    assert billed(billing, sub)["sum"] == 5


def test_a_crash_before_an_early_closing(make):
    tiers = [*TIERS, {"name": "other", "prices": ["price_other"]}]
    billing = Billing(make, tiers=tiers, stripe={"report_every": "1h"})
    billing.fake.price("price_other")
    sub, account = metered(billing)
    use(billing, account, 5)
    billing.change(sub, items=[{"id": sub["items"].data[0].id, "price": "price_other"}])
    billing.wait_account(sub.id, tier="other")
    wait_until(lambda: billing.agent.status()["stripe"]["events_pending"] == 0, "the event processed")
    billing.agent.kill()
    billing.agent.start()
    wait_billed(billing, sub, 5)  # although its tier has no meter any more


def test_a_change_of_tier_closes_usage_for_the_old_meter(make):
    tiers = [*TIERS, {"name": "large", "prices": ["price_large"], "meter": "large_requests"}]
    billing = Billing(make, tiers=tiers, stripe={"report_every": "1h"})
    billing.fake.price("price_large", meter="large_requests")
    sub, account = metered(billing)
    use(billing, account, 4)
    billing.change(sub, items=[{"id": sub["items"].data[0].id, "price": "price_large"}])
    wait_billed(billing, sub, 4)
    use(billing, account, 3)
    billing.cancel(sub)
    wait_billed(billing, sub, 3, "large_requests")
    assert billed(billing, sub)["sum"] == 4


def test_usage_of_an_unknown_meter_waits_and_is_logged(make):
    tiers = [{"name": "metered", "prices": ["price_late"], "meter": "late"}]
    billing = Billing(make, tiers=tiers, stripe={"report_every": "1h"})
    billing.fake.price("price_late")
    sub, account = metered(billing, "price_late")
    use(billing, account, 4)
    billing.cancel(sub)
    wait_until(lambda: "no active meter 'late'" in billing.agent.log(), "a line in the log")
    billing.fake.price("price_other", meter="late")
    wait_billed(billing, sub, 4, "late")


def test_usage_that_stripe_refuses_is_kept_and_reported(billing):
    sub, account = metered(billing)
    use(billing, account, 4)
    billing.fake.fault(method="POST", path=EVENTS, status=400, message="Not like this.", count=None)
    billing.cancel(sub)
    wait_until(lambda: report(billing)["usage_failed"] == 1, "the refusal")
    assert report(billing)["usage_pending"] == 0
    assert "4 units) is not billed" in billing.agent.log() and "Not like this." in billing.agent.log()
    assert billing.agent.stop() == 0
    billing.fake.no_faults()
    billing.agent.start()
    wait_until(lambda: report(billing)["usage_failed"] == 1, "that it is still known")


def test_a_late_error_of_stripe_is_reported(make):
    billing = Billing(make, webhook=False, routes=ROUTES, stripe={"report_every": "1h"})
    billing.fake.endpoint(billing.agent.url("/webhooks/stripe"), payload="both")
    sub, account = metered(billing)
    use(billing, account, 4)
    meters = raw(billing, "GET", "/v1/billing/meters")["data"]
    billing.fake.rule("drop", type="*billing.meter.deactivated", count=None)
    raw(billing, "POST", f"/v1/billing/meters/{meters[0]['id']}/deactivate")
    billing.cancel(sub)
    wait_until(lambda: "but refused it later" in billing.agent.log(), "the error")
    wait_until(lambda: report(billing)["usage_failed"] == 1, "the error in the status")


@pytest.mark.parametrize("counted,statuses", [("all", [200, 404, 500]), ("below_500", [200, 404]), ("below_400", [200])])
def test_counted_decides_which_answers_count(make, counted, statuses):
    billing = Billing(make, counted=counted)
    for status in (200, 404, 500):
        billing.upstream.on(f"/{status}", lambda call, status=status: call.answer(status=f"{status} Word"))
    sub, account = metered(billing)
    for status in (200, 404, 500):
        assert billing.agent.get(f"/{status}", account).status == status
    billing.cancel(sub)
    wait_billed(billing, sub, len(statuses))


def test_usage_records_of_an_older_api(make):
    tiers = [{"name": "basic", "prices": ["price_basic"]},
             {"name": "metered", "prices": ["by_records"], "meter": "records"}]
    billing = Billing(make, tiers=tiers, stripe={"report_every": "1h", "report": "usage_records",
                                                "api_version": "2022-11-15"})
    product = stripe.Product.create(name="Metered", **billing.auth())
    price = stripe.Price.create(product=product.id, currency="usd", unit_amount=1, lookup_key="by_records",
                                recurring={"interval": "month", "usage_type": "metered"}, **billing.auth(),
                                stripe_version="2022-11-15")
    sub, account = metered(billing, price.id)
    use(billing, account, 4)
    billing.change(sub, items=[{"price": "price_basic"}])  # another tier, in addition to the first item
    wait_until(lambda: billing.fake.control("GET", "/usage_records")["records"], "a usage record")
    (record,) = billing.fake.control("GET", "/usage_records")["records"]
    assert record["quantity"] == 4


# Drift.

def test_drift_is_usage_at_stripe_that_was_not_reported(billing):
    subs = []
    for units in (5, 6, 7):
        sub, account = metered(billing)
        use(billing, account, units)
        subs.append((sub, account))
    counting = billing.agent.json("usage", "--drift")
    assert counting["drifting"] == counting["errors"] == 0 and len(counting["accounts"]) == 3
    billing.fake.fault(method="POST", path=EVENTS, status=400, message="Not like this.", skip=2)
    for sub, _ in subs:
        billing.cancel(sub)
    wait_until(lambda: report(billing)["usage_closed"] == 3, "the closings")
    wait_quiet(billing)
    assert report(billing)["usage_failed"] == 1
    billed_units = billing.fake.usage(METER)["sum"]
    lines = billing.agent.cli("usage", "--drift", check=False)
    assert lines.returncode == 1 and "3 accounts: 1 differ" in lines.stdout
    drift = json.loads(billing.agent.cli("usage", "--drift", "--json", check=False).stdout)
    assert sum(line["drift"] for line in drift["accounts"]) == billed_units - 18
    assert sum(line["failed"] for line in drift["accounts"]) == 18 - billed_units
    for line in drift["accounts"]:
        assert line["counted"] == line["delivered"] + line["failed"] and line["open"] == 0
    # An event that tollgate did not send.
    sub, account = [(s, a) for s, a in subs if billed(billing, s)["sum"]][0]
    raw(billing, "POST", EVENTS, **{"event_name": METER, "identifier": "foreign", "timestamp": int(time.time()),
                                    "payload[stripe_customer_id]": sub.customer, "payload[value]": 9})
    drift = json.loads(billing.agent.cli("usage", "--drift", "--json", check=False).stdout)
    assert [line["drift"] for line in drift["accounts"] if line["account"] == account.id] == [9]
    assert drift["drifting"] == 2


def test_drift_needs_stripe(billing):
    metered(billing)
    billing.fake.fault(method="GET", path="/v1/billing/meters/.*/event_summaries", status=400, count=None)
    drift = billing.agent.cli("usage", "--drift", check=False)
    assert drift.returncode == 1 and "1 could not be compared" in drift.stdout
