/* SPDX-License-Identifier: BSD-2-Clause */
/* tier_test: features keep their bits when the configuration is reloaded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "config/tier.h"

static struct tiers make_tiers(unsigned count, const char *const *names)
{
	struct tiers tiers = { 0 };

	tiers.list = calloc(1, sizeof(*tiers.list));
	tiers.count = 1;
	for (unsigned i = 0; i < count; i++)
		tiers.list[0].features |= 1ULL << tiers_feature(&tiers, text_of(names[i]));
	return tiers;
}

static void known_features_keep_their_bits(void **state)
{
	static const char *const before[] = { "export", "beta", "bulk" };
	static const char *const after[] = { "bulk", "fresh", "export" };
	struct tiers old = make_tiers(3, before), fresh = make_tiers(3, after);
	int bits[TIER_MAX_FEATURES];

	(void)state;
	assert_int_equal(tiers_keep_features(&fresh, &old, bits), 0);
	assert_int_equal(bits[0], 2);
	assert_int_equal(bits[1], 3);
	assert_int_equal(bits[2], 0);
	assert_int_equal(fresh.list[0].features, 1 << 2 | 1 << 3 | 1 << 0);
	assert_string_equal(fresh.features[3], "fresh");
	tiers_done(&old);
	tiers_done(&fresh);
}

static void more_than_64_names_change_nothing(void **state)
{
	struct tiers old = { 0 }, fresh = { 0 };
	int bits[TIER_MAX_FEATURES];
	char name[16];

	(void)state;
	for (int i = 0; i < TIER_MAX_FEATURES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		assert_int_equal(tiers_feature(&old, text_of(name)), i);
	}
	assert_int_equal(tiers_feature(&old, TEXT("another")), -ENOSPC);
	assert_int_equal(tiers_feature(&fresh, TEXT("another")), 0);
	assert_int_equal(tiers_keep_features(&fresh, &old, bits), -ENOSPC);
	assert_int_equal(fresh.feature_count, 1);
	assert_string_equal(fresh.features[0], "another");
	tiers_done(&old);
	tiers_done(&fresh);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_features_keep_their_bits),
		cmocka_unit_test(more_than_64_names_change_nothing),
	};

	return cmocka_run_group_tests_name("tier", tests, NULL, NULL);
}
