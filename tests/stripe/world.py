# SPDX-License-Identifier: BSD-2-Clause
"""world: all objects of the fake. Hold its lock while reading or changing them.

Objects are dicts in the format of the newest API version (render.py converts them to older ones).
Members that start with "_" are private and never shown.
"""
import contextlib
import random
import string
import threading

import render
import simulated
from clock import Clock
from errors import missing
from events import Events

LETTERS = string.ascii_letters + string.digits

# Settings that tests can change; see control.py.
SETTINGS = {
    "api_version": "2026-10-28.endive",
    # the account's version: for calls without Stripe-Version and for GET /v1/events
    "draft_s": 3600,  # how long a renewal's invoice stays a draft
    "retry_days": [3, 5, 7],  # further attempts, in days after the first one
    "after_retries": "cancel",  # or unpaid, past_due, pause
    "payment": "succeeds",  # unless set for a customer; or fails, requires_action, none
    "checkout_is_async": False,  # payments stay pending until a control call ends them
    "meter_errors": "async",  # or sync
    "meter_error_window_s": 0,  # how long errors are collected into one report
    "meter_lag_s": 0,  # how long it takes until a meter event is in a summary
    "calls_per_second": 0,  # 0: no limit
    "delivery_retries_s": [0.1, 0.2, 0.5, 1, 2],
    "delivery_timeout_s": 10,
    "event_days": 30,  # how long events can be listed and fetched
    "senders": 4,  # threads that deliver; with 1, deliveries come in order
    "extra_scheme": False,  # Stripe-Signature also has a v0
    "livemode": False,  # of all objects
}


class Table:
    """The objects of one kind, in the order of their creation."""

    def __init__(self, kind):
        self.kind = kind
        self.places = {}
        self.rows = []

    def add(self, row):
        self.places[row["id"]] = len(self.rows)
        self.rows.append(row)
        return row

    def find(self, name):
        place = self.places.get(name)
        return None if place is None else self.rows[place]

    def get(self, name, param="id"):
        row = self.find(name)
        if row is None:
            raise missing(self.kind.replace(".", " ").replace("_", " "), name, param)
        return row

    def __iter__(self):
        return iter(self.rows)

    def __len__(self):
        return len(self.rows)

    def page(self, params, matches=lambda row: True):
        """Returns (rows, has_more): rows between the cursors, newest first."""
        limit = params.get("limit", 10)
        if "ending_before" in params:
            start = self.place(params["ending_before"], "ending_before") + 1
            found = self.take(range(start, len(self.rows)), matches, limit + 1)
            return found[:limit][::-1], len(found) > limit
        start = len(self.rows)
        if "starting_after" in params:
            start = self.place(params["starting_after"], "starting_after")
        found = self.take(range(start - 1, -1, -1), matches, limit + 1)
        return found[:limit], len(found) > limit

    def place(self, name, param):
        self.get(name, param)
        return self.places[name]

    def take(self, places, matches, count):
        found = []
        for place in places:
            if matches(self.rows[place]):
                found.append(self.rows[place])
                if len(found) == count:
                    break
        return found


class World:
    def __init__(self, secret_keys, base_url):
        self.lock = threading.RLock()
        self.real = Clock(self.lock)
        self.clock = self.real  # or that of the objects acted on; see simulated.py
        self.secret_keys = secret_keys
        self.base_url = base_url
        self.settings = dict(SETTINGS)
        render.is_live = lambda: self.settings["livemode"]
        self.customers = Table("customer")
        self.products = Table("product")
        self.prices = Table("price")
        self.sessions = Table("checkout.session")
        self.subscriptions = Table("subscription")
        self.items = Table("subscription_item")
        self.invoices = Table("invoice")
        self.features = Table("entitlements.feature")
        self.portals = Table("billing_portal.session")
        self.meters = Table("billing.meter")
        self.charges = Table("charge")
        self.refunds = Table("refund")
        self.disputes = Table("dispute")
        self.invoice_payments = Table("invoice_payment")
        self.schedules = Table("subscription_schedule")
        self.coupons = Table("coupon")
        self.promotion_codes = Table("promotion_code")
        self.discounts = Table("discount")
        self.invoice_items = Table("invoiceitem")
        self.portal_configurations = Table("billing_portal.configuration")
        self.test_clocks = Table("test_helpers.test_clock")
        self.usage_records = []
        self.meter_identifiers = {}  # identifier -> when it was accepted
        self.meter_errors = {}  # meter -> errors not reported yet
        self.request = None  # the request being carried out
        self.events = Events(self)
        self.random = random.Random()

    def now(self):
        return self.clock.now()

    @contextlib.contextmanager
    def acting(self, *names):
        """Takes the lock, and uses the clock of the objects with the IDs @names."""
        with self.lock, simulated.acting(self, names):
            yield

    def new_id(self, prefix, length=24):
        return prefix + "_" + "".join(self.random.choices(LETTERS, k=length))

    def emit(self, kind, obj, before=None):
        return self.events.emit(kind, obj, before)

    def table_of(self, name, member=None):
        """The table of an ID, by the name of its member or by its prefix."""
        if member in ("coupon", "product"):  # their IDs may be chosen freely
            return self.coupons if member == "coupon" else self.products
        if name.startswith("sub_sched_"):
            return self.schedules
        return {"di": self.discounts, "promo": self.promotion_codes,
                "cus": self.customers, "prod": self.products, "price": self.prices,
                "cs": self.sessions, "sub": self.subscriptions, "si": self.items,
                "in": self.invoices, "feat": self.features, "mtr": self.meters,
                "ch": self.charges, "re": self.refunds, "du": self.disputes,
                "ii": self.invoice_items, "bpc": self.portal_configurations, "bps": self.portals,
                "clock": self.test_clocks,
                }.get(name.split("_")[0])
