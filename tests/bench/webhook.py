#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""
webhook: the cost of billing for an agent with 100,000 subscriptions.

             core 1                                      core 0
    events, 100 a second  ---- POST /webhooks/stripe -->  agent  --> stub of Stripe (core 1)
    keys of their accounts --- GET / on kept conns  --->  agent  --> nginx: "return 200" (core 1)

An event says that a subscription is unpaid, or active again. The time measured is from when the event should
have been sent until a request with the account's key is answered 403 instead of 200, or 200 instead of
403. Meanwhile, requests with that key follow one another. Loops are open: a late request counts from the time
at which it should have been sent. The accounts are written into the agent's database while it is stopped.
scripts/bench runs this in its own namespaces.
"""
import ctypes
import hashlib
import hmac
import http.server
import json
import mmap
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import compare
from compare import Failure, UPSTREAM, wait_for_port, write

ACCOUNTS = 100000
MEASURED = 500  # accounts whose verdict is switched twice, five seconds apart
EVENTS_PER_SECOND = 100
REQUESTS_PER_SECOND = 500
REQUEST_SECONDS = 6
FLOODERS = 4
THREADS = 8
STUB_ANSWER_S = 0.1
PROBE_PAUSE_S = 0.0003
AGENT_CORE, OTHER_CORE = 0, 1
PORT, UPSTREAM_PORT, STUB_PORT = 8001, 9000, 9001
SECRET = "whsec_bench"
PR_SET_TIMERSLACK = 29

CONFIG = """\
state_dir: {dir}
workers: 1
listeners: [ {{ name: bench, address: "127.0.0.1:{port}" }} ]
admin: {{ socket: {dir}/admin.sock }}
upstreams: [ {{ name: api, servers: ["127.0.0.1:{upstream}"] }} ]
tiers: [ {{ name: bench, prices: [price_bench], rate: 1000000/s, quota: 1000000000/month,
           meter: api_requests }} ]
routes: [ {{ path: /, upstream: api }} ]
fastpath: {{ mode: none }}
stripe:
  secret_key: sk_test_bench
  webhook_secrets: [{secret}]
  api_base: "http://127.0.0.1:{stub}"
  calls_per_second: 1000
notices: {{ webhook: {{ url: "http://127.0.0.1:{stub}/notice", secret: s }} }}
"""

# A flood that looks like Stripe's events, without the secret.
FLOOD = """\
wrk.method = "POST"
wrk.body = io.open("BODY"):read("*a")
wrk.headers["Stripe-Signature"] = "t=" .. os.time() .. ",v1=" .. string.rep("0", 64)
"""


# ---- Stripe ----


def subscription(number, status):
    start = int(time.time()) - 864000
    return {
        "id": f"sub_{number:06}", "object": "subscription", "status": status, "livemode": False,
        "customer": f"cus_{number:06}", "created": start, "cancel_at_period_end": False,
        "items": {"object": "list", "data": [{
            "id": f"si_{number:06}", "object": "subscription_item", "quantity": 1,
            "current_period_start": start, "current_period_end": start + 2592000,
            "price": {"id": "price_bench", "object": "price", "lookup_key": None,
                      "product": "prod_bench"}}]},
        "metadata": {"padding": "x" * 1100},
    }


def event(number, status, name):
    now = int(time.time())
    body = json.dumps({
        "id": name, "object": "event", "type": "customer.subscription.updated", "created": now,
        "livemode": False, "api_version": "2026-10-28.endive",
        "data": {"object": subscription(number, status)}}).encode()
    mac = hmac.new(SECRET.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    return body, f"t={now},v1={mac}"


class Stub(http.server.BaseHTTPRequestHandler):
    """
    A subscription is as its byte in @unpaid says. Lists are never answered. A verdict that had to wait
    for an answer would show it.
    """
    protocol_version = "HTTP/1.1"
    unpaid = None  # shared with the parent

    def do_GET(self):
        found = re.match(r"/v1/subscriptions/sub_(\d+)", self.path)
        if not found:
            time.sleep(3600)
        number = int(found[1])
        time.sleep(STUB_ANSWER_S)
        body = json.dumps(subscription(number, "unpaid" if self.unpaid[number] else "active")).encode()
        self.answer(body)

    def do_POST(self):
        """A notice."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"{}")

    def answer(self, body):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: %b\r\n"
                         b"Content-Length: %d\r\n\r\n%b"
                         % (self.date_time_string().encode(), len(body), body))

    def log_message(self, *_):
        pass


def start_stub(unpaid):
    pid = os.fork()
    if pid:
        wait_for_port(STUB_PORT)
        return
    Stub.unpaid = unpaid
    http.server.ThreadingHTTPServer(("127.0.0.1", STUB_PORT), Stub).serve_forever()


# ---- the agent ----


class Admin(compare.AdminConnection):
    def ask(self, path):
        self.request("GET", path)
        answer = self.getresponse()
        answer.read()
        return answer.status


class Agent:
    def __init__(self, work, name):
        self.dir = f"{work}/{name}"
        os.mkdir(self.dir)
        self.config = write(f"{self.dir}/conf", CONFIG.format(
            dir=self.dir, port=PORT, upstream=UPSTREAM_PORT, stub=STUB_PORT, secret=SECRET))

    def start(self):
        with open(f"{self.dir}/log", "ab") as log:
            self.process = subprocess.Popen(["taskset", "-c", str(AGENT_CORE), TOLLGATE_BINARY, "run",
                                             "-c", self.config], stdout=log, stderr=log)
        wait_for_port(PORT)
        self.admin = Admin(f"{self.dir}/admin.sock")
        while self.admin.ask("/readyz") != 200:
            time.sleep(0.02)

    def stop(self):
        self.admin.close()
        self.process.terminate()
        if self.process.wait(30):
            with open(f"{self.dir}/log", encoding="utf8") as log:
                raise Failure(f"the agent failed:\n{log.read()[-2000:]}")

    def rss_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) * 1024


def account_id(number):
    """A key that looks random."""
    return number * 0x9E3779B97F4A7C15 % (1 << 62) + 1


def fill(folder):
    now = int(time.time())
    store = sqlite3.connect(f"{folder}/tollgate.db")
    store.executemany(
        "INSERT INTO accounts(id, status, is_held, created_ms, past_due_ms, tier, customer,"
        " subscription, label, period_start_s, period_end_s, price, email)"
        " VALUES(?,'active',0,?,0,'bench',?,?,?,?,?,'price_bench',?)",
        ((account_id(n), now * 1000, f"cus_{n:06}", f"sub_{n:06}", f"customer{n}@example.com",
          now - 864000, now + 1728000, f"customer{n}@example.com") for n in range(ACCOUNTS)))
    store.commit()
    store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()


# ---- clients ----


class Client:
    """A connection that is kept open."""

    def __init__(self):
        self.sock = socket.create_connection(("127.0.0.1", PORT))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, key):
        self.sock.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\nX-API-Key: %b\r\n\r\n" % key)
        return self.status()

    def post(self, body, signature):
        self.sock.sendall(b"POST /webhooks/stripe HTTP/1.1\r\nHost: bench\r\nStripe-Signature: %b\r\n"
                          b"Content-Length: %d\r\n\r\n%b" % (signature.encode(), len(body), body))

    def status(self):
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.more()
        head, body = data.split(b"\r\n\r\n", 1)
        left = int(re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)[1]) - len(body)
        while left > 0:
            left -= len(self.more())
        return int(head[9:12])

    def more(self):
        data = self.sock.recv(65536)
        if not data:
            raise Failure("the agent closed a connection")
        return data


def open_loop(count, per_second, act):
    """Call act(client, probe, number, intended time) for each; threads take turns."""
    start = time.monotonic() + 0.2
    failures = []

    def run(first):
        client, probe = Client(), Client()
        try:
            for number in range(first, count, THREADS):
                intended = start + number / per_second
                time.sleep(max(0, intended - time.monotonic()))
                act(client, probe, number, intended)
        except (Failure, OSError) as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(first,)) for first in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def quantile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def spread_ms(values):
    return (f"p50 {quantile(values, 0.5) * 1e3:6.2f} ms, p99 {quantile(values, 0.99) * 1e3:6.2f} ms,"
            f" max {max(values) * 1e3:6.2f} ms")


def turn_all(keys, unpaid, status, code):
    """Return the seconds from each event to its verdict."""
    latencies = []

    def turn(client, probe, number, intended):
        unpaid[number] = status == "unpaid"
        client.post(*event(number, status, f"evt_{status}_{number}"))
        while probe.get(keys[number]) != code:
            if time.monotonic() > intended + 5:
                raise Failure(f"sub_{number:06} is not {status} within 5 s")
            time.sleep(PROBE_PAUSE_S)
        latencies.append(time.monotonic() - intended)
        if client.status() != 200:
            raise Failure("an event is refused")

    open_loop(MEASURED, EVENTS_PER_SECOND, turn)
    return latencies


def pay(keys):
    """Return the seconds that each request of paying clients takes."""
    latencies = []

    def ask(client, _, number, intended):
        if client.get(keys[number % MEASURED]) != 200:
            raise Failure("a paying client is refused")
        latencies.append(time.monotonic() - intended)

    open_loop(REQUEST_SECONDS * REQUESTS_PER_SECOND, REQUESTS_PER_SECOND, ask)
    return latencies


def start_flood(folder):
    script = write(f"{folder}/flood.lua", FLOOD.replace("BODY", f"{folder}/body"))
    write(f"{folder}/body", event(1, "active", "evt_forged")[0].decode())
    return subprocess.Popen(["nice", "-n", "19", "wrk", "-t1", f"-c{FLOODERS}", "-s", script,
                             f"-d{REQUEST_SECONDS + 1}s", f"http://127.0.0.1:{PORT}/webhooks/stripe"],
                            stdout=subprocess.PIPE, text=True)


def forged_per_second(out):
    answers = int(re.search(r"(\d+) requests in", out)[1])
    refused = int(re.search(r"Non-2xx or 3xx responses: (\d+)", out)[1])
    if answers != refused:
        raise Failure(f"{answers - refused} forged events were accepted")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])


def disk_sync(folder):
    """Return the seconds that it takes to append 4 KB to a file and sync it."""
    taken = []
    with open(f"{folder}/sync", "wb", buffering=0) as file:
        for _ in range(200):
            begun = time.monotonic()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            taken.append(time.monotonic() - begun)
    return taken


# ---- all of it ----


def measure_memory(work):
    agent = Agent(work, "agent")
    agent.start()
    empty = agent.rss_bytes()
    agent.stop()
    fill(agent.dir)
    begun = time.monotonic()
    agent.start()
    loaded_s = time.monotonic() - begun
    full = agent.rss_bytes()
    print(f"memory: {(full - empty) / ACCOUNTS:.0f} bytes per account besides its slot ({empty >> 20} MB"
          f" without, {full >> 20} MB with them); started in {loaded_s:.1f} s")
    return agent


def main(work):
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.sched_setaffinity(0, {OTHER_CORE})
    unpaid = mmap.mmap(-1, ACCOUNTS)
    start_stub(unpaid)
    os.mkdir(f"{work}/upstream")
    subprocess.Popen(["nginx", "-p", f"{work}/upstream", "-c", write(
        f"{work}/upstream/conf", UPSTREAM.format(dir=f"{work}/upstream", port=UPSTREAM_PORT, body="ok"))])
    wait_for_port(UPSTREAM_PORT)

    print(f"{ACCOUNTS} accounts with subscriptions; one worker, and all of the agent on one core")
    agent = measure_memory(work)
    keys = [agent.admin.post("/api/v1/keys", account=f"acc_{account_id(n):016x}")["key"].encode()
            for n in range(MEASURED)]
    pay(keys)  # connections and caches

    print(f"{'disk: 4 KB made to last:':32} {spread_ms(disk_sync(agent.dir))}")
    verdicts = turn_all(keys, unpaid, "unpaid", 403)
    time.sleep(2)  # events have one-second resolution
    verdicts += turn_all(keys, unpaid, "active", 200)
    print(f"event to verdict, {EVENTS_PER_SECOND} events a second, Stripe answers in"
          f" {STUB_ANSWER_S * 1e3:.0f} ms:\n{'':32} {spread_ms(verdicts)}")

    calm = pay(keys)
    flood = start_flood(agent.dir)
    time.sleep(0.3)
    flooded = pay(keys)
    per_second = forged_per_second(flood.communicate()[0])
    print(f"paying clients, {REQUESTS_PER_SECOND} requests a second:")
    print(f"{'  alone:':32} {spread_ms(calm)}")
    print(f"{f'  with {per_second:.0f} forged events/s:':32} {spread_ms(flooded)}")
    print(f"{'  ratio:':32} p50 {quantile(flooded, .5) / quantile(calm, .5):6.2f},    "
          f"p99 {quantile(flooded, .99) / quantile(calm, .99):6.2f}")
    agent.stop()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: webhook.py TOLLGATE WORK_DIR")
    compare.WORK = sys.argv[2]  # where compare's functions look for the log
    TOLLGATE_BINARY = os.path.abspath(sys.argv[1])
    try:
        main(sys.argv[2])
    except Failure as failure:
        sys.exit(f"bench: {failure}")
