# SPDX-License-Identifier: BSD-2-Clause
"""Every page that customers see can be read and used, on a phone and on a desk, light and dark.

A browser measures contrast, labels, sizes and focus of what it shows, in every state of the pages. With
SCREENSHOTS=FOLDER it also saves pictures.
"""
import re

import pytest

from agent import Account
from billing import Billing
from lab import wait_until
from mailserver import MailServer
from test_notices import text_of
from test_portal_browser import SIZES, Browser, pytestmark  # noqa: F401  (it skips without a browser)

TIERS = [
    {"name": "free", "rate": "1/s", "quota": "1000/day", "self_service": True},
    {"name": "pro", "prices": ["price_month", "price_year"], "rate": "100/s", "features": ["export"], "trial_days": 14},
    {"name": "bulk", "prices": ["price_bulk"], "meter": "m", "extra_prices": ["price_base"]},
    {"name": "steps", "prices": ["price_steps"], "meter": "m"},
    {"name": "team", "prices": ["price_seat"], "per_seat": True, "rate": "10/s", "quota": "100000/month", "concurrency": 5},
    {"name": "enterprise-with-an-uncommonly-long-name-of-63-bytes-as-allowed", "prices": ["price_big"]},
]
NAMES = {"product_name": "Maps & More", "terms_url": "https://example.com/terms", "support_url": "help@example.com",
         "privacy_url": "https://example.com/privacy"}

# Returns what is wrong with the page, as a list of texts.
INSPECT = r"""
const phone = arguments[0], faults = [];
const shown = e => e.checkVisibility({visibilityProperty: true, contentVisibilityAuto: true}) &&
    e.getBoundingClientRect().width > 0;
const name = e => e.tagName.toLowerCase() + ' "' + (e.textContent || e.name || '').trim().slice(0, 40) + '"';
const rgb = text => { const n = text.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
const over = (c, b) => c.slice(0, 3).map((v, i) => v * c[3] + b[i] * (1 - c[3]));
const light = c => { const [r, g, b] = c.map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * r + .7152 * g + .0722 * b; };
const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
const behind = e => { const all = [];
    for (let at = e; at; at = at.parentElement) all.push(rgb(getComputedStyle(at).backgroundColor));
    return all.reverse().reduce((below, c) => over(c, below), [255, 255, 255]); };
const legible = (e, color, what, least) => { const back = behind(e), r = ratio(over(rgb(color), back), back);
    if (r < least) faults.push(`${what} of ${name(e)} has a contrast of ${r.toFixed(2)}`); };

const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; (node = walk.nextNode());)
    if (node.data.trim() && shown(node.parentElement)) legible(node.parentElement, getComputedStyle(node.parentElement).color, 'text', 4.5);
for (const e of document.querySelectorAll('input:not([type=hidden])')) {
    if (!shown(e)) continue;
    if (![...e.labels].some(l => l.textContent.trim())) faults.push(`no label: ${e.name}`);
    if (e.placeholder) legible(e, getComputedStyle(e, '::placeholder').color, 'placeholder', 4.5);
    legible(e.parentElement, getComputedStyle(e).borderColor, 'border', e.type === 'checkbox' ? 0 : 3);
}
for (const e of document.querySelectorAll('button, a, input:not([type=hidden]), summary')) {
    if (!shown(e)) continue;
    // Links within a sentence may be as high as its line (WCAG 2.5.8). A box is as large as its label.
    const inline = e.tagName === 'A' && getComputedStyle(e).display === 'inline';
    const target = e.type === 'checkbox' ? e.labels[0] : e;
    if (phone && !inline && target.getBoundingClientRect().height < 43.9)
        faults.push(`${name(e)} is ${target.getBoundingClientRect().height} px high`);
    e.focus({focusVisible: true});
    const s = getComputedStyle(e);
    if (s.outlineStyle === 'none' || parseFloat(s.outlineWidth) < 2) faults.push(`focus of ${name(e)} cannot be seen`);
    else legible(e.parentElement, s.outlineColor, 'the focus ring', 3);
}
document.activeElement.blur();
if (document.documentElement.scrollWidth > innerWidth) faults.push(`${document.documentElement.scrollWidth} px wide`);
if (document.querySelectorAll('h1').length !== 1 || !document.documentElement.lang) faults.push('no heading or language');
return faults;
"""


class Viewer:
    """A customer's browser, which inspects each page that it is told to see."""

    def __init__(self, folder, billing):
        self.browser, self.billing, self.faults = Browser(folder, with_scripts=True), billing, []

    def open(self, path):
        self.browser.driver.get(path if path.startswith("http") else self.billing.agent.url(path))

    def see(self, name, words):
        self.browser.wait_text(words)
        driver = self.browser.driver
        for size, (width, height) in SIZES.items():
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
                "width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"})
            for scheme in ("light", "dark"):
                driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
                    "features": [{"name": "prefers-color-scheme", "value": scheme}]})
                self.faults += [f"{name}, {size}, {scheme}: {fault}"
                                for fault in driver.execute_script(INSPECT, size == "phone")]
                self.browser.keep(f"{name}-{size}-{scheme}")
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def click(self, selector):
        self.browser.click(selector)

    def type(self, selector, text):
        self.browser.find(selector).send_keys(text)

    def forget(self):
        self.browser.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})

    def finish(self):
        assert self.faults == [], "\n" + "\n".join(sorted(set(self.faults)))


@pytest.fixture
def mail(make):
    server = MailServer()
    make.made.append(server)
    return server


@pytest.fixture
def billing(make, mail):
    made = Billing(make, start=False, tiers=TIERS, notices={"smtp": {
        "server": f"localhost:{mail.port}", "tls": "none", "from": "billing@example.com"}})
    made.fake.price("price_month", unit_amount=49900)
    made.fake.price("price_year", unit_amount=499000, interval="year")
    made.fake.price("price_base", unit_amount=1900)
    made.fake.price("price_bulk", unit_amount=500, meter="m", transform_quantity={"divide_by": 1000, "round": "up"})
    made.fake.price("price_steps", meter="m", unit_label="page", tiers_mode="graduated",
                    tiers=[{"up_to": 10000, "unit_amount": 0}, {"up_to": 1000000, "unit_amount_decimal": "0.1"},
                           {"up_to": "inf", "unit_amount_decimal": "0.05"}])
    made.fake.price("price_seat", unit_amount=700)
    made.fake.price("price_big", unit_amount=123456700)
    made.agent.configure(stripe={"app_url": made.agent.url(""), **NAMES})
    made.agent.start()
    return made


@pytest.fixture
def viewer(tmp_path, billing):
    made = Viewer(tmp_path, billing)
    yield made
    made.browser.close()


def mailed(mail, subject):
    found = wait_until(lambda: [m for m in mail.mails if m["Subject"] == subject], f"a mail '{subject}'")
    return re.findall(r"http://\S+", text_of(found[-1]))[-1]


def test_pages_of_those_who_buy(billing, viewer):
    wait_until(lambda: viewer.open("/pricing") or "$1,234,567" in viewer.browser.text(), "the prices")
    viewer.see("pricing", "Get pro, yearly")
    viewer.click("input[value=price_big] ~ button")
    viewer.browser.wait_text("A fake of Stripe Checkout")
    session = viewer.browser.driver.current_url.rsplit("/", 1)[-1]
    viewer.open(f"/dashboard?session_id={session}")
    viewer.see("claim-open", "Checkout not completed")
    billing.fake.settings(checkout_is_async=True)
    billing.fake.pay(session)
    viewer.open(f"/dashboard?session_id={session}")
    viewer.see("claim-wait", "your payment hasn't arrived yet")
    billing.fake.end_async(session, True)
    viewer.open(f"/dashboard?session_id={session}")
    viewer.see("claim-ready", "Show my API key")
    viewer.click("main form button")
    viewer.see("key", "Copy it now")
    key = viewer.browser.find("#key").text
    viewer.open(f"/dashboard?session_id={session}")
    viewer.see("claim-again", "already shown")
    for _ in range(30):
        billing.agent.get("/", Account("", key, ""))
    viewer.open("/dashboard")
    viewer.type("#label", "build server")
    viewer.click("#create")
    viewer.browser.wait_text("Copy it now")
    viewer.click("a.button")
    viewer.browser.wait_text("current session")
    viewer.click("summary")
    viewer.see("dashboard", "Revoke this key")
    viewer.open("/pricing")
    viewer.see("pricing-signed-in", "Your current plan")
    viewer.forget()
    viewer.open(f"/dashboard?session_id={session}")
    viewer.see("claim-other-browser", "Please use your other browser")
    viewer.open("/dashboard?session_id=x")
    viewer.see("claim-not-found", "Order not found")
    viewer.finish()


@pytest.mark.parametrize("status,words", [
    ("past_due", "Your last payment failed"), ("unpaid", "your access is suspended"), ("paused", "is paused"),
    ("trialing", "Your trial ends on"), ("canceled", "has ended"), ("held", "to find out why")])
def test_the_dashboard_in_every_state(billing, viewer, status, words):
    trial = {"trial_period_days": 7} if status == "trialing" else {}
    subscription = billing.subscribe("price_seat", **trial)
    account = billing.key_for(subscription.id)
    if status == "held":
        billing.agent.cli("account", "suspend", account.id)
    elif status != "trialing":
        billing.fake.control("POST", f"/subscriptions/{subscription.id}/status", status=status)
        billing.wait_account(subscription.id, status=status)
    viewer.open("/dashboard")
    viewer.type("#key", account.key)
    viewer.click("main form button")
    viewer.see(f"dashboard-{status}", words)
    viewer.finish()


def test_pages_of_those_who_lost_their_key(billing, mail, viewer):
    billing.key_for(billing.subscribe("price_month").id)
    viewer.open("/dashboard")
    viewer.type("#key", "tg_live_wrong")
    viewer.click("main form button")
    viewer.see("sign-in", "This API key is not valid")
    viewer.click("main a[href$=recover]")
    viewer.see("recover", "Recover your access")
    viewer.type("#email", "ann@example.com")
    viewer.click("main form button")
    viewer.see("recover-sent", "Check your email")
    url = mailed(mail, "Get a new API key")
    viewer.open(url)
    viewer.see("recover-link", "Show my new API key")
    viewer.click("main form button")
    viewer.see("recover-key", "Your new API key")
    viewer.open(url)
    viewer.click("main form button")
    viewer.see("recover-used", "already used")
    viewer.open(url[:-1])
    viewer.see("recover-invalid", "This link is not valid")
    for words in ("Check your email", "Check your email", "Too many attempts"):
        viewer.open("/dashboard/recover")
        viewer.type("#email", "ann@example.com")
        viewer.click("main form button")
        viewer.browser.wait_text(words)
    viewer.see("busy", "try again in 20 minutes")
    viewer.finish()


def test_pages_of_those_who_take_a_free_tier(billing, mail, viewer):
    viewer.open("/pricing")
    viewer.type("input[type=email]", "zoe@example.com")
    viewer.click("form[action$=free] button")
    viewer.see("free-sent", "Check your email")
    url = mailed(mail, "Confirm your email address")
    viewer.open(url)
    viewer.see("free-link", "Show my API key")
    viewer.click("main form button")
    viewer.see("free-key", "Copy it now")
    viewer.open("/dashboard")
    viewer.see("free-dashboard", "zoe@example.com")
    viewer.open("/pricing")
    viewer.see("free-pricing", "Your current plan")
    viewer.open(url)
    viewer.click("main form button")
    viewer.see("free-again", "already shown")
    viewer.finish()


def test_pages_about_errors(billing, viewer):
    viewer.open("/dashboard/none")
    viewer.see("error-not-found", "There is no page")
    viewer.open("/dashboard/claim?link=x")
    viewer.see("error-link", "This link is not valid")
    viewer.open("/pricing")
    billing.fake.down()
    viewer.click("input[value=price_big] ~ button")
    viewer.see("error-failure", "We couldn't start the checkout")
    viewer.finish()
