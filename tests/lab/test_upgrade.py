# SPDX-License-Identifier: BSD-2-Clause
"""Replacing the agent while data is still being sent on connections that XDP has answered on. Clients get every
byte, whatever the next agent is, and nothing unneeded stays in the kernel.

    client 10.91.0.1 -- veth0 -- veth0 10.91.0.2 edge: agent, upstream
"""
import fcntl
import os
import pwd
import random
import struct
import termios
import threading

import pytest

from client import BrokenBody
from lab import wait_until
from test_answers_fates import TIERS, allow, answered, refuse, shift, use_accounts

BODY = random.Random(7).randbytes(600_000)
COUNT = 4
FIONREAD = termios.FIONREAD


def open_to_all(path):
    while path != "/":
        os.chmod(path, os.stat(path).st_mode | 0o55)
        path = os.path.dirname(path)


@pytest.fixture
def edge(request, make_lab, namespaces):
    """An agent whose sockets have room for all of BODY. param: the user that it switches to."""
    namespaces.in_edge("sysctl", "-qw", "net.ipv4.tcp_wmem=4096 4194304 4194304")
    upstream = make_lab.upstream()
    upstream.on("/big", lambda call: call.answer(BODY))
    agent = make_lab.agent(upstream, tiers=TIERS, fastpath={"stale_after": "2s"})
    if hasattr(request, "param"):
        open_to_all(agent.folder)
        os.chown(agent.folder, pwd.getpwnam(request.param).pw_uid, -1)
        agent.configure(user=request.param)
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
    """Shifted connections with a large answer that is in the kernel's buffers but hardly received yet."""
    with agent.connect() as quick:
        answer = quick.request(path="/big", key=agent.plain.key)
        length = len(answer.head) + len(answer.body)
    connections = shift(agent, [agent.connect(receive_buffer=4096) for _ in range(COUNT)])
    for connection in connections:
        connection.ask(path="/big", key=agent.plain.key)
    for connection in connections:
        wait_until(lambda: bytes_on_their_way(agent, connection) >= length, "the kernel has everything")
    return connections


def get_the_rest(connections):
    for connection in connections:
        answer = connection.answer()
        assert answer.status == 200 and answer.body == BODY
        assert connection.receive() == b"", "then the end, by FIN"
        connection.reset()


def interfaces(agent):
    return {one["name"]: one for one in agent.status()["fastpath"]["interfaces"]}


def listen_on(agent, *names):
    agent.configure(listeners=[dict(agent.config["listeners"][0], interfaces=list(names))])


@pytest.mark.parametrize("edge", ["nobody"], indirect=True)
def test_an_unconfigured_interface_stays_until_its_connections_end(edge):
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
    wait_until(lambda: set(interfaces(edge)) == {"lo"}, "it is detached")
    assert "prog/xdp" not in edge.network.in_edge("ip", "-d", "link", "show", "veth0")
    assert not [pin for pin in os.listdir(edge.pins.folder) if pin.endswith("-veth0")]
    listen_on(edge, "veth0")
    assert edge.stop() == 0
    edge.start()
    shift(edge, [edge.connect()])


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_the_next_agent_translates_what_the_previous_one_has_sent(edge, how):
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


def test_after_a_stop_without_a_next_agent_clients_get_the_rest(edge):
    connections = with_a_slow_download(edge)
    assert edge.stop() == 0
    get_the_rest(connections)


@pytest.mark.parametrize("how, edge", [("killed", "nobody"), ("stopped", "root")], indirect=["edge"])
def test_another_layouts_connections_are_translated_by_its_programs(edge, how):
    """Make what an agent with another layout leaves: the same pins in a directory with another number."""
    connections = with_a_slow_download(edge)
    link = edge.pins.link_id()
    edge.kill() if how == "killed" else edge.stop()
    older = edge.pins.folder + "0"
    os.rename(edge.pins.folder, older)
    edge.start()
    assert "last connections are over" in interfaces(edge)["veth0"]["why"]
    with edge.connect() as connection:
        refuse_status = [connection.request(key=edge.hourly.key).status for _ in range(3)]
        assert refuse_status[1:] == [429, 429], "meanwhile only the agent refuses"
    get_the_rest(connections)
    wait_until(lambda: interfaces(edge)["veth0"]["mode"] == "native", "it is taken over")
    assert not os.path.exists(older)
    assert edge.pins.link_id() == link, "a program was attached at all times"
    shift(edge, [edge.connect()])


class Customer:
    """Sends allowed and refused requests, again and again, on one connection after another."""

    def __init__(self, agent, number):
        self.agent, self.draw = agent, random.Random(number)
        self.is_over = threading.Event()
        self.answers = self.connections = 0
        self.errors = []
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.is_over.is_set():
            try:
                self.visit()
            except OSError:
                self.is_over.wait(0.01)  # nobody listens
            except Exception as error:
                self.errors.append(error)
                return

    def visit(self):
        with self.agent.connect() as connection:
            self.connections += 1
            while not self.is_over.is_set():
                if not self.ask(connection):
                    return

    def ask(self, connection):
        """Send a request; False at the connection's end, which may come only instead of an answer."""
        is_allowed = self.draw.random() < 0.4
        account = self.agent.plain if is_allowed else self.agent.hourly
        due = (200, BODY) if is_allowed else (429, self.agent.body)
        path = "/big" if is_allowed else "/"
        try:
            connection.ask(path=path, key=account.key)
            connection.waiting = connection.receive()
        except (BrokenPipeError, BrokenBody):
            return False
        if not connection.waiting:
            return False
        answer = connection.answer()
        if answer.status != 503:  # the store is loading
            assert (answer.status, answer.body) == due, answer.head
        self.answers += 1
        return True


def test_stop_and_start_under_load_break_no_answer(edge):
    """Idle connections are closed by FIN, and requests in flight are finished, on shifted and other connections."""
    customers = [Customer(edge, number) for number in range(6)]
    try:
        for _ in range(3):
            before = answered(edge), sum(c.answers for c in customers)
            wait_until(lambda: answered(edge) > before[0] + 100 and
                       sum(c.answers for c in customers) > before[1] + 300, "they are running")
            assert edge.stop() == 0
            edge.start()
    finally:
        for customer in customers:
            customer.is_over.set()
        for customer in customers:
            customer.thread.join()
    assert not [c.errors for c in customers if c.errors]
    assert all(c.connections >= 3 for c in customers)
