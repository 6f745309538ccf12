# SPDX-License-Identifier: BSD-2-Clause
"""Upstreams: which server gets a request, and when it is retried on another one."""
import collections
import socket

import pytest

from lab import new_port, wait_until
from upstream import Gate


def dead_address(network):
    """An address where nobody listens."""
    return collections.namedtuple("Server", "address")((network.server_address, new_port()))


def named(make, name):
    upstream = make.upstream()
    upstream.on("/who", lambda call: call.answer(name))
    return upstream


def ask_who(agent, account, count):
    return collections.Counter(agent.get("/who", account).body for _ in range(count))


def close_once(upstream, path, times=1):
    """Close the connection instead of answering the first `times` requests for path."""
    left = [times]

    def handle(call):
        if left[0]:
            left[0] -= 1
            return None
        call.read_body()
        return call.answer("in the end")
    upstream.on(path, handle)


def test_requests_go_to_all_servers_in_turn(make):
    servers = [named(make, name) for name in "abc"]
    agent = make.agent(*servers).start()
    assert ask_who(agent, agent.account(), 30) == {b"a": 10, b"b": 10, b"c": 10}


def test_a_server_that_is_down_is_skipped_and_no_client_notices(make, loopback):
    servers = [named(make, "a"), dead_address(loopback), named(make, "c")]
    agent = make.agent(*servers).start()
    assert sum(ask_who(agent, agent.account(), 30).values()) == 30
    assert agent.log().count("not used for") == 1, "it is not tried for each request"
    assert agent.metric("tollgate_upstream_failures_total") == 1


def test_a_server_that_recovers_is_used_again(make, loopback):
    away = dead_address(loopback)
    agent = make.agent(named(make, "a"), away).start()
    account = agent.account()
    assert ask_who(agent, account, 10) == {b"a": 10}
    back = make.upstream(port=away.address[1])
    back.on("/who", lambda call: call.answer("b"))
    wait_until(lambda: b"b" in ask_who(agent, account, 2), "it is tried again", every=0.1)
    assert ask_who(agent, account, 10) == {b"a": 5, b"b": 5}


def test_if_no_server_can_be_reached_the_answer_is_a_502(make, loopback):
    agent = make.agent(*(dead_address(loopback) for _ in range(4))).start()
    answer = agent.get("/", agent.account(), method="POST", body=b"abc")
    assert answer.status == 502


def test_connections_are_kept_and_reused(make):
    upstream = make.upstream()
    agent = make.agent(upstream).start()
    account = agent.account()
    for _ in range(20):
        assert agent.get("/", account).status == 200
    assert upstream.connections == 1


def test_at_most_the_configured_number_of_connections_are_kept(make):
    upstream = make.upstream()
    agent = make.agent(upstream)
    agent.configure(upstreams=[dict(agent.config["upstreams"][0], max_idle=2)])
    agent.start()
    account, gate = agent.account(), Gate()
    upstream.on("/slow", gate)
    clients = [agent.connect() for _ in range(5)]
    for client in clients:
        client.ask("POST", "/slow", key=account.key)
    for _ in clients:
        gate.wait()
    gate.open()
    for client in clients:
        assert client.answer().status == 200
        client.close()
    wait_until(lambda: len(upstream.open) == 2, "two connections are kept")


def test_a_kept_connection_that_the_server_closes_causes_no_error(make):
    upstream = make.upstream()
    agent = make.agent(upstream).start()
    account = agent.account()
    for i in range(10):
        assert agent.get("/", account, method="POST", body=b"abc").status == 200
        upstream.hang_up()
        if i % 2:  # at once, or after the agent has seen it
            wait_until(lambda: not upstream.open, "closed")
        assert agent.get("/", account).status == 200
    assert agent.metric("tollgate_answers_total", code="5xx") == 0


def test_an_idle_connection_is_closed_after_its_time(make):
    upstream = make.upstream()
    agent = make.agent(upstream)
    agent.configure(upstreams=[dict(agent.config["upstreams"][0], idle_timeout="200ms")])
    agent.start()
    assert agent.get("/", agent.account()).status == 200
    wait_until(lambda: not upstream.open, "the agent closes it")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_a_request_that_is_safe_to_retry_is_retried(make, method):
    upstream = make.upstream()
    close_once(upstream, "/x")
    agent = make.agent(upstream).start()
    assert agent.get("/x", agent.account(), method=method).status == 200
    assert upstream.targets() == ["/x", "/x"]
    assert upstream.seen[0].raw == upstream.seen[1].raw, "the same head with the same request id"
    assert agent.metric("tollgate_upstream_retries_total") == 1


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_request_that_is_not_safe_to_retry_is_not_retried(make, method):
    upstream = make.upstream()
    close_once(upstream, "/x")
    agent = make.agent(upstream).start()
    assert agent.get("/x", agent.account(), method=method).status == 502
    assert upstream.targets() == ["/x"]


def test_a_request_whose_body_has_begun_is_not_retried(make):
    upstream = make.upstream()
    close_once(upstream, "/x")
    agent = make.agent(upstream).start()
    with agent.connect() as connection:
        connection.send(f"PUT /x HTTP/1.1\r\nHost: a\r\nX-API-Key: {agent.account().key}\r\n"
                        "Content-Length: 6\r\n\r\nabc")
        assert connection.answer().status == 502
    assert upstream.targets() == ["/x"]


def test_retries_are_limited(make):
    upstream = make.upstream()
    close_once(upstream, "/x", times=100)
    agent = make.agent(upstream).start()
    account = agent.account("hourly")
    assert agent.get("/x", account).status == 502
    assert 2 <= len(upstream.seen) <= 3
    assert 'r=3;' in agent.get("/", account).get("RateLimit"), "and charged once"


def test_a_request_is_not_retried_once_its_answer_has_begun(make):
    upstream = make.upstream()
    upstream.on("/x", lambda call: call.send(b"HTTP/1.1 200 OK\r\nContent-Le"))
    agent = make.agent(upstream).start()
    assert agent.get("/x", agent.account()).status == 502
    assert upstream.targets().count("/x") == 1


def test_at_most_the_configured_number_of_connections_are_open(make):
    upstream = make.upstream()
    agent = make.agent(upstream)
    agent.configure(upstreams=[dict(agent.config["upstreams"][0], max_connections=2)])
    agent.start()
    account, gate = agent.account(), Gate()
    upstream.on("/slow", gate)
    held = [agent.connect() for _ in range(2)]
    for client in held:
        client.ask("POST", "/slow", key=account.key)
        gate.wait()
    answer = agent.get("/", account)
    assert answer.status == 503 and b"busy" in answer.body
    gate.open()
    for client in held:
        assert client.answer().status == 200
        client.close()
    assert agent.get("/", account).status == 200


def test_a_server_that_accepts_no_connection_gives_a_504_and_is_skipped_next(make):
    # A listener that accepts nothing: its queue is full after so many connections.
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    stuffing = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(full.getsockname())
        stuffing.append(one)
    other = named(make, "other")
    server = collections.namedtuple("Server", "address")(full.getsockname())
    alone = make.agent(server)
    alone.configure(upstreams=[dict(alone.config["upstreams"][0], connect_timeout="300ms")])
    alone.start()
    answer = alone.get("/", alone.account())
    assert answer.status == 504
    assert answer.body == b'{"status":504,"detail":"Upstream did not answer in time"}'
    both = make.agent(server, other)
    both.configure(upstreams=[dict(both.config["upstreams"][0], connect_timeout="300ms")])
    both.start()
    assert ask_who(both, both.account(), 10) == {b"other": 10}
    for one in [full, *stuffing]:
        one.close()


def upstream_with(make, **options):
    upstream = make.upstream()
    agent = make.agent(upstream)
    agent.configure(upstreams=[dict(agent.config["upstreams"][0], **options)])
    return upstream, agent.start()


def test_an_upstream_that_does_not_answer_in_time_gives_a_504(make):
    upstream, agent = upstream_with(make, answer_timeout="300ms")
    gate = Gate()
    upstream.on("/slow", gate)
    account = agent.account()
    with agent.connect() as connection:
        answer = connection.request("POST", "/slow", key=account.key, body=b"abc")
        assert answer.status == 504
        assert gate.was_left.wait(20), "its connection is closed"
        assert connection.request(key=account.key).status == 200
    gate.open()


def test_an_upstream_that_stops_in_the_body_is_given_up(make):
    upstream, agent = upstream_with(make, body_timeout="300ms")
    gate = Gate(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.")
    upstream.on("/slow", gate)
    with agent.connect() as connection:
        connection.ask("POST", "/slow", key=agent.account().key)
        connection.head()
        assert connection.receive() == b"half."
        assert connection.is_closed()
    assert gate.was_left.wait(20)
    gate.open()


def test_a_slow_but_steady_upstream_is_not_given_up(make):
    upstream, agent = upstream_with(make, body_timeout="400ms", answer_timeout="400ms")
    proceed = Gate()  # never opened: waiting for it paces the trickle

    def trickle(call):
        call.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            proceed.opened.wait(0.1)
            call.send("x")
        return True
    upstream.on("/slow", trickle)
    assert agent.get("/slow", agent.account()).body == b"x" * 8


def test_a_slow_client_is_not_taken_for_a_slow_upstream(make):
    upstream, agent = upstream_with(make, body_timeout="300ms")
    size = 32 << 20
    upstream.on("/big", lambda call: call.answer(bytes(size)))
    with agent.connect(receive_buffer=65536) as connection:
        connection.ask(path="/big", key=agent.account().key)
        answer = connection.head()
        stop = Gate()
        stop.opened.wait(1.0)  # reads nothing for longer than body_timeout
        assert connection.body(answer, keep=False).body_bytes == size
