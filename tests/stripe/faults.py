# SPDX-License-Identifier: BSD-2-Clause
"""faults: faults that tests inject into calls, the rate limit, and the log of all calls.

A fault applies to the next `count` calls that match. It waits `delay` seconds, and then answers
with `status` (and `headers`, `code`, or a raw `body`) or resets the connection. With `when`
`before`, the call is not carried out; with `after`, it is, but its answer is lost (a `delay` alone
then holds back the answer, not the call). With `saved`,
the answer is kept under the idempotency key and repeated for the same key, as Stripe does with a
real 500. With `every` n, only each n-th call that matches fails; `agent` must be found in User-Agent.
"""
import collections
import json
import re
import threading
import time

from server import RESET, Answer

MOST_CALLS = 200000
DEFAULT_CODES = {409: "lock_timeout", 429: "rate_limit"}


class Fault:
    def __init__(self, count=1, method=None, path=None, status=None, code=None, message=None,
                 body=None,
                 headers=None, reset=False, when="before", delay=0.0, cut=None, saved=False,
                 skip=0, every=1, agent=None):
        if when not in ("before", "after"):
            raise ValueError("when is before or after")
        self.left, self.skip, self.every, self.seen = count, skip, every, 0
        self.agent = agent and re.compile(agent)
        self.method, self.path = method, path and re.compile(path)
        self.status, self.code, self.message, self.body = status, code, message, body
        self.headers = headers or {}
        self.reset, self.when, self.delay_s = reset, when, float(delay)
        self.cut, self.saved = cut, saved

    def matches(self, method, path, agent=""):
        if not ((self.method or method) == method and (not self.path or self.path.search(path))
                and (not self.agent or self.agent.search(agent))):
            return False
        self.seen += 1
        return self.seen % self.every == 0

    @property
    def is_ending(self):
        return self.reset or self.status is not None

    def answer(self):
        if self.reset:
            return RESET
        if self.body is not None:
            return Answer(self.status, self.body, self.headers,
                          self.headers.get("Content-Type", "text/html"))
        kind = "api_error" if self.status >= 500 else "invalid_request_error"
        error = {"type": kind, "message": self.message or f"Injected {self.status}."}
        code = self.code or DEFAULT_CODES.get(self.status)
        if code:
            error["code"] = code
        return Answer(self.status, json.dumps({"error": error}), self.headers)


class Faults:
    def __init__(self):
        self.lock = threading.Lock()
        self.faults = []
        self.down = None  # None, "reset", "hang", or a status
        self.up = threading.Event()
        self.up.set()
        self.second, self.calls_in_second = 0, 0

    def take(self, method, path, agent=""):
        with self.lock:
            for fault in self.faults:
                if not fault.matches(method, path, agent):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.left == 0:
                    continue
                if fault.left is not None:
                    fault.left -= 1
                return fault
        return None

    def set_down(self, how):
        with self.lock:
            self.down = how
            if how == "hang":
                self.up.clear()
            else:
                self.up.set()

    def is_over(self, calls_per_second):
        if not calls_per_second:
            return False
        with self.lock:
            second = int(time.monotonic())
            if second != self.second:
                self.second, self.calls_in_second = second, 0
            self.calls_in_second += 1
            return self.calls_in_second > calls_per_second


class CallLog:
    """Logs every call, but never its secret key."""

    KEPT_HEADERS = ("stripe-version", "idempotency-key", "content-type", "user-agent",
                    "stripe-account")

    def __init__(self):
        self.lock = threading.Lock()
        self.calls = collections.deque(maxlen=MOST_CALLS)
        self.next = 0

    def open(self, request, pairs):
        call = {"path": request.path, "method": request.method, "params": dict(pairs),
                "time": time.time(),
                "headers": {name: request.headers[name] for name in self.KEPT_HEADERS
                            if name in request.headers},
                "status": None, "replayed": False, "fault": None}
        with self.lock:
            call["number"] = self.next
            self.next += 1
            self.calls.append(call)
        return call

    @staticmethod
    def close(call, answer):
        call["status"] = "reset" if answer is RESET else answer.status
        call["elapsed_ms"] = round((time.time() - call["time"]) * 1000, 1)

    def matching(self, method=None, path=None, since=0):
        pattern = re.compile(path or "")
        with self.lock:
            return [dict(call) for call in self.calls if call["number"] >= since
                    and (method or call["method"]) == call["method"] and pattern.search(call["path"])]
