# SPDX-License-Identifier: BSD-2-Clause
"""fakestripe: starts the fake Stripe for a test, and wraps the calls of control.py.

    with FakeStripe() as fake:
        fake.price("price_pro", lookup_key="pro")
        fake.endpoint("http://127.0.0.1:8080/webhooks/stripe")
        fake.advance(days=31)
"""
import http.client
import json
import os
import signal
import subprocess
import sys
from urllib.parse import urlencode

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3"
STOP_S = 5


class ControlError(Exception):
    pass


class FakeStripe:
    def __init__(self, secret_key="sk_test_fake", webhook_secret="whsec_test_fake", webhook=None,
                 more=(),
                 port=0, preexec=None, log=None):
        self.secret_key, self.webhook_secret = secret_key, webhook_secret
        self.connection = None
        command = [PYTHON if os.path.exists(PYTHON) else sys.executable,
                   os.path.join(HERE, "fake.py"),
                   "--port", str(port), "--secret-key", secret_key, "--webhook-secret",
                   webhook_secret,
                   "--until-eof", *more]
        if webhook:
            command += ["--webhook", webhook]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=log, text=True, preexec_fn=preexec)
        words = self.process.stdout.readline().split()
        if words[:2] != ["listening", "on"]:
            self.stop()
            raise ControlError("the fake did not start")
        self.host, port = words[2].rsplit(":", 1)
        self.port = int(port)
        self.url = f"http://{self.host}:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.connection:
            self.connection.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def control(self, method, path, /, **fields):
        """Calls /_control@path and returns its answer."""
        target = "/_control" + path
        body = None
        if method == "GET":
            target += "?" + urlencode({k: v for k, v in fields.items() if v is not None})
        else:
            body = json.dumps(fields)
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.host, self.port, timeout=120)
        self.connection.request(method, target, body)
        answer = self.connection.getresponse()
        said = json.loads(answer.read())
        if answer.status != 200:
            raise ControlError(f"{method} {target}: {said}")
        return said

    # The clock.

    def now(self):
        return self.control("GET", "")["now"]

    def advance(self, seconds=0, minutes=0, hours=0, days=0):
        return self.control("POST", "/clock",
                            advance=seconds + 60 * minutes + 3600 * hours + 86400 * days)

    def turn_to(self, when):
        return self.control("POST", "/clock", to=when)

    def begin_at(self, when):
        """Sets the clock, also back, before there are objects."""
        return self.control("POST", "/clock", start=when)

    def renew(self, subscription):
        """Advances the clock past the end of the period and the payment of its invoice."""
        return self.control("POST", f"/subscriptions/{subscription}/renew")

    # Objects and settings.

    def settings(self, **fields):
        return self.control("POST", "/settings", **fields)

    def reset(self):
        return self.control("POST", "/reset")

    def price(self, name=None, /, **fields):
        return self.control("POST", "/prices", **({"id": name} if name else {}), **fields)

    def payments(self, customer, outcome=None, count=None):
        return self.control("POST", f"/customers/{customer}/payments", outcome=outcome, count=count)

    def pay(self, session, **fields):
        return self.control("POST", f"/checkout/{session}/pay", **fields)

    def end_async(self, session, succeeded):
        return self.control("POST", f"/checkout/{session}/async", succeeded=succeeded)

    def plans(self, *prices, **fields):
        """Lets customers change between @prices in the portal; with none, they cannot change their plan."""
        return self.control("POST", "/portal/plans", prices=prices, **fields)

    def confirm(self, session, **fields):
        """Confirms the flow of a portal session, as the customer does. @session: its ID or its URL.

        Returns {status, url, text}: the page's answer, and where it leads.
        """
        return self.control("POST", f"/portal/{session.rsplit('/', 1)[-1]}/confirm", **fields)

    def seed(self, count, price, **fields):
        return self.control("POST", "/seed", count=count, price=price, **fields)["made"]

    def emit(self, kind, obj, /, **fields):
        return self.control("POST", "/emit", type=kind, object=obj, **fields)

    def charge(self, customer, **fields):
        return self.control("POST", "/charges", customer=customer, **fields)

    def dispute(self, charge, status="needs_response"):
        return self.control("POST", "/disputes", charge=charge, status=status)

    def move_dispute(self, name, status):
        return self.control("POST", f"/disputes/{name}", status=status)

    def fail_refund(self, name):
        return self.control("POST", f"/refunds/{name}/fail")

    def usage(self, meter=None, customer=None):
        return self.control("GET", "/usage", meter=meter, customer=customer)

    # Events.

    def endpoint(self, url=None, **fields):
        """Adds an endpoint; with id=, changes that endpoint."""
        if url:
            fields["url"] = url
        if "id" not in fields:
            fields.setdefault("secrets", [self.webhook_secret])
        return self.control("POST", "/endpoints", **fields)

    def deliveries(self, **fields):
        return self.control("GET", "/deliveries", **fields)["deliveries"]

    def rule(self, do, **fields):
        return self.control("POST", "/deliveries/rules", do=do, **fields)

    def no_rules(self):
        return self.control("DELETE", "/deliveries/rules")

    def release(self, **fields):
        return self.control("POST", "/deliveries/release", **fields)["released"]

    def again(self, **fields):
        return self.control("POST", "/deliveries/again", **fields)["sent"]

    def forget(self):
        return self.control("POST", "/deliveries/forget")

    def settle(self, timeout=10):
        return self.control("POST", "/settle", timeout=timeout)["settled"]

    # Faults.

    def fault(self, **fields):
        return self.control("POST", "/faults", **fields)

    def no_faults(self):
        return self.control("DELETE", "/faults")

    def down(self, how="reset"):
        return self.control("POST", "/down", how=how)

    def up(self):
        return self.control("POST", "/down", how=None)

    def calls(self, method=None, path=None, since=None):
        return self.control("GET", "/calls", method=method, path=path, since=since)["calls"]
