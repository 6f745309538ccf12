# SPDX-License-Identifier: BSD-2-Clause
"""Customers buy access, claim their key and manage their keys."""
import contextlib
import html
import http.client
import json
import threading
import time

import pytest
import stripe

from agent import Account
from billing import SECRET_KEY, TIERS, Billing
from lab import wait_until
from shopper import Shopper

APP_URL = "http://127.0.0.1:1"  # nothing listens there; only Stripe gets this URL


def sell(make, **config):
    stripe = {"app_url": APP_URL, **config.pop("stripe", {})}
    return Billing(make, stripe=stripe, **config)


@pytest.fixture
def billing(make):
    return sell(make)


@pytest.fixture
def shopper(billing):
    return Shopper(billing.agent)


def paid(billing, shopper, tier="basic", **fields):
    session = shopper.buy(tier)
    billing.fake.pay(session, **fields)
    return session


def works(billing, key):
    return billing.agent.get("/", Account("", key, "")).status


# Pricing.

def test_pricing_shows_what_tiers_sell(billing, shopper):
    page = wait_until(lambda: (p := shopper.get("/pricing")) and "$10" in p.text and
                      "$50" in p.text and p, "prices")
    assert page.status == 200 and page.get("Content-Type") == "text/html; charset=utf-8"
    assert "$50" in page.text and "100 requests per second, bursts up to 100" in page.text
    assert "100,000 requests per month" in page.text and "Includes export" in page.text
    assert "plain" not in [f["tier"] for _, f in page.forms()]  # that tier has no price
    assert "<script" not in page.text
    policy = page.get("Content-Security-Policy")
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert f"form-action 'self' https://checkout.stripe.com https://billing.stripe.com {billing.fake.url}" in policy


def test_prices_are_shown_as_people_read_them(make):
    tiers = [{"name": "bulk", "prices": ["price_bulk"], "meter": "m"},
             {"name": "steps", "prices": ["price_steps"], "meter": "m"},
             {"name": "pro", "prices": ["price_month", "price_year"]}]
    billing = sell(make, tiers=tiers)
    billing.fake.price("price_bulk", unit_amount=500, meter="m", transform_quantity={"divide_by": 1000, "round": "up"})
    billing.fake.price("price_steps", meter="m", unit_label="page", tiers_mode="graduated",
                       tiers=[{"up_to": 10000, "unit_amount": 0}, {"up_to": "inf", "unit_amount_decimal": "0.1"}])
    billing.fake.price("price_month", unit_amount=49900)
    billing.fake.price("price_year", unit_amount=499000, interval="year")
    shopper = Shopper(billing.agent)
    wait_until(lambda: "$4,990" in shopper.get("/pricing").text, "the prices")
    text = shopper.get("/pricing").text
    for words in ("$5</p>", "per 1,000 requests, billed monthly", "Pay per page", "First 10,000 pages: free",
                  "Beyond 10,000: $0.001 per page", "$499</p>", "per month", "per year", "Get pro, monthly",
                  "Get pro, yearly"):
        assert words in text, words


def test_a_product_sells_only_its_default_price(make):
    """Other prices may be meant for a single customer."""
    billing = sell(make, tiers=[{"name": "gold", "prices": ["prod_gold"]}])
    billing.fake.price("price_public", product="prod_gold", unit_amount=9900)
    billing.fake.price("price_private", product="prod_gold", unit_amount=100)  # the newer one
    shopper = Shopper(billing.agent)
    wait_until(lambda: "$99" in shopper.get("/pricing").text, "the price")
    assert "$1" not in shopper.get("/pricing").text
    assert [f["price"] for _, f in shopper.get("/pricing").forms()] == ["prod_gold"]
    billing.fake.pay(shopper.buy("gold"))
    (call,) = billing.fake.calls("POST", "/v1/checkout/sessions")
    assert call["params"]["line_items[0][price]"] == "price_public"
    assert shopper.ask("POST", "/checkout", "tier=gold&price=price_private",
                       Content_Type="application/x-www-form-urlencoded").status == 400
    # The private one has the same tier.
    billing.wait_account(billing.subscribe("price_private").id, tier="gold", entitled=True)


def test_a_product_without_a_default_price_sells_nothing(make):
    billing = sell(make, tiers=[{"name": "gold", "prices": ["prod_gold"]}])
    stripe.Product.create(id="prod_gold", name="Gold", **billing.auth())
    stripe.Price.create(product="prod_gold", currency="usd", unit_amount=9900, recurring={"interval": "month"},
                        **billing.auth())
    shopper = Shopper(billing.agent)
    assert shopper.ask("POST", "/checkout", "tier=gold",
                       Content_Type="application/x-www-form-urlencoded").status >= 400
    assert not billing.fake.calls("POST", "/v1/checkout/sessions")


def test_pricing_as_json(billing, shopper):
    for ask in ({"target": "/pricing?format=json"}, {"target": "/pricing", "Accept": "application/json"}):
        page = shopper.get(**ask)
        assert page.get("Content-Type") == "application/json"
        tiers = {t["name"]: t for t in page.json()["tiers"]}
        assert sorted(tiers) == ["basic", "metered", "pro"]
        assert tiers["basic"]["rate"] == "100/s" and tiers["basic"]["quota"] == 100000
        assert tiers["pro"]["features"] == ["export"]
    wait_until(lambda: shopper.get("/pricing?format=json").json()["tiers"][1]["prices"] == [
        {"price": "pro_monthly", "id": "price_pro", "currency": "USD", "amount": "50.00", "interval": "month",
         "interval_count": 1, "usage": "licensed"}], "the price behind a lookup key")


def test_prices_follow_stripe(billing, shopper):
    wait_until(lambda: "$50" in shopper.get("/pricing").text, "the first price")
    billing.fake.price("price_new", lookup_key="pro_monthly", transfer_lookup_key=True, unit_amount=7700)
    wait_until(lambda: "$77" in shopper.get("/pricing").text, "the new price")


def test_the_page_works_while_stripe_is_down(make):
    billing = sell(make, start=False)
    billing.fake.down()
    billing.agent.start()
    shopper = Shopper(billing.agent)
    page = shopper.get("/pricing")
    assert page.status == 200 and "Price at checkout" in page.text
    failed = shopper.submit(page, "/checkout", tier="basic")
    assert failed.status == 502 and "start the checkout, and you have not been charged" in failed.text
    assert SECRET_KEY not in failed.text + billing.agent.log()


# Checkout.

def test_checkout_sends_the_order_to_stripe(billing, shopper):
    answer = shopper.post("/checkout", {"tier": "basic", "customer_email": "ann@example.com",
                                        "client_reference_id": "user-7"}, Accept="*/*")
    assert answer.status == 303 and answer.get("Location").startswith(billing.fake.url)
    call = billing.fake.calls("POST", "/v1/checkout/sessions")[-1]["params"]
    assert call == {
        "mode": "subscription", "line_items[0][price]": "price_basic", "line_items[0][quantity]": "1",
        "success_url": APP_URL + "/dashboard?session_id={CHECKOUT_SESSION_ID}", "cancel_url": APP_URL + "/pricing",
        "customer_email": "ann@example.com", "client_reference_id": "user-7",
        "metadata[source]": "api_subscription", "subscription_data[metadata][source]": "api_subscription"}


def test_metered_prices_have_no_quantity(billing, shopper):
    assert shopper.post("/checkout", {"price": "price_metered"}).status == 303
    call = billing.fake.calls("POST", "/v1/checkout/sessions")[-1]["params"]
    assert call["line_items[0][price]"] == "price_metered" and "line_items[0][quantity]" not in call


def test_programs_get_the_url(billing, shopper):
    answer = shopper.ask("POST", "/checkout", json.dumps({"price": "pro_monthly"}), Accept="application/json",
                         Content_Type="application/json")
    assert answer.status == 200 and answer.json()["url"].startswith(billing.fake.url)
    keys = [c["headers"]["idempotency-key"] for c in billing.fake.calls("POST", "/v1/checkout/sessions")]
    shopper.post("/checkout", {"price": "pro_monthly"})
    again = billing.fake.calls("POST", "/v1/checkout/sessions")[-1]["headers"]["idempotency-key"]
    assert again and again not in keys  # each click is a new order


@pytest.mark.parametrize("fields", [
    {}, {"price": "price_other"}, {"tier": "plain"}, {"tier": "none"}, {"tier": "basic", "price": "pro_monthly"},
    {"tier": "basic", "customer_email": "nobody"}, {"tier": "basic", "customer_email": "a@b\r\nBcc: c@d"},
    {"tier": "basic", "client_reference_id": "<x>"}, {"price": "x" * 5000}])
def test_orders_of_things_not_for_sale_are_refused(billing, shopper, fields):
    answer = shopper.post("/checkout", fields, Accept="*/*")
    assert answer.status == 400 and answer.get("Content-Type") == "application/problem+json"
    assert not billing.fake.calls("POST", "/v1/checkout/sessions")


def test_malformed_bodies_are_refused(billing, shopper):
    for body, kind, status in (("{", "application/json", 400), ("[]", "application/json", 400),
                               ("tier=%zz", "application/x-www-form-urlencoded", 400),
                               ("tier=basic&tier=pro", "application/x-www-form-urlencoded", 400),
                               ('{"tier":7}', "application/json", 400), ("tier=basic", "text/plain", 415)):
        assert shopper.ask("POST", "/checkout", body, Content_Type=kind).status == status, body


def test_wrong_methods_and_paths_are_refused(billing, shopper):
    for method, target, allow in (("POST", "/pricing", "GET, HEAD"), ("GET", "/checkout", "POST"),
                                  ("DELETE", "/dashboard", "GET, HEAD"), ("GET", "/dashboard/create", "POST"), ("DELETE", "/dashboard/claim", "GET, HEAD, POST")):
        answer = shopper.ask(method, target)
        assert (answer.status, answer.get("Allow")) == (405, allow)
    for target in ("/pricing/x", "/checkout/x", "/dashboard/x"):
        assert shopper.get(target).status == 404
    assert shopper.ask("HEAD", "/pricing").status == 200


@pytest.mark.parametrize("fault,words", [
    ({"status": 401}, "did not accept our credentials"), ({"status": 500, "count": 50}, ""),
    ({"status": 400}, "")])
def test_a_failure_of_stripe_is_shown_without_secrets(billing, shopper, fault, words):
    wait_until(lambda: "$10" in shopper.get("/pricing").text, "prices")
    billing.fake.fault(method="POST", path="/v1/checkout/sessions", **fault)
    answer = shopper.post("/checkout", {"tier": "basic"}, Accept="*/*")
    assert answer.status == 502 and answer.get("Content-Type") == "application/problem+json"
    assert answer.json()["detail"].startswith("Stripe session creation failed: ") and words in answer.text
    assert SECRET_KEY not in answer.text + billing.agent.log()
    billing.fake.no_faults()
    assert shopper.post("/checkout", {"tier": "basic"}).status == 303


def test_the_urls_after_checkout_can_be_configured(make):
    billing = sell(make, stripe={"success_url": "https://shop.example.com/thanks?id={CHECKOUT_SESSION_ID}",
                                 "cancel_url": "https://shop.example.com/no", "metadata": ["a=b", "c=d=e"],
                                 "portal_path": "/billing"})
    answer = Shopper(billing.agent).post("/billing/checkout", {"tier": "basic"})
    assert answer.status == 303 and "Path=/billing/dashboard;" in answer.get("Set-Cookie")
    call = billing.fake.calls("POST", "/v1/checkout/sessions")[-1]["params"]
    assert call["success_url"] == "https://shop.example.com/thanks?id={CHECKOUT_SESSION_ID}"
    assert call["cancel_url"] == "https://shop.example.com/no"
    assert [call[f"{at}[{name}]"] for at in ("metadata", "subscription_data[metadata]") for name in "ac"] == [
        "b", "d=e"] * 2


# Claims.

@pytest.mark.parametrize("webhook", [True, False])
def test_a_paid_session_gives_its_key_once(make, webhook):
    billing = sell(make, webhook=webhook)
    shopper = Shopper(billing.agent)
    session = paid(billing, shopper)
    if webhook:
        billing.fake.settle()
        wait_until(billing.accounts, "the account from the webhook")
    page = shopper.arrive(session)
    assert page.status == 200 and not page.key()
    assert page.get("Cache-Control") == "no-store" and page.get("Referrer-Policy") == "no-referrer"
    assert shopper.arrive(session).status == 200  # may be repeated
    shown = shopper.submit(page, "/claim")
    assert shown.status == 200 and shown.get("Cache-Control") == "no-store"
    assert works(billing, shown.key()) == 200
    for again in (shopper.arrive(session), shopper.submit(page, "/claim")):
        assert again.key() is None and shown.key() not in again.text
        assert "already shown" in again.text and shown.key()[-4:] in again.text
    assert len(billing.accounts()) == 1


def test_concurrent_claims_give_only_one_key(billing, shopper):
    session = paid(billing, shopper)
    page = shopper.arrive(session)
    shown = []

    def claim():
        other = Shopper(billing.agent)
        other.cookies = dict(shopper.cookies)
        shown.append(other.submit(page, "/claim"))
    threads = [threading.Thread(target=claim) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(bool(s.key()) for s in shown) == [False] * 11 + [True]
    assert all("already shown" in s.text for s in shown if not s.key())
    assert len(json.loads(billing.agent.admin("GET", "/api/v1/keys").body)) == 1


def test_a_claim_survives_a_crash(billing, shopper):
    session = paid(billing, shopper)
    page = shopper.arrive(session)
    key = shopper.submit(page, "/claim").key()
    billing.agent.kill()
    billing.agent.start()
    assert works(billing, key) == 200
    again = shopper.submit(page, "/claim")
    assert again.key() is None and "already shown" in again.text


def test_only_the_browser_that_started_the_checkout_can_claim(billing, shopper):
    session = paid(billing, shopper)
    page = shopper.arrive(session)
    stranger = Shopper(billing.agent)
    assert stranger.arrive(session).status == 403
    assert stranger.submit(page, "/claim").status == 403
    # Not with the cookie of its own purchase either.
    stranger.buy()
    own = next(iter(stranger.cookies))
    stranger.cookies = {next(iter(shopper.cookies)): stranger.cookies[own]}
    assert stranger.arrive(session).status == 403
    assert shopper.submit(page, "/claim").key()


def test_what_is_no_session_is_refused(billing, shopper):
    before = len(billing.fake.calls("GET", "/v1/checkout/sessions"))
    for session in ("", "cs_", "x", "cs_test_" + "a" * 300, "cs_test_../../v1/x", "cs_test_%00abc"):
        page = shopper.arrive(session)
        assert page.status == 404 and "Order not found" in page.text, session
    assert len(billing.fake.calls("GET", "/v1/checkout/sessions")) == before  # no call to Stripe


def test_an_unknown_session_is_not_found(billing, shopper):
    """In any browser. Somebody who tries many has to wait, so that others can claim."""
    session = paid(billing, shopper)
    prober = Shopper(billing.agent)
    statuses = [prober.arrive(f"cs_test_unknown{i}").status for i in range(35)]
    assert set(statuses) == {404, 429} and statuses[:25] == [404] * 25
    assert shopper.claim(session).key()


def test_another_browser_learns_nothing_about_an_order(billing, shopper):
    """Open, unpaid, paid and late orders look the same without the checkout's cookie."""
    opened = shopper.buy()
    billing.fake.settings(checkout_is_async=True)
    unpaid = paid(billing, shopper)
    billing.fake.settings(checkout_is_async=False)
    done = paid(billing, shopper)
    pages = [Shopper(billing.agent).arrive(session) for session in (opened, unpaid, done)]
    billing.fake.advance(hours=25)
    pages.append(Shopper(billing.agent).arrive(done))
    assert {page.status for page in pages} == {403} and len({page.text for page in pages}) == 1
    assert "We don't recognize this browser" in html.unescape(pages[0].text)
    assert "contact the provider of this API" in pages[0].text  # there is no mail server


def test_a_claim_needs_the_pages_token(billing, shopper):
    session = paid(billing, shopper)
    page = shopper.arrive(session)
    action, fields = page.form("/claim")
    assert shopper.post(action, {**fields, "token": "0" * 64}).status == 403
    assert shopper.post(action, {"session_id": session}).status == 403
    assert shopper.post(action, fields, Sec_Fetch_Site="cross-site").status == 403
    assert shopper.post(action, fields, Origin="https://evil.example").status == 403
    assert shopper.post(action, fields, Origin="null").key()


def test_an_unpaid_session_gives_no_key(billing, shopper):
    session = shopper.buy()
    assert "Checkout not completed" in shopper.arrive(session).text
    assert not billing.accounts()


def test_a_slow_payment_is_awaited(billing, shopper):
    billing.fake.settings(checkout_is_async=True)
    session = paid(billing, shopper)
    page = shopper.arrive(session)
    assert page.status == 200 and "http-equiv=\"refresh\"" in page.text and not page.forms()
    billing.fake.advance(hours=22)
    billing.fake.end_async(session, True)
    billing.fake.advance(hours=20)  # the time to claim starts with the payment
    assert works(billing, shopper.claim(session).key()) == 200


def test_late_claims_are_refused(billing, shopper):
    session = paid(billing, shopper)
    page = shopper.arrive(session)
    billing.fake.advance(hours=25)
    assert shopper.arrive(session).status == 410
    assert shopper.submit(page, "/claim").status == 410


def test_a_claim_that_failed_while_stripe_was_down_can_be_repeated(billing, shopper):
    session = paid(billing, shopper)
    page = shopper.arrive(session)
    billing.fake.down()
    assert shopper.submit(page, "/claim").status == 502
    billing.fake.up()
    assert shopper.submit(page, "/claim").key()


def test_two_tabs_buy_two_things(billing, shopper):
    first, second = paid(billing, shopper), paid(billing, shopper, "pro")
    keys = [shopper.claim(session).key() for session in (first, second)]
    assert [works(billing, key) for key in keys] == [200, 200]
    assert sorted(a["tier"] for a in billing.accounts()) == ["basic", "pro"]


def test_cookies_have_protective_attributes(make):
    billing = sell(make, stripe={"app_url": "https://api.example.com"})
    shopper = Shopper(billing.agent)
    session = paid(billing, shopper)
    cookie = shopper.post("/checkout", {"tier": "basic"}).get("Set-Cookie")
    assert cookie.startswith("__Secure-tollgate_checkout_")
    assert cookie.endswith("; HttpOnly; SameSite=Lax; Secure")
    cookie = shopper.claim(session).get("Set-Cookie")
    assert cookie.startswith("__Secure-tollgate_session=") and "; Max-Age=1800" in cookie
    assert cookie.endswith("; HttpOnly; SameSite=Strict; Secure")


def test_pages_name_the_product_and_link_to_help(make):
    named = {"product_name": "Maps <&> More", "terms_url": "https://example.com/terms?a=1&b=2",
             "privacy_url": "https://example.com/privacy", "support_url": "help@example.com"}
    billing = sell(make, stripe=named)
    shopper = Shopper(billing.agent)
    for page in (shopper.get("/pricing"), shopper.get("/dashboard"), shopper.get("/dashboard/none"),
                 shopper.get("/dashboard/claim?link=x")):
        assert "<b>Maps &lt;&amp;&gt; More</b>" in page.text and "- Maps &lt;&amp;&gt; More</title>" in page.text
        for link in ("https://example.com/terms?a=1&amp;b=2", "https://example.com/privacy", "mailto:help@example.com"):
            assert '<footer>' in page.text and f'href="{link}"' in page.text.split("<footer>")[1], page.text
    assert '<a href="mailto:help@example.com">the provider of this API</a>' in page.text
    # Without names: the host, and no empty footer.
    plain = Shopper(sell(make).agent).get("/dashboard")
    assert "<b>127.0.0.1:1</b>" in plain.text and "<footer>" not in plain.text


def test_a_reload_changes_names_and_links(billing, shopper):
    assert "<footer>" not in shopper.get("/pricing").text
    billing.agent.configure(stripe={"product_name": "Maps", "support_url": "https://example.com/help"})
    billing.agent.reload()
    page = shopper.get("/pricing").text
    assert "<title>Pricing - Maps</title>" in page and '<a href="https://example.com/help">Support</a>' in page


def test_only_the_pricing_page_is_for_search_engines(billing, shopper):
    assert "noindex" not in shopper.get("/pricing").text
    assert '<meta name="description" content="Plans and prices of 127.0.0.1:1.">' in shopper.get("/pricing").text
    for path in ("/dashboard", "/dashboard?session_id=x", "/dashboard/claim?link=x", "/dashboard/none"):
        assert '<meta name="robots" content="noindex">' in shopper.get(path).text, path


# The dashboard.

@pytest.fixture
def customer(billing, shopper):
    """A customer who has a key and is signed in."""
    shopper.key = shopper.claim(paid(billing, shopper)).key()
    return shopper


def test_signing_in_needs_a_valid_key(billing, customer):
    browser = Shopper(billing.agent)
    assert "Sign in" in browser.get("/dashboard").text
    for key in ("", "x", customer.key[:-1], customer.key + "x", "tg_live_" + "0" * 49, "a" * 400):
        answer = browser.sign_in(key)
        assert answer.status == 403 and not browser.cookies
    answer = browser.sign_in(f" {customer.key} ")
    assert (answer.status, answer.get("Location")) == (303, "/dashboard")
    page = browser.get("/dashboard")
    assert "Active" in page.text and "basic" in page.text and customer.key[-4:] in page.text
    assert customer.key not in page.text


def test_signing_in_from_another_site_is_refused(billing, customer):
    browser = Shopper(billing.agent)
    for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}, {"Origin": "null"},
                    {"Origin": "https://evil.example"}):
        assert browser.post("/dashboard/sign-in", {"key": customer.key}, **headers).status == 403
    for headers in ({"Sec_Fetch_Site": "same-origin"}, {"Origin": APP_URL},
                    {"Origin": f"http://{billing.agent.address[0]}:{billing.agent.port}"}):
        assert browser.post("/dashboard/sign-in", {"key": customer.key}, **headers).status == 303


def test_guessing_keys_is_rate_limited(billing, customer):
    browser = Shopper(billing.agent)
    answers = [browser.sign_in("tg_live_wrong").status for _ in range(12)]
    assert answers == [403] * 10 + [429] * 2
    assert int(browser.sign_in(customer.key).get("Retry-After")) >= 1


def test_sessions_cannot_be_forged(billing, customer):
    name, path = "tollgate_session", "/dashboard"
    value = customer.cookies[name, path]
    key, expires, seal = value.split(".")
    for forged in ("", "x", f"{key}.{'f' * 16}.{seal}", f"{'0' * 16}.{expires}.{seal}", value[:-1], value + "0",
                   f"{key}.{expires}.{'0' * 64}"):
        browser = Shopper(billing.agent)
        browser.cookies = {(name, path): forged}
        assert "Sign in" in browser.get("/dashboard").text, forged


def test_a_session_survives_a_restart(billing, customer):
    assert billing.agent.stop() == 0
    billing.agent.start()
    assert "API keys" in customer.get("/dashboard").text


def test_a_key_is_rotated(billing, customer):
    shown = customer.submit(customer.get("/dashboard"), "/rotate")
    assert works(billing, shown.key()) == works(billing, customer.key) == 200
    assert "expires " in customer.get("/dashboard").text


def test_a_key_is_created_and_another_revoked(billing, customer):
    page = customer.get("/dashboard")
    assert not [f for f in page.forms() if f[0].endswith("/revoke")]  # the only valid key cannot be revoked
    fresh = customer.submit(page, "/create", {"label": "<b>ci & co</b>"}).key()
    page = customer.get("/dashboard")
    assert "&lt;b&gt;ci &amp; co&lt;/b&gt;" in page.text
    forms = [f for f in page.forms() if f[0].endswith("/revoke")]
    answer = customer.post(forms[0][0], forms[0][1])  # the newest key comes first
    assert answer.get("Location") == "/dashboard?done=revoked"
    assert works(billing, fresh) == 401 and works(billing, customer.key) == 200
    answer = customer.post(forms[1][0], forms[1][1])
    assert answer.status == 409 and works(billing, customer.key) == 200


def test_revoking_the_sessions_own_key_ends_it(billing, customer):
    customer.submit(customer.get("/dashboard"), "/create")
    forms = [f for f in customer.get("/dashboard").forms() if f[0].endswith("/revoke")]
    cookie = dict(customer.cookies)
    answer = customer.post(forms[1][0], forms[1][1])
    assert answer.get("Location") == "/dashboard?done=own"
    customer.cookies = cookie
    assert "Sign in" in customer.get("/dashboard").text
    assert customer.sign_in(customer.key).status == 403


def test_when_the_operator_revokes_all_keys_sessions_end(billing, customer):
    billing.agent.cli("key", "revoke", "--account", billing.accounts()[0]["id"])
    assert "Sign in" in customer.get("/dashboard").text


def test_a_customer_cannot_touch_the_keys_of_another(billing, customer):
    other = Shopper(billing.agent)
    other.key = other.claim(paid(billing, other)).key()
    other.submit(other.get("/dashboard"), "/create")
    theirs = [f[1]["key"] for f in other.get("/dashboard").forms() if f[0].endswith("/revoke")]
    customer.submit(customer.get("/dashboard"), "/create")
    action, own = customer.get("/dashboard").form("/revoke")
    for key in theirs + ["", "key_", "key_" + "0" * 16, "key_" + "f" * 16]:
        assert customer.post(action, {**own, "key": key}).status == 404
    assert works(billing, other.key) == 200


def test_forms_need_their_own_token(billing, customer):
    page = customer.get("/dashboard")
    for ending in ("/rotate", "/create", "/billing", "/sign-out"):
        action, fields = page.form(ending)
        for bad in ("", "0" * 64, page.form("/sign-out" if ending != "/sign-out" else "/create")[1]["token"]):
            assert customer.post(action, {**fields, "token": bad}).status == 403
        assert customer.post(action, fields, Origin="https://evil.example").status == 403
        assert customer.post(action, fields, Sec_Fetch_Site="cross-site").status == 403
    assert len(json.loads(billing.agent.admin("GET", "/api/v1/keys").body)) == 1


def test_signing_out(billing, customer):
    page = customer.get("/dashboard")
    assert customer.submit(page, "/sign-out").get("Location") == "/dashboard?done=signed-out"
    assert "You are signed out" in customer.get("/dashboard?done=signed-out").text
    assert customer.submit(page, "/create").status == 403


def test_billing_leads_to_stripe(billing, customer):
    answer = customer.submit(customer.get("/dashboard"), "/billing")
    assert answer.status == 303 and answer.get("Location").startswith(billing.fake.url + "/p/session/")
    call = billing.fake.calls("POST", "/v1/billing_portal/sessions")[-1]["params"]
    assert call == {"customer": billing.accounts()[0]["customer"], "return_url": APP_URL + "/dashboard"}
    billing.fake.down()
    assert customer.submit(customer.get("/dashboard"), "/billing").status == 502


def test_usage_is_shown(billing, customer):
    for _ in range(7):
        assert works(billing, customer.key) == 200
    wait_until(lambda: '<span class="amount" id="total">7</span>' in customer.get("/dashboard").text, "usage")
    assert "7 of 100,000 requests used" in customer.get("/dashboard").text


def test_grace_and_its_end_are_shown(make):
    tiers = [{**TIERS[0], "grace": "4s"}]
    billing = sell(make, tiers=tiers)
    customer = Shopper(billing.agent)
    key = customer.claim(paid(billing, customer)).key()
    account = billing.accounts()[0]
    billing.fake.payments(account["customer"], "fails")
    billing.fake.renew(account["subscription"])
    billing.wait_account(account["subscription"], status="past_due")
    assert "Otherwise your access ends on" in customer.get("/dashboard").text
    wait_until(lambda: "your access is suspended" in customer.get("/dashboard").text, "the end of the grace")
    wait_until(lambda: works(billing, key) == 403, "the gate to agree")


def test_trial_and_cancellation_are_shown(billing, customer):
    account = billing.accounts()[0]
    sub = type("Sub", (), {"id": account["subscription"]})
    billing.change(sub, cancel_at_period_end=True)
    wait_until(lambda: "is canceled and ends on" in customer.get("/dashboard").text, "the cancellation")
    billing.change(sub, cancel_at_period_end=False, trial_end=int(billing.fake.now()) + 86400 * 5)
    wait_until(lambda: "Your trial ends on" in customer.get("/dashboard").text, "the trial")


def test_stopping_answers_waiting_visitors(billing, shopper):
    session = paid(billing, shopper)
    billing.fake.fault(method="GET", path="/v1/checkout/sessions", delay=30)
    answers = []

    def arrive():
        with contextlib.suppress(http.client.HTTPException, OSError):
            answers.append(shopper.arrive(session).status)
    thread = threading.Thread(target=arrive)
    thread.start()
    wait_until(lambda: billing.fake.calls("GET", f"/v1/checkout/sessions/{session}"), "the call")
    begin = time.monotonic()
    try:
        assert billing.agent.stop() == 0
    finally:
        thread.join()
    assert time.monotonic() - begin < 15 and answers in ([], [503])


def test_without_an_app_url_there_are_no_pages(make):
    billing = Billing(make)
    assert billing.agent.get("/pricing").status == 401
