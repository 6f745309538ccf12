# SPDX-License-Identifier: BSD-2-Clause
"""server: a small, strict HTTP/1.1 server with keep-alive and one thread per connection.

It knows nothing about Stripe. The handler gets a Request and returns an Answer, or RESET to reset
the connection without an answer.
"""
import http
import json
import socket
import struct
import threading

MOST_HEAD_LINES = 100
MOST_LINE = 65536
MOST_BODY = 4 << 20
RESET = object()


class BadRequest(Exception):
    pass


class Request:
    def __init__(self, method, target, headers, body):
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition("?")
        self.headers = headers  # names in lower case
        self.body = body

    def get(self, name, default=None):
        return self.headers.get(name, default)


class Answer:
    def __init__(self, status, body=b"", headers=None, kind="application/json"):
        self.status = status
        self.body = body if isinstance(body, bytes) else body.encode()
        self.headers = {"Content-Type": kind, **(headers or {})}
        self.cut = None  # send only this many bytes of the body, then close

    @classmethod
    def of_json(cls, status, value, headers=None):
        return cls(status, json.dumps(value, ensure_ascii=False), headers)

    def encode(self, is_head=False):
        try:
            reason = http.HTTPStatus(self.status).phrase
        except ValueError:
            reason = "Unknown"
        lines = [f"HTTP/1.1 {self.status} {reason}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        body = b"" if is_head else self.body[:self.cut]
        return "\r\n".join(lines).encode("latin-1") + body


def read_line(stream):
    line = stream.readline(MOST_LINE)
    if not line.endswith(b"\r\n"):
        if not line:
            raise EOFError
        raise BadRequest("bad line ending")
    return line[:-2].decode("latin-1")


def read_request(stream, sock):
    parts = read_line(stream).split(" ")
    if len(parts) != 3 or parts[2] != "HTTP/1.1" or not parts[1].startswith("/"):
        raise BadRequest("bad request line")
    headers = {}
    while line := read_line(stream):
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or name != name.strip() or name in headers or len(headers) > MOST_HEAD_LINES:
            raise BadRequest(f"header {name}")
        headers[name] = value.strip()
    if "host" not in headers or "transfer-encoding" in headers:
        raise BadRequest("no Host, or a body without length")
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MOST_BODY:
        raise BadRequest("length")
    if headers.get("expect", "").lower() == "100-continue":
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = stream.read(int(length))
    if len(body) != int(length):
        raise EOFError
    return Request(parts[0], parts[1], headers, body)


def reset(sock):
    """Makes close() send a reset instead of closing in order."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Server:
    def __init__(self, address, handle):
        self.handle = handle
        self.sock = socket.create_server(address, backlog=512)
        self.port = self.sock.getsockname()[1]

    def run(self):
        while True:
            sock, _ = self.sock.accept()
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = sock.makefile("rb")
        try:
            while self.serve_one(sock, stream):
                pass
        except (EOFError, OSError):
            pass
        finally:
            stream.close()
            sock.close()

    def serve_one(self, sock, stream):
        """Serves one request. Returns whether the connection stays open."""
        try:
            request = read_request(stream, sock)
        except BadRequest as e:
            sock.sendall(Answer(400, f"{e}\n", {"Connection": "close"}, "text/plain").encode())
            return False
        answer = self.handle(request)
        if answer is RESET:
            reset(sock)
            return False
        is_last = request.get("connection", "").lower() == "close" or answer.cut is not None
        if is_last:
            answer.headers["Connection"] = "close"
        sock.sendall(answer.encode(request.method == "HEAD"))
        return not is_last
