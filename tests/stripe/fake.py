# SPDX-License-Identifier: BSD-2-Clause
"""fake: a fake Stripe for tests and demos.

    python3 fake.py --port 0 --secret-key sk_test_x --webhook-secret whsec_x --webhook http://host/path

It prints "listening on 127.0.0.1:PORT" when it accepts calls. All state is in memory. It accepts
and answers what Stripe's own libraries send and expect; control.py lists what tests can control.
Reading order: world (all objects), clock, subscription (its life cycle), invoices, checkout,
meters, events, delivery, then api and server.
"""
import argparse
import os
import signal
import sys
import threading
import traceback

import api
import catalog  # noqa: F401  (these modules add their endpoints to the table)
import endpoints_api  # noqa: F401
import entitlements  # noqa: F401
import event_api  # noqa: F401
import pages
from control import Control
from delivery import Courier, Endpoint
from server import Answer, Server
from world import World

PAGES = ("/c/", "/p/", "/i/")
ENDING = (signal.SIGINT, signal.SIGTERM)


def arguments():
    parser = argparse.ArgumentParser(description="A fake Stripe for tests.")
    parser.add_argument("--port", type=int, default=12111, help="0: any")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--secret-key", action="append", default=[],
                        help="more than one is allowed")
    parser.add_argument("--webhook-secret", action="append", default=[],
                        help="may be given several times, as while a secret is rolled")
    parser.add_argument("--webhook", help="the URL that gets events; can also be set later with a control call")
    parser.add_argument("--webhook-version", help="the API version of the webhook's events")
    parser.add_argument("--payload", choices=("snapshot", "thin", "both"), default="snapshot")
    parser.add_argument("--public-url",
                        help="the beginning of the pages' URLs, as a browser sees it")
    parser.add_argument("--until-eof", action="store_true", help="end when the standard input does")
    return parser.parse_args()


def main():
    options = arguments()
    # Before any thread starts, so that signals go only to this one.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    handlers = {}
    server = Server((options.address, options.port), lambda request: route(request, handlers))
    world = World(options.secret_key or ["sk_test_x"],
                  options.public_url or f"http://{options.address}:{server.port}")
    courier = Courier(world.settings)
    world.events.courier = courier
    if options.webhook:
        courier.endpoints["we_first"] = Endpoint(
            "we_first", options.webhook, options.webhook_secret or ["whsec_x"],
            options.webhook_version or world.settings["api_version"], options.payload)
    stripe = api.Api(world)
    handlers.update(world=world, api=stripe, control=Control(world, stripe, courier))
    courier.start()
    for body in (world.real.tick, server.run):
        threading.Thread(target=body, daemon=True).start()
    if options.until_eof:
        threading.Thread(target=end_with_input, daemon=True).start()
    print(f"listening on {options.address}:{server.port}", flush=True)
    signal.sigwait(ENDING)
    return 0


def end_with_input():
    """Ends the fake when the process that started it is gone, for whatever reason."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def route(request, handlers):
    try:
        return dispatch(request, handlers)
    except Exception:  # a bug of the fake: log it, and answer with a status that no test expects
        traceback.print_exc()
        return Answer(500, "the fake is broken\n", kind="text/plain")


def dispatch(request, handlers):
    if request.path.startswith("/_control"):
        return handlers["control"].handle(request)
    if request.path.startswith(PAGES):
        return pages.handle(handlers["world"], request)
    if not request.path.startswith(("/v1/", "/v2/")):
        return Answer(404, "nothing here\n", kind="text/plain")
    return handlers["api"].handle(request)


if __name__ == "__main__":
    sys.exit(main())
