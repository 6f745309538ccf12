# SPDX-License-Identifier: BSD-2-Clause
"""client: HTTP/1.1 over a socket, with control over every byte.

It is as strict as a client may be: a body that ends early raises BrokenBody, and so does an answer without
valid framing.
"""
import contextlib
import re
import socket
import zlib

BLOCK = 1 << 18


class BrokenBody(Exception):
    """The connection ended, or was reset, before the answer was complete."""


class Answer:
    def __init__(self, head, interim):
        lines = head.decode("latin-1").split("\r\n")
        found = re.fullmatch(r"HTTP/1\.([01]) (\d{3}) (.*)", lines[0])
        assert found, f"not a status line: {lines[0]!r}"
        self.head = head
        self.minor, self.status, self.reason = int(found[1]), int(found[2]), found[3]
        self.headers = []
        for line in lines[1:-2]:
            name, colon, value = line.partition(":")
            assert colon and name == name.strip(), f"not a field: {line!r}"
            self.headers.append((name, value.strip()))
        self.interim = interim  # the 1xx answers before it
        self.body = bytearray()  # bytes, once it is complete
        self.body_bytes = 0
        self.crc = 0
        self.trailers = []

    def get(self, name):
        """The value of a field, or None; fails if the field occurs twice."""
        values = [v for n, v in self.headers if n.lower() == name.lower()]
        assert len(values) < 2, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    def names(self):
        return [name for name, _ in self.headers]

    def __repr__(self):
        return f"<{self.head!r} {bytes(self.body[:400])!r}>"


class Connection:
    """discard: count and sum (CRC) bodies instead of keeping them."""

    def __init__(self, address, network=None, source=None, tls=None, timeout=20, receive_buffer=0):
        family = socket.AF_UNIX
        if isinstance(address, tuple):
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.address = address
        with network.inside("client") if network else contextlib.nullcontext():
            self.sock = socket.socket(family)
        self.sock.settimeout(timeout)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.sock.bind((source, 0))
        try:
            self.sock.connect(address)
            if family != socket.AF_UNIX:
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls:
                self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        except OSError:
            self.sock.close()
            raise
        self.local = self.sock.getsockname()
        self.waiting = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Vanish: the peer gets an RST, whatever is in flight."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    # ---- requests ----

    def ask(self, method="GET", path="/", key=None, headers=(), body=None, host="api.test"):
        """Send a request without waiting for its answer."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
        if key:
            lines.append(f"X-API-Key: {key}")
        lines += [f"{name}: {value}" for name, value in headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines + ["", ""]).encode("latin-1") + (body or b""))

    def request(self, method="GET", path="/", **rest):
        self.ask(method, path, **rest)
        return self.answer(method)

    # ---- answers ----

    def receive(self):
        """Return more bytes, or b"" at the end; a reset raises BrokenBody."""
        if self.waiting:
            data, self.waiting = self.waiting, b""
            return data
        try:
            return self.sock.recv(BLOCK)
        except ConnectionResetError as error:
            raise BrokenBody("reset") from error

    def _until(self, mark):
        data = b""
        while mark not in data:
            more = self.receive()
            if not more:
                raise BrokenBody(f"the connection ended after {data!r}")
            data += more
        end = data.index(mark) + len(mark)
        self.waiting = data[end:]
        return data[:end]

    def _take(self, answer, count, keep):
        while count:
            data = self.receive()
            if not data:
                raise BrokenBody(f"{count} bytes of the body are missing")
            self.waiting = data[count:]
            self._note(answer, data[:count], keep)
            count -= min(count, len(data))

    @staticmethod
    def _note(answer, data, keep):
        answer.body_bytes += len(data)
        if keep:
            answer.body += data
        else:
            answer.crc = zlib.crc32(data, answer.crc)

    def _take_chunks(self, answer, keep):
        while True:
            size = int(self._until(b"\r\n")[:-2], 16)
            if not size:
                break
            self._take(answer, size, keep)
            assert self._until(b"\r\n") == b"\r\n"
        while (line := self._until(b"\r\n")) != b"\r\n":
            answer.trailers.append(line[:-2].decode("latin-1"))

    def head(self):
        """Read the head of the next final answer, without the body."""
        interim = []
        while True:
            answer = Answer(self._until(b"\r\n\r\n"), interim)
            if answer.status >= 200:
                return answer
            interim.append(answer)

    def body(self, answer, method="GET", keep=True):
        if method == "HEAD" or answer.status in (204, 304):
            pass
        elif answer.get("Transfer-Encoding") == "chunked":
            self._take_chunks(answer, keep)
        elif answer.get("Content-Length") is not None:
            self._take(answer, int(answer.get("Content-Length")), keep)
        else:
            while data := self.receive():
                self._note(answer, data, keep)
        answer.body = bytes(answer.body)
        return answer

    def answer(self, method="GET", keep=True):
        return self.body(self.head(), method, keep)

    def is_closed(self):
        """Wait for the peer to end the connection; whether it did so without another byte."""
        try:
            return self.receive() == b""
        except BrokenBody:
            return True


def ask_once(address, method="GET", path="/", network=None, **rest):
    with Connection(address, network=network) as connection:
        return connection.request(method, path, **rest)
