# SPDX-License-Identifier: BSD-2-Clause
"""Changes of subscriptions reach the verdicts."""
import concurrent.futures
import http.client
import json
import time

import pytest
import stripe

from billing import SECRET_KEY, WEBHOOK_PATH, WEBHOOK_SECRET, Billing, event, post_event, sign
from lab import wait_until

SECOND = 1.0


def takes_effect(billing, account, status):
    """Checks that a change that was just made takes effect within a second."""
    begin = time.monotonic()
    wait_until(lambda: billing.status(account) == status, f"status {status}")
    assert time.monotonic() - begin < SECOND


@pytest.fixture
def billing(make):
    return Billing(make)


def test_access_follows_the_life_of_a_subscription(billing):
    sub = billing.subscribe()
    shown = billing.wait_account(sub.id, status="active", tier="basic")
    assert shown["customer"] == sub.customer
    account = billing.key_for(sub.id)
    assert billing.status(account) == 200
    # A payment fails: the grace period begins. The default is a week.
    billing.fake.payments(sub.customer, "fails")
    billing.fake.renew(sub.id)
    billing.wait_account(sub.id, status="past_due")
    assert billing.status(account) == 200
    # The payment succeeds.
    billing.fake.payments(sub.customer, None)
    billing.fake.advance(days=7)
    billing.wait_account(sub.id, status="active")
    assert billing.status(account) == 200
    # The subscription is canceled.
    billing.cancel(sub)
    takes_effect(billing, account, 403)
    assert billing.account_of(sub.id)["status"] == "canceled"


def test_grace_begins_with_the_first_failure_and_survives_restarts(make):
    tiers = [{"name": "basic", "prices": ["price_basic"], "grace": "3s"}]
    billing = Billing(make, tiers=tiers)
    sub = billing.subscribe()
    account = billing.key_for(sub.id)
    billing.fake.payments(sub.customer, "fails")
    billing.fake.renew(sub.id)
    began = time.monotonic()
    billing.wait_account(sub.id, status="past_due")
    assert billing.status(account) == 200
    assert billing.agent.stop() == 0
    billing.agent.start()
    billing.fake.advance(days=3)  # the second attempt fails too
    wait_until(lambda: billing.status(account) == 403, "the grace's end", timeout=10)
    assert time.monotonic() - began < 6  # neither the restart nor the second failure restarted it
    billing.fake.payments(sub.customer, None)
    billing.fake.advance(days=7)
    wait_until(lambda: billing.status(account) == 200, "access after the payment")


@pytest.mark.parametrize("status,answer", [
    ("trialing", 200), ("active", 200), ("past_due", 200), ("unpaid", 403), ("incomplete", 403),
    ("incomplete_expired", 403), ("paused", 403), ("canceled", 403)])
def test_the_status_decides_about_access(billing, status, answer):
    sub = billing.subscribe()
    account = billing.key_for(sub.id)
    billing.fake.control("POST", f"/subscriptions/{sub.id}/status", status=status)
    billing.wait_account(sub.id, status=status)
    assert billing.status(account) == answer


def test_an_unknown_status_changes_nothing(billing):
    sub = billing.subscribe()
    account = billing.key_for(sub.id)
    billing.fake.control("POST", f"/subscriptions/{sub.id}/status", status="sleeping")
    wait_until(lambda: "unknown status 'sleeping'" in billing.agent.log(), "a line in the log")
    assert billing.agent.metric("tollgate_stripe_oddities_total", what="unknown_status") > 0
    billing.fake.settle()
    assert billing.status(account) == 200


def test_a_tier_changes_at_once_and_the_quota_continues(make):
    tiers = [{"name": "small", "prices": ["price_basic"], "quota": "5/month"},
             {"name": "large", "prices": ["pro_monthly"], "quota": "8/month"}]
    billing = Billing(make, tiers=tiers)
    sub = billing.subscribe()
    account = billing.key_for(sub.id)
    assert [billing.status(account) for _ in range(6)] == [200] * 5 + [429]
    billing.change(sub, items=[{"id": sub["items"].data[0].id, "price": "price_pro"}])
    takes_effect(billing, account, 200)
    assert [billing.status(account) for _ in range(3)] == [200, 200, 429]


def test_operators_cannot_set_what_stripe_sets(billing):
    sub = billing.subscribe()
    account = billing.key_for(sub.id)
    for change in (["--tier", "pro"], ["--status", "canceled"], ["--subscription", "sub_other"]):
        said = billing.agent.cli("account", "set", account.id, *change, check=False)
        assert said.returncode == 1 and "Stripe sets tier and status" in said.stderr
    billing.agent.cli("account", "set", account.id, "--label", "Ann")
    billing.agent.cli("account", "suspend", account.id)
    assert billing.status(account) == 403
    billing.change(sub, metadata={"a": "b"})  # a change by Stripe does not lift the operator's hold
    billing.fake.settle()
    assert billing.status(account) == 403
    billing.agent.cli("account", "resume", account.id)
    assert billing.status(account) == 200
    shown = billing.account_of(sub.id)
    assert shown["label"] == "Ann" and shown["email"] == "ann@example.com" and shown["period_end"]


def test_subscriptions_without_a_slot_are_logged_and_block_nobody(make):
    billing = Billing(make, max_accounts=2)
    first, second, third = billing.subscribe(), billing.subscribe(), billing.subscribe()
    wait_until(lambda: "all slots are taken" in billing.agent.log(), "a line in the log")
    kept = [sub for sub in (first, second, third) if billing.account_of(sub.id)]
    assert len(kept) == 2
    account = billing.key_for(kept[0].id)
    billing.cancel(kept[0])
    takes_effect(billing, account, 403)


def test_ended_subscriptions_take_no_slots(make):
    billing = Billing(make, start=False)
    billing.fake.rule("drop")  # an event's copy of the subscription, made when it was active, would make an account
    gone = billing.subscribe()
    billing.cancel(gone)
    kept = billing.subscribe()
    billing.agent.start()
    billing.wait_account(kept.id)
    assert billing.agent.json("sync")["subscriptions"] == 2 and billing.account_of(gone.id) is None


def test_two_accounts_of_one_customer_cannot_share_a_meter(billing):
    customer = billing.customer()
    first = billing.key_for(billing.subscribe("price_metered", customer).id)
    second = billing.key_for(billing.subscribe("price_metered", customer).id)
    assert billing.status(first) == 200
    assert billing.status(second) == 403
    assert "same meter 'api_requests'" in billing.agent.log()


def test_after_duplicates_and_disorder_accounts_match_stripe(billing):
    billing.fake.rule("hold")
    subs = [billing.subscribe() for _ in range(8)]
    for number, sub in enumerate(subs):
        billing.fake.payments(sub.customer, "fails")
        billing.fake.renew(sub.id)
        if number % 2:
            billing.fake.payments(sub.customer, None)
            billing.fake.advance(days=7)
        if number % 4 == 3:
            billing.cancel(sub)
    billing.fake.release(shuffle=True, copies=3)
    assert billing.fake.settle()
    for sub in subs:
        now = stripe.Subscription.retrieve(sub.id, **billing.auth())
        billing.wait_account(sub.id, status=now.status)
    wait_until(lambda: billing.agent.status()["stripe"]["events_pending"] == 0, "all events processed")
    for sub in subs:
        now = stripe.Subscription.retrieve(sub.id, **billing.auth())
        assert billing.account_of(sub.id)["status"] == now.status
    assert billing.agent.metric("tollgate_stripe_events_total", result="repeated") > 0


def test_thin_events_have_the_same_effect(make):
    billing = Billing(make, webhook=False)
    billing.fake.endpoint(billing.agent.url(WEBHOOK_PATH), payload="thin")
    sub = billing.subscribe()
    account = billing.key_for(sub.id)
    assert billing.status(account) == 200
    billing.cancel(sub)
    wait_until(lambda: billing.status(account) == 403, "the end")


def test_lost_events_are_found_by_sync(billing):
    kept, lost = billing.subscribe(), billing.subscribe()
    account = billing.key_for(lost.id)
    billing.wait_account(kept.id)
    billing.quiet()
    billing.fake.rule("drop")
    billing.cancel(lost)
    never = billing.subscribe("price_pro")
    billing.fake.settle()
    assert billing.status(account) == 200
    report = billing.agent.json("sync")
    assert report["subscriptions"] == 3 and report["repaired"] == 2 and report["failed"] == 0
    assert {r["subscription"] for r in report["repairs"]} == {lost.id, never.id}
    assert billing.status(account) == 403
    assert billing.account_of(never.id)["tier"] == "pro"
    assert billing.agent.json("sync")["repaired"] == 0


def test_a_list_answered_late_replaces_no_newer_state(billing):
    """Stripe's clock counts in seconds, so the list and the event's fetch have the same date."""
    sub = billing.subscribe()
    account = billing.key_for(sub.id)
    billing.quiet()
    billing.fake.fault(method="GET", path="/v1/subscriptions$", when="after", delay=0.5)
    wait_until(lambda: time.time() % 1 < 0.1, "the beginning of a second")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        before = len(billing.fake.calls("GET", "/v1/subscriptions$"))
        report = pool.submit(billing.agent.json, "sync")
        wait_until(lambda: len(billing.fake.calls("GET", "/v1/subscriptions$")) > before, "the list")
        billing.fake.control("POST", f"/subscriptions/{sub.id}/status", status="unpaid")
        takes_effect(billing, account, 403)
        assert not report.done(), "the list arrives after the event"
        assert report.result()["failed"] == 0
    assert billing.status(account) == 403
    assert billing.agent.json("sync")["repaired"] == 0


def test_a_start_finds_changes_from_while_the_agent_was_down(billing):
    sub = billing.subscribe()
    account = billing.key_for(sub.id)
    assert billing.agent.stop() == 0
    billing.cancel(sub)
    billing.agent.start()
    wait_until(lambda: billing.status(account) == 403, "the cancellation")


def test_while_stripe_is_down_snapshots_of_events_apply(billing):
    sub = billing.subscribe()
    account = billing.key_for(sub.id)
    billing.quiet()
    time.sleep(1.1)  # event times have seconds: one in the same second as a fetch is not newer
    billing.fake.fault(path="/v1/subscriptions.*", method="GET", status=500)
    billing.fake.control("POST", f"/subscriptions/{sub.id}/status", status="unpaid")
    takes_effect(billing, account, 403)
    assert billing.agent.status()["stripe"]["events_pending"] > 0
    billing.fake.no_faults()
    wait_until(lambda: billing.agent.status()["stripe"]["events_pending"] == 0, "the fetch")


def test_a_crash_after_the_acknowledgement_loses_no_event(billing):
    sub = billing.subscribe()
    account = billing.key_for(sub.id)
    billing.quiet()
    billing.fake.fault(path="/v1/.*", method="GET", status=500)
    billing.fake.endpoint(id=billing.fake.control("GET", "/endpoints")["endpoints"][0]["id"], payload="thin")
    billing.cancel(sub)
    wait_until(lambda: billing.agent.status()["stripe"]["events_pending"] > 0, "the event")
    billing.agent.kill()
    billing.fake.no_faults()
    billing.agent.configure(stripe={"reconcile_every": "7d"})
    billing.agent.start()
    wait_until(lambda: billing.status(account) == 403, "the cancellation")


def test_pause_collection_follows_the_policy(make):
    for policy, status in (("allow", 200), ("refuse", 403)):
        billing = Billing(make, stripe={"on_pause_collection": policy})
        sub = billing.subscribe()
        account = billing.key_for(sub.id)
        billing.change(sub, pause_collection={"behavior": "void"})
        billing.fake.settle()
        wait_until(lambda: billing.status(account) == status, policy)


def test_a_deleted_customer_has_no_keys(billing):
    customer = billing.customer()
    sub = billing.subscribe(customer=customer)
    account = billing.key_for(sub.id)
    stripe.Customer.delete(customer.id, **billing.auth())
    wait_until(lambda: billing.status(account) == 401, "the end of its keys")


def many_accounts(billing, count):
    """Creates @count accounts with keys, all of one customer."""
    customer = billing.customer()
    subscriptions = [billing.subscribe(customer=customer).id for _ in range(count)]
    billing.quiet()
    return customer, [billing.key_for(s) for s in subscriptions]


def test_a_deleted_customer_with_many_accounts_has_no_keys(billing):
    customer, accounts = many_accounts(billing, 70)
    assert [billing.status(a) for a in accounts] == [200] * 70
    stripe.Customer.delete(customer.id, **billing.auth())
    billing.quiet()
    assert [billing.status(a) for a in accounts] == [401] * 70


def test_entitlements_give_features(make):
    routes = [{"path": "/v1/export/", "upstream": "api", "feature": "export"}, {"path": "/", "upstream": "api"}]
    tiers = [{"name": "basic", "prices": ["price_ent"], "entitlements": True},
             {"name": "pro", "features": ["export"]}]
    billing = Billing(make, tiers=tiers, routes=routes)
    billing.fake.price("price_ent", features=["export"])
    account = billing.key_for(billing.subscribe("price_ent").id)
    wait_until(lambda: billing.agent.get("/v1/export/x", account).status == 200, "the feature")


def test_the_secret_key_appears_nowhere(billing):
    billing.subscribe()
    billing.fake.settle()
    assert SECRET_KEY not in billing.agent.log() and WEBHOOK_SECRET not in billing.agent.log()
    for call in billing.fake.calls():
        assert SECRET_KEY not in json.dumps(call.get("params", {}))


def test_calls_are_pinned_to_a_version(billing):
    billing.key_for(billing.subscribe().id)
    seen = [c for c in billing.fake.calls(path="/v1/subscriptions")]
    ours = [c for c in seen if c["headers"].get("stripe-version") == "2026-10-28.endive"]
    assert ours, seen


def test_after_ten_thousand_events_with_repeats_accounts_match_stripe(make):
    billing = Billing(make, webhook=False, max_accounts=4096)
    made = billing.fake.seed(200, "price_basic")
    events = []
    words = ["active", "past_due", "unpaid", "active", "trialing"]
    for turn in range(40):
        for number, one in enumerate(made):
            obj = {"id": one["subscription"], "object": "subscription", "customer": one["customer"],
                   "status": words[(turn + number) % 5], "items": {"object": "list", "data": []}}
            events.append(event("customer.subscription.updated", obj, f"evt_{turn}_{number}"))
    events += events[::4]
    assert len(events) == 10000
    order = sorted(range(len(events)), key=lambda i: i * 7919 % 10007)
    connection = http.client.HTTPConnection(billing.agent.address[0], billing.agent.port, timeout=30)
    for i in order:
        connection.request("POST", WEBHOOK_PATH, events[i], {"Stripe-Signature": sign(events[i])})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()
    wait_until(lambda: billing.agent.status()["stripe"]["events_pending"] == 0, "all events processed", timeout=60)
    assert billing.agent.metric("tollgate_stripe_events_total", result="accepted") == 8000
    assert billing.agent.metric("tollgate_stripe_events_total", result="repeated") == 2000
    assert {a["status"] for a in billing.accounts()} == {"active"}
    assert len(billing.accounts()) == 200
