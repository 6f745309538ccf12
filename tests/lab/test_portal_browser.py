# SPDX-License-Identifier: BSD-2-Clause
"""The pages in a real browser without scripts, from the pricing page to the billing portal.

With SCREENSHOTS=FOLDER, screenshots of each page are saved there, as a phone and a desktop show it.
"""
import base64
import os
import re

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from agent import Account
from billing import Billing
from lab import wait_until

DRIVER = "/usr/bin/chromedriver"
BROWSER = "/usr/bin/chromium"
SIZES = {"phone": (390, 844), "desk": (1280, 900)}

# In CI, a missing browser is a failure.
pytestmark = pytest.mark.skipif(not os.environ.get("CI") and not (os.path.exists(DRIVER) and os.path.exists(BROWSER)),
                                reason="chromium and chromium-driver are not installed")


class Browser:
    def __init__(self, folder, with_scripts=False):
        options = webdriver.ChromeOptions()
        options.binary_location = BROWSER
        for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     f"--user-data-dir={folder}/profile", "--no-first-run", "--disable-background-networking",
                     "--disable-component-update", "--disable-sync"):
            options.add_argument(word)
        if not with_scripts:
            options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service(DRIVER), options=options)
        self.driver.set_page_load_timeout(30)
        self.driver.implicitly_wait(10)  # because a click does not wait for the next page

    def close(self):
        self.driver.quit()

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def click(self, selector):
        def is_clicked():
            try:
                self.find(selector).click()
                return True
            except WebDriverException:  # the page changed during the click
                return False
        wait_until(is_clicked, f"a click on {selector!r}")

    def text(self):
        return self.find("body").text

    def wait_text(self, words):
        def is_said():
            try:
                return words in self.text()
            except WebDriverException:  # the page changed while it was read
                return False
        wait_until(is_said, f"the page says {words!r}")

    def violations(self):
        """Violations of the pages' content security policy, as logged by the browser."""
        return [entry["message"] for entry in self.driver.get_log("browser")
                if entry["source"] == "security" or "Content Security Policy" in entry["message"]]

    def picture(self, name):
        """Saves screenshots. No page may be wider than the screen, in any size."""
        for size, (width, height) in SIZES.items():
            self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
                "width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"})
            metrics = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
            assert metrics["width"] <= width, f"{name} is wider than a {size}"
            for scheme in ("light", "dark"):
                self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
                    "features": [{"name": "prefers-color-scheme", "value": scheme}]})
                self.keep(f"{name}-{size}-{scheme}")
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def keep(self, name):
        folder = os.environ.get("SCREENSHOTS")
        if folder:
            os.makedirs(folder, exist_ok=True)
            shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
            with open(f"{folder}/{name}.png", "wb") as file:
                file.write(base64.b64decode(shot["data"]))


@pytest.fixture
def browser(tmp_path):
    made = Browser(tmp_path)
    yield made
    made.close()


@pytest.fixture
def billing(make):
    made = Billing(make, start=False)
    # Stripe sends customers back to the agent.
    made.agent.configure(stripe={"app_url": made.agent.url("")})
    made.agent.start()
    return made


def works(billing, key):
    return billing.agent.get("/", Account("", key, "")).status


def test_from_the_pricing_page_to_the_billing_portal(billing, browser):
    def priced():
        browser.driver.get(billing.agent.url("/pricing"))
        return "$10" in browser.text()
    wait_until(priced, "prices")
    browser.picture("1-pricing")
    browser.click("input[value=basic] ~ button")
    browser.wait_text("A fake of Stripe Checkout")
    browser.click("#cancel")
    browser.wait_text("You pay on Stripe's website")
    browser.click("input[value=basic] ~ button")
    browser.click("#pay")
    browser.wait_text("Show my API key")
    assert "session_id=" in browser.driver.current_url
    browser.picture("2-paid")
    back = browser.driver.current_url
    browser.click("main form button")
    browser.wait_text("Copy it now")
    key = browser.find("#key").text
    assert re.fullmatch(r"tg_live_\w{49}", key) and works(billing, key) == 200
    browser.picture("3-key")
    browser.driver.get(back)
    browser.wait_text("already shown")
    assert key not in browser.driver.page_source
    browser.picture("4-again")

    for _ in range(30):
        works(billing, key)
    browser.driver.get(billing.agent.url("/dashboard"))
    wait_until(lambda: browser.driver.refresh() or browser.find("#total").text == "31", "usage")
    browser.picture("5-dashboard")
    browser.click("#sign-out")
    browser.wait_text("You are signed out")
    browser.find("#key").send_keys("tg_live_wrong")
    browser.click("main form button")
    browser.wait_text("This API key is not valid")
    browser.picture("6-sign-in")
    browser.find("#key").send_keys(key)
    browser.click("main form button")
    browser.wait_text("Sign out")

    browser.click("form[action$=rotate] button")
    browser.wait_text("Copy it now")
    fresh = browser.find("#key").text
    assert fresh != key and works(billing, fresh) == works(billing, key) == 200
    browser.click("a.button")
    browser.wait_text("current session")
    browser.find("#label").send_keys("a <b>build</b> server")
    browser.click("#create")
    browser.wait_text("Copy it now")
    third = browser.find("#key").text
    browser.click("a.button")
    browser.wait_text("a <b>build</b> server")
    browser.click("summary")
    browser.picture("7-keys")
    browser.click("form[action$=revoke] button")
    browser.wait_text("The key is revoked")
    assert works(billing, third) == 401

    browser.click("#billing")
    browser.wait_text("A fake of Stripe's billing portal")
    browser.click("#return")
    browser.wait_text("Sign out")
    assert browser.violations() == []


def test_the_dashboard_shows_the_grace_period(billing, browser):
    browser.driver.get(billing.agent.url("/pricing"))
    browser.click("input[value=basic] ~ button")
    browser.click("#pay")
    browser.click("main form button")
    browser.wait_text("Copy it now")
    account = billing.accounts()[0]
    billing.fake.payments(account["customer"], "fails")
    billing.fake.renew(account["subscription"])
    billing.wait_account(account["subscription"], status="past_due")
    browser.driver.get(billing.agent.url("/dashboard"))
    browser.wait_text("Your last payment failed")
    browser.picture("8-grace")


def test_checkout_on_a_domain_that_no_policy_listed(make, browser):
    """The policy allows forms to lead only to known origins, but visitors still reach a new one."""
    billing = Billing(make, start=False)
    billing.agent.configure(stripe={"app_url": billing.agent.url(""),
                                    "api_base": billing.fake.url.replace("127.0.0.1", "localhost")})
    billing.agent.start()
    for _ in range(2):  # the second time the origin is known
        browser.driver.get(billing.agent.url("/pricing"))
        browser.click("input[value=basic] ~ button")
        browser.wait_text("A fake of Stripe Checkout")
        assert browser.driver.current_url.startswith(billing.fake.url)


def test_a_failure_is_a_page(billing, browser):
    browser.driver.get(billing.agent.url("/pricing"))
    billing.fake.down()
    browser.click("input[value=basic] ~ button")
    browser.wait_text("We couldn't start the checkout")
    browser.picture("9-failure")
