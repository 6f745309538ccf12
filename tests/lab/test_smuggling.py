# SPDX-License-Identifier: BSD-2-Clause
"""Smuggling: requests that two parsers could read differently are rejected."""
import json

import pytest

KEY = "<key>"  # stands for an entitled key

# Each row is everything that is sent. All get 400, the connection is closed, and nothing goes upstream.
MALFORMED = {
    "both Content-Length and Transfer-Encoding":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\nContent-Length: 5\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
    "both in the other order":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\nTransfer-Encoding: chunked\r\n"
        "Content-Length: 5\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
    "two lengths":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\nContent-Length: 5\r\n"
        "Content-Length: 6\r\n\r\nabcdef",
    "the same length twice":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\nContent-Length: 5\r\n"
        "Content-Length: 5\r\n\r\nabcde",
    "a list of lengths":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\nContent-Length: 5, 5\r\n\r\nabcde",
    "a signed length":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\nContent-Length: +5\r\n\r\nabcde",
    "a negative length":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\nContent-Length: -1\r\n\r\n",
    "a length in hex":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\nContent-Length: 0x5\r\n\r\nabcde",
    "an empty length":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\nContent-Length: \r\n\r\n",
    "a length too large for any number":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n"
        "Content-Length: 18446744073709551621\r\n\r\nabcde",
    "an unknown coding":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\nTransfer-Encoding: xchunked\r\n\r\n"
        "0\r\n\r\n",
    "chunked and then another coding":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n"
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "another coding and then chunked":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n"
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\nTransfer-Encoding: chunked\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked in quotes":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\nTransfer-Encoding: \"chunked\"\r\n\r\n"
        "0\r\n\r\n",
    "chunked after a vertical tab":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\nTransfer-Encoding: \x0bchunked\r\n\r\n"
        "0\r\n\r\n",
    "an empty coding":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\nTransfer-Encoding: \r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0":
        "POST / HTTP/1.0\r\nHost: a\r\nX-API-Key: <key>\r\nTransfer-Encoding: chunked\r\n\r\n"
        "0\r\n\r\n",
    "a space before the colon":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\nTransfer-Encoding : chunked\r\n\r\n"
        "0\r\n\r\n",
    "a space before the name":
        "POST / HTTP/1.1\r\n Host: a\r\nX-API-Key: <key>\r\n\r\n",
    "a folded line":
        "POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\nX: y\r\n Content-Length: 5\r\n\r\nabcde",
    "a field without a colon":
        "GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\nTransfer-Encoding chunked\r\n\r\n",
    "a bare LF at the end of a line":
        "GET / HTTP/1.1\r\nHost: a\nX-API-Key: <key>\r\n\r\n",
    "bare LFs only":
        "GET / HTTP/1.1\nHost: a\nX-API-Key: <key>\n\n",
    "a bare CR in a value":
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ: w\r\nX-API-Key: <key>\r\n\r\n",
    "a NUL in a value":
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\nX-API-Key: <key>\r\n\r\n",
    "a NUL in a name":
        "GET / HTTP/1.1\r\nHost: a\r\nX\0: y\r\nX-API-Key: <key>\r\n\r\n",
    "a control byte in the target":
        "GET /\x01 HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n\r\n",
    "a byte above ASCII in the target":
        "GET /\xe9 HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n\r\n",
    "two spaces in the request line":
        "GET  / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n\r\n",
    "a tab in the request line":
        "GET\t/ HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n\r\n",
    "words after the version":
        "GET / HTTP/1.1 x\r\nHost: a\r\nX-API-Key: <key>\r\n\r\n",
    "no version":
        "GET /\r\nHost: a\r\nX-API-Key: <key>\r\n\r\n",
    "a version of two digits":
        "GET / HTTP/1.10\r\nHost: a\r\nX-API-Key: <key>\r\n\r\n",
    "a version in lowercase":
        "GET / http/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n\r\n",
    "a method that is not a token":
        "GE(T / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n\r\n",
    "no Host":
        "GET / HTTP/1.1\r\nX-API-Key: <key>\r\n\r\n",
    "two Hosts":
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nX-API-Key: <key>\r\n\r\n",
    "an empty Host":
        "GET / HTTP/1.1\r\nHost: \r\nX-API-Key: <key>\r\n\r\n",
    "an empty line before the request":
        "\r\nGET / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n\r\n",
    "an invalid Host":
        "GET / HTTP/1.1\r\nHost: a/b\r\nX-API-Key: <key>\r\n\r\n",
    "a Host that differs from the target":
        "GET http://b/ HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n\r\n",
    "a target that is not a path":
        "GET index.html HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n\r\n",
    "a tunnel":
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nX-API-Key: <key>\r\n\r\n",
    "another protocol":
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "the preface of HTTP/2":
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}

# The head is valid but the body is not: nothing after it may be taken for a request.
BAD_BODIES = {
    "a chunk size in words": "five\r\nabcde\r\n0\r\n\r\n",
    "a signed chunk size": "+5\r\nabcde\r\n0\r\n\r\n",
    "0x before a chunk size": "0x5\r\nabcde\r\n0\r\n\r\n",
    "a chunk size too large for any number": "FFFFFFFFFFFFFFFFF\r\nabcde\r\n0\r\n\r\n",
    "a space before a chunk size": " 5\r\nabcde\r\n0\r\n\r\n",
    "a bare LF after a chunk size": "5\nabcde\r\n0\r\n\r\n",
    "a chunk longer than its size": "5\r\nabcdefg\r\n0\r\n\r\n",
    "a bare LF after a chunk": "5\r\nabcde\n0\r\n\r\n",
    "a bare CR in an extension": "5;x\ry\r\nabcde\r\n0\r\n\r\n",
    "an invalid trailer": "5\r\nabcde\r\n0\r\nbad trailer\r\n\r\n",
    "a folded trailer": "5\r\nabcde\r\n0\r\nX: y\r\n z\r\n\r\n",
}
NEXT = "GET /evil HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n\r\n"

# Unusual, but every parser reads them as we do.
WELL_FORMED = {
    "chunked in capitals": ("POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n"
                            "TRANSFER-ENCODING: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 3),
    "leading zeros": ("POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n0003\r\nabc\r\n000\r\n\r\n", 3),
    "a chunk extension": ("POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n"
                          "Transfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0\r\n\r\n", 3),
    "Content-Length: 0 and a GET": ("GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n"
                                    "Content-Length: 0\r\n\r\n", 0),
}


@pytest.fixture(scope="module")
def edge(make_module):
    upstream = make_module.upstream()
    agent = make_module.agent(upstream, log="debug").start()
    agent.upstream = upstream
    agent.made = agent.account()
    return agent


@pytest.fixture(autouse=True)
def forget(edge):
    edge.upstream.forget()


def fill_in(edge, text):
    return text.replace(KEY, edge.made.key)


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_head_gets_a_400_and_nothing_goes_upstream(edge, case):
    with edge.connect() as connection:
        # After a good request, so that what follows is certainly parsed.
        connection.send(fill_in(edge, "GET /first HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n\r\n"))
        assert connection.answer().status == 200
        connection.send(fill_in(edge, MALFORMED[case] + NEXT))
        answer = connection.answer()
        assert answer.status == 400, answer
        assert answer.body == b'{"status":400,"detail":"Bad request"}'
        assert answer.get("Connection") == "close" and connection.is_closed()
    assert edge.upstream.targets() == ["/first"]


@pytest.mark.parametrize("case", BAD_BODIES)
@pytest.mark.parametrize("is_slow", [False, True], ids=["at once", "byte by byte"])
def test_a_malformed_body_ends_the_connection_and_its_request(edge, case, is_slow):
    data = fill_in(edge, "POST /body HTTP/1.1\r\nHost: a\r\nX-API-Key: <key>\r\n"
                         "Transfer-Encoding: chunked\r\n\r\n" + BAD_BODIES[case] + NEXT)
    with edge.connect() as connection:
        if is_slow:
            for byte in data.encode():
                try:
                    connection.send(bytes([byte]))
                except OSError:
                    break
        else:
            connection.send(data)
        answer = connection.answer()
        assert answer.status == 400 and connection.is_closed()
    assert "/evil" not in edge.upstream.targets()
    for call in edge.upstream.seen:
        assert b"/evil" not in call.body, "nor is it taken for a body"


@pytest.mark.parametrize("case", WELL_FORMED)
def test_merely_unusual_requests_pass_unchanged(edge, case):
    data, length = WELL_FORMED[case]
    with edge.connect() as connection:
        for _ in range(2):
            connection.send(fill_in(edge, data))
            answer = connection.answer()
            assert answer.status == 200 and json.loads(answer.body)["length"] == length
    assert edge.upstream.targets().count("/") == 2


def test_a_body_is_never_the_next_request(edge):
    body = fill_in(edge, NEXT).encode()
    with edge.connect() as connection:
        for path, status in (("/", 200), ("/", 401), ("//", 400)):
            key = None if status == 401 else edge.made.key
            for method in ("POST", "GET", "DELETE"):
                assert connection.request(method, path, key=key, body=body).status == status
    assert "/evil" not in edge.upstream.targets()


def test_a_connection_field_cannot_remove_our_own_fields(edge):
    answer = edge.get("/", edge.made, headers=[
        ("Connection", "X-Tollgate-Account, X-Tollgate-Tier, X-Request-Id, Content-Length, Host")],
        method="POST", body=b"abc")
    echo = json.loads(answer.body)
    names = {name.lower() for name, _ in echo["headers"]}
    assert {"x-tollgate-account", "x-tollgate-tier", "x-request-id", "content-length",
            "host"} <= names
    assert echo["length"] == 3


def test_a_reused_upstream_connection_never_gives_a_client_anothers_answer(edge):
    """If a client disconnects during an answer, the next client must not get the rest."""
    edge.upstream.on("/big", lambda call: call.answer(b"secret" * 200000))
    for _ in range(20):
        leaving = edge.connect(receive_buffer=4096)
        leaving.ask(path="/big", key=edge.made.key)
        leaving.head()
        leaving.reset()
        answer = edge.get("/", edge.made)
        assert answer.status == 200 and b"secret" not in answer.body
