/* SPDX-License-Identifier: BSD-2-Clause */
/* tier_test: features keep their bits at a reload; seats multiply limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "config/tier.h"
#include "tollgate/bucket.h"

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

static void limits_are_multiplied_by_the_seats(void **state)
{
	static const struct {
		const char *why;
		bool is_per_seat;
		uint64_t interval_ns, burst, quota;
		uint32_t concurrency, seats;
		uint64_t want_interval_ns, want_burst, want_quota, want_concurrency;
	} rows[] = {
		{ "each seat adds as much", true, 1000, 10, 100, 3, 4, 250, 40, 400, 12 },
		{ "unknown counts as one", true, 1000, 10, 100, 3, 0, 1000, 10, 100, 3 },
		{ "one is one", true, 1000, 10, 100, 3, 1, 1000, 10, 100, 3 },
		{ "other tiers ignore the quantity", false, 1000, 10, 100, 3, 4, 1000, 10, 100, 3 },
		{ "never more than was bought", true, 1000, 10, 100, 3, 7, 143, 70, 700, 21 },
		{ "no limits stay none", true, 0, 0, 0, 0, 9, 0, 0, 0, 0 },
		{ "at the end of the range", true, 5, 1000000000, TOLLGATE_QUOTA_MAX, 1000000,
		  UINT32_MAX, 1, 4294967295000000000, TOLLGATE_QUOTA_MAX, UINT32_MAX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct tier tier = { .is_per_seat = rows[i].is_per_seat,
					   .interval_ns = rows[i].interval_ns,
					   .burst = rows[i].burst,
					   .limit_ns = rows[i].burst * rows[i].interval_ns,
					   .quota = rows[i].quota,
					   .concurrency = rows[i].concurrency,
					   .answers = 5 };
		bool is_scaled = rows[i].is_per_seat && rows[i].seats > 1;
		struct tier bought;

		tier_for_seats(&tier, rows[i].seats, &bought);
		if (bought.interval_ns != rows[i].want_interval_ns ||
		    bought.burst != rows[i].want_burst ||
		    bought.limit_ns != bought.burst * bought.interval_ns ||
		    bought.quota != rows[i].want_quota ||
		    bought.concurrency != rows[i].want_concurrency ||
		    bought.answers != (is_scaled ? TOLLGATE_NO_ANSWERS : 5))
			fail_msg("%s", rows[i].why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_features_keep_their_bits),
		cmocka_unit_test(more_than_64_names_change_nothing),
		cmocka_unit_test(limits_are_multiplied_by_the_seats),
	};

	return cmocka_run_group_tests_name("tier", tests, NULL, NULL);
}
