# SPDX-License-Identifier: BSD-2-Clause
"""The manuals name everything that the program has, and nothing that it does not have."""
import json
import re

import pytest

import mdoc
from mdoc import TREE


def source(path):
    return (TREE / path).read_text(encoding="utf-8")


def same(documented, real, what):
    """Both are collections of names; a failure lists what is missing where."""
    documented, real = set(documented), set(real)
    assert documented == real, (f"{what}: not documented: {sorted(real - documented)}; "
                                f"documented, but does not exist: {sorted(documented - real)}")


# ---- options: tollgate.yaml(5) against the schema, which a unit test compares with the parser ----


def schema_options():
    """{"stripe.grace": its schema}, and which of them are required."""
    options, required = {}, set()

    def walk(prefix, mapping):
        required.update(prefix + name for name in mapping.get("required", ()))
        for name, option in mapping["properties"].items():
            options[prefix + name] = option
            inner = option.get("items", option)
            if "properties" in inner:
                walk(f"{prefix}{name}.", inner)

    walk("", json.loads(source("scripts/tollgate.schema.json")))
    return options, required


def manual_options():
    """{"stripe.grace": "duration; default 7d; up to 365d; reload: yes"}"""
    found = {}
    for item in mdoc.items("tollgate.yaml.5", "OPTIONS"):
        prefix = "" if item.subsection == "Top level" else item.subsection + "."
        assert item.head.startswith("Ic "), item.head
        assert item.body[0].startswith(".Em "), f"{item.head}: no line with type and default"
        found[prefix + item.head[3:]] = item.body[0][4:]
    return found


def test_every_option_is_in_the_manual_and_no_other():
    same(manual_options(), schema_options()[0], "options")


def enum_words(option):
    return [str(word) for choice in option.get("anyOf", ()) for word in choice.get("enum", ())
            if isinstance(word, str)]


def bounds(option):
    for choice in option.get("anyOf", ()):
        if "minimum" in choice and choice["maximum"] != 2**32 - 1:
            return f"{choice['minimum']} to {choice['maximum']}"
    return None


def default_text(option):
    default = option["default"]
    if isinstance(default, bool):
        return str(default).lower()
    return "empty" if default == "" else str(default)


def test_defaults_words_and_ranges_in_the_manual_are_those_of_the_schema():
    manual = manual_options()
    options, required = schema_options()
    for name, option in options.items():
        parts = manual[name].split("; ")
        if "default" in option:
            assert f"default {default_text(option)}" in parts, (name, manual[name])
        assert ("required" in parts) == (name in required), (name, manual[name])
        if bounds(option):
            assert bounds(option) in parts, (name, manual[name])
        words = enum_words(option)
        assert not words or set(words) == set(re.split(r", | or ", parts[0])), (name, parts[0])


def test_what_a_reload_applies_is_what_the_code_says():
    table = re.search(r"config_needs_restart\(.*?\} rows\[\] = \{(.*?)\n\t\};",
                      source("user/config/config.c"), re.S)
    restart = set(re.findall(r'\{ "([a-z_.]+)",', table[1]))
    assert len(restart) > 10
    for name, words in manual_options().items():
        reload = re.search(r"reload: (yes|no|partly)$", words)
        assert reload, (name, words)
        if name in ("listeners.certificate", "listeners.private_key"):
            continue  # the files are read again
        section = name.split(".")[0]
        needs_restart = name in restart or section in restart
        if reload[1] != "partly":
            assert (reload[1] == "no") == needs_restart, (name, words)


def test_names_set_as_options_in_other_pages_are_options():
    options = schema_options()[0]
    known = set(options) | {name.split(".")[-1] for name in options}
    for page in mdoc.PAGES:
        for word in mdoc.words(page, "Ic"):
            name = word.split()[0].rstrip(":,")
            if re.fullmatch(r"[a-z_.]+", name):
                assert name in known, (page, word)


@pytest.mark.parametrize("page", ["README.md", "tollgate.yaml.5"])
def test_the_first_configuration_is_correct(page, tollgate, tmp_path):
    if page == "README.md":
        blocks = re.findall(r"```yaml\n(.*?)```", source(page), re.S)
    else:
        blocks = mdoc.literal_blocks(page, "DESCRIPTION")
    path = tmp_path / "tollgate.yaml"
    path.write_text(next(b for b in blocks if "listeners:" in b), encoding="utf-8")
    assert tollgate("check", str(path)).endswith(": ok\n")


# ---- commands: tollgate(8) against the program's help ----

LONG_FORMS = {"config": "c"}
MACROS = {"Oo", "Oc", "Op", "Fl", "Ar", "Cm"}


def flags_in_help(text):
    long = re.findall(r"(?<![\w-])--([a-z][a-z-]*)", text)
    short = re.findall(r"(?<![\w-])-([a-zA-Z])(?![\w-])", text)
    return {LONG_FORMS.get(flag, flag) for flag in long + short}


def real_commands(tollgate):
    """{"key rotate": {"overlap", "json"}}"""
    found = {}
    for name in re.findall(r"^  ([a-z]+) +\w", tollgate("--help"), re.M):
        text = tollgate(name, "--help")
        actions = dict.fromkeys(re.findall(rf"tollgate {name} ([a-z]+)", text))
        if name not in ("account", "key", "store", "stripe"):
            found[name] = flags_in_help(text)
            for action in actions:
                found[f"{name} {action}"] = flags_in_help(text) & {"json"}
        elif name == "store":
            found["store migrate"] = flags_in_help(text)
        else:
            for action in actions:
                found[f"{name} {action}"] = flags_in_help(tollgate(name, action, "--help"))
    return found


def flags_in_manual(line):
    return {LONG_FORMS.get(flag, flag) for flag in re.findall(r"Fl (?:Fl )?([a-zA-Z][a-z-]*)(?= |$)", line)
            if flag != "Fl"}


def manual_commands():
    found, command = {}, None
    for item in mdoc.items("tollgate.8", "COMMANDS"):
        if item.head.startswith("Cm "):
            words = item.head.split()[1:]
            end = next((i for i, word in enumerate(words) if word in MACROS), len(words))
            command = " ".join(words[:end])
        found.setdefault(command, set()).update(flags_in_manual(item.head))
    return found


def test_every_command_and_option_is_in_the_manual_and_no_other(tollgate):
    real, manual = real_commands(tollgate), manual_commands()
    same(manual, real, "commands")
    for command, flags in real.items():
        same(manual[command], flags - {"json", "help"}, f"options of '{command}'")


def test_json_is_an_option_of_the_commands_that_the_manual_says(tollgate):
    without = {name for name, flags in real_commands(tollgate).items() if "json" not in flags}
    assert without == {"run", "check", "store migrate"}


def test_general_options_are_those_of_main(tollgate):
    real = set(re.findall(r"--([a-z]+)\b", tollgate("--help")))
    manual = set()
    for item in mdoc.items("tollgate.8", "GENERAL OPTIONS"):
        manual |= flags_in_manual(item.head)
    same(manual - {"h", "s", "V"}, real, "general options")
    assert tollgate("-h") == tollgate("--help") and tollgate("-V") == tollgate("--version")


# ---- metrics ----


def manual_metrics():
    """{name: (type, labels)}"""
    found = {}
    for item in mdoc.items("tollgate-metrics.7", "METRICS"):
        match = re.fullmatch(r"Li (\w+) Pq (counter|gauge)(?:, labels? (\w+)(?: and (\w+))?)?", item.head)
        assert match, item.head
        found[match[1]] = (match[2], {label for label in match.groups()[2:] if label})
    return found


def emitted_metrics():
    found = {}
    for path in sorted((TREE / "user").rglob("*.c")):
        for part in path.read_text(encoding="utf-8").split("metrics_family(")[1:]:
            head = re.match(r'&?m, "(tollgate_\w+)", "(\w+)"', part)
            if not head:
                continue
            labels = set()
            for call in re.findall(r'metrics_sample\(\s*&?m,\s*"(\w+)",[^,]*,\s*(?:"(\w+)"|NULL)', part):
                labels |= {label for label in call if label}
            found[head[1]] = (head[2], labels)
    return found


def test_every_metric_is_in_the_manual_and_no_other():
    real, manual = emitted_metrics(), manual_metrics()
    assert len(real) > 20
    same(manual, real, "metrics")
    for name, kind_and_labels in real.items():
        assert manual[name] == kind_and_labels, name


def test_what_an_agent_says_of_its_metrics_is_in_the_manual(admin):
    status, text = admin.call("GET", "/metrics")
    families = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
    assert status == 200 and len(families) > 10
    manual = manual_metrics()
    for name, kind in families.items():
        assert manual[name][0] == kind, name


def test_every_counter_of_xdp_is_in_the_manual_and_no_other():
    table = re.search(r"#define TOLLGATE_COUNTERS\(X\)(.*?)\n\n", source("include/tollgate/abi.h"), re.S)
    real = re.findall(r'X\(\w+, "(\w+)"\)', table[1])
    manual = [item.head[3:] for item in mdoc.items("tollgate-fastpath.7", "OBSERVING")]
    assert len(real) > 30 and len(manual) == len(set(manual))
    same(manual, real, "counters")


# ---- the admin API ----


def admin_calls():
    """{"GET /api/v1/accounts/ID": whether it is on the TCP address too}"""
    rows = re.findall(r'\{ "([A-Z]+)", "(/[^"]*)", (true|false), (?:true|false), \w+ \}',
                      source("user/admin/admin.c"))
    return {f"{method} {path.replace('{}', 'ID')}": is_open == "true" for method, path, is_open in rows}


def manual_calls():
    return {item.head[3:]: item for item in mdoc.items("tollgate-admin.7", "CALLS")
            if item.head.startswith("Ic ")}


def test_every_admin_call_is_in_the_manual_and_no_other():
    real, manual = admin_calls(), manual_calls()
    assert len(real) > 20
    same(manual, real, "admin calls")
    for call, is_open in real.items():
        assert (manual[call].subsection == "Health and metrics") == is_open, call


def test_every_member_of_an_answer_is_in_the_manual(admin):
    page = "\n".join(mdoc.lines("tollgate-admin.7"))
    known = set(re.findall(r"[a-z_]+", page))
    account = admin.json("POST", "/api/v1/accounts", {"tier": "free", "label": "docs"})
    key = admin.json("POST", "/api/v1/keys", {"account": account["id"]})
    entry = admin.json("POST", "/api/v1/lists", {"list": "deny", "cidr": "192.0.2.1", "for": "1h"})
    answers = [account, key, entry] + [
        admin.json("GET", f"/api/v1/{path}") for path in
        ("status", "tiers", "fastpath", "events", "accounts", "keys", "lists", "usage")]
    answers += [admin.json("POST", "/api/v1/reload"), admin.json("POST", f"/api/v1/keys/{key['id']}/revoke"),
                admin.json("POST", f"/api/v1/accounts/{account['id']}/keys/revoke")]
    for answer in answers:
        for row in answer if isinstance(answer, list) else [answer]:
            assert set(row) <= known, set(row) - known
            for host in row.get("hosts", ()):
                assert set(host) <= known, set(host) - known


# ---- verdicts ----


def test_every_verdict_is_in_the_manual_with_its_status_and_words():
    real = {label: (int(status), detail) for label, status, detail in re.findall(
        r'X\(\w+, "(\w+)", (\d+), "([^"]*)"\)', source("include/tollgate/verdict.h"))}
    items = {item.head.split()[1]: item.head
             for item in mdoc.items("tollgate.8", "WHAT CLIENTS SEE", "Verdicts")}
    same(items, real, "verdicts")
    for label, (status, detail) in real.items():
        expected = f"Li {label}"
        if status == 200 or detail:
            expected += rf" No \(em {status}"
        if detail:
            expected += rf" No \(em Dq {detail}"
        assert items[label] == expected


# ---- what else has names ----


def test_keys_in_redis_are_those_that_the_scripts_use():
    real = set()
    for path in (TREE / "user/store/redis/lua").glob("*.lua"):
        real |= set(re.findall(r"P \.\. '([a-z_]+)", path.read_text(encoding="utf-8")))
    manual = set()
    for item in mdoc.items("tollgate-redis.7", "KEYS IN REDIS"):
        manual |= {word.split(":")[0] for word in item.head[3:].split(" , ")}
    same(manual, real, "keys in Redis")


def needed_events():
    """The names in the code's table of events: those in NAMES(), or else the first one of the row."""
    table = re.search(r"rules\[\] = \{(.*?)\n\};", source("user/stripe/event.c"), re.S)
    rows = re.findall(r'\{ "([a-z_.]+)",\s*EVENT_.*?(?:NAMES\(([^)]*)\)|NULL) \}', table[1], re.S)
    assert len(rows) == table[1].count("EVENT_")
    return [name for first, names in rows
            for name in (re.findall(r'"([a-z0-9_.]+)"', names) if names else [first])]


def test_events_of_stripe_are_those_that_the_code_needs():
    real = needed_events()
    blocks = mdoc.literal_blocks("tollgate-stripe.7", "WEBHOOKS")
    assert len(real) == len(set(real)) and not any(name.endswith((".", "*")) for name in real)
    same(blocks[0].split(), [name for name in real if not name.startswith("v1.")], "snapshot events")
    same(blocks[1].split(), [name for name in real if name.startswith("v1.")], "thin events")


def test_setup_prints_the_events_that_the_manual_lists(tollgate):
    printed = json.loads(tollgate("stripe", "setup", "--print", "--json", "--url", "https://a.example.com"))
    blocks = mdoc.literal_blocks("tollgate-stripe.7", "WEBHOOKS")
    assert printed["snapshot_events"] == blocks[0].split()
    assert printed["thin_events"] == blocks[1].split()
    text = tollgate("stripe", "setup", "--print", "--url", "https://a.example.com")
    assert all(f"    {name}\n" in text for name in blocks[0].split() + blocks[1].split())
    listen = next(b for b in mdoc.literal_blocks("tollgate-stripe.7", "EXAMPLES") if "stripe listen" in b)
    assert f"--thin-events {','.join(printed['thin_events'])}\n" in listen and "--forward-thin-to" in listen


def test_templates_replace_the_values_and_have_the_names_that_the_manual_says():
    types = re.findall(r'X\([A-Z0-9_]+, "(\w+)"\)', source("user/config/template.h"))
    manual = re.findall(r"^\.It (\w+) Ta ", "\n".join(mdoc.lines("tollgate-stripe.7")).split(".Sh NOTICES")[1], re.M)
    same(manual, types, "types of notices")
    packed = re.search(r"int template_check\(.*?json_pack\((.*?)\);", source("user/config/template.c"), re.S)
    real = set(re.findall(r'"([a-z_]+)"', packed[1]))
    block = "\n".join(mdoc.literal_blocks("tollgate-stripe.7", "NOTICES"))
    same(re.findall(r"\{\{(\w+)\}\}", block), real, "values in templates")


def test_pages_and_files_that_documents_point_to_exist():
    for page in mdoc.PAGES:
        text = "\n".join(mdoc.lines(page))
        for name, section in re.findall(r"Xr (tollgate\S*) (\d)", text):
            assert (mdoc.FOLDER / f"{name}.{section}").exists(), (page, name)
    for path in ("README.md", "user/README.md", "bpf/README.md", "tests/README.md",
                 ".github/CONTRIBUTING.md"):
        folder = (TREE / path).parent
        for target in re.findall(r"\]\(([^)#:]+)\)", source(path)):
            assert (folder / target).exists(), (path, target)


def test_the_door_is_short():
    assert len(source("README.md").splitlines()) <= 200
