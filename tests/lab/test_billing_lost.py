# SPDX-License-Identifier: BSD-2-Clause
"""No usage is lost or delayed by what is wrong elsewhere: meters, tiers, clocks, refusals."""
import json
import os
import threading
import time

import pytest
import stripe

from billing import SECRET_KEY, TIERS, WEBHOOK_PATH, Billing, event, post_event, sign
from lab import wait_until
from test_metering import EVENTS, METER, metered, raw, report, use, wait_billed, wait_quiet

DAY = 86400
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


def wait_used(billing, account, units):
    wait_until(lambda: billing.agent.usage(account)[1] == units, "the usage in the store")


def put_windows(billing, account, windows):
    """Writes open usage of a unit each to the store of an agent that is stopped."""
    number = int(account.id[4:], 16)
    rows = ",".join(f"({start},{number},60,1,1,1,1)" for start in windows)
    billing.agent.sql("INSERT INTO usage(window_start_s, account, window_seconds, epoch, requests, units, is_open) "
                      f"VALUES {rows}")


# Problems of one account, meter or tier.


def test_windows_that_cannot_be_closed_delay_nobody(make):
    tiers = [*TIERS, {"name": "typo", "prices": ["price_typo"], "meter": "api_requets"}]
    billing = Billing(make, tiers=tiers, stripe={"report_every": "1h"})
    billing.fake.price("price_typo", meter="other")
    wrong, stuck = metered(billing, "price_typo")
    right, account = metered(billing)
    billing.agent.stop()
    now = int(time.time())
    recent = [now - 20 * DAY - 60 * i - now % 60 for i in range(10500)]
    old = [now - 50 * DAY - 60 * i - now % 60 for i in range(700)]
    put_windows(billing, stuck, recent + old)
    put_windows(billing, account, [now - 2 * DAY - now % 60])
    billing.agent.start()
    wait_billed(billing, right, 1)
    wait_until(lambda: report(billing)["usage_blocked_units"] == 10500, "the blocked usage")
    (problem,) = report(billing)["usage_problems"]
    assert (problem["what"], problem["windows"], problem["units"]) == ("api_requets", 10500, 10500)
    assert "no active meter 'api_requets'" in problem["why"] and problem["oldest"] == min(recent)
    assert report(billing)["usage_lost_units"] == 700
    assert billing.agent.metric("tollgate_usage_units", state="blocked") == 10500
    assert billing.agent.metric("tollgate_usage_units", state="lost") == 700
    assert "10500 units in 10500 windows cannot be billed: Stripe has no active meter" in billing.agent.log()
    assert "700 units are older than the 35 days" in billing.agent.log()
    shown = billing.agent.cli("status").stdout
    assert "10500 blocked" in shown and "10500 units in 10500 windows cannot be billed" in shown
    lost = billing.agent.json("usage", "--failed")
    assert len(lost) == 700 and {(row["state"], row["account"]) for row in lost} == {("lost", stuck.id)}
    # New usage of others is not delayed either.
    use(billing, account, 3)
    billing.cancel(right)
    wait_billed(billing, right, 4)
    # The cause is gone.
    billing.fake.price("price_late", meter="api_requets")
    wait_until(lambda: not report(billing)["usage_problems"], "no problem", timeout=80)
    # One customer gets one call at a time, so the rest takes minutes.
    wait_until(lambda: billing.fake.usage("api_requets", wrong.customer)["sum"] > 300, "their bills", timeout=60)
    assert report(billing)["usage_pending_units"] > 0 and report(billing)["usage_failed_units"] == 0


def test_usage_of_a_tier_that_is_no_longer_configured_waits(make):
    tiers = [*TIERS, {"name": "old", "prices": ["price_old"], "meter": METER}]
    billing = Billing(make, webhook=False, tiers=tiers, stripe={"report_every": "1h"})
    billing.fake.price("price_old", meter="other")
    sub = billing.subscribe("price_old")
    billing.agent.cli("sync")
    account = billing.key_for(sub.id)
    billing.agent.stop()
    put_windows(billing, account, [int(time.time()) // 60 * 60 - 7200])
    billing.fake.down()
    billing.agent.configure(tiers=TIERS)
    billing.agent.start()
    billing.fake.up()
    billing.fake.fault(method="GET", path="/v1/subscriptions.*", status=500, count=None)
    wait_until(lambda: report(billing)["usage_blocked_units"] == 1, "the blocked usage", timeout=40)
    assert "the tier 'old' is not in the configuration" in report(billing)["usage_problems"][0]["why"]
    billing.agent.configure(tiers=tiers)
    billing.agent.cli("reload")
    wait_billed(billing, sub, 1, timeout=40)


def test_one_customer_with_many_reports_delays_nobody(billing):
    one, busy = metered(billing)
    other, account = metered(billing)
    billing.agent.stop()
    now = int(time.time())
    put_windows(billing, busy, [now - 2 * DAY - 60 * i - now % 60 for i in range(3000)])
    put_windows(billing, account, [now - DAY - now % 60])
    billing.fake.fault(method="POST", path=EVENTS, delay=0.02, count=None)
    billing.agent.start()
    wait_billed(billing, other, 1)
    assert billing.fake.usage(METER, one.customer)["sum"] < 1000
    billing.fake.no_faults()


@pytest.fixture
def billing(make):
    return Billing(make, stripe={"report_every": "1h"})


def test_usage_for_a_former_meter_waits_for_it(make):
    """Although the account's new tier has no meter, and usage without a meter is not billed."""
    tiers = [*TIERS, {"name": "late", "prices": ["price_late"], "meter": "late"}]
    billing = Billing(make, tiers=tiers, stripe={"report_every": "1m"})
    billing.fake.price("price_late", meter="other")
    sub, account = metered(billing, "price_late")
    use(billing, account, 4)
    billing.change(sub, items=[{"id": sub["items"].data[0].id, "price": "price_basic"}])
    billing.wait_account(sub.id, tier="basic")
    wait_until(lambda: report(billing)["usage_blocked_units"] == 4, "the blocked usage", timeout=40)
    billing.agent.stop()
    put_windows(billing, account, [int(time.time()) // 60 * 60 - 7200 - 60 * i for i in range(3)])
    billing.agent.start()
    wait_until(lambda: report(billing)["usage_blocked_units"] == 7, "more of it", timeout=40)
    raw(billing, "POST", "/v1/billing/meters", event_name="late", display_name="Late",
        **{"default_aggregation[formula]": "sum"})
    wait_billed(billing, sub, 7, "late", timeout=60)


def test_usage_of_a_metered_tier_that_is_renamed_is_billed(make):
    tiers = [{"name": "metered", "prices": ["price_metered"], "meter": METER}]
    billing = Billing(make, tiers=tiers, stripe={"report_every": "1h"})
    sub, account = metered(billing)
    use(billing, account, 5)
    wait_used(billing, account, 5)
    billing.agent.configure(tiers=[{**tiers[0], "name": "renamed"}])
    billing.agent.reload()
    billing.wait_account(sub.id, tier="renamed", entitled=True)
    use(billing, account, 1)
    billing.cancel(sub)
    wait_billed(billing, sub, 6)


def test_usage_before_a_change_to_a_metered_tier_is_not_billed(billing):
    """It was included in the former price."""
    sub = billing.subscribe("price_basic")
    account = billing.key_for(sub.id)
    use(billing, account, 5)
    wait_used(billing, account, 5)
    billing.change(sub, items=[{"id": sub["items"].data[0].id, "price": "price_metered"}])
    billing.wait_account(sub.id, tier="metered")
    wait_until(lambda: not billing.agent.sql("SELECT 1 FROM usage WHERE is_open"), "the usage is closed")
    use(billing, account, 3)
    billing.cancel(sub)
    wait_billed(billing, sub, 3)
    assert billing.agent.usage(account)[1] == 8


def test_usage_after_a_change_does_not_wait_for_the_former_meter(make):
    """The former meter is missing, so its usage is blocked. Later windows go to the new one."""
    tiers = [*TIERS, {"name": "late", "prices": ["price_late"], "meter": "late"}]
    billing = Billing(make, tiers=tiers, stripe={"report_every": "1m"})
    billing.fake.price("price_late", meter="other")
    sub, account = metered(billing, "price_late")
    use(billing, account, 4)
    billing.change(sub, items=[{"id": sub["items"].data[0].id, "price": "price_metered"}])
    billing.wait_account(sub.id, tier="metered")
    wait_until(lambda: report(billing)["usage_blocked_units"] == 4, "the blocked usage", timeout=40)
    billing.agent.stop()
    # As if the change were two hours ago, and these windows were of the time between.
    then = int(time.time()) - 7200
    billing.agent.sql("UPDATE usage SET window_start_s = window_start_s - 7200 - 60")
    billing.agent.sql(f"UPDATE tasks SET created_ms = {then * 1000} WHERE queue = 'close'")
    put_windows(billing, account, [then // 60 * 60 + 60 * i for i in range(2, 5)])
    billing.agent.start()
    wait_billed(billing, sub, 3, METER, timeout=60)
    wait_until(lambda: report(billing)["usage_blocked_units"] == 4, "the blocked usage", timeout=40)
    raw(billing, "POST", "/v1/billing/meters", event_name="late", display_name="Late",
        **{"default_aggregation[formula]": "sum"})
    wait_billed(billing, sub, 4, "late", timeout=60)
    wait_billed(billing, sub, 3, METER)


# Meters that would bill the wrong amount.


@pytest.mark.parametrize("formula,window,why", [
    ("count", None, "has the formula 'count'"), ("last", None, "has the formula 'last'"),
    ("sum", "day", "has the event_time_window 'day'"), ("sum", "hour", "has the event_time_window 'hour'")])
def test_a_meter_that_would_bill_the_wrong_amount_is_refused(make, formula, window, why):
    tiers = [{"name": "odd", "prices": ["price_odd"], "meter": "odd"}]
    billing = Billing(make, tiers=tiers, stripe={"report_every": "1h"})
    meter = raw(billing, "POST", "/v1/billing/meters", event_name="odd", display_name="Odd",
                **{"default_aggregation[formula]": formula, **({"event_time_window": window} if window else {})})
    billing.fake.price("price_odd", meter="odd")
    sub, account = metered(billing, "price_odd")
    use(billing, account, 40)
    refused = billing.agent.cli("sync", check=False)
    assert refused.returncode == 1 and f"tier 'odd': the meter 'odd' {why}" in refused.stdout
    assert "use a meter with the formula 'sum'" in refused.stdout
    checked = billing.agent.cli("check", "--stripe", billing.agent.config_path, check=False)
    assert checked.returncode == 1 and "problem: tier odd: the meter 'odd'" in checked.stdout, checked.stdout
    billing.cancel(sub)
    wait_until(lambda: report(billing)["usage_blocked_units"] == 40, "the blocked usage", timeout=40)
    assert why in report(billing)["usage_problems"][0]["why"]
    assert billing.fake.usage("odd")["sum"] == 0
    # The remedy: another meter with the same name.
    raw(billing, "POST", f"/v1/billing/meters/{meter['id']}/deactivate")
    raw(billing, "POST", "/v1/billing/meters", event_name="odd", display_name="Even",
        **{"default_aggregation[formula]": "sum"})
    wait_billed(billing, sub, 40, "odd", timeout=40)


def test_more_meters_than_a_page_has(make):
    tiers = [{"name": "first", "prices": ["price_first"], "meter": "first"}]
    billing = Billing(make, tiers=tiers, start=False, stripe={"report_every": "1h"})
    for name in ["first", *(f"m{i}" for i in range(120))]:
        raw(billing, "POST", "/v1/billing/meters", event_name=name, display_name=name,
            **{"default_aggregation[formula]": "sum"})
    billing.fake.price("price_first", meter="first")
    billing.agent.start()
    sub, account = metered(billing, "price_first")
    use(billing, account, 2)
    billing.cancel(sub)
    wait_billed(billing, sub, 2, "first")


# What Stripe refused is sent again.


def test_refused_usage_is_sent_again_by_the_operator(billing):
    sub, account = metered(billing)
    use(billing, account, 4)
    billing.fake.fault(method="POST", path=EVENTS, status=400, message="Not like this.", count=None)
    billing.cancel(sub)
    wait_until(lambda: report(billing)["usage_failed_units"] == 4, "the refusal")
    (row,) = billing.agent.json("usage", "--failed")
    assert (row["units"], row["state"], row["meter"], row["customer"]) == (4, "refused", METER, sub.customer)
    assert "Not like this." in row["why"]
    assert billing.agent.json("usage", "retry")["retried"] == 1
    wait_until(lambda: len(billing.fake.calls("POST", EVENTS)) >= 2, "another attempt")
    wait_until(lambda: report(billing)["usage_failed_units"] == 4, "another refusal")
    billing.fake.no_faults()
    assert "sent again" in billing.agent.cli("usage", "retry", row["task"]).stdout
    (event,) = wait_billed(billing, sub, 4)
    assert event["identifier"].endswith("_0_r2")
    wait_until(lambda: report(billing)["usage_failed_units"] == 0, "no failed usage")
    assert billing.agent.json("usage", "--failed") == []
    assert billing.agent.log().count("is not billed") == 1 and "is billed after all" in billing.agent.log()
    assert billing.agent.json("usage", "--drift")["drifting"] == 0


def test_refused_usage_is_sent_again_when_its_meter_is_back(make):
    billing = Billing(make, webhook=False, stripe={"report_every": "1h"})
    billing.fake.endpoint(billing.agent.url(WEBHOOK_PATH), payload="both")
    sub, account = metered(billing)
    use(billing, account, 4)
    (meter,) = raw(billing, "GET", "/v1/billing/meters")["data"]
    billing.fake.rule("drop", type="*billing.meter.deactivated", count=None)
    raw(billing, "POST", f"/v1/billing/meters/{meter['id']}/deactivate")
    billing.cancel(sub)
    wait_until(lambda: report(billing)["usage_failed_units"] == 4, "the late refusal")
    raw(billing, "POST", f"/v1/billing/meters/{meter['id']}/reactivate")
    wait_billed(billing, sub, 4)
    billing.fake.again(type="v1.billing.meter.*", copies=2)  # the old error, once more
    billing.quiet()
    wait_quiet(billing)
    assert report(billing)["usage_failed_units"] == 0 and billing.fake.usage(METER, sub.customer)["sum"] == 4


def test_usage_in_doubt_is_not_sent_again_by_itself(billing):
    sub, account = metered(billing)
    use(billing, account, 4)
    billing.fake.fault(method="POST", path=EVENTS, status=400, message="No.", count=1)
    billing.cancel(sub)
    wait_until(lambda: report(billing)["usage_failed_units"] == 4, "the refusal")
    billing.agent.stop()
    never = 2**63 - 1
    billing.agent.sql("UPDATE tasks SET note = replace(note, 'refused', 'in doubt'), due_ms = "
                      f"{never} WHERE queue = 'meter'")
    billing.agent.start()
    (row,) = billing.agent.json("usage", "--failed")
    assert row["state"] == "in doubt"
    calls = len(billing.fake.calls("POST", EVENTS))
    billing.agent.cli("usage", "retry")
    billing.fake.price("price_news", meter="news")
    use_other, other = metered(billing)
    use(billing, other, 1)
    billing.cancel(use_other)
    wait_billed(billing, use_other, 1)
    assert len(billing.fake.calls("POST", EVENTS)) == calls + 1
    billing.agent.cli("usage", "retry", row["task"])
    wait_billed(billing, sub, 4)


def test_what_cannot_be_sent_again_is_said(billing):
    for task, why in (("tg_1", "there is no such failed task"), ("x" * 300, "too long")):
        refused = billing.agent.cli("usage", "retry", task, check=False)
        assert refused.returncode == 1 and why in refused.stderr, refused.stderr


# Periods of different lengths.


def test_a_window_ends_with_the_period_of_the_metered_item(make):
    tiers = [{"name": "yearly", "prices": ["price_year"], "meter": METER}]
    billing = Billing(make, tiers=tiers, stripe={"report_every": "1h"})
    billing.fake.price("price_year", interval="year", unit_amount=100000)
    end = int(time.time()) + 8
    sub = stripe.Subscription.create(customer=billing.customer().id, items=[{"price": "price_year"}], **billing.auth())
    account = billing.key_for(sub.id)
    # The period of the metered item beside it, as flexible billing has it.
    billing.fake.control("POST", f"/subscriptions/{sub.id}/items", price="price_metered", start=end - 30 * DAY, end=end)
    shown = billing.wait_account(sub.id, usage_end=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end)))
    assert shown["period_end"] > shown["usage_end"]
    use(billing, account, 4)
    assert time.time() < end, "too slow"
    wait_until(lambda: time.time() > end, "the period's end")
    use(billing, account, 3)
    (event,) = wait_billed(billing, sub, 4)
    assert event["timestamp"] < end
    billing.cancel(sub)
    later = [e for e in wait_billed(billing, sub, 7) if e["value"] == 3]
    assert later[0]["timestamp"] >= end


# Clocks.


class Clock:
    """The system's clock as the agent sees it, by libfaketime. Its monotonic clock is the real one."""

    def __init__(self, billing, tmp_path):
        self.path = tmp_path / "faketime"
        self.set(0)
        billing.agent.prefix = ["env", f"LD_PRELOAD={FAKETIME}", f"FAKETIME_TIMESTAMP_FILE={self.path}",
                                "FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1",
                                f"ASAN_OPTIONS={os.environ.get('ASAN_OPTIONS', '')}:verify_asan_link_order=0"]

    def set(self, ahead_s):
        new = str(self.path) + ".new"
        with open(new, "w", encoding="ascii") as file:
            file.write(f"{ahead_s:+d}\n")
        os.rename(new, self.path)


class Load:
    """Requests one after the other, in a thread of their own; all of them are answered with 200."""

    def __init__(self, billing, account):
        self.billing, self.account, self.count, self.wrong = billing, account, 0, []
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.is_over.is_set() and self.count < 50000:
            status = self.billing.agent.get("/", self.account).status
            if status == 200:
                self.count += 1
            else:
                self.wrong.append(status)

    def goes_on(self):
        """Waits for some more answers."""
        before = self.count
        wait_until(lambda: self.count > before + 50 or self.wrong, "more answers")
        assert not self.wrong

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()
        assert not self.wrong


def windows(billing, account):
    rows = json.loads(billing.agent.admin("GET", f"/api/v1/usage?account={account.id}").body)
    return [time.mktime(time.strptime(r["window"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone for r in rows]


def test_usage_and_webhooks_follow_a_clock_that_is_set(make, tmp_path):
    """Two hours ahead for a moment, back, two hours behind, and back, under load."""
    tiers = [dict(TIERS[2], quota="100000/day"), *TIERS[:2], TIERS[3]]
    billing = Billing(make, start=False, tiers=tiers, stripe={"report_every": "1m"})
    clock = Clock(billing, tmp_path)
    billing.agent.start()
    sub, account = metered(billing)
    with Load(billing, account) as load:
        for number, ahead in enumerate((0, 7200, 0, -7200, 0, 90000, 0)):
            clock.set(ahead)
            load.goes_on()
            body = event("ping", {"id": "x"}, f"evt_{number}")
            assert post_event(billing, body, sign(body, when=int(time.time()) + ahead))[0] == 200
        began = time.time()
        wait_until(lambda: any(start > began + 3600 for start in windows(billing, account)),
                   "a window of the time when the clock was ahead")
        load.goes_on()
        wait_until(lambda: any(began - 120 < start <= time.time() for start in windows(billing, account)),
                   "a window of the present")
    used = load.count
    wait_used(billing, account, used)
    # A restart changes nothing.
    billing.agent.restart()
    use(billing, account, 5)
    wait_used(billing, account, used + 5)
    body = event("ping", {"id": "x"}, "evt_last")
    assert post_event(billing, body, sign(body))[0] == 200
    billing.cancel(sub)
    events = wait_billed(billing, sub, used + 5, timeout=30)
    assert all(e["timestamp"] <= time.time() + 300 for e in events)
    wait_quiet(billing)
    assert billing.agent.json("usage", "--drift")["drifting"] == 0
