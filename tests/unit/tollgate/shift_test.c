// SPDX-License-Identifier: BSD-2-Clause
/* The arithmetic of a shifted connection, also where sequence numbers wrap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tollgate/shift.h"

/* What 0 stands for in the tables: a number in the middle, and one just before the wrap. */
static const uint32_t origins[] = { 1000000, 0, UINT32_MAX - 3 };

static void an_answer_shifts_numbers_from_its_position_on(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		uint32_t at = origins[i];
		struct tollgate_deltas out =
			tollgate_out_insert((struct tollgate_deltas){ 0 }, at, 100);

		assert_int_equal(tollgate_seq_shift(&out, at - 5, at), 0);
		assert_int_equal(tollgate_seq_shift(&out, at - 5, at + 1), 100);
		assert_int_equal(tollgate_seq_shift(&out, at, at), 100);
		assert_int_equal(tollgate_ack_to_socket(&out, at - 1), at - 1);
		for (uint32_t inserted = 0; inserted <= 100; inserted++)
			assert_int_equal(tollgate_ack_to_socket(&out, at + inserted), at);
		assert_int_equal(tollgate_ack_to_socket(&out, at + 101), at + 1);
	}
}

/* If the socket sends nothing between two answers, both are inserted at one position. */
static void more_answers_add_up_at_one_position(void **state)
{
	struct tollgate_deltas out = tollgate_out_insert((struct tollgate_deltas){ 0 }, 500, 100);

	(void)state;
	out = tollgate_out_insert(out, 500, 20);
	assert_int_equal(out.before, 0);
	assert_int_equal(out.after, 120);
	out = tollgate_out_insert(out, 600, 7);
	assert_int_equal(out.before, 120);
	assert_int_equal(out.after, 127);
	assert_int_equal(out.pos, 600);
}

/* With two positions in flight, numbers before the older one would need a third delta. */
static void a_new_position_waits_for_the_old_one(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		uint32_t at = origins[i];
		struct tollgate_deltas none = { 0 };
		struct tollgate_deltas out = tollgate_out_insert(none, at, 100);

		assert_true(tollgate_out_can_open(&none, at, at - 50));
		assert_true(tollgate_out_can_open(&out, at, at - 50));
		assert_false(tollgate_out_can_open(&out, at + 10, at - 1));
		assert_true(tollgate_out_can_open(&out, at + 10, at));
		assert_true(tollgate_out_can_open(&out, at + 10, at + 10));
	}
}

static void a_pending_request_is_in_neither_delta(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		uint32_t at = origins[i];
		struct tollgate_deltas in = tollgate_in_open((struct tollgate_deltas){ 0 }, at);

		assert_int_equal(tollgate_in_border(&in), at);
		assert_int_equal(tollgate_seq_to_socket(&in, 60, at), at);
		assert_int_equal(tollgate_seq_to_socket(&in, 60, at + 60), at);
		assert_int_equal(tollgate_ack_to_client(&in, at), at);
		in.after += 60; /* acknowledged */
		assert_int_equal(tollgate_in_border(&in), at + 60);
		assert_int_equal(tollgate_seq_to_socket(&in, 0, at + 60), at);
		assert_int_equal(tollgate_seq_to_socket(&in, 0, at - 1), at - 1);
		assert_int_equal(tollgate_ack_to_client(&in, at), at + 60);
		assert_int_equal(tollgate_ack_to_client(&in, at - 1), at - 1);
	}
}

static void consecutive_requests_share_a_position(void **state)
{
	struct tollgate_deltas in = tollgate_in_open((struct tollgate_deltas){ 0 }, 500);

	(void)state;
	in.after += 60;
	in = tollgate_in_open(in, 560); /* the next one follows directly */
	assert_int_equal(in.pos, 500);
	assert_int_equal(in.before, 0);
	in.after += 40;
	in = tollgate_in_open(in, 700); /* the socket got data in between */
	assert_int_equal(in.pos, 700);
	assert_int_equal(in.before, 100);
	assert_int_equal(in.after, 100);
}

static void a_position_far_behind_is_dropped(void **state)
{
	const struct tollgate_deltas both = { .before = 1, .after = 2, .pos = 1000 };
	const struct tollgate_deltas same = { .before = 2, .after = 2, .pos = 1000 };

	(void)state;
	assert_false(tollgate_is_far(&both, 999));
	assert_false(tollgate_is_far(&both, 1000 + TOLLGATE_SHIFT_FAR));
	assert_true(tollgate_is_far(&both, 1001 + TOLLGATE_SHIFT_FAR));
	assert_false(tollgate_is_far(&same, 1001 + TOLLGATE_SHIFT_FAR));
}

static void deltas_share_a_word(void **state)
{
	struct tollgate_deltas d =
		tollgate_deltas_of(tollgate_deltas_word(0xfffffff0u, 0x12345678u), 7);

	(void)state;
	assert_int_equal(d.before, 0xfffffff0u);
	assert_int_equal(d.after, 0x12345678u);
	assert_int_equal(d.pos, 7);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_shifts_numbers_from_its_position_on),
		cmocka_unit_test(more_answers_add_up_at_one_position),
		cmocka_unit_test(a_new_position_waits_for_the_old_one),
		cmocka_unit_test(a_pending_request_is_in_neither_delta),
		cmocka_unit_test(consecutive_requests_share_a_position),
		cmocka_unit_test(a_position_far_behind_is_dropped),
		cmocka_unit_test(deltas_share_a_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
