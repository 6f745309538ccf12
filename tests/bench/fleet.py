#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""
fleet: the cost of many hosts sharing one Redis. Everything runs on one machine's loopback, with durability
off in agents and Redis, in its own namespaces (scripts/bench).

  change   time from the request that changes an account on one host until another host applies the change
  calls    each host's calls to Redis per second, and by how much a shared limit is exceeded
  service  tollgate compared with a FastAPI service that asks Redis twice per request (guide.py). tollgate
           proxies to an upstream; the service answers by itself
  large    a million accounts with one key each; 10,000 changes per second
"""
import contextlib
import hashlib
import http.client
import itertools
import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
import threading
import time

import redis

import compare
from compare import AdminConnection, Failure, start, wait_for_port, write

REDIS_PORT, UPSTREAM_PORT, SERVICE_PORT, FIRST_PORT = 6379, 9000, 9001, 8000
RATE, BURST = 1000, 200
CHANGES, ACCOUNTS = 1000, 1000000
STREAM_RATE, STREAM_S, BATCH = 10000, 10, 100
SEED = 20261124
BODY = json.dumps({"items": [{"id": i, "name": f"item {i}"} for i in range(5)]}).ljust(150)
LUA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../user/store/redis/lua")
numbers = itertools.count()

TOLLGATE = """\
store: redis://127.0.0.1:{redis}/0
state_dir: {dir}
instance: bench-{number}
pepper_file: {work}/pepper
workers: 1
log: info
max_accounts: {max_accounts}
listeners: [ {{ name: bench, address: "127.0.0.1:{port}" }} ]
admin: {{ socket: {dir}/admin.sock }}
upstreams: [ {{ name: api, servers: ["127.0.0.1:{upstream}"] }} ]
tiers:
  - {{ name: plain, rate: 1000000/s }}
  - {{ name: shared, rate: {rate}/s, burst: {burst}, limit: shared }}
routes: [ {{ path: /, upstream: api }} ]
fastpath: {{ mode: none }}
"""


class Host:
    """One agent."""

    def __init__(self, max_accounts=1024):
        self.number = next(numbers)
        self.port = FIRST_PORT + self.number
        self.dir = f"{compare.WORK}/host-{self.number}"
        os.mkdir(self.dir)
        self.conf = write(f"{self.dir}/conf", TOLLGATE.format(
            redis=REDIS_PORT, dir=self.dir, number=self.number, work=compare.WORK, port=self.port,
            upstream=UPSTREAM_PORT, max_accounts=max_accounts, rate=RATE, burst=BURST))
        self.launch()
        self.admin = AdminConnection(f"{self.dir}/admin.sock")
        wait_for_port(self.port)
        self.admin.wait_ready()

    def launch(self, core=0):
        self.log = f"{self.dir}/log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(compare.pinned(core, compare.TOLLGATE_BINARY, "run", "-c", self.conf),
                                            stdout=log, stderr=log)

    def get(self, path):
        self.admin.request("GET", path)
        return self.admin.getresponse().read()

    def status(self):
        return json.loads(self.get("/api/v1/status"))

    def patch(self, account, **fields):
        self.admin.request("PATCH", f"/api/v1/accounts/{account}", json.dumps(fields))
        answer = self.admin.getresponse()
        answer.read()
        if answer.status != 200:
            raise Failure(f"a change is answered with {answer.status}")

    def account(self, tier):
        made = self.admin.post("/api/v1/accounts", tier=tier)["id"]
        return made, self.admin.post("/api/v1/keys", account=made)["key"]

    def end(self):
        self.admin.close()
        self.process.terminate()
        self.process.wait()


@contextlib.contextmanager
def hosts(count, **options):
    """Start count hosts on an empty Redis."""
    store().flushall()
    made = [Host(**options) for _ in range(count)]
    for host in made:
        wait_until(lambda host=host: len(host.status()["hosts"]) == count, "hosts know each other")
    try:
        yield made
    finally:
        for host in made:
            host.end()


def store():
    return redis.Redis(port=REDIS_PORT)


def wait_until(condition, what, timeout=30):
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"did not happen within {timeout} s: {what}")
        time.sleep(0.01)


def percentile(values, percent):
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


class Client:
    def __init__(self, port, key):
        self.connection, self.key = http.client.HTTPConnection("127.0.0.1", port), key

    def status(self):
        self.connection.request("GET", "/", headers={"X-API-Key": self.key})
        answer = self.connection.getresponse()
        answer.read()
        return answer.status


def wrk(port, key, seconds, connections):
    """Start wrk."""
    script = f"{compare.WORK}/wrk-{next(numbers)}.lua"
    write(f"{script}.keys", key + "\n")
    write(script, compare.WRK.replace("KEYS", f"{script}.keys").replace("/v1/items?page=1", "/").replace(
        "latency:percentile(99)", "latency:percentile(99)), string.format(\"P50 %d\\n\", latency:percentile(50)"))
    return subprocess.Popen(
        compare.pinned(1, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script,
                       f"http://127.0.0.1:{port}/"), stdout=subprocess.PIPE, text=True)


def wrk_result(process):
    out, _ = process.communicate()
    found = re.search(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+)\s+P50 (\d+)", out, re.M)
    if not found:
        raise Failure(f"wrk failed:\n{out}")
    requests, duration_us, bad, errors, p99_us, p50_us = map(int, found.groups())
    if not requests or errors:
        raise Failure(f"{errors} socket errors:\n{out}")
    return {"requests": requests, "bad": bad, "rate": requests * 1e6 / duration_us, "p50": p50_us, "p99": p99_us}


# ---- change ----


def measure_change():
    times = []
    with hosts(3) as made:
        account, key = made[0].account("plain")
        clients = [Client(host.port, key) for host in made]
        for client in clients:
            wait_until(lambda client=client: client.status() == 200, "the key is known")
        for i in range(CHANGES):
            wanted = 403 if i % 2 == 0 else 200
            begin = time.perf_counter()
            made[i % 3].patch(account, held=wanted == 403)
            while clients[(i + 1) % 3].status() != wanted:
                if time.perf_counter() - begin > 5:
                    raise Failure("a change does not arrive")
            times.append(time.perf_counter() - begin)
            while clients[(i + 2) % 3].status() != wanted:
                pass
    print(f"A change, from the request on one host until another acts ({CHANGES} of them, 3 hosts): "
          f"p50 {1000 * statistics.median(times):.2f} ms, p99 {1000 * percentile(times, 99):.2f} ms, "
          f"most {1000 * max(times):.2f} ms\n")


# ---- calls ----

CALLS = ("evalsha", "xread", "xrange", "xrevrange", "hscan", "role", "ping")  # without calls made by scripts


def calls_made():
    stats = store().info("commandstats")
    return {name: stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in CALLS}


def measure_calls(count):
    with hosts(count) as made:
        _, key = made[0].account("shared")
        for host in made:
            client = Client(host.port, key)
            wait_until(lambda client=client: client.status() != 401, "the key is known")
        time.sleep(1)
        before, begin = calls_made(), time.monotonic()
        time.sleep(SECONDS)
        quiet = {name: (n - before[name]) / count / (time.monotonic() - begin) for name, n in calls_made().items()}
        before, begin = calls_made(), time.monotonic()
        loads = [wrk(host.port, key, SECONDS, 2) for host in made]
        results = [wrk_result(load) for load in loads]
        passed_s = time.monotonic() - begin
        each = {name: (n - before[name]) / count / passed_s for name, n in calls_made().items()}
    allowed = sum(result["requests"] - result["bad"] for result in results)
    asked = sum(result["requests"] for result in results)
    over = allowed - BURST - RATE * passed_s
    bound = count * math.ceil(BURST / count) + BURST * count / (count + 1) + 2 * RATE * 0.25
    print(f"  {count:5} {sum(quiet.values()):8.1f} {sum(each.values()):8.1f} {each['evalsha']:8.1f} "
          f"{each['xread']:6.1f} {asked / passed_s:11.0f} {allowed / passed_s:11.0f} {over:+9.0f} {bound:6.0f}")


def report_calls():
    print(f"Calls to Redis, one key with a shared limit of {RATE}/s, burst {BURST}, asked for at every host by 2 "
          f"connections without a pause, {SECONDS} s:")
    print(f"  {'':5} {'calls/s of a host':>26} {'':6} {'requests/s, of all':>23} {'above':>9} {'at':>6}")
    print(f"  {'hosts':5} {'quiet':>8} {'busy':>8} {'scripts':>8} {'xread':>6} {'asked':>11} {'allowed':>11} "
          f"{'B + R*T':>9} {'most':>6}")
    for count in (1, 3, 10):
        measure_calls(count)
    print()


# ---- service ----


def measure_service():
    key = "bench-0123456789abcdef"
    with hosts(1) as (host,):
        _, ours = host.account("plain")
        wait_until(lambda: Client(host.port, ours).status() == 200, "the key is known")
        store().hset(f"key:{hashlib.sha256(key.encode()).hexdigest()}", mapping={"status": "active", "tier": "pro"})
        environment = dict(os.environ, REDIS_PORT=str(REDIS_PORT), BODY=BODY)
        with open(f"{compare.WORK}/service.log", "ab") as log:
            service = subprocess.Popen(compare.pinned(
                0, "/usr/bin/python3", "-m", "uvicorn", "guide:app", "--port", str(SERVICE_PORT), "--no-access-log",
                "--app-dir", os.path.dirname(os.path.abspath(__file__))), env=environment, stdout=log, stderr=log)
        wait_for_port(SERVICE_PORT)
        if Client(SERVICE_PORT, "unknown-0123456789abc").status() != 401:
            raise Failure("the service takes any key")
        rows = {"tollgate": (host.port, ours), "FastAPI + Redis": (SERVICE_PORT, key)}
        results = {name: [] for name in rows}
        for _ in range(ROUNDS):
            for name, (port, one) in rows.items():
                result = wrk_result(wrk(port, one, SECONDS, 64))
                if result["bad"]:
                    raise Failure(f"{name}: {result['bad']} of {result['requests']} refused")
                results[name].append(result)
        service.terminate()
        service.wait()
    print(f"One worker on one core, 64 connections; Redis, wrk and the upstream on the other; {ROUNDS} rounds of "
          f"{SECONDS} s, medians:")
    for name, runs in results.items():
        print(f"  {name:16} {statistics.median(run['rate'] for run in runs):8.0f} requests/s   "
              f"p50 {statistics.median(run['p50'] for run in runs):7.0f} us   "
              f"p99 {statistics.median(run['p99'] for run in runs):7.0f} us")
    ratios = [a["rate"] / b["rate"] for a, b in zip(*results.values())]
    print(f"  tollgate answers {compare.spread(ratios, 1)} times as many\n")


# ---- large ----


def id_of(number):
    return f"{number + 1:016x}"


def account_line(held, label):
    """An account's record as user/store/redis_records.c writes it."""
    return f"active\t{held}\t1700000000000\t0\t0\t0\t0\t0\t0\t\t\t\tplain\t\t\t{label}"


def fill():
    """Write a million accounts with one key each, as the scripts would."""
    chance, pipe = random.Random(SEED), store().pipeline(transaction=False)
    for first in range(0, ACCOUNTS, 1000):
        accounts, keys, hashes, order, of_account = {}, {}, {}, {}, {}
        for n in range(first, first + 1000):
            one, hashed = id_of(n), chance.randbytes(32).hex()
            key = f"{n + (1 << 40):016x}"
            accounts[one] = account_line(0, f"customer {n}")
            keys[key] = f"{one}\t{hashed}\t1700000000000\t0\t{n + 1}\ttg_live_...{n % 10000:04}\t"
            hashes[hashed] = key
            order[key] = n + 1
            of_account[f"{one}:{n + 1:016d}:{key}"] = 0
        pipe.hset("tollgate:accounts", mapping=accounts)
        pipe.hset("tollgate:keys", mapping=keys)
        pipe.hset("tollgate:key_hashes", mapping=hashes)
        pipe.zadd("tollgate:key_order", order)
        pipe.zadd("tollgate:account_keys", of_account)
        pipe.execute()
    store().hset("tollgate:meta", "key_seq", ACCOUNTS)


def begin_anew(host):
    """Restart a host without local state; return the seconds until it is ready."""
    host.end()
    begin = time.monotonic()
    host.launch()
    while True:
        if host.process.poll() is not None:
            raise Failure("the agent exited: " + open(host.log, encoding="utf8").read()[-500:])
        with contextlib.suppress(OSError, http.client.HTTPException):
            if host.get("/readyz") == b"ready\n":
                return time.monotonic() - begin
        host.admin.close()
        time.sleep(0.01)


def stream(lags, host):
    """Make STREAM_RATE changes per second by the real scripts; return how far hosts report to be behind."""
    text = "".join(open(f"{LUA}/{name}.lua", encoding="ascii").read() for name in ("common", "records"))
    client, chance = store(), random.Random(SEED)
    sha = client.script_load(text)
    is_over = threading.Event()
    begin, sent = time.monotonic(), 0

    def watch():
        while not is_over.wait(1):
            lags.append(max((one["behind"] for one in host.status()["hosts"]), default=0))

    watcher = threading.Thread(target=watch)
    watcher.start()
    while sent < STREAM_RATE * STREAM_S:
        pipe = client.pipeline(transaction=False)
        for n in range(BATCH):
            pipe.evalsha(sha, 0, "account_set", id_of(chance.randrange(ACCOUNTS)), "", account_line(n % 2, "changed"))
        pipe.execute()
        sent += BATCH
        time.sleep(max(0.0, begin + sent / STREAM_RATE - time.monotonic()))
    took_s = time.monotonic() - begin
    ended = time.monotonic()
    is_over.set()
    watcher.join()
    return took_s, ended


def measure_large():
    store().flushall()
    host = Host(max_accounts=1048576)  # creates the store, with the pepper's check value
    before = store().info("memory")["used_memory"]
    fill()
    used = store().info("memory")["used_memory"] - before
    ready = sorted(begin_anew(host) for _ in range(3))
    found = re.findall(r"loaded (\d+) keys of (\d+) accounts in (\d+) ms", open(host.log, encoding="utf8").read())
    if found[-1][:2] != (str(ACCOUNTS), str(ACCOUNTS)):
        raise Failure(f"loaded: {found[-1]}")
    with open(f"/proc/{host.process.pid}/status", encoding="ascii") as status:
        rss = int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) / 1024
    print(f"{ACCOUNTS} accounts with a key each: ready after {ready[1]:.1f} s ({ready[0]:.1f}-{ready[2]:.1f}), "
          f"of it {int(found[-1][2]) / 1000:.1f} s loading; Redis uses {used / 2**20:.0f} MB for them, {used / ACCOUNTS:.0f} "
          f"bytes each; the agent {rss:.0f} MB")
    lags = []
    took_s, ended = stream(lags, host)
    wait_until(lambda: all(one["behind"] == 0 for one in host.status()["hosts"] if one["alive"]), "all hosts have caught up", 120)
    print(f"{STREAM_RATE * STREAM_S} changes of random accounts by the scripts, {STREAM_RATE * STREAM_S / took_s:.0f} a "
          f"second: behind by at most {max(lags)} (p50 {statistics.median(lags):.0f}) as reported each second; all applied "
          f"within {time.monotonic() - ended:.1f} s of the last")
    host.end()


PARTS = {"change": measure_change, "calls": report_calls, "service": measure_service, "large": measure_large}


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    write(f"{compare.WORK}/pepper", "p" * 40)
    os.chmod(f"{compare.WORK}/pepper", 0o600)
    os.mkdir(f"{compare.WORK}/upstream")
    start(1, "redis-server", "--port", REDIS_PORT, "--save", "", "--appendonly", "no")
    start(1, "nginx", "-p", f"{compare.WORK}/upstream", "-c", write(
        f"{compare.WORK}/upstream/conf", compare.UPSTREAM.format(
            dir=f"{compare.WORK}/upstream", port=UPSTREAM_PORT, body=BODY)))
    wait_for_port(REDIS_PORT)
    wait_for_port(UPSTREAM_PORT)
    for part in PARTS_WANTED or PARTS:
        PARTS[part]()


if __name__ == "__main__":
    if len(sys.argv) < 5 or not set(sys.argv[5:]) <= set(PARTS):
        sys.exit(f"usage: fleet.py TOLLGATE WORK_DIR ROUNDS SECONDS [{' | '.join(PARTS)}]...")
    compare.TOLLGATE_BINARY, compare.WORK = os.path.abspath(sys.argv[1]), sys.argv[2]
    ROUNDS, SECONDS, PARTS_WANTED = int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:]
    try:
        main()
    except Failure as failure:
        sys.exit(f"bench: {failure}")
