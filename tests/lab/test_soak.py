# SPDX-License-Identifier: BSD-2-Clause
"""A day in the life of a provider: 2,000 customers buy, change, cancel, fail to pay, dispute, return and use the
API, while Stripe fails one call in twenty and the agent is killed at random. At the end, all have paid for what
they used and have the access that Stripe says.

The agent and the fake Stripe have the same clock (libfaketime), which the test advances hour by hour.
SOAK_SEED, SOAK_CUSTOMERS and SOAK_HOURS set the random seed, the number of customers and the length.
"""
import collections
import contextlib
import json
import os
import random
import time

import pytest
import stripe

from agent import Account
from billing import Billing
from client import Connection
from lab import is_sanitized, wait_until
from shopper import Shopper
from test_billing_lost import FAKETIME

SEED = int(os.environ.get("SOAK_SEED", "20261201"))
CUSTOMERS = int(os.environ.get("SOAK_CUSTOMERS", "2000"))
HOURS = int(os.environ.get("SOAK_HOURS", "24"))
TIERS = [
    {"name": "basic", "prices": ["price_basic"]},
    {"name": "daily", "prices": ["price_daily"], "grace": "30d"},
    {"name": "team", "prices": ["price_team"], "per_seat": True},
    {"name": "metered", "prices": ["price_metered"], "meter": "api_requests"},
    {"name": "both", "prices": ["price_both"], "extra_prices": ["price_usage"], "meter": "api_requests"},
]
PRICES = [tier["prices"][0] for tier in TIERS]
METERED = ("price_metered", "price_both")


class Clock:
    """The clock of the agent and of the fake."""

    def __init__(self, folder):
        self.path, self.ahead_s = folder / "clock", 0
        self.environment = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(self.path),
                            "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}
        self.advance(0)

    def advance(self, seconds):
        self.ahead_s += seconds
        new = str(self.path) + ".new"
        with open(new, "w", encoding="ascii") as file:
            file.write(f"+{self.ahead_s}\n")
        os.rename(new, self.path)

    @contextlib.contextmanager
    def for_children(self):
        """Processes that start meanwhile have this clock."""
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


class Customer:
    def __init__(self, day, name, subscription, price):
        self.day, self.name = day, name
        self.subscription, self.price = subscription, price
        self.account = None  # with its key
        self.used = collections.Counter()  # requests answered, by whether they are billed
        self.dispute = None
        self.fails = False  # payments
        self.rests_until = 0  # requests around a change may count for either meter

    def at_stripe(self):
        return stripe.Subscription.retrieve(self.subscription, **self.day.billing.auth())

    # What a customer does. Each returns the name of what was done, or None if it makes no sense now.

    def change_plan(self):
        sub = self.at_stripe()
        if sub.status not in ("active", "trialing") or len(sub["items"]["data"]) > 1:
            return None
        price = self.day.chance.choice([p for p in PRICES[:4] if p != self.price])
        stripe.Subscription.modify(self.subscription, items=[{"id": sub["items"]["data"][0].id, "price": price}],
                                   **self.day.billing.auth())
        self.price, self.rests_until = price, self.day.hour + 2
        return "changed plan"

    def change_seats(self):
        if self.price != "price_team" or self.at_stripe().status != "active":
            return None
        sub = self.at_stripe()
        stripe.Subscription.modify(self.subscription, items=[
            {"id": sub["items"]["data"][0].id, "quantity": self.day.chance.randint(1, 9)}], **self.day.billing.auth())
        return "changed seats"

    def cancel(self):
        if self.has_ended():
            return None
        stripe.Subscription.delete(self.subscription, **self.day.billing.auth())
        self.rests_until = self.day.hour + 2
        return "canceled"

    def come_back(self):
        if not self.has_ended():
            return None
        price = self.day.chance.choice(PRICES)
        items = [{"price": price}] + ([{"price": "price_usage"}] if price == "price_both" else [])
        sub = stripe.Subscription.create(customer=self.name, items=items, **self.day.billing.auth())
        self.subscription, self.price, self.dispute = sub.id, price, None
        self.rests_until = self.day.hour + 2
        return "came back"

    def stop_paying(self):
        self.fails = not self.fails
        self.day.billing.fake.payments(self.name, "fails" if self.fails else None)
        return "stopped paying" if self.fails else "pays again"

    def complain(self):
        if self.dispute or self.has_ended():
            return None
        charges = [c for c in stripe.Charge.list(customer=self.name, limit=1, **self.day.billing.auth()).data
                   if c.status == "succeeded"]
        if not charges or self.price in METERED[:1] or not self.is_charge_of_present(charges[0]):
            return None
        self.dispute = self.day.billing.fake.dispute(charges[0].id)["id"]
        return "disputed"

    def is_charge_of_present(self, charge):
        invoices = stripe.Invoice.list(subscription=self.subscription, **self.day.billing.auth()).data
        return any(charge.created >= invoice.created for invoice in invoices)

    def give_in(self):
        if not self.dispute:
            return None
        self.day.billing.fake.move_dispute(self.dispute, "won")
        self.dispute = None
        return "won a dispute"

    def has_ended(self):
        return self.at_stripe().status in ("canceled", "incomplete_expired")

    def is_entitled(self):
        return self.at_stripe().status in ("active", "trialing", "past_due") and not self.dispute

    # Requests.

    def use(self, connection):
        if self.rests_until > self.day.hour:
            return
        for _ in range(self.day.chance.randint(1, 5)):
            answer = connection.request(key=self.account.key)
            if answer.status == 200:
                self.used[self.price in METERED] += 1
            self.day.statuses[answer.status] += 1


class Day:
    ACTIONS = [(Customer.change_plan, 6), (Customer.change_seats, 3), (Customer.cancel, 4), (Customer.come_back, 8),
               (Customer.stop_paying, 3), (Customer.complain, 2), (Customer.give_in, 4)]

    def __init__(self, make, folder):
        self.chance = random.Random(SEED)
        self.clock = Clock(folder)
        self.hour = 0
        self.done, self.statuses, self.kills = collections.Counter(), collections.Counter(), 0
        with self.clock.for_children():
            self.billing = Billing(make, start=False, tiers=TIERS, max_accounts=4096, log="info",
                                   fastpath={"mode": "none"},
                                   stripe={"report_every": "1h", "on_dispute": "suspend", "app_url": "http://127.0.0.1:1"})
        self.billing.agent.prefix = ["env", *(f"{k}={v}" for k, v in self.clock.environment.items())]
        fake = self.billing.fake
        fake.price("price_daily", unit_amount=300, interval="day")
        fake.price("price_team", unit_amount=700)
        fake.price("price_both", unit_amount=500)
        fake.price("price_usage", unit_amount=1, meter="api_requests")
        self.customers = []
        for price in PRICES[:4]:
            for made in fake.seed(CUSTOMERS // 4, price):
                self.customers.append(Customer(self, made["customer"], made["subscription"], price))
        self.billing.agent.start()
        wait_until(lambda: len(self.billing.accounts()) == CUSTOMERS, "all accounts", timeout=60)
        ids = {account["subscription"]: account["id"] for account in self.billing.accounts()}
        for customer in self.customers:
            answer = self.billing.agent.admin("POST", "/api/v1/keys", {"account": ids[customer.subscription]})
            key = json.loads(answer.body)
            customer.account = Account(key["account"], key["key"], key["id"])

    def fail_one_in_twenty(self):
        """Of the agent's calls: some fail before, some after they are carried out, some without an answer."""
        for fault in ({"status": 500}, {"status": 429}, {"reset": True}, {"reset": True, "when": "after"}):
            self.billing.fake.fault(count=None, every=80, agent="^(?!Stripe)", **fault)

    def act(self):
        actions = [action for action, weight in self.ACTIONS for _ in range(weight)]
        for customer in self.chance.sample(self.customers, CUSTOMERS // 40):
            self.done[self.chance.choice(actions)(customer)] += 1

    def use(self):
        with Connection(self.billing.agent.address, timeout=20) as connection:
            for customer in self.chance.sample(self.customers, CUSTOMERS // 8):
                customer.use(connection)

    def buy(self):
        """A new customer buys on the pages and claims the key."""
        shopper = Shopper(self.billing.agent)
        for _ in range(5):  # Stripe may fail
            page = shopper.post("/checkout", {"tier": "basic"})
            if page.status == 303:
                break
        else:
            return
        session = page.get("Location").rsplit("/", 1)[1]
        self.billing.fake.pay(session, email=f"buyer{self.hour}@example.com")
        for _ in range(5):
            page = shopper.arrive(session)
            if page.status == 200 and "/dashboard/claim" in page.text:
                page = shopper.submit(page, "/claim")
                if page.key():
                    break
        else:
            return
        found = self.billing.fake.calls("POST", "/v1/checkout/sessions")
        assert found
        sub = stripe.checkout.Session.retrieve(session, **self.billing.auth())
        customer = Customer(self, sub.customer, sub.subscription, "price_basic")
        account = self.billing.wait_account(sub.subscription)
        customer.account = Account(account["id"], page.key(), "")
        self.customers.append(customer)
        self.done["bought on the pages"] += 1

    def kill(self):
        self.billing.agent.kill()
        self.billing.agent.notify.forget()
        self.billing.agent.start()
        self.kills += 1

    def pass_hour(self):
        self.use()
        self.act()
        if self.chance.random() < 0.4:
            self.kill()
        self.buy()
        self.use()
        if self.chance.random() < 0.2:
            self.kill()
        self.hour += 1
        self.clock.advance(3600)
        self.billing.fake.advance(seconds=0)  # runs the timers that have become due


# What must agree at the end.


def check_usage(day):
    seen = collections.Counter(call.get("X-Tollgate-Account") for call in day.billing.upstream.seen)
    stored = collections.Counter()
    for row in json.loads(day.billing.agent.admin("GET", "/api/v1/usage").body):
        stored[row["account"]] += row["units"]
    for customer in day.customers:
        used = sum(customer.used.values())
        assert used == seen[customer.account.id] == stored[customer.account.id], (
            customer.name, customer.price, customer.used, seen[customer.account.id], stored[customer.account.id])


def check_bills(day):
    billed = collections.Counter()
    for event in day.billing.fake.usage("api_requests")["events"]:
        billed[event["customer"]] += event["value"]
    wrong = [(c.name, c.price, c.used[True], billed[c.name]) for c in day.customers if c.used[True] != billed[c.name]]
    assert not wrong, f"{len(wrong)} customers: {wrong[:5]}"


def check_access(day):
    accounts = collections.defaultdict(list)
    for account in day.billing.accounts():
        accounts[account["customer"]].append(account)
    for customer in day.customers:
        assert len(accounts[customer.name]) == 1, (customer.name, accounts[customer.name])
        account = accounts[customer.name][0]
        expected = customer.is_entitled()
        assert account["subscription"] == customer.subscription and account["entitled"] == expected, (
            customer.dispute, customer.price, customer.at_stripe().status, account)
        assert account["id"] == customer.account.id


@pytest.mark.skipif(is_sanitized(), reason="libfaketime cannot be preloaded before the sanitizers")
def test_a_day_of_two_thousand_customers(make, tmp_path):
    began = time.monotonic()
    day = Day(make, tmp_path)
    day.fail_one_in_twenty()
    for _ in range(HOURS):
        day.pass_hour()
    day.billing.fake.no_faults()
    for customer in day.customers:
        if customer.fails:
            day.billing.fake.payments(customer.name, None)
    # Everything that waits is delivered: events that Stripe repeats, usage whose window has ended, refused calls.
    day.billing.fake.settle(60)
    day.clock.advance(2 * 3600)
    day.billing.fake.advance(seconds=0)
    day.billing.agent.cli("sync")
    wait_until(lambda: day.billing.agent.status()["stripe"]["events_pending"] == 0, "all events", timeout=60)
    expected = sum(c.used[True] for c in day.customers)
    wait_until(lambda: day.billing.fake.usage("api_requests")["sum"] >= expected, f"{expected} billed units",
               timeout=120, every=0.5)
    print(f"seed {SEED}: {len(day.customers)} customers, {HOURS} hours, {day.kills} kills, {dict(day.done)}, "
          f"answers {dict(day.statuses)}, {expected} units billed, {time.monotonic() - began:.0f} s")
    check_usage(day)
    check_bills(day)
    check_access(day)
    drift = day.billing.agent.json("usage", "--drift")
    assert drift["drifting"] == drift["errors"] == 0, [row for row in drift["accounts"] if row["drift"]]
