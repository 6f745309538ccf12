# SPDX-License-Identifier: BSD-2-Clause
"""talk: connections whose every byte is generated from a seed, and the answers on them.

Runs as a process of its own: reads orders from stdin and writes transcripts to stdout, both as JSON. Each worker
has its own accounts and opens one connection after the other, so that it does not depend on timing which request
gets the last token.
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

from crowd import BLOCK, HEAD_END, Wrong

# Fields that may differ between two answers to the same request.
VARIABLE = re.compile(rb"(?mi)^(date: |retry-after: |x-request-id: ).*\r$|(;t=)\d+")
CUTS = 0.08  # probability that a request is sent in pieces
END = object()

METHODS = ("GET",) * 20 + ("POST",) * 10 + ("PUT", "PATCH", "DELETE") * 2 + ("HEAD", "OPTIONS")
PLACES = ("",) * 24 + ("/dear", "/free", "/open", "/v1/items", "/nowhere/else")
ODD_TARGETS = ("//", "/./1/1", "/a/../1/1", "/%41/1/1", "/%2e/1/1", "/a%20b/1/1", "/1/1?x=%41&y")
FIELDS = ("Accept: */*", "User-Agent: talk/1.0 (a test)", "Cookie: " + "c=d; " * 20, "X-Empty:",
          "accept-encoding: gzip, br", "Connection: keep-alive", "Content-Type: application/json",
          "X-Long: " + "y" * 700, "X-API-Keys: no key")
REST_S = 0.15  # XDP answers nothing in the tenth of a second after the first refusal
KINDS = {"plain": 9, "hourly": 2, "hourly2": 2, "scarce": 1, "monthly": 2, "revoked": 2,
         "suspended": 2, "unknown": 1}  # kinds of keys, and their weights


class Request:
    """data, cut into pieces. is_last: nothing is sent after it."""

    def __init__(self, method, data, is_last=False, due=None):
        self.method, self.data, self.is_last, self.due = method, data, is_last, due
        self.pieces = [data]


class Author:
    """Generates requests. keys: by kind."""

    def __init__(self, draw, keys, malformed):
        self.draw, self.keys, self.malformed = draw, keys, malformed

    def credential(self):
        kind = self.draw.choices(list(KINDS), list(KINDS.values()))[0]
        key, how = self.keys[kind], self.draw.random()
        if how < 0.8:
            return kind, [f"X-API-Key: {key}"]
        if how < 0.94:
            return kind, [f"Authorization: Bearer {key}"]
        if how < 0.96:
            return kind, [f"x-api-KEY:\t {key} \t"]
        if how < 0.98:
            return kind, [f"X-API-Key: {key}", "Authorization: Basic Og=="]
        if how < 0.99:
            return "both", [f"X-API-Key: {key}", f"Authorization: Bearer {self.keys['plain']}"]
        if how < 0.995:
            return "twice", [f"X-API-Key: {key}", f"X-API-Key: {self.keys['plain']}"]
        return "none", []

    def target(self):
        size = self.draw.choice((0, 10, 300, 300, 1400, 3000))
        offset = self.draw.randrange(len(BLOCK) - size)
        if self.draw.random() < 0.002:
            return self.draw.choice(ODD_TARGETS), None
        place = self.draw.choice(PLACES)
        query = "?q=1" if self.draw.random() < 0.1 else ""
        return f"{place}/{size}/{offset}{query}", BLOCK[offset:offset + size]

    def upload(self, method):
        """Return the fields and the body of an upload."""
        start, how = self.draw.randrange(len(BLOCK) // 2), self.draw.random()
        if method in ("GET", "HEAD") and how < 0.99:
            return [], b""
        body = BLOCK[start:start + self.draw.choice((0, 1, 40, 40, 300, 700, 700, 1200, 5000))]
        if how < 0.05:
            chunks = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return ["Transfer-Encoding: chunked"], chunks + b"0\r\n\r\n"
        fields = [f"Content-Length: {len(body)}"]
        if how > 0.97:
            fields.append("Expect: 100-continue")
        return fields, body

    def broken(self):
        text = self.malformed[self.draw.choice(sorted(self.malformed))]
        key = self.draw.choice(list(self.keys.values()))
        return Request("GET", text.replace("<key>", key).encode("latin-1"), is_last=True)

    def request(self):
        draw = self.draw
        if draw.random() < 0.001:
            return self.broken()
        method = draw.choice(METHODS)
        kind, fields = self.credential()
        target, body = self.target()
        upload_fields, upload = self.upload(method)
        fields += upload_fields + draw.sample(FIELDS, draw.choice((0, 0, 1, 2, 4)))
        draw.shuffle(fields)
        is_last = draw.random() < 0.002
        if is_last:
            fields.append("Connection: close")
        version = "1.0" if is_last and draw.random() < 0.5 else "1.1"
        lines = [f"{method} {target} HTTP/{version}", "Host: api.test", *fields, "", ""]
        due = body if kind == "plain" and "OPTIONS" != method else None
        return self.cut(Request(method, "\r\n".join(lines).encode() + upload, is_last, due))

    def cut(self, request):
        if self.draw.random() < CUTS:
            cuts = sorted(self.draw.randrange(len(request.data)) for _ in range(2))
            edges = [0, *cuts, len(request.data)]
            request.pieces = [request.data[a:b] for a, b in zip(edges, edges[1:]) if a < b]
        return request

    def connection(self, count):
        """
        Batches of requests; the client waits for all answers to a batch before the next one. The first request is
        """
        opening = f"GET /1/1 HTTP/1.1\r\nHost: a\r\nX-API-Key: {self.keys['revoked']}\r\n\r\n"
        batches, made = [[Request("GET", opening.encode())]], []
        while len(made) < count:
            batch = []
            for _ in range(self.draw.choice((1,) * 20 + (2, 3, 4))):
                batch.append(self.request())
                made.append(batch[-1])
                if batch[-1].is_last:
                    return batches + [batch]
            batches.append(batch)
        return batches


async def read_head(reader):
    try:
        return await reader.readuntil(HEAD_END)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise Wrong(f"half a head: {error.partial!r}") from error
        return END
    except ConnectionResetError:
        return "reset"


async def read_body(reader, head, method, status):
    if method == "HEAD" or status in (204, 304):
        return b""
    length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head, re.I)
    if length:
        return await reader.readexactly(int(length[1]))
    if not re.search(rb"\r\ntransfer-encoding: chunked\r\n", head, re.I):
        raise Wrong(f"no valid framing: {head!r}")
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return body


class Talk:
    """One connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.said = []  # [status, head, body's sum] for each answer
        self.interim = 0

    async def answer(self, request):
        """Read an answer; False at the end of the connection."""
        while True:
            head = await read_head(self.reader)
            if head is END or head == "reset":
                self.said.append("end" if head is END else head)
                return False
            if not re.match(rb"HTTP/1\.1 \d{3} ", head):
                raise Wrong(f"not a head: {head!r}")
            status = int(head[9:12])
            if status >= 200:
                break
            self.interim += 1
        body = await read_body(self.reader, head, request.method, status)
        if status == 200 and request.due is not None and request.method != "HEAD" and \
           body != request.due:
            raise Wrong(f"the wrong {len(body)} bytes for {request.data[:200]!r}")
        self.said.append([status, VARIABLE.sub(rb"\2", head).decode("latin-1"), zlib.crc32(body)])
        return True

    async def run(self, batches):
        for batch in batches:
            for piece in (piece for request in batch for piece in request.pieces):
                self.writer.write(piece)
                await asyncio.sleep(0)
            for request in batch:
                if not await self.answer(request):
                    return
            if batch is batches[0]:
                await asyncio.sleep(REST_S)
        if not batches[-1][-1].is_last:
            self.writer.write_eof()
        rest = await self.reader.read()
        if rest:
            raise Wrong(f"{rest[:200]!r} after the last answer")
        self.said.append("end")


async def talk_once(orders, batches):
    reader, writer = await asyncio.open_connection(orders["host"], orders["port"], limit=1 << 21)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    talk = Talk(reader, writer)
    try:
        await asyncio.wait_for(talk.run(batches), 30)
    except ConnectionError:
        talk.said.append("reset")
    except (EOFError, Wrong, asyncio.TimeoutError) as error:
        talk.said.append(f"wrong: {error!r}")
    finally:
        writer.close()
    return talk.said


async def work(orders, number):
    draw = random.Random(f"{orders['seed']}/{number}")
    author = Author(draw, orders["keys"][number], orders["malformed"])
    return [await talk_once(orders, author.connection(orders["requests"]))
            for _ in range(orders["connections"])]


def request_of(orders, worker, connection, at):
    """The request with that index, for the report of a failed test."""
    author = Author(random.Random(f"{orders['seed']}/{worker}"), orders["keys"][worker],
                    orders["malformed"])
    batches = [author.connection(orders["requests"]) for _ in range(connection + 1)][-1]
    asked = [request for batch in batches for request in batch]
    return asked[at].data[:600] if at < len(asked) else "the end"


async def main():
    orders = json.load(sys.stdin)
    start = time.monotonic()
    said = await asyncio.gather(*(work(orders, number) for number in range(len(orders["keys"]))))
    json.dump({"said": said, "seconds": time.monotonic() - start}, sys.stdout)


def talk(agent, orders):
    """Run everything; return {"said": [worker][connection][answer], "seconds": ...}."""
    orders.update(host=agent.address[0], port=agent.port)
    command = agent.network.command("client", sys.executable, __file__)
    done = subprocess.run(command, input=json.dumps(orders).encode(), stdout=subprocess.PIPE,
                          check=True, timeout=200)
    return json.loads(done.stdout)


if __name__ == "__main__":
    asyncio.run(main())
