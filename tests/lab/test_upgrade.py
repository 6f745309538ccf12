# SPDX-License-Identifier: BSD-2-Clause
"""One agent after the other, while connections on which XDP has answered are still being sent to: what
they get is whole and right, whatever the next agent is, and the kernel is left as it should be.

    client 10.91.0.1 -- veth0 -- veth0 10.91.0.2 edge: agent, upstream
"""
import fcntl
import os
import random
import struct
import termios

import pytest

from lab import wait_until
from test_answers_fates import TIERS, allow, answered, refuse, shift, use_accounts

BODY = random.Random(7).randbytes(600_000)
COUNT = 4
FIONREAD = termios.FIONREAD


@pytest.fixture
def edge(make_lab, namespaces):
    """Its sockets have room for the whole of BODY."""
    namespaces.in_edge("sysctl", "-qw", "net.ipv4.tcp_wmem=4096 4194304 4194304")
    upstream = make_lab.upstream()
    upstream.on("/big", lambda call: call.answer(BODY))
    agent = make_lab.agent(upstream, tiers=TIERS, fastpath={"stale_after": "2s"})
    agent.upstream = upstream
    agent.start()
    use_accounts(agent)
    yield agent
    assert not upstream.errors
    namespaces.in_edge("sysctl", "-qw", "net.ipv4.tcp_wmem=4096 16384 4194304")


def bytes_on_their_way(agent, connection):
    line = agent.network.in_edge("ss", "-Htn", "sport", "=", f":{agent.port}",
                                 "dport", "=", f":{connection.local[1]}")
    arrived = fcntl.ioctl(connection.sock, FIONREAD, bytes(4))
    return int(line.split()[2]) + struct.unpack("=i", arrived)[0]


def with_a_slow_download(agent):
    """Shifted connections; what they have asked for is in the kernel, and hardly any of it with them."""
    with agent.connect() as quick:
        answer = quick.request(path="/big", key=agent.plain.key)
        length = len(answer.head) + len(answer.body)
    connections = shift(agent, [agent.connect(receive_buffer=4096) for _ in range(COUNT)])
    for connection in connections:
        connection.ask(path="/big", key=agent.plain.key)
    for connection in connections:
        wait_until(lambda: bytes_on_their_way(agent, connection) >= length, "the kernel has all")
    return connections


def get_the_rest(connections):
    for connection in connections:
        answer = connection.answer()
        assert answer.status == 200 and answer.body == BODY
        assert connection.receive() == b"", "and then the end, in order"
        connection.reset()


def interfaces(agent):
    return {one["name"]: one for one in agent.status()["fastpath"]["interfaces"]}


def listen_on(agent, *names):
    agent.configure(listeners=[dict(agent.config["listeners"][0], interfaces=list(names))])


def test_an_interface_that_is_taken_away_stays_for_its_connections(edge):
    connections = with_a_slow_download(edge)
    edge.kill()
    link = edge.pins.link_id()
    listen_on(edge, "lo")
    edge.start()
    assert edge.pins.link_id() == link
    assert "leaving" in interfaces(edge)["veth0"]["why"]
    assert "leaving" in edge.cli("status").stdout
    before = answered(edge)
    with edge.connect() as connection:
        for _ in range(40):
            refuse(edge, connection)
            allow(edge, connection)
    assert answered(edge) == before, "nothing new is answered there"
    get_the_rest(connections)
    wait_until(lambda: set(interfaces(edge)) == {"lo"}, "it is let go")
    assert "prog/xdp" not in edge.network.in_edge("ip", "-d", "link", "show", "veth0")
    assert not [pin for pin in os.listdir(edge.pins.folder) if pin.endswith("-veth0")]
    listen_on(edge, "veth0")
    assert edge.stop() == 0
    edge.start()
    shift(edge, [edge.connect()])


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_the_next_agent_translates_what_the_one_before_it_has_sent(edge, how):
    connections = with_a_slow_download(edge)
    link = edge.pins.link_id()
    if how == "killed":
        edge.kill()
    else:
        assert edge.stop() == 0
        assert f"{COUNT} connections" in edge.log()
    assert edge.pins.link_id() == link, "while there is no agent"
    edge.start()
    assert edge.pins.link_id() == link
    others = shift(edge, [edge.connect()])
    get_the_rest(connections)
    refuse(edge, others[0])
    allow(edge, others[0])
    others[0].reset()
    wait_until(lambda: edge.status()["fastpath"]["flows"] == 0, "the records are gone")


def test_after_a_stop_without_a_next_agent_they_get_the_rest(edge):
    connections = with_a_slow_download(edge)
    assert edge.stop() == 0
    get_the_rest(connections)


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_another_layouts_connections_are_translated_by_its_programs(edge, how):
    """What an agent with another layout leaves: the same pins in a folder of another number."""
    connections = with_a_slow_download(edge)
    link = edge.pins.link_id()
    edge.kill() if how == "killed" else edge.stop()
    older = edge.pins.folder + "0"
    os.rename(edge.pins.folder, older)
    edge.start()
    assert "last connections are over" in interfaces(edge)["veth0"]["why"]
    with edge.connect() as connection:
        refuse_status = [connection.request(key=edge.hourly.key).status for _ in range(3)]
        assert refuse_status[1:] == [429, 429], "the agent alone refuses meanwhile"
    get_the_rest(connections)
    wait_until(lambda: interfaces(edge)["veth0"]["mode"] == "native", "it is taken over")
    assert not os.path.exists(older)
    assert edge.pins.link_id() == link, "without a moment in which no program was there"
    shift(edge, [edge.connect()])
