/* SPDX-License-Identifier: BSD-2-Clause */
/* buf_test: a buffer holds what was appended, and never more than its maximum. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"

static void what_is_appended_comes_out_in_order(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	assert_int_equal(buf_len(&b), 0);
	assert_null(buf_head(&b));
	assert_int_equal(buf_append(&b, "ab", 2), 0);
	assert_int_equal(buf_append_str(&b, "cd"), 0);
	assert_int_equal(buf_append_text(&b, TEXT("ef")), 0);
	assert_int_equal(buf_append_u64(&b, 0), 0);
	assert_int_equal(buf_append_u64(&b, UINT64_MAX), 0);
	assert_int_equal(buf_printf(&b, "-%s-%d", "x", 7), 0);
	assert_true(text_is(buf_text(&b), "abcdef018446744073709551615-x-7"));
	buf_consume(&b, 6);
	assert_true(text_is(buf_text(&b), "018446744073709551615-x-7"));
	buf_consume(&b, 1000);
	assert_int_equal(buf_len(&b), 0);
	buf_done(&b);
}

static void the_maximum_holds_and_a_failure_changes_nothing(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 10);
	assert_int_equal(buf_append(&b, "0123456789", 10), 0);
	assert_int_equal(buf_append(&b, "x", 1), -EMSGSIZE);
	assert_int_equal(buf_append_u64(&b, 1), -EMSGSIZE);
	assert_int_equal(buf_printf(&b, "x"), -EMSGSIZE);
	assert_int_equal(buf_printf(&b, "%s", ""), 0);
	assert_null(buf_reserve(&b, 1));
	assert_null(buf_reserve(&b, SIZE_MAX));
	assert_int_equal(errno, EMSGSIZE);
	assert_true(text_is(buf_text(&b), "0123456789"));
	buf_consume(&b, 4);
	assert_int_equal(buf_append(&b, "abcde", 5), -EMSGSIZE);
	assert_int_equal(buf_append(&b, "abcd", 4), 0);
	assert_true(text_is(buf_text(&b), "456789abcd"));
	buf_clear(&b);
	assert_int_equal(buf_printf(&b, "%010d", 5), 0); /* exactly full: the NUL needs no room */
	assert_true(text_is(buf_text(&b), "0000000005"));
	buf_done(&b);
	assert_int_equal(buf_append(&b, "x", 1), 0); /* as after buf_init() */
	buf_done(&b);
}

static void a_stream_through_it_stays_whole(void **state)
{
	struct buf b;
	unsigned in = 0, out = 0;

	(void)state;
	buf_init(&b, 1000);
	while (out < 100000) {
		unsigned want = in * 7 % 300 + 1;

		while (want-- && buf_len(&b) + sizeof(in) <= 1000) {
			assert_int_equal(buf_append(&b, &in, sizeof(in)), 0);
			in++;
		}
		want = in * 13 % 200 + 1;
		while (want-- && buf_len(&b)) {
			unsigned got;

			memcpy(&got, buf_head(&b), sizeof(got));
			assert_int_equal(got, out++);
			buf_consume(&b, sizeof(got));
		}
	}
	buf_done(&b);
}

static void reserved_room_counts_only_once_committed(void **state)
{
	struct buf b;
	char *at;

	(void)state;
	buf_init(&b, 1000);
	at = buf_reserve(&b, 500);
	memset(at, 'x', 500);
	assert_int_equal(buf_len(&b), 0);
	buf_commit(&b, 3);
	assert_true(text_is(buf_text(&b), "xxx"));
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_appended_comes_out_in_order),
		cmocka_unit_test(the_maximum_holds_and_a_failure_changes_nothing),
		cmocka_unit_test(a_stream_through_it_stays_whole),
		cmocka_unit_test(reserved_room_counts_only_once_committed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
