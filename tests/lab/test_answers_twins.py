# SPDX-License-Identifier: BSD-2-Clause
"""Answers in place are indistinguishable from the agent's. The same random requests go to an agent with the fast
path and to one without, and the answers are compared one by one.

    client: talk.py -- veth0 -- veth0 edge: agent -- crowd.py
"""
import os

import pytest

from crowd import Server
from talk import request_of, talk
from test_smuggling import MALFORMED

# Try other seeds now and then.
SEED = int(os.environ.get("SEED", 7))
WORKERS = 32
TIERS = [
    {"name": "plain"},
    {"name": "hourly", "rate": "1/h", "burst": 12},
    {"name": "scarce", "rate": "1/h", "burst": 5},
    {"name": "monthly", "quota": "8/month"},
]
ROUTES = [
    {"path": "/dear", "upstream": "api", "cost": 5},
    {"path": "/free", "upstream": "api", "cost": 0},
    {"path": "/open", "upstream": "api", "public": True},
    {"path": "/", "upstream": "api"},
]
# Kinds of keys, and the tier of each one's account.
ACCOUNTS = {"plain": "plain", "hourly": "hourly", "hourly2": "hourly", "scarce": "scarce",
         "monthly": "monthly", "revoked": "plain", "suspended": "plain"}


@pytest.fixture
def server(namespaces):
    made = Server(namespaces)
    yield made
    made.close()


def worker_keys(agent):
    accounts = {kind: agent.account(tier) for kind, tier in ACCOUNTS.items()}
    agent.cli("key", "revoke", accounts["revoked"].key_id)
    agent.cli("account", "suspend", accounts["suspended"].id)
    unknown = accounts["plain"].key[:-4] + "zzzz"
    return {**{kind: account.key for kind, account in accounts.items()}, "unknown": unknown}


def results(agent):
    return {dict(labels)["result"]: int(value) for (name, labels), value in agent.metrics().items()
            if name == "tollgate_xdp_packets_total"}


def answered(counts):
    return sum(counts[f"answer_{kind}"] for kind in ("rate", "quota", "inactive", "revoked"))


def run(make_lab, server, mode, connections, requests):
    """Return the answers, the seconds it took, XDP's counters, and the orders."""
    agent = make_lab.agent(server, tiers=TIERS, routes=ROUTES, log="info",
                           fastpath={"mode": mode, "event_every": 1000})
    agent.start()
    orders = {"seed": SEED, "keys": [worker_keys(agent) for _ in range(WORKERS)],
              "malformed": MALFORMED, "connections": connections, "requests": requests}
    made = talk(agent, orders)
    counts = results(agent)
    agent.stop()
    return made["said"], made["seconds"], counts, orders


def differences(on, off, orders):
    for worker, (ours, theirs) in enumerate(zip(on, off, strict=True)):
        for connection, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            if one == other:
                continue
            at = next((i for i, (a, b) in enumerate(zip(one, other)) if a != b),
                      min(len(one), len(other)))
            yield (worker, connection, at, request_of(orders, worker, connection, at),
                   one[at:at + 1], other[at:at + 1])


def compare(make_lab, server, connections, requests, answers, share):
    """Expect at least `answers` answers in each run, and at least `share` of the first run's refusals by XDP."""
    print(f"seed {SEED}")
    on, on_s, counts, orders = run(make_lab, server, "native", connections, requests)
    off, off_s, _, _ = run(make_lab, server, "none", connections, requests)
    said = [one for worker in on for connection in worker for one in connection]
    statuses = [one[0] for one in said if not isinstance(one, str)]
    ends = {one: said.count(one) for one in set(s for s in said if isinstance(s, str))}
    refused = sum(status in (401, 403, 429) for status in statuses)
    print(len(statuses), {s: statuses.count(s) for s in sorted(set(statuses))}, ends,
          f"{on_s:.1f} s on, {off_s:.1f} s off", counts)
    found = list(differences(on, off, orders))
    for difference in found[:10]:
        print(difference)
    assert len(found) == 0, "connections differ"
    assert not [end for end in ends if end != "end"]
    assert len(statuses) >= answers
    assert refused >= 0.3 * len(statuses) and answered(counts) >= refused * share


@pytest.mark.slow
def test_a_hundred_thousand_requests_get_the_same_answers_with_and_without(make_lab, server):
    compare(make_lab, server, connections=43, requests=250, answers=100000, share=0.5)


def test_a_few_thousand_requests_get_the_same_answers_with_and_without(make_lab, server):
    compare(make_lab, server, connections=4, requests=100, answers=4000, share=0.1)
