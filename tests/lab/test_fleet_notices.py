# SPDX-License-Identifier: BSD-2-Clause
"""Several hosts that share a Redis tell the operator's webhook once of each change of an account."""
import json

import pytest

from lab import Loopback, wait_until
from test_fleet_billing import FleetBilling, Forward
from test_notices import HOOK_SECRET, Receiver

HOOK_PORT = 9101  # on each host's loopback, because plain http is allowed there only
TIERS = [{"name": "basic", "prices": ["price_basic"]}, {"name": "pro", "prices": ["price_pro"]}]


@pytest.fixture
def receiver(make):
    made = Receiver()
    make.made.append(made)
    return made


def sell(make, receiver):
    billing = FleetBilling(make, tiers=TIERS, notices={"webhook": {
        "url": f"http://127.0.0.1:{HOOK_PORT}/notices", "secret": HOOK_SECRET}})
    for host in billing.hosts:
        make.made.append(Forward(host.place, "edge", HOOK_PORT, Loopback(), "edge",
                                 lambda: [receiver.server_address]))
    return billing


def created(billing, host):
    answer = host.admin("POST", "/api/v1/accounts", {"tier": "basic"})
    return json.loads(answer.body)["id"]


def told(receiver, account):
    return [(n["type"], n["values"].get("old_tier") or n["values"].get("reason"))
            for n in receiver.of_accounts if n["values"]["account"] == account]


def wait_told(receiver, account, *wanted):
    try:
        wait_until(lambda: len(told(receiver, account)) >= len(wanted), "notices", 20)
    except AssertionError:
        pass  # the comparison says more
    assert sorted(told(receiver, account), key=str) == sorted(wanted, key=str)


def test_changes_of_any_host_are_told_once(make, receiver):
    billing = sell(make, receiver)
    accounts = [created(billing, host) for host in billing.hosts]
    billing.fleet.wait_agreed()
    for account, host in zip(accounts, reversed(billing.hosts)):
        host.cli("account", "set", account, "--tier", "pro")
        host.cli("account", "suspend", account)
    for account in accounts:
        wait_told(receiver, account, ("account.created", None), ("account.tier_changed", "basic"),
                  ("account.suspended", "held"))


def test_changes_are_told_although_no_host_holds_the_lease(make, receiver):
    billing = sell(make, receiver)
    account = created(billing, billing.hosts[0])
    wait_told(receiver, account, ("account.created", None))
    billing.fleet.wait_agreed()
    [holder] = billing.holders()
    holder.kill()
    billing.serving.remove(holder)
    billing.agent.cli("account", "set", account, "--tier", "pro")
    billing.agent.cli("account", "suspend", account)
    other = created(billing, billing.agent)
    wait_until(billing.holders, "another host has the lease", 20)
    wait_told(receiver, account, ("account.created", None), ("account.tier_changed", "basic"),
              ("account.suspended", "held"))
    wait_told(receiver, other, ("account.created", None))


@pytest.mark.parametrize("who", ["the holder", "a former holder", "another"])
def test_changes_that_waited_in_a_journal_are_told_once(make, receiver, who):
    billing = sell(make, receiver)
    account = created(billing, billing.hosts[0])
    wait_told(receiver, account, ("account.created", None))
    billing.fleet.wait_agreed()
    [holder] = billing.holders()
    host = holder if who != "another" else next(h for h in billing.hosts if h is not holder)
    billing.fleet.redis.place.cut()
    wait_until(lambda: host.metric("tollgate_store_away"), "the host notices the fault")
    if who == "a former holder":
        wait_until(lambda: not host.metric("tollgate_holds_billing"), "the lease has ended", 20)
    host.cli("account", "set", account, "--tier", "pro")
    host.cli("account", "suspend", account)
    billing.fleet.redis.place.heal()
    billing.fleet.wait_agreed()
    wait_told(receiver, account, ("account.created", None), ("account.tier_changed", "basic"),
              ("account.suspended", "held"))
