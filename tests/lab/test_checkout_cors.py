# SPDX-License-Identifier: BSD-2-Clause
"""A script of the operator's own web site starts the checkout."""
import http.server
import json
import threading
from urllib.parse import urlsplit

import pytest

from agent import Account
from billing import Billing
from shopper import Shopper
from test_portal_browser import Browser, pytestmark  # noqa: F401
from test_selling import APP_URL

SITE = "https://www.example.com"
JSON = {"Content_Type": "application/json", "Accept": "application/json"}


@pytest.fixture
def shopper(make):
    billing = Billing(make, stripe={"app_url": APP_URL, "checkout_origins": [SITE, "http://localhost:1"]})
    shopper = Shopper(billing.agent)
    shopper.billing = billing
    return shopper


def permission(page):
    return (page.get("Access-Control-Allow-Origin"), page.get("Access-Control-Allow-Credentials"))


def test_listed_sites_may_read_answers_and_errors(shopper):
    for ask in (lambda **h: shopper.ask("POST", "/checkout", '{"tier": "basic"}', **JSON, **h),
                lambda **h: shopper.ask("POST", "/checkout", '{"tier": "none"}', **JSON, **h),
                lambda **h: shopper.ask("POST", "/checkout", '{', **JSON, **h),
                lambda **h: shopper.get("/pricing?format=json", **h)):
        assert permission(ask(Origin=SITE)) == (SITE, "true")
        assert "Origin" in ask(Origin=SITE).all("Vary") and "Origin" in ask().all("Vary")
        for other in (None, "https://www.example.org", SITE + ".evil.com", SITE.upper(), "http://www.example.com", "null",
                      SITE + ":8443"):
            assert permission(ask(Origin=other)) == (None, None), other
    assert permission(shopper.get("/dashboard", Origin=SITE)) == (None, None)


def test_listed_sites_may_read_every_refusal(shopper):
    cases = [(405, "DELETE", "/checkout", None, {}), (405, "POST", "/pricing", "{}", JSON),
             (415, "POST", "/checkout", "{}", {"Content_Type": "text/plain"})]
    shopper.billing.fake.down()
    cases += [(502, "POST", "/checkout", '{"tier": "basic"}', JSON), (429, "POST", "/checkout", '{"tier": "basic"}', JSON)]
    for status, method, path, body, headers in cases:
        page = shopper.ask(method, path, body, Origin=SITE, **headers)
        for _ in range(40):
            if page.status == status or status != 429:
                break
            page = shopper.ask(method, path, body, Origin=SITE, **headers)
        assert (page.status, *permission(page)) == (status, SITE, "true"), (status, method, path)
        assert "Origin" in page.all("Vary")


def test_sites_that_are_not_listed_can_only_send_forms(shopper):
    """A form needs no permission, because the visitor goes to Stripe's page. A script learns nothing."""
    other = {"Origin": "https://www.example.org", "Sec_Fetch_Site": "cross-site"}
    page = shopper.ask("POST", "/checkout", "tier=basic", Content_Type="application/x-www-form-urlencoded", **other)
    assert page.status == 303 and permission(page) == (None, None)
    # Without asking first, a browser's script can send only forms and plain text.
    page = shopper.ask("POST", "/checkout", '{"tier": "basic"}', Content_Type="text/plain", **other)
    assert page.status == 415 and permission(page) == (None, None)


def test_preflights(shopper):
    for path in ("/checkout", "/pricing"):
        page = shopper.ask("OPTIONS", path, Origin=SITE, Access_Control_Request_Method="POST",
                           Access_Control_Request_Headers="content-type")
        assert page.status == 204 and permission(page) == (SITE, "true") and not page.text
        assert page.get("Access-Control-Allow-Methods") == "GET, POST"
        assert "Content-Type" in page.get("Access-Control-Allow-Headers")
        page = shopper.ask("OPTIONS", path, Origin="https://evil.example", Access_Control_Request_Method="POST")
        assert page.status == 204 and permission(page) == (None, None)
        assert page.get("Access-Control-Allow-Methods") is None
    assert shopper.ask("OPTIONS", "/dashboard", Origin=SITE).status == 405


PAGE = """<!doctype html><title>shop</title><body><script>
fetch("%s/checkout", {method: "POST", credentials: "include", headers: {"Content-Type": "application/json",
      "Accept": "application/json"}, body: JSON.stringify({tier: "basic"})})
  .then(answer => answer.json()).then(said => { document.body.textContent = "URL " + said.url; })
  .catch(error => { document.body.textContent = "FAILED " + error; });
</script></body>"""


class Shop:
    """A web site whose page starts a checkout at once."""

    def __init__(self, api):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = (PAGE % api).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.url_of_other_site = f"http://localhost:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def test_a_browser_lets_listed_sites_check_out(make, tmp_path):
    billing = Billing(make, start=False, stripe={"app_url": APP_URL})
    billing.agent.configure()
    shop = Shop(billing.agent.url(""))
    browser = Browser(tmp_path, with_scripts=True)
    try:
        billing.agent.configure(stripe={**billing.agent.config["stripe"], "checkout_origins": [shop.url]})
        billing.agent.start()
        browser.driver.get(shop.url)
        browser.wait_text(f"URL {billing.fake.url}/c/pay/")
        # The same host, so the same site: the browser has the cookie, and the customer gets the key there.
        session = billing.fake.calls("POST", "/v1/checkout/sessions")[-1]
        assert session["params"]["line_items[0][price]"] == "price_basic"
        name = browser.text().rsplit("/", 1)[1]
        billing.fake.pay(name)
        browser.driver.get(billing.agent.url(f"/dashboard?session_id={name}"))
        browser.wait_text("Show my API key")
        billing.agent.configure(stripe={**billing.agent.config["stripe"], "checkout_origins": ["http://127.0.0.1:1"]})
        billing.agent.reload()
        browser.driver.get(shop.url + "/again")
        browser.wait_text("FAILED")
    finally:
        browser.close()
        shop.close()


def test_a_claim_link_serves_the_customers_of_another_site(make, tmp_path):
    """The browser lets the script of the other site check out, but keeps no cookie for it."""
    billing = Billing(make, start=False, stripe={"app_url": APP_URL})
    billing.agent.configure()
    shop = Shop(billing.agent.url(""))
    browser = Browser(tmp_path, with_scripts=True)
    try:
        billing.agent.configure(stripe={**billing.agent.config["stripe"], "checkout_origins": [shop.url_of_other_site]})
        billing.agent.start()
        browser.driver.get(shop.url_of_other_site)
        browser.wait_text(f"URL {billing.fake.url}/c/pay/")
        session = browser.text().rsplit("/", 1)[1]
        billing.fake.pay(session)
        browser.driver.get(billing.agent.url(f"/dashboard?session_id={session}"))
        browser.wait_text("only in the browser in which the checkout was started")
        answer = billing.agent.admin("POST", "/api/v1/claims", {"checkout_session": session})
        url = urlsplit(json.loads(answer.body)["url"])
        browser.driver.get(billing.agent.url(f"{url.path}?{url.query}"))
        browser.click("main button")
        browser.wait_text("Your API key")
        key = browser.find("#key").text
        assert billing.agent.get("/", Account("", key, "")).status == 200
        browser.driver.get(billing.agent.url("/dashboard"))
        browser.wait_text(billing.accounts()[0]["id"])  # signed in
        assert browser.violations() == []
    finally:
        browser.close()
        shop.close()
