# SPDX-License-Identifier: BSD-2-Clause
"""lab: the basis of the tests: private networks, processes, and waiting.

The whole pytest process runs in its own network namespace, so nobody else uses its 127.0.0.1.
Tests about packets use the two namespaces of scripts/lab instead.
"""
import contextlib
import ctypes
import itertools
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BPFFS = "/sys/fs/bpf"
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
DEADLINE_S = 20.0  # for events that take milliseconds: only a failing test waits so long

libc = ctypes.CDLL(None, use_errno=True)
numbers = itertools.count()


def wait_until(condition, what, timeout=DEADLINE_S, every=0.01):
    """Wait until condition() is true; return its value. Only this function sleeps, between polls."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"did not happen within {timeout} s: {what}"
        time.sleep(every)


# ---- networks ----


def check_call(result, what):
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def enter_private_network():
    check_call(libc.unshare(CLONE_NEWNET), "unshare (run the lab as root)")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


class Loopback:
    """The network namespace of pytest itself."""

    client_address = server_address = "127.0.0.1"
    interfaces = ()

    def command(self, _side, *command):
        return list(command)

    @contextlib.contextmanager
    def inside(self, _side):
        yield


class Namespaces:
    """scripts/lab: a client and an edge, joined by a veth pair with native XDP."""

    client_address, server_address = "10.91.0.1", "10.91.0.2"
    client_address6, server_address6 = "fd91::1", "fd91::2"
    interfaces = ("veth0",)

    def __init__(self):
        self.name = f"t{os.getpid()}-{next(numbers)}"

    def _run(self, *words):
        environment = dict(os.environ, TOLLGATE_BUILD=os.path.dirname(tollgate()))
        subprocess.run([f"{TREE}/scripts/lab", *words], check=True, env=environment)

    def up(self):
        self._run("up", self.name, str(os.getpid()))

    def down(self):
        self._run("down", self.name)

    def add_client_addresses(self, *addresses):
        self._run("address", self.name, *addresses)

    def in_client(self, *command):
        """What @command prints there."""
        return subprocess.run(self.command("client", *command), check=True, text=True,
                              capture_output=True).stdout

    def in_edge(self, *command):
        """What @command prints there."""
        return subprocess.run(self.command("edge", *command), check=True, text=True,
                              capture_output=True).stdout

    def command(self, side, *command):
        return ["nsenter", f"--net=/run/netns/{self.name}-{side}", "--", *command]

    @contextlib.contextmanager
    def inside(self, side):
        """Sockets created within this context belong to that namespace from then on."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        other = os.open(f"/run/netns/{self.name}-{side}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            check_call(libc.setns(other, CLONE_NEWNET), "setns")
            yield
        finally:
            check_call(libc.setns(own, CLONE_NEWNET), "setns back")
            os.close(own)
            os.close(other)


def new_port():
    """A port below the range that the kernel assigns itself."""
    return 20000 + next(numbers) % 10000


# ---- processes ----


def tollgate():
    return os.path.abspath(os.environ.get("TOLLGATE", f"{TREE}/build/tollgate"))


def is_sanitized():
    with open(tollgate(), "rb") as program:
        return b"__asan_init" in program.read()


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def spawn(command, **options):
    """Start a process that does not outlive pytest."""
    return subprocess.Popen(command, preexec_fn=die_with_parent, **options)


def end_process(process, number=signal.SIGTERM, timeout=DEADLINE_S):
    if process.poll() is None:
        process.send_signal(number)
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def can_connect(network, address):
    with network.inside("edge"):
        probe = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    with probe:
        probe.settimeout(1)
        return probe.connect_ex(address) == 0


class Nginx:
    """A fast upstream, for load tests."""

    def __init__(self, folder, network, body="ok", address="127.0.0.1"):
        self.port = new_port()
        self.address = (address, self.port)
        self.folder = os.path.join(folder, f"nginx-{self.port}")
        os.makedirs(self.folder)
        with open(f"{self.folder}/nginx.conf", "w") as file:
            file.write(f"""
daemon off; master_process off; pid {self.folder}/pid; error_log {self.folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log {self.folder}/access.log; keepalive_requests 1000000;
    client_body_temp_path {self.folder}/a; proxy_temp_path {self.folder}/b;
    fastcgi_temp_path {self.folder}/c; uwsgi_temp_path {self.folder}/d;
    scgi_temp_path {self.folder}/e;
    server {{ listen {address}:{self.port}; location / {{ return 200 "{body}"; }} }}
}}
""")
        self.process = spawn(network.command("edge", "nginx", "-c", f"{self.folder}/nginx.conf"),
                             stderr=subprocess.DEVNULL)
        wait_until(lambda: can_connect(network, self.address), "nginx listens")

    def requests(self):
        with open(f"{self.folder}/access.log") as log:
            return sum(1 for _ in log)

    def close(self):
        end_process(self.process)


class Wrk:
    """Starts wrk; result() waits for its end."""

    def __init__(self, network, url, key=None, seconds=2, connections=8, threads=1):
        command = ["wrk", f"-d{seconds}s", f"-c{connections}", f"-t{threads}", "--timeout", "10s"]
        if key:
            command += ["-H", f"X-API-Key: {key}"]
        self.process = spawn(network.command("client", *command, url), text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def is_running(self):
        return self.process.poll() is None

    def result(self):
        out, _ = self.process.communicate(timeout=60)
        numbers_of = {
            "requests": r"(\d+) requests in",
            "refused": r"Non-2xx or 3xx responses: (\d+)",
            "connect": r"Socket errors: connect (\d+)",
            "read": r"Socket errors:.* read (\d+)",
            "write": r"Socket errors:.* write (\d+)",
            "timeout": r"Socket errors:.* timeout (\d+)",
        }
        result = {"text": out}
        for name, pattern in numbers_of.items():
            found = re.search(pattern, out)
            result[name] = int(found.group(1)) if found else 0
        assert result["requests"], out
        return result


# ---- the kernel's side, read by bpftool, independently of the agent ----


def bpftool(*words):
    program = shutil.which("bpftool", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    result = subprocess.run([program, "-j", *words], check=True, capture_output=True)
    return json.loads(result.stdout)


def hex_bytes(data):
    return ["hex", *(f"{byte:02x}" for byte in data)]


def of_hex(words):
    return bytes(int(word, 16) for word in words)


SHIFT_STATE, SHIFTED = 64 + 44, 2  # in a record of `conns`, see abi.h and shift.h


class Pins:
    """An agent's pinned maps."""

    def __init__(self, instance):
        self.top = f"{BPFFS}/tollgate/{instance}"

    @property
    def folder(self):
        return os.path.join(self.top, os.listdir(self.top)[0])

    def counter(self, index):
        """Element index of map `counters`, summed over all CPUs."""
        found = bpftool("map", "lookup", "pinned", f"{self.folder}/counters",
                        "key", *hex_bytes(struct.pack("=I", index)))
        return sum(struct.unpack("=Q", of_hex(one["value"]))[0] for one in found["values"])

    def dropped_on(self, client, server):
        """Segments dropped on an enrolled connection, or None if it is not enrolled."""
        key = packed_address(client[0]) + packed_address(server[0]) + struct.pack(
            ">HH", client[1], server[1]) + bytes(4)
        try:
            flow = bpftool("map", "lookup", "pinned", f"{self.folder}/flows", "key",
                           *hex_bytes(key))
        except subprocess.CalledProcessError:
            return None
        if "value" not in flow:
            return None
        conn = bpftool("map", "lookup", "pinned", f"{self.folder}/conns", "key",
                       *hex_bytes(of_hex(flow["value"])[:4]))
        return struct.unpack_from("=Q", of_hex(conn["value"]), 32)[0]

    def shifted(self):
        """The records of connections that XDP has answered on. One record may have served several."""
        records = bpftool("map", "dump", "pinned", f"{self.folder}/conns")
        return sum(struct.unpack_from("=I", of_hex(r["value"]), SHIFT_STATE)[0] & SHIFTED > 0
                   for r in records)

    def link_id(self, interface="veth0"):
        return bpftool("link", "show", "pinned", f"{self.folder}/link-{interface}")["id"]

    def remove(self):
        shutil.rmtree(self.top, ignore_errors=True)


def packed_address(text):
    if ":" in text:
        return socket.inet_pton(socket.AF_INET6, text)
    return bytes(10) + b"\xff\xff" + socket.inet_pton(socket.AF_INET, text)


def sweep_pins():
    """Remove the pins of runs that were killed. Names are lab-PID-NUMBER."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(f"{BPFFS}/tollgate"):
            found = re.fullmatch(r"lab-(\d+)-\d+", name)
            if found and not os.path.exists(f"/proc/{found.group(1)}"):
                Pins(name).remove()
