#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""
compare: gives tollgate, nginx and HAProxy the same work and measures the CPU time that each needs.

          core 1                       core 0                     core 1
    wrk, 64 connections  ->  one proxy, one worker  ->  nginx: "return 200", keep-alive
    1000 keys in turn        key check, rate limit

All six proxies (each with high limits and with low ones) run all the time, but only one at a time has
work. A round measures each of them once, in a rotating order, so that noise on the machine affects all
equally; ratios are computed within a round, not from medians. After each measured run, a shorter one
counts every status code. scripts/bench runs this in its own namespaces, where ports are free and which
end all processes.
"""
import http.client
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time

KEYS = 1000
CONNECTIONS = 64
PROXY_CORE, OTHER_CORE = 0, 1
UPSTREAM_PORT = 9000
PORTS = {"tollgate": (8001, 8002), "nginx": (8003, 8004), "haproxy": (8005, 8006)}
CASES = ("allowed", "refused")

DOES = """\
All: 1000 keys in X-API-Key, each with a rate limit; one worker on one core; keep-alive on both sides;
no access log. Upstream they send X-Forwarded-For, -Proto, -Host and X-Request-ID, and not X-API-Key.
  tollgate  keys as HMAC-SHA-256 in its mirror, own format with checksum; 1000 accounts, a token bucket
            each; strict pass and llhttp; also Forwarded, Via, X-Tollgate-Account and -Tier upstream;
            X-Request-Id, RateLimit and RateLimit-Policy to the client; refusals as problem+json with
            Retry-After; usage is counted. SQLite store, fast path off.
  nginx     keys in a map, limit_req keyed on the header, default error page
  HAProxy   keys in an ACL file, http_req_rate in a stick table keyed on the header, default error page
"""

TOLLGATE = """\
store: sqlite:{dir}/tollgate.db
state_dir: {dir}
workers: 1
listeners: [ {{ name: bench, address: "127.0.0.1:{port}" }} ]
admin: {{ socket: {dir}/admin.sock }}
upstreams: [ {{ name: api, servers: ["127.0.0.1:{upstream}"] }} ]
tiers: [ {{ name: bench, rate: {rate} }} ]
routes: [ {{ path: /, upstream: api }} ]
fastpath: {{ mode: none }}
"""

NGINX_COMMON = """\
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log crit;
events {{ worker_connections 1024; }}
http {{
	access_log off;
	keepalive_requests 1000000000;
	keepalive_timeout 300s;
"""

UPSTREAM = NGINX_COMMON + """\
	server {{
		listen 127.0.0.1:{port};
		default_type application/json;
		location / {{ return 200 '{body}'; }}
	}}
}}
"""

NGINX = NGINX_COMMON + """\
	map_hash_bucket_size 128;
	map_hash_max_size 8192;
	map $http_x_api_key $is_known {{
		default 0;
		include {dir}/keys.map;
	}}
	limit_req_zone $http_x_api_key zone=keys:1m rate={rate};
	limit_req_status 429;
	limit_req_log_level info;
	upstream api {{
		server 127.0.0.1:{upstream};
		keepalive 64;
		keepalive_requests 1000000000;
	}}
	server {{
		listen 127.0.0.1:{port};
		if ($is_known = 0) {{ return 401; }}
		location / {{
			limit_req zone=keys burst={burst} nodelay;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $http_host;
			proxy_set_header X-Forwarded-For $remote_addr;
			proxy_set_header X-Forwarded-Proto $scheme;
			proxy_set_header X-Forwarded-Host $http_host;
			proxy_set_header X-Request-ID $request_id;
			proxy_set_header X-API-Key "";
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
	timeout http-keep-alive 300s
	option http-keep-alive
frontend bench
	bind 127.0.0.1:{port}
	stick-table type string len 64 size 10k expire 2h store http_req_rate({window})
	http-request deny deny_status 401 unless {{ req.hdr(X-API-Key) -m str -f {dir}/keys.acl }}
	http-request track-sc0 req.hdr(X-API-Key)
	http-request deny deny_status 429 if {{ sc0_http_req_rate gt {limit} }}
	http-request set-header X-Forwarded-For %[src]
	http-request set-header X-Forwarded-Proto http
	http-request set-header X-Forwarded-Host %[req.hdr(Host)]
	unique-id-format %[uuid()]
	unique-id-header X-Request-ID
	http-request del-header X-API-Key
	default_backend api
backend api
	http-reuse always
	server api 127.0.0.1:{upstream}
"""

# Heads are built before the run. Counting status codes slows wrk down, so that is a separate run.
WRK = """\
local heads = {}
for key in io.lines("KEYS") do
	heads[#heads + 1] = wrk.format("GET", "/v1/items?page=1", {
		["Host"] = "api.example.com", ["User-Agent"] = "bench/1.0",
		["Accept"] = "application/json", ["X-API-Key"] = key })
end
local at = 0
function request()
	at = at % #heads + 1
	return heads[at]
end
local thread
function setup(t) thread = t end
function done(summary, latency)
	local e = summary.errors
	io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration, e.status,
		e.connect + e.read + e.write + e.timeout, latency:percentile(99)))
	for code, count in (thread:get("counted") or ""):gmatch("(%d+)=(%d+)") do
		io.write("CODE ", code, " ", count, "\\n")
	end
end
"""
COUNT_CODES = """\
local codes = {}
counted = ""
function response(status)
	codes[status] = (codes[status] or 0) + 1
	if codes[status] % 50 == 1 then
		counted = ""
		for code, count in pairs(codes) do counted = counted .. code .. "=" .. count .. " " end
	end
end
"""


class Failure(Exception):
    pass


def pinned(core, *command):
    return ["taskset", "-c", str(core), *map(str, command)]


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    return path


def process_tree(pid):
    """Return the process and its children."""
    children = subprocess.run(["pgrep", "-P", str(pid)], stdout=subprocess.PIPE, text=True,
                              check=False).stdout.split()
    return [pid, *map(int, children)]


def start(core, *command):
    log = open(f"{WORK}/log", "ab")
    return subprocess.Popen(pinned(core, *command), stdout=log, stderr=log, cwd=WORK)


def wait_for_port(port):
    for _ in range(100):
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.1)
    with open(f"{WORK}/log", encoding="utf8", errors="replace") as log:
        raise Failure(f"nothing listens on port {port}:\n{log.read()[-2000:]}")


class AdminConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def wait_ready(self):
        for _ in range(100):
            self.request("GET", "/api/v1/accounts")
            answer = self.getresponse()
            answer.read()
            if answer.status == 200:
                return
            time.sleep(0.1)
        raise Failure("tollgate does not become ready")

    def post(self, path, **body):
        self.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = self.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise Failure(f"{path}: {answer.status} {text}")
        return json.loads(text)


def make_keys(admin_path):
    """Create accounts with one key each; return the keys."""
    admin = AdminConnection(admin_path)
    admin.wait_ready()
    keys = []
    for _ in range(KEYS):
        account = admin.post("/api/v1/accounts", tier="bench")["id"]
        keys.append(admin.post("/api/v1/keys", account=account)["key"])
    admin.close()
    return keys


class Proxy:
    """A running proxy: its processes, and the wrk script with its keys."""

    def __init__(self, name, case):
        self.name, self.case = name, case
        self.port = PORTS[name][CASES.index(case)]
        self.dir = f"{WORK}/{name}-{case}"
        os.mkdir(self.dir)
        self.keys = f"{self.dir}/keys"

    def config(self, template, **values):
        return write(f"{self.dir}/conf", template.format(
            dir=self.dir, port=self.port, upstream=UPSTREAM_PORT, **values))

    def begin(self, keys):
        """Start the proxy; return the keys. tollgate creates them, the others get the same ones."""
        low = self.case == "refused"
        if self.name == "tollgate":
            command = (TOLLGATE_BINARY, "run", "-c",
                       self.config(TOLLGATE, rate="1/h" if low else "1000000/s"))
        elif self.name == "nginx":
            write(f"{self.dir}/keys.map", "".join(f'"{key}" 1;\n' for key in keys))
            command = ("nginx", "-p", self.dir, "-c",
                       self.config(NGINX, rate="1r/m" if low else "1000000r/s",
                                   burst=1 if low else 1000000))
        else:
            write(f"{self.dir}/keys.acl", "".join(f"{key}\n" for key in keys))
            command = ("haproxy", "-db", "-f",
                       self.config(HAPROXY, window="1h" if low else "1s",
                                   limit=1 if low else 1000000))
        self.process = start(PROXY_CORE, *command)
        wait_for_port(self.port)
        if self.name == "tollgate":
            keys = make_keys(f"{self.dir}/admin.sock")
        write(self.keys, "".join(f"{key}\n" for key in keys))
        lua = WRK.replace("KEYS", self.keys)
        self.script = write(f"{self.dir}/wrk.lua", lua)
        self.counting_script = write(f"{self.dir}/count.lua", lua + COUNT_CODES)
        return keys

    def cpu_us(self):
        """Return user plus system time of all its processes."""
        total = 0
        for pid in process_tree(self.process.pid):
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total * 1000000 // os.sysconf("SC_CLK_TCK")

    def load(self, script, seconds):
        out = subprocess.run(
            pinned(OTHER_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script,
                   f"http://127.0.0.1:{self.port}"),
            stdout=subprocess.PIPE, text=True, check=True).stdout
        result = re.search(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+)$", out, re.M)
        if not result:
            raise Failure(f"wrk failed:\n{out}")
        codes = {int(code): int(count) for code, count in re.findall(r"^CODE (\d+) (\d+)$", out, re.M)}
        return [int(number) for number in result.groups()], codes

    def check(self, requests, bad, errors, codes):
        """Fail unless every answer has the expected status."""
        where = f"{self.name}, {self.case}"
        expected = {200} if self.case == "allowed" else {200, 429}
        if not requests or errors or not codes:
            raise Failure(f"{where}: {requests} requests, {errors} socket errors, codes {codes}")
        if set(codes) - expected:
            raise Failure(f"{where}: codes {codes}")
        if self.case == "allowed" and bad:
            raise Failure(f"{where}: {bad} of {requests} were refused")

    def check_unknown(self):
        client = http.client.HTTPConnection("127.0.0.1", self.port)
        client.request("GET", "/", headers={"X-API-Key": "0123456789abcdef"})
        status = client.getresponse().status
        client.close()
        if status != 401:
            raise Failure(f"{self.name}: an unknown key gets {status}, not 401")

    def measure(self):
        """Measure one run. nginx's lowest limit is one a minute, so a run in which all keys get their next
        request is repeated."""
        for _ in range(3):
            before_us = self.cpu_us()
            (requests, duration_us, bad, errors, p99_us), _ = self.load(self.script, SECONDS)
            cpu_us = self.cpu_us() - before_us
            (_, _, _, count_errors, _), codes = self.load(self.counting_script, 1)
            self.check(requests, bad, errors + count_errors, codes)
            if self.case == "allowed" or bad >= 0.99 * requests:
                return {"cpu": cpu_us / requests, "rate": requests * 1e6 / duration_us,
                        "p99": p99_us}
        raise Failure(f"{self.name}, refused: only {bad} of {requests} were refused")


def spread(values, digits=2):
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({least:.{digits}f}-{most:.{digits}f})"


def report(case, results):
    print(f"{case}:")
    print(f"  {'':9} {'CPU us/request':>22} {'of tollgate':>20} {'requests/s':>24} {'p99 us':>8}")
    ours = results["tollgate", case]
    for name in PORTS:
        runs = results[name, case]
        ratios = [run["cpu"] / our["cpu"] for run, our in zip(runs, ours)]
        print(f"  {name:9} {spread([run['cpu'] for run in runs]):>22} {spread(ratios):>20}"
              f" {spread([run['rate'] for run in runs], 0):>24}"
              f" {statistics.median(run['p99'] for run in runs):>8.0f}")
        if name != "tollgate":
            inverse = statistics.median(1 / ratio for ratio in ratios)
            print(f"  {'':9} tollgate needs {inverse:.2f} of {name}'s CPU")
    print()


def first_line(*command):
    out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         check=False).stdout
    return out.splitlines()[0] if out else "?"


def describe_machine():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        model = re.search(r"model name\s*:\s*(.*)", file.read())
    print(f"{model.group(1) if model else '?'}, {os.cpu_count()} CPUs; Linux {os.uname().release}")
    print("; ".join((first_line(TOLLGATE_BINARY, "version"), first_line("nginx", "-v"),
                     first_line("haproxy", "-v").split(" - ")[0],
                     first_line("wrk", "-v").split(" Copyright")[0])))
    print(f"{ROUNDS} rounds of {SECONDS} s, medians (least-most); {CONNECTIONS} connections\n")
    print(DOES)


def main():
    if os.cpu_count() < 2:
        raise Failure("this needs two cores: one for the proxy, one for its client and upstream")
    describe_machine()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.mkdir(f"{WORK}/upstream")
    body = json.dumps({"items": [{"id": i, "name": f"item {i}"} for i in range(5)]}).ljust(150)
    start(OTHER_CORE, "nginx", "-p", f"{WORK}/upstream", "-c", write(
        f"{WORK}/upstream/conf", UPSTREAM.format(dir=f"{WORK}/upstream", port=UPSTREAM_PORT, body=body)))
    wait_for_port(UPSTREAM_PORT)

    proxies = []
    for case in CASES:
        keys = None
        for name in PORTS:
            proxy = Proxy(name, case)
            keys = proxy.begin(keys)
            proxies.append(proxy)
    for proxy in proxies:
        proxy.check_unknown()
        proxy.load(proxy.script, 1)  # warm up connections and caches; use up the bursts of the low limits

    results = {(proxy.name, proxy.case): [] for proxy in proxies}
    for round_number in range(ROUNDS):
        at = round_number % len(proxies)
        for proxy in proxies[at:] + proxies[:at]:
            results[proxy.name, proxy.case].append(proxy.measure())
    for case in CASES:
        report(case, results)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("usage: compare.py TOLLGATE WORK_DIR ROUNDS SECONDS")
    TOLLGATE_BINARY, WORK = os.path.abspath(sys.argv[1]), sys.argv[2]
    ROUNDS, SECONDS = int(sys.argv[3]), int(sys.argv[4])
    try:
        main()
    except Failure as failure:
        sys.exit(f"bench: {failure}")
