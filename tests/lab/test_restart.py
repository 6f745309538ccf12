# SPDX-License-Identifier: BSD-2-Clause
"""Restart: what survives a reload, SIGTERM and kill -9, under load."""
import json
import re
import signal
import socket
import sqlite3
import threading
import time

import pytest

from agent import wait_usage
from client import BrokenBody
from lab import Wrk, wait_until
from upstream import Gate

SLOW_TIERS = [
    {"name": "plain"},
    {"name": "hourly", "rate": "1/h", "burst": 3},
    {"name": "daily", "quota": "5/day"},
]


@pytest.fixture(params=["fast path", "mode none"])
def edge(request, make_lab):
    """An agent that is not started; its slots are in a pinned map or in a file."""
    fastpath = {"tolerance": 5}
    if request.param == "mode none":
        fastpath["mode"] = "none"
    upstream = make_lab.upstream()
    agent = make_lab.agent(upstream, tiers=SLOW_TIERS, workers=2, fastpath=fastpath)
    agent.upstream = upstream
    return agent


def in_parallel(count, work):
    """Run work(i) in count threads; raise the first error."""
    errors = []

    def run(i):
        try:
            work(i)
        except Exception as error:
            errors.append(error)
    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def stored_usage(agent, account):
    """Start a new agent and return the usage in the store."""
    agent.start()
    return agent.usage(account)[0]


# ---- reload ----


def test_reloads_under_load_fail_no_request(make):
    first, second = make.nginx(body="first"), make.nginx(body="second")
    agent = make.agent(first, workers=2).start()
    account = agent.account()
    load = Wrk(agent.network, agent.url(), account.key, seconds=3, connections=16)
    servers = [[f"127.0.0.1:{nginx.port}"] for nginx in (second, first)]
    reloads = 0
    while load.is_running():
        agent.configure(upstreams=[{"name": "api", "servers": servers[reloads % 2]}],
                        routes=[{"path": "/", "upstream": "api"},
                                {"path": f"/r{reloads}", "upstream": "api"}])
        agent.reload()
        reloads += 1
    result = load.result()
    assert reloads >= 3
    assert result["refused"] == result["read"] == result["write"] == result["timeout"] == 0, \
        result["text"]
    assert first.requests() > 100 and second.requests() > 100, "both configurations were used"


def test_a_reload_swaps_routes_tiers_and_upstreams(make):
    first, second = make.upstream(), make.upstream()
    first.on("/x", lambda call: call.answer("first"))
    second.on("/x", lambda call: call.answer("second"))
    agent = make.agent(first, workers=2, tiers=[{"name": "t", "rate": "1/h", "burst": 3}]).start()
    account = agent.account("t")
    crowd = [agent.connect() for _ in range(30)]  # enough that each worker has some
    bodies = {c.request(path="/x", key=account.key).body for c in crowd[:3]}
    assert bodies == {b"first"}
    agent.configure(
        upstreams=[{"name": "api", "servers": [f"127.0.0.1:{second.address[1]}"]}],
        tiers=[{"name": "t", "rate": "1/h", "burst": 1000}],
        routes=[{"path": "/x", "upstream": "api"}])
    agent.reload()
    # Open connections follow the new rules, on all workers.
    wait_until(lambda: {c.request(path="/y", key=account.key).status for c in crowd} == {404},
               "all workers have the new routes", every=0.1)
    answers = [c.request(path="/x", key=account.key) for c in crowd]
    assert {answer.body for answer in answers} == {b"second"}
    assert all("q=1000;" in answer.get("RateLimit-Policy") for answer in answers)
    for connection in crowd:
        connection.close()


def test_a_reload_names_what_needs_a_restart_and_succeeds(make):
    agent = make.agent(make.upstream()).start()
    agent.configure(redis_timeout="3s", max_accounts=2048)
    result = agent.cli("reload")
    assert result.stdout == "reloaded\n"
    assert result.stderr == "note: these need a restart to change: max_accounts, redis_timeout\n"


def test_an_account_can_be_created_on_hold(make):
    agent = make.agent(make.upstream()).start()
    answer = agent.admin("POST", "/api/v1/accounts", {"tier": "plain", "held": True})
    assert answer.status == 201 or answer.status == 200, answer
    made = json.loads(answer.body)
    assert made["held"] is True and made["entitled"] is False


def test_a_tier_change_takes_effect_on_open_connections(make):
    agent = make.agent(make.upstream(), workers=2,
                       tiers=[{"name": "t", "rate": "1/h", "burst": 2}]).start()
    account = agent.account("t")
    with agent.connect() as connection:
        statuses = [connection.request(key=account.key).status for _ in range(3)]
        assert statuses == [200, 200, 429]
        agent.configure(tiers=[{"name": "t"}])
        assert agent.cli("reload").returncode == 0
        assert connection.request(key=account.key).status == 200


@pytest.mark.parametrize("way", ["SIGHUP", "command line"])
def test_an_invalid_configuration_keeps_the_old_one_and_says_why(make, way):
    agent = make.agent(make.upstream()).start()
    account = agent.account()
    with agent.connect() as connection:
        assert connection.request(key=account.key).status == 200
        agent.configure(routes=[{"path": "/", "upstream": "nowhere"}])
        if way == "SIGHUP":
            agent.reload()
            said = agent.log()
        else:
            result = agent.cli("reload", check=False)
            assert result.returncode == 1
            said = result.stderr
        assert re.search(r"tollgate\.yaml:\d+:\d+: .*'nowhere'", said)
        assert connection.request(key=account.key).status == 200
    assert agent.cli("status").returncode == 0


def test_options_that_need_a_restart_are_named_and_stay(make):
    agent = make.agent(make.upstream()).start()
    agent.configure(workers=2, max_accounts=2048)
    result = agent.cli("reload")
    assert "workers" in result.stderr and "max_accounts" in result.stderr
    assert agent.status()["workers"] == 1


# ---- SIGTERM ----


def is_refused(agent):
    with agent.network.inside("client"), socket.socket() as probe:
        return probe.connect_ex(agent.address) != 0


def test_sigterm_finishes_running_requests_and_accepts_no_new_ones(make):
    upstream, gate = make.upstream(), Gate()
    upstream.on("/slow", gate)
    agent = make.agent(upstream, workers=2, drain="30s").start()
    account = agent.account()
    idle = agent.connect()
    assert idle.request(key=account.key).status == 200
    with agent.connect() as slow:
        slow.ask("POST", "/slow", key=account.key)
        gate.wait()
        agent.process.send_signal(signal.SIGTERM)
        wait_until(lambda: is_refused(agent), "new connections are refused")
        assert idle.is_closed(), "the drain does not wait for idle connections"
        assert agent.is_running()
        gate.open()
        answer = slow.answer()
        assert answer.status == 200 and answer.body == b"late"
        assert answer.get("Connection") == "close" and slow.is_closed()
    assert agent.exit_code() == 0
    idle.close()


def test_sigterm_cuts_off_requests_that_outlast_the_drain_time(make):
    upstream, gate = make.upstream(), Gate()
    upstream.on("/slow", gate)
    agent = make.agent(upstream, workers=2, drain="200ms").start()
    account = agent.account()
    with agent.connect() as slow:
        slow.ask("POST", "/slow", key=account.key)
        gate.wait()
        assert agent.stop() == 0
        assert slow.is_closed()
    gate.open()
    assert stored_usage(agent, account) == 0, "a request without an answer is not billed"


def test_a_second_sigterm_ends_the_drain(make):
    upstream, gate = make.upstream(), Gate()
    upstream.on("/slow", gate)
    agent = make.agent(upstream, drain="10m").start()
    with agent.connect() as slow:
        slow.ask("POST", "/slow", key=agent.account().key)
        gate.wait()
        agent.process.send_signal(signal.SIGTERM)
        agent.wait_for("STOPPING=1")
        agent.process.send_signal(signal.SIGTERM)
        assert agent.exit_code() == 0
    gate.open()


def test_after_sigterm_the_store_has_every_answered_request(edge):
    edge.start()
    accounts = [edge.account() for _ in range(4)]

    def customer(i):
        with edge.connect() as connection:
            for _ in range(200):
                assert connection.request(key=accounts[i % 4].key).status == 200
    in_parallel(8, customer)
    assert edge.stop() == 0
    edge.start()
    assert [edge.usage(account)[0] for account in accounts] == [400] * 4


# ---- kill -9 ----


def test_an_empty_bucket_stays_empty_across_kill_and_restart(edge):
    edge.start()
    spent, half = edge.account("hourly"), edge.account("hourly")
    assert [edge.get("/", spent).status for _ in range(4)] == [200] * 3 + [429]
    assert edge.get("/", half).status == 200
    edge.kill()
    edge.start()
    assert edge.get("/", spent).status == 429
    assert [edge.get("/", half).status for _ in range(3)] == [200] * 2 + [429]


def test_a_quota_stays_used_up_across_kill_and_restart(edge):
    edge.start()
    account = edge.account("daily")
    assert edge.get("/", account).status == 200
    edge.kill()
    edge.start()
    assert 'r=3;' in edge.get("/", account).get("RateLimit")


def test_a_penalty_survives_kill_and_restart(make_lab):
    edge = make_lab.agent(make_lab.upstream(), tiers=SLOW_TIERS, fastpath={"action": "drop"}).start()
    account = edge.account("hourly")
    with edge.connect() as connection:
        def is_in_penalty():
            connection.request(key=account.key)
            return edge.show(account)["penalty"]
        wait_until(is_in_penalty, "a penalty", every=0)
    edge.kill()
    edge.start()
    assert edge.show(account)["penalty"]


def test_usage_is_stored_repeatedly_but_never_twice(edge):
    edge.start()
    account = edge.account()
    with edge.connect() as connection:
        for stored in range(3):
            for _ in range(50):
                assert connection.request(key=account.key).status == 200
            wait_usage(edge, account, 50 * (stored + 1))


def test_usage_counters_survive_a_kill_exactly(edge):
    edge.start()
    account = edge.account()
    for killed in range(3):
        with edge.connect() as connection:
            for _ in range(50):
                assert connection.request(key=account.key).status == 200
        edge.kill()
        edge.start()
        wait_usage(edge, account, 50 * (killed + 1))
    assert edge.stop() == 0
    assert stored_usage(edge, account) == 150


def test_a_kill_under_load_loses_no_answered_request(edge):
    edge.start()
    account = edge.account()
    answered = [0] * 4

    def customer(i):
        try:
            with edge.connect() as connection:
                while True:
                    assert connection.request(key=account.key).status == 200
                    answered[i] += 1
        except (OSError, BrokenBody):
            pass  # killed
    killer = threading.Timer(1.2, edge.kill)  # in the midst of it, and of a flush
    killer.start()
    in_parallel(4, customer)
    killer.join()
    edge.start()
    assert edge.stop() == 0
    usage = stored_usage(edge, account)
    assert sum(answered) <= usage <= sum(answered) + 4, "counted before the answer, and only once"
    assert usage <= len(edge.upstream.seen)


def test_xdp_stays_attached_across_kill_and_restart(make_lab):
    agent = make_lab.agent(make_lab.upstream(), tiers=SLOW_TIERS).start()
    link = agent.pins.link_id()
    agent.kill()
    assert agent.pins.link_id() == link, "without an agent"
    assert "prog/xdp" in agent.network.in_edge("ip", "-d", "link", "show", "veth0")
    agent.start()
    assert agent.pins.link_id() == link, "with the next agent"
    assert [one["mode"] for one in agent.status()["fastpath"]["interfaces"]] == ["native"]
    # The program is the new agent's: it answers on connections that the new agent enrols.
    account = agent.account("hourly")
    with agent.connect() as connection:
        wait_until(lambda: connection.request(key=account.key).status == 429 and
                   agent.metric("tollgate_xdp_packets_total", result="answer_rate"), "an answer", every=0)


def test_slots_are_not_adopted_for_a_copy_of_the_store(edge):
    """The copy has the same accounts, but its data may be older."""
    edge.start()
    account = edge.account("hourly")
    assert [edge.get("/", account).status for _ in range(4)] == [200] * 3 + [429]
    assert edge.stop() == 0
    with sqlite3.connect(f"{edge.config['state_dir']}/tollgate.db") as db:
        db.execute("UPDATE meta SET store_id = randomblob(16)")
    db.close()
    edge.start()
    assert [edge.get("/", account).status for _ in range(4)] == [200] * 3 + [429]


def test_slots_of_another_store_are_not_adopted(edge):
    edge.start()
    account = edge.account("hourly")
    assert [edge.get("/", account).status for _ in range(4)] == [200] * 3 + [429]
    edge.kill()
    edge.configure(store=f"sqlite:{edge.folder}/other.db")
    edge.start()
    assert "belonged to another store: cleared" in edge.log()
    assert edge.status()["accounts"] == 0
    assert edge.get("/", account).status == 401
    fresh = edge.account("hourly")
    assert [edge.get("/", fresh).status for _ in range(4)] == [200] * 3 + [429]
    assert edge.show(fresh)["dropped_xdp"] == 0


def test_open_loop_clients_are_served_again_after_a_restart(make):
    """Between kill and restart connections are refused; from READY=1 on requests are served at once."""
    agent = make.agent(make.nginx(), workers=2).start()
    account = agent.account()
    load = Wrk(agent.network, agent.url(), account.key, seconds=2, connections=8)
    wait_until(lambda: agent.metric("tollgate_requests_total", verdict="allow", plane="agent") > 50,
               "the load has started")
    agent.kill()
    agent.start()
    begin = time.monotonic()
    for _ in range(50):
        assert agent.get("/", account).status == 200
    assert time.monotonic() - begin < 5
    refused = load.result()["refused"]
    unavailable = agent.metric("tollgate_requests_total", verdict="unavailable", plane="agent")
    assert refused <= unavailable, "only 503s, and only while the store was loading"
