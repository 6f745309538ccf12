# SPDX-License-Identifier: BSD-2-Clause
"""TLS: the same verdicts on encrypted connections, and drops on flows that XDP cannot read."""
import os
import ssl
import subprocess

import pytest

from client import BrokenBody, Connection
from lab import wait_until

TIERS = [{"name": "plain"}, {"name": "hourly", "rate": "1/h", "burst": 2}]


def make_certificate(folder, name="localhost"):
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
               "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext",
               f"subjectAltName=DNS:{name},IP:127.0.0.1,IP:10.91.0.2",
               "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"]
    subprocess.run(command, check=True, capture_output=True)


def tls_agent(make):
    upstream = make.upstream()
    agent = make.agent(upstream, tiers=TIERS, fastpath={"tolerance": 5})
    make_certificate(agent.folder)
    agent.configure(listeners=[dict(agent.config["listeners"][0], name="tls",
                                    certificate="cert.pem", private_key="key.pem")])
    agent.upstream = upstream
    agent.ca = f"{agent.folder}/cert.pem"
    return agent.start()


@pytest.fixture
def edge(make):
    return tls_agent(make)


def context(agent, version=ssl.TLSVersion.TLSv1_3, alpn=("http/1.1",)):
    made = ssl.create_default_context(cafile=agent.ca)
    made.minimum_version = made.maximum_version = version
    made.set_alpn_protocols(list(alpn))
    return made


def curl(agent, *words):
    url = f"https://localhost:{agent.port}/x"
    return subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{http_version}",
                           "--cacert", agent.ca, "--connect-to", f"::127.0.0.1:{agent.port}",
                           *words, url], capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize("options", [["--tlsv1.2", "--tls-max", "1.2"],
                                     ["--tlsv1.3"], ["--no-alpn"]])
def test_curl_is_served(edge, options):
    account = edge.account()
    key = ["-H", f"X-API-Key: {account.key}"]
    assert curl(edge, *options, *key).stdout == "200 1.1"
    assert curl(edge, *options).stdout == "401 1.1"
    assert curl(edge, *options, *key, "-d", "abc").stdout == "200 1.1"


def test_the_upstream_learns_that_the_client_used_https(edge):
    account = edge.account()
    assert curl(edge, "-H", f"X-API-Key: {account.key}").stdout == "200 1.1"
    assert edge.upstream.seen[0].get("X-Forwarded-Proto") == "https"
    assert edge.upstream.seen[0].get("X-Tollgate-Account") == account.id


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_alpn_agrees_on_http_1_1(edge, version):
    for offered in (["http/1.1"], ["h2", "http/1.1"]):
        with edge.connect(tls=context(edge, version, offered)) as connection:
            assert connection.sock.selected_alpn_protocol() == "http/1.1"
            assert connection.sock.version() == ("TLSv1.2" if version == ssl.TLSVersion.TLSv1_2
                                                 else "TLSv1.3")
            for _ in range(3):
                assert connection.request(key=edge.account().key).status == 200


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(edge):
    old = context(edge, ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        edge.connect(tls=old)


def test_plain_http_on_the_tls_port_ends_cleanly(edge):
    account = edge.account()
    with edge.connect() as connection:
        connection.ask(key=account.key)
        try:
            while connection.receive():
                pass
        except BrokenBody:
            pass
    assert not edge.upstream.seen
    with edge.connect(tls=context(edge)) as connection:
        assert connection.request(key=account.key).status == 200


def test_a_stalled_handshake_does_not_block_others(edge):
    half = edge.connect()
    half.send(b"\x16\x03\x01\x02\x00\x01")
    with edge.connect(tls=context(edge)) as connection:
        assert connection.request(key=edge.account().key).status == 200
    half.reset()


def test_large_bodies_survive_encryption(edge):
    size = 20 << 20
    edge.upstream.on("/big", lambda call: call.answer(bytes(range(256)) * (size // 256)))
    account = edge.account()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with edge.connect(tls=context(edge, version)) as connection:
            answer = connection.request(path="/big", key=account.key)
            assert answer.body == bytes(range(256)) * (size // 256)
            body = os.urandom(3 << 20)
            answer = connection.request("POST", "/up", key=account.key, body=body)
            assert answer.status == 200 and f'"length": {len(body)}'.encode() in answer.body


def test_a_reload_brings_a_new_certificate(edge):
    def serial():
        with edge.connect(tls=context(edge)) as connection:
            return connection.sock.getpeercert()["serialNumber"]
    first, account = serial(), edge.account()
    with edge.connect(tls=context(edge)) as connection:
        assert connection.request(key=account.key).status == 200
        make_certificate(edge.folder)
        edge.reload()

        def is_fresh():
            try:
                return serial() != first
            except ssl.SSLError:
                return False  # a worker still has the old one
        wait_until(is_fresh, "the new certificate")
        assert connection.request(key=account.key).status == 200, "open connections continue"


def test_a_reload_with_a_broken_certificate_keeps_the_old_one(edge):
    with open(edge.ca) as file:
        good = file.read()
    with open(edge.ca, "w") as file:
        file.write("no certificate")
    assert edge.cli("reload", check=False).returncode == 1
    with open(edge.ca, "w") as file:
        file.write(good)
    with edge.connect(tls=context(edge)) as connection:
        assert connection.request(key=edge.account().key).status == 200


def test_a_key_that_does_not_match_the_certificate_is_an_error_at_start(make):
    agent = make.agent(make.upstream())
    make_certificate(agent.folder)
    other = f"{agent.folder}/other"
    os.mkdir(other)
    make_certificate(other)
    agent.configure(listeners=[dict(agent.config["listeners"][0], certificate="cert.pem",
                                    private_key="other/key.pem")])
    agent.launch()
    assert agent.exit_code() == 1
    assert "listener public" in agent.log()


def test_xdp_drops_on_a_tls_flow_that_is_bound_to_one_account(make_lab):
    agent = tls_agent(make_lab)
    bad, good = agent.account("hourly"), agent.account("plain")
    tls = context(agent)
    tls.check_hostname = False
    with agent.connect(tls=tls) as bound, agent.connect(tls=tls) as mixed:
        assert mixed.request(key=bad.key).status == 200
        assert mixed.request(key=good.key).status == 200
        while not agent.show(bad)["penalty"]:
            assert bound.request(key=bad.key).status in (200, 429)
        bound.ask(key=bad.key)
        wait_until(lambda: agent.pins.dropped_on(bound.local[:2], agent.address),
                   "a segment of the bound flow is dropped")
        for _ in range(10):
            assert mixed.request(key=bad.key).status == 429
            assert mixed.request(key=good.key).status == 200
        assert agent.pins.dropped_on(mixed.local[:2], agent.address) == 0
        # When the drops end, the stream is complete: the request is answered on the same connection.
        agent.cli("account", "set", bad.id, "--tier", "plain")
        assert bound.answer().status == 200
        assert bound.request(key=bad.key).status == 200


def test_sources_are_shut_out_of_the_tls_port_too(make_lab, namespaces):
    agent = tls_agent(make_lab)
    namespaces.add_client_addresses("10.91.0.9/24")
    tls = context(agent)
    tls.check_hostname = False

    def is_out():
        try:
            with Connection(agent.address, network=agent.network, source="10.91.0.9", tls=tls,
                            timeout=0.3) as connection:
                connection.sock.settimeout(10)
                assert connection.request(key="unknown-key-0123456789").status == 401
            return False
        except TimeoutError:
            return True
    wait_until(is_out, "it is shut out", every=0)
    assert agent.pins.counter(1) > 0
