# SPDX-License-Identifier: BSD-2-Clause
"""Connections: ten thousand idle ones, and short-lived ones."""
import contextlib
import socket
import subprocess

import pytest

from client import BrokenBody
from lab import is_sanitized, spawn, wait_until

COUNT = 10000
PER_CONNECTION = 4096  # bytes of the agent's memory per connection, at most

# Runs as a process of its own, because descriptors are limited per process. It connects, sends one request on
# every connection so that all have been used, reports that, and keeps them open until its input ends.
HOLDER = r"""
import resource, socket, sys
host, port, count, key = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
request = f"GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n\r\n".encode()
held = []
for _ in range(count):
    s = socket.create_connection((host, port), 30)
    s.sendall(request)
    assert s.recv(4096).startswith(b"HTTP/1.1 200 ")
    held.append(s)
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def holding(agent, account, count, processes=2):
    command = ["/usr/bin/python3", "-c", HOLDER, agent.address[0], str(agent.port),
               str(count // processes), account.key]
    holders = [spawn(agent.network.command("client", *command), stdin=subprocess.PIPE,
                     stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    try:
        for holder in holders:
            assert holder.stdout.readline() == "held\n"
        yield
    finally:
        for holder in holders:
            holder.stdin.close()
        for holder in holders:
            holder.wait(60)


@pytest.mark.slow
@pytest.mark.skipif(is_sanitized(), reason="sanitizers use memory of their own")
def test_ten_thousand_idle_connections_cost_little_and_disturb_nobody(make, capsys):
    agent = make.agent(make.nginx(), workers=2, limits={"idle_timeout": "10m"}).start()
    account = agent.account()
    for _ in range(200):  # exclude memory that is allocated only once
        assert agent.get("/", account).status == 200
    before = agent.rss_bytes()
    with holding(agent, account, COUNT):
        wait_until(lambda: agent.status()["connections"] == COUNT, "all are open")
        each = (agent.rss_bytes() - before) / COUNT
        with capsys.disabled():
            print(f"[{COUNT} idle connections, {each:.0f} bytes each]", end=" ")
        assert each < PER_CONNECTION
        for _ in range(100):
            assert agent.get("/", account).status == 200
        assert agent.cli("status").returncode == 0
        agent.cli("account", "suspend", account.id)
        assert agent.get("/", account).status == 403
    wait_until(lambda: agent.status()["connections"] == 0, "all are gone")
    with holding(agent, agent.account(), COUNT // 2):
        pass
    assert agent.rss_bytes() - before < COUNT * PER_CONNECTION, "their memory is reused"


@pytest.mark.slow
def test_sigterm_closes_thousands_of_idle_connections_at_once(make):
    agent = make.agent(make.nginx(), workers=2, drain="60s").start()
    with holding(agent, agent.account(), 2000):
        assert agent.stop() == 0, "within the helper's deadline, long before that of the drain"


def test_the_agent_survives_running_out_of_descriptors(make):
    upstream = make.upstream()
    agent = make.agent(upstream)
    agent.prefix = ["prlimit", "--nofile=100:100"]
    agent.start()
    account = agent.account()
    flood = []
    for _ in range(150):
        one = socket.socket()
        one.settimeout(5)
        with contextlib.suppress(OSError):
            one.connect(agent.address)
        flood.append(one)
    assert agent.admin("GET", "/healthz").status == 200, "some descriptors are reserved for operators"
    assert agent.cli("account", "create", "--tier", "plain").returncode == 0
    for one in flood:
        one.close()

    def is_served():
        with contextlib.suppress(OSError, BrokenBody):
            return agent.get("/", account).status == 200
        return False
    wait_until(is_served, "it serves again", every=0.1)


def test_closed_connections_leave_nothing_behind(make):
    agent = make.agent(make.upstream()).start()
    account = agent.account()
    for i in range(300):
        connection = agent.connect()
        if i % 3 == 0:
            connection.ask(key=account.key)
            connection.reset()
        elif i % 3 == 1:
            connection.send("GET / HTT")
            connection.close()
        else:
            assert connection.request(key=account.key).status == 200
            connection.close()
    wait_until(lambda: agent.status()["connections"] == 0, "all are gone")
    wait_until(lambda: agent.show(account)["concurrent"] == 0, "no request is in flight")
