# SPDX-License-Identifier: BSD-2-Clause
"""Deadlines and limits: how long a client may take, and how much it may send."""
import threading
import time

import pytest

from client import BrokenBody
from lab import wait_until
from upstream import BLOCK

LIMITS = {"head": "4k", "body": "64k", "head_timeout": "400ms", "body_timeout": "400ms",
          "idle_timeout": "800ms", "write_timeout": "600ms", "max_requests": 100}


@pytest.fixture(scope="module")
def edge(make_module):
    upstream = make_module.upstream()
    agent = make_module.agent(upstream, limits=LIMITS).start()
    agent.upstream = upstream
    agent.made = agent.account()
    return agent


def timed(function):
    begin = time.monotonic()
    return function(), time.monotonic() - begin


def head(edge, method="POST", *fields):
    return "\r\n".join([f"{method} /x HTTP/1.1", "Host: a", f"X-API-Key: {edge.made.key}", *fields,
                        "", ""])


def trickle(connection, data, pause):
    """Send a byte now and then, until the other side closes."""
    stop = threading.Event()

    def send():
        try:
            for byte in data:
                connection.send(bytes([byte]))
                if stop.wait(pause):
                    return
        except OSError:
            pass
    thread = threading.Thread(target=send)
    thread.start()
    return stop, thread


def test_a_head_that_trickles_gets_a_408_after_its_timeout(edge):
    with edge.connect() as connection:
        stop, thread = trickle(connection, head(edge, "GET").encode() * 10, 0.02)
        answer, seconds = timed(connection.answer)
        stop.set()
        thread.join()
        assert answer.status == 408 and answer.get("Connection") == "close"
        assert 0.3 < seconds < 3, "counted from the first byte"
        assert connection.is_closed()


def test_a_body_that_stops_gets_a_408(edge):
    with edge.connect() as connection:
        connection.send(head(edge, "POST", "Content-Length: 10") + "half.")
        answer, seconds = timed(connection.answer)
        assert answer.status == 408 and 0.3 < seconds < 3 and connection.is_closed()


def test_a_slow_but_steady_body_is_accepted(edge):
    with edge.connect() as connection:
        connection.send(head(edge, "POST", "Content-Length: 10"))
        stop, thread = trickle(connection, b"0123456789", 0.1)
        answer, seconds = timed(connection.answer)
        stop.set()
        thread.join()
        assert answer.status == 200 and seconds > 0.8, "longer than body_timeout in total"


def test_an_idle_connection_is_closed_without_an_answer(edge):
    with edge.connect() as connection:
        closed, seconds = timed(connection.is_closed)
        assert closed and 0.6 < seconds < 4
    with edge.connect() as connection:
        assert connection.request(key=edge.made.key).status == 200
        closed, seconds = timed(connection.is_closed)
        assert closed and 0.6 < seconds < 4


def test_a_waiting_request_is_not_idle(edge):
    wait = threading.Event()

    def slow(call):
        wait.wait(1.5)  # longer than all deadlines for a client
        return call.answer("late")
    edge.upstream.on("/slow", slow)
    with edge.connect() as connection:
        assert connection.request(path="/slow", key=edge.made.key).body == b"late"


def test_a_content_length_too_large_gets_a_413_at_once(edge):
    with edge.connect() as connection:
        connection.send(head(edge, "POST", "Content-Length: 65537"))
        answer = connection.answer()
        assert answer.status == 413 and connection.is_closed()
    with edge.connect() as connection:
        connection.send(head(edge, "POST", "Content-Length: 65536") + "x" * 65536)
        assert connection.answer().status == 200


def test_a_chunked_body_gets_a_413_once_it_is_too_large(edge):
    with edge.connect() as connection:
        connection.send(head(edge, "POST", "Transfer-Encoding: chunked"))
        for _ in range(9):
            connection.send(b"2000\r\n" + b"x" * 8192 + b"\r\n")
        answer = connection.answer()
        assert answer.status == 413 and connection.is_closed()


@pytest.mark.parametrize("request_line, fields, why", [
    ("GET /x HTTP/1.1", "X: " + "y" * 5000, "one long field"),
    ("GET /x HTTP/1.1", "\r\n".join(f"X-{i}: y" for i in range(600)), "many short ones"),
    ("GET /" + "x" * 5000 + " HTTP/1.1", "X: y", "a long target"),
])
def test_a_head_too_large_gets_a_431(edge, request_line, fields, why):
    with edge.connect() as connection:
        connection.send(f"{request_line}\r\nHost: a\r\n{fields}\r\n\r\n")
        answer = connection.answer()
        assert answer.status == 431, why
        assert connection.is_closed()


def test_an_endless_head_gets_a_431(edge):
    with edge.connect() as connection:
        connection.send("GET /x HTTP/1.1\r\n" + "X: y\r\n" * 1000)
        assert connection.answer().status == 431


def test_a_client_that_reads_nothing_is_cut_off(edge):
    ended = threading.Event()

    def endless(call):
        call.send("HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                call.send(bytes(BLOCK))
        finally:
            ended.set()
    edge.upstream.on("/endless", endless)
    with edge.connect(receive_buffer=32768) as connection:
        connection.ask(path="/endless", key=edge.made.key)
        connection.head()
        _, seconds = timed(lambda: ended.wait(20))
        assert ended.is_set(), "the upstream is released"
        assert 0.5 < seconds < 5
        with pytest.raises(BrokenBody):
            while connection.receive():
                pass
            raise BrokenBody("ended")


def test_a_client_that_reads_slowly_but_steadily_is_not_cut_off(edge):
    size = 24 << 20
    edge.upstream.on("/big", lambda call: call.answer(bytes(size)))
    pause = threading.Event()
    with edge.connect(receive_buffer=262144) as connection:
        connection.ask(path="/big", key=edge.made.key)
        answer = connection.head()
        begin = time.monotonic()
        while time.monotonic() - begin < 1.5:  # longer than write_timeout
            answer.body_bytes += len(connection.receive())
            pause.wait(0.05)
        while answer.body_bytes < size:
            data = connection.receive()
            assert data, "cut off"
            answer.body_bytes += len(data)
        assert answer.body_bytes == size


def test_a_connection_ends_after_the_configured_number_of_requests(edge):
    with edge.connect() as connection:
        for i in range(100):
            answer = connection.request(key=edge.made.key)
            assert answer.status == 200
            assert (answer.get("Connection") == "close") == (i == 99)
        assert connection.is_closed()


def test_a_worker_takes_no_more_connections_than_configured(make):
    agent = make.agent(make.upstream(), limits={"max_connections": 3}).start()
    account = agent.account()
    connections = [agent.connect() for _ in range(3)]
    for connection in connections:
        assert connection.request(key=account.key).status == 200

    def is_taken():
        try:
            return agent.get("/", account).status == 200
        except (BrokenBody, OSError):
            return False
    assert not is_taken()
    connections.pop().close()
    wait_until(is_taken, "a connection slot is free")
    for connection in connections:
        assert connection.request(key=account.key).status == 200
        connection.close()


def test_a_silent_connection_is_closed(edge):
    """A connection without a byte, and one with half a request line, are both closed."""
    silent, half = edge.connect(), edge.connect()
    half.send("GE")
    assert half.answer().status == 408
    assert silent.is_closed()
    silent.close()
    half.close()
