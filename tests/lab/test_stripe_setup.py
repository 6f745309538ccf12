# SPDX-License-Identifier: BSD-2-Clause
"""`tollgate stripe setup` and `tollgate stripe doctor`, with the fake Stripe."""
import json
import time
import urllib.parse
import urllib.request

import pytest

from billing import SECRET_KEY, WEBHOOK_PATH, Billing
from lab import wait_until
from test_billing_lost import DAY, put_windows

APP_URL = "https://api.example.com"
HOOK_URL = APP_URL + WEBHOOK_PATH


@pytest.fixture
def billing(make):
    billing = Billing(make, webhook=False, start=False, stripe={"app_url": APP_URL})
    billing.fake.plans("price_basic", "price_pro")
    return billing


def stripe_command(billing, *words, check=False):
    billing.agent.configure()  # writes the file
    return billing.agent.cli("stripe", *words, "-c", billing.agent.config_path, check=check)


def answer(billing, *words):
    """(exit code, the answer as JSON)"""
    said = stripe_command(billing, *words, "--json")
    assert said.stderr == "" and said.returncode in (0, 1), said
    return said.returncode, json.loads(said.stdout)


def call(billing, method, path, form=None, body=None):
    """Call the fake as the owner of the account."""
    data = urllib.parse.urlencode(form, doseq=True).encode() if form else None
    headers = {"Authorization": f"Bearer {SECRET_KEY}"}
    if body is not None:
        data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    request = urllib.request.Request(billing.fake.url + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as got:
        return json.load(got)


def endpoints(billing):
    return call(billing, "GET", "/v1/webhook_endpoints?limit=100")["data"]


def destinations(billing):
    rows = call(billing, "GET", "/v2/core/event_destinations?include[0]=webhook_endpoint.url")["data"]
    return [row for row in rows if row["event_payload"] == "thin"]


def problems(found):
    return [f"{f['where']}: {f['what']}" for f in found["findings"] if f["is_problem"]]


def notes(found):
    return [f"{f['where']}: {f['what']}" for f in found["findings"] if not f["is_problem"]]


def changes(billing):
    """The calls that changed something at Stripe."""
    return [c for c in billing.fake.calls() if c["method"] != "GET"]


# ---- registering ----


def test_setup_creates_what_is_missing_once_and_its_secrets_work(billing):
    code, found = answer(billing, "setup")
    assert code == 0 and found["ok"] and not found["findings"]
    assert found["endpoint"]["action"] == found["destination"]["action"] == "created"
    printed = json.loads(stripe_command(billing, "setup", "--print", "--json", check=True).stdout)
    made, thin = endpoints(billing)[0], destinations(billing)[0]
    assert made["url"] == thin["webhook_endpoint"]["url"] == printed["url"] == HOOK_URL
    assert made["enabled_events"] == printed["snapshot_events"]
    assert thin["enabled_events"] == printed["thin_events"]
    assert made["api_version"] == "2026-10-28.endive"
    # A second run changes nothing, and no longer shows a secret.
    before = len(changes(billing))
    code, again = answer(billing, "setup")
    assert code == 0 and len(changes(billing)) == before
    assert again["endpoint"] == {"action": "unchanged", "id": made["id"], "added": [], "enabled": False,
                                 "secret": None}
    assert len(endpoints(billing)) == len(destinations(billing)) == 1
    # Both secrets verify the events that arrive.
    secrets = [found[name]["secret"] for name in ("endpoint", "destination")]
    assert all(secret.startswith("whsec_") for secret in secrets) and secrets[0] != secrets[1]
    billing.agent.configure(stripe={"webhook_secrets": secrets})
    billing.agent.start()
    for row in (made, thin):
        billing.fake.endpoint(id=row["id"], url=billing.agent.url(WEBHOOK_PATH))
    sub = billing.subscribe()
    billing.wait_account(sub.id, status="active")
    assert billing.fake.settle()
    assert billing.agent.status()["stripe"]["events_refused"] == 0


def test_setup_adds_to_an_endpoint_that_exists(billing):
    made = call(billing, "POST", "/v1/webhook_endpoints", {
        "url": HOOK_URL, "enabled_events[0]": "invoice.paid", "enabled_events[1]": "payment_intent.succeeded"})
    call(billing, "POST", f"/v1/webhook_endpoints/{made['id']}", {"disabled": "true"})
    thin = call(billing, "POST", "/v2/core/event_destinations", body={
        "name": "own", "type": "webhook_endpoint", "event_payload": "thin",
        "enabled_events": ["v1.billing.meter.no_meter_found"], "webhook_endpoint": {"url": HOOK_URL}})
    call(billing, "POST", f"/v2/core/event_destinations/{thin['id']}/disable", body={})
    before = len(changes(billing))
    code, plan = answer(billing, "setup", "--dry-run")
    assert code == 0 and len(changes(billing)) == before
    assert plan["endpoint"]["action"] == "updated" and plan["endpoint"]["enabled"]
    assert "customer.subscription.updated" in plan["endpoint"]["added"]
    assert "invoice.paid" not in plan["endpoint"]["added"]
    assert plan["destination"]["added"] == ["v1.billing.meter.error_report_triggered"]
    said = stripe_command(billing, "setup", "--dry-run").stdout
    assert f"webhook endpoint: would be updated {made['id']}\n  enabled again\n" in said
    assert "  + customer.subscription.updated\n" in said
    code, done = answer(billing, "setup")
    assert code == 0 and done["endpoint"]["added"] == plan["endpoint"]["added"]
    assert done["endpoint"]["secret"] is None
    now = endpoints(billing)
    assert len(now) == 1 and now[0]["status"] == "enabled"
    assert now[0]["enabled_events"] == ["invoice.paid", "payment_intent.succeeded"] + plan["endpoint"]["added"]
    assert destinations(billing)[0]["status"] == "enabled" and len(destinations(billing)[0]["enabled_events"]) == 2


@pytest.mark.parametrize("url", [APP_URL + "/", HOOK_URL, HOOK_URL + "/"])
def test_an_endpoint_for_every_event_or_only_thin_ones_is_enough(billing, url):
    billing.fake.endpoint(HOOK_URL, types=["*"])
    billing.fake.endpoint("https://elsewhere.example.com/hook", types=["invoice.paid"])
    code, found = answer(billing, "setup", "--url", url)
    assert code == 0 and found["endpoint"]["action"] == "unchanged" and found["url"] == HOOK_URL
    for row in endpoints(billing):
        call(billing, "DELETE", f"/v1/webhook_endpoints/{row['id']}")
    thin = destinations(billing)[0]
    names = json.loads(stripe_command(billing, "setup", "--print", "--json").stdout)
    call(billing, "POST", f"/v2/core/event_destinations/{thin['id']}", body={
        "enabled_events": names["thin_events"] + ["v1." + name for name in names["snapshot_events"]]})
    code, found = answer(billing, "setup")
    assert code == 0 and found["endpoint"]["action"] == "not needed" and not endpoints(billing)


def test_without_meters_no_destination_is_needed(make):
    billing = Billing(make, webhook=False, start=False, stripe={"app_url": APP_URL},
                      tiers=[{"name": "basic", "prices": ["price_basic"]}])
    assert answer(billing, "setup")[1]["destination"]["action"] == "not needed"
    assert not destinations(billing)


def test_print_makes_no_call(billing):
    said = stripe_command(billing, "setup", "--print", check=True).stdout
    assert HOOK_URL in said and "customer.subscription.updated\n" in said and "*" not in said
    assert "--thin-events v1.billing.meter.error_report_triggered,v1.billing.meter.no_meter_found\n" in said
    assert "--forward-thin-to localhost:8080/webhooks/stripe" in said
    assert not billing.fake.calls()


@pytest.mark.parametrize("words", [(), ("--url", "api.example.com"), ("--url", "ftp://x"), ("--url", "https://")])
def test_a_public_address_is_needed(make, words):
    billing = Billing(make, webhook=False, start=False)
    said = stripe_command(billing, "setup", *words)
    assert said.returncode == 1 and "https://api.example.com" in said.stderr
    assert not billing.fake.calls()


# ---- what the configuration names ----


def setup_with(make, **config):
    return Billing(make, webhook=False, start=False, stripe={"app_url": APP_URL}, **config)


def test_each_problem_with_a_price_is_named(make):
    tiers = [
        {"name": "gone", "prices": ["price_gone"]},
        {"name": "archived", "prices": ["price_archived"]},
        {"name": "once", "prices": ["price_once"]},
        {"name": "empty", "prices": ["prod_empty"]},
        {"name": "shut", "prices": ["prod_shut"]},
        {"name": "unmetered", "prices": ["price_metered"]},
        {"name": "crossed", "prices": ["price_other"], "meter": "api_requests"},
        {"name": "fine", "prices": ["price_basic", "pro_monthly", "prod_fine"]},
    ]
    billing = setup_with(make, tiers=tiers)
    billing.fake.price("price_other", meter="other")
    billing.fake.price("price_fine", product="prod_fine")
    billing.fake.price("price_archived")
    call(billing, "POST", "/v1/prices/price_archived", {"active": "false"})
    for name, active in (("prod_empty", "true"), ("prod_shut", "false")):
        call(billing, "POST", "/v1/products", {"id": name, "name": name, "active": active})
    once = call(billing, "POST", "/v1/prices", {"currency": "usd", "unit_amount": 5, "product": "prod_empty"})
    tiers[2]["prices"] = [once["id"]]
    billing.agent.configure(tiers=tiers)
    code, found = answer(billing, "setup")
    assert code == 1 and not found["ok"]
    assert problems(found) == [
        "tier gone: Stripe has no price, lookup key or product 'price_gone'",
        "tier archived: price 'price_archived' is archived at Stripe",
        f"tier once: price '{once['id']}' is a one-time price, which cannot be subscribed to",
        "tier empty: product 'prod_empty' has no active recurring price",
        "tier shut: product 'prod_shut' is archived at Stripe",
        "tier unmetered: price 'price_metered' is metered by api_requests, but the tier has no meter, so its usage "
        "is not billed",
        "tier crossed: price 'price_other' bills the meter 'other', but usage is reported to 'api_requests'",
    ]
    said = stripe_command(billing, "setup")
    assert said.returncode == 1 and "\n7 problems\n" in said.stdout
    assert "problem: tier archived: price 'price_archived' is archived at Stripe; activate it" in said.stdout


def meter(billing, name, formula="sum", **more):
    return call(billing, "POST", "/v1/billing/meters", {
        "display_name": name, "event_name": name, "default_aggregation[formula]": formula, **more})


def test_each_problem_with_a_meter_is_named(make):
    names = ["fine", "counted", "last", "off", "missing", "missing"]
    billing = setup_with(make, tiers=[{"name": f"t{i}", "meter": name} for i, name in enumerate(names)])
    meter(billing, "fine")
    meter(billing, "counted", "count")
    meter(billing, "last", "last")
    off = meter(billing, "off")
    call(billing, "POST", f"/v1/billing/meters/{off['id']}/deactivate")
    code, found = answer(billing, "setup")
    assert code == 1 and problems(found) == [
        "tier t1: the meter 'counted' has the formula 'count', which would bill the wrong amount",
        "tier t2: the meter 'last' has the formula 'last', which would bill the wrong amount",
        "tier t3: the meter 'off' is not active",
        "tier t4: Stripe has no meter with the event name 'missing'",
    ]


def test_a_meter_with_a_window_is_a_problem(billing):
    listed = call(billing, "GET", "/v1/billing/meters")
    listed["data"][0]["event_time_window"] = "hour"
    billing.fake.fault(method="GET", path="^/v1/billing/meters$", status=200, body=json.dumps(listed),
                       headers={"Content-Type": "application/json"})
    code, found = answer(billing, "setup")
    assert code == 1 and problems(found) == [
        "tier metered: the meter 'api_requests' has the event_time_window 'hour', which would bill the wrong amount"]


def test_a_missing_portal_configuration_is_a_problem(billing):
    made = call(billing, "GET", "/v1/billing_portal/configurations")["data"][0]
    call(billing, "POST", f"/v1/billing_portal/configurations/{made['id']}", {"active": "false"})
    code, found = answer(billing, "setup")
    assert code == 1 and problems(found) == [
        "customer portal: has no default configuration, so customers cannot manage their subscription"]


def test_plan_changes_that_the_portal_does_not_offer_are_notes(make):
    tiers = [
        {"name": "basic", "prices": ["price_basic"]},
        {"name": "pro", "prices": ["pro_monthly", "prod_yearly"]},
        {"name": "team", "prices": ["price_seat"], "per_seat": True},
        {"name": "usage", "prices": ["price_metered"], "meter": "api_requests"},
        {"name": "both", "prices": ["price_both"], "extra_prices": ["price_calls"], "meter": "api_requests"},
    ]
    billing = setup_with(make, tiers=tiers)
    for price in ("price_seat", "price_both"):
        billing.fake.price(price, unit_amount=700)
    billing.fake.price("price_calls", unit_amount=1, meter="api_requests")
    billing.fake.price("price_yearly", product="prod_yearly", unit_amount=9000)
    call(billing, "POST", "/v1/products/prod_yearly", {"default_price": "price_yearly"})
    code, found = answer(billing, "setup")
    assert (code, problems(found)) == (0, []) and notes(found) == [
        "customer portal: does not allow customers to switch plans, so the pricing page offers them a change that "
        "fails"]
    billing.fake.plans("price_basic", default_allowed_updates=["price"])
    code, found = answer(billing, "setup")
    why = "because the customer portal does not"
    assert (code, problems(found)) == (0, []) and notes(found) == [
        f"tier pro: customers cannot switch to price 'price_pro', {why} offer it",
        f"tier pro: customers cannot switch to price 'price_yearly', {why} offer it",
        f"tier team: customers cannot switch to price 'price_seat', {why} offer it",
        f"tier team: customers cannot change how many seats they have, {why} let them change the quantity"]
    billing.fake.plans("price_basic", "price_pro", "price_yearly", "price_seat")
    assert answer(billing, "setup")[1]["findings"] == []


def test_a_single_plan_needs_no_plan_changes(make):
    billing = setup_with(make, tiers=[{"name": "basic", "prices": ["price_basic"]}, {"name": "free"}])
    assert answer(billing, "setup")[1]["findings"] == []


def test_a_key_that_stripe_refuses_ends_the_checks(make):
    billing = setup_with(make)
    billing.agent.configure(stripe={"secret_key": "sk_test_wrong", "livemode": True})
    code, found = answer(billing, "setup")
    assert code == 1 and problems(found) == [
        "stripe.livemode: is true, but the key is a test-mode key, so every event is refused",
        "stripe.secret_key: Stripe does not accept the key"]
    assert "wrong" not in json.dumps(found)


def test_a_restricted_key_names_the_permission_it_lacks(billing):
    billing.fake.fault(method="GET", path="^/v1/billing/meters$", status=403)
    code, found = answer(billing, "setup")
    assert code == 1 and problems(found) == ["stripe.secret_key: the key may not access billing meters"]


def test_without_stripe_setup_says_so(billing):
    billing.fake.down("500")
    code, found = answer(billing, "setup")
    assert code == 1 and len(problems(found)) == 1 and problems(found)[0].startswith("Stripe: cannot be reached: ")


# ---- the doctor ----


@pytest.fixture
def running(billing):
    found = answer(billing, "setup")[1]
    billing.agent.configure(stripe={
        "webhook_secrets": [found["endpoint"]["secret"], found["destination"]["secret"]]})
    billing.agent.start()
    billing.fake.rule("hold")  # the public address does not exist here
    return billing


def test_the_doctor_is_content_and_changes_nothing(running):
    before = len(changes(running))
    code, found = answer(running, "doctor")
    assert (code, found["findings"]) == (0, [])
    assert found["agent"]["events_pending"] == 0 and found["agent"]["usage_failed_units"] == 0
    assert len(changes(running)) == before
    said = stripe_command(running, "doctor")
    assert said.returncode == 0 and said.stdout.endswith("no problems\n")
    assert "agent: events: 0 accepted, 0 wait, 0 failed; units: 0 delivered, 0 wait, 0 failed\n" in said.stdout


def test_the_doctor_misses_the_endpoint_and_its_events(running):
    made = endpoints(running)[0]
    some = [name for name in made["enabled_events"] if name != "invoice.paid"]
    running.fake.endpoint(id=made["id"], types=some)
    assert problems(answer(running, "doctor")[1]) == [
        f"{HOOK_URL}: the webhook endpoint {made['id']} does not get invoice.paid"]
    call(running, "POST", f"/v1/webhook_endpoints/{made['id']}", {"disabled": "true"})
    assert f"{HOOK_URL}: the webhook endpoint {made['id']} is disabled" in problems(answer(running, "doctor")[1])
    call(running, "DELETE", f"/v1/webhook_endpoints/{made['id']}")
    assert problems(answer(running, "doctor")[1]) == [f"{HOOK_URL}: Stripe has no webhook endpoint with this URL"]


@pytest.mark.parametrize("version,word", [("2027-01-27.fjord", "newer than"), ("2019-03-14", "older than")])
def test_the_doctor_looks_at_the_endpoints_version(running, version, word):
    running.fake.endpoint(id=endpoints(running)[0]["id"], api_version=version)
    found = problems(answer(running, "doctor")[1])
    assert len(found) == 1 and f"API version {version} is {word}" in found[0]


def test_the_doctor_finds_duplicates(running):
    running.fake.endpoint(HOOK_URL, types=["*"])
    assert problems(answer(running, "doctor")[1]) == [
        f"{HOOK_URL}: 2 enabled endpoints have this URL, so events arrive several times"]


def test_the_doctor_compares_clocks_and_sees_undelivered_events(running):
    running.fake.no_rules()
    running.fake.rule("fail")
    running.fake.emit("price.updated", "price_basic")
    running.fake.emit("payment_intent.succeeded", {"id": "pi_1", "object": "payment_intent"})
    assert not problems(answer(running, "doctor")[1])  # it may be on its way
    running.fake.advance(minutes=2)
    found = problems(answer(running, "doctor")[1])
    assert len(found) == 2 and found[0].startswith("clock: it is 1") and found[0].endswith("seconds behind Stripe's")
    assert found[1] == f"{HOOK_URL}: Stripe could not deliver 1 event of the last day"
    running.fake.endpoint("https://elsewhere.example.com/hook", types=["price.*"])
    code, said = answer(running, "doctor")
    assert len(problems(said)) == 1 and len(said["findings"]) == 2


def test_the_doctor_needs_a_running_agent_with_secrets(billing):
    answer(billing, "setup")
    billing.agent.configure(stripe={"webhook_secrets": []})
    found = problems(answer(billing, "doctor")[1])
    assert found[0] == "stripe.webhook_secrets: is empty, so every event is refused"
    assert len(found) == 2 and "the agent does not answer" in found[1]


def test_the_doctor_sees_that_every_webhook_is_refused(running):
    running.agent.configure(stripe={"webhook_secrets": ["whsec_wrong"]})
    running.agent.cli("reload")
    running.fake.no_rules()
    running.fake.endpoint(id=endpoints(running)[0]["id"], url=running.agent.url(WEBHOOK_PATH))
    running.fake.emit("price.updated", "price_basic")
    wait_until(lambda: running.agent.status()["stripe"]["events_refused"], "a refusal")
    found = problems(answer(running, "doctor", "--url", running.agent.url(WEBHOOK_PATH))[1])
    assert any("webhooks were wrong" in line for line in found)


def test_the_doctor_sees_usage_that_cannot_be_billed(make):
    billing = Billing(make, webhook=False, stripe={"app_url": APP_URL},
                      tiers=[{"name": "metered", "prices": ["price_metered"], "meter": "typo"}])
    sub = billing.subscribe("price_metered")
    billing.agent.cli("sync", check=False)  # it names the meter
    account = billing.key_for(sub.id)
    billing.agent.stop()
    minute = int(time.time()) // 60 * 60
    put_windows(billing, account, [minute - 2 * DAY, minute - 2 * DAY - 60, minute - 50 * DAY])
    billing.agent.start()
    wait_until(lambda: billing.agent.status()["stripe"]["usage_blocked_units"] == 2, "blocked usage")
    found = problems(answer(billing, "doctor")[1])
    assert any(line.startswith("typo: 2 units cannot be billed: Stripe has no active meter") for line in found)
    assert "usage: 1 units are too old for Stripe" in found
