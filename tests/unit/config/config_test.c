/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * config_test: the exact messages, with line and column, for invalid configurations, and which
 * changes need a restart. values_test.c tests what valid configurations contain.
 */
#include "unit/config/config_fixture.h"

#include <stdlib.h>

/* Most rows add one line to this, which is line 5. */
#define BASE                                                            \
	"listeners: [{ name: a, address: \"127.0.0.1:80\" }]\n"         \
	"upstreams: [{ name: api, servers: [\"127.0.0.1:9000\"] }]\n"   \
	"tiers: [{ name: free, rate: 10/s, burst: 20, quota: 30/day }," \
	" { name: pro, features: [export] }]\n"                         \
	"# and then\n"

#define CHECK_WRONG(rows) check_wrong(rows, sizeof(rows) / sizeof((rows)[0]), NULL)

static void invalid_documents_are_refused(void **state)
{
	static const struct wrong rows[] = {
		{ "", "t.yaml:1:1: the file is empty\n", "an empty file" },
		{ "# a comment\n", "t.yaml:1:1: the file is empty\n", "only a comment" },
		{ "text",
		  "t.yaml:1:1: expected the configuration, a mapping of options, but found a "
		  "single value\n",
		  "not a mapping" },
		{ "a: [\n", "t.yaml:2:1: did not find expected node content\n", "broken YAML" },
		{ "\xff", "t.yaml:1:1: invalid leading UTF-8 octet\n", "not UTF-8" },
		{ "a: &x b\n", "t.yaml:1:4: anchors are not supported\n", "an anchor" },
		{ "a: *x\n", "t.yaml:1:4: aliases are not supported\n", "an alias" },
		{ "a: !!int 1\n", "t.yaml:1:4: tags are not supported\n", "a tag" },
		{ BASE "---\na: b\n", "t.yaml:5:1: only one document is allowed in a file\n",
		  "two documents" },
		{ "[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]",
		  "t.yaml:1:17: lists and mappings are nested too deeply\n", "17 deep" },
		{ "workers: 1\n", "t.yaml:1:1: the configuration needs the option 'listeners'\n",
		  "no listener" },
		{ "listeners: []\n", "t.yaml:1:12: at least one listener is needed\n",
		  "an empty list" },
	};

	(void)state;
	CHECK_WRONG(rows);
}

static void unknown_and_duplicate_options_are_reported_with_their_position(void **state)
{
	static const struct wrong rows[] = {
		{ BASE "tierz: []\n", "t.yaml:5:1: unknown option 'tierz', did you mean 'tiers'?\n",
		  "a name similar to an option" },
		{ BASE "qqqqqqq: 1\n", "t.yaml:5:1: unknown option 'qqqqqqq'\n",
		  "a name similar to none" },
		{ BASE "strip: {}\n",
		  "t.yaml:5:1: unknown option 'strip', did you mean 'stripe'?\n",
		  "a section's name" },
		{ BASE "stripe: {}\n",
		  "t.yaml:5:9: stripe needs the option 'secret_key' or 'secret_key_file'\n",
		  "billing without a secret" },
		{ BASE "workers: 1\nworkers: 2\n", "t.yaml:6:1: option 'workers' is given twice\n",
		  "twice" },
		{ BASE "[a]: 1\n", "t.yaml:5:1: expected the name of an option, found a list\n",
		  "a name that is not a scalar" },
		{ BASE "fastpath: { mod: auto }\n",
		  "t.yaml:5:13: unknown option 'mod', did you mean 'mode'?\n", "in a mapping" },
		{ BASE "routes: [{ path: /, upstream: api, pubic: true }]\n",
		  "t.yaml:5:36: unknown option 'pubic', did you mean 'public'?\n",
		  "in a list of mappings" },
		{ BASE "log: infos\n",
		  "t.yaml:5:6: 'infos' is not valid; use error, warn, info or debug (did you mean "
		  "'info'?)\n",
		  "a word similar to a valid one" },
		{ BASE "on_stale: xxxxxx\n",
		  "t.yaml:5:11: 'xxxxxx' is not valid; use allow or refuse\n",
		  "a word similar to none" },
		{ BASE "tierz: []\nlog: infos\nworkers: x\n",
		  "t.yaml:5:1: unknown option 'tierz', did you mean 'tiers'?\nt.yaml:7:10: 'x' is "
		  "not valid; use a whole number from 0 to 1024\nt.yaml:6:6: 'infos' is not valid; "
		  "use error, warn, info or debug (did you mean 'info'?)\n",
		  "every error is reported" },
	};

	(void)state;
	CHECK_WRONG(rows);
}

static void values_are_parsed_strictly(void **state)
{
	static const struct wrong rows[] = {
		{ BASE "workers: 0x10\n",
		  "t.yaml:5:10: '0x10' is not valid; use a whole number from 0 to 1024\n", "hex" },
		{ BASE "workers: 1_000\n",
		  "t.yaml:5:10: '1_000' is not valid; use a whole number from 0 to 1024\n",
		  "YAML 1.1's digits" },
		{ BASE "workers: 1025\n",
		  "t.yaml:5:10: '1025' is not valid; use a whole number from 0 to 1024\n",
		  "out of range" },
		{ BASE "workers: [1]\n", "t.yaml:5:10: expected a single value, found a list\n",
		  "a list" },
		{ BASE "workers: { a: b }\n",
		  "t.yaml:5:10: expected a single value, found a mapping\n", "a mapping" },
		{ BASE "fastpath: { required: yes }\n",
		  "t.yaml:5:23: 'yes' is not valid; use true or false\n", "YAML 1.1's yes" },
		{ BASE "drain: 30\n",
		  "t.yaml:5:8: '30' is not a valid duration; use for example 500ms, 30s, 5m, 24h "
		  "or 7d\n",
		  "no unit" },
		{ BASE "limits: { head: 16kb }\n",
		  "t.yaml:5:17: '16kb' is not a valid size; use for example 512, 64k, 10m or 1g\n",
		  "no such unit" },
		{ BASE "limits: { head: 1 }\n",
		  "t.yaml:5:17: the size must be from 1024 to 1048576 bytes\n",
		  "a size that is too small" },
		{ BASE "max_accounts: 0\n",
		  "t.yaml:5:15: '0' is not valid; use a whole number from 1 to 4194304\n",
		  "none at all" },
		{ BASE "instance: a/b\n",
		  "t.yaml:5:11: 'a/b' is not a valid instance; use up to 32 letters, digits, '_' "
		  "and '-'\n",
		  "a path" },
		{ BASE "key_prefix: tg_\n",
		  "t.yaml:5:13: 'tg_' is not a valid prefix; use up to 32 characters of a-z, 0-9 "
		  "and '_', the last of which must not be '_'\n",
		  "ends in _" },
		{ BASE "store: redis://:secret@h:0\n",
		  "t.yaml:5:8: must be redis://[user:password@]host[:port][/database]\n",
		  "the URL, which may have a password, is not shown" },
		{ BASE "state_dir:\n", "t.yaml:5:11: a file name must have 1 to 1024 bytes\n",
		  "nothing" },
		{ BASE "user: \"a\\nb\"\n", "t.yaml:5:7: the value contains a control character\n",
		  "a line break" },
		{ BASE "trusted_proxies: [10.0.0.0/8, 10.0.0.1/8]\n",
		  "t.yaml:5:31: '10.0.0.1/8' is not a valid address block; use for example "
		  "10.0.0.0/8 or 2001:db8::1\n",
		  "bits set after the prefix" },
		{ BASE "admin: { address: \"localhost:1\" }\n",
		  "t.yaml:5:19: 'localhost:1' is not an address with a port; use for example "
		  "0.0.0.0:8080 or [::1]:80\n",
		  "a name instead of an address" },
		{ BASE "user: ${TOLLGATE_TEST_UNSET}\n",
		  "t.yaml:5:7: the environment variable 'TOLLGATE_TEST_UNSET' is not set\n",
		  "an unset name" },
		{ BASE "user: ${1}\n",
		  "t.yaml:5:7: '${' must be followed by NAME} or NAME:-text}\n", "no name" },
		{ BASE "user: ${A\n", "t.yaml:5:7: '${' must be followed by NAME} or NAME:-text}\n",
		  "no end" },
	};

	(void)state;
	CHECK_WRONG(rows);
}

static void listeners_and_upstreams_are_checked(void **state)
{
	static const struct wrong rows[] = {
		{ "listeners: [{ name: a }]\n",
		  "t.yaml:1:13: a listener needs the option 'address'\n", "no address" },
		{ "listeners: [{ name: a, address: \"1.2.3.4:0\" }]\n",
		  "t.yaml:1:33: '1.2.3.4:0' is not an address with a port; use for example "
		  "0.0.0.0:8080 or [::1]:80\n",
		  "port 0" },
		{ "listeners:\n  - { name: a, address: \"1.2.3.4:1\" }\n"
		  "  - { name: a, address: \"1.2.3.4:2\" }\n",
		  "t.yaml:3:13: there is already a listener with the name 'a'\n", "a name twice" },
		{ "listeners:\n  - { name: a, address: \"1.2.3.4:1\" }\n"
		  "  - { name: b, address: \"1.2.3.4:1\" }\n",
		  "t.yaml:3:25: listener 'a' already has this address\n", "an address twice" },
		{ "listeners: [{ name: a }, { name: b }]\n",
		  "t.yaml:1:13: a listener needs the option 'address'\nt.yaml:1:26: a listener "
		  "needs the option 'address'\n",
		  "two missing addresses are not reported as equal" },
		{ "listeners: [{ name: a, address: \"[::]:1\", certificate: c }]\n",
		  "t.yaml:1:56: a certificate needs the option 'private_key'\n", "no private key" },
		{ "listeners: [{ name: a, address: \"[::]:1\", private_key: c }]\n",
		  "t.yaml:1:56: a private key needs the option 'certificate'\n", "no certificate" },
		{ "listeners: [{ name: a, address: \"[::]:1\", interfaces: [a/b] }]\n",
		  "t.yaml:1:55: 'a/b' is not a valid interface name\n",
		  "an invalid interface name" },
		{ "listeners: [{ name: a b, address: \"[::]:1\" }]\n",
		  "t.yaml:1:21: 'a b' is not a valid name; use up to 63 letters, digits, '_', '.' "
		  "and '-'\n",
		  "a space" },
		{ "listeners: [{ name: a, address: \"[::]:1\" }]\nupstreams: [{ name: u, servers: "
		  "[] }]\n",
		  "t.yaml:2:33: an upstream must have 1 to 256 servers\n", "no server" },
		{ "listeners: [{ name: a, address: \"[::]:1\" }]\n"
		  "upstreams: [{ name: u, servers: [\"a b:1\", \"1.2.3:4\"] }]\n",
		  "t.yaml:2:34: 'a b:1' is not a valid server; use for example 10.0.0.1:9000 or "
		  "api.internal:9000\nt.yaml:2:43: '1.2.3:4' is not a valid server; use for "
		  "example 10.0.0.1:9000 or api.internal:9000\n",
		  "neither an address nor a name" },
		{ "listeners: [{ name: a, address: \"[::]:1\" }]\n"
		  "upstreams: [{ name: u, servers: [\"api.invalid:1\"] }]\n",
		  "t.yaml:2:34: cannot resolve 'api.invalid': names are not resolved here\n",
		  "a name, where names are not resolved" },
	};

	(void)state;
	config_resolves_names = false;
	CHECK_WRONG(rows);
	config_resolves_names = true;
}

static void tiers_are_checked(void **state)
{
#define TIERS "listeners: [{ name: a, address: \"[::]:1\" }]\ntiers:\n"
	static const struct wrong rows[] = {
		{ TIERS "  - { name: t, rate: 10 }\n",
		  "t.yaml:3:22: '10' is not a valid rate; use a whole number, for example 10/s, "
		  "30/m or 3600/h\n",
		  "no unit" },
		{ TIERS "  - { name: t, rate: 0/s }\n",
		  "t.yaml:3:22: '0/s' is not a valid rate; use a whole number, for example 10/s, "
		  "30/m or 3600/h\n",
		  "nothing" },
		{ TIERS "  - { name: t, burst: 5 }\n",
		  "t.yaml:3:23: a burst needs the option 'rate'\n", "burst without rate" },
		{ TIERS "  - { name: t, rate: 1/h, burst: 1000000000 }\n",
		  "t.yaml:3:34: a burst of 1000000000 is too large for this rate\n",
		  "10^9 * 3.6 * 10^12 ns is not below 2^62" },
		{ TIERS "  - { name: t, quota: 10/week }\n",
		  "t.yaml:3:23: '10/week' is not a valid quota; use a whole number up to "
		  "1099511627775, for example 1000/day or 10000/month\n",
		  "no such period" },
		{ TIERS "  - { name: t, quota: 1099511627776/day }\n",
		  "t.yaml:3:23: '1099511627776/day' is not a valid quota; use a whole number up to "
		  "1099511627775, for example 1000/day or 10000/month\n",
		  "2^40" },
		{ TIERS "  - { name: t, quota: 0/day }\n",
		  "t.yaml:3:23: '0/day' is not a valid quota; use a whole number up to "
		  "1099511627775, for example 1000/day or 10000/month\n",
		  "a quota of 0" },
		{ TIERS "  - { name: t }\n  - { name: t }\n",
		  "t.yaml:4:13: there is already a tier with the name 't'\n", "a name twice" },
		{ TIERS "  - { name: t, prices: [p, q] }\n  - { name: u, prices: [r, q] }\n",
		  "t.yaml:4:28: price 'q' already belongs to tier 't'\n", "a price twice" },
		{ TIERS "  - { name: t, prices: [p, p] }\n",
		  "t.yaml:3:28: price 'p' already belongs to tier 't'\n",
		  "a price twice in one tier" },
		{ TIERS "  - { name: t, extra_prices: [p] }\n",
		  "t.yaml:3:30: 'extra_prices' needs the option 'prices'\n", "nothing to add to" },
		{ TIERS "  - { name: t, prices: [p], extra_prices: [p] }\n",
		  "t.yaml:3:44: price 'p' selects tier 't', so it cannot be an extra price; "
		  "remove it from one of the two\n",
		  "an extra price of its own tier" },
		{ TIERS "  - { name: t, prices: [p] }\n"
			"  - { name: u, prices: [q], extra_prices: [r, p] }\n",
		  "t.yaml:4:47: price 'p' selects tier 't', so it cannot be an extra price; "
		  "remove it from one of the two\n",
		  "the price of an earlier tier" },
		{ TIERS "  - { name: t, prices: [p], extra_prices: [q] }\n"
			"  - { name: u, prices: [q] }\n",
		  "t.yaml:4:24: price 'q' is an extra price of tier 't', so it cannot select a "
		  "tier; remove it from one of the two\n",
		  "the price of a later tier" },
		{ TIERS "  - { name: t, trial_days: 731, prices: [p] }\n",
		  "t.yaml:3:28: '731' is not valid; use a whole number from 1 to 730\n",
		  "more than Stripe accepts" },
		{ TIERS "  - { name: t, trial_days: 7, per_seat: true }\n",
		  "t.yaml:3:28: 'trial_days' needs the option 'prices'\n"
		  "t.yaml:3:41: 'per_seat' needs the option 'prices'\n",
		  "a tier that is not for sale" },
		{ TIERS "  - { name: t, concurrency: 0 }\n",
		  "t.yaml:3:29: '0' is not valid; use a whole number from 1 to 1000000\n",
		  "a concurrency of 0" },
	};

	(void)state;
	CHECK_WRONG(rows);
}

static void routes_are_checked_against_tiers_and_upstreams(void **state)
{
#define ROUTE(rest) BASE "routes: [{ path: /x, upstream: api, " rest " }]\n"
	static const struct wrong rows[] = {
		{ BASE "routes: [{ path: /, upstream: apl }]\n",
		  "t.yaml:5:31: unknown upstream 'apl', did you mean 'api'?\n",
		  "no such upstream" },
		{ BASE "routes: [{ path: x, upstream: api }]\n",
		  "t.yaml:5:18: a path must begin with '/'\n", "no slash" },
		{ BASE "routes: [{ path: /a//b, upstream: api }]\n",
		  "t.yaml:5:18: '/a//b' can never match a request; use a path without query, '//', "
		  "dot segments and unnecessary escapes\n",
		  "empty segment" },
		{ BASE "routes: [{ path: \"/a?b\", upstream: api }]\n",
		  "t.yaml:5:18: '/a?b' can never match a request; use a path without query, '//', "
		  "dot segments and unnecessary escapes\n",
		  "a query" },
		{ BASE "routes:\n  - { path: /, upstream: api }\n  - { path: /, upstream: api }\n",
		  "t.yaml:7:13: there is already a route with the path '/'\n", "a path twice" },
		{ ROUTE("feature: exports"),
		  "t.yaml:5:46: unknown tier feature 'exports', did you mean 'export'?\n",
		  "no tier has the feature" },
		{ ROUTE("feature: export, public: true"),
		  "t.yaml:5:46: a public route needs no key, so it cannot require a feature\n",
		  "public, with a feature" },
		{ ROUTE("cost: 2, public: true"),
		  "t.yaml:5:43: a public route needs no key, so it cannot have a cost\n",
		  "public, with a cost" },
		{ ROUTE("cost: 21"),
		  "t.yaml:5:43: the cost 21 of route '/x' is higher than the burst 20 of tier "
		  "'free', so its requests would always be refused\n",
		  "above the burst" },
		{ ROUTE("host: \"a b\""),
		  "t.yaml:5:43: 'a b' is not a valid host; use for example api.internal:8080\n",
		  "an invalid host" },
		{ "listeners: [{ name: a, address: \"[::]:1\" }]\n"
		  "upstreams: [{ name: api, servers: [\"1.2.3.4:5\"] }]\n"
		  "tiers: [{ name: t, quota: 4/day }]\n"
		  "routes: [{ path: /, upstream: api, cost: 5 }]\n",
		  "t.yaml:4:42: the cost 5 of route '/' is higher than the quota 4 of tier 't', so "
		  "its requests would always be refused\n",
		  "above the quota" },
	};

	(void)state;
	CHECK_WRONG(rows);
}

static void a_cost_is_checked_only_for_tiers_that_may_use_the_route(void **state)
{
	struct config *config;

	(void)state;
	config = parse_ok(ROUTE("feature: export, cost: 21"));
	assert_int_equal(config->routes.list[0].cost, 21);
	assert_int_equal(config->routes.list[0].feature, 0);
	config_free(config);
	config = parse_ok(ROUTE("cost: 20"));
	config_free(config);
}

static void the_number_of_features_is_limited(void **state)
{
	struct config *config;
	struct buf yaml, messages;
	int err;

	(void)state;
	buf_init(&yaml, 1 << 16);
	buf_append_str(&yaml, "listeners: [{ name: a, address: \"[::]:1\" }]\ntiers:\n"
			      "  - { name: t, features: [f0");
	for (int i = 1; i < 65; i++)
		buf_printf(&yaml, ", f%d", i);
	buf_printf(&yaml, "] }\n%c", 0);
	config = parse(buf_head(&yaml), &messages, &err);
	assert_null(config);
	assert_int_equal(err, -EINVAL);
	assert_true(text_is(buf_text(&messages), "t.yaml:3:337: feature 'f64' is one too many; "
						 "there may be at most 64 different features\n"));
	buf_done(&messages);
	buf_done(&yaml);
}

static void the_number_of_messages_is_limited(void **state)
{
	struct buf yaml, messages;
	unsigned lines = 0;
	int err;

	(void)state;
	buf_init(&yaml, 1 << 20);
	for (int i = 0; i < 10000; i++)
		buf_printf(&yaml, "unknown%d: x\n", i);
	buf_append(&yaml, "", 1);
	assert_null(parse(buf_head(&yaml), &messages, &err));
	for (size_t i = 0; i < buf_len(&messages); i++)
		lines += buf_head(&messages)[i] == '\n';
	assert_int_equal(lines, 50);
	buf_done(&messages);
	buf_done(&yaml);
}

static void relative_paths_begin_at_the_configurations_folder(void **state)
{
	struct text yaml =
		TEXT("listeners: [{ name: a, address: \"1.2.3.4:80\", certificate: c.pem,\n"
		     "  private_key: tls/k.pem }]\nstore: sqlite:s.db\n");
	struct config *c = NULL;
	struct buf messages;

	(void)state;
	buf_init(&messages, 1024);
	assert_int_equal(config_parse("/etc/tollgate/t.yaml", yaml, &c, &messages), 0);
	assert_string_equal(c->listeners[0].certificate, "/etc/tollgate/c.pem");
	assert_string_equal(c->listeners[0].private_key, "/etc/tollgate/tls/k.pem");
	assert_string_equal(c->store, "sqlite:/etc/tollgate/s.db");
	config_free(c);
}

static void unreadable_files_are_reported_with_the_reason(void **state)
{
	static const struct {
		const char *path, *message;
		int err;
	} rows[] = {
		{ "/nonexistent/t.yaml", "/nonexistent/t.yaml: No such file or directory\n",
		  -ENOENT },
		{ "/", "/: Is a directory\n", -EISDIR },
		{ "/dev/zero", "/dev/zero: the file is larger than 1052672 bytes\n", -EMSGSIZE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config *c = NULL;
		struct buf messages;

		buf_init(&messages, 1024);
		assert_int_equal(config_read(rows[i].path, &c, &messages), rows[i].err);
		if (!text_is(buf_text(&messages), rows[i].message))
			fail_msg("%.*s", TEXT_ARG(buf_text(&messages)));
		buf_done(&messages);
	}
}

static void options_that_need_a_restart_are_listed(void **state)
{
	static const struct {
		const char *more, *names, *why;
		unsigned count;
	} rows[] = {
		{ "", "", "nothing has changed", 0 },
		{ "log: debug\ndrain: 1s\ntiers: [{ name: x }]\n", "", "these take effect at once",
		  0 },
		{ "workers: 3\n", "workers", "threads are made once", 1 },
		{ "state_dir: /x\n", "store, state_dir, pepper_file", "others follow from it", 3 },
		{ "fastpath: { mode: none, action: drop }\n", "fastpath.mode", "only the mode", 1 },
		{ "admin: { address: \"127.0.0.1:1\" }\n", "admin", "a new socket", 1 },
	};
	static const char base[] = "listeners: [{ name: a, address: \"1.2.3.4:80\" }]\n";
	struct config *old = parse_ok(base);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config *fresh;
		char yaml[512];
		struct buf names;

		buf_init(&names, 1024);
		snprintf(yaml, sizeof(yaml), "%s%s", base, rows[i].more);
		fresh = parse_ok(yaml);
		if (config_needs_restart(old, fresh, &names) != rows[i].count ||
		    !text_is(buf_text(&names), rows[i].names))
			fail_msg("%s: %.*s", rows[i].why, TEXT_ARG(buf_text(&names)));
		buf_done(&names);
		config_free(fresh);
	}
	config_free(old);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(invalid_documents_are_refused),
		cmocka_unit_test(unknown_and_duplicate_options_are_reported_with_their_position),
		cmocka_unit_test(values_are_parsed_strictly),
		cmocka_unit_test(listeners_and_upstreams_are_checked),
		cmocka_unit_test(tiers_are_checked),
		cmocka_unit_test(routes_are_checked_against_tiers_and_upstreams),
		cmocka_unit_test(a_cost_is_checked_only_for_tiers_that_may_use_the_route),
		cmocka_unit_test(the_number_of_features_is_limited),
		cmocka_unit_test(the_number_of_messages_is_limited),
		cmocka_unit_test(relative_paths_begin_at_the_configurations_folder),
		cmocka_unit_test(unreadable_files_are_reported_with_the_reason),
		cmocka_unit_test(options_that_need_a_restart_are_listed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
