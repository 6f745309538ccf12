# SPDX-License-Identifier: BSD-2-Clause
"""The command line with a real agent: output, exit codes, and when changes take effect."""
import json
import re
import subprocess

import pytest

from agent import wait_usage
from lab import tollgate, wait_until

TIERS = [
    {"name": "free", "rate": "1/h", "burst": 5, "quota": "100/day"},
    {"name": "pro", "features": ["export"]},
]
ROUTES = [
    {"path": "/", "upstream": "api"},
    {"path": "/export/", "upstream": "api", "feature": "export", "cost": 3},
]
WORKERS = 2


@pytest.fixture(scope="module")
def edge(make_module):
    return make_module.agent(make_module.upstream(), workers=WORKERS, tiers=TIERS,
                             routes=ROUTES).start()


class Crowd:
    """So many open connections in use that every worker has some."""

    def __init__(self, edge, key):
        self.connections = [edge.connect() for _ in range(40)]
        self.statuses(key)

    def statuses(self, key, path="/"):
        """Send a request on each connection; return the set of statuses."""
        return {c.request(path=path, key=key).status for c in self.connections}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for connection in self.connections:
            connection.close()


# ---- what a command prints ----


def test_account_create_prints_only_the_id(edge):
    result = edge.cli("account", "create", "--tier", "pro", "--label", "A & B")
    assert re.fullmatch(r"acc_[0-9a-f]{16}\n", result.stdout)
    shown = edge.json("account", "show", result.stdout.strip())
    assert (shown["tier"], shown["status"], shown["label"]) == ("pro", "active", "A & B")
    assert shown["held"] is False and shown["entitled"] is True


def test_account_create_as_json_has_id_tier_and_status(edge):
    made = edge.json("account", "create", "--tier", "free", "--customer", "cus_1",
                     "--subscription", "sub_1")
    assert (made["tier"], made["status"]) == ("free", "active")
    assert (made["customer"], made["subscription"]) == ("cus_1", "sub_1")
    assert made["quota"] == 100 and made["quota_used"] == 0


def test_account_list_shows_all_accounts(edge):
    made = {edge.json("account", "create", "--tier", "pro")["id"] for _ in range(3)}
    assert made <= {account["id"] for account in edge.json("account", "list")}
    table = edge.cli("account", "list").stdout.splitlines()
    assert table[0].split()[:3] == ["ID", "TIER", "STATUS"]
    assert made <= {line.split()[0] for line in table[1:]}


def test_account_set_changes_only_the_given_fields(edge):
    account = edge.json("account", "create", "--tier", "free", "--label", "old")["id"]
    edge.cli("account", "set", account, "--tier", "pro")
    shown = edge.json("account", "set", account, "--status", "trialing")
    assert (shown["tier"], shown["status"], shown["label"]) == ("pro", "trialing", "old")
    assert edge.json("account", "set", account, "--label", "")["label"] == ""


def test_key_create_prints_only_the_key_and_only_once(edge):
    account = edge.account("pro")
    result = edge.cli("key", "create", "--account", account.id, "--label", "ci")
    key = result.stdout.strip()
    assert re.fullmatch(r"tg_live_[0-9A-Za-z]+", key) and result.stdout == key + "\n"
    assert "only this once" in result.stderr and key not in result.stderr
    assert edge.get("/", headers=[("X-API-Key", key)]).status == 200
    listed = edge.cli("key", "list", "--json").stdout
    assert key not in listed and key[8:-4] not in listed


def test_key_create_as_json_has_key_id_and_account(edge):
    account = edge.account("pro")
    made = edge.json("key", "create", "--account", account.id)
    assert made["account"] == account.id and re.fullmatch("key_[0-9a-f]{16}", made["id"])
    assert edge.get("/", headers=[("X-API-Key", made["key"])]).status == 200


def test_key_list_of_an_account_shows_only_its_keys(edge):
    account, _other = edge.account("pro"), edge.account("pro")
    second = edge.json("key", "create", "--account", account.id, "--label", "two")
    listed = edge.json("key", "list", "--account", account.id)
    assert [key["id"] for key in listed] == [account.key_id, second["id"]]
    assert {key["account"] for key in listed} == {account.id}
    assert listed[1]["label"] == "two" and listed[1]["hint"].endswith(second["key"][-4:])
    assert len(edge.json("key", "list")) >= 3


def test_usage_shows_requests_and_units(edge):
    account = edge.account("pro")
    for path in ("/", "/", "/export/x"):
        assert edge.get(path, account).status == 200
    wait_usage(edge, account, 3)
    rows = edge.json("usage", account.id)
    assert sum(row["requests"] for row in rows) == 3
    assert sum(row["units"] for row in rows) == 5, "an export counts for three"
    assert {row["account"] for row in rows} == {account.id}
    assert edge.json("usage", account.id, "--since", "2100-01-01") == []
    assert account.id in edge.cli("usage", "--since", "1h").stdout


def test_status_shows_readiness_and_counts(edge):
    status = edge.json("status")
    assert status["ready"] is True and status["workers"] == WORKERS
    assert status["pid"] == edge.process.pid
    assert "is ready" in edge.cli("status").stdout


def test_metrics_are_prometheus_text_without_keys_or_accounts(edge):
    account = edge.account("pro")
    assert edge.get("/", account).status == 200
    text = edge.admin("GET", "/metrics").body.decode()
    assert edge.metrics()["tollgate_ready", frozenset()] == 1
    assert account.id not in text and "acc_" not in text and "tg_live" not in text
    families = re.findall(r"^# TYPE (\S+) (counter|gauge)$", text, re.M)
    assert len(families) == len(set(families)) > 10


def test_the_admin_address_serves_metrics_and_health_and_nothing_else(make):
    agent = make.agent(make.upstream())
    agent.configure(admin={"address": f"127.0.0.1:{agent.port + 5000}"})
    agent.start()
    unix, agent.socket = agent.socket, ("127.0.0.1", agent.port + 5000)
    for path, status in (("/metrics", 200), ("/healthz", 200), ("/readyz", 200),
                         ("/api/v1/status", 404), ("/api/v1/accounts", 404)):
        assert agent.admin("GET", path).status == status, path
    assert agent.admin("POST", "/api/v1/accounts", {"tier": "plain"}).status == 404
    agent.socket = unix
    assert agent.admin("GET", "/api/v1/status").status == 200


# ---- when a command returns, its change is in effect ----


def test_suspend_and_resume_take_effect_on_all_workers_at_once(edge):
    account = edge.account("pro")
    with Crowd(edge, account.key) as crowd:
        for _ in range(3):
            assert edge.json("account", "suspend", account.id)["held"] is True
            assert crowd.statuses(account.key) == {403}
            assert edge.json("account", "resume", account.id)["entitled"] is True
            assert crowd.statuses(account.key) == {200}


def test_a_subscription_status_takes_effect_at_once(edge):
    account = edge.account("pro")
    with Crowd(edge, account.key) as crowd:
        for status, answer in (("canceled", 403), ("trialing", 200), ("unpaid", 403),
                               ("past_due", 200), ("incomplete", 403), ("paused", 403),
                               ("incomplete_expired", 403), ("active", 200)):
            edge.cli("account", "set", account.id, "--status", status)
            assert crowd.statuses(account.key) == {answer}, status


def test_a_hold_outlasts_a_change_of_status(edge):
    account = edge.account("pro")
    edge.cli("account", "suspend", account.id)
    edge.cli("account", "set", account.id, "--status", "active")
    assert edge.get("/", account).status == 403


def test_a_change_of_tier_takes_effect_at_once(edge):
    account = edge.account("free")
    with Crowd(edge, edge.account("pro").key) as crowd:
        assert crowd.statuses(account.key, "/export/") == {403}
        edge.cli("account", "set", account.id, "--tier", "pro")
        assert crowd.statuses(account.key, "/export/") == {200}


def test_revoking_a_key_takes_effect_at_once_and_only_on_that_key(edge):
    account = edge.account("pro")
    second = edge.json("key", "create", "--account", account.id)
    with Crowd(edge, second["key"]) as crowd:
        shown = edge.json("key", "revoke", second["id"])
        assert shown["revoked"] is True
        assert crowd.statuses(second["key"]) == {401}
        assert crowd.statuses(account.key) == {200}


def test_all_keys_of_an_account_are_revoked_in_one_step(edge):
    account, other = edge.account("pro"), edge.account("pro")
    second = edge.json("key", "create", "--account", account.id)["key"]
    with Crowd(edge, second) as crowd:
        assert edge.json("key", "revoke", "--account", account.id) == {"account": account.id,
                                                                       "revoked": 2}
        assert crowd.statuses(second) == {401}
        assert crowd.statuses(account.key) == {401}
        assert crowd.statuses(other.key) == {200}
        assert all(key["revoked"] for key in edge.json("key", "list", "--account", account.id))
        fresh = edge.json("key", "create", "--account", account.id)["key"]
        assert crowd.statuses(fresh) == {200}
    shown = edge.cli("key", "revoke", "--account", account.id).stdout
    assert account.id in shown and "1" in shown


def test_rotate_ends_the_old_key_at_once(edge):
    account = edge.account("pro")
    with Crowd(edge, account.key) as crowd:
        key = edge.cli("key", "rotate", account.key_id).stdout.strip()
        assert crowd.statuses(account.key) == {401}
        assert crowd.statuses(key) == {200}


def test_rotate_with_an_overlap_keeps_both_keys_until_it_ends(edge):
    account = edge.account("pro")
    fresh = edge.json("key", "rotate", account.key_id, "--overlap", "1s")["key"]
    with edge.connect() as connection:
        assert connection.request(key=account.key).status == 200
        assert connection.request(key=fresh).status == 200
        wait_until(lambda: connection.request(key=account.key).status == 401, "the overlap ends")
        assert connection.request(key=fresh).status == 200
    old, new = edge.json("key", "list", "--account", account.id)
    assert old["revoked"] is True and new["revoked"] is False


def test_a_revoked_key_cannot_be_rotated(edge):
    account = edge.account("pro")
    edge.cli("key", "revoke", account.key_id)
    result = edge.cli("key", "rotate", account.key_id, check=False)
    assert result.returncode == 1 and "revoked" in result.stderr


def test_imported_keys_work_at_once_and_a_second_import_is_harmless(edge, tmp_path):
    account = edge.account("pro")
    keys = [f"legacy-{i}-{account.id}" for i in range(100)]
    path = tmp_path / "keys"
    path.write_text("# from the old system\n\n"
                    + "".join(f"{account.id} {key} label {i}\n" for i, key in enumerate(keys)))
    assert edge.json("key", "import", str(path)) == {"imported": 100, "present": 0}
    with Crowd(edge, keys[0]) as crowd:
        assert crowd.statuses(keys[99]) == {200}
    lines = path.read_text() + f"{account.id} one-more-{account.id}\n"
    again = edge.cli("key", "import", "-", "--json", stdin=lines)
    assert json.loads(again.stdout) == {"imported": 1, "present": 100}


def test_an_import_with_an_invalid_line_imports_nothing_and_names_the_line(edge, tmp_path):
    account = edge.account("pro")
    path = tmp_path / "keys"
    key = f"legacy-wrong-{account.id}"
    path.write_text(f"{account.id} {key}\n{account.id} short\n")
    result = edge.cli("key", "import", str(path), check=False)
    assert result.returncode == 1 and "line 2" in result.stderr and key not in result.stderr
    assert edge.get("/", headers=[("X-API-Key", key)]).status == 401


def test_changes_survive_a_restart(make):
    agent = make.agent(make.upstream()).start()
    account, gone = agent.account(), agent.account()
    agent.cli("account", "suspend", gone.id)
    agent.cli("account", "set", account.id, "--label", "kept")
    agent.kill()
    agent.start()
    assert agent.get("/", account).status == 200 and agent.get("/", gone).status == 403
    assert agent.show(account)["label"] == "kept"


# ---- exit codes ----


@pytest.mark.parametrize("words, code, said", [
    (["account", "create"], 2, "--tier"),
    (["account", "create", "--tier"], 2, "--tier"),
    (["account", "create", "--teir", "pro"], 2, "did you mean --tier"),
    (["account", "create", "--tier", "por"], 1, "did you mean 'pro'"),
    (["account", "create", "--tier", "pro", "--label", "l" * 200], 1, "'label'"),
    (["account", "show"], 2, "missing"),
    (["account", "show", "acc_1"], 2, "acc_"),
    (["account", "show", "acc_0000000000000001"], 1, "does not exist"),
    (["account", "set", "acc_0000000000000001"], 2, "nothing to change"),
    (["account", "set", "acc_0000000000000001", "--tier", "pro"], 1, "does not exist"),
    (["account", "suspnd", "acc_0000000000000001"], 2, "did you mean 'suspend'"),
    (["key", "create"], 2, "--account"),
    (["key", "create", "--account", "acc_0000000000000001"], 1, "does not exist"),
    (["key", "revoke", "key_0000000000000001"], 1, "does not exist"),
    (["key", "revoke", "tg_live_thekey"], 2, "key_"),
    (["key", "revoke"], 2, "either the id of a key or --account"),
    (["key", "revoke", "key_0000000000000001", "--account", "acc_0000000000000001"], 2, "either"),
    (["key", "revoke", "--account", "key_0000000000000001"], 2, "acc_"),
    (["key", "revoke", "--account", "acc_0000000000000001"], 1, "the account does not exist"),
    (["key", "rotate", "key_0000000000000001", "--overlap", "soon"], 2, "--overlap"),
    (["key", "import", "/nonexistent/file"], 1, "could not be opened"),
    (["usage", "--since", "yesterday"], 2, "--since"),
    (["deny", "10.0.0.1/8"], 1, "without bits behind the prefix"),
    (["deny", "example.com"], 1, "an address or a block"),
    (["deny", "10.0.0.1", "--for", "soon"], 2, "--for"),
    (["deny", "--for", "1h"], 2, "can only be used with addresses"),
    (["deny", "10.0.0.1", "--remove", "10.0.0.1"], 2, "either addresses, --remove or --list"),
    (["deny", "--remove", "10.0.0.1"], 1, "not on the deny list"),
    (["deny", "0.0.0.0/0"], 1, "--force"),
    (["allow", "10.0.0.1", "--force"], 2, "--force"),
    (["fastpath", "faster"], 2, "off, observe, drop or answer"),
    (["events", "--count", "0"], 2, "--count"),
    (["nonsense"], 2, "nonsense"),
    (["check", "a", "b"], 2, "too many arguments"),
    (["run", "extra"], 2, "too many arguments"),
    (["run", "--confg", "a"], 2, "did you mean --config?"),
    (["statsu"], 2, "did you mean 'status'?"),
    (["--sokcet", "a", "status"], 2, "did you mean --socket?"),
    (["store", "move", "a", "b"], 2, "did you mean 'migrate'?"),
    ([], 2, "a subcommand is missing"),
])
def test_an_error_is_explained_and_has_its_exit_code(edge, words, code, said):
    result = edge.cli(*words, check=False)
    assert result.returncode == code, result
    assert said in result.stderr and not result.stdout, result


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["run", "--help"], ["check", "--help"],
                                   ["status", "--help"], ["account", "--help"], ["key", "--help"],
                                   ["key", "create", "--help"], ["usage", "--help"],
                                   ["deny", "--help"], ["allow", "--help"],
                                   ["fastpath", "--help"], ["events", "--help"]])
def test_help_exits_with_0(words):
    result = subprocess.run([tollgate(), *words], capture_output=True, text=True, check=False)
    assert result.returncode == 0 and result.stdout and not result.stderr


def test_without_an_agent_every_command_says_so_and_exits_with_1(make):
    agent = make.agent()
    for words in (["status"], ["account", "list"], ["key", "list"], ["reload"], ["usage"], ["deny"],
                  ["allow", "10.0.0.1"], ["fastpath"], ["events"]):
        result = agent.cli(*words, check=False)
        assert result.returncode == 1
        assert "not running" in result.stderr and agent.socket in result.stderr


def test_only_the_owner_may_use_the_socket(edge):
    mode = subprocess.run(["stat", "-c", "%a", edge.socket], capture_output=True, text=True,
                          check=True).stdout.strip()
    assert mode == "600"
    result = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", tollgate(), "--socket",
                             edge.socket, "status"], capture_output=True, text=True, check=False)
    assert result.returncode == 1
