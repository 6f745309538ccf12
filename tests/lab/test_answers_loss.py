# SPDX-License-Identifier: BSD-2-Clause
"""Answers in place on a lossy line: segments are lost, repeated and delayed at random, in both directions, and
every byte received is right.

    client: crowd.py -- veth0, lossy.bpf.c -- veth0 edge: agent -- crowd.py
"""
import pytest

from crowd import Crowd, Server
from lossy import Lossy

SEED = 20
CONNECTIONS = 2400
TIERS = [{"name": "plain"}, {"name": "hourly", "rate": "1/h", "burst": 1}]


@pytest.fixture
def server(namespaces):
    made = Server(namespaces)
    yield made
    made.close()


@pytest.fixture
def edge(make_lab, server):
    agent = make_lab.agent(server, tiers=TIERS, fastpath={"event_every": 1000}, log="info")
    agent.configure(listeners=agent.config["listeners"] + [
        dict(agent.config["listeners"][0], name="six",
             address=f"[{agent.network.server_address6}]:{agent.port}")])
    return agent.start()


def known_keys(edge):
    """Return one key that is allowed and some that are refused, with their expected answers."""
    plain, hourly, gone, held = (edge.account(t) for t in ("plain", "hourly", "plain", "plain"))
    assert edge.get("/1/1", hourly).status == 200
    edge.cli("key", "revoke", gone.key_id)
    edge.cli("account", "suspend", held.id)
    keys = [{"key": plain.key, "status": 200}]
    for account in (hourly, hourly, gone, held):
        answer = edge.get("/1/1", account)
        keys.append({"key": account.key, "status": answer.status, "body": answer.body.decode()})
    assert [k["status"] for k in keys] == [200, 429, 429, 401, 403]
    return keys[:1] * 3 + keys[1:]


def results(edge):
    return {dict(labels)["result"]: int(value) for (name, labels), value in edge.metrics().items()
            if name == "tollgate_xdp_packets_total"}


def answered(counts):
    return sum(counts[f"answer_{kind}"] for kind in ("rate", "quota", "inactive", "revoked"))


@pytest.mark.slow
def test_thousands_of_shifted_connections_survive_loss(edge):
    print(f"seed {SEED}")
    keys = known_keys(edge)
    line = Lossy(edge.network, SEED, lost=0.03, repeated=0.02, late=0.02)
    try:
        result = Crowd(edge, {
            "hosts": [edge.network.server_address, edge.network.server_address6],
            "seed": SEED, "keys": keys, "connections": CONNECTIONS, "requests": 12, "seconds": 60,
            "sizes": [0, 300, 1400, 20000, 200000], "uploads": 0.2, "pipelined": 0.1}).result()
        fates = line.counts()
    finally:
        line.close()
    counts = results(edge)
    print({name: result[name] for name in ("seconds", "asked", "refused")}, fates, counts)
    assert not result["errors"], (len(result["errors"]), result["errors"][:5])
    assert edge.pins.shifted() >= 2000
    assert answered(counts) > result["refused"] / 4
    assert counts["answer_repeated"] > 100 and counts["held_data"] > 100
    for way in fates.values():
        assert all(way[fate] > 1000 for fate in way)
