#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""
flood: how a flood over its limit affects a paying client, and what refusing costs.

       core 1, client's namespace                     core 0, edge's namespace
    payer, 2000 requests a second, high priority  ->  one proxy  ->  nginx: "return 200"
    wrk, 64 connections, low priority             ->

Payer and flood use different addresses. Each proxy is measured with the payer alone, with a flood on
connections that stay open, and with a flood of new connections. The cost of a refused request is the CPU
time of the server's side, minus that with the payer alone, divided by the number of refusals. It includes the
proxy's processes with their system calls, and the fast path's programs wherever they ran, measured by the
kernel (kernel.bpf_stats_enabled). It does not include interrupts that run in the client's time: this kernel
does not attribute them, and they are the same for all proxies. scripts/bench runs this in its own lab.
"""
import contextlib
import glob
import json
import os
import re
import subprocess
import sys

import compare
from compare import AdminConnection, Failure, process_tree, write

RATE, PAYER_CONNECTIONS = 2000, 16
FLOOD_CONNECTIONS = 64
EDGE_CORE, CLIENT_CORE = 0, 1
EDGE, PAYER = "10.91.0.2", "10.91.0.9"
UPSTREAM_PORT = 9000
PORTS = {"tollgate": 8001, "tollgate, fast path off": 8002, "nginx": 8003, "haproxy": 8004}

TOLLGATE = """\
store: sqlite:{dir}/tollgate.db
state_dir: {dir}
workers: 1
instance: {lab}
listeners: [ {{ name: bench, address: "10.91.0.2:{port}", interfaces: [veth0] }} ]
admin: {{ socket: {dir}/admin.sock }}
upstreams: [ {{ name: api, servers: ["127.0.0.1:{upstream}"] }} ]
tiers: [ {{ name: payer, rate: 1000000/s }}, {{ name: flood, rate: 1/h }} ]
routes: [ {{ path: /, upstream: api }} ]
fastpath: {{ mode: {mode}, action: answer }}
"""

NGINX = compare.NGINX_COMMON + """\
	map $http_x_api_key $limited {{
		default $http_x_api_key;
		payer-0123456789abcdef "";
	}}
	limit_req_zone $limited zone=keys:1m rate=1r/m;
	limit_req_status 429;
	limit_req_log_level info;
	upstream api {{
		server 127.0.0.1:{upstream};
		keepalive 64;
		keepalive_requests 1000000000;
	}}
	server {{
		listen 10.91.0.2:{port};
		location / {{
			limit_req zone=keys burst=1 nodelay;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_pass http://api;
		}}
	}}
}}
"""

HAPROXY = """\
global
	nbthread 1
	maxconn 1024
defaults
	mode http
	timeout connect 5s
	timeout client 300s
	timeout server 60s
	option http-keep-alive
frontend bench
	bind 10.91.0.2:{port}
	stick-table type string len 64 size 10k expire 2h store http_req_rate(1h)
	http-request track-sc0 req.hdr(X-API-Key)
	http-request deny deny_status 429 if {{ sc0_http_req_rate gt 1 }} !{{ req.hdr(X-API-Key) payer-0123456789abcdef }}
	default_backend api
backend api
	http-reuse always
	server api 127.0.0.1:{upstream}
"""

WRK = """\
wrk.headers["X-API-Key"] = "{key}"
{more}
function done(summary, latency, requests)
	print(string.format("RESULT %d %d %d", summary.requests, summary.duration, summary.errors.status))
end
"""


def in_lab(side, core, nice, *command):
    return ["nsenter", f"--net=/run/netns/{LAB}-{side}", "--", "taskset", "-c", str(core),
            "nice", "-n", str(nice), *map(str, command)]


def start(*command):
    log = open(f"{WORK}/log", "ab")
    return subprocess.Popen(in_lab("edge", EDGE_CORE, 0, *command), stdout=log, stderr=log, cwd=WORK)


def wait_for_port(port):
    subprocess.run(["nsenter", f"--net=/run/netns/{LAB}-edge", "--", sys.executable, "-c",
                    "import sys; sys.path.insert(0, sys.argv[1]); import compare, socket\n"
                    "import time\n"
                    "for _ in range(100):\n"
                    "    with socket.socket() as probe:\n"
                    "        if not probe.connect_ex((sys.argv[2], int(sys.argv[3]))): sys.exit(0)\n"
                    "    time.sleep(0.1)\n"
                    "sys.exit(1)", os.path.dirname(os.path.abspath(__file__)),
                    "127.0.0.1" if port == UPSTREAM_PORT else EDGE, str(port)], check=True)


class Proxy:
    def __init__(self, name):
        self.name, self.port = name, PORTS[name]
        self.dir = f"{WORK}/{self.port}"
        os.mkdir(self.dir)
        self.keys = {"payer": "payer-0123456789abcdef", "flood": "flood-0123456789abcdef"}

    def begin(self):
        values = {"dir": self.dir, "port": self.port, "upstream": UPSTREAM_PORT, "lab": LAB}
        conf = f"{self.dir}/conf"
        if self.name.startswith("tollgate"):
            mode = "none" if "off" in self.name else "native"
            write(conf, TOLLGATE.format(mode=mode, **values))
            self.process = start(TOLLGATE_BINARY, "run", "-c", conf)
        elif self.name == "nginx":
            write(conf, NGINX.format(**values))
            self.process = start("nginx", "-p", self.dir, "-c", conf)
        else:
            write(conf, HAPROXY.format(**values))
            self.process = start("haproxy", "-db", "-f", conf)
        wait_for_port(self.port)
        if self.name.startswith("tollgate"):
            admin = AdminConnection(f"{self.dir}/admin.sock")
            admin.wait_ready()
            for tier in self.keys:
                account = admin.post("/api/v1/accounts", tier=tier)["id"]
                self.keys[tier] = admin.post("/api/v1/keys", account=account)["key"]
            admin.close()

    def end(self):
        self.process.terminate()
        self.process.wait(20)

    def cpu_s(self):
        return processes_s(process_tree(self.process.pid)) + programs_s()

    def pay(self):
        return subprocess.Popen(
            in_lab("client", CLIENT_CORE, -20, PAYER_BINARY, PAYER, EDGE, self.port,
                   self.keys["payer"], RATE, SECONDS, PAYER_CONNECTIONS),
            stdout=subprocess.PIPE, text=True)

    def flood(self, is_closing):
        script = write(f"{self.dir}/wrk.lua", WRK.format(
            key=self.keys["flood"], more='wrk.headers["Connection"] = "close"' if is_closing else ""))
        return subprocess.Popen(
            in_lab("client", CLIENT_CORE, 19, "wrk", "-t1", f"-c{FLOOD_CONNECTIONS}",
                   f"-d{SECONDS + 1}s", "-s", script, f"http://{EDGE}:{self.port}/"),
            stdout=subprocess.PIPE, text=True)


@contextlib.contextmanager
def programs_timed():
    """Let the kernel measure how long each BPF program runs."""
    path = "/proc/sys/kernel/bpf_stats_enabled"
    with open(path, encoding="ascii") as file:
        was = file.read()
    write(path, "1")
    try:
        yield
    finally:
        write(path, was)


def programs_s():
    shown = json.loads(subprocess.check_output(["bpftool", "-j", "prog", "show"]))
    return sum(program.get("run_time_ns", 0) for program in shown
               if program.get("name") in ("edge", "edge_generic", "edge_egress")) / 1e9


def processes_s(pids):
    total_ns = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            with open(path, encoding="ascii") as file:
                total_ns += int(file.read().split()[0])
    return total_ns / 1e9


def finish(process):
    """Wait for the process; return what it printed."""
    out, _ = process.communicate()
    if process.returncode:
        raise Failure(f"{process.args}: {process.returncode}\n{out}")
    return out


def run(proxy, flood):
    """Measure the payer alone (flood is None), or during a flood."""
    before = proxy.cpu_s()
    flooder = proxy.flood(flood == "new") if flood else None
    paid = finish(proxy.pay())
    sent = finish(flooder) if flooder else ""
    numbers = [int(n) for n in re.search(r"^PAYER (.*)$", paid, re.M).group(1).split()]
    result = dict(zip(("intended", "served", "p50", "p99", "p999", "max"), numbers))
    result["cpu_s"] = proxy.cpu_s() - before
    if flooder:
        requests, duration_us, refused = map(int, re.search(
            r"^RESULT (\d+) (\d+) (\d+)$", sent, re.M).groups())
        result |= {"refused": refused, "a second": requests * 1e6 / duration_us}
        if flood == "open" and refused < 0.99 * requests:
            raise Failure(f"{proxy.name}: only {refused} of {requests} were refused")
    return result


def show(name, quiet, result):
    ratio = "" if quiet is result else \
        f"   x{result['p50'] / quiet['p50']:5.2f} x{result['p99'] / quiet['p99']:5.2f}"
    rate = f"{result['a second']:9.0f}" if "refused" in result else " " * 9
    cost = ""
    if result.get("refused", 0) > 1000:
        cost = f"{(result['cpu_s'] - quiet['cpu_s']) * 1e6 / result['refused']:8.2f}"
    print(f"  {name:26}{result['p50'] / 1000:8.2f}{result['p99'] / 1000:8.2f}"
          f"{result['p999'] / 1000:8.2f}{100 * result['served'] / result['intended']:9.2f}"
          f"{rate}{cost:>9}{ratio}", flush=True)


def measure(name):
    proxy = Proxy(name)
    proxy.begin()
    try:
        quiet = run(proxy, None)
        show(f"{name}", quiet, quiet)
        show("  flood, connections open", quiet, run(proxy, "open"))
        show("  flood of new connections", quiet, run(proxy, "new"))
    finally:
        proxy.end()


def main():
    compare.WORK = WORK
    subprocess.run(["scripts/lab", "address", LAB, f"{PAYER}/24"], check=True)
    upstream = start("nginx", "-p", WORK, "-c", write(
        f"{WORK}/upstream", compare.UPSTREAM.format(port=UPSTREAM_PORT, dir=WORK, body="{}")))
    try:
        wait_for_port(UPSTREAM_PORT)
        print(f"a payer's {RATE} requests a second, {SECONDS} s each; a flood over its limit on "
              f"{FLOOD_CONNECTIONS} connections")
        print(f"  {'':26}{'p50':>8}{'p99':>8}{'p99.9':>8}{'served %':>9}{'flood/s':>9}{'us each':>9}"
              "   of quiet p50, p99")
        with programs_timed():
            for name in PORTS:
                measure(name)
    finally:
        upstream.terminate()
        upstream.wait(20)


if __name__ == "__main__":
    TOLLGATE_BINARY, PAYER_BINARY, WORK, SECONDS = (*map(os.path.abspath, sys.argv[1:4]), int(sys.argv[4]))
    LAB = os.environ["LAB"]
    try:
        main()
    except Failure as failure:
        sys.exit(f"flood: {failure}")
