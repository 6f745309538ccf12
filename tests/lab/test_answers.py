# SPDX-License-Identifier: BSD-2-Clause
"""Answers in place: XDP refuses on the client's connection, and its answers look exactly like the agent's.

    client 10.91.0.1, fd91::1 -- veth0 -- veth0 10.91.0.2, fd91::2 edge: agent, upstream
"""
import contextlib
import os
import signal

import pytest

from lab import wait_until

TIERS = [
    {"name": "plain"},
    {"name": "hourly", "rate": "1/h", "burst": 2},
    {"name": "daily", "quota": "2/day"},
]


@pytest.fixture
def edge(make_lab):
    upstream = make_lab.upstream()
    agent = make_lab.agent(upstream, tiers=TIERS)
    agent.upstream = upstream
    agent.start()
    yield agent
    assert not upstream.errors


def xdp(agent, result):
    return agent.metric("tollgate_xdp_packets_total", result=result)


def until_answered(edge, connection, account, result):
    """Send requests that are refused, until XDP answers them; return the agent's last answer."""
    before = xdp(edge, result)

    def ask():
        answer = connection.request(key=account.key)
        if xdp(edge, result) > before:
            return True
        answers.append(answer)
    answers = []
    wait_until(ask, "XDP answers", every=0)
    return answers[-1]


def test_xdp_answers_while_the_agent_is_stopped(edge):
    hourly, plain = edge.account("hourly"), edge.account("plain")
    with edge.connect() as connection:
        first = [connection.request(key=hourly.key) for _ in range(5)]
        assert [a.status for a in first] == [200, 200, 429, 429, 429]
        until_answered(edge, connection, hourly, "answer_rate")
        os.kill(edge.process.pid, signal.SIGSTOP)
        try:
            answers = [connection.request(key=hourly.key) for _ in range(50)]
        finally:
            os.kill(edge.process.pid, signal.SIGCONT)
        assert [a.status for a in answers] == [429] * 50
        assert {a.body for a in answers} == {first[-1].body}
        assert connection.request(key=plain.key).status == 200
    assert xdp(edge, "answer_rate") >= 50
    shown = edge.show(hourly)
    assert shown["refused_xdp"] == xdp(edge, "answer_rate") and shown["dropped_xdp"] == 0
    assert edge.show(plain)["refused_xdp"] == 0


def answered_by_xdp(edge, account, result, count=10):
    """Return an answer by the agent, and one by XDP from the same connection, while the agent is stopped."""
    with edge.connect() as connection:
        agents = until_answered(edge, connection, account, result)
        before = xdp(edge, result)
        os.kill(edge.process.pid, signal.SIGSTOP)
        try:
            answers = [connection.request(key=account.key) for _ in range(count)]
        finally:
            os.kill(edge.process.pid, signal.SIGCONT)
    assert xdp(edge, result) - before == count
    assert {(a.status, a.body) for a in answers} == {(agents.status, agents.body)}
    return agents, answers[-1]


def without_seconds(answer):
    return {k: v for k, v in answer.headers if k.lower() not in ("retry-after", "ratelimit")}


def test_a_revoked_key_gets_its_401(edge):
    account = edge.account("plain")
    assert edge.get("/", account).status == 200
    edge.cli("key", "revoke", account.key_id)
    agent, kernel = answered_by_xdp(edge, account, "answer_revoked")
    assert agent.status == 401 and dict(agent.headers) == dict(kernel.headers)


def test_a_suspended_account_gets_its_403(edge):
    account = edge.account("plain")
    edge.cli("account", "suspend", account.id)
    agent, kernel = answered_by_xdp(edge, account, "answer_inactive")
    assert agent.status == 403 and dict(agent.headers) == dict(kernel.headers)


def test_a_used_up_quota_gets_its_429(edge):
    account = edge.account("daily")
    assert [edge.get("/", account).status for _ in range(2)] == [200, 200]
    agent, kernel = answered_by_xdp(edge, account, "answer_quota", count=5)
    assert agent.status == 429 and without_seconds(agent) == without_seconds(kernel)


def policy(answer):
    return dict(answer.headers)["RateLimit-Policy"]


def test_a_reload_changes_what_xdp_answers(edge):
    """The change applies at once, also on connections that XDP has answered on before."""
    account = edge.account("hourly")
    with edge.connect() as connection:
        assert [connection.request(key=account.key).status for _ in range(2)] == [200, 200]
        old = policy(until_answered(edge, connection, account, "answer_rate"))
        assert policy(connection.request(key=account.key)) == old
        edge.configure(tiers=[tier | ({"burst": 3} if tier["name"] == "hourly" else {})
                              for tier in TIERS])
        edge.reload()
        before = xdp(edge, "answer_rate")
        answers = [connection.request(key=account.key) for _ in range(20)]
        assert [answer.status for answer in answers] == [200] + [429] * 19
        assert xdp(edge, "answer_rate") > before
        assert {policy(answer) for answer in answers} == {old.replace("q=2", "q=3")
                                                          .replace("w=7200", "w=10800")}
        edge.configure(routes=[{"path": "/", "upstream": "api", "public": True}])
        edge.reload()
        assert {connection.request(key=account.key).status for _ in range(20)} == {200}


def test_if_answers_never_arrive_xdp_drops_instead(edge):
    """A veth pair whose other end has no program: the kernel loses everything that XDP sends back."""
    account = edge.account("hourly")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(edge.connect()) for _ in range(16)]
        for client in clients:
            until_answered(edge, client, account, "answer_rate")
        edge.network.in_client("ip", "link", "set", "veth0", "xdp", "off")
        for client in clients:
            client.ask(key=account.key)
        wait_until(lambda: edge.json("fastpath")["action"] == "drop", "a downgrade")
    assert "none of XDP's last answers arrived" in edge.log()
    edge.cli("fastpath", "answer")
    assert edge.json("fastpath")["action"] == "answer", "the operator may try again"
