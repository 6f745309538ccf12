# SPDX-License-Identifier: BSD-2-Clause
"""lossy: a lossy line between client and edge. The programs are in lossy.bpf.c. As a process of its own, this
file delays what they send to hold0, each frame for a random time."""
import contextlib
import heapq
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import time

FATES = ("passed", "lost", "repeated", "repeated late", "late")
FATED = 1
LATE_S = 0.002, 0.3  # longer than the first retransmission timeout
SO_MARK = 36
ETH_P_ALL = 3


class Lossy:
    """lost, repeated, late: probabilities in each direction; half of the repeated ones come late."""

    def __init__(self, network, seed, lost, repeated, late):
        import lab  # not needed where this file runs as a process
        self.lab, self.network = lab, network
        self.pins = lab.Pins(f"lab-{os.getpid()}-{next(lab.numbers)}")
        program = os.path.join(os.path.dirname(lab.tollgate()), "tests/lab/lossy.bpf.o")
        assert os.path.exists(program), f"{program} does not exist: run make test-lab"
        self.client("ip", "link", "add", "hold0", "type", "veth", "peer", "name", "hold1")
        for name in ("hold0", "hold1"):
            self.client("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
            self.client("ip", "link", "set", name, "up")
        # Send each segment as a frame of its own, with its checksum.
        self.client("ethtool", "-K", "veth0", "gro", "off")
        self.client("ip", "link", "set", "veth0", "gso_max_segs", "1")
        self.edge("ethtool", "-K", "veth0", "tx", "off")
        os.makedirs(self.pins.top)
        lab.bpftool("prog", "loadall", program, self.pins.top, "pinmaps", self.pins.top)
        chances = [0, lost, repeated / 2, repeated / 2, late]
        line = struct.pack("=Q8I", seed, *(int(c * 65536) for c in chances),
                           self.index("veth0"), self.index("hold0"), 0)
        lab.bpftool("map", "update", "pinned", f"{self.pins.top}/lines",
                    "key", *lab.hex_bytes(bytes(4)), "value", *lab.hex_bytes(line))
        self.holder = lab.spawn(network.command(
            "client", sys.executable, os.path.abspath(__file__), str(seed)), stdout=subprocess.PIPE)
        assert self.holder.stdout.read(1) == b"R", "hold1 is being read"
        self.attach("hold0", "ingress", "released")
        self.attach("veth0", "ingress", "inbound")
        self.attach("veth0", "egress", "outbound")

    def client(self, *command):
        subprocess.run(self.network.command("client", *command), check=True,
                       stdout=subprocess.DEVNULL)

    def edge(self, *command):
        subprocess.run(self.network.command("edge", *command), check=True,
                       stdout=subprocess.DEVNULL)

    def index(self, name):
        with self.network.inside("client"):
            return socket.if_nametoindex(name)

    def attach(self, name, side, program):
        if side == "ingress":
            self.client("tc", "qdisc", "add", "dev", name, "clsact")
        self.client("tc", "filter", "add", "dev", name, side, "bpf", "direct-action",
                    "object-pinned", f"{self.pins.top}/{program}")

    def counts(self):
        """{"outbound": {fate: count}, "inbound": ...}"""
        rows = self.lab.bpftool("map", "dump", "pinned", f"{self.pins.top}/fates")
        counts = [struct.unpack("=Q", self.lab.of_hex(row["value"]))[0] for row in rows]
        return {"outbound": dict(zip(FATES, counts[:5])), "inbound": dict(zip(FATES, counts[5:]))}

    def close(self):
        with contextlib.suppress(subprocess.CalledProcessError):
            self.client("tc", "qdisc", "del", "dev", "veth0", "clsact")
        status = self.lab.end_process(self.holder)
        self.client("ip", "link", "del", "hold0")
        self.client("ethtool", "-K", "veth0", "gro", "on")
        self.client("ip", "link", "set", "veth0", "gso_max_segs", "65535")
        self.edge("ethtool", "-K", "veth0", "tx", "on")
        self.pins.remove()
        assert status == -signal.SIGTERM, f"the delaying process exited by itself: {status}"


def hold(seed):
    """Never returns. Frames from the client go out on veth0, others return by hold0."""
    held = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    held.bind(("hold1", ETH_P_ALL))
    held.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    wire.bind(("veth0", 0))
    wire.setsockopt(socket.SOL_SOCKET, SO_MARK, FATED)
    own = wire.getsockname()[4]
    draw = random.Random(seed)
    waiting = []
    number = 0
    os.write(1, b"R")
    while True:
        left = max(0, waiting[0][0] - time.monotonic()) if waiting else None
        if select.select([held], [], [], left)[0]:
            frame = held.recv(65536)
            number += 1
            heapq.heappush(waiting, (time.monotonic() + draw.uniform(*LATE_S), number, frame))
        while waiting and waiting[0][0] <= time.monotonic():
            frame = heapq.heappop(waiting)[2]
            (wire if frame[6:12] == own else held).send(frame)


if __name__ == "__main__":
    hold(int(sys.argv[1]))
