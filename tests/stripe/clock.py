# SPDX-License-Identifier: BSD-2-Clause
"""clock: the fake's own time, which tests advance, and its timers.

Time is the host's plus an offset. When a test advances the clock, all timers on the way run in
order, and while one runs, the clock shows its time. All of this happens under the world's lock.
"""
import calendar
import heapq
import itertools
import threading
import time
import traceback

HOUR = 3600
DAY = 24 * HOUR


class Timer:
    __slots__ = ("at", "run", "is_off")

    def __init__(self, at, run):
        self.at = at
        self.run = run
        self.is_off = False


class Clock:
    def __init__(self, lock):
        self.changed = threading.Condition(lock)
        self.offset_s = 0.0
        self.held = None  # the time of the timer that is running
        self.heap = []
        self.order = itertools.count()

    def now(self):
        """In whole seconds, as in Stripe's objects."""
        return int(self.exact())

    def exact(self):
        return time.time() + self.offset_s if self.held is None else self.held

    def at(self, when, run, is_first=False):
        """@is_first: before the other timers of that time."""
        timer = Timer(when, run)
        heapq.heappush(self.heap, (when, not is_first, next(self.order), timer))
        self.changed.notify()
        return timer

    def advance_to(self, when):
        self.run_until(when)
        self.offset_s = max(self.offset_s, when - time.time())
        self.changed.notify()

    def run_until(self, when):
        while self.heap and self.heap[0][0] <= when:
            at, _, _, timer = heapq.heappop(self.heap)
            if timer.is_off:
                continue
            timer.is_off = True
            self.held = max(at, self.held or 0)
            try:
                timer.run()
            except Exception:  # a bug of the fake must not stop the clock
                traceback.print_exc()
            finally:
                self.held = None

    def tick(self):
        """The body of a thread that runs timers as they become due."""
        with self.changed:
            while True:
                self.run_until(self.exact())
                wait = self.heap[0][0] - self.exact() if self.heap else None
                self.changed.wait(wait if wait is None else min(max(wait, 0.001), 3600))


def add_interval(start, interval, count):
    """@count intervals after @start. In a month without that day, the last day of the month."""
    if interval in ("day", "week"):
        return start + count * DAY * (7 if interval == "week" else 1)
    t = time.gmtime(start)
    months = t.tm_year * 12 + t.tm_mon - 1 + count * (12 if interval == "year" else 1)
    year, month = months // 12, months % 12 + 1
    day = min(t.tm_mday, calendar.monthrange(year, month)[1])
    return calendar.timegm((year, month, day, t.tm_hour, t.tm_min, t.tm_sec))


def iso(when):
    """A time as in v2 objects: 2024-09-26T17:46:22.134Z."""
    whole = int(when)
    return time.strftime("%Y-%m-%dT%H:%M:%S",
                         time.gmtime(whole)) + f".{int((when - whole) * 1000):03d}Z"
