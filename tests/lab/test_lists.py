# SPDX-License-Identifier: BSD-2-Clause
"""Address lists, and observing and controlling the fast path at run time.

    client 10.91.0.1, fd91::1 -- veth0 -- veth0 10.91.0.2, fd91::2 edge: agent, upstream
"""
import itertools
import json
import subprocess

import pytest

from client import BrokenBody, Connection
from lab import Wrk, spawn, tollgate, wait_until
from test_tls import context, tls_agent
from upstream import Gate

TIERS = [{"name": "plain"}, {"name": "flood", "rate": "40/s", "burst": 20}]
TOLERANCE = 5


@pytest.fixture
def edge(make_lab):
    agent = make_lab.agent(make_lab.upstream(), tiers=TIERS, fastpath={"tolerance": TOLERANCE})
    return agent.start()


@pytest.fixture
def alone(make_lab):
    """Without the fast path: the agent must enforce the lists by itself."""
    upstream = make_lab.upstream()
    agent = make_lab.agent(upstream, tiers=TIERS, fastpath={"mode": "none"})
    agent.upstream = upstream
    return agent.start()


host_numbers = itertools.count(100)


@pytest.fixture
def address(namespaces):
    """A client address that no other test uses."""
    made = f"10.91.0.{next(host_numbers)}"
    namespaces.add_client_addresses(f"{made}/24")
    return made


def xdp(agent, result):
    return agent.metric("tollgate_xdp_packets_total", result=result)


def refused(agent, plane):
    return agent.metric("tollgate_requests_total", verdict="denied", plane=plane)


def knock(agent, key, source, timeout=0.3):
    """Send one request on a new connection; None if there is no answer."""
    try:
        with Connection(agent.address, network=agent.network, source=source,
                        timeout=timeout) as connection:
            connection.sock.settimeout(10)
            return connection.request(key=key).status
    except (TimeoutError, ConnectionError, BrokenBody):
        return None


def is_reset(connection):
    """Whether the connection is reset already: when the command has returned, it must be."""
    connection.sock.settimeout(5)
    try:
        return connection.sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_denied_client_cannot_connect_and_its_open_connections_are_closed(edge, address):
    key = edge.account().key
    mine, other = edge.connect(source=address), edge.connect()
    assert mine.request(key=key).status == other.request(key=key).status == 200
    assert edge.cli("deny", address).stdout == f"{address} is on the deny list\n"
    assert is_reset(mine)
    assert other.request(key=key).status == 200
    assert knock(edge, key, address) is None
    assert xdp(edge, "drop_denied") == refused(edge, "xdp") > 0
    assert refused(edge, "agent") == 0, "XDP drops, so the agent has no work"

    assert edge.cli("deny", "--remove", address).stdout == f"{address} is no longer on the deny list\n"
    assert knock(edge, key, address, timeout=5) == 200
    assert edge.cli("deny", "--remove", address, check=False).returncode == 1


def test_without_xdp_the_agent_enforces_the_list(alone, address):
    key = alone.account().key
    with alone.connect(source=address) as mine:
        assert mine.request(key=key).status == 200
        alone.cli("deny", "10.91.0.0/24")
        assert is_reset(mine)
    assert knock(alone, key, address) is None
    assert refused(alone, "agent") > 0 and refused(alone, "xdp") == 0
    alone.cli("allow", address)
    assert knock(alone, key, address) == 200, "the most specific entry"
    assert knock(alone, key, None) is None


def test_denied_connections_are_closed_in_any_state(alone, address):
    gate, account = Gate(), alone.account()
    alone.upstream.on("/slow", gate)
    silent, half, waiting = (alone.connect(source=address) for _ in range(3))
    half.send("GET / HTTP/1.1\r\nHost: a\r\n")
    waiting.ask("GET", "/slow", key=account.key)
    gate.wait()
    wait_until(lambda: alone.status()["connections"] == 3, "all are there")
    alone.cli("deny", address)
    assert is_reset(silent) and is_reset(half) and is_reset(waiting)
    wait_until(lambda: alone.status()["connections"] == 0, "none is left")
    assert gate.was_left.wait(20), "the connection upstream is closed"
    gate.open()
    assert knock(alone, account.key, None) == 200


@pytest.mark.parametrize("planes", ["both", "agent"])
def test_entries_survive_a_restart(make_lab, address, planes):
    mode = {"mode": "none"} if planes == "agent" else {}
    agent = make_lab.agent(make_lab.upstream(), tiers=TIERS, fastpath=mode).start()
    key = agent.account().key
    agent.cli("deny", "10.91.0.96/27")
    agent.cli("deny", "2001:db8::/32", "--for", "1h")
    agent.cli("allow", "192.0.2.1")
    before = agent.json("deny"), agent.json("allow")
    assert [entry["cidr"] for entry in before[0]] == ["10.91.0.96/27", "2001:db8::/32"]
    agent.kill()
    agent.start()
    assert (agent.json("deny"), agent.json("allow")) == before
    agent.cli("deny", address)
    assert knock(agent, key, address) is None
    assert agent.stop() == 0
    agent.start()
    assert knock(agent, key, address) is None
    assert refused(agent, "xdp" if planes == "both" else "agent") > 0
    assert knock(agent, key, None) == 200


def test_an_entry_expires(edge, address):
    key = edge.account().key
    assert " until 2" in edge.cli("deny", address, "--for", "2s").stdout
    assert knock(edge, key, address) is None
    wait_until(lambda: knock(edge, key, address) == 200, "it has expired")
    wait_until(lambda: edge.json("deny") == [], "and is removed")
    edge.kill()
    edge.start()
    assert edge.json("deny") == []


def test_when_an_allow_entry_in_a_denied_block_expires_its_connections_are_closed(edge, address):
    key = edge.account().key
    edge.cli("allow", address, "--for", "2s")
    edge.cli("deny", "10.91.0.96/27")
    with edge.connect(source=address) as mine:
        assert mine.request(key=key).status == 200
        assert is_reset(mine)


def test_an_allowed_source_gets_no_penalty(edge, address):
    edge.cli("allow", address)
    for _ in range(5 * TOLERANCE):
        assert knock(edge, "unknown-key-0123456789", address, timeout=10) == 401
    assert xdp(edge, "drop_source") == 0
    edge.cli("allow", "--remove", address)
    assert knock(edge, "unknown-key-0123456789", address) == 401, "no penalty has begun meanwhile"
    wait_until(lambda: knock(edge, "unknown-key-0123456789", address) is None, "shut out", every=0)
    edge.cli("allow", address)
    assert knock(edge, edge.account().key, address) == 200, "a running penalty has no effect"


def test_observing_counts_denied_syns_and_the_agent_refuses(edge, address):
    key = edge.account().key
    edge.cli("fastpath", "observe")
    edge.cli("deny", address)
    assert knock(edge, key, address) is None
    assert xdp(edge, "observe_denied") == 1 and xdp(edge, "drop_denied") == 0
    assert refused(edge, "agent") == 1


def test_an_entry_that_would_lock_out_many_needs_force(make_lab):
    agent = make_lab.agent(make_lab.upstream(), tiers=TIERS,
                           trusted_proxies=["10.91.7.0/24"]).start()
    for block, why in (("10.91.7.9", "trusted proxy"), ("10.91.0.0/16", "trusted proxy"),
                       ("64.0.0.0/7", "wider than /8"), ("2000::/15", "wider than /16"),
                       ("::/0", "wider than /16")):
        result = agent.cli("deny", block, check=False)
        assert result.returncode == 1 and why in result.stderr, block
        assert agent.json("deny") == []
    agent.cli("allow", "64.0.0.0/7")
    agent.cli("deny", "64.0.0.0/7", "--force")
    agent.cli("deny", "10.91.7.9", "--force")
    assert [entry["cidr"] for entry in agent.json("deny")] == ["10.91.7.9", "64.0.0.0/7"]
    assert agent.json("allow") == [], "the later command replaces the entry"


def test_a_denied_client_over_tls_is_closed_and_refused(make_lab, address):
    agent = tls_agent(make_lab)
    secret, key = context(agent), agent.account().key
    with agent.connect(source=address, tls=secret) as mine:
        assert mine.request(key=key).status == 200
        greeting = agent.connect(source=address)
        wait_until(lambda: agent.status()["connections"] == 2, "a connection in its handshake")
        agent.cli("deny", address)
        assert is_reset(mine) and is_reset(greeting)
    assert knock(agent, key, address) is None
    with agent.connect(tls=secret) as other:
        assert other.request(key=key).status == 200


# ---- the fast path at run time ----


def test_fastpath_shows_its_state_and_changes_at_once(edge):
    flood = edge.account("flood")
    shown = edge.json("fastpath")
    assert shown["loaded"] and shown["action"] == "answer" and shown["flows"] == 0
    assert [one["mode"] for one in shown["interfaces"]] == ["native"]

    said = edge.cli("fastpath", "observe").stdout
    assert "observe" in said and "until the next start or reload" in said
    Wrk(edge.network, edge.url(), flood.key, seconds=1).result()
    counters = edge.json("fastpath")["counters"]
    assert counters["observe_answer"] > 0 and counters["answer_rate"] == counters["drop_flow"] == 0

    edge.cli("fastpath", "drop")
    Wrk(edge.network, edge.url(), flood.key, seconds=1).result()
    assert edge.json("fastpath")["counters"]["drop_flow"] > 0
    words = edge.cli("fastpath").stdout
    assert "action drop" in words and "veth0" in words and "drop_flow" in words
    edge.reload()
    assert edge.json("fastpath")["action"] == "answer", "as in the configuration"
    edge.cli("fastpath", "off")
    before = edge.json("fastpath")["counters"]
    assert edge.json("fastpath")["action"] == "off"
    assert edge.get(account=edge.account()).status == 200
    assert edge.json("fastpath")["counters"] == before, "off counts nothing"


def test_fastpath_says_why_it_is_off(alone):
    assert "fastpath.mode is none" in alone.cli("fastpath").stdout
    result = alone.cli("fastpath", "observe", check=False)
    assert result.returncode == 1 and "fastpath.mode is none" in result.stderr
    assert not alone.json("fastpath")["loaded"]


def follow(agent, *words):
    return spawn([tollgate(), "--socket", agent.socket, "events", *words], text=True,
                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_events_follow_what_is_refused(edge, address):
    key = edge.account().key
    edge.cli("deny", address)
    assert knock(edge, key, address) is None
    seen = json.loads(edge.cli("events", "--all", "--count", "1", "--json").stdout)
    assert seen["client"].startswith(f"{address}:") and seen["port"] == edge.port
    assert (seen["verdict"], seen["plane"], seen["action"]) == ("denied", "xdp", "answer")
    assert seen["serial"] == 1 and "account" not in seen and seen["time"].endswith("Z")


def test_events_arrive_as_they_happen_and_name_the_account(edge):
    flood = edge.account("flood")
    # Following shows only new events, none from before.
    follower = follow(edge, "--count", "3", "--json")
    load = Wrk(edge.network, edge.url(), flood.key, seconds=3)
    lines, _ = follower.communicate(timeout=20)
    load.result()
    events = [json.loads(line) for line in lines.splitlines()]
    assert len(events) == 3 and follower.returncode == 0
    assert [event["serial"] for event in events] == sorted(event["serial"] for event in events)
    for event in events:
        assert event["verdict"] == "over_rate" and event["account"] == flood.id


def test_lost_events_are_counted(edge):
    flood = edge.account("flood")
    Wrk(edge.network, edge.url(), flood.key, seconds=1, connections=64).result()

    def more_than_kept():
        Wrk(edge.network, edge.url(), flood.key, seconds=1, connections=64).result()
        return json.loads(edge.admin("GET", "/api/v1/events").body)["last"] > 1100
    wait_until(more_than_kept, "the ring is overrun", every=0)
    answer = json.loads(edge.admin("GET", "/api/v1/events?since=10").body)
    assert len(answer["events"]) == 1024
    assert answer["lost"] == answer["last"] - 1024 - 10
    assert answer["events"][0]["serial"] == answer["last"] - 1023
    assert answer["every"] == 1
    nothing = json.loads(edge.admin("GET", f"/api/v1/events?since={answer['last']}").body)
    assert nothing["events"] == [] and nothing["lost"] == 0
