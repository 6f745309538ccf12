# SPDX-License-Identifier: BSD-2-Clause
"""An API that already sells with Stripe is migrated as tollgate-stripe(7) says."""
import os
import re
import secrets
import subprocess
import sys

import pytest
import stripe

from agent import Account, wait_usage
from billing import SECRET_KEY, WEBHOOK_PATH, Billing
from lab import tollgate, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "docs"))
import mdoc  # noqa: E402

TIERS = [
    {"name": "basic", "prices": ["price_basic"]},
    {"name": "pro", "prices": ["pro_monthly"]},
    {"name": "metered", "prices": ["price_metered"], "meter": "api_requests"},
]


def recipe():
    """The commands in the manual."""
    block = mdoc.literal_blocks("tollgate-stripe.7", "MIGRATING AN EXISTING API")[0]
    return block.replace("\\e", "\\")


def follow(billing, folder, commands):
    """Run the commands as the manual has them. `tollgate` finds the agent's socket."""
    wrapper = folder / "bin" / "tollgate"
    wrapper.parent.mkdir(exist_ok=True)
    wrapper.write_text(f'#!/bin/sh\nexec "{tollgate()}" --socket "{billing.agent.socket}" "$@"\n', encoding="utf-8")
    wrapper.chmod(0o755)
    result = subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=folder, text=True, capture_output=True,
                            check=False, timeout=60,
                            env={**os.environ, "PATH": f"{wrapper.parent}:{os.environ['PATH']}"})
    assert result.returncode == 0, result
    return result.stdout


def counts(said):
    """(imported, present)"""
    return tuple(int(re.search(rf"^{word} +(\d+)$", said, re.M)[1]) for word in ("imported", "present"))


def issue():
    """A key as another system makes them."""
    return "legacy-" + secrets.token_urlsafe(24)


@pytest.fixture
def old(make):
    """An API with customers, some of whom have ended, and keys that were issued elsewhere."""
    billing = Billing(make, webhook=False, start=False, tiers=TIERS)
    rows = [row for price, count in (("price_basic", 40), ("price_pro", 25), ("price_metered", 5))
            for row in billing.fake.seed(count, price)]
    billing.tier_of = dict(zip((row["subscription"] for row in rows), ["basic"] * 40 + ["pro"] * 25 + ["metered"] * 5))
    ended = billing.fake.seed(4, "price_basic", status="canceled") + billing.fake.seed(2, "price_basic", status="unpaid")
    billing.ended = [row["subscription"] for row in ended[:4]]
    billing.unpaid = [row["subscription"] for row in ended[4:]]
    billing.customer_of = {row["subscription"]: row["customer"] for row in rows + ended}
    billing.keys = [(name, issue(), "") for name in [*billing.tier_of, *billing.ended, *billing.unpaid]]
    billing.keys += [(name, issue(), "second key") for name in list(billing.tier_of)[::7]]
    return billing


def write_keys(old, folder, column=lambda name: name):
    lines = ["\t".join([column(name), key] + ([label] if label else [])) for name, key, label in old.keys]
    (folder / "keys.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def status(old, key):
    return old.agent.get("/", Account("", key, "")).status


def check_access(old):
    for name, key, _ in old.keys:
        wanted = 401 if name in old.ended else 200 if name in old.tier_of else 403
        assert status(old, key) == wanted, name


def test_the_recipe_keeps_subscriptions_and_keys(old, tmp_path):
    write_keys(old, tmp_path)
    old.agent.start()
    said = follow(old, tmp_path, recipe())
    known = [key for key in old.keys if key[0] not in old.ended]
    assert counts(said) == (len(known), 0)
    left = (tmp_path / "without-account").read_text(encoding="utf-8").split()
    assert sorted(left) == sorted(old.ended)
    check_access(old)
    # Each key belongs to the account that its subscription created, with its label.
    accounts = {a["id"]: a for a in old.accounts()}
    shown = old.agent.json("key", "list")
    assert sorted((accounts[k["account"]]["subscription"], k["label"]) for k in shown) == sorted(
        (name, label) for name, _, label in known)
    for account in accounts.values():
        assert account["customer"] == old.customer_of[account["subscription"]]
        assert account["tier"] == old.tier_of.get(account["subscription"], "basic")


def test_repeating_the_recipe_adds_new_keys_only(old, tmp_path):
    write_keys(old, tmp_path)
    old.agent.start()
    first = counts(follow(old, tmp_path, recipe()))[0]
    fresh = old.fake.seed(1, "price_pro")[0]["subscription"]
    old.tier_of[fresh] = "pro"
    old.keys += [(fresh, issue(), ""), (list(old.tier_of)[0], issue(), "")]
    write_keys(old, tmp_path)
    assert counts(follow(old, tmp_path, recipe())) == (2, first)
    check_access(old)


def test_customers_may_stand_for_subscriptions(old, tmp_path):
    write_keys(old, tmp_path, old.customer_of.get)
    old.agent.start()
    commands = recipe().replace(".subscription", ".customer")
    assert counts(follow(old, tmp_path, commands)) == (sum(key[0] not in old.ended for key in old.keys), 0)
    check_access(old)


def test_after_the_migration_stripe_decides_and_usage_is_billed(old, tmp_path):
    write_keys(old, tmp_path)
    old.agent.start()
    follow(old, tmp_path, recipe())
    old.fake.endpoint(old.agent.url(WEBHOOK_PATH))
    name, key, _ = old.keys[0]
    assert status(old, key) == 200
    stripe.Subscription.delete(name, **old.auth())
    wait_until(lambda: status(old, key) == 403, "the end of the subscription")
    metered = [row for row in old.keys if old.tier_of.get(row[0]) == "metered"][0]
    for _ in range(5):
        assert status(old, metered[1]) == 200
    wait_usage(old.agent, Account(old.account_of(metered[0])["id"], metered[1], ""), 5)
    assert SECRET_KEY not in old.agent.log()
