# SPDX-License-Identifier: BSD-2-Clause
"""Stripe and many hosts: any host takes events, one at a time processes and reports, and each unit is billed once."""
import collections
import itertools
import json
import os
import random
import signal
import socket
import threading
import time

import pytest
import stripe

from agent import Account
from billing import SECRET_KEY, TIERS, WEBHOOK_PATH, WEBHOOK_SECRET, Billing
from client import BrokenBody
from fakestripe import FakeStripe
from fleet import Fleet
from lab import Loopback, wait_until

SEED = int(os.environ.get("FLEET_SEED", "20261124"))
FAULTS = int(os.environ.get("FLEET_FAULTS", "1"))
STRIPE_PORT = 9100  # on each host's loopback, because plain http is allowed there only
STATUSES = ["active", "past_due", "unpaid", "paused", "trialing"]
TAKEN_OVER_S = 8  # a lease lasts five seconds, and hosts ask for it every second
METERED, FLIPPED = 9, 6


class Forward:
    """Forwards a port in one namespace to addresses in another, taking turns among @targets."""

    def __init__(self, place, side, port, to_place, to_side, targets):
        self.to_place, self.to_side, self.targets, self.turns = to_place, to_side, targets, itertools.count()
        with place.inside(side):
            self.listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near):
        with near:
            try:
                with self.to_place.inside(self.to_side):
                    far = socket.socket()
                with far:
                    targets = self.targets()
                    far.connect(targets[next(self.turns) % len(targets)])
                    back = threading.Thread(target=self._carry, args=(far, near), daemon=True)
                    back.start()
                    self._carry(near, far)
                    back.join()
            except OSError:
                pass  # the client sees the end of the connection, and retries

    @staticmethod
    def _carry(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for sock in (source, sink):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class FleetBilling(Billing):
    """Three hosts with one Stripe. A load balancer sends its events to any host in service."""

    def __init__(self, make, **config):  # pylint: disable=super-init-not-called
        self.fake = FakeStripe(SECRET_KEY, WEBHOOK_SECRET)
        make.made.append(self)
        self.chance = random.Random(SEED)
        settings = {"secret_key": SECRET_KEY, "webhook_secrets": [WEBHOOK_SECRET], "report_every": "1m",
                    "api_base": f"http://127.0.0.1:{STRIPE_PORT}", "calls_per_second": 500,
                    **config.pop("stripe", {})}
        self.fleet = Fleet(make, tiers=config.pop("tiers", TIERS), stripe=settings, fastpath={"mode": "none"}, **config)
        self.hosts = self.fleet.hosts
        self.serving = list(self.hosts)
        home = Loopback()
        for host in self.hosts:
            make.made.append(Forward(host.place, "edge", STRIPE_PORT, home, "edge",
                                     lambda: [(self.fake.host, self.fake.port)]))
        balancer = Forward(home, "edge", 0, self.hosts[0].place, "client",
                           lambda: [host.address for host in self.serving])
        make.made.append(balancer)
        self.fake.price("price_basic", unit_amount=1000)
        self.fake.price("price_metered", unit_amount=1, meter="api_requests")
        self.fake.endpoint(f"http://127.0.0.1:{balancer.port}{WEBHOOK_PATH}")
        self.fleet.start()
        wait_until(lambda: len(self.holders()) == 1, "one host has the lease")

    @property
    def agent(self):
        return self.serving[0]

    def holders(self):
        return [host for host in self.serving if host.metric("tollgate_holds_billing")]

    def flip(self, names):
        self.fake.control("POST", f"/subscriptions/{self.chance.choice(names)}/status",
                          status=self.chance.choice(STATUSES))

    def wait_same_as_stripe(self, names):
        """Wait until each host has the same status of each subscription as Stripe."""
        now = {name: stripe.Subscription.retrieve(name, **self.auth()).status for name in names}

        def is_so(host):
            shown = {a["subscription"]: a["status"] for a in json.loads(host.admin("GET", "/api/v1/accounts").body)}
            return all(shown.get(name) == status for name, status in now.items())
        for host in self.serving:
            wait_until(lambda host=host: is_so(host), f"{host.network.name} agrees with Stripe")

    def events(self, result):
        return sum(host.metric("tollgate_stripe_events_total", result=result) for host in self.hosts)

    def stored(self):
        units = collections.Counter()
        for row in json.loads(self.agent.admin("GET", "/api/v1/usage").body):
            units[row["account"]] += row["units"]
        return units


class Client(threading.Thread):
    """Sends requests of random accounts to one host, survives its restarts, and counts the answers."""

    def __init__(self, host, accounts, seed):
        super().__init__(daemon=True)
        self.host, self.accounts, self.random = host, accounts, random.Random(seed)
        self.answered = collections.Counter()
        self.is_over = threading.Event()
        self.start()

    def run(self):
        while not self.is_over.is_set():
            try:
                with self.host.connect(timeout=15) as connection:
                    while not self.is_over.is_set():
                        account = self.random.choice(self.accounts)
                        if connection.request(key=account.key).status == 200:
                            self.answered[account.id] += 1
                        self.is_over.wait(0.002)
            except (OSError, BrokenBody):
                self.is_over.wait(0.02)

    def stop(self):
        self.is_over.set()
        self.join()


def test_an_event_is_processed_once_whichever_host_it_reaches(make):
    """Each event is sent three times, late and out of order, to any host."""
    billing = FleetBilling(make)
    names = [billing.subscribe().id for _ in range(FLIPPED)]
    billing.wait_same_as_stripe(names)
    assert billing.fake.settle()
    once = len(billing.fake.deliveries())
    billing.fake.rule("twice", copies=3)
    billing.fake.rule("shuffle", seconds=0.3)
    for _ in range(80):
        billing.flip(names)
    assert billing.fake.settle(20)
    billing.wait_same_as_stripe(names)
    redis = billing.fleet.redis.client()
    events = {delivery["event"] for delivery in billing.fake.deliveries()}
    assert billing.events("accepted") == len(events) == redis.hlen("tollgate:tasks:event")
    assert len(events) > once + 40 and billing.events("repeated") == 2 * (len(events) - once)
    assert billing.events("not_stored") == billing.events("forged") == 0
    wait_until(lambda: redis.zcard("tollgate:tasks:event:pending") == 0, "all events are processed")
    took = [host.metric("tollgate_stripe_events_total", result="accepted") for host in billing.hosts]
    print(f"seed {SEED}: {len(events)} events, accepted by each host: {took}")
    assert all(took)


def test_events_are_processed_after_redis_is_restored_from_a_backup(make):
    """The backup numbers the next events like those that the lease holder has processed since."""
    billing = FleetBilling(make)
    names = [billing.subscribe().id for _ in range(FLIPPED)]
    billing.wait_same_as_stripe(names)
    assert billing.fake.settle()
    client = billing.fleet.redis.client()
    client.save()
    with open(billing.fleet.redis.dump, "rb") as dump:
        saved = dump.read()
    for _ in range(30):
        billing.flip(names)
    assert billing.fake.settle(20)
    billing.wait_same_as_stripe(names)
    holder, = billing.holders()
    billing.fleet.redis.kill()
    with open(billing.fleet.redis.dump, "wb") as dump:
        dump.write(saved)
    billing.fleet.redis.start()
    wait_until(lambda: all(host.metric("tollgate_store_reloads_total") for host in billing.hosts), "reloads")
    billing.fleet.wait_agreed()
    billing.wait_same_as_stripe(names)  # the holder reconciles: the backup has older states
    for _ in range(3):
        billing.flip(names)
        billing.wait_same_as_stripe(names)
    assert billing.holders() == [holder]  # it did not start afresh with another lease


def kill(billing, holder):
    holder.kill()
    billing.serving.remove(holder)


def freeze(billing, holder):
    holder.process.send_signal(signal.SIGSTOP)
    billing.serving.remove(holder)


def recover(billing, holder):
    if holder.is_running():
        holder.process.send_signal(signal.SIGCONT)
    else:
        holder.start()
    billing.serving.append(holder)


def check_reported(billing, accounts, customers, clients, is_exact):
    """Compare what clients were answered, what is stored, what upstreams saw and what Stripe got."""
    answered = sum((client.answered for client in clients), collections.Counter())
    stored = billing.stored()
    seen = collections.Counter(call.get("X-Tollgate-Account") for host in billing.hosts for call in host.upstream.seen)
    reported = collections.Counter()
    events = billing.fake.usage("api_requests")["events"]
    for event in events:
        reported[event["customer"]] += event["value"]
    for account, customer in zip(accounts, customers):
        what = f"{account.id}: {answered[account.id]} answered, {stored[account.id]} stored, " \
            f"{seen[account.id]} seen, {reported[customer]} reported"
        assert 0 < answered[account.id] <= stored[account.id] <= seen[account.id], what
        assert not is_exact or answered[account.id] == stored[account.id], what
        assert reported[customer] == stored[account.id], what
    assert len(events) == len({event["identifier"] for event in events})
    return sum(answered.values()), sum(reported.values()), len(events)


def lose_the_holder(billing, fault, keep_s):
    """@fault strikes the holder amid its reports. The holder recovers @keep_s after another host took over."""
    holder, = billing.holders()
    fault(billing, holder)
    start = time.monotonic()
    wait_until(billing.holders, "another host has the lease", TAKEN_OVER_S)
    taken_over_s = time.monotonic() - start
    successor, = billing.holders()
    time.sleep(keep_s)
    recover(billing, holder)
    # A host that was frozen still claims the lease until its next heartbeat, but the fence rejects its writes.
    wait_until(lambda: billing.holders() == [successor], "the recovered host gives up the lease", 3)
    return taken_over_s


def run_faults(make, faults, keep_s):
    billing = FleetBilling(make)
    made = [billing.subscribe("price_metered") for _ in range(METERED * (len(faults) + 1))]
    flipped = [billing.subscribe().id for _ in range(FLIPPED)]
    billing.wait_same_as_stripe([one.id for one in made] + flipped)
    ids = {account["subscription"]: account["id"] for account in billing.accounts()}
    accounts = []
    for one in made:
        key = json.loads(billing.agent.admin("POST", "/api/v1/keys", {"account": ids[one.id]}).body)
        accounts.append(Account(key["account"], key["key"], key["id"]))
    for host in billing.hosts:
        wait_until(lambda host=host: host.status()["keys"] == len(accounts), "the keys are known")
    clients = [Client(host, accounts, SEED + n) for n, host in enumerate(billing.hosts)]
    wait_until(lambda: all(sum(client.answered.values()) > 200 for client in clients), "usage")
    took = []
    for n, fault in enumerate(faults):
        billing.fake.fault(method="POST", path="/v1/billing/meter_events", count=METERED, delay=0.3)
        calls = len(billing.fake.calls("POST", "/v1/billing/meter_events"))
        ending = made[n * METERED:(n + 1) * METERED]
        for one in ending:
            billing.cancel(one)
        wait_until(lambda: len(billing.fake.calls("POST", "/v1/billing/meter_events")) > calls
                   or billing.fake.usage("api_requests")["events"], "a report is in progress")
        for _ in range(10):
            billing.flip(flipped)
        took.append(lose_the_holder(billing, fault, keep_s))
        for _ in range(10):
            billing.flip(flipped)
        billing.wait_same_as_stripe(flipped + [one.id for one in ending])
    used = sum(sum(client.answered.values()) for client in clients)
    wait_until(lambda: sum(sum(client.answered.values()) for client in clients) > used + 100, "usage goes on")
    for client in clients:
        client.stop()
    for one in made[-METERED:]:
        billing.cancel(one)
    wait_until(lambda: sum(billing.stored().values()) == billing.fake.usage("api_requests")["sum"],
               "Stripe has what the store has", timeout=90, every=0.2)
    for host in billing.hosts:  # nothing is left to report
        wait_until(lambda host=host: host.status()["stripe"]["usage_pending"] == 0 or not host.metric(
            "tollgate_holds_billing"), "no usage is pending")
    answered, reported, events = check_reported(billing, accounts, [one.customer for one in made], clients,
                                                is_exact=kill not in faults)
    billing.wait_same_as_stripe(flipped)
    print(f"seed {SEED}: taken over within {max(took):.1f} s; "
          f"{answered} answered, {reported} reported in {events} events")


@pytest.mark.slow
@pytest.mark.parametrize("fault", [kill, freeze], ids=lambda fault: fault.__name__)
def test_billing_survives_the_loss_of_the_lease_holder(make, fault):
    """Usage is reported and events stream in meanwhile. Repeats FLEET_FAULTS times."""
    run_faults(make, [fault] * FAULTS, keep_s=0 if FAULTS == 1 else 2)
