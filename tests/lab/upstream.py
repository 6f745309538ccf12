# SPDX-License-Identifier: BSD-2-Clause
"""upstream: a server in a thread, which can misbehave in any way.

Each path has a handler. It gets a Call, may read the request's body, and sends arbitrary bytes. If it returns
True, the connection stays open. `seen` has all requests, in order.
"""
import hashlib
import json
import socket
import threading
import zlib

BLOCK = 1 << 18


class Ended(Exception):
    """The peer is gone."""


class Call:
    def __init__(self, upstream, sock, number, raw, rest):
        self.upstream, self.sock, self.number, self.rest = upstream, sock, number, rest
        self.raw = raw
        lines = raw.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ")
        self.path = self.target.partition("?")[0]
        self.headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:-2]]
        self.body = bytearray()
        self.body_bytes = self.crc = 0
        self.trailers = []

    def get(self, name):
        values = [v for n, v in self.headers if n.lower() == name.lower()]
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None

    def send(self, *parts):
        for part in parts:
            self.sock.sendall(part.encode("latin-1") if isinstance(part, str) else part)

    def receive(self):
        data, self.rest = self.rest or self.sock.recv(BLOCK), b""
        if not data:
            raise Ended
        return data

    def line(self):
        data = b""
        while b"\r\n" not in data:
            data += self.receive()
        line, _, self.rest = data.partition(b"\r\n")
        return line

    def take(self, count, keep):
        while count:
            data = self.receive()
            data, self.rest = data[:count], data[count:]
            count -= len(data)
            self.body_bytes += len(data)
            if keep:
                self.body += data
            else:
                self.crc = zlib.crc32(data, self.crc)

    def read_body(self, keep=True):
        if self.get("Transfer-Encoding") == "chunked":
            while size := int(self.line(), 16):
                self.take(size, keep)
                assert self.line() == b""
            while line := self.line():
                self.trailers.append(line.decode("latin-1"))
        else:
            self.take(int(self.get("Content-Length") or 0), keep)
        return self.body

    def answer(self, body=b"", status="200 OK", headers=()):
        body = body.encode() if isinstance(body, str) else body
        lines = [f"HTTP/1.1 {status}", *(f"{n}: {v}" for n, v in headers),
                 f"Content-Length: {len(body)}", "", ""]
        self.send("\r\n".join(lines), b"" if self.method == "HEAD" else body)
        return True


def echo(call):
    """Answer with the head and the body's hash as JSON."""
    body = call.read_body()
    return call.answer(json.dumps({
        "method": call.method, "target": call.target, "headers": call.headers,
        "length": len(body), "sha256": hashlib.sha256(body).hexdigest(),
        "trailers": call.trailers}))


class Upstream:
    def __init__(self, network, address="127.0.0.1", port=0, backlog=256, receive_buffer=0):
        self.handlers = {}
        self.seen = []
        self.connections = 0
        self.open = set()
        self.errors = []
        self.is_closed = False
        self.lock = threading.Lock()
        with network.inside("edge"):
            self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind((address, port))
        self.listener.listen(backlog)
        self.address = self.listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def on(self, path, handler):
        """Set the handler of a path. Requests for other paths are echoed."""
        self.handlers[path] = handler

    def forget(self):
        self.handlers.clear()
        self.seen.clear()

    def targets(self):
        return [call.target for call in self.seen]

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                number = self.connections
                self.open.add(sock)
                if self.is_closed:
                    sock.close()
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock, number):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        rest = b""
        try:
            while True:
                while b"\r\n\r\n" not in rest:
                    data = sock.recv(BLOCK)
                    if not data:
                        return
                    rest += data
                end = rest.index(b"\r\n\r\n") + 4
                call = Call(self, sock, number, rest[:end], rest[end:])
                self.seen.append(call)
                if not self.handlers.get(call.path, echo)(call):
                    return
                rest = call.rest
        except (OSError, Ended):
            pass
        except Exception as error:  # a handler's failed assertion is for the test to raise
            self.errors.append(error)
        finally:
            with self.lock:
                self.open.discard(sock)
            sock.close()

    def hang_up(self):
        """Close all connections, like a server whose idle timeout has passed."""
        with self.lock:
            socks = list(self.open)
        for sock in socks:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        with self.lock:
            self.is_closed = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.hang_up()


class Gate:
    """A handler that waits in the middle until the test opens the gate."""

    def __init__(self, before=b"", after=None):
        self.before, self.after = before, after
        self.entered = threading.Semaphore(0)
        self.opened = threading.Event()
        self.was_left = threading.Event()  # the peer has disconnected meanwhile

    def __call__(self, call):
        call.read_body()
        call.send(self.before)
        self.entered.release()
        threading.Thread(target=self._watch, args=(call.sock,), daemon=True).start()
        assert self.opened.wait(60), "nobody opened the gate"
        if self.after is None:
            return call.answer("late")
        call.send(self.after)
        return True

    def _watch(self, sock):
        try:
            if not sock.recv(1, socket.MSG_PEEK):
                self.was_left.set()
        except OSError:
            self.was_left.set()

    def wait(self):
        assert self.entered.acquire(timeout=20), "no request reached the gate"

    def open(self):
        self.opened.set()
