# SPDX-License-Identifier: BSD-2-Clause
"""Stripe accounts as they are: other products, both modes, test clocks, disputes, shared meters."""
import json
import time

import pytest
import stripe

from billing import SECRET_KEY, TIERS, WEBHOOK_PATH, Billing
from lab import wait_until


@pytest.fixture
def billing(make):
    return Billing(make)


def status(billing):
    return billing.agent.status()["stripe"]


# A meter that two subscriptions of a customer share.


@pytest.mark.parametrize("how", ["incomplete", "unpaid", "paused", "canceled", "past_due_over"])
def test_a_subscription_without_access_does_not_keep_the_meter(make, how):
    billing = Billing(make, tiers=[dict(tier, grace="1s") for tier in TIERS])
    customer = billing.customer()
    first = billing.subscribe("price_metered", customer)
    if how == "past_due_over":
        billing.fake.control("POST", f"/subscriptions/{first.id}/status", status="past_due")
        billing.wait_account(first.id, entitled=False)
    elif how == "canceled":
        billing.cancel(first)
    else:
        billing.fake.control("POST", f"/subscriptions/{first.id}/status", status=how)
    second = billing.subscribe("price_metered", customer)
    billing.wait_account(second.id, tier="metered", entitled=True)


def test_the_end_of_one_subscription_gives_the_meter_to_the_next_at_once(billing):
    customer = billing.customer()
    first = billing.subscribe("price_metered", customer)
    account = billing.key_for(first.id)
    assert billing.status(account) == 200
    second = billing.subscribe("price_metered", customer)
    billing.wait_account(second.id, tier="")
    assert "customer %s already has subscription %s" % (customer.id, first.id) in billing.agent.log()
    began = time.monotonic()
    billing.cancel(first)
    billing.wait_account(second.id, tier="metered", entitled=True)
    assert time.monotonic() - began < 15
    # What the first one used was billed before the second one counts on the same meter.
    wait_until(lambda: billing.fake.usage("api_requests", customer.id)["sum"] == 1, "the usage at Stripe")


def test_of_two_subscriptions_at_once_one_gets_the_meter(billing):
    customer = billing.customer()
    billing.fake.rule("hold")
    subs = [billing.subscribe("price_metered", customer).id for _ in range(5)]
    billing.fake.release(shuffle=True, copies=2)
    billing.quiet()
    tiers = [billing.wait_account(sub)["tier"] for sub in subs]
    assert sorted(tiers) == ["", "", "", "", "metered"]


# Test mode and live mode.


def go_live(billing, make):
    """The same store with a live key: Stripe knows none of its subscriptions."""
    assert billing.agent.stop() == 0
    stopped = int(time.time())
    wait_until(lambda: int(time.time()) > stopped, "the next second: Stripe's times have no fractions")
    live = Billing(make, start=False)
    live.agent = billing.agent
    live.fake.settings(livemode=True)
    live.agent.configure(stripe={**live.agent.config["stripe"], "secret_key": SECRET_KEY, "livemode": True,
                                 "api_base": live.fake.url})
    return live


def test_test_customers_have_no_access_in_live_mode(billing, make):
    sub = billing.subscribe()
    account = billing.key_for(sub.id)
    own = json.loads(billing.agent.admin("POST", "/api/v1/accounts", {"tier": "plain"}).body)
    assert billing.status(account) == 200
    live = go_live(billing, make)
    live.agent.start()
    assert live.status(account) == 403
    shown = live.account_of(sub.id)
    assert (shown["mode"], shown["entitled"]) == ("test", False)
    assert [a["entitled"] for a in live.accounts() if a["id"] == own["id"]] == [True]
    assert (status(live)["mode"], status(live)["accounts_other_mode"]) == ("live", 1)
    assert live.agent.metric("tollgate_stripe_unfit_accounts", why="other_mode") == 1
    # And back again.
    assert live.agent.stop() == 0
    live.agent.configure(stripe={**live.agent.config["stripe"], "livemode": False, "api_base": billing.fake.url})
    live.agent.start()
    assert live.status(account) == 200


def test_the_mode_of_an_older_account_is_learnt_from_stripe(billing, make):
    """Stores of older versions do not have it."""
    sub = billing.subscribe()
    account = billing.key_for(sub.id)
    live = go_live(billing, make)
    billing.agent.sql("UPDATE accounts SET mode = 0")
    live.fake.fault(method="GET", path=f"/v1/subscriptions/{sub.id}", status=404, code="resource_missing", count=None,
                    message=f"No such subscription: '{sub.id}'; a similar object exists in test mode, but a live mode "
                            "key was used to make this request.")
    live.agent.start()
    live.wait_account(sub.id, mode="test", entitled=False)
    assert live.status(account) == 403


def test_what_stripe_deleted_keeps_its_access_and_can_be_purged(billing, make):
    sub, other = billing.subscribe(), billing.subscribe()
    account = billing.key_for(sub.id)
    billing.wait_account(other.id)
    live = go_live(billing, make)
    live.agent.configure(stripe={**live.agent.config["stripe"], "livemode": False})
    live.fake.settings(livemode=False)
    live.agent.start()
    for gone in (sub, other):
        live.wait_account(gone.id, mode="gone")
    assert status(live)["accounts_gone"] == 2
    assert live.status(account) == 200  # it might be the key of a wrong Stripe account
    assert live.agent.cli("account", "purge", "--dry-run").stdout.split() == sorted(
        (a["id"] for a in live.accounts()), key=[a["id"] for a in live.accounts()].index)
    assert len(live.agent.json("account", "purge")) == 2
    assert not live.accounts() and live.status(account) == 401


def test_an_account_is_deleted_with_its_keys(billing):
    sub = billing.subscribe()
    account = billing.key_for(sub.id)
    refused = billing.agent.cli("account", "delete", account.id, check=False)
    assert refused.returncode == 1 and f"the subscription {sub.id} is active; cancel it" in refused.stderr
    billing.cancel(sub)
    billing.wait_account(sub.id, status="canceled")
    assert billing.agent.cli("account", "delete", account.id).stdout == account.id + "\n"
    assert billing.status(account) == 401 and not billing.accounts()
    billing.agent.restart()
    assert billing.status(account) == 401 and not billing.accounts()


def test_an_account_with_unbilled_usage_is_not_deleted(make):
    billing = Billing(make, stripe={"report_every": "1h"})
    sub = billing.subscribe("price_metered")
    account = billing.key_for(sub.id)
    assert billing.status(account) == 200
    wait_until(lambda: billing.agent.usage(account)[1] == 1, "the usage in the store")
    billing.cancel(sub)
    billing.wait_account(sub.id, status="canceled")
    refused = billing.agent.cli("account", "delete", account.id, check=False)
    assert "usage that is not billed yet" in refused.stderr
    wait_until(lambda: billing.fake.usage("api_requests", sub.customer)["sum"] == 1, "the bill")
    assert billing.agent.cli("account", "delete", account.id).returncode == 0


# Other products of the same Stripe account.


def test_subscriptions_of_other_products_take_no_slot(make):
    billing = Billing(make, max_accounts=8)
    billing.fake.price("price_foreign")
    for _ in range(70):
        billing.subscribe("price_foreign")
    sub = billing.subscribe()
    account = billing.key_for(sub.id)
    assert billing.status(account) == 200
    billing.quiet()
    report = billing.agent.json("sync")
    assert (report["subscriptions"], report["untiered"], report["repaired"], report["failed"]) == (71, 70, 0, 0)
    assert len(billing.accounts()) == 1
    assert "price_foreign" not in billing.agent.log()


def test_a_price_that_is_mapped_later_is_picked_up(billing):
    billing.fake.price("price_late")
    sub = billing.subscribe("price_late")
    billing.quiet()
    assert billing.account_of(sub.id) is None
    billing.agent.configure(tiers=[*TIERS, {"name": "late", "prices": ["price_late"]}])
    billing.agent.cli("reload")
    billing.wait_account(sub.id, tier="late", entitled=True)


def test_a_price_that_is_no_longer_mapped_ends_access(billing):
    sub = billing.subscribe()
    account = billing.key_for(sub.id)
    billing.fake.price("price_other")
    billing.change(sub, items=[{"id": sub["items"].data[0].id, "price": "price_other"}])
    billing.wait_account(sub.id, tier="", entitled=False)
    assert billing.status(account) == 403
    assert billing.agent.log().count("no tier has its price price_other") == 1


# Test clocks.


def simulated(billing, days):
    """A subscription of a test clock that is ahead by @days."""
    clock = stripe.test_helpers.TestClock.create(frozen_time=int(time.time() + 86400 * days), **billing.auth())
    customer = billing.customer(test_clock=clock.id)
    return billing.subscribe(customer=customer)


def test_changes_after_an_event_from_the_future_count(billing):
    sub = simulated(billing, 365)
    account = billing.key_for(sub.id)
    assert billing.status(account) == 200
    billing.fake.control("POST", f"/subscriptions/{sub.id}/status", status="unpaid")
    billing.wait_account(sub.id, status="unpaid")
    assert billing.status(account) == 403
    # Also one that came without an event.
    billing.fake.rule("drop")
    billing.fake.control("POST", f"/subscriptions/{sub.id}/status", status="active")
    assert billing.agent.json("sync")["repaired"] == 1
    assert billing.status(account) == 200


def test_subscriptions_of_test_clocks_are_listed(make):
    billing = Billing(make, webhook=False)
    subs = [simulated(billing, days) for days in (-10, 0, 10)] + [billing.subscribe()]
    report = billing.agent.json("sync")
    assert (report["subscriptions"], report["repaired"], report["strays"]) == (4, 4, 0)
    assert all(billing.account_of(sub.id)["entitled"] for sub in subs)


# Disputes and refunds.


def charge_of(billing, sub):
    (charge,) = stripe.Charge.list(customer=sub.customer, **billing.auth()).data
    return charge.id


@pytest.fixture
def strict(make):
    return Billing(make, stripe={"on_dispute": "suspend"})


def test_only_a_full_refund_suspends(strict):
    sub = strict.subscribe()
    account, charge = strict.key_for(sub.id), charge_of(strict, sub)
    stripe.Refund.create(charge=charge, amount=1, **strict.auth())
    strict.quiet()
    assert strict.status(account) == 200
    rest = stripe.Refund.create(charge=charge, **strict.auth())
    strict.wait_account(sub.id, disputes=charge, entitled=False)
    assert strict.status(account) == 403
    strict.fake.fail_refund(rest.id)
    strict.wait_account(sub.id, disputes="", entitled=True)


def test_a_refund_of_an_unrelated_charge_changes_nothing(strict):
    sub = strict.subscribe()
    account = strict.key_for(sub.id)
    charge = strict.fake.charge(sub.customer, amount=700)
    stripe.Refund.create(charge=charge["id"], **strict.auth())
    strict.quiet()
    assert strict.status(account) == 200


def test_only_the_account_that_the_charge_paid_for_is_suspended(strict):
    customer = strict.customer()
    first = strict.subscribe(customer=customer)
    charge = charge_of(strict, first)
    second = strict.subscribe("price_pro", customer)
    strict.key_for(second.id)
    stripe.Refund.create(charge=charge, **strict.auth())
    strict.wait_account(first.id, entitled=False)
    assert strict.account_of(second.id)["entitled"]


@pytest.mark.parametrize("state,is_suspended", [
    ("warning_needs_response", False), ("warning_under_review", False), ("warning_closed", False),
    ("needs_response", True), ("under_review", True), ("lost", True), ("won", False), ("prevented", False)])
def test_a_dispute_suspends_while_it_is_open_or_lost(strict, state, is_suspended):
    sub = strict.subscribe()
    strict.key_for(sub.id)
    dispute = strict.fake.dispute(charge_of(strict, sub), state)
    strict.quiet()
    assert strict.account_of(sub.id)["entitled"] != is_suspended
    strict.fake.move_dispute(dispute["id"], "under_review")
    strict.wait_account(sub.id, entitled=False)
    strict.fake.move_dispute(dispute["id"], "won")
    strict.wait_account(sub.id, entitled=True)


def test_the_operator_ends_what_a_lost_dispute_suspended(strict):
    sub = strict.subscribe()
    account = strict.key_for(sub.id)
    strict.fake.dispute(charge_of(strict, sub), "lost")
    strict.wait_account(sub.id, entitled=False)
    strict.agent.cli("account", "resume", account.id)
    assert strict.status(account) == 200


def test_a_won_dispute_does_not_end_the_operators_hold(strict):
    sub = strict.subscribe()
    account = strict.key_for(sub.id)
    dispute = strict.fake.dispute(charge_of(strict, sub))
    strict.wait_account(sub.id, entitled=False)
    strict.agent.cli("account", "suspend", account.id)
    strict.fake.move_dispute(dispute["id"], "won")
    strict.wait_account(sub.id, disputes="")
    assert strict.status(account) == 403


@pytest.mark.parametrize("version", ["2022-11-15", "2026-10-28.endive"])
@pytest.mark.parametrize("payload", ["snapshot", "thin"])
def test_disputes_of_all_shapes(make, version, payload):
    billing = Billing(make, webhook=False, stripe={"on_dispute": "suspend", "api_version": version})
    billing.fake.endpoint(billing.agent.url(WEBHOOK_PATH), payload=payload)
    sub = billing.subscribe()
    billing.key_for(sub.id)
    billing.fake.dispute(charge_of(billing, sub))
    billing.wait_account(sub.id, entitled=False)


def test_by_default_disputes_are_only_logged(billing):
    sub = billing.subscribe()
    account = billing.key_for(sub.id)
    billing.fake.dispute(charge_of(billing, sub))
    wait_until(lambda: "is disputed (needs_response); on_dispute: notify" in billing.agent.log(), "the log")
    assert billing.status(account) == 200


# Thin events that have no related object.


def test_entitlements_follow_thin_events_and_reconciliation(make):
    routes = [{"path": "/v1/export/", "upstream": "api", "feature": "export"}, {"path": "/", "upstream": "api"}]
    tiers = [{"name": "basic", "prices": ["price_ent", "price_more"], "entitlements": True},
             {"name": "pro", "features": ["export"]}]
    billing = Billing(make, tiers=tiers, routes=routes, webhook=False)
    billing.fake.endpoint(billing.agent.url(WEBHOOK_PATH), payload="thin")
    billing.fake.price("price_ent")
    billing.fake.price("price_more", features=["export"])
    sub = billing.subscribe("price_ent")
    account = billing.key_for(sub.id)
    assert billing.agent.get("/v1/export/x", account).status == 403
    item = sub["items"].data[0].id
    billing.change(sub, items=[{"id": item, "price": "price_more"}])
    wait_until(lambda: billing.agent.get("/v1/export/x", account).status == 200, "the feature")
    billing.fake.rule("drop")
    billing.change(sub, items=[{"id": item, "price": "price_ent"}])
    billing.agent.cli("sync")
    wait_until(lambda: billing.agent.get("/v1/export/x", account).status == 403, "its end")


# Grace.


@pytest.mark.parametrize("grace,is_entitled", [("7d", False), ("30d", True)])
def test_grace_of_a_subscription_that_is_seen_late_began_with_its_invoice(make, grace, is_entitled):
    billing = Billing(make, webhook=False, start=False, stripe={"grace": grace})
    began = time.time() - 10 * 86400
    billing.fake.reset()
    billing.fake.begin_at(began)
    billing.fake.settings(retry_days=[20, 40])
    billing.fake.price("price_daily", interval="day", unit_amount=100)
    billing.agent.configure(tiers=[{"name": "daily", "prices": ["price_daily"]}])
    sub = billing.subscribe("price_daily")
    billing.fake.payments(sub.customer, "fails")
    billing.fake.advance(days=1, hours=2)
    billing.fake.turn_to(time.time())
    billing.agent.start()
    shown = billing.wait_account(sub.id, status="past_due", entitled=is_entitled)
    since = time.mktime(time.strptime(shown["past_due_since"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    assert since < time.time() - 8 * 86400
