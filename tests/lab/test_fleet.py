# SPDX-License-Identifier: BSD-2-Clause
"""Many hosts, one Redis: a change on one host takes effect on all, and no fault of Redis delays a request."""
import contextlib
import json
import random
import signal
import statistics
import subprocess
import threading
import time

import pytest

from agent import Account, wait_usage
from fleet import Fleet, Redis, statuses
from lab import tollgate, wait_until

CHANGES = 60
FAULT_S = 1.5  # how long a fault lasts: several timeouts. The tests wait for its effects, and do not sleep.
UNKNOWN = Account("", "a-key-that-was-never-imported-0123456789", "")


def patch(host, account, **fields):
    answer = host.admin("PATCH", f"/api/v1/accounts/{account.id}", fields)
    assert answer.status == 200, answer
    return answer


def percentile(values, percent):
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def test_a_change_on_one_host_takes_effect_on_all_others(make):
    """Create and revoke keys, hold and release accounts. Prints how soon each other host follows."""
    fleet = Fleet(make).start()
    account = fleet.hosts[0].account()
    times = []
    for i in range(CHANGES):
        changer = fleet.hosts[i % 3]
        others = [host for host in fleet.hosts if host is not changer]
        patch(changer, account, held=i % 2 == 0)
        times += [statuses(host, account, 403 if i % 2 == 0 else 200, timeout=2) for host in others]
        assert statuses(changer, account, 403 if i % 2 == 0 else 200, timeout=2) < 1
    key = json.loads(fleet.hosts[1].admin("POST", "/api/v1/keys", {"account": account.id}).body)
    fresh = Account(account.id, key["key"], key["id"])
    times += [statuses(host, fresh, 200, timeout=2) for host in (fleet.hosts[0], fleet.hosts[2])]
    assert fleet.hosts[2].admin("POST", f"/api/v1/accounts/{account.id}/keys/revoke").status == 200
    times += [statuses(host, one, 401, timeout=2) for host in fleet.hosts[:2] for one in (account, fresh)]
    fleet.wait_agreed()
    print(f"{len(times)} changes: p50 {1000 * statistics.median(times):.1f} ms, "
          f"p99 {1000 * percentile(times, 99):.1f} ms")


def latencies(host, account, count):
    times = []
    with host.connect() as client:
        for _ in range(count):
            start = time.perf_counter()
            assert client.request(key=account.key).status == 200
            times.append(time.perf_counter() - start)
    return times


def test_an_account_that_one_host_deletes_is_gone_on_all(make):
    fleet = Fleet(make)
    fleet.start()
    account = fleet.hosts[0].account("plain")
    for host in fleet.hosts:
        statuses(host, account, 200)
    assert fleet.hosts[1].cli("account", "delete", account.id).stdout == account.id + "\n"
    for host in fleet.hosts:
        statuses(host, account, 401)
        assert host.json("account", "list") == []
    fleet.wait_agreed()


def test_no_request_waits_for_a_frozen_redis(make):
    fleet = Fleet(make, count=2).start()
    host, account = fleet.hosts[0], fleet.hosts[0].account()
    statuses(fleet.hosts[1], account, 200)
    assert host.get("/", UNKNOWN).status == 401
    latencies(host, account, 200)
    quiet = latencies(host, account, 2000)
    fleet.redis.signal(signal.SIGSTOP)
    frozen = latencies(host, account, 1000)  # from the first moment on
    wait_until(lambda: host.get("/", UNKNOWN).status == 503, "the host notices the fault")
    frozen += latencies(host, account, 1000)
    answer = host.get("/", UNKNOWN)
    assert answer.status == 503 and int(answer.get("Retry-After")) >= 1
    ready = host.admin("GET", "/readyz")
    assert ready.status == 200 and b"does not answer" in ready.body
    assert host.metric("tollgate_store_away") == 1
    fleet.redis.signal(signal.SIGCONT)
    wait_until(lambda: host.get("/", UNKNOWN).status == 401, "the store is back")
    ready = host.admin("GET", "/readyz")
    assert ready.body == b"ready\n"
    ratio = percentile(frozen, 99) / percentile(quiet, 99)
    print(f"p99 quiet {1e6 * percentile(quiet, 99):.0f} us, frozen {1e6 * percentile(frozen, 99):.0f} us, {ratio:.2f}")
    assert percentile(frozen, 99) < 0.05  # far less than any timeout


def test_changes_without_redis_take_effect_here_at_once_and_everywhere_later(make):
    fleet = Fleet(make, count=2).start()
    host, other = fleet.hosts
    account, third = host.account(), host.account()
    for one in fleet.hosts:
        statuses(one, account, 200)
    fleet.redis.signal(signal.SIGSTOP)
    wait_until(lambda: host.metric("tollgate_store_away"), "the host notices the fault")
    patch(host, account, held=True)
    assert host.admin("POST", f"/api/v1/keys/{third.key_id}/revoke").status == 200
    assert host.get("/", account).status == 403
    assert host.get("/", third).status == 401
    assert other.get("/", account).status == 200
    made = host.account()
    assert host.get("/", made).status == 200
    assert host.metric("tollgate_journal", state="waiting") >= 4
    host.kill()  # the journal survives
    fleet.redis.signal(signal.SIGCONT)
    host.start()
    for one in fleet.hosts:
        statuses(one, account, 403)
        statuses(one, third, 401)
        statuses(one, made, 200)
    wait_until(lambda: host.metric("tollgate_journal", state="waiting") == 0, "the journal is replayed")
    fleet.wait_agreed()


def test_known_keys_are_refused_after_max_stale(make):
    fleet = Fleet(make, count=1, max_stale="2s", on_stale="refuse").start()
    host = fleet.hosts[0]
    account = host.account()
    assert host.get("/", account).status == 200
    fleet.redis.kill()
    wait_until(lambda: host.get("/", account).status == 503, "known keys are refused too")
    assert b"max_stale" in host.admin("GET", "/readyz").body


class Changer:
    """Changes accounts, each always on the same host, and remembers which changes were acknowledged."""

    def __init__(self, fleet, accounts, seed):
        self.fleet, self.accounts = fleet, accounts
        self.random = random.Random(seed)
        self.acknowledged, self.in_doubt, self.made = {}, set(), 0
        self.is_over = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.is_over:
            number = self.random.randrange(len(self.accounts))
            account, held = self.accounts[number], self.random.random() < 0.5
            host = self.fleet.hosts[number % len(self.fleet.hosts)]
            with contextlib.suppress(OSError, AssertionError):
                answer = host.admin("PATCH", f"/api/v1/accounts/{account.id}", {"held": held})
                self.made += 1
                if answer.status == 200:
                    self.acknowledged[account.id] = held
                    self.in_doubt.discard(account.id)
                else:
                    self.in_doubt.add(account.id)

    def stop(self):
        self.is_over = True
        self.thread.join()

    def check(self):
        shown = {a["id"]: a["held"] for a in self.fleet.hosts[0].json("account", "list")}
        wrong = {i for i, held in self.acknowledged.items() if i not in self.in_doubt and shown[i] != held}
        assert not wrong, f"acknowledged, but lost: {wrong}"


def kill_and_start(fleet):
    fleet.redis.kill()
    time.sleep(0.5)  # like a restart
    fleet.redis.start()


def freeze(fleet):
    fleet.redis.signal(signal.SIGSTOP)
    time.sleep(FAULT_S)
    fleet.redis.signal(signal.SIGCONT)


def cut_one_off(fleet):
    fleet.hosts[1].place.cut()
    time.sleep(FAULT_S)
    fleet.hosts[1].place.heal()


def deafen_one(fleet):
    """One host receives nothing from Redis, but Redis receives what the host sends."""
    fleet.hosts[2].place.deafen(fleet.redis.place)
    time.sleep(FAULT_S)
    fleet.hosts[2].place.heal(fleet.redis.place)


def mute_one(fleet):
    """Redis receives nothing from one host, but the host receives what Redis sends."""
    fleet.redis.place.deafen(fleet.hosts[0].place)
    time.sleep(FAULT_S)
    fleet.redis.place.heal(fleet.hosts[0].place)


def trim(fleet):
    fleet.hosts[1].place.cut()
    time.sleep(0.3)
    fleet.redis.client().xtrim("tollgate:changes", maxlen=0)
    fleet.hosts[1].place.heal()


def fill_memory(fleet):
    fleet.redis.client().config_set("maxmemory", "1")
    time.sleep(0.5)
    fleet.redis.client().config_set("maxmemory", "0")


def slow(fleet):
    """Two commands take a second each."""
    client = fleet.redis.client()
    for _ in range(2):
        client.execute_command("DEBUG", "SLEEP", "1")


@pytest.mark.slow
@pytest.mark.parametrize("fault", [kill_and_start, freeze, cut_one_off, deafen_one, mute_one, trim, fill_memory, slow],
                         ids=lambda fault: fault.__name__)
def test_all_hosts_agree_after(make, fault):
    """The fault strikes during a stream of changes. No acknowledged change is lost, and paid requests succeed."""
    fleet = Fleet(make)
    fleet.redis.close()
    with open(f"{fleet.redis.folder}/conf", "a") as conf:
        conf.write("appendonly yes\nappendfsync always\n")
    fleet.redis.start()
    fleet.start()
    accounts = [fleet.hosts[0].account() for _ in range(10)]
    payer = fleet.hosts[0].account()
    for host in fleet.hosts:
        statuses(host, payer, 200)
    changer = Changer(fleet, accounts, seed=4711)
    served = [0, 0, 0]
    is_over = threading.Event()

    def pay(i):
        while not is_over.is_set():
            with contextlib.suppress(OSError):  # clients cannot reach a host that is cut off
                answer = fleet.hosts[i].get("/", payer)
                assert answer.status == 200, answer
                served[i] += 1

    errors = []

    def payer_thread(i):
        try:
            pay(i)
        except AssertionError as error:
            errors.append(error)

    payers = [threading.Thread(target=payer_thread, args=(i,)) for i in range(3)]
    for thread in payers:
        thread.start()
    wait_until(lambda: changer.made > 10, "changes stream in")
    fault(fleet)
    changer.stop()
    is_over.set()
    for thread in payers:
        thread.join()
    assert not errors, errors
    fleet.wait_agreed()
    changer.check()
    for host in fleet.hosts:
        statuses(host, payer, 200)
    print(f"{changer.made} changes, {sum(served)} requests served")


def test_an_emptied_store_is_not_followed(make):
    """Known keys keep working, and /readyz reports the fault. Everything works again when the store is restored."""
    fleet = Fleet(make, count=2).start()
    account = fleet.hosts[0].account()
    statuses(fleet.hosts[1], account, 200)
    client = fleet.redis.client()
    client.save()
    with open(fleet.redis.dump, "rb") as dump:
        saved = dump.read()
    client.flushall()
    for host in fleet.hosts:
        wait_until(lambda: b"is empty" in host.admin("GET", "/readyz").body, "the host reports the fault")
        assert host.get("/", account).status == 200
        assert host.get("/", UNKNOWN).status == 503
    fleet.redis.kill()
    with open(fleet.redis.dump, "wb") as dump:
        dump.write(saved)
    fleet.redis.start()
    fleet.wait_agreed()
    for host in fleet.hosts:
        assert host.get("/", UNKNOWN).status == 401


def test_hosts_follow_a_restored_backup(make):
    """Hosts drop accounts that the backup does not have, and accept keys that are valid in it."""
    fleet = Fleet(make, count=2).start()
    kept, revoked = fleet.hosts[0].account(), fleet.hosts[0].account()
    client = fleet.redis.client()
    client.save()
    with open(fleet.redis.dump, "rb") as dump:
        saved = dump.read()
    gone = fleet.hosts[1].account()
    assert fleet.hosts[0].admin("POST", f"/api/v1/accounts/{revoked.id}/keys/revoke").status == 200
    statuses(fleet.hosts[1], revoked, 401)
    fleet.redis.kill()
    with open(fleet.redis.dump, "wb") as dump:
        dump.write(saved)
    fleet.redis.start()
    fleet.wait_agreed()
    for host in fleet.hosts:
        statuses(host, kept, 200)
        statuses(host, revoked, 200)
        statuses(host, gone, 401)
        assert host.metric("tollgate_store_reloads_total") >= 1


def test_hosts_follow_a_failover(make):
    """The master is killed during a stream of changes. In the end all hosts agree with the new master."""
    fleet = Fleet(make, sentinel=True).start()
    accounts = [fleet.hosts[0].account() for _ in range(10)]
    wait_until(lambda: fleet.replica.client().hlen("tollgate:accounts") == 10, "the replica follows")
    changer = Changer(fleet, accounts, seed=4712)
    wait_until(lambda: changer.made > 20, "changes stream in")
    made = changer.made
    fleet.redis.kill()
    wait_until(lambda: fleet.master() is fleet.replica, "the replica is the master")
    wait_until(lambda: changer.made > made + 20, "changes stream in again")
    changer.stop()
    fleet.wait_agreed(fleet.replica)
    for host in fleet.hosts:
        statuses(host, host.account(), 200)
    fleet.wait_agreed(fleet.replica)


def test_usage_of_all_hosts_adds_up(make):
    fleet = Fleet(make).start()
    account = fleet.hosts[0].account()
    for host in fleet.hosts:
        statuses(host, account, 200)
    asked = [0, 0, 0]

    def hammer(i):
        with fleet.hosts[i].connect() as client:
            for _ in range(400):
                assert client.request(key=account.key).status == 200
                asked[i] += 1

    threads = [threading.Thread(target=hammer, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    freeze(fleet)
    fleet.redis.client().execute_command("CLIENT", "KILL", "TYPE", "normal")
    for thread in threads:
        thread.join()
    fleet.hosts[1].kill()  # its latest counts are in its slots
    fleet.hosts[1].start()
    assert sum(asked) == 1200
    wait_until(lambda: fleet.hosts[0].usage(account)[0] >= 1200, "usage is written")
    assert fleet.hosts[0].usage(account)[0] == sum(len(host.upstream.seen) for host in fleet.hosts)


def test_one_host_at_a_time_holds_the_lease(make):
    """Another host takes the lease over after its holder was killed or stopped, but not before."""
    fleet = Fleet(make, stripe={"secret_key": "sk_test_x", "webhook_secrets": ["whsec_x"],
                                "api_base": "http://127.0.0.1:9"}).start()

    def holders():
        return [host for host in fleet.hosts if host.is_running() and host.metric("tollgate_holds_billing")]

    wait_until(lambda: len(holders()) == 1, "one host has the lease")
    for host in fleet.hosts:
        wait_until(lambda: len(host.status()["hosts"]) == 3, "every host lists three")
        assert sum(one["holds_billing"] for one in host.status()["hosts"]) == 1
    first = holders()[0]
    first.kill()
    wait_until(lambda: holders() and holders() != [first], "another host takes it over")
    second = holders()[0]
    first.start()
    assert holders() == [second]
    assert second.stop() == 0
    start = time.monotonic()
    wait_until(lambda: holders(), "the lease is free at once")
    assert time.monotonic() - start < 4


def migrate(agent, source, target):
    return subprocess.run([tollgate(), "store", "migrate", "-c", agent.config_path, source, target],
                          text=True, capture_output=True, timeout=60, check=False)


def test_a_store_is_migrated_to_redis_and_back(make):
    """Keys and usage are kept, and the slots continue to count. A migration while an agent runs is refused."""
    redis = Redis(make.folder).start()
    make.made.append(redis)
    agent = make.agent(make.upstream()).start()
    file = f"sqlite:{agent.folder}/state/tollgate.db"
    account = agent.account()
    for _ in range(3):
        assert agent.get("/", account).status == 200
    refused = migrate(agent, file, redis.url())
    assert refused.returncode == 1 and "in use" in refused.stderr, refused
    assert agent.stop() == 0
    moved = migrate(agent, file, redis.url())
    assert moved.returncode == 0 and "1 accounts, 1 keys" in moved.stdout, moved
    agent.configure(store=redis.url())
    agent.start()
    assert agent.get("/", account).status == 200
    wait_usage(agent, account, 4)
    assert agent.stop() == 0
    again = migrate(agent, redis.url(), file)
    assert again.returncode == 1 and "not empty" in again.stderr, again
    assert migrate(agent, redis.url(), file + ".new").returncode == 0
    agent.configure(store=file + ".new")
    agent.start()
    assert agent.get("/", account).status == 200
    wait_usage(agent, account, 5)
