#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The cost of the fleet's store: Redis's CPU time for each kind of call, its memory, and the time that an
agent needs to load a large snapshot (TOLLGATE_BENCH_ACCOUNTS accounts, by default a million)."""
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time

import redis

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", f"{TREE}/build")
LUA = f"{TREE}/user/store/redis/lua"
ACCOUNTS = int(os.environ.get("TOLLGATE_BENCH_ACCOUNTS", "1000000"))
ROWS = 100000
LINE = "active\t0\t1700000000000\t0\t0\t0\t0\t0\t0\tprice_123\tuser@example.com\t\tfree\t{customer}\t{subscription}\t{label}"


class Server:
    def __init__(self, folder):
        self.socket = f"{folder}/redis.sock"
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL)
        self.client = redis.Redis(unix_socket_path=self.socket)
        while True:
            try:
                self.client.ping()
                break
            except redis.exceptions.ConnectionError:
                time.sleep(0.01)

    def script(self, name):
        source = "".join(open(f"{LUA}/{part}.lua", encoding="ascii").read() for part in ("common", name))
        return self.client.script_load(source)

    def memory(self):
        return self.client.info("memory")["used_memory"]

    def busy(self):
        cpu = self.client.info("cpu")
        return cpu["used_cpu_user"] + cpu["used_cpu_sys"]

    def close(self):
        self.process.kill()
        self.process.wait()


def measure(server, what, count, work):
    cpu, memory, start = server.busy(), server.memory(), time.monotonic()
    work()
    seconds = time.monotonic() - start
    print(f"{what:<44}{count / seconds:>10.0f}{1e6 * (server.busy() - cpu) / count:>10.1f}"
          f"{(server.memory() - memory) / count:>10.0f}")


def measure_calls(server):
    client = server.client
    client.hset("tollgate:meta", mapping={"store_id": "0" * 32, "pepper_check": "x", "schema": 1})
    usage, share, records = (server.script(name) for name in ("usage", "share", "records"))

    def put_usage(total):
        for first in range(0, ROWS, 500):
            words = []
            for i in range(first, first + 500):
                words += [f"{i + 1:016x}", "00000000000000aa", 1764000000, 3600, total, total]
            client.evalsha(usage, 0, "usage_put", *words)

    def exchange():
        for call in range(ROWS // 500 // 4):
            words = []
            for i in range(500):
                words += [f"{i + 1:016x}", "00000000000000aa", call + 1, call * 20, 1, 30, 10000000, 200,
                          0, 0, 0, 0, 0, 0, 0, 0, call * 20, i]
            client.evalsha(share, 0, "exchange", "00000000000000bb", 3, *words)

    def change():
        for first in range(0, ROWS // 2, 1000):
            pipeline = client.pipeline(transaction=False)
            for i in range(1000):
                line = LINE.format(customer="", subscription="", label=first)
                pipeline.evalsha(records, 0, "account_set", f"{i + 1:016x}", "", line)
            pipeline.execute()

    for i in range(1000):
        client.evalsha(records, 0, "account_add", f"{i + 1:016x}", LINE.format(customer="", subscription="", label=""))
    print(f"{'':<44}{'a second':>10}{'us CPU':>10}{'bytes':>10}")
    measure(server, "usage, an account's first in a window", ROWS, lambda: put_usage(5))
    measure(server, "usage, each second in which it is used", ROWS, lambda: put_usage(9))
    measure(server, "shared limits, an account in an exchange", ROWS // 4, exchange)
    measure(server, "a change of an account, with stream entry", ROWS // 2, change)
    client.flushall()


def fill(server):
    """Write raw records in the format of user/store/redis_records.c."""
    pipeline = server.client.pipeline(transaction=False)
    for i in range(1, ACCOUNTS + 1):
        account, key = f"{i:016x}", f"{i + (1 << 40):016x}"
        digest = hashlib.sha256(account.encode()).hexdigest()
        subscription = f"sub_{i:014d}"
        pipeline.hset("tollgate:accounts", account,
                      LINE.format(customer=f"cus_{i:014d}", subscription=subscription, label=""))
        pipeline.hset("tollgate:subscriptions", subscription, account)
        pipeline.hset("tollgate:keys", key, f"{account}\t{digest}\t1700000000000\t0\t{i}\ttg_live_...abcd\t")
        pipeline.hset("tollgate:key_hashes", digest, key)
        pipeline.zadd("tollgate:key_order", {key: i})
        pipeline.zadd("tollgate:account_keys", {f"{account}:{i:016d}:{key}": 0})
        if i % 5000 == 0:
            pipeline.execute()
    pipeline.execute()


def run_agent(folder, until, timeout=120):
    """Start an agent, wait until its log matches, and stop it. Return the match."""
    with open(f"{folder}/log", "wb") as log:
        agent = subprocess.Popen([f"{BUILD}/tollgate", "run", "-c", f"{folder}/tollgate.yaml"], stderr=log, stdout=log)
    end = time.monotonic() + timeout
    found = None
    while not found and time.monotonic() < end and agent.poll() is None:
        time.sleep(0.05)
        with open(f"{folder}/log", errors="replace") as log:
            found = re.search(until, log.read())
    with open(f"/proc/{agent.pid}/status") as status:
        memory = int(re.search(r"RssAnon:\s+(\d+) kB", status.read())[1]) / 1024
    agent.terminate()
    agent.wait()
    if not found:
        sys.exit(open(f"{folder}/log").read())
    return found, memory


def measure_load(server, folder):
    with open(f"{folder}/pepper", "w") as pepper:
        pepper.write("p" * 40)
    os.chmod(f"{folder}/pepper", 0o600)
    with open(f"{folder}/tollgate.yaml", "w") as config:
        config.write(f"""
store: redis+unix://{server.socket}
state_dir: {folder}/state
pepper_file: {folder}/pepper
instance: bench-{os.getpid()}
max_accounts: {max(1024, ACCOUNTS + 1)}
listeners: [ {{ name: public, address: "127.0.0.1:18099" }} ]
admin: {{ socket: {folder}/admin.sock }}
upstreams: [ {{ name: api, servers: ["127.0.0.1:9"] }} ]
tiers: [ {{ name: free, rate: 10/s, burst: 20 }} ]
routes: [ {{ path: /, upstream: api }} ]
""")
    run_agent(folder, "loaded")
    memory = server.memory()
    fill(server)
    print(f"{ACCOUNTS} accounts with a key each: {(server.memory() - memory) / ACCOUNTS:.0f} bytes of Redis's memory each")
    found, memory = run_agent(folder, r"loaded (\d+) keys of (\d+) accounts in (\d+) ms")
    assert int(found[2]) == ACCOUNTS
    print(f"snapshot loaded in {int(found[3]) / 1000:.1f} s; {memory:.0f} MB of the agent's own memory")


def main():
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
        server = Server(folder)
        try:
            measure_calls(server)
            measure_load(server, folder)
        finally:
            server.close()


main()
