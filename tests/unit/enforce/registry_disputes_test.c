/* SPDX-License-Identifier: BSD-2-Clause */
/* registry_disputes_test: disputed and refunded charges suspend an account until they are over. */
#include "unit/enforce/registry_subscription.h"

/* A charge, in disputes or out of them. Returns the account after that. */
static struct store_account set_dispute(struct world *w, const char *charge, bool is_over)
{
	struct registry_change change = no_change();

	change.dispute = charge;
	change.is_dispute_over = is_over;
	registry_account_set(w->registry, known(w, "sub_1").id, &change, on_answer, w);
	assert_int_equal(wait_for(w)->err, 0);
	return known(w, "sub_1");
}

/* An account with more disputes than it has room for stays suspended after the others are over. */
static void a_dispute_that_finds_no_room_still_counts(void **state)
{
	struct registry_subscription s = make_subscription();
	struct world *w = *state;
	struct store_account now;
	char charge[32];
	int count = 0;

	apply(w, &s);
	do {
		assert_true(count < STORE_DISPUTES_MAX);
		snprintf(charge, sizeof(charge), "ch_%024d", count++);
		now = set_dispute(w, charge, false);
	} while (!strchr(now.disputes, '+'));
	assert_null(strstr(now.disputes, charge));
	for (int i = 0; i < count; i++) {
		snprintf(charge, sizeof(charge), "ch_%024d", i);
		now = set_dispute(w, charge, true);
	}
	assert_string_equal(now.disputes, "+");
	assert_int_equal(slot_of_account(w->f, now.id)->state, TOLLGATE_SLOT_INACTIVE);
	assert_string_equal(set_dispute(w, "ch_last", false).disputes, "+ ch_last");
	now = set_dispute(w, "*", true);
	assert_string_equal(now.disputes, "");
	assert_int_equal(slot_of_account(w->f, now.id)->state, TOLLGATE_SLOT_OPEN);
}

/* IDs may have up to 255 bytes; this one is as long as the room that is left for one. */
static void the_id_of_a_dispute_is_kept_whole(void **state)
{
	char charge[STORE_DISPUTES_MAX - 3];
	struct registry_subscription s = make_subscription();
	struct world *w = *state;

	memset(charge, 'x', sizeof(charge));
	charge[sizeof(charge) - 1] = '\0';
	apply(w, &s);
	assert_string_equal(set_dispute(w, charge, false).disputes, charge);
	assert_string_equal(set_dispute(w, charge, true).disputes, "");
}

static void an_account_is_suspended_until_all_disputes_are_over(void **state)
{
	static const struct {
		const char *dispute;
		bool is_over;
		const char *then;
	} rows[] = {
		{ "ch_1", false, "ch_1" },	  { "ch_1", false, "ch_1" },
		{ "ch_11", false, "ch_1 ch_11" }, { "ch_2", false, "ch_1 ch_11 ch_2" },
		{ "ch_1", true, "ch_11 ch_2" },	  { "ch_3", true, "ch_11 ch_2" },
		{ "ch_2", true, "ch_11" },	  { "*", true, "" },
		{ "ch_4", false, "ch_4" },	  { "ch_4", true, "" },
	};
	struct registry_subscription s = make_subscription();
	struct registry_change change = no_change();
	struct world *w = *state;

	apply(w, &s);
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct store_account was = known(w, "sub_1"), now;
		const struct answer *a;

		change.dispute = rows[i].dispute;
		change.is_dispute_over = rows[i].is_over;
		registry_account_set(w->registry, was.id, &change, on_answer, w);
		a = wait_for(w);
		now = known(w, "sub_1");
		assert_int_equal(a->err, 0);
		if (strcmp(now.disputes, rows[i].then) != 0)
			fail_msg("row %zu: %s", i, now.disputes);
		assert_int_equal(a->is_changed, strcmp(was.disputes, now.disputes) != 0);
		assert_int_equal(slot_of_account(w->f, was.id)->state,
				 *now.disputes ? TOLLGATE_SLOT_INACTIVE : TOLLGATE_SLOT_OPEN);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD(an_account_is_suspended_until_all_disputes_are_over),
		WORLD(a_dispute_that_finds_no_room_still_counts),
		WORLD(the_id_of_a_dispute_is_kept_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
