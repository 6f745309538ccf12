/* SPDX-License-Identifier: BSD-2-Clause */
/* account_test: entitlement, the text form of ids, and the lookup of tiers. */
#include "unit/enforce/enforce_fixture.h"

#include "enforce/account.h"

static void entitlement_follows_status_grace_and_hold(void **state)
{
	static const struct {
		struct store_account account;
		uint64_t wall_ms;
		bool is_entitled;
		const char *why;
	} rows[] = {
		{ { .status = STORE_ACTIVE }, 1000, true, "active" },
		{ { .status = STORE_TRIALING }, 1000, true, "trialing" },
		{ { .status = STORE_ACTIVE, .is_held = true }, 1000, false, "held" },
		{ { .status = STORE_PAST_DUE, .past_due_ms = 1000 }, 1000, true, "grace begins" },
		{ { .status = STORE_PAST_DUE, .past_due_ms = 1000 }, 1099, true, "its end" },
		{ { .status = STORE_PAST_DUE, .past_due_ms = 1000 }, 1100, false, "over" },
		{ { .status = STORE_PAST_DUE, .past_due_ms = 1000, .is_held = true },
		  1000,
		  false,
		  "held within grace" },
		{ { .status = STORE_PAST_DUE }, 1000, false, "past due since for ever" },
		{ { .status = STORE_UNPAID }, 1000, false, "unpaid" },
		{ { .status = STORE_CANCELED }, 1000, false, "canceled" },
		{ { .status = STORE_INCOMPLETE }, 1000, false, "incomplete" },
		{ { .status = STORE_INCOMPLETE_EXPIRED }, 1000, false, "incomplete, expired" },
		{ { .status = STORE_PAUSED }, 1000, false, "paused" },
		{ { .status = STORE_STATUS_COUNT }, 1000, false, "a status that nobody knows" },
		{ { .mode = STORE_MODE_LIVE }, 1000, true, "of the configured mode" },
		{ { .mode = STORE_MODE_TEST }, 1000, false, "of the other mode" },
		{ { .disputes = "ch_1" }, 1000, false, "disputed" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (account_is_entitled(&rows[i].account, STORE_MODE_LIVE, 100, rows[i].wall_ms) !=
		    rows[i].is_entitled)
			fail_msg("%s", rows[i].why);
	}
}

static void only_being_paid_again_ends_a_grace(void **state)
{
	static const struct {
		enum store_status status;
		uint64_t at_ms, past_due_ms;
	} rows[] = {
		{ STORE_UNPAID, 1, 0 },	   { STORE_PAST_DUE, 2, 2 },   { STORE_PAST_DUE, 3, 2 },
		{ STORE_UNPAID, 4, 2 },	   { STORE_PAUSED, 5, 2 },     { STORE_PAST_DUE, 6, 2 },
		{ STORE_ACTIVE, 7, 0 },	   { STORE_PAST_DUE, 8, 8 },   { STORE_CANCELED, 9, 8 },
		{ STORE_TRIALING, 10, 0 }, { STORE_PAST_DUE, 11, 11 },
	};
	struct store_account account = { .status = STORE_ACTIVE };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		account_set_status(&account, rows[i].status, rows[i].at_ms);
		assert_int_equal(account.status, rows[i].status);
		if (account.past_due_ms != rows[i].past_due_ms)
			fail_msg("row %zu: %llu", i, (unsigned long long)account.past_due_ms);
	}
}

static void accounts_that_differ_in_anything_are_not_the_same(void **state)
{
	static const struct store_account one;
	static const struct {
		struct store_account other;
		const char *what;
	} rows[] = {
		{ { .id = 1 }, "id" },
		{ { .status = STORE_PAUSED }, "status" },
		{ { .is_held = true }, "hold" },
		{ { .created_ms = 1 }, "creation" },
		{ { .past_due_ms = 1 }, "failure" },
		{ { .period_start_s = 1 }, "begin of the period" },
		{ { .period_end_s = 1 }, "end of the period" },
		{ { .trial_end_s = 1 }, "end of the trial" },
		{ { .cancel_at_s = 1 }, "end" },
		{ { .price = "a" }, "price" },
		{ { .email = "a" }, "email" },
		{ { .features = "a" }, "features" },
		{ { .tier = "a" }, "tier" },
		{ { .customer = "a" }, "customer" },
		{ { .subscription = "a" }, "subscription" },
		{ { .label = "a" }, "label" },
		{ { .mode = STORE_MODE_LIVE }, "mode" },
		{ { .usage_start_s = 1 }, "begin of the metered item's period" },
		{ { .usage_end_s = 1 }, "its end" },
		{ { .disputes = "a" }, "disputes" },
	};
	const struct store_account later = { .as_of_s = 1 };

	(void)state;
	assert_true(account_is_same(&one, &later));
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (account_is_same(&one, &rows[i].other))
			fail_msg("%s", rows[i].what);
	}
}

static void ids_have_one_form(void **state)
{
	static const struct {
		const char *text;
		uint64_t id; /* 0: refused */
	} rows[] = {
		{ "acc_0000000000000001", 1 },
		{ "acc_fedcba9876543210", 0xfedcba9876543210 },
		{ "acc_0000000000000000", 0 },
		{ "acc_000000000000001", 0 },
		{ "acc_00000000000000001", 0 },
		{ "key_0000000000000001", 0 },
		{ "acc_000000000000000g", 0 },
		{ "acc_", 0 },
		{ "", 0 },
		{ "0000000000000001", 0 },
		{ " acc_0000000000000001", 0 },
	};
	char text[ACCOUNT_ID_SIZE];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t id = 4711;
		int err = account_parse_id(text_of(rows[i].text), &id);

		if (err != (rows[i].id ? 0 : -EINVAL) || id != (rows[i].id ? rows[i].id : 4711))
			fail_msg("'%s': %d", rows[i].text, err);
		if (err)
			continue;
		account_format_id(id, text);
		assert_string_equal(text, rows[i].text);
	}
	account_format_key_id(0x1a, text);
	assert_string_equal(text, "key_000000000000001a");
	assert_int_equal(account_parse_key_id(TEXT("key_000000000000001a"), &(uint64_t){ 0 }), 0);
	assert_int_equal(account_parse_key_id(TEXT("acc_000000000000001a"), &(uint64_t){ 0 }),
			 -EINVAL);
}

static void new_ids_fit_a_signed_number_and_are_not_0(void **state)
{
	uint64_t last = 0;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t id = 0;

		assert_int_equal(account_new_id(&id), 0);
		assert_in_range(id, 1, INT64_MAX);
		assert_int_not_equal(id, last);
		last = id;
	}
}

static void features_get_a_bit_each_until_there_are_64(void **state)
{
	struct tiers tiers = { 0 };
	char name[16];

	(void)state;
	for (int i = 0; i < TIER_MAX_FEATURES; i++) {
		snprintf(name, sizeof(name), "feature%d", i);
		assert_int_equal(tiers_feature(&tiers, text_of(name)), i);
		assert_int_equal(tiers_feature(&tiers, text_of(name)), i);
	}
	assert_int_equal(tiers_feature(&tiers, TEXT("one more")), -ENOSPC);
	assert_int_equal(tiers_feature(&tiers, TEXT("feature7")), 7);
	assert_int_equal(tiers.feature_count, TIER_MAX_FEATURES);
	tiers_done(&tiers);
	tiers_done(&tiers);
	tiers_done(NULL);
}

static void tiers_are_found_by_their_whole_name(void **state)
{
	struct tier list[] = { make_tier("free", 1, 1), make_tier("freer", 2, 2) };
	const struct tiers tiers = { .list = list, .count = 2 };

	(void)state;
	assert_ptr_equal(tiers_find(&tiers, "free"), &list[0]);
	assert_ptr_equal(tiers_find(&tiers, "freer"), &list[1]);
	assert_null(tiers_find(&tiers, "fre"));
	assert_null(tiers_find(&tiers, "Free"));
	assert_null(tiers_find(&tiers, ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entitlement_follows_status_grace_and_hold),
		cmocka_unit_test(only_being_paid_again_ends_a_grace),
		cmocka_unit_test(accounts_that_differ_in_anything_are_not_the_same),
		cmocka_unit_test(ids_have_one_form),
		cmocka_unit_test(new_ids_fit_a_signed_number_and_are_not_0),
		cmocka_unit_test(features_get_a_bit_each_until_there_are_64),
		cmocka_unit_test(tiers_are_found_by_their_whole_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
