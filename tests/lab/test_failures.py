# SPDX-License-Identifier: BSD-2-Clause
"""Failures: wrong input, and resources that are missing, full, locked or forbidden."""
import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess

import pytest

from agent import wait_usage
from lab import wait_until

REFUSAL_503 = b'{"status":503,"detail":"Cache service unavailable"}'


def fails(agent, *said):
    """The agent exits by itself with 1, and its log has all these words."""
    agent.launch()
    assert agent.exit_code() == 1, agent.log()
    for words in said:
        assert words in agent.log(), agent.log()


# ---- the configuration ----


def edit(agent, old, new):
    agent.configure()
    with open(agent.config_path) as file:
        text = file.read()
    assert text.count(old) == 1, f"{old} is {text.count(old)} times in {text}"
    agent.write_config(text.replace(old, new))
    return text[:text.index(old)].count("\n") + 1


@pytest.mark.parametrize("old, new, said", [
    ('"workers": 1', '"wrokers": 1', "did you mean 'workers'"),
    ('"workers": 1', '"workers": 1, "workers": 2', "workers"),
    ('"workers": 1', '"workers": "many"', "'many'"),
    ('"workers": 1', '"workers": "${TOLLGATE_UNSET_NAME}"', "TOLLGATE_UNSET_NAME"),
    ('"rate": "1/h"', '"rate": "fast"', "fast"),
    ('"upstream": "api"', '"upstream": "apl"', "'apl'"),
    ('"log": "debug"', '"log": [', "did not find"),
])
def test_a_configuration_error_names_line_and_column(make, old, new, said):
    agent = make.agent(make.upstream())
    line = edit(agent, old, new)
    fails(agent, said)
    places = re.findall(re.escape(agent.config_path) + r":(\d+):(\d+): ", agent.log())
    assert places and abs(int(places[0][0]) - line) <= 1, agent.log()
    checked = agent.cli("check", "-c", agent.config_path, check=False)
    assert checked.returncode == 1 and said in checked.stderr
    assert not os.path.exists(agent.config["state_dir"]), "nothing was started"


def test_a_missing_configuration_is_an_error(make):
    agent = make.agent()
    checked = agent.cli("check", "-c", "/nonexistent/tollgate.yaml", check=False)
    assert checked.returncode == 1 and "No such file" in checked.stderr


def test_the_sample_configuration_is_valid(make):
    sample = os.path.join(os.path.dirname(__file__), "../../scripts/tollgate.yaml")
    checked = make.agent().cli("check", "-c", sample)
    assert checked.stdout.endswith(": ok\n")


# ---- what others use ----


def test_a_port_in_use_is_named(make):
    agent = make.agent(make.upstream())
    with socket.socket() as other:
        other.bind(agent.address)
        other.listen()
        fails(agent, f"127.0.0.1:{agent.port}", "address already in use".capitalize())


def test_a_port_in_use_by_another_agent_is_an_error(make):
    upstream = make.upstream()
    first = make.agent(upstream).start()
    second = make.agent(upstream)
    second.configure(listeners=[{"name": "public", "address": f"127.0.0.1:{first.port}"}])
    fails(second, f"127.0.0.1:{first.port}", "Address already in use")


def test_a_state_directory_in_use_is_named(make):
    upstream = make.upstream()
    first = make.agent(upstream).start()
    fails(make.agent(upstream, state_dir=first.config["state_dir"]), "in use by another tollgate")
    assert first.cli("status").returncode == 0


def test_an_upstream_that_is_down_at_start_does_not_matter(make):
    agent = make.agent().start()
    answer = agent.get("/", agent.account())
    assert answer.status == 502
    assert answer.body == b'{"status":502,"detail":"Upstream cannot be reached"}'


# ---- the fast path ----


def test_a_missing_interface_is_an_error_if_the_fast_path_is_required(make):
    agent = make.agent(make.upstream(), fastpath={"required": True})
    agent.configure(listeners=[dict(agent.config["listeners"][0], interfaces=["nosuch0"])])
    fails(agent, "nosuch0", "no such interface")


def test_with_a_missing_interface_the_agent_works_alone_and_says_why(make):
    agent = make.agent(make.upstream())
    agent.configure(listeners=[dict(agent.config["listeners"][0], interfaces=["nosuch0"])])
    agent.start()
    assert agent.get("/", agent.account()).status == 200
    fastpath = agent.status()["fastpath"]
    assert "nosuch0" in fastpath["why"]
    assert fastpath["interfaces"] == [{"name": "nosuch0", "mode": "none",
                                       "why": "no such interface: create it, or correct "
                                              "`interfaces`"}]
    assert "no such interface" in agent.cli("status").stdout


def test_a_foreign_program_on_the_interface_is_left_alone(make_lab):
    network = make_lab.network
    program = os.path.join(os.path.dirname(os.path.realpath(
        os.environ.get("TOLLGATE", "build/tollgate"))), "bpf/pass.bpf.o")
    network.in_edge("ip", "link", "set", "veth0", "xdpdrv", "obj", program, "sec", "xdp")
    try:
        agent = make_lab.agent(make_lab.upstream()).start()
        assert "another XDP program is there" in agent.status()["fastpath"]["why"]
        assert agent.get("/", agent.account()).status == 200
        assert agent.stop() == 0
        assert "prog/xdp" in network.in_edge("ip", "-d", "link", "show", "veth0")
        required = make_lab.agent(make_lab.upstream(), fastpath={"required": True})
        fails(required, "another XDP program is there")
    finally:
        network.in_edge("ip", "link", "set", "veth0", "xdpdrv", "off")


# ---- the store ----


def used_store(make, **config):
    """A stopped agent with an account in its store."""
    agent = make.agent(make.upstream(), **config).start()
    agent.made = agent.account()
    assert agent.stop() == 0
    agent.db = f"{agent.config['state_dir']}/tollgate.db"
    return agent


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def overwrite(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def break_header(agent):
    overwrite(agent.db, 0, b"garbage!" * 16)


def break_pages(agent):
    overwrite(agent.db, 4096, os.urandom(os.path.getsize(agent.db) - 4096))


def cut_short(agent):
    os.truncate(agent.db, 5000)


def newer_schema(agent):
    with sqlite3.connect(agent.db) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


def somebody_elses(agent):
    os.unlink(agent.db)
    with sqlite3.connect(agent.db) as db:
        db.execute("CREATE TABLE t(x)")
    db.close()


def other_pepper(agent):
    with open(f"{agent.config['state_dir']}/pepper", "wb") as file:
        file.write(os.urandom(32))


@pytest.mark.parametrize("harm, said", [
    (break_header, "is not an SQLite database"),
    (break_pages, "malformed"),
    (cut_short, "tollgate.db"),
    (newer_schema, "newer"),
    (somebody_elses, "tollgate.db"),
    (other_pepper, "another pepper"),
], ids=lambda value: getattr(value, "__name__", None))
def test_an_unusable_store_stops_the_agent_and_stays_unchanged(make, harm, said):
    agent = used_store(make)
    harm(agent)
    before = digest(agent.db)
    fails(agent, "the store cannot be used", said)
    assert digest(agent.db) == before
    leftovers = set(os.listdir(agent.config["state_dir"])) - {"tollgate.db", "pepper", "lock",
                                                               "slots"}
    assert not leftovers, "there is no journal either"


def test_a_pepper_too_short_is_an_error(make):
    agent = used_store(make)
    with open(f"{agent.config['state_dir']}/pepper", "wb") as file:
        file.write(b"short")
    fails(agent, "must contain 32 to 4096 bytes")


def test_a_locked_store_means_503_until_it_is_free(make):
    agent = used_store(make)
    lock = sqlite3.connect(agent.db, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    agent.launch()
    agent.wait_for("READY=1")  # systemd must not wait for the store
    with agent.connect() as connection:
        answer = connection.request(key=agent.made.key)
        assert answer.status == 503 and answer.body == REFUSAL_503
        assert answer.get("Retry-After") == "1"
        ready = agent.admin("GET", "/readyz")
        assert ready.status == 503 and b"locked" in ready.body
        assert agent.admin("GET", "/healthz").status == 200
        status = agent.cli("status", check=False)
        assert status.returncode == 1 and "locked" in status.stdout
        made = agent.cli("account", "create", "--tier", "plain", check=False)
        assert made.returncode == 1 and "not loaded" in made.stderr
        assert connection.request(key="short").status == 401, "this needs no store"
        lock.execute("ROLLBACK")
        lock.close()
        wait_until(lambda: agent.cli("status", check=False).returncode == 0, "it is ready",
                   every=0.1)
        assert connection.request(key=agent.made.key).status == 200
    assert agent.admin("GET", "/readyz").status == 200


def test_a_store_locked_later_delays_changes_but_no_request(make):
    agent = make.agent(make.upstream()).start()
    account = agent.account()
    lock = sqlite3.connect(f"{agent.config['state_dir']}/tollgate.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    for _ in range(20):
        assert agent.get("/", account).status == 200
    result = agent.cli("account", "create", "--tier", "plain", check=False)
    assert result.returncode == 1 and "locked" in result.stderr
    wait_until(lambda: agent.metric("tollgate_usage_write_failing") == 1, "usage is not written")
    assert agent.get("/", account).status == 200
    lock.execute("ROLLBACK")
    lock.close()
    wait_usage(agent, account, 21)
    assert agent.metric("tollgate_usage_write_failing") == 0


# ---- space and permissions ----


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "small", path], check=True)
    yield str(path)
    subprocess.run(["umount", "-l", path], check=True)


def fill(folder):
    path = f"{folder}/filler"
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return path


@pytest.mark.parametrize("network", ["loopback", "fast path"])
def test_a_full_disk_loses_no_usage_and_fails_no_request(request, network, small_disk):
    make = request.getfixturevalue("make" if network == "loopback" else "make_lab")
    agent = make.agent(make.upstream(), state_dir=f"{small_disk}/state", max_accounts=256).start()
    account = agent.account()
    assert agent.get("/", account).status == 200
    wait_usage(agent, account, 1)
    filler = fill(small_disk)

    def is_refused():
        """There may be room left in the journal, so retry."""
        result = agent.cli("key", "create", "--account", account.id, check=False)
        return result.returncode and result
    result = wait_until(is_refused, "no room for another key", every=0)
    assert result.returncode == 1 and "full" in result.stderr and not result.stdout
    keys = agent.json("key", "list", "--account", account.id)
    for _ in range(100):
        assert agent.get("/", account).status == 200
    os.unlink(filler)
    wait_usage(agent, account, 101)
    assert agent.json("key", "list", "--account", account.id) == keys, "a refused key is not there"
    made = agent.json("key", "create", "--account", account.id)
    assert agent.get("/", headers=[("X-API-Key", made["key"])]).status == 200
    wait_usage(agent, account, 102)


def test_a_disk_full_at_shutdown_keeps_usage_for_the_next_start(make, small_disk):
    agent = make.agent(make.upstream(), state_dir=f"{small_disk}/state", max_accounts=256).start()
    account = agent.account()
    filler = fill(small_disk)
    wait_until(lambda: agent.cli("key", "create", "--account", account.id, check=False).returncode,
               "no room for another key", every=0)
    for _ in range(10):
        assert agent.get("/", account).status == 200
    assert agent.stop() == 0
    assert "stays in the slots for the next start" in agent.log()
    os.unlink(filler)
    agent.start()
    wait_usage(agent, account, 10)


def as_nobody(agent):
    agent.prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                    "--bounding-set=-all", "--inh-caps=-all"]


def open_to_all(path):
    """pytest's directories are accessible only to root: open them."""
    while path != "/tmp" and len(path) > 1:
        os.chmod(path, os.stat(path).st_mode | 0o055)
        path = os.path.dirname(path)


@pytest.fixture
def program_for_all(tmp_path, monkeypatch):
    """Copy the program to where everybody may run it."""
    import lab
    copy = shutil.copy(lab.tollgate(), tmp_path / "tollgate")
    monkeypatch.setattr(lab, "tollgate", lambda: str(copy))
    monkeypatch.setattr("agent.tollgate", lambda: str(copy))


def test_without_privileges_the_agent_works_alone_and_says_why(make_lab, program_for_all):
    agent = make_lab.agent(make_lab.upstream())
    os.chmod(agent.folder, 0o777)
    open_to_all(agent.folder)
    as_nobody(agent)
    agent.start()
    assert agent.get("/", agent.account()).status == 200
    fastpath = agent.status()["fastpath"]
    assert fastpath["loaded"] is False and "CAP_BPF" in fastpath["why"]
    assert agent.stop() == 0
    agent.configure(fastpath={"required": True})
    fails(agent, "the fast path is required", "CAP_BPF")


def test_a_state_directory_without_permission_is_an_error(make, program_for_all):
    agent = make.agent(make.upstream())
    open_to_all(agent.folder)
    as_nobody(agent)
    fails(agent, "state_dir", "ermission denied")


def test_the_agent_drops_root_if_a_user_is_configured(make_lab, program_for_all):
    agent = make_lab.agent(make_lab.upstream(), user="nobody")
    os.chmod(agent.folder, 0o777)
    open_to_all(agent.folder)
    agent.start()
    with open(f"/proc/{agent.process.pid}/status") as status:
        text = status.read()
    assert re.search(r"Uid:\s+65534\s+65534\s+65534", text)
    assert re.search(r"CapEff:\s+0+\n", text)
    account = agent.account()
    assert agent.get("/", account).status == 200
    wait_usage(agent, account, 1)
    assert [one["mode"] for one in agent.status()["fastpath"]["interfaces"]] == ["native"]
    # What was opened before still works: XDP answers and drops on newly enrolled connections.
    flooder = agent.account("hourly")
    with agent.connect() as connection:
        def is_answered_in_place():
            connection.request(key=flooder.key)
            return agent.show(flooder)["refused_xdp"]
        wait_until(is_answered_in_place, "XDP answers", every=0)
        agent.cli("fastpath", "drop")
        while not agent.show(flooder)["penalty"]:
            connection.request(key=flooder.key)
        connection.ask(key=flooder.key)
        wait_until(lambda: agent.show(flooder)["dropped_xdp"], "a segment is dropped")
    agent.kill()
    agent.start()
    assert agent.get("/", account).status == 200
    assert agent.stop() == 0
    assert "prog/xdp" not in agent.network.in_edge("ip", "-d", "link", "show", "veth0")


# ---- tables that are full ----


def test_an_account_without_a_free_slot_is_refused_and_nothing_else_is(make):
    agent = make.agent(make.upstream(), max_accounts=3).start()
    accounts = [agent.account() for _ in range(3)]
    result = agent.cli("account", "create", "--tier", "plain", check=False)
    assert result.returncode == 1 and "max_accounts" in result.stderr
    assert len(agent.json("account", "list")) == 3
    for account in accounts:
        assert agent.get("/", account).status == 200
        assert agent.json("key", "create", "--account", account.id)["account"] == account.id
    assert agent.stop() == 0
    agent.configure(max_accounts=4)
    agent.start()
    agent.account()
    assert agent.stop() == 0
    agent.configure(max_accounts=3)
    fails(agent, "max_accounts (3)")


def test_an_env_file_fills_in_the_configuration(make, tmp_path):
    agent = make.agent(make.upstream())
    (tmp_path / "env").write_text("# comment\nexport LAB_TIER='named'\nEMPTY=\n")
    agent.configure(tiers=[{"name": "${LAB_TIER}"}, {"name": "${LAB_NONE:-default}"}])
    text = json.dumps(agent.config)
    assert "${LAB_TIER}" in text
    checked = agent.cli("check", "--env-file", str(tmp_path / "env"), "-c", agent.config_path)
    assert checked.returncode == 0
    assert agent.cli("check", "-c", agent.config_path, check=False).returncode == 1
