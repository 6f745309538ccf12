# SPDX-License-Identifier: BSD-2-Clause
"""billing: an agent that sells with the fake Stripe, and helpers for tests of both."""
import http.client
import json
import os
import sys
import time

import stripe

from agent import Account
from lab import wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "stripe"))
from fakestripe import FakeStripe  # noqa: E402

SECRET_KEY = "sk_test_lab"
WEBHOOK_SECRET = "whsec_lab"
WEBHOOK_PATH = "/webhooks/stripe"
TIERS = [
    {"name": "basic", "prices": ["price_basic"], "rate": "100/s", "burst": 100, "quota": "100000/month"},
    {"name": "pro", "prices": ["pro_monthly"], "rate": "1000/s", "burst": 1000, "features": ["export"]},
    {"name": "metered", "prices": ["price_metered"], "meter": "api_requests"},
    {"name": "plain"},
]


def sign(body, secret=WEBHOOK_SECRET, when=None):
    """A Stripe-Signature header, computed by Stripe's own library."""
    when = int(when or time.time())
    signature = stripe.WebhookSignature._compute_signature(f"{when}.{body}", secret)
    return f"t={when},v1={signature}"


def post_event(billing, body, header=None, path=WEBHOOK_PATH):
    """Posts a webhook. Returns the status and body of the answer."""
    connection = http.client.HTTPConnection(billing.agent.address[0], billing.agent.port, timeout=10)
    headers = {"Content-Type": "application/json"}
    if header is not None:
        headers["Stripe-Signature"] = header
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    said = answer.read().decode()
    connection.close()
    return answer.status, said


def event(kind, obj, name="evt_1", **fields):
    return json.dumps({"id": name, "object": "event", "type": kind, "created": int(time.time()), "livemode": False,
                       "api_version": "2026-10-28.endive", "data": {"object": obj}, **fields})


class Billing:
    """The fake with prices, an upstream, and an agent that gets the fake's events."""

    def __init__(self, make, webhook=True, start=True, **config):
        self.fake = FakeStripe(SECRET_KEY, WEBHOOK_SECRET)
        make.made.append(self)
        self.upstream = make.upstream()
        stripe = {
            "secret_key": SECRET_KEY,
            "webhook_secrets": [WEBHOOK_SECRET],
            "api_base": self.fake.url,
            "calls_per_second": 500,
        }
        stripe.update(config.pop("stripe", {}))
        self.agent = make.agent(self.upstream, **{"tiers": TIERS, "stripe": stripe, **config})
        self.fake.price("price_basic", unit_amount=1000)
        self.fake.price("price_pro", lookup_key="pro_monthly", unit_amount=5000)
        self.fake.price("price_metered", unit_amount=1, meter="api_requests")
        if webhook:
            self.fake.endpoint(self.agent.url(WEBHOOK_PATH))
        if start:
            self.agent.start()

    def close(self):
        self.fake.stop()

    # What the owner of the Stripe account does, with Stripe's own library.

    def customer(self, email="ann@example.com", **fields):
        return stripe.Customer.create(email=email, **self.auth(), **fields)

    def subscribe(self, price="price_basic", customer=None, **fields):
        customer = customer or self.customer()
        return stripe.Subscription.create(customer=customer.id, items=[{"price": price}], **self.auth(), **fields)

    def change(self, subscription, **fields):
        return stripe.Subscription.modify(subscription.id, **self.auth(), **fields)

    def cancel(self, subscription):
        return stripe.Subscription.delete(subscription.id, **self.auth())

    def auth(self):
        stripe.api_base = self.fake.url
        return {"api_key": SECRET_KEY}

    # Accounts.

    def accounts(self):
        return json.loads(self.agent.admin("GET", "/api/v1/accounts").body)

    def account_of(self, subscription):
        found = [a for a in self.accounts() if a["subscription"] == subscription]
        return found[0] if found else None

    def wait_account(self, subscription, **fields):
        """Waits until the subscription's account has these fields."""
        def is_so():
            account = self.account_of(subscription)
            return account if account and all(account[k] == v for k, v in fields.items()) else None
        return wait_until(is_so, f"{subscription} to be {fields}")

    def quiet(self):
        """Waits until all events of the fake are processed, with the fetches that they cause."""
        assert self.fake.settle()
        wait_until(lambda: self.agent.status()["stripe"]["events_pending"] == 0, "all events processed", timeout=60)

    def key_for(self, subscription):
        """The subscription's account, with a new key."""
        account = self.wait_account(subscription)
        key = json.loads(self.agent.admin("POST", "/api/v1/keys", {"account": account["id"]}).body)
        return Account(account["id"], key["key"], key["id"])

    def status(self, account):
        return self.agent.get("/", account).status
