# SPDX-License-Identifier: BSD-2-Clause
"""Verdicts: the answer that a client gets, and what the upstream sees."""
import collections
import json
import re
import time

import pytest

from lab import wait_until
from upstream import Gate

ROUTES = [
    {"path": "/v1", "upstream": "api"},
    {"path": "/v1/export/", "upstream": "api", "feature": "export"},
    {"path": "/v1/double", "upstream": "api", "cost": 2},
    {"path": "/v1/free", "upstream": "api", "cost": 0},
    {"path": "/open", "upstream": "api", "public": True},
    {"path": "/web", "upstream": "api", "cors": True},
    {"path": "/host", "upstream": "api", "host": "inner.test"},
]
TIERS = [
    {"name": "plain"},
    {"name": "hourly", "rate": "1/h", "burst": 5},
    {"name": "quick", "rate": "2/s", "burst": 2},
    {"name": "minutely", "rate": "100/m"},
    {"name": "daily", "quota": "3/day"},
    {"name": "both", "rate": "1/h", "burst": 9, "quota": "4/day"},
    {"name": "single", "concurrency": 1},
    {"name": "export", "features": ["export"]},
]
POLICY = {"Content-Type": "application/problem+json"}


@pytest.fixture(scope="module")
def edge(make_module):
    upstream = make_module.upstream()
    agent = make_module.agent(upstream, tiers=TIERS, routes=ROUTES).start()
    agent.upstream = upstream
    return agent


@pytest.fixture(autouse=True)
def forget(edge):
    edge.upstream.forget()
    yield
    assert not edge.upstream.errors


def seen(answer):
    """What the upstream received, according to its echo."""
    assert answer.status == 200, answer
    echo = json.loads(answer.body)
    echo["fields"] = collections.defaultdict(list)
    for name, value in echo["headers"]:
        echo["fields"][name.lower()].append(value)
    return echo


def seconds_to_midnight():
    return 86400 - time.time() % 86400


def away_from_midnight():
    """Daily quotas reset at midnight UTC: wait if it is near, so that it does not fall into a test."""
    if seconds_to_midnight() < 5:
        wait_until(lambda: seconds_to_midnight() > 5, "midnight passes", timeout=10)


def exhausted(edge, tier, path="/v1"):
    account = edge.account(tier)
    with edge.connect() as connection:
        while connection.request("GET", path, key=account.key).status == 200:
            pass
    return account


def revoked(edge):
    account = edge.account()
    edge.cli("key", "revoke", account.key_id)
    return account


def held(edge):
    account = edge.account()
    edge.cli("account", "suspend", account.id)
    return account


def canceled(edge):
    account = edge.account()
    edge.cli("account", "set", account.id, "--status", "canceled")
    return account


def busy(edge):
    account = edge.account("single")
    gate = Gate()
    edge.upstream.on("/v1/hold", gate)
    account_holds = edge.connect()
    account_holds.ask("GET", "/v1/hold", key=account.key)
    gate.wait()
    edge.holding = account_holds, gate
    return account


UNAUTHORIZED = {"WWW-Authenticate": "Bearer"}
DETAIL_401 = "Invalid or expired API key"
DETAIL_403 = "Subscription inactive or past due"

# who, path, status, detail, violated policy, additional fields (None: any value), label
REFUSALS = {
    "no key": (None, "/v1", 401, DETAIL_401, None, UNAUTHORIZED, "no_key"),
    "a malformed key": ("short", "/v1", 401, DETAIL_401, None, UNAUTHORIZED, "bad_key"),
    "our prefix and a wrong checksum":
        ("tg_live_" + "A" * 49, "/v1", 401, DETAIL_401, None, UNAUTHORIZED, "bad_key"),
    "an unknown key": ("somebody-elses-key-123", "/v1", 401, DETAIL_401, None, UNAUTHORIZED,
                       "unknown_key"),
    "a revoked key": (revoked, "/v1", 401, DETAIL_401, None, UNAUTHORIZED, "revoked_key"),
    "an account on hold": (held, "/v1", 403, DETAIL_403, None, {}, "inactive"),
    "a canceled account": (canceled, "/v1", 403, DETAIL_403, None, {}, "inactive"),
    "a feature that the tier lacks":
        (lambda e: e.account(), "/v1/export/x", 403, "Your plan does not include this feature",
         None, {}, "no_feature"),
    "no route": (lambda e: e.account(), "/v2", 404, "Not found", None, {}, "no_route"),
    "a route's prefix within a segment":
        (lambda e: e.account(), "/v1x", 404, "Not found", None, {}, "no_route"),
    "an empty segment": (lambda e: e.account(), "/v1//x", 400, "Bad request", None, {},
                         "malformed"),
    "dot segments": (lambda e: e.account(), "/open/../v1", 400, "Bad request", None, {},
                     "malformed"),
    "over rate": (lambda e: exhausted(e, "hourly"), "/v1", 429,
                  "Rate limit exceeded. Upgrade your tier.", "rate",
                  {"Retry-After": None, "RateLimit": None,
                   "RateLimit-Policy": '"rate";q=5;w=18000'}, "over_rate"),
    "over quota": (lambda e: exhausted(e, "daily"), "/v1", 429,
                   "Quota exceeded. Upgrade your tier.", "quota",
                   {"Retry-After": None, "RateLimit": None,
                    "RateLimit-Policy": '"quota";q=3;w=86400'}, "over_quota"),
    "over concurrency": (busy, "/v1", 429, "Too many concurrent requests", "concurrency",
                         {"Retry-After": "1"}, "over_concurrency"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_has_this_answer_and_the_connection_stays_open(edge, case):
    who, path, status, detail, violated, fields, label = REFUSALS[case]
    key = who(edge).key if callable(who) else who
    count = edge.metric("tollgate_requests_total", verdict=label, plane="agent")
    forwarded = len(edge.upstream.seen)
    other = edge.account()
    body = {"status": status, "detail": detail}
    if violated:
        body["violated-policies"] = [violated]

    with edge.connect() as connection:
        answer = connection.request("GET", path, key=key)
        assert answer.status == status
        assert answer.body == json.dumps(body, separators=(",", ":")).encode()
        expected = {**POLICY, **fields, "Content-Length": str(len(answer.body))}
        assert sorted(answer.names()) == sorted(expected), answer
        for name, value in expected.items():
            assert value is None or answer.get(name) == value, answer
        assert len(answer.head) + len(answer.body) <= 300, "the fast path must be able to give the same answer"
        assert len(edge.upstream.seen) == forwarded, "a refused request must not go upstream"
        # With a body, the end of the request must be found after it.
        assert connection.request("POST", path, key=key, body=b"x" * 1000).status == status
        assert connection.request("GET", "/v1", key=other.key).status == 200
    assert edge.metric("tollgate_requests_total", verdict=label, plane="agent") == count + 2
    if case == "over concurrency":
        connection, gate = edge.holding
        gate.open()
        assert connection.answer().status == 200
        connection.close()


@pytest.mark.parametrize("fields, status, why", [
    ([("X-API-Key", "{}")], 200, "the field X-API-Key"),
    ([("x-api-key", "  {}\t")], 200, "spaces around it are not part of it"),
    ([("Authorization", "Bearer {}")], 200, "or a bearer token"),
    ([("Authorization", "bearer   {}")], 200, "RFC 7235: any case, one or more spaces"),
    ([("Authorization", "Basic {}")], 401, "another scheme has no key of ours"),
    ([("Authorization", "{}")], 401, "no scheme"),
    ([("X-API-Key", "unknown-key-123456"), ("Authorization", "Bearer {}")], 401,
     "Authorization counts only without X-API-Key"),
    ([("X-API-Key", ""), ("Authorization", "Bearer {}")], 401, "an empty field counts as present"),
    ([("X-API-Key", "{}"), ("X-API-Key", "{}")], 400, "twice is ambiguous"),
    ([("Authorization", "Bearer {}"), ("Authorization", "Bearer {}")], 400, "twice"),
])
def test_the_key_comes_in_one_of_two_fields(edge, fields, status, why):
    key = edge.account().key
    answer = edge.get("/v1", headers=[(name, value.format(key)) for name, value in fields])
    assert answer.status == status, why


def test_the_field_with_the_key_does_not_go_upstream(edge):
    key = edge.account().key
    for fields in ([("X-API-Key", key)], [("Authorization", f"Bearer {key}")]):
        edge.upstream.seen.clear()
        assert edge.get("/v1", headers=fields).status == 200
        assert key.encode() not in edge.upstream.seen[0].raw
        assert edge.upstream.seen[0].get("Authorization") is None
        assert edge.upstream.seen[0].get("X-API-Key") is None


def test_authorization_beside_an_x_api_key_goes_upstream(edge):
    echo = seen(edge.get("/v1", edge.account(), headers=[("Authorization", "Basic dTpw")]))
    assert echo["fields"]["authorization"] == ["Basic dTpw"]


def test_a_key_on_a_public_route_does_not_go_upstream_either(edge):
    key = edge.account().key
    echo = seen(edge.get("/open/x", headers=[("X-API-Key", key)]))
    assert key not in json.dumps(echo)


def test_only_the_agent_tells_the_upstream_who_asks(edge):
    account = edge.account("export")
    lies = [("X-Tollgate-Account", "acc_lie"), ("x-tollgate-tier", "lie"), ("X-Request-Id", "lie"),
            ("X-Forwarded-For", "6.6.6.6"), ("Forwarded", "for=6.6.6.6"),
            ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "lie")]
    answer = edge.get("/v1", account, headers=lies)
    fields = seen(answer)["fields"]
    assert fields["x-tollgate-account"] == [account.id]
    assert fields["x-tollgate-tier"] == ["export"]
    assert fields["x-request-id"] == [answer.get("X-Request-Id")]
    assert re.fullmatch("[0-9a-f]{32}", answer.get("X-Request-Id"))
    assert fields["x-forwarded-for"] == ["127.0.0.1"]
    assert fields["forwarded"] == ['for=127.0.0.1;host="api.test";proto=http']
    assert (fields["x-forwarded-proto"], fields["x-forwarded-host"]) == (["http"], ["api.test"])


def test_on_a_public_route_nobody_can_claim_to_be_an_account(edge):
    fields = seen(edge.get("/open", headers=[("X-Tollgate-Account", "acc_lie"),
                                             ("X-Tollgate-Tier", "lie")]))["fields"]
    assert "x-tollgate-account" not in fields and "x-tollgate-tier" not in fields


def test_hop_by_hop_fields_are_not_forwarded(edge):
    answer = edge.get("/v1", edge.account(), headers=[
        ("Connection", "keep-alive, X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"),
        ("TE", "trailers"), ("Proxy-Authorization", "Basic dTpw"), ("X-Stays", "1")])
    fields = seen(answer)["fields"]
    for name in ("x-hop", "keep-alive", "te", "proxy-authorization", "connection"):
        assert name not in fields
    assert fields["x-stays"] == ["1"]


def test_host_goes_upstream_unless_the_route_says_otherwise(edge):
    account = edge.account()
    assert seen(edge.get("/v1", account, host="a.test:81"))["fields"]["host"] == ["a.test:81"]
    fields = seen(edge.get("/host", account))["fields"]
    assert fields["host"] == ["inner.test"] and fields["x-forwarded-host"] == ["api.test"]


def test_target_and_query_are_forwarded_byte_for_byte(edge):
    target = "/v1/a%20b;c=d,~!$&'()*+:@?q=%2f&x=../..//"
    assert seen(edge.get(target, edge.account()))["target"] == target


def test_an_absolute_target_is_routed_by_its_path(edge):
    echo = seen(edge.get("http://api.test/v1/x?y", edge.account()))
    assert echo["target"] == "/v1/x?y" and echo["fields"]["host"] == ["api.test"]


def test_preflight_needs_no_key_if_the_route_says_so(edge):
    asks = [("Origin", "https://a.test"), ("Access-Control-Request-Method", "PUT"),
            ("Access-Control-Request-Headers", "x-api-key")]
    answer = edge.get("/web", method="OPTIONS", headers=asks)
    assert answer.status == 204
    assert answer.get("Access-Control-Allow-Methods") == "PUT"
    assert answer.get("Access-Control-Allow-Headers") == "x-api-key"
    assert edge.get("/v1", method="OPTIONS", headers=asks).status == 401
    assert edge.get("/web", method="OPTIONS").status == 401, "no preflight without its fields"
    assert not edge.upstream.seen


# ---- limits ----


def limit(answer, policy):
    """Return (r, t) of one policy in RateLimit."""
    found = re.search(rf'"{policy}";r=(\d+);t=(\d+)', answer.get("RateLimit"))
    return int(found[1]), int(found[2])


def test_as_many_requests_pass_as_ratelimit_says(edge):
    account = edge.account("hourly")
    first = edge.get("/v1", account)
    assert first.get("RateLimit-Policy") == '"rate";q=5;w=18000'
    left, seconds = limit(first, "rate")
    assert left == 4 and 3590 <= seconds <= 3600
    for i in range(left):
        answer = edge.get("/v1", account)
        assert answer.status == 200 and limit(answer, "rate")[0] == left - 1 - i
    answer = edge.get("/v1", account)
    assert answer.status == 429 and limit(answer, "rate")[0] == 0
    assert 3590 <= int(answer.get("Retry-After")) <= 3600
    assert limit(answer, "rate")[1] >= int(answer.get("Retry-After")) - 1


def test_a_request_passes_when_retry_after_says(edge):
    account = edge.account("quick")
    charged = time.monotonic()
    assert edge.get("/v1/double", account).status == 200
    refused = edge.get("/v1", account)
    assert refused.status == 429 and refused.get("Retry-After") == "1"
    # A refused request costs nothing, so keep sending.
    wait_until(lambda: edge.get("/v1", account).status == 200, "credit comes back")
    passed = time.monotonic() - charged
    assert 0.4 < passed < 1.5, f"2/s gives credit for one after 0.5 s, not {passed}"


def test_limits_belong_to_the_account_and_not_to_the_key(edge):
    account = edge.account("hourly")
    second = edge.json("key", "create", "--account", account.id)["key"]
    used = [edge.get("/v1", headers=[("X-API-Key", key)]).status
            for key in (account.key, second) * 3]
    assert used == [200] * 5 + [429]


def test_one_account_does_not_use_up_anothers_limits(edge):
    spent, other = exhausted(edge, "hourly"), edge.account("hourly")
    assert edge.get("/v1", spent).status == 429
    assert limit(edge.get("/v1", other), "rate")[0] == 4


def test_a_route_has_its_cost(edge):
    account = edge.account("hourly")
    assert limit(edge.get("/v1/double", account), "rate")[0] == 3
    assert limit(edge.get("/v1/free", account), "rate")[0] == 3
    assert limit(edge.get("/v1/double", account), "rate")[0] == 1
    refused = edge.get("/v1/double", account)
    assert refused.status == 429, "one unit is left, but two are needed"
    assert 3500 < int(refused.get("Retry-After")) <= 3600
    assert edge.get("/v1", account).status == 200, "that unit is still there"
    assert edge.get("/v1/free", account).status == 200


def test_a_quota_is_used_up_once_a_day(edge):
    away_from_midnight()
    account = edge.account("daily")
    lefts = []
    for _ in range(3):
        answer = edge.get("/v1", account)
        assert answer.status == 200
        lefts.append(limit(answer, "quota")[0])
    assert lefts == [2, 1, 0]
    refused = edge.get("/v1", account)
    assert refused.status == 429
    assert abs(int(refused.get("Retry-After")) - seconds_to_midnight()) < 3
    shown = edge.show(account)
    assert (shown["quota"], shown["quota_used"]) == (3, 3)


def test_both_limits_are_reported_and_the_tighter_one_refuses(edge):
    away_from_midnight()
    account = edge.account("both")
    answers = [edge.get("/v1", account) for _ in range(5)]
    assert [a.status for a in answers] == [200] * 4 + [429]
    assert answers[0].get("RateLimit-Policy") == '"rate";q=9;w=32400, "quota";q=4;w=86400'
    assert limit(answers[0], "rate")[0] == 8 and limit(answers[0], "quota")[0] == 3
    assert b'"quota"' in answers[4].body


def test_refused_requests_charge_nothing(edge):
    away_from_midnight()
    account = edge.account("both")
    assert limit(edge.get("/v1", account), "rate")[0] == 8
    for path, status in (("/v2", 404), ("/v1//x", 400), ("/v1/export/x", 403)):
        assert edge.get(path, account).status == status
    edge.cli("account", "suspend", account.id)
    assert edge.get("/v1", account).status == 403
    edge.cli("account", "resume", account.id)
    answer = edge.get("/v1", account)
    assert limit(answer, "rate")[0] == 7 and limit(answer, "quota")[0] == 2


def test_an_account_without_limits_gets_no_ratelimit_fields(edge):
    answer = edge.get("/v1", edge.account())
    assert answer.get("RateLimit") is None and answer.get("RateLimit-Policy") is None


def test_the_upstreams_ratelimit_fields_are_replaced(edge):
    edge.upstream.on("/v1/own", lambda call: call.answer(headers=[("RateLimit", "lie"),
                                                                  ("RateLimit-Policy", "lie")]))
    answer = edge.get("/v1/own", edge.account("hourly"))
    assert "lie" not in answer.get("RateLimit") + answer.get("RateLimit-Policy")


# ---- concurrency ----


def hold(edge, account, path="/v1/hold"):
    """Send a request that the upstream does not answer yet, and that must not be retried."""
    gate = Gate()
    edge.upstream.on(path, gate)
    connection = edge.connect()
    connection.ask("POST", path, key=account.key)
    gate.wait()
    return connection, gate


def test_a_concurrency_slot_is_free_before_the_client_has_its_answer(edge):
    account = edge.account("single")
    with edge.connect() as one, edge.connect() as other:
        for _ in range(50):
            assert one.request("GET", "/v1", key=account.key).status == 200
            assert other.request("GET", "/v1", key=account.key).status == 200


def test_a_client_that_vanishes_frees_its_concurrency_slot(edge):
    account = edge.account("single")
    connection, gate = hold(edge, account)
    assert edge.get("/v1", account).status == 429
    connection.reset()
    wait_until(lambda: edge.get("/v1", account).status == 200, "the concurrency slot is free")
    assert gate.was_left.wait(20), "the connection upstream is closed"
    gate.open()
    wait_until(lambda: edge.show(account)["concurrent"] == 0, "no request is in flight")


def test_an_upstream_that_dies_frees_the_concurrency_slot(edge):
    account = edge.account("single")
    connection, gate = hold(edge, account)
    edge.upstream.hang_up()
    assert connection.answer().status == 502
    assert connection.request("GET", "/v1", key=account.key).status == 200
    connection.close()
    gate.open()
    assert edge.show(account)["concurrent"] == 0


def test_an_account_without_a_limit_is_never_over_it(edge):
    account = edge.account()
    held_now = [hold(edge, account, f"/v1/hold{i}") for i in range(5)]
    assert edge.get("/v1", account).status == 200
    assert edge.show(account)["concurrent"] == 5
    for connection, gate in held_now:
        gate.open()
        assert connection.answer().status == 200
        connection.close()
    assert edge.show(account)["concurrent"] == 0


def test_a_hundred_per_minute_without_a_burst_are_a_hundred_in_a_minute(edge):
    account = edge.account("minutely")
    began = time.monotonic()
    with edge.connect() as connection:
        first = connection.request("GET", "/v1", key=account.key)
        passed = 1
        while (answer := connection.request("GET", "/v1", key=account.key)).status == 200:
            passed += 1
    took = time.monotonic() - began
    # One more passes every 0.6 seconds.
    assert 100 <= passed <= 100 + int(took / 0.6) + 1
    assert first.get("RateLimit-Policy") == '"rate";q=100;w=60'
    assert limit(first, "rate")[0] == 99
    assert answer.status == 429 and answer.get("RateLimit-Policy") == '"rate";q=100;w=60'
    assert answer.get("Retry-After") == "1"


def test_check_states_the_burst_of_each_tier(edge):
    said = edge.cli("check", "-c", edge.config_path).stdout
    assert "tier minutely: rate 100/m, burst 100\n" in said
    assert "tier quick: rate 2/s, burst 2\n" in said
    assert "tier plain: no rate limit\n" in said
    assert said.endswith(": ok\n")
