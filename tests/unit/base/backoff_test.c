/* SPDX-License-Identifier: BSD-2-Clause */
/* backoff_test: waits double up to their maximum, and jitter stays within its half. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/backoff.h"

static void waits_double_up_to_the_maximum(void **state)
{
	static const struct {
		const char *why;
		struct backoff backoff;
		unsigned failures;
		uint64_t wait;
	} cases[] = {
		{ "the first failure", { 500, 8000 }, 1, 500 },
		{ "none counts as one", { 500, 8000 }, 0, 500 },
		{ "the second", { 500, 8000 }, 2, 1000 },
		{ "just the maximum", { 500, 8000 }, 5, 8000 },
		{ "beyond it", { 500, 8000 }, 6, 8000 },
		{ "a maximum that doubling does not meet", { 1000, 300000 }, 9, 256000 },
		{ "and the next", { 1000, 300000 }, 10, 300000 },
		{ "very many", { 500, 60000 }, UINT32_MAX, 60000 },
		{ "no overflow", { 3, UINT64_MAX }, 1000, UINT64_MAX },
		{ "a first one above the maximum", { 10, 5 }, 1, 5 },
		{ "no wait at all", { 0, 0 }, 3, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t wait = backoff_plain(&cases[i].backoff, cases[i].failures);

		if (wait != cases[i].wait)
			fail_msg("%s: %llu", cases[i].why, (unsigned long long)wait);
	}
}

static void jitter_takes_the_upper_half(void **state)
{
	const struct backoff backoff = { 500, 8000 };
	static const struct {
		uint64_t random, wait;
	} cases[] = {
		{ 0, 500 }, { 1, 501 }, { 499, 999 }, { 500, 500 }, { UINT64_MAX, 615 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(backoff_spread(&backoff, 2, cases[i].random), cases[i].wait);
	/* Too short to be halved. */
	assert_int_equal(backoff_spread(&(struct backoff){ 1, 8 }, 1, 12345), 1);
	assert_int_equal(backoff_spread(&(struct backoff){ 0, 0 }, 1, 12345), 0);
}

static void drawn_waits_differ_within_the_range(void **state)
{
	const struct backoff backoff = { 1u << 30, 1u << 30 };
	uint64_t first = backoff_draw(&backoff, 1);
	unsigned different = 0;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		uint64_t wait = backoff_draw(&backoff, 1);

		assert_in_range(wait, 1u << 29, (1u << 30) - 1);
		different += wait != first;
	}
	assert_in_range(different, 90, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waits_double_up_to_the_maximum),
		cmocka_unit_test(jitter_takes_the_upper_half),
		cmocka_unit_test(drawn_waits_differ_within_the_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
