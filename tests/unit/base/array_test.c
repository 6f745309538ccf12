/* SPDX-License-Identifier: BSD-2-Clause */
/* array_test: growth by doubling, up to a limit, and untouched after an error. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/array.h"

static void items_survive_growth(void **state)
{
	size_t room = 0, count = 0, moves = 0;
	unsigned *items = NULL;

	(void)state;
	for (unsigned i = 0; i < 10000; i++) {
		size_t before = room;

		assert_int_equal(array_reserve(items, room, count + 1, 10000), 0);
		moves += room != before;
		items[count++] = i;
	}
	for (unsigned i = 0; i < 10000; i++)
		assert_int_equal(items[i], i);
	assert_in_range(moves, 1, 14);
	assert_int_equal(room, 10000); /* never more than the limit */
	free(items);
}

static void room_that_is_there_is_kept(void **state)
{
	size_t room = 0;
	char *items = NULL, *before;

	(void)state;
	assert_int_equal(array_reserve(items, room, 100, 1000), 0);
	assert_int_equal(room, 100);
	before = items;
	assert_int_equal(array_reserve(items, room, 0, 1000), 0);
	assert_int_equal(array_reserve(items, room, 100, 1000), 0);
	assert_ptr_equal(items, before);
	assert_int_equal(room, 100);
	free(items);
}

struct large {
	char bytes[1 << 16];
};

static void an_error_changes_nothing(void **state)
{
	static const struct {
		const char *why;
		size_t need, most;
		int err;
	} cases[] = {
		{ "one more than the limit", 9, 8, -ENOSPC },
		{ "a limit below what is there", 8, 7, -ENOSPC },
		{ "a size in bytes that overflows", SIZE_MAX / 2, ARRAY_NO_LIMIT, -ENOMEM },
		{ "all of size_t", SIZE_MAX, ARRAY_NO_LIMIT, -ENOMEM },
	};
	struct large *items = NULL, *before;
	size_t room = 0;

	(void)state;
	assert_int_equal(array_reserve(items, room, 8, 8), 0);
	before = items;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int err = array_reserve(items, room, cases[i].need, cases[i].most);

		if (err != cases[i].err || items != before || room != 8)
			fail_msg("%s: %d", cases[i].why, err);
	}
	free(items);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(items_survive_growth),
		cmocka_unit_test(room_that_is_there_is_kept),
		cmocka_unit_test(an_error_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
