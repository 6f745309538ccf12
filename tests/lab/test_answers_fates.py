# SPDX-License-Identifier: BSD-2-Clause
"""What happens to connections that XDP has answered on when the fast path is turned off, when the agent hangs, is
killed or stopped, and when they end.

    client 10.91.0.1 -- veth0 -- veth0 10.91.0.2 edge: agent, upstream
"""
import os
import select
import signal
import socket
import time

import pytest

from client import BrokenBody, Connection
from lab import DEADLINE_S, new_port, wait_until
from upstream import Gate

TIERS = [{"name": "plain"}, {"name": "hourly", "rate": "1/h", "burst": 1}]
COUNT = 20
IDLE_S = 1.5


@pytest.fixture
def edge(request, make_lab):
    upstream = make_lab.upstream()
    agent = make_lab.agent(upstream, tiers=TIERS, fastpath={"stale_after": "2s"},
                           limits=getattr(request, "param", {}))
    agent.upstream = upstream
    agent.start()
    use_accounts(agent)
    yield agent
    assert not upstream.errors


def use_accounts(agent):
    agent.plain, agent.hourly = agent.account("plain"), agent.account("hourly")
    assert agent.get("/", agent.hourly).status == 200
    agent.body = agent.get("/", agent.hourly).body


def answered(agent):
    return agent.metric("tollgate_xdp_packets_total", result="answer_rate")


def refuse(agent, connection):
    answer = connection.request(key=agent.hourly.key)
    assert (answer.status, answer.body) == (429, agent.body)


def allow(agent, connection, path="/"):
    assert connection.request(path=path, key=agent.plain.key).status == 200


def shift(agent, connections):
    """
    Get XDP to answer on each connection. The agent's first refusal enrols it; a tenth of a second later XDP may answer,
    unless the client is so quick that the agent has not yet published that it owes nothing.
    """
    def is_shifted(connection, before):
        refuse(agent, connection)
        allow(agent, connection, "/x" * 20)
        refuse(agent, connection)
        refuse(agent, connection)
        return answered(agent) > before
    for connection in connections:
        refuse(agent, connection)
    for connection in connections:
        before = answered(agent)
        wait_until(lambda: is_shifted(connection, before), "XDP answers", every=0)
    return connections


def shifted(agent):
    return shift(agent, [agent.connect() for _ in range(COUNT)])


def shifted_from_known_ports(agent):
    """Use ports that the kernel does not assign by itself, so that they are free to be used again."""
    locals_ = [(agent.network.client_address, new_port()) for _ in range(COUNT)]
    return shift(agent, [bound(agent, local) for local in locals_])


def goes_on(agent, connections):
    for connection in connections:
        for _ in range(3):
            refuse(agent, connection)
            allow(agent, connection)


def ends(connection):
    """The client sees the end, by FIN or RST, and nothing before it."""
    try:
        return connection.receive() == b""
    except BrokenBody:
        return True


def server_sockets(agent):
    """The kernel's sockets for the listener's connections, except in TIME_WAIT."""
    return agent.network.in_edge("ss", "-Htn", "state", "connected", "exclude", "time-wait",
                                 "sport", "=", f":{agent.port}").splitlines()


@pytest.mark.parametrize("action", ["off", "observe", "drop"])
def test_shifted_connections_continue_when_turned_off(edge, action):
    connections = shifted(edge)
    edge.cli("fastpath", action)
    before = answered(edge)
    for connection in connections:
        # One refusal each: after more of them XDP would drop, and slow the connection down.
        refuse(edge, connection)
        allow(edge, connection)
    assert answered(edge) == before
    edge.cli("fastpath", "answer")
    goes_on(edge, connections)
    assert answered(edge) > before
    for connection in connections:
        connection.sock.shutdown(socket.SHUT_WR)
        assert connection.receive() == b""
        connection.close()


def test_with_a_stale_heartbeat_only_the_agent_answers(edge):
    connections = shifted(edge)
    os.kill(edge.process.pid, signal.SIGSTOP)
    try:
        first, *others = connections
        end = time.monotonic() + DEADLINE_S
        while True:
            first.ask(key=edge.hourly.key)
            if not select.select([first.sock], [], [], 1)[0]:
                break
            assert first.answer().status == 429
            assert time.monotonic() < end, "XDP still answers although the heartbeat is stale"
        for connection in others:
            connection.ask(key=edge.hourly.key)
        assert not select.select([c.sock for c in connections], [], [], 0.3)[0]
    finally:
        os.kill(edge.process.pid, signal.SIGCONT)
    for connection in connections:
        answer = connection.answer()
        assert (answer.status, answer.body) == (429, edge.body)
    assert edge.metric("tollgate_xdp_packets_total", result="pass_stale") >= COUNT
    goes_on(edge, connections)


def test_after_a_kill_shifted_connections_end_and_the_next_agent_serves(edge):
    """Half of them have a request in flight, half are idle."""
    connections = shifted_from_known_ports(edge)
    gate = Gate()
    edge.upstream.on("/gate", gate)
    for connection in connections[::2]:
        connection.ask(path="/gate", key=edge.plain.key)
        gate.wait()
    edge.kill()
    gate.open()
    assert all(ends(connection) for connection in connections)
    locals_ = [connection.local for connection in connections]
    for connection in connections:
        connection.reset()
    wait_until(lambda: not server_sockets(edge), "the kernel's sockets are gone")
    edge.start()
    # Use the same addresses as the old records.
    again = shift(edge, [bound(edge, local) for local in locals_])
    goes_on(edge, again)


def bound(agent, local):
    """Connect from an address that was used before."""
    with agent.network.inside("client"):
        sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.settimeout(DEADLINE_S)
    sock.bind(local)
    sock.connect(agent.address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = Connection.__new__(Connection)
    connection.sock, connection.waiting, connection.local = sock, b"", local
    return connection


def test_an_orderly_stop_lets_shifted_connections_finish(edge):
    connections = shifted(edge)
    gate = Gate()
    edge.upstream.on("/gate", gate)
    for connection in connections[::2]:
        connection.ask(path="/gate", key=edge.plain.key)
        gate.wait()
    edge.process.send_signal(signal.SIGTERM)
    for connection in connections[1::2]:
        assert connection.receive() == b"", "idle ones are closed at once, by FIN"
    gate.open()
    for connection in connections[::2]:
        assert connection.answer().body == b"late"
        assert connection.receive() == b""
    for connection in connections:
        connection.close()
    assert edge.exit_code() == 0
    assert "prog/xdp" not in edge.network.in_edge("ip", "-d", "link", "show", "veth0")
    edge.start()
    shift(edge, [edge.connect()])


def test_the_next_agent_after_a_stop_serves_the_same_addresses(edge):
    connections = shifted_from_known_ports(edge)
    locals_ = [connection.local for connection in connections]
    for connection in connections:
        connection.reset()
    assert edge.stop() == 0
    edge.start()
    goes_on(edge, shift(edge, [bound(edge, local) for local in locals_]))


@pytest.mark.parametrize("how", ["end", "reset", "half-closed"])
def test_a_finished_shifted_connection_leaves_nothing_behind(edge, how):
    connections = shifted(edge)
    for connection in connections:
        if how == "end":
            connection.sock.shutdown(socket.SHUT_WR)
            assert connection.receive() == b""
            connection.close()
        elif how == "reset":
            connection.reset()
        else:
            connection.ask(key=edge.plain.key, path="/last")
            connection.sock.shutdown(socket.SHUT_WR)
            assert connection.answer().status == 200
            assert connection.receive() == b""
            connection.close()
    wait_until(lambda: not server_sockets(edge), "the kernel's sockets are gone")
    wait_until(lambda: edge.status()["fastpath"]["flows"] == 0, "the records are gone")


@pytest.mark.parametrize("edge", [{"idle_timeout": f"{int(IDLE_S * 1000)}ms"}], indirect=True,
                         ids=["1.5s"])
def test_answers_in_place_count_against_the_idle_timeout(edge):
    with edge.connect() as connection:
        shift(edge, [connection])
        before = answered(edge)
        end = time.monotonic() + 3 * IDLE_S
        while time.monotonic() < end:
            refuse(edge, connection)
            time.sleep(IDLE_S / 10)
        assert answered(edge) - before > 20, "XDP answers all of them"
        allow(edge, connection)
        assert connection.receive() == b"", "then it is closed, by FIN"
