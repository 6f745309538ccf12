# SPDX-License-Identifier: BSD-2-Clause
"""Drops: which packets XDP drops, and which it never drops.

    client 10.91.0.1, fd91::1 -- veth0 -- veth0 10.91.0.2, fd91::2 edge: agent, upstream
"""
import itertools
import threading
import time

import pytest

from client import BrokenBody, Connection
from lab import Wrk, wait_until
from upstream import Gate

DROP_FLOW, DROP_SOURCE = 0, 1  # elements of map `counters`
TIERS = [
    {"name": "plain"},
    {"name": "flood", "rate": "40/s", "burst": 20},
    {"name": "slow", "rate": "10/s", "burst": 4},
    {"name": "hourly", "rate": "1/h", "burst": 2},
]
TOLERANCE = 5


@pytest.fixture
def edge(make_lab):
    upstream = make_lab.upstream()
    agent = make_lab.agent(upstream, tiers=TIERS, fastpath={"action": "drop", "tolerance": TOLERANCE})
    agent.upstream = upstream
    agent.start()
    yield agent
    assert not upstream.errors


def xdp(agent, result):
    return agent.metric("tollgate_xdp_packets_total", result=result)


def attached(agent):
    return [(one["name"], one["mode"]) for one in agent.status()["fastpath"]["interfaces"]]


def dropped_on(agent, connection):
    return agent.pins.dropped_on(connection.local[:2], agent.address)


def flood_until(agent, account, condition, what, source=None):
    """Flood one connection until the condition is true, and read the last answer."""
    with agent.connect(source=source) as connection:
        def ask():
            assert connection.request(path="/flood", key=account.key).status in (200, 429)
            return condition()
        wait_until(ask, what, every=0)


def into_penalty(agent, account):
    """Use `hourly` up and keep sending, until a penalty of five seconds begins."""
    with agent.connect() as connection:
        def is_in():
            connection.request(key=account.key)
            return agent.show(account)["penalty"]
        wait_until(is_in, "a penalty", every=0)


class Steady:
    """A customer who sends a request now and then, and measures how long each answer takes."""

    def __init__(self, agent, account):
        self.agent, self.account = agent, account
        self.statuses, self.seconds = [], []
        self.is_over = False
        self.connection = agent.connect()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.is_over:
            begin = time.monotonic()
            self.statuses.append(self.connection.request(key=self.account.key).status)
            self.seconds.append(time.monotonic() - begin)
            time.sleep(0.002)  # the customer's pace

    def stop(self):
        self.is_over = True
        self.thread.join()
        self.connection.close()
        return sorted(self.seconds)


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_a_flooding_client_is_refused_then_dropped_and_others_do_not_notice(make_lab, mode):
    upstream = make_lab.nginx()
    agent = make_lab.agent(upstream, tiers=TIERS,
                           fastpath={"action": "drop", "tolerance": TOLERANCE, "mode": mode}).start()
    assert attached(agent) == [("veth0", mode)]
    flooder, other = agent.account("flood"), agent.account("plain")
    steady = Steady(agent, other)
    result = Wrk(agent.network, agent.url(), flooder.key, seconds=2, connections=16).result()
    seconds = steady.stop()

    assert result["refused"] > TOLERANCE, "first the agent says 429"
    allowed = result["requests"] - result["refused"]
    assert 20 <= allowed <= 20 + 40 * 4, f"{allowed} were allowed at 40/s within 2 s"
    assert result["read"] == result["connect"] == 0, "no connection breaks"
    assert set(steady.statuses) == {200} and len(seconds) > 100
    assert seconds[len(seconds) * 99 // 100] < 0.25, "the flood does not delay them"

    drops = agent.metric("tollgate_requests_total", verdict="penalty_flow", plane="xdp")
    assert drops > 0, "then XDP drops"
    assert drops == agent.pins.counter(DROP_FLOW), "the kernel's own map says the same"
    assert agent.show(flooder)["dropped_xdp"] == drops, "all drops belong to the flooding account"
    assert agent.show(other)["dropped_xdp"] == 0


def test_observe_counts_and_drops_nothing(make_lab):
    agent = make_lab.agent(make_lab.nginx(), tiers=TIERS,
                           fastpath={"tolerance": TOLERANCE, "action": "observe"}).start()
    flooder = agent.account("flood")
    result = Wrk(agent.network, agent.url(), flooder.key, seconds=1).result()
    assert xdp(agent, "observe_answer") > 0
    assert xdp(agent, "answer_rate") == xdp(agent, "drop_flow") == agent.pins.counter(DROP_FLOW) == 0
    assert agent.show(flooder)["dropped_xdp"] == 0
    refused = agent.metric("tollgate_requests_total", verdict="over_rate", plane="agent")
    assert refused >= result["refused"] > 100, "every request got its answer from the agent"


def test_a_reload_changes_the_action(edge):
    account = edge.account("hourly")
    edge.configure(fastpath={"action": "observe"})
    edge.reload()
    assert edge.status()["fastpath"]["action"] == "observe"
    flood_until(edge, account, lambda: xdp(edge, "observe_answer") > 0, "something to observe")
    assert xdp(edge, "drop_flow") == 0


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_a_dropped_flow_continues_when_credit_is_back_and_loses_no_byte(make_lab, family):
    network = make_lab.network
    host = network.server_address if family == "IPv4" else f"[{network.server_address6}]"
    upstream = make_lab.upstream()
    agent = make_lab.agent(upstream, tiers=TIERS, fastpath={"action": "drop", "tolerance": TOLERANCE})
    agent.configure(listeners=[dict(agent.config["listeners"][0], address=f"{host}:{agent.port}")])
    agent.address = (host.strip("[]"), agent.port)
    agent.start()
    upstream.on("/n", lambda call: call.answer(call.target.partition("?")[2] * 50))
    account = agent.account("slow")
    answered = 0
    with agent.connect() as connection:
        local = connection.local
        while agent.pins.counter(DROP_FLOW) < 3 or answered < 60:
            answer = connection.request(path=f"/n?{answered:06}", key=account.key)
            assert answer.status in (200, 429)
            if answer.status == 200:
                assert answer.body == b"%06d" % answered * 50, "each answer belongs to its request"
            answered += 1
            assert answered < 10000, "nothing is dropped"
        assert dropped_on(agent, connection) >= 3
        wait_until(lambda: connection.request(path="/n?1", key=account.key).status == 200,
                   "the same connection is served again", every=0.2)
        assert connection.local == local
    allowed = agent.metric("tollgate_requests_total", verdict="allow", plane="agent")
    assert len(upstream.seen) == allowed, "a retransmitted request is not executed twice"


def test_credit_ends_the_drops_before_the_penalty_does(edge):
    account = edge.account("hourly")
    with edge.connect() as connection:
        while not edge.show(account)["penalty"]:
            assert connection.request(key=account.key).status in (200, 429)
        edge.cli("account", "set", account.id, "--tier", "plain")
        for _ in range(20):
            assert connection.request(key=account.key).status == 200
        assert edge.show(account)["penalty"], "it has been in penalty all the time"
        assert xdp(edge, "pass_credit") >= 20 and dropped_on(edge, connection) == 0


def test_a_penalty_does_not_drop_an_upload_that_was_allowed(edge):
    account = edge.account("hourly")
    pieces, piece = 40, b"u" * 3000
    with edge.connect() as upload:
        # Get a refusal first, so that the connection is enrolled.
        wait_until(lambda: upload.request(key=account.key).status == 429, "over", every=0)
        edge.cli("account", "set", account.id, "--tier", "plain")
        upload.send(f"POST /up HTTP/1.1\r\nHost: a\r\nX-API-Key: {account.key}\r\n"
                    f"Content-Length: {pieces * len(piece)}\r\n\r\n")
        upload.send(piece)
        wait_until(lambda: "/up" in edge.upstream.targets(), "the upload is running")
        edge.cli("account", "set", account.id, "--tier", "hourly")
        into_penalty(edge, account)
        before, owed = dropped_on(edge, upload), xdp(edge, "pass_owed")
        assert before == 0, "the connection is enrolled"
        for _ in range(pieces - 1):
            upload.send(piece)
        answer = upload.answer("POST")
        assert answer.status == 200 and f'"length": {pieces * len(piece)}'.encode() in answer.body
        assert edge.show(account)["penalty"], "all pieces arrived during the penalty"
        assert xdp(edge, "pass_owed") >= owed + pieces, "without the upload they would have been dropped"
        assert dropped_on(edge, upload) == 0
        upload.ask(key=account.key)
        wait_until(lambda: dropped_on(edge, upload), "the next request is dropped")


def test_a_request_in_flight_protects_its_connection(edge):
    account, gate = edge.account("hourly"), Gate()
    edge.upstream.on("/slow", gate)
    with edge.connect() as waiting:
        waiting.ask("POST", "/slow", key=account.key)
        gate.wait()
        # Pipelined after a request in flight: it must not be dropped.
        into_penalty(edge, account)
        waiting.ask(key=account.key)
        wait_until(lambda: edge.show(account)["penalty"], "still in penalty")
        gate.open()
        assert waiting.answer().body == b"late"
        assert waiting.answer().status == 429


def test_a_connection_with_keys_of_two_accounts_is_never_dropped(edge):
    bad, good = edge.account("hourly"), edge.account("plain")
    with edge.connect() as mixed:
        assert mixed.request(key=bad.key).status == 200
        assert mixed.request(key=good.key).status == 200
        into_penalty(edge, bad)
        assert mixed.request(key=bad.key).status == 429
        assert dropped_on(edge, mixed) == 0, "it is enrolled by now"
        for _ in range(50):
            assert mixed.request(key=bad.key).status == 429
            assert mixed.request(key=good.key).status == 200
        assert dropped_on(edge, mixed) == 0
        assert xdp(edge, "pass_not_bound") >= 100
        assert edge.show(bad)["penalty"], "it has been in penalty all the time"
    assert xdp(edge, "drop_flow") == 0


def test_a_bound_connection_that_sends_another_key_is_unbound(edge):
    """XDP drops a bound flow before the agent can see another key on it, but only for a while."""
    bad, good = edge.account("slow"), edge.account("plain")
    with edge.connect() as connection:
        for _ in range(4 + TOLERANCE + 1):
            connection.request(key=bad.key)
        assert connection.request(key=good.key).status == 200, "TCP retransmits it until there is credit"
        for _ in range(30):
            assert connection.request(key=bad.key).status in (200, 429)
            assert connection.request(key=good.key).status == 200
        dropped = dropped_on(edge, connection)
        flood_until(edge, bad, lambda: edge.show(bad)["penalty"], "a penalty")
        assert connection.request(key=good.key).status == 200
        assert dropped_on(edge, connection) == dropped


# ---- sources ----


def knock(edge, key, source, timeout=0.3):
    """Send one request on a new connection; None if it cannot connect in time."""
    try:
        with Connection(edge.address, network=edge.network, source=source,
                        timeout=timeout) as connection:
            connection.sock.settimeout(10)
            return connection.request(key=key).status
    except (TimeoutError, BrokenBody):
        return None


def knock_until_dropped(edge, key, source):
    wait_until(lambda: knock(edge, key, source) is None, f"{source} is shut out", every=0)
    assert edge.pins.counter(DROP_SOURCE) > 0


host_numbers = itertools.count(10)


@pytest.fixture
def addresses(namespaces):
    """Client addresses that no other test uses, so that tests do not affect each other's sources."""
    made = [f"10.91.0.{next(host_numbers)}" for _ in range(2)]
    namespaces.add_client_addresses(*[f"{address}/24" for address in made])
    return made


def test_a_source_that_keeps_opening_connections_is_shut_out_for_a_while(edge, addresses):
    account = edge.account("hourly")
    into_penalty(edge, account)
    knock_until_dropped(edge, account.key, addresses[0])
    began = time.monotonic()
    assert knock(edge, account.key, edge.network.client_address) == 429, "only that source"
    drops = edge.metric("tollgate_requests_total", verdict="penalty_source", plane="xdp")
    assert drops == edge.pins.counter(DROP_SOURCE) > 0
    # TCP retransmits a SYN after one second, when the first penalty is over.
    assert knock(edge, account.key, addresses[0], timeout=8) in (200, 429)
    assert time.monotonic() - began < 8


def test_a_source_that_sprays_unknown_keys_is_shut_out(edge, addresses):
    knock_until_dropped(edge, "unknown-key-0123456789", addresses[0])
    assert knock(edge, edge.account().key, addresses[1]) == 200


def test_a_source_with_another_accounts_entitled_key_is_never_shut_out(edge, addresses):
    bad, good = edge.account("hourly"), edge.account("plain")
    into_penalty(edge, bad)
    assert knock(edge, good.key, addresses[0]) == 200
    for _ in range(5 * TOLERANCE):
        assert knock(edge, bad.key, addresses[0], timeout=10) == 429
        assert knock(edge, "unknown-key-0123456789", addresses[0], timeout=10) == 401
    assert edge.pins.counter(DROP_SOURCE) == 0


def test_an_entitled_request_on_an_open_connection_lifts_a_sources_penalty(edge, addresses):
    bad, good = edge.account("hourly"), edge.account("plain")
    with edge.connect(source=addresses[0]) as connection:
        into_penalty(edge, bad)
        knock_until_dropped(edge, bad.key, addresses[0])
        assert connection.request(key=good.key).status == 200
        assert knock(edge, good.key, addresses[0]) == 200, "at once"


def test_a_trusted_proxy_is_never_shut_out(make_lab, addresses):
    agent = make_lab.agent(make_lab.upstream(), tiers=TIERS, trusted_proxies=[addresses[0]],
                           fastpath={"action": "drop", "tolerance": TOLERANCE}).start()
    for _ in range(5 * TOLERANCE):
        assert knock(agent, "unknown-key-0123456789", addresses[0], timeout=10) == 401
    assert agent.pins.counter(DROP_SOURCE) == 0
    knock_until_dropped(agent, "unknown-key-0123456789", addresses[1])


def test_a_full_flow_table_disables_only_drops(make_lab):
    agent = make_lab.agent(make_lab.upstream(), tiers=TIERS,
                           fastpath={"action": "drop", "tolerance": TOLERANCE, "max_flows": 2}).start()
    account, other = agent.account("hourly"), agent.account("plain")
    connections = [agent.connect() for _ in range(6)]
    statuses = [connection.request(key=account.key).status for connection in connections]
    assert statuses == [200] * 2 + [429] * 4
    assert agent.metric("tollgate_flow_table_full_total") == 2
    assert agent.metric("tollgate_flows_enrolled_total") == 2
    for connection in connections:
        assert connection.request(key=other.key).status == 200
        connection.close()
    # Records are free again when connections have closed.
    wait_until(lambda: agent.status()["connections"] == 0, "all connections are closed")
    with agent.connect() as connection:
        assert connection.request(key=account.key).status == 429
        assert dropped_on(agent, connection) == 0


def test_a_stopped_agent_leaves_no_program_behind(edge):
    assert edge.pins.link_id()
    assert edge.stop() == 0
    shown = edge.network.in_edge("ip", "-d", "link", "show", "veth0")
    assert "prog/xdp" not in shown
    edge.start()
    assert attached(edge) == [("veth0", "native")]
