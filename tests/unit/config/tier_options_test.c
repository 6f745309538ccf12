/* SPDX-License-Identifier: BSD-2-Clause */
/* tier_options_test: grace and entitlements of tiers. */
#include "unit/config/config_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#define DAY_MS 86400000ULL

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
	static const struct wrong rows[] = {
		{ "listeners: [{ name: a, address: \"127.0.0.1:80\" }]\n"
		  "tiers: [{ name: t, grace: long }]\n",
		  "t.yaml:2:27: 'long' is not a valid duration; use for example 500ms, 30s, 5m, "
		  "24h or 7d\n",
		  "no duration" },
		{ "listeners: [{ name: a, address: \"127.0.0.1:80\" }]\n"
		  "tiers: [{ name: t, grace: 366d }]\n",
		  "t.yaml:2:27: the duration must be from 0ms to 365d\n", "too long" },
		{ TIERS UPSTREAM "routes: [{ path: /a, upstream: api, feature: \"a b\" }]\n",
		  "t.yaml:4:46: 'a b' is not a valid name; use up to 63 letters, digits, '_', '.' "
		  "and '-'\n",
		  "a feature with a space" },
		/* Stripe may grant the feature to a customer of any tier with entitlements. */
		{ "listeners: [{ name: a, address: \"127.0.0.1:80\" }]\n"
		  "tiers: [{ name: t, rate: 1/s, burst: 4, entitlements: true }]\n" UPSTREAM
		  "routes: [{ path: /a, upstream: api, feature: audit, cost: 5 }]\n",
		  "t.yaml:4:59: the cost 5 of route '/a' is higher than the burst 4 of tier 't', "
		  "so its requests would always be refused\n",
		  "a cost above the burst" },
	};

	(void)state;
	check_wrong(rows, sizeof(rows) / sizeof(rows[0]), NULL);
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
