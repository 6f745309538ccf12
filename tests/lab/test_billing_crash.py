# SPDX-License-Identifier: BSD-2-Clause
"""The agent is killed many times: no usage or event is lost, and no usage is billed twice."""
import collections
import json
import os
import random
import threading
import time

import pytest

import stripe

from agent import Account
from billing import Billing
from client import BrokenBody, Connection
from lab import is_sanitized, wait_until

SEED = int(os.environ.get("CRASH_SEED", "20260707"))
KILLS = int(os.environ.get("CRASH_KILLS", "100"))
ACCOUNTS, CLIENTS, FLIPPED = 200, 4, 20
STATUSES = ["active", "past_due", "unpaid", "paused", "trialing"]


class Client(threading.Thread):
    """Sends requests of one account after the other, whether the agent runs or not, and counts answers."""

    def __init__(self, agent, accounts, seed):
        super().__init__(daemon=True)
        self.agent, self.accounts, self.random = agent, accounts, random.Random(seed)
        self.answered = collections.Counter()
        self.others = collections.Counter()  # answers that are not 200
        self.ended = threading.Event()

    def run(self):
        while not self.ended.is_set():
            try:
                with Connection(self.agent.address, timeout=5) as connection:
                    while not self.ended.is_set():
                        self.ask(connection)
            except (OSError, BrokenBody):
                time.sleep(0.005)  # the agent is dead and will be started again

    def ask(self, connection):
        account = self.random.choice(self.accounts)
        answer = connection.request(key=account.key)
        if answer.status == 200:
            self.answered[account.id] += 1
        else:
            self.others[answer.status] += 1

    def stop(self):
        self.ended.set()
        self.join()


def seen_by_upstream(billing):
    return collections.Counter(call.get("X-Tollgate-Account") for call in billing.upstream.seen)


def stored(billing):
    rows = json.loads(billing.agent.admin("GET", "/api/v1/usage").body)
    requests = collections.Counter()
    for row in rows:
        assert row["requests"] == row["units"]
        requests[row["account"]] += row["requests"]
    return requests


def keys_of(billing, made):
    wait_until(lambda: len(billing.accounts()) >= ACCOUNTS + FLIPPED, "all accounts")
    ids = {account["subscription"]: account["id"] for account in billing.accounts()}
    accounts = []
    for one in made:
        key = json.loads(billing.agent.admin("POST", "/api/v1/keys", {"account": ids[one["subscription"]]}).body)
        accounts.append(Account(key["account"], key["key"], key["id"]))
    return accounts


def flip(billing, flipped, chance):
    """Changes a subscription at Stripe, whether the agent runs or not."""
    name = chance.choice(flipped)["subscription"]
    billing.fake.control("POST", f"/subscriptions/{name}/status", status=chance.choice(STATUSES))


def kill_and_start(billing, chance):
    time.sleep(chance.uniform(0, 0.5))
    billing.agent.kill()
    billing.agent.notify.forget()
    billing.agent.launch()
    if chance.random() < 0.7:  # otherwise, the next kill comes during the start
        billing.agent.wait_for("READY=1")


@pytest.mark.skipif(is_sanitized(), reason="a hundred starts with sanitizers take minutes")
def test_a_hundred_kills_neither_lose_nor_double_usage(make):
    chance = random.Random(SEED)
    began = time.monotonic()
    billing = Billing(make, start=False, log="info", max_accounts=256,
                      fastpath={"mode": "none"}, stripe={"report_every": "1m"})
    made = billing.fake.seed(ACCOUNTS, "price_metered")
    flipped = billing.fake.seed(FLIPPED, "price_basic")
    billing.agent.start()
    accounts = keys_of(billing, made)
    clients = [Client(billing.agent, accounts[n::CLIENTS], SEED + n) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    for _ in range(KILLS):
        flip(billing, flipped, chance)
        kill_and_start(billing, chance)
        flip(billing, flipped, chance)
    wait_until(lambda: billing.agent.cli("status", check=False).returncode == 0, "a last start")
    for client in clients:
        client.stop()
    answered = sum((client.answered for client in clients), collections.Counter())
    others = sum((client.others for client in clients), collections.Counter())
    print(f"seed {SEED}: {KILLS} kills, {sum(answered.values())} requests answered, others {dict(others)}, "
          f"{time.monotonic() - began:.0f} s")
    check(billing, made, accounts, answered, flipped)
    print(f"all usage reported after {time.monotonic() - began:.0f} s")


def check(billing, made, accounts, answered, flipped):
    # All counted usage reaches the store, and all of that is reported once the subscriptions end.
    for one in made:
        stripe.Subscription.delete(one["subscription"], **billing.auth())
    wait_until(lambda: all(a["status"] == "canceled" for a in billing.accounts() if a["tier"] == "metered"),
               "the cancellations", timeout=30)
    wait_until(lambda: sum(stored(billing).values()) == billing.fake.usage("api_requests")["sum"],
               "Stripe has what the store has", timeout=90, every=0.2)
    seen, in_store = seen_by_upstream(billing), stored(billing)
    reported = collections.Counter()
    for event in billing.fake.usage("api_requests")["events"]:
        reported[event["customer"]] += event["value"]
    for account, one in zip(accounts, made):
        what = f"{account.id}: {answered[account.id]} answered, {in_store[account.id]} stored, " \
            f"{seen[account.id]} seen, {reported[one['customer']]} reported"
        assert answered[account.id] <= in_store[account.id] <= seen[account.id], what
        assert reported[one["customer"]] == in_store[account.id], what
        assert answered[account.id] > 0, what
    identifiers = [event["identifier"] for event in billing.fake.usage("api_requests")["events"]]
    assert len(identifiers) == len(set(identifiers))
    billing.fake.settle()
    for one in flipped:
        now = stripe.Subscription.retrieve(one["subscription"], **billing.auth())
        billing.wait_account(one["subscription"], status=now.status)
