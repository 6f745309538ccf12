# SPDX-License-Identifier: BSD-2-Clause
"""fleet: several hosts and their Redis, each in its own network namespace, and faults of the network.

    host 11   host 12   host 13   redis 21   redis 22   sentinel 23
        \\         \\        |         |         /          /
         `---------`-------- hub 1 (a bridge) --'----------'

The clients of the hosts sit on the hub.
"""
import contextlib
import itertools
import os
import subprocess
import time

import redis

import lab
from lab import end_process, numbers, spawn, wait_until

PREFIX = "10.93.0."
MASTER = "lab"
PORT, SENTINEL_PORT = 6379, 26379
fleets = itertools.count()


class Place:
    """A namespace on the hub. It can serve as an agent's network: the agent is inside, its clients on the hub."""

    interfaces = ()

    def __init__(self, net, number):
        self.net, self.number = net, number
        self.name = f"{net.name}-{number}"
        self.server_address = PREFIX + str(number)
        self.client_address = PREFIX + "1"
        net.ip("netns", "add", self.name)
        net.ip("link", "add", "eth0", "netns", self.name, "type", "veth", "peer", "name",
               f"v{number}", "netns", net.hub)
        net.ip("-n", net.hub, "link", "set", f"v{number}", "master", "br0", "up")
        net.ip("-n", self.name, "address", "add", f"{self.server_address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            net.ip("-n", self.name, "link", "set", device, "up")

    def _namespace(self, side):
        return self.name if side == "edge" else self.net.hub

    def command(self, side, *command):
        return ["nsenter", f"--net=/run/netns/{self._namespace(side)}", "--", *command]

    @contextlib.contextmanager
    def inside(self, side):
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        other = os.open(f"/run/netns/{self._namespace(side)}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            lab.check_call(lab.libc.setns(other, lab.CLONE_NEWNET), "setns")
            yield
        finally:
            lab.check_call(lab.libc.setns(own, lab.CLONE_NEWNET), "setns back")
            os.close(own)
            os.close(other)

    # Faults. heal() undoes each of them.

    def cut(self):
        """Drop all packets to and from this place."""
        self.net.ip("-n", self.net.hub, "link", "set", f"v{self.number}", "down")

    def deafen(self, *others):
        """Drop what @others send to this place, but not what this place sends."""
        for other in others:
            self.net.ip("-n", other.name, "route", "replace", "blackhole", f"{self.server_address}/32")

    def heal(self, *others):
        self.net.ip("-n", self.net.hub, "link", "set", f"v{self.number}", "up")
        for other in others:
            subprocess.run(["ip", "-n", other.name, "route", "del", "blackhole", f"{self.server_address}/32"],
                           check=False, capture_output=True)


class Net:
    def __init__(self):
        self.name = f"f{os.getpid()}-{next(fleets)}"
        self.hub = f"{self.name}-1"
        self.places = []
        self.ip("netns", "add", self.hub)
        self.ip("-n", self.hub, "link", "add", "br0", "type", "bridge")
        self.ip("-n", self.hub, "address", "add", PREFIX + "1/24", "dev", "br0")
        for device in ("lo", "br0"):
            self.ip("-n", self.hub, "link", "set", device, "up")

    @staticmethod
    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True)

    def place(self, number):
        self.places.append(Place(self, number))
        return self.places[-1]

    def close(self):
        for name in [self.hub, *(place.name for place in self.places)]:
            self.ip("netns", "del", name)


class Redis:
    """A real redis-server, in its own place, or on the tests' loopback if @place is None."""

    def __init__(self, folder, place=None, sentinel_of=None, **options):
        self.place = place or lab.Loopback()
        self.address = self.place.server_address
        self.port = (SENTINEL_PORT if sentinel_of else PORT) if place else lab.new_port()
        self.folder = os.path.join(str(folder), f"redis-{next(numbers)}")
        os.makedirs(self.folder)
        self.is_sentinel = sentinel_of is not None
        self.process = None
        self.dump = f"{self.folder}/dump.rdb"
        words = {"port": self.port, "bind": self.address, "dir": self.folder, "save": '""',
                 "appendonly": "no", "protected-mode": "no", "logfile": f"{self.folder}/log",
                 "repl-diskless-sync-delay": 0, "enable-debug-command": "yes"}
        if self.is_sentinel:
            words = {k: words[k] for k in ("port", "bind", "dir", "protected-mode", "logfile")}
        words.update({name.replace("_", "-"): value for name, value in options.items()})
        with open(f"{self.folder}/conf", "w") as conf:
            conf.writelines(f"{name} {value}\n" for name, value in words.items())
            if self.is_sentinel:
                conf.write(f"sentinel monitor {MASTER} {sentinel_of.address} {sentinel_of.port} 1\n"
                           f"sentinel down-after-milliseconds {MASTER} 1000\n"
                           f"sentinel failover-timeout {MASTER} 3000\n")

    def start(self):
        command = ["redis-server", f"{self.folder}/conf", *(["--sentinel"] if self.is_sentinel else [])]
        self.process = spawn(self.place.command("edge", *command), stdout=subprocess.DEVNULL)
        wait_until(self.answers, "Redis answers")
        return self

    def answers(self):
        try:
            return self.client().ping()
        except (redis.exceptions.RedisError, OSError):
            return False

    def client(self, timeout=5):
        with self.place.inside("client"):
            client = redis.Redis(self.address, self.port, socket_timeout=timeout,
                                 socket_connect_timeout=timeout)
            client.connection_pool.get_connection("x").disconnect()
        return _Inside(self.place, client)

    def url(self, database=0):
        return f"redis://{self.address}:{self.port}/{database}"

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        end_process(self.process)

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class _Inside:
    """A client that makes each call from within the right namespace."""

    def __init__(self, place, client):
        self._place, self._client = place, client

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def call(*args, **rest):
            with self._place.inside("client"):
                return method(*args, **rest)
        return call


class Fleet:
    """@count agents that share one Redis; with @sentinel, a master with a replica and a Sentinel."""

    def __init__(self, make, count=3, sentinel=False, **config):
        self.net = Net()
        make.made.append(self.net)
        self.redis = Redis(make.folder, self.net.place(21)).start()
        make.made.append(self.redis)
        url = self.redis.url()
        if sentinel:
            self.replica = Redis(make.folder, self.net.place(22),
                                 replicaof=f"{self.redis.address} {PORT}").start()
            self.sentinel = Redis(make.folder, self.net.place(23), sentinel_of=self.redis).start()
            make.made += [self.replica, self.sentinel]
            url = f"redis+sentinel://{self.sentinel.address}/{MASTER}"
            wait_until(lambda: self.replica.client().info("replication")["master_link_status"] == "up",
                       "the replica is in sync with the master")
            wait_until(lambda: len(self.sentinel.client().execute_command(
                "SENTINEL", "replicas", MASTER)) == 1, "the Sentinel knows the replica")
        with open(f"{make.folder}/pepper", "w") as pepper:
            pepper.write("p" * 40)
        os.chmod(f"{make.folder}/pepper", 0o600)
        self.hosts = []
        for i in range(count):
            place = self.net.place(11 + i)
            maker = type(make)(make.folder, place)
            upstream = maker.upstream()
            agent = maker.agent(upstream, **{"store": url, "pepper_file": f"{make.folder}/pepper",
                                             "redis_timeout": "300ms", **config})
            agent.upstream = upstream
            agent.place = place
            make.made.append(maker)
            self.hosts.append(agent)

    def start(self):
        for host in self.hosts:
            host.start()
        return self

    def master(self):
        """The Redis that is the master now, according to the Sentinel."""
        _, port = address = self.sentinel.client().execute_command("SENTINEL", "get-master-addr-by-name", MASTER)
        assert int(port) == PORT
        return self.redis if address[0].decode() == self.redis.address else self.replica

    def wait_agreed(self, store=None, timeout=lab.DEADLINE_S):
        """Wait until every host has the accounts of Redis, and as many keys as Redis."""
        store = (store or self.redis).client()

        def agree():
            accounts = {name.decode() for name in store.hkeys("tollgate:accounts")}
            keys = store.hlen("tollgate:keys")
            for host in self.hosts:
                status = host.status()
                seen = {a["id"].removeprefix("acc_") for a in host.json("account", "list")}
                if seen != accounts or status["keys"] != keys or host.metric("tollgate_store_away") or \
                        host.metric("tollgate_journal", state="waiting"):
                    return False
            lists = [sorted(map(str, ((a["id"], a["status"], a["held"], a["tier"])
                                      for a in host.json("account", "list")))) for host in self.hosts]
            return all(one == lists[0] for one in lists)
        wait_until(agree, "all hosts agree with Redis", timeout)


def statuses(host, account, wanted, timeout=lab.DEADLINE_S):
    """Wait until @host answers @account with the status @wanted. Returns the seconds it took."""
    start = time.monotonic()
    with host.connect() as client:
        wait_until(lambda: client.request(key=account.key).status == wanted,
                   f"{wanted} on {host.network.name}", timeout, every=0.001)
    return time.monotonic() - start
