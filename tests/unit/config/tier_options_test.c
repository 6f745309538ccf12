/* SPDX-License-Identifier: BSD-2-Clause */
/* tier_options_test: grace and entitlements of tiers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "config/config.h"

#define DAY_MS 86400000ULL

static struct config *parse(const char *yaml, char *ret_messages, size_t size)
{
	struct config *config = NULL;
	struct buf messages;

	buf_init(&messages, 1 << 16);
	if (config_parse("t.yaml", text_of(yaml), &config, &messages))
		config = NULL;
	snprintf(ret_messages, size, "%.*s", TEXT_ARG(buf_text(&messages)));
	buf_done(&messages);
	return config;
}

static struct config *parse_ok(const char *yaml)
{
	char messages[1024];
	struct config *config = parse(yaml, messages, sizeof(messages));

	if (!config)
		fail_msg("%s", messages);
	return config;
}

#define TIERS                                                   \
	"listeners: [{ name: a, address: \"127.0.0.1:80\" }]\n" \
	"tiers: [{ name: plain }, { name: own, grace: 12h }, "  \
	"{ name: none, grace: 0s }, { name: more, entitlements: true }]\n"

static void a_tier_has_its_own_grace_or_that_of_stripe(void **state)
{
	static const struct {
		const char *yaml;
		uint64_t plain_ms;
	} rows[] = {
		{ TIERS, 7 * DAY_MS },
		{ TIERS "stripe: { secret_key: sk_test_x }\n", 7 * DAY_MS },
		{ TIERS "stripe: { secret_key: sk_test_x, grace: 3d }\n", 3 * DAY_MS },
		{ TIERS "stripe: { secret_key: sk_test_x, grace: 0s }\n", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config *config = parse_ok(rows[i].yaml);
		const struct tier *tiers = config->tiers.list;

		assert_int_equal(tiers[0].grace_ms, rows[i].plain_ms);
		assert_int_equal(tiers[1].grace_ms, DAY_MS / 2);
		assert_int_equal(tiers[2].grace_ms, 0);
		assert_false(tiers[0].uses_entitlements);
		assert_true(tiers[3].uses_entitlements);
		config_free(config);
	}
}

#define UPSTREAM "upstreams: [{ name: api, servers: [\"127.0.0.1:9000\"] }]\n"

static void with_entitlements_routes_may_require_features_that_no_tier_has(void **state)
{
	struct config *config =
		parse_ok(TIERS UPSTREAM "routes: [{ path: /a, upstream: api, feature: audit },"
					" { path: /b, upstream: api, feature: export },"
					" { path: /c, upstream: api, feature: audit }]\n");

	(void)state;
	assert_int_equal(config->tiers.feature_count, 2);
	assert_string_equal(config->tiers.features[config->routes.list[0].feature], "audit");
	assert_string_equal(config->tiers.features[config->routes.list[1].feature], "export");
	assert_int_equal(config->routes.list[2].feature, config->routes.list[0].feature);
	assert_int_equal(config->tiers.list[3].features, 0); /* not the tier's own */
	config_free(config);
}

static void invalid_values_are_reported(void **state)
{
	static const struct {
		const char *yaml, *messages;
	} rows[] = {
		{ "listeners: [{ name: a, address: \"127.0.0.1:80\" }]\n"
		  "tiers: [{ name: t, grace: long }]\n",
		  "t.yaml:2:27: 'long' is not a valid duration; use for example 500ms, 30s, 5m, "
		  "24h or 7d\n" },
		{ "listeners: [{ name: a, address: \"127.0.0.1:80\" }]\n"
		  "tiers: [{ name: t, grace: 366d }]\n",
		  "t.yaml:2:27: the duration must be from 0ms to 365d\n" },
		{ TIERS UPSTREAM "routes: [{ path: /a, upstream: api, feature: \"a b\" }]\n",
		  "t.yaml:4:46: " },
		/* Stripe may grant the feature to a customer of any tier with entitlements. */
		{ "listeners: [{ name: a, address: \"127.0.0.1:80\" }]\n"
		  "tiers: [{ name: t, rate: 1/s, burst: 4, entitlements: true }]\n" UPSTREAM
		  "routes: [{ path: /a, upstream: api, feature: audit, cost: 5 }]\n",
		  "t.yaml:4:59: the cost 5 of route '/a' is higher than the burst 4 of tier 't', "
		  "so its requests would always be refused\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char messages[1024];

		assert_null(parse(rows[i].yaml, messages, sizeof(messages)));
		if (strncmp(messages, rows[i].messages, strlen(rows[i].messages)))
			fail_msg("row %zu: %s", i, messages);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tier_has_its_own_grace_or_that_of_stripe),
		cmocka_unit_test(with_entitlements_routes_may_require_features_that_no_tier_has),
		cmocka_unit_test(invalid_values_are_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
