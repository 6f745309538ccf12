/* SPDX-License-Identifier: BSD-2-Clause */
/* id_set_test: a set has what was added, and nothing else. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/id_set.h"

static void numbers_are_found_after_growth(void **state)
{
	struct id_set set = { 0 };

	(void)state;
	assert_false(id_set_has(&set, 1));
	for (uint64_t i = 1; i <= 100000; i++) {
		assert_int_equal(id_set_add(&set, i << 20, SIZE_MAX), 1);
		assert_int_equal(id_set_add(&set, i << 20, SIZE_MAX), 0);
	}
	assert_int_equal(set.count, 100000);
	for (uint64_t i = 1; i <= 100000; i++) {
		if (!id_set_has(&set, i << 20) || id_set_has(&set, (i << 20) + 1))
			fail_msg("%llu", (unsigned long long)i);
	}
	id_set_done(&set);
	assert_false(id_set_has(&set, 1 << 20));
	assert_int_equal(set.count, 0);
}

static void a_full_set_takes_nothing_new(void **state)
{
	struct id_set set = { 0 };

	(void)state;
	for (uint64_t i = 1; i <= 10; i++)
		assert_int_equal(id_set_add(&set, i, 10), 1);
	assert_int_equal(id_set_add(&set, 11, 10), -ENOSPC);
	assert_int_equal(id_set_add(&set, 10, 10), 0);
	assert_false(id_set_has(&set, 11));
	assert_int_equal(set.count, 10);
	id_set_done(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_found_after_growth),
		cmocka_unit_test(a_full_set_takes_nothing_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
