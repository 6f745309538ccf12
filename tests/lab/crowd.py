# SPDX-License-Identifier: BSD-2-Clause
"""crowd: many connections at once, and the server behind them, each as a process of its own.

    crowd.py serve                 prints its port
    crowd.py visit < ORDERS        makes the requests and prints the results; both are JSON

Every byte of an answer can be checked: the body of /SIZE/OFFSET is a piece of BLOCK, and X-Sum is the sum of
the upload.
"""
import asyncio
import json
import random
import re
import socket
import subprocess
import sys
import time
import zlib

BLOCK = random.Random(1).randbytes(1 << 20)
OPENING = 100  # handshakes at the same time
HEAD_END = b"\r\n\r\n"


# ---- the server ----


class Serving(asyncio.Protocol):
    """Serves one request after the other, with Content-Length or chunked bodies."""

    def connection_made(self, transport):
        self.transport = transport
        self.waiting = b""
        self.target = None

    def data_received(self, data):
        self.waiting += data
        while self.step():
            pass

    def step(self):
        """Process what is buffered; whether there may be more to process."""
        if self.target is None:
            return self.take_head()
        if self.is_chunked:
            return self.take_chunk()
        data = self.waiting[:self.left]
        self.waiting = self.waiting[len(data):]
        self.left -= len(data)
        self.sum = zlib.crc32(data, self.sum)
        return self.left == 0 and self.answer()

    def take_head(self):
        head, mark, rest = self.waiting.partition(HEAD_END)
        if not mark:
            return False
        self.waiting, self.sum = rest, 0
        self.method, self.target, _ = head.split(b"\r\n", 1)[0].split(b" ")
        self.is_chunked = re.search(rb"\r\ntransfer-encoding: *chunked", head, re.I) is not None
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
        self.left = int(length[1]) if length else 0
        return True

    def take_chunk(self):
        line, mark, rest = self.waiting.partition(b"\r\n")
        size = int(line or b"0", 16)
        if not mark or len(rest) < size + 2:
            return False
        self.sum = zlib.crc32(rest[:size], self.sum)
        self.waiting = rest[size + 2:]
        return size > 0 or self.answer()

    def answer(self):
        _, size, offset = self.target.split(b"?")[0].rsplit(b"/", 2)
        body = BLOCK[int(offset):int(offset) + int(size)]
        self.transport.write(b"HTTP/1.1 200 OK\r\nX-Sum: %d\r\nContent-Length: %d\r\n\r\n"
                             % (self.sum, len(body)))
        if self.method != b"HEAD":
            self.transport.write(body)
        self.target = None
        return bool(self.waiting)


async def serve():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Serving, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# ---- the visitors ----


class Wrong(Exception):
    """An answer is not the expected one."""


async def read_answer(reader):
    head = await reader.readuntil(HEAD_END)
    length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head, re.I)
    if not re.match(rb"HTTP/1\.1 \d{3} ", head) or not length:
        raise Wrong(f"not a head: {head!r}")
    return head, int(head[9:12]), await reader.readexactly(int(length[1]))


class Meeting:
    """Holds everybody until all have arrived or given up."""

    def __init__(self, count):
        self.missing = count
        self.is_complete = asyncio.Event()

    def come(self):
        self.missing -= 1
        if not self.missing:
            self.is_complete.set()


class Visitor:
    """A connection that sends requests with random keys. visit: the orders, the same for all."""

    def __init__(self, visit, number):
        self.visit, self.number = visit, number
        self.draw = random.Random(f"{visit['seed']}/{number}")
        self.asked = self.refused = 0

    def make_request(self):
        """Return the request and the expected answer: (status, body, sum of the upload or None)."""
        draw = self.draw
        known = draw.choice(self.visit["keys"])
        size = draw.choice(self.visit["sizes"])
        size = draw.randrange(size + 1)
        offset = draw.randrange(len(BLOCK) - size)
        upload = b""
        if draw.random() < self.visit["uploads"]:
            start = draw.randrange(len(BLOCK) // 2)
            upload = BLOCK[start:start + draw.choice((1, 40, 700, 5000, 40000))]
        head = f"{'POST' if upload else 'GET'} /{size}/{offset} HTTP/1.1\r\nHost: api.test\r\n"
        head += f"X-API-Key: {known['key']}\r\n"
        if upload:
            head += f"Content-Length: {len(upload)}\r\n"
        data = head.encode() + b"\r\n" + upload
        if known["status"] == 200:
            return data, (200, BLOCK[offset:offset + size], zlib.crc32(upload))
        return data, (known["status"], known["body"].encode(), None)

    async def expect(self, what):
        status, body, upload_sum = what
        head, got_status, got_body = await read_answer(self.reader)
        if got_status != status or got_body != body:
            raise Wrong(f"{status} and {len(body)} bytes were expected, not {head!r} {got_body[:200]!r}")
        if upload_sum is not None and b"\r\nX-Sum: %d\r\n" % upload_sum not in head:
            raise Wrong(f"the server received something else than was sent: {head!r}")
        self.asked += 1
        self.refused += status != 200

    async def send(self, data):
        """Send the request whole or in two segments."""
        cut = self.draw.randrange(1, len(data)) if self.draw.random() < 0.1 else 0
        if cut:
            self.writer.write(data[:cut])
            await asyncio.sleep(0)
        self.writer.write(data[cut:])

    async def ask_all(self):
        for _ in range(self.visit["requests"]):
            count = 2 if self.draw.random() < self.visit["pipelined"] else 1
            made = [self.make_request() for _ in range(count)]
            for data, _ in made:
                await self.send(data)
            for _, what in made:
                await self.expect(what)

    async def connect(self, opening):
        hosts = self.visit["hosts"]
        async with opening:
            self.reader, self.writer = await asyncio.open_connection(
                hosts[self.number % len(hosts)], self.visit["port"], limit=1 << 21)
        self.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def run(self, opening, meeting):
        try:
            await self.connect(opening)
            await self.ask_all()
        finally:
            meeting.come()
        try:
            await meeting.is_complete.wait()
            self.writer.write_eof()
            rest = await self.reader.read()
            if rest:
                raise Wrong(f"{rest[:200]!r} after the last answer")
        finally:
            self.writer.close()


async def run_visitor(visitor, opening, meeting, seconds):
    try:
        await asyncio.wait_for(visitor.run(opening, meeting), seconds)
    except (OSError, EOFError, Wrong, asyncio.TimeoutError) as error:
        return f"connection {visitor.number} after {visitor.asked} answers: {error!r}"
    return None


async def visit():
    orders = json.load(sys.stdin)
    start = time.monotonic()
    opening = asyncio.Semaphore(OPENING)
    visitors = [Visitor(orders, number) for number in range(orders["connections"])]
    meeting = Meeting(len(visitors))
    ends = await asyncio.gather(*(run_visitor(v, opening, meeting, orders["seconds"])
                                  for v in visitors))
    json.dump({"seconds": time.monotonic() - start,
               "asked": sum(v.asked for v in visitors),
               "refused": sum(v.refused for v in visitors),
               "errors": [end for end in ends if end]}, sys.stdout)


# ---- for tests ----


class Server:
    """The server, for use behind an agent. address: as for Maker.agent()."""

    def __init__(self, network):
        import lab  # not needed where this file runs as a process
        self.end = lab.end_process
        self.process = lab.spawn(network.command("edge", sys.executable, __file__, "serve"),
                                 stdout=subprocess.PIPE)
        self.address = "127.0.0.1", int(self.process.stdout.readline())

    def close(self):
        self.end(self.process)


class Crowd:
    """Starts the visitors; result() waits for them."""

    def __init__(self, agent, orders):
        import lab
        orders = {"hosts": [agent.address[0]], "port": agent.port, **orders}
        self.process = lab.spawn(agent.network.command("client", sys.executable, __file__, "visit"),
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process.stdin.write(json.dumps(orders).encode())
        self.process.stdin.close()
        self.process.stdin = None

    def result(self):
        out, _ = self.process.communicate(timeout=120)
        return json.loads(out)


if __name__ == "__main__":
    asyncio.run({"serve": serve, "visit": visit}[sys.argv[1]]())
