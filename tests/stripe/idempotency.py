# SPDX-License-Identifier: BSD-2-Clause
"""idempotency: keeps the first answer under a key, and repeats it if the call is repeated.

Answers are kept for 24 hours by the fake's clock. A call that was not started keeps nothing.
"""
from clock import DAY
from errors import ApiError, invalid

MOST_KEY = 255


class Idempotency:
    def __init__(self, clock):
        self.clock = clock
        self.kept = {}
        self.running = set()

    def begin(self, key, call):
        """The kept answer, or None; then the call is in progress until end()."""
        if len(key) > MOST_KEY:
            raise invalid("Idempotency keys must be at most 255 characters long.")
        if key in self.running:
            raise ApiError(409,
                           "There is currently another in-progress request using this Idempotent Key "
                           "(that probably means you submitted twice, and the other request is still going "
                           "through).", "idempotency_key_in_use", type="idempotency_error",
                           kept=False)
        found = self.kept.get(key)
        if found and self.clock.exact() - found[0] < DAY:
            if found[1] != call:
                raise ApiError(400,
                               "Keys for idempotent requests can only be used with the same parameters "
                               "they were first used with. Try using a key other than "
                               f"'{key}' if you meant to execute a different request.",
                               type="idempotency_error", kept=False)
            return found[2]
        self.running.add(key)
        return None

    def keep(self, key, call, answer):
        self.kept[key] = (self.clock.exact(), call, answer)

    def end(self, key):
        self.running.discard(key)
