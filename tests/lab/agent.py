# SPDX-License-Identifier: BSD-2-Clause
"""agent: a real tollgate, its configuration, its command line and its metrics."""
import collections
import copy
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import threading

from client import Connection, ask_once
from lab import DEADLINE_S, Pins, end_process, new_port, numbers, spawn, tollgate, wait_until

ALL = []  # all agents of this run; a failing test prints the logs of those it can see

Account = collections.namedtuple("Account", "id key key_id")

TIERS = [
    {"name": "plain"},
    {"name": "hourly", "rate": "1/h", "burst": 5},
    {"name": "daily", "quota": "3/day"},
    {"name": "single", "concurrency": 1},
    {"name": "export", "features": ["export"]},
]
ROUTES = [{"path": "/", "upstream": "api"}]


def merge(base, changes):
    """Merge changes into base; None removes a member."""
    merged = copy.deepcopy(base)
    for name, value in changes.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict) and isinstance(merged.get(name), dict):
            merged[name] = merge(merged[name], value)
        else:
            merged[name] = value
    return merged


class Notify:
    """systemd's end of the notify socket. It reads at all times, or the agent would block."""

    def __init__(self, path):
        self.said = collections.deque()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.sock.bind(path)
        os.chmod(path, 0o666)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while words := self.sock.recv(4096):
            self.said.extend(words.decode().split("\n"))

    def take(self, word):
        """Whether word was sent; forgets it and everything before it."""
        while self.said:
            if self.said.popleft() == word:
                return True
        return False

    def forget(self):
        self.said.clear()

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.sock.close()


class Agent:
    def __init__(self, folder, network, servers, **config):
        number = next(numbers)
        self.folder = os.path.join(str(folder), f"agent-{number}")
        os.makedirs(self.folder)
        self.network = network
        self.port = new_port()
        self.address = (network.server_address, self.port)
        self.socket = f"{self.folder}/admin.sock"
        self.log_path = f"{self.folder}/log"
        self.config_path = f"{self.folder}/tollgate.yaml"
        self.pins = Pins(f"lab-{os.getpid()}-{number}")
        self.process = None
        self.prefix = []  # of the command, such as another user
        self.options = []  # of `run`
        listener = {"name": "public", "address": f"{network.server_address}:{self.port}"}
        if network.interfaces:
            listener["interfaces"] = list(network.interfaces)
        self.config = merge({
            "listeners": [listener],
            "admin": {"socket": self.socket},
            "upstreams": [{"name": "api", "servers": [f"{a}:{p}" for a, p in servers]}],
            "tiers": TIERS,
            "routes": ROUTES,
            "state_dir": f"{self.folder}/state",
            "instance": f"lab-{os.getpid()}-{number}",
            "workers": 1,
            "max_accounts": 1024,
            "log": "debug",
            "drain": "5s",
            "fastpath": {"max_flows": 4096, "event_every": 1},
        }, config)
        self.notify = Notify(f"{self.folder}/notify")
        ALL.append(self)

    # ---- its life ----

    def configure(self, **changes):
        """Change the configuration file. JSON is valid YAML."""
        self.config = merge(self.config, changes)
        self.write_config(json.dumps(self.config, indent=1))

    def write_config(self, text):
        with open(self.config_path + ".new", "w") as file:
            file.write(text)
        os.rename(self.config_path + ".new", self.config_path)

    def launch(self):
        """Start the process without waiting."""
        if not os.path.exists(self.config_path):
            self.configure()
        command = [*self.prefix, tollgate(), "run", "-c", self.config_path, *self.options]
        with open(self.log_path, "ab") as log:
            self.process = spawn(self.network.command("edge", *command), stdout=log, stderr=log,
                                 env=dict(os.environ, NOTIFY_SOCKET=f"{self.folder}/notify"))
        return self

    def start(self):
        self.launch()
        self.wait_for("READY=1")
        assert self.cli("status", check=False).returncode == 0, self.log()
        return self

    def wait_for(self, word, timeout=DEADLINE_S):
        """Wait until it sends word to systemd. Forgets what it sent before."""
        def is_said():
            if self.notify.take(word):
                return True
            assert self.process.poll() is None, f"the agent exited: {self.log()}"
            return False
        wait_until(is_said, f"the agent sends {word}", timeout)

    def reload(self):
        """Reload by SIGHUP. When this returns, the agent has read its configuration."""
        self.notify.forget()
        self.process.send_signal(signal.SIGHUP)
        self.wait_for("RELOADING=1")
        self.wait_for("READY=1")

    def stop(self):
        """Stop by SIGTERM; return the exit code. With sanitizers, a leak changes it."""
        return end_process(self.process, signal.SIGTERM)

    def kill(self):
        end_process(self.process, signal.SIGKILL)

    def restart(self):
        assert self.stop() == 0
        self.start()

    def sql(self, statement):
        """Runs a statement on the embedded store. The agent must be stopped, unless it only reads."""
        with sqlite3.connect(f"{self.config['state_dir']}/tollgate.db") as db:
            return db.execute(statement).fetchall()

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def exit_code(self):
        """Wait for an agent that exits by itself; return its exit code."""
        return self.process.wait(DEADLINE_S)

    def close(self):
        try:
            code = self.stop() if self.is_running() else 0
        finally:
            self.notify.close()
            self.pins.remove()
            ALL.remove(self)
        assert code == 0, f"the agent exited with {code}"

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def rss_bytes(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) * 1024

    # ---- as an operator ----

    def cli(self, *words, check=True, stdin=None):
        result = subprocess.run([tollgate(), "--socket", self.socket, *words], text=True,
                                capture_output=True, input=stdin, timeout=60, check=False)
        assert not check or result.returncode == 0, f"{words}: {result}"
        return result

    def json(self, *words):
        return json.loads(self.cli(*words, "--json").stdout)

    def admin(self, method, path, body=None):
        body = None if body is None else json.dumps(body).encode()
        answer = ask_once(self.socket, method, path, body=body)
        return answer

    def account(self, tier="plain"):
        """Create an account with one key."""
        made = json.loads(self.admin("POST", "/api/v1/accounts", {"tier": tier}).body)
        key = json.loads(self.admin("POST", "/api/v1/keys", {"account": made["id"]}).body)
        return Account(made["id"], key["key"], key["id"])

    def show(self, account):
        return json.loads(self.admin("GET", f"/api/v1/accounts/{account.id}").body)

    def status(self):
        return json.loads(self.admin("GET", "/api/v1/status").body)

    def metric(self, name, **labels):
        return self.metrics()[name, frozenset(labels.items())]

    def metrics(self):
        return parse_metrics(self.admin("GET", "/metrics").body.decode())

    def usage(self, account):
        """The requests and units in the store."""
        rows = json.loads(self.admin("GET", f"/api/v1/usage?account={account.id}").body)
        return sum(row["requests"] for row in rows), sum(row["units"] for row in rows)

    # ---- as a client ----

    def connect(self, **options):
        return Connection(self.address, network=self.network, **options)

    def get(self, path="/", account=None, method="GET", **rest):
        key = account.key if account else None
        return ask_once(self.address, method, path, network=self.network, key=key, **rest)

    def url(self, path="/"):
        return f"http://{self.address[0]}:{self.port}{path}"


def parse_metrics(text):
    """Return {(name, frozenset of labels): value}; fails if the text is not valid Prometheus text."""
    samples = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        found = re.fullmatch(r'([a-z_:]+)(?:\{(.*)\})? (\S+)', line)
        assert found, f"not a sample: {line!r}"
        labels = re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', found[2] or "")
        key = found[1], frozenset(labels)
        assert key not in samples, f"twice: {line!r}"
        samples[key] = float(found[3])
    return samples


def wait_usage(agent, account, requests):
    """Wait until the store has so many requests; fail at once if it has more."""
    def is_there():
        have = agent.usage(account)[0]
        assert have <= requests, f"{have} requests in the store, only {requests} were made"
        return have == requests
    wait_until(is_there, f"the store has {requests} requests")
