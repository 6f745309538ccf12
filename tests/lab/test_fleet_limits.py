# SPDX-License-Identifier: BSD-2-Clause
"""Limits that all hosts share: an account gets what it bought, whichever hosts its requests reach."""
import contextlib
import math
import signal
import threading
import time

import pytest

from client import BrokenBody
from fleet import Fleet, Redis, statuses
from lab import wait_until

RATE, BURST, SECONDS = 200, 60, 3
TIERS = [
    {"name": "plain"},
    {"name": "shared", "rate": f"{RATE}/s", "burst": BURST, "limit": "shared"},
    {"name": "quota", "quota": "300/day", "limit": "shared"},
    {"name": "places", "concurrency": 6, "limit": "shared"},
]


class Hammer:
    """Sends requests to each host as fast as possible, and records when each one was allowed."""

    def __init__(self, hosts, account, connections=2):
        self.is_over = False
        self.allowed = {id(host): [] for host in hosts}
        self.refused = {id(host): 0 for host in hosts}
        self.errors = []
        self.threads = [threading.Thread(target=self._run, args=(host, account))
                        for host in hosts for _ in range(connections)]
        self.start = time.monotonic()
        for thread in self.threads:
            thread.start()

    def _run(self, host, account):
        with contextlib.suppress(OSError, BrokenBody), host.connect() as client:
            while not self.is_over:
                answer = client.request(key=account.key)
                if answer.status == 200:
                    self.allowed[id(host)].append(time.monotonic())
                elif answer.status == 429:
                    self.refused[id(host)] += 1
                    time.sleep(0.002)  # the client backs off
                else:
                    self.errors.append(answer)
                    return

    def total(self):
        return sum(map(len, self.allowed.values()))

    def stop(self):
        self.is_over = True
        for thread in self.threads:
            thread.join()
        self.seconds = time.monotonic() - self.start
        assert not self.errors, self.errors[0]
        return self.total()


def known_to_all(fleet, tier):
    account = fleet.hosts[0].account(tier)
    for host in fleet.hosts:
        wait_until(lambda: host.status()["keys"] == fleet.hosts[0].status()["keys"], "the key is known")
        wait_until(lambda: len(host.status()["hosts"]) == len(fleet.hosts), "every host lists the others")
    return account


def most(hosts, seconds):
    """The bound B + R*T + O from enforce/share.h. A round trip takes a few ms here."""
    return (BURST + RATE * seconds + hosts * math.ceil(BURST / hosts) + BURST * hosts / (hosts + 1) +
            2 * RATE * 0.25)


def test_all_hosts_together_keep_to_a_shared_rate(make):
    fleet = Fleet(make, tiers=TIERS).start()
    account = known_to_all(fleet, "shared")
    before = [host.metric("tollgate_share_exchanges_total", result="ok") for host in fleet.hosts]
    hammer = Hammer(fleet.hosts, account)
    time.sleep(SECONDS)
    total = hammer.stop()
    calls = [host.metric("tollgate_share_exchanges_total", result="ok") - b for host, b in zip(fleet.hosts, before)]
    print(f"allowed {total} in {hammer.seconds:.2f} s: {total - BURST - RATE * hammer.seconds:+.0f} over B + R*T, "
          f"at most {most(3, hammer.seconds) - BURST - RATE * hammer.seconds:.0f}; "
          f"exchanges per second {[round(c / hammer.seconds, 1) for c in calls]}, "
          f"refused {sum(hammer.refused.values())}")
    assert total <= most(3, hammer.seconds)
    assert total >= 0.9 * RATE * hammer.seconds


@pytest.mark.slow
def test_one_busy_host_gets_all_of_a_shared_rate(make):
    fleet = Fleet(make, tiers=TIERS).start()
    account = known_to_all(fleet, "shared")
    hammer = Hammer(fleet.hosts[:1], account)
    time.sleep(SECONDS)
    total = hammer.stop()
    print(f"allowed {total} in {hammer.seconds:.2f} s")
    assert 0.9 * RATE * hammer.seconds <= total <= most(3, hammer.seconds)


@pytest.mark.slow
def test_the_others_get_the_share_of_a_dead_host(make):
    fleet = Fleet(make, tiers=TIERS).start()
    account = known_to_all(fleet, "shared")
    hammer = Hammer(fleet.hosts, account)
    time.sleep(1)
    fleet.hosts[2].kill()
    time.sleep(2)
    start = time.monotonic()
    before = hammer.total()
    time.sleep(2)
    rate = (hammer.total() - before) / (time.monotonic() - start)
    hammer.stop()
    print(f"{rate:.0f} per second after one of three hosts died, of {RATE}")
    assert rate >= 0.9 * RATE


@pytest.mark.slow
def test_without_redis_each_host_keeps_to_its_share(make):
    fleet = Fleet(make, tiers=TIERS).start()
    account = known_to_all(fleet, "shared")
    fleet.redis.signal(signal.SIGSTOP)
    hammer = Hammer(fleet.hosts[:1], account)
    time.sleep(SECONDS)
    total = hammer.stop()
    fleet.redis.signal(signal.SIGCONT)
    share = RATE / 3 * hammer.seconds + math.ceil(BURST / 3)
    print(f"one of three hosts allowed {total} in {hammer.seconds:.2f} s, its share is {share:.0f}")
    assert 0.85 * share <= total <= 1.1 * share + 5
    before = fleet.hosts[0].metric("tollgate_share_exchanges_total", result="ok")
    statuses(fleet.hosts[0], account, 200)
    wait_until(lambda: fleet.hosts[0].metric("tollgate_share_exchanges_total", result="ok") > before,
               "limits are shared again")


def test_all_hosts_together_use_up_a_shared_quota_exactly(make):
    fleet = Fleet(make, tiers=TIERS).start()
    account = known_to_all(fleet, "quota")
    hammer = Hammer(fleet.hosts, account)
    wait_until(lambda: hammer.total() >= 300, "the quota is used up")
    time.sleep(1)
    total = hammer.stop()
    print(f"allowed {total} of a quota of 300")
    assert total == 300
    for host in fleet.hosts:
        answer = host.get("/", account)
        assert answer.status == 429 and b"Quota" in answer.body, answer


@pytest.mark.slow
def test_all_hosts_together_keep_to_a_shared_concurrency(make):
    fleet = Fleet(make, tiers=TIERS).start()
    account = known_to_all(fleet, "places")
    gate = threading.Event()
    running = [0]
    peak = [0]
    lock = threading.Lock()

    def hold(call):
        with lock:
            running[0] += 1
            peak[0] = max(peak[0], running[0])
        gate.wait(20)
        with lock:
            running[0] -= 1
        call.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return True

    for host in fleet.hosts:
        host.upstream.on("/hold", hold)
    answers = []

    def ask(host):
        for _ in range(200):
            answer = host.get("/hold", account)
            answers.append(answer.status)
            if answer.status == 200 or gate.is_set():
                return
            time.sleep(0.02)

    threads = [threading.Thread(target=ask, args=(host,)) for host in fleet.hosts for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_until(lambda: running[0] >= 6, "all places are taken")
    time.sleep(1)
    gate.set()
    for thread in threads:
        thread.join()
    print(f"{peak[0]} concurrent requests of 6, {answers.count(429)} refused")
    assert 6 <= peak[0] <= 6 + 2 * 2  # 6, and the shares of hosts that had not asked Redis yet


def test_xdp_refuses_requests_without_a_grant(make_lab):
    """Without borrowed units the slot is closed, and XDP answers. The next grant opens it again."""
    redis = Redis(make_lab.folder, make_lab.network)
    make_lab.made.append(redis.start())
    agent = make_lab.agent(make_lab.upstream(), tiers=[
        {"name": "slow", "rate": "2/s", "burst": 4, "limit": "shared"}], store=redis.url()).start()
    account = agent.account("slow")
    seen = []
    with agent.connect() as client:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            answer = client.request(key=account.key)
            seen.append(answer.status)
            assert answer.status == 200 or 1 <= int(answer.get("Retry-After")) <= 2
    allowed, by_xdp = seen.count(200), agent.metric("tollgate_requests_total", verdict="over_rate", plane="xdp")
    print(f"{allowed} of {len(seen)} allowed, {by_xdp} refused by XDP")
    assert 4 + 2 * 4 - 1 <= allowed <= 2 * 4 + 2 * 5 + 1
    assert by_xdp > len(seen) / 2
