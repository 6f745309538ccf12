# SPDX-License-Identifier: BSD-2-Clause
"""delivery: endpoints, signatures, and the threads that deliver events.

A delivery is one body for one endpoint. Its state is `waiting`, `held`, `sending`, `delivered`,
`failed` (after all attempts; GET /v1/events?delivery_success=false lists it) or `unsent` (as if
the endpoint had not existed; nothing lists it). Rules (control.py) decide what happens to the next
deliveries.
"""
import fnmatch
import hashlib
import heapq
import hmac
import http.client
import itertools
import random
import ssl
import threading
import time
from urllib.parse import urlsplit

MOST_SENDERS = 16
MOST_ANSWER = 2000

RULES = ("hold", "drop", "fail", "twice", "delay", "shuffle", "corrupt")
CORRUPTIONS = ("signature", "body", "stale", "future", "missing", "secret")


class Endpoint:
    def __init__(self, name, url, secrets, api_version, payload="snapshot", types=("*",)):
        self.id = name
        self.url = url
        self.secrets = list(secrets)
        self.api_version = api_version
        self.payload = payload  # snapshot, thin or both
        self.types = list(types)
        self.is_enabled = True

    def takes(self, kind):
        return self.is_enabled and any(fnmatch.fnmatchcase(kind, pattern) for pattern in self.types)

    def describe(self):
        return dict(vars(self))


class Delivery:
    def __init__(self, number, endpoint, event, kind, body):
        self.number = number
        self.endpoint = endpoint
        self.event = event
        self.kind = kind
        self.body = body
        self.state = "waiting"
        self.corrupt = None
        self.attempts = []

    def describe(self):
        return {"number": self.number, "endpoint": self.endpoint.id, "event": self.event,
                "type": self.kind, "state": self.state, "attempts": list(self.attempts)}


class Rule:
    def __init__(self, do, type="*", count=None, seconds=0.0, copies=2, how="signature"):
        if do not in RULES or how not in CORRUPTIONS:
            raise ValueError(f"do is one of {RULES}, how one of {CORRUPTIONS}")
        self.do, self.type, self.left = do, type, count
        self.seconds, self.copies, self.how = float(seconds), int(copies), how

    def take(self, kind):
        if self.left == 0 or not fnmatch.fnmatchcase(kind, self.type):
            return False
        if self.left is not None:
            self.left -= 1
        return True


def sign(secrets, body, when, extra_scheme=False):
    """The value of Stripe-Signature: one v1 for each secret."""
    signed = str(int(when)).encode() + b"." + body
    parts = [f"t={int(when)}"]
    parts += ["v1=" + hmac.new(s.encode(), signed, hashlib.sha256).hexdigest() for s in secrets]
    if extra_scheme:
        parts.append("v0=" + hmac.new(b"v0", signed, hashlib.sha256).hexdigest())
    return ",".join(parts)


def signed_request(delivery, settings, when):
    """(headers, body) of an attempt, corrupted if the delivery says so."""
    body, how, secrets = delivery.body, delivery.corrupt, delivery.endpoint.secrets
    when += {"stale": -3600, "future": 3600}.get(how, 0)
    signature = sign(["whsec_of_another_endpoint"] if how == "secret" else secrets, body, when,
                     settings["extra_scheme"])
    headers = {"Content-Type": "application/json; charset=utf-8",
               "Accept": "*/*; q=0.5, application/xml",
               "Cache-Control": "no-cache",
               "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)"}
    if how == "signature":
        signature = signature[:-1] + ("0" if signature[-1] != "0" else "1")
    if how == "body":
        body = body.replace(b'"livemode": false', b'"livemode": true ', 1)
    if how != "missing":
        headers["Stripe-Signature"] = signature
    return headers, body


class Courier:
    def __init__(self, settings):
        self.settings = settings
        self.endpoints = {}
        self.rules = []
        self.deliveries = []
        self.of_event = {}
        self.heap = []
        self.order = itertools.count()
        self.busy = 0
        self.changed = threading.Condition()

    def start(self):
        for index in range(MOST_SENDERS):
            threading.Thread(target=self.work, args=(index,), daemon=True).start()

    # Called by the world.

    def post(self, endpoint, event, kind, body):
        """Adds a delivery. The rules decide whether, when and how it is sent."""
        with self.changed:
            delivery = Delivery(len(self.deliveries), endpoint, event, kind, body)
            self.deliveries.append(delivery)
            self.of_event.setdefault(event, []).append(delivery)
            wait, copies = 0.0, 1
            for rule in self.rules:
                if not rule.take(kind):
                    continue
                if rule.do in ("hold", "drop", "fail"):
                    delivery.state = {"hold": "held", "drop": "unsent", "fail": "failed"}[rule.do]
                elif rule.do == "twice":
                    copies = max(copies, rule.copies)
                elif rule.do == "corrupt":
                    delivery.corrupt = rule.how
                else:
                    wait += rule.seconds * (random.random() if rule.do == "shuffle" else 1)
            if delivery.state == "waiting":
                self.schedule(delivery, wait, copies)

    def schedule(self, delivery, wait=0.0, copies=1):
        delivery.state = "waiting"
        for _ in range(copies):
            heapq.heappush(self.heap, (time.monotonic() + wait, next(self.order), delivery))
        self.changed.notify_all()

    def pending(self, event, at_most):
        with self.changed:
            mine = self.of_event.get(event)
            if mine is None:
                return at_most
            return sum(1 for d in mine if d.state not in ("delivered", "unsent"))

    def has_succeeded(self, event):
        return self.pending(event, 0) == 0

    # Called for tests.

    def release(self, shuffled=False, reverse=False, copies=1):
        """Sends held deliveries; returns how many there were."""
        with self.changed:
            held = [d for d in self.deliveries if d.state == "held"]
            self.rules = [rule for rule in self.rules if rule.do != "hold"]
            if reverse:
                held.reverse()
            together = held * copies
            if shuffled:
                random.shuffle(together)
            for delivery in together:
                self.schedule(delivery)
            return len(held)

    def again(self, states, event=None, kind="*", copies=1, corrupt=None):
        """Sends all deliveries in one of @states again, now, with a new series of attempts."""
        with self.changed:
            chosen = [d for d in (self.of_event.get(event, []) if event else self.deliveries)
                      if d.state in states and fnmatch.fnmatchcase(d.kind, kind)]
            for delivery in chosen:
                self.heap = [entry for entry in self.heap if entry[2] is not delivery]
                heapq.heapify(self.heap)
                delivery.corrupt = corrupt
                delivery.attempts.append({"manual": True})
                self.schedule(delivery, copies=copies)
            return len(chosen)

    def settle(self, timeout_s):
        """Waits until all deliveries are done. False after the timeout."""
        end = time.monotonic() + timeout_s
        with self.changed:
            while self.heap or self.busy:
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self.changed.wait(min(left, 0.5))
            return True

    def drop(self, name):
        """Removes the endpoint. Deliveries that it did not get become `unsent`."""
        with self.changed:
            for delivery in self.deliveries:
                if delivery.endpoint.id == name and delivery.state != "delivered":
                    delivery.state = "unsent"
            self.heap = [entry for entry in self.heap if entry[2].endpoint.id != name]
            heapq.heapify(self.heap)
            self.changed.notify_all()
            return self.endpoints.pop(name)

    def forget(self):
        """Gives up all deliveries that wait for an attempt."""
        with self.changed:
            for _, _, delivery in self.heap:
                delivery.state = "failed"
            self.heap.clear()
            self.changed.notify_all()

    # The threads.

    def work(self, index):
        connections = {}
        while True:
            delivery = self.next_one(index)
            outcome = self.attempt(delivery, connections)
            with self.changed:
                self.note(delivery, outcome)
                self.busy -= 1
                self.changed.notify_all()

    def next_one(self, index):
        with self.changed:
            while True:
                is_mine = self.heap and index < self.settings["senders"]
                wait = self.heap[0][0] - time.monotonic() if is_mine else None
                if is_mine and wait <= 0:
                    _, _, delivery = heapq.heappop(self.heap)
                    delivery.state = "sending"
                    self.busy += 1
                    return delivery
                self.changed.wait(wait)

    def attempt(self, delivery, connections):
        start = time.monotonic()
        headers, body = signed_request(delivery, self.settings, time.time())
        outcome = {"at": time.time(), "status": None, "error": None}
        try:
            outcome["status"], outcome["body"] = self.send(delivery.endpoint.url, headers, body,
                                                           connections)
        except (OSError, ValueError, http.client.HTTPException) as e:
            outcome["error"] = f"{type(e).__name__}: {e}"
        outcome["elapsed_ms"] = round((time.monotonic() - start) * 1000, 1)
        return outcome

    def send(self, url, headers, body, connections):
        where = urlsplit(url)
        key = (where.scheme, where.netloc)
        kept = connections.pop(key, None)
        for connection in [kept, self.connect(where)] if kept else [self.connect(where)]:
            try:
                connection.request("POST", where.path or "/", body, headers)
                answer = connection.getresponse()
                said = answer.read()[:MOST_ANSWER].decode("utf-8", "replace")
                if not answer.will_close:
                    connections[key] = connection
                return answer.status, said
            except (OSError, ValueError, http.client.HTTPException) as e:
                connection.close()
                # A kept connection may have been closed meanwhile: try a new one.
                if connection is not kept or isinstance(e, TimeoutError):
                    raise
        raise ConnectionError("unreachable")

    def connect(self, where):
        timeout = self.settings["delivery_timeout_s"]
        if where.scheme == "https":
            return http.client.HTTPSConnection(where.hostname, where.port or 443, timeout=timeout,
                                               context=ssl._create_unverified_context())
        return http.client.HTTPConnection(where.hostname, where.port or 80, timeout=timeout)

    def note(self, delivery, outcome):
        delivery.attempts.append(outcome)
        if outcome["status"] is not None and 200 <= outcome["status"] < 300:
            delivery.state = "delivered"
        elif delivery.state == "sending":
            self.retry(delivery)

    def retry(self, delivery):
        tried = 0
        for attempt in reversed(delivery.attempts):
            if attempt.get("manual"):
                break
            tried += 1
        schedule = self.settings["delivery_retries_s"]
        if tried <= len(schedule):
            self.schedule(delivery, schedule[tried - 1])
        else:
            delivery.state = "failed"
