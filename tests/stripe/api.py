# SPDX-License-Identifier: BSD-2-Clause
"""api: carries out one call of Stripe's API, from the request to the answer.

In this order: down mode, faults that replace the answer, the rate limit, authentication, the
idempotency key, the parameters, the endpoint, and faults that lose the answer.
"""
import base64
import hmac
import re
import time
from email.utils import formatdate

import accepted
import form
import simulated
from errors import ApiError, invalid
from faults import CallLog, Faults
from idempotency import Idempotency
from params import check_hash
from render import expanded
from routes import Call, find
from server import RESET, Answer

VERSION = re.compile(r"20\d\d-\d\d-\d\d(\.[a-z]+)?")
HANG_S = 120


class Api:
    def __init__(self, world):
        self.world = world
        self.faults = Faults()
        self.log = CallLog()
        self.idempotency = Idempotency(world.real)
        self.busy_meters = set()

    def handle(self, request):
        try:
            pairs = form.pairs(request.query) + self.body_pairs(request)
        except ValueError:
            pairs = []
        entry = self.log.open(request, pairs)
        answer = self.answer(request, pairs, entry)
        self.log.close(entry, answer)
        return answer

    @staticmethod
    def body_pairs(request):
        return form.pairs(request.body.decode()) if is_form(request) else []

    def answer(self, request, pairs, entry):
        down = self.faults.down
        if down == "hang":
            self.faults.up.wait(HANG_S)
            return RESET
        if down:
            return RESET if down == "reset" else self.dress(Answer(int(down), "down\n",
                                                                   kind="text/plain"))
        fault = self.faults.take(request.method, request.path,
                                 request.headers.get("user-agent", ""))
        key = request.method == "POST" and request.get("idempotency-key")
        entry["fault"] = fault and (fault.status or ("reset" if fault.reset else "delay"))
        began = False
        meter = None
        try:
            if self.faults.is_over(self.world.settings["calls_per_second"]):
                raise too_many("Request rate limit exceeded. Learn more about rate limits here: "
                               "https://stripe.com/docs/rate-limits.")
            self.check_caller(request)
            meter = self.claim_meter(request, pairs)
            call = (request.method, request.path, sorted(pairs))
            kept = None
            if key:
                with self.world.lock:
                    kept = self.idempotency.begin(key, call)
                began = kept is None
            entry["replayed"] = kept is not None
            return self.carry_out(request, pairs, fault, (key, call), kept)
        except ApiError as e:
            return self.dress(failure(e), request)
        finally:
            if began:
                with self.world.lock:
                    self.idempotency.end(key)
            self.busy_meters.discard(meter)

    def carry_out(self, request, pairs, fault, identity, kept):
        """@identity is (key, call). @kept is the answer kept under the key, or None."""
        if fault and fault.when == "before":
            time.sleep(fault.delay_s)
            if fault.is_ending:
                return self.spoil(fault, *identity)
        answer = self.again(kept) if kept else self.first(request, pairs, *identity)
        if fault and fault.when == "after":
            time.sleep(fault.delay_s)
        if fault and fault.is_ending:
            return self.spoil(fault, *identity)
        if fault and fault.cut is not None:
            answer = copy_of(answer)
            answer.cut = fault.cut
        return answer

    def first(self, request, pairs, key, call):
        with self.world.lock:
            answer, is_kept = self.execute(request, pairs, key)
            if key and is_kept:
                self.idempotency.keep(key, call, answer)
        return answer

    def spoil(self, fault, key, call):
        answer = fault.answer()
        if answer is RESET:
            return RESET
        answer = self.dress(answer)
        if key and fault.saved:
            with self.world.lock:
                self.idempotency.keep(key, call, answer)
        return answer

    def execute(self, request, pairs, key):
        """Returns (answer, whether to keep it under the key)."""
        world = self.world
        request_id = world.new_id("req", 14)
        world.request = {"id": request_id, "idempotency_key": key or None}
        try:
            shown, version = self.run(request, pairs)
            answer, is_kept = Answer.of_json(200, shown), True
            answer.headers["Stripe-Version"] = version
        except ApiError as e:
            answer, is_kept = failure(e), e.kept
        finally:
            world.request = None
        if key:
            answer.headers["Idempotency-Key"] = key
            answer.headers["Original-Request"] = request_id
        return self.dress(answer, request, request_id), is_kept

    def run(self, request, pairs):
        version = request.get("stripe-version") or self.world.settings["api_version"]
        if not VERSION.fullmatch(version):
            raise ApiError(400, f"Invalid Stripe API version: {version}.", kept=False)
        is_v2 = request.path.startswith("/v2/")
        if request.body and is_form(request) == is_v2:
            wanted = "application/json" if is_v2 else "application/x-www-form-urlencoded"
            raise invalid(f"Invalid request (check that your POST content type is {wanted}).")
        found = find(request.method, request.path, version)
        if not found:
            raise ApiError(404,
                           f"Unrecognized request URL ({request.method}: {request.path}). Please see "
                           "https://stripe.com/docs or we can help at https://support.stripe.com/.",
                           "url_invalid", kept=False)
        one, names = found
        given = form.of_json(request.body) if is_v2 and request.body else form.nest(pairs)
        accepted.check(one.method, one.pattern, version, one.spec, given)
        params = check_hash(one.spec, given)
        paths = params.pop("expand", [])
        ids = [*names, *simulated.ids_in(params)]
        with simulated.acting(self.world, ids):
            result = one.function(self.world, Call(request.method, request.path, params, version), *names)
            shown = expanded(self.world, result, version, paths)
        return shown, version

    def check_caller(self, request):
        kind, _, token = request.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                token = base64.b64decode(token, validate=True).decode().partition(":")[0]
            except ValueError:
                token = ""
        elif kind.lower() != "bearer":
            raise unknown_caller("You did not provide an API key. You need to provide your API key in the "
                                 "Authorization header, using Bearer auth (e.g. 'Authorization: Bearer "
                                 "YOUR_SECRET_KEY').")
        if not any(hmac.compare_digest(token.encode(),
                                       known.encode()) for known in self.world.secret_keys):
            raise unknown_caller(f"Invalid API Key provided: {token[:8]}{'*' * 8}{token[-4:]}")

    def claim_meter(self, request, pairs):
        """Like Stripe, allows only one call at a time for each customer and meter."""
        if (request.method, request.path) != ("POST", "/v1/billing/meter_events"):
            return None
        params = dict(pairs)
        meter = (params.get("event_name"), params.get("payload[stripe_customer_id]"))
        with self.world.lock:
            if meter in self.busy_meters:
                raise too_many("Another call for this customer and meter is in progress.",
                               "lock_timeout")
            self.busy_meters.add(meter)
        return meter

    def again(self, kept):
        answer = copy_of(kept)
        answer.headers["Idempotent-Replayed"] = "true"
        return self.dress(answer)

    def dress(self, answer, request=None, request_id=None):
        answer.headers["Date"] = formatdate(self.world.real.exact(), usegmt=True)
        answer.headers.setdefault("Request-Id", request_id or self.world.new_id("req", 14))
        if request and request.get("stripe-version"):
            answer.headers.setdefault("Stripe-Version", request.get("stripe-version"))
        return answer


def is_form(request):
    kind = request.get("content-type", "application/x-www-form-urlencoded")
    return kind.split(";")[0].strip().lower() == "application/x-www-form-urlencoded"


def failure(error):
    return Answer.of_json(error.status, {"error": error.body}, error.headers)


def copy_of(answer):
    copy = Answer(answer.status, answer.body, answer.headers)
    return copy


def unknown_caller(message):
    return ApiError(401, message, kept=False, headers={"WWW-Authenticate": 'Bearer realm="Stripe"'})


def too_many(message, code="rate_limit"):
    return ApiError(429, message, code, kept=False, headers={"Stripe-Should-Retry": "true"})
