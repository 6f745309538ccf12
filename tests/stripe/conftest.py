# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures: a fake Stripe, the official library that uses it, and a receiver of events."""
import http.server
import json
import threading

import pytest
import stripe

from fakestripe import FakeStripe

NEWEST = "2026-10-28.endive"


@pytest.fixture(scope="module")
def running():
    with FakeStripe() as fake:
        fake.price("price_pro", lookup_key="pro", unit_amount=2000)
        fake.price("price_max", lookup_key="max", unit_amount=5000)
        fake.price("price_daily", interval="day", unit_amount=100)
        fake.price("price_use", meter="api_requests", unit_amount=3)
        yield fake


@pytest.fixture
def fake(running):
    running.reset()
    stripe.api_base, stripe.api_key = running.url, running.secret_key
    stripe.api_version = NEWEST
    stripe.max_network_retries = 0
    return running


@pytest.fixture
def customer(fake):
    """A customer whose subscriptions end with the test."""
    made = stripe.Customer.create(email="ada@example.com")
    yield made
    if not stripe.Customer.retrieve(made.id).get("deleted"):
        stripe.Customer.delete(made.id)


class Receiver:
    """An endpoint for events. It answers with the next of `statuses`, then with 200."""

    def __init__(self):
        self.got = []  # (Stripe-Signature, body)
        self.statuses = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.headers["Stripe-Signature"], body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks/stripe"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def events(self):
        return [json.loads(body) for _, body in self.got]

    def types(self):
        return [event["type"] for event in self.events()]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def endpoint(fake, receiver):
    """Sends events to the receiver, in order."""
    fake.settings(senders=1)
    made = fake.endpoint(receiver.url)
    yield made
    fake.forget()
    fake.control("DELETE", f"/endpoints/{made['id']}")
