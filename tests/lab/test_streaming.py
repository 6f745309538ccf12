# SPDX-License-Identifier: BSD-2-Clause
"""Streaming: bodies of every framing and size, interim answers, pipelining, upstreams that fail."""
import json
import threading
import time
import zlib

import pytest

from client import BrokenBody
from lab import is_sanitized, wait_until
from upstream import BLOCK, Gate, echo

MIB = 1 << 20
GIB = 1 << 30
PATTERN = bytes(range(256)) * (BLOCK // 256)


@pytest.fixture
def edge(make):
    upstream = make.upstream()
    agent = make.agent(upstream, limits={"body": "2g"}).start()
    agent.upstream = upstream
    agent.made = agent.account()
    yield agent
    assert not upstream.errors, upstream.errors


def pieces(size):
    while size:
        yield PATTERN[:min(size, BLOCK)]
        size -= min(size, BLOCK)


def crc_of(size):
    crc = 0
    for piece in pieces(size):
        crc = zlib.crc32(piece, crc)
    return crc


def head(edge, method, path, *fields):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", f"X-API-Key: {edge.made.key}",
                        *fields, "", ""])


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def send_length(call, size):
    call.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")
    for piece in pieces(size):
        call.send(piece)
    return True


def send_chunked(call, size, trailers=""):
    call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in pieces(size):
        call.send(chunk(piece))
    call.send("0\r\n" + trailers + "\r\n")
    return True


def send_until_close(call, size):
    call.send("HTTP/1.1 200 OK\r\n\r\n")
    for piece in pieces(size):
        call.send(piece)


class Rss:
    """Measures the agent's peak memory within the context."""

    def __init__(self, agent):
        self.agent, self.is_over = agent, threading.Event()
        self.before = self.most = agent.rss_bytes()
        self.thread = threading.Thread(target=self._watch)

    def _watch(self):
        while not self.is_over.wait(0.01):
            self.most = max(self.most, self.agent.rss_bytes())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()

    @property
    def growth(self):
        return self.most - self.before


# ---- large bodies ----


@pytest.mark.slow
@pytest.mark.parametrize("send", [send_length, send_chunked, send_until_close])
def test_a_download_of_a_gibibyte_costs_no_memory(edge, send):
    edge.upstream.on("/big", lambda call: send(call, GIB))
    with Rss(edge) as rss, edge.connect() as connection:
        connection.ask(path="/big", key=edge.made.key)
        answer = connection.answer(keep=False)
    assert answer.body_bytes == GIB and answer.crc == crc_of(GIB)
    assert rss.growth < 16 * MIB, f"{rss.growth >> 10} KiB"


@pytest.mark.slow
@pytest.mark.parametrize("framing", ["Content-Length", "chunked"])
def test_an_upload_of_a_gibibyte_costs_no_memory(edge, framing):
    def sink(call):
        call.read_body(keep=False)
        return call.answer(json.dumps([call.body_bytes, call.crc]))
    edge.upstream.on("/sink", sink)
    with Rss(edge) as rss, edge.connect() as connection:
        if framing == "chunked":
            connection.send(head(edge, "POST", "/sink", "Transfer-Encoding: chunked"))
            for piece in pieces(GIB):
                connection.send(chunk(piece))
            connection.send("0\r\n\r\n")
        else:
            connection.send(head(edge, "POST", "/sink", f"Content-Length: {GIB}"))
            for piece in pieces(GIB):
                connection.send(piece)
        assert json.loads(connection.answer().body) == [GIB, crc_of(GIB)]
    assert rss.growth < 16 * MIB, f"{rss.growth >> 10} KiB"


def has_stalled(progress, seconds=0.5):
    """Wait until progress() has not changed for so many seconds; return its value."""
    last = [progress(), time.monotonic()]

    def is_still():
        now = progress()
        if now != last[0]:
            last[:] = now, time.monotonic()
        return time.monotonic() - last[1] > seconds
    wait_until(is_still, "no more progress", every=0.02)
    return last[0]


def test_a_slow_reader_slows_the_upstream_and_costs_no_memory(edge):
    sent = [0]

    def send(call):
        call.send(f"HTTP/1.1 200 OK\r\nContent-Length: {256 * MIB}\r\n\r\n")
        for piece in pieces(256 * MIB):
            call.send(piece)
            sent[0] += len(piece)
        return True
    edge.upstream.on("/big", send)
    before = edge.rss_bytes()
    with edge.connect(receive_buffer=65536) as connection:
        connection.ask(path="/big", key=edge.made.key)
        answer = connection.head()
        assert has_stalled(lambda: sent[0]) < 64 * MIB, "the upstream was throttled"
        assert edge.rss_bytes() - before < 8 * MIB
        # It continues when the client does.
        connection.body(answer, keep=False)
        assert answer.crc == crc_of(256 * MIB)


def test_a_slow_upstream_slows_the_client_and_costs_no_memory(edge):
    gate = threading.Event()

    def slow(call):
        gate.wait(60)
        call.read_body(keep=False)
        return call.answer(json.dumps(call.body_bytes))
    edge.upstream.on("/sink", slow)
    before = edge.rss_bytes()
    sent = [0]
    with edge.connect() as connection:
        def upload():
            connection.send(head(edge, "POST", "/sink", f"Content-Length: {256 * MIB}"))
            for piece in pieces(256 * MIB):
                connection.send(piece)
                sent[0] += len(piece)
        thread = threading.Thread(target=upload)
        thread.start()
        assert has_stalled(lambda: sent[0]) < 64 * MIB, "the client was throttled"
        assert edge.rss_bytes() - before < 8 * MIB
        gate.set()
        thread.join()
        assert json.loads(connection.answer().body) == 256 * MIB


# ---- framing ----


@pytest.mark.parametrize("send", [send_length, send_chunked, send_until_close])
@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 3 * MIB + 7])
def test_a_body_arrives_as_it_was_sent(edge, send, size):
    edge.upstream.on("/x", lambda call: send(call, size))
    with edge.connect() as connection:
        for _ in range(2):
            connection.ask(path="/x", key=edge.made.key)
            answer = connection.answer(keep=False)
            assert (answer.body_bytes, answer.crc) == (size, crc_of(size))


def test_a_body_that_ends_with_the_upstreams_connection_is_chunked_for_the_client(edge):
    edge.upstream.on("/x", lambda call: send_until_close(call, 1000))
    answer = edge.get("/x", edge.made)
    assert answer.get("Transfer-Encoding") == "chunked" and answer.get("Content-Length") is None


def test_an_http_1_0_client_gets_framing_that_it_understands(edge):
    edge.upstream.on("/x", lambda call: send_chunked(call, 1000))
    edge.upstream.on("/y", lambda call: send_length(call, 1000))
    with edge.connect() as connection:
        connection.send(f"GET /x HTTP/1.0\r\nHost: a\r\nX-API-Key: {edge.made.key}\r\n\r\n")
        answer = connection.answer()
        assert answer.get("Transfer-Encoding") is None and answer.body_bytes == 1000
        assert connection.is_closed()
    with edge.connect() as connection:
        for _ in range(2):
            connection.send(f"GET /y HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n"
                            f"X-API-Key: {edge.made.key}\r\n\r\n")
            answer = connection.answer()
            assert answer.get("Connection") == "keep-alive" and answer.body_bytes == 1000


def test_head_gets_only_the_head(edge):
    edge.upstream.on("/x", lambda call: call.answer(b"x" * 1000))
    with edge.connect() as connection:
        for _ in range(2):
            answer = connection.request("HEAD", "/x", key=edge.made.key)
            assert answer.status == 200 and answer.get("Content-Length") == "1000"
        assert connection.request("GET", "/x", key=edge.made.key).body_bytes == 1000


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answers_without_a_body_have_none(edge, status):
    def send(call):
        call.send(f"HTTP/1.1 {status}\r\nETag: \"e\"\r\n\r\n")
        return True
    edge.upstream.on("/x", send)
    with edge.connect() as connection:
        for _ in range(2):
            answer = connection.request(path="/x", key=edge.made.key)
            assert answer.status == int(status[:3]) and answer.get("ETag") == '"e"'
            assert answer.get("Transfer-Encoding") is None
        assert connection.request(key=edge.made.key).status == 200


@pytest.mark.parametrize("status", [200, 201, 301, 404, 418, 500, 503, 599])
def test_the_upstreams_status_and_fields_pass(edge, status):
    edge.upstream.on("/x", lambda call: call.answer(
        b"own", f"{status} Own Words", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"),
                                        ("Date", "Thu, 01 Jan 1970 00:00:00 GMT")]))
    answer = edge.get("/x", edge.made)
    assert answer.status == status and answer.body == b"own"
    assert [v for n, v in answer.headers if n == "Set-Cookie"] == ["a=1", "b=2"]
    assert answer.get("Date") == "Thu, 01 Jan 1970 00:00:00 GMT"


def test_an_upload_keeps_its_framing_upstream(edge):
    with edge.connect() as connection:
        echoed = json.loads(connection.request("POST", "/", key=edge.made.key, body=b"abc").body)
        assert ["Content-Length", "3"] in echoed["headers"] and echoed["length"] == 3
        connection.send(head(edge, "POST", "/", "Transfer-Encoding: chunked").encode()
                        + chunk(b"abc") + chunk(b"defg") + b"0\r\n\r\n")
        echoed = json.loads(connection.answer().body)
        assert ["Transfer-Encoding", "chunked"] in echoed["headers"] and echoed["length"] == 7
        echoed = json.loads(connection.request("POST", "/", key=edge.made.key, body=b"").body)
        assert ["Content-Length", "0"] in echoed["headers"]


def test_trailers_do_not_break_the_connection(edge):
    """RFC 9110, 6.5: trailers may be dropped. The next answer must be found all the same."""
    edge.upstream.on("/x", lambda call: send_chunked(call, 100, "X-Sum: 1\r\nX-Other: 2\r\n"))
    with edge.connect() as connection:
        for _ in range(2):
            assert connection.request(path="/x", key=edge.made.key).body_bytes == 100
        connection.send(head(edge, "POST", "/", "Transfer-Encoding: chunked", "Trailer: X-Sum")
                        .encode() + chunk(b"abc") + b"0\r\nX-Sum: 1\r\nX-API-Key: lie\r\n\r\n")
        assert json.loads(connection.answer().body)["length"] == 3
        assert connection.request(key=edge.made.key).status == 200


# ---- interim answers ----


def test_a_client_that_expects_100_gets_the_upstreams(edge):
    def handle(call):
        assert call.get("Expect") == "100-continue"
        call.send("HTTP/1.1 100 Continue\r\n\r\n")
        return echo(call)
    edge.upstream.on("/x", handle)
    with edge.connect() as connection:
        for _ in range(2):
            connection.send(head(edge, "PUT", "/x", "Content-Length: 5", "Expect: 100-continue"))
            assert connection._until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
            connection.send(b"hello")
            assert json.loads(connection.answer().body)["length"] == 5


def test_an_upstream_may_refuse_instead_of_100(edge):
    edge.upstream.on("/x", lambda call: call.answer(b"no", "417 Expectation Failed"))
    with edge.connect() as connection:
        connection.send(head(edge, "PUT", "/x", "Content-Length: 5", "Expect: 100-continue"))
        answer = connection.answer()
        assert answer.status == 417 and not answer.interim
        # Nobody can know whether the body follows, so the connection is closed.
        assert answer.get("Connection") == "close" and connection.is_closed()


def test_a_refusal_comes_instead_of_100(edge):
    with edge.connect() as connection:
        connection.send("PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                        "Expect: 100-continue\r\n\r\n")
        answer = connection.answer()
        assert answer.status == 401 and not answer.interim and connection.is_closed()
    assert not edge.upstream.seen


def test_early_hints_pass_before_the_answer(edge):
    def handle(call):
        for i in range(2):
            call.send(f"HTTP/1.1 103 Early Hints\r\nLink: </{i}>; rel=preload\r\n\r\n")
        return call.answer("final")
    edge.upstream.on("/x", handle)
    with edge.connect() as connection:
        for _ in range(2):
            answer = connection.request(path="/x", key=edge.made.key)
            assert [one.status for one in answer.interim] == [103, 103]
            assert answer.interim[1].get("Link") == "</1>; rel=preload"
            assert answer.body == b"final"
        connection.send(f"GET /x HTTP/1.0\r\nHost: a\r\nX-API-Key: {edge.made.key}\r\n\r\n")
        assert not connection.answer().interim, "HTTP/1.0 has no interim answers"


def test_endless_hints_to_a_slow_reader_cost_no_memory(edge):
    hint, sent = f"HTTP/1.1 103 Early Hints\r\nLink: {'x' * 1000}\r\n\r\n" * 64, [0]

    def handle(call):
        for _ in range(2048):
            call.send(hint)
            sent[0] += len(hint)
        return call.answer("final")
    edge.upstream.on("/x", handle)
    before = edge.rss_bytes()
    with edge.connect(receive_buffer=65536) as connection:
        connection.ask(path="/x", key=edge.made.key)
        assert has_stalled(lambda: sent[0]) < 64 * MIB, "the upstream was throttled"
        assert edge.rss_bytes() - before < 8 * MIB
        # It continues when the client does.
        assert connection.answer().body == b"final"


def test_an_unrequested_upgrade_opens_no_tunnel(edge):
    def handle(call):
        call.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    edge.upstream.on("/x", handle)
    answer = edge.get("/x", edge.made, method="POST")
    assert answer.status == 502 and not answer.interim


# ---- pipelining ----


def test_pipelined_requests_are_answered_in_order(edge):
    edge.upstream.on("/n", lambda call: call.answer(call.target.partition("?")[2]))
    count = 300
    with edge.connect() as connection:
        connection.send("".join(head(edge, "GET", f"/n?{i}") for i in range(count)))
        assert [connection.answer().body for _ in range(count)] == [b"%d" % i for i in range(count)]
    assert edge.upstream.targets() == [f"/n?{i}" for i in range(count)]


def test_refusals_keep_their_place_among_pipelined_requests(edge):
    gate = Gate()
    edge.upstream.on("/slow", gate)
    with edge.connect() as connection:
        connection.send(head(edge, "POST", "/slow", "Content-Length: 3") + "abc"
                        + "GET /refused HTTP/1.1\r\nHost: a\r\n\r\n" + head(edge, "GET", "/last"))
        gate.wait()
        gate.open()
        assert connection.answer().body == b"late"
        assert connection.answer().status == 401
        assert json.loads(connection.answer().body)["target"] == "/last"


# ---- upstreams that fail ----


def test_an_upstream_that_dies_before_the_head_gives_a_502(edge):
    edge.upstream.on("/x", lambda call: None)
    with edge.connect() as connection:
        answer = connection.request("POST", "/x", key=edge.made.key, body=b"abc")
        assert answer.status == 502
        assert answer.body == b'{"status":502,"detail":"Upstream cannot be reached"}'
        assert connection.request(key=edge.made.key).status == 200
    assert edge.upstream.targets().count("/x") == 1, "a POST is not retried"


def cut_length(call):
    call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)


def cut_chunked(call):
    call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"x" * 500))


def cut_in_chunk(call):
    call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + b"x" * 500)


def bad_chunk(call):
    call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"x") + b"zz\r\n")
    call.sock.settimeout(20)
    assert call.sock.recv(1) == b"", "the agent closes the connection"


@pytest.mark.parametrize("cut", [cut_length, cut_chunked, cut_in_chunk, bad_chunk])
def test_a_body_truncated_upstream_is_truncated_for_the_client(edge, cut):
    edge.upstream.on("/x", cut)
    with edge.connect() as connection, pytest.raises(BrokenBody):
        connection.request(path="/x", key=edge.made.key)
    assert edge.get("/", edge.made).status == 200


@pytest.mark.parametrize("sent", [
    b"garbage\r\n\r\n", b"HTTP/2 200 OK\r\n\r\n", b"HTTP/1.1 99 Low\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000 + b"\r\n\r\n",
])
def test_an_answer_that_is_not_http_gives_a_502(edge, sent):
    edge.upstream.on("/x", lambda call: call.send(sent))
    answer = edge.get("/x", edge.made, method="POST")
    assert answer.status == 502 and answer.get("Bad Name") is None


def test_bytes_after_an_answer_are_discarded(edge):
    def handle(call):
        call.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                  "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        return True
    edge.upstream.on("/x", handle)
    with edge.connect() as connection:
        for _ in range(3):
            assert connection.request(path="/x", key=edge.made.key).body == b"ok"
            assert connection.request(path="/", key=edge.made.key).body != b"evil"


@pytest.mark.skipif(is_sanitized(), reason="sanitizers use memory of their own")
def test_abandoned_downloads_leak_no_memory(edge):
    edge.upstream.on("/big", lambda call: send_length(call, 64 * MIB))

    def leave(count):
        for _ in range(count):
            connection = edge.connect()
            connection.ask(path="/big", key=edge.made.key)
            connection.head()
            connection.reset()
        wait_until(lambda: edge.show(edge.made)["concurrent"] == 0, "no request is in flight")
    leave(50)
    before = edge.rss_bytes()
    leave(200)
    assert edge.rss_bytes() - before < 2 * MIB
