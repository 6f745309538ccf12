/* SPDX-License-Identifier: BSD-2-Clause */
/* quota_test: the numbers of periods, charges, and what is restored from the store. */
#include "unit/enforce/enforce_fixture.h"

#define DAY   TOLLGATE_PERIOD_DAY
#define MONTH TOLLGATE_PERIOD_MONTH
#define MOST  TOLLGATE_QUOTA_MAX

#define WORD(period, units) ((uint64_t)(period) << TOLLGATE_QUOTA_SHIFT | (units))

static void periods_are_numbered_by_their_first_day(void **state)
{
	static const struct {
		uint64_t wall_ms;
		uint32_t day, month;
		uint64_t day_end_ms, month_end_ms;
		const char *why;
	} rows[] = {
		{ 0, 0, 0, 86400000, 31 * 86400000ULL, "the first day" },
		{ 1698796800000, 19662, 19662, 1698883200000, 1701388800000, "2023-11-01T00:00" },
		{ 1701388799999, 19691, 19662, 1701388800000, 1701388800000,
		  "the last moment of that month" },
		{ 1701388800000, 19692, 19692, 1701475200000, 1704067200000, "2023-12-01T00:00" },
		{ 1704067200000, 19723, 19723, 1704153600000, 1706745600000, "a new year" },
		{ 1709164800000, 19782, 19754, 1709251200000, 1709251200000, "2024-02-29" },
		{ 1709251200000, 19783, 19783, 1709337600000, 1711929600000, "the day after" },
	};

	(void)state;
	for (unsigned pass = 0; pass < 2; pass++) { /* the second time from the cache */
		for (size_t i = 0; i < COUNT(rows); i++) {
			if (usage_period(DAY, rows[i].wall_ms) != rows[i].day ||
			    usage_period(MONTH, rows[i].wall_ms) != rows[i].month ||
			    usage_period_end_ms(DAY, rows[i].day) != rows[i].day_end_ms ||
			    usage_period_end_ms(MONTH, rows[i].month) != rows[i].month_end_ms ||
			    usage_period(TOLLGATE_PERIOD_NONE, rows[i].wall_ms))
				fail_msg("%s", rows[i].why);
		}
	}
}

static void a_charge_counts_in_the_newest_period(void **state)
{
	static const struct {
		uint64_t word;
		uint32_t period;
		uint64_t units, limit, fresh; /* fresh 0: refused */
		const char *why;
	} rows[] = {
		{ 0, 100, 1, 10, WORD(100, 1), "the first one ever" },
		{ WORD(100, 9), 100, 1, 10, WORD(100, 10), "up to the limit" },
		{ WORD(100, 10), 100, 1, 10, 0, "not past it" },
		{ WORD(100, 8), 100, 3, 10, 0, "nor with a cost" },
		{ WORD(100, 10), 100, 0, 10, WORD(100, 10), "what costs nothing" },
		{ WORD(100, 10), 101, 1, 10, WORD(101, 1), "a new period" },
		{ WORD(101, 5), 100, 1, 10, WORD(101, 6), "a clock that lags" },
		{ WORD(101, 10), 100, 1, 10, 0, "a lagging clock opens no old period" },
		{ WORD(100, MOST - 1), 100, 1, MOST, WORD(100, MOST), "the largest quota" },
		{ WORD(100, MOST), 100, 1, MOST, 0, "does not overflow" },
		{ WORD(100, MOST), 100, 1000000, MOST, 0, "nor with a cost" },
		{ WORD(0xffffff, 5), 0xffffff, 1, 10, WORD(0xffffff, 6), "the last period" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct tollgate_slot slot = { .quota_word = rows[i].word };
		bool allowed =
			usage_quota_charge(&slot, rows[i].period, rows[i].units, rows[i].limit);

		if (allowed != !!rows[i].fresh ||
		    slot.quota_word != (allowed ? rows[i].fresh : rows[i].word))
			fail_msg("%s: %u, %llu", rows[i].why,
				 (unsigned)(slot.quota_word >> TOLLGATE_QUOTA_SHIFT),
				 (unsigned long long)(slot.quota_word & MOST));
	}
}

#define OWN   1
#define OTHER 2

static void a_row_of_the_store_is_taken_over(void **state)
{
	static const struct {
		uint64_t word, base;
		struct store_quota row; /* account, epoch, kind, period, units */
		uint64_t fresh_word, fresh_base;
		const char *why;
	} rows[] = {
		{ 0, 0, { 7, OWN, DAY, 100, 5 }, WORD(100, 5), 0, "ours, into an empty slot" },
		{ WORD(100, 9),
		  0,
		  { 7, OWN, DAY, 100, 5 },
		  WORD(100, 9),
		  0,
		  "ours, but the slot knows more" },
		{ WORD(100, 3),
		  0,
		  { 7, OWN, DAY, 100, 5 },
		  WORD(100, 5),
		  0,
		  "ours, and the slot knows less" },
		{ 0, 0, { 7, OTHER, DAY, 100, 5 }, WORD(100, 5), WORD(100, 5), "another's" },
		{ WORD(100, 3),
		  0,
		  { 7, OTHER, DAY, 100, 5 },
		  WORD(100, 8),
		  WORD(100, 5),
		  "another's beside ours" },
		{ WORD(100, 8),
		  WORD(100, 5),
		  { 7, OTHER, DAY, 100, 2 },
		  WORD(100, 10),
		  WORD(100, 7),
		  "a second other's" },
		{ WORD(100, 8),
		  WORD(100, 5),
		  { 7, OWN, DAY, 100, 4 },
		  WORD(100, 9),
		  WORD(100, 5),
		  "ours after another's" },
		{ WORD(99, 8),
		  WORD(99, 5),
		  { 7, OTHER, DAY, 100, 2 },
		  WORD(100, 2),
		  WORD(100, 2),
		  "the slot is a period behind" },
		{ WORD(99, 8),
		  WORD(99, 5),
		  { 7, OWN, DAY, 100, 2 },
		  WORD(100, 2),
		  WORD(99, 5),
		  "the slot is behind, ours" },
		{ WORD(101, 8),
		  WORD(101, 5),
		  { 7, OTHER, DAY, 100, 2 },
		  WORD(101, 8),
		  WORD(101, 5),
		  "the slot is ahead: no period comes back" },
		{ WORD(100, 8),
		  0,
		  { 7, OTHER, MONTH, 100, 2 },
		  WORD(100, 8),
		  0,
		  "of the other kind" },
		{ WORD(100, MOST - 1),
		  0,
		  { 7, OTHER, DAY, 100, 5 },
		  WORD(100, MOST),
		  WORD(100, 5),
		  "more than fits is all that fits" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct tollgate_slot slot = { .quota_word = rows[i].word,
					      .quota_base = rows[i].base,
					      .quota_period = DAY };

		usage_restore_quota(&slot, &rows[i].row, OWN);
		if (slot.quota_word != rows[i].fresh_word || slot.quota_base != rows[i].fresh_base)
			fail_msg("%s: word %#llx, base %#llx", rows[i].why,
				 (unsigned long long)slot.quota_word,
				 (unsigned long long)slot.quota_base);
	}
}

static void load(struct fixture *f, const struct store_quota *rows, size_t count)
{
	put_account(f, 7, "daily", STORE_ACTIVE);
	for (size_t i = 0; i < count; i++)
		mirror_put_quota(f->mirror, &rows[i], 200 * 86400000ULL);
}

static void however_often_it_is_loaded_each_row_counts_once(void **state)
{
	struct fixture *f = *state;
	const struct store_quota rows[] = {
		{ 7, f->head.epoch + 1, DAY, 100, 3 },
		{ 7, f->head.epoch, DAY, 100, 2 },
		{ 7, f->head.epoch + 2, DAY, 100, 1 },
	};
	struct tollgate_slot *slot;

	for (unsigned restart = 0; restart < 3; restart++) {
		load(f, rows, restart); /* the store failed in the middle */
		load(f, rows, 3);
		slot = slot_of_account(f, 7);
		assert_int_equal(slot->quota_word, WORD(100, 6));
		assert_int_equal(slot->quota_base, WORD(100, 4));
		mirror_drop_strays(f->mirror);
		/* A later change of the account is not a load. */
		put_account(f, 7, "daily", STORE_TRIALING);
		assert_int_equal(slot->quota_word, WORD(100, 6));

		mirror_free(f->mirror);
		assert_int_equal(fixture_adopt(f), SLOTS_SAME_BOOT);
		f->mirror = mirror_new(&f->slots);
		assert_int_equal(mirror_set_tiers(f->mirror, &f->tiers, WALL_MS, NOW_NS), 0);
	}
}

/* The units that are collected for the store, or -1 for none. */
static int64_t collected(struct fixture *f, bool confirm)
{
	struct usage_batch batch;
	int64_t units = -1;

	assert_int_equal(usage_collect(&f->slots, 100, &batch), 0);
	if (batch.quota_count) {
		assert_int_equal(batch.quota_count, 1);
		assert_int_equal(batch.quotas[0].account, 7);
		assert_int_equal(batch.quotas[0].epoch, f->head.epoch);
		assert_int_equal(batch.quotas[0].period_kind, DAY);
		assert_int_equal(batch.quotas[0].period, 100);
		units = (int64_t)batch.quotas[0].units;
	}
	if (confirm)
		usage_confirm(&f->slots, &batch);
	usage_batch_done(&batch);
	return units;
}

static void the_store_gets_what_this_epoch_charged(void **state)
{
	struct fixture *f = *state;
	const struct store_quota other = { 7, f->head.epoch + 1, DAY, 100, 3 };
	struct tollgate_slot *slot;

	load(f, &other, 1);
	slot = slot_of_account(f, 7);
	assert_true(usage_quota_charge(slot, 100, 2, 10));
	assert_int_equal(collected(f, false), 2);
	assert_int_equal(collected(f, true), 2);
	assert_int_equal(collected(f, true), -1);
	assert_true(usage_quota_charge(slot, 100, 1, 10));
	assert_int_equal(collected(f, true), 3);
	assert_int_equal(collected(f, true), -1);
	/* What other epochs charged in the period before does not count in this one. */
	slot->quota_word = WORD(100, 8);
	slot->quota_base = WORD(99, 5);
	assert_int_equal(collected(f, true), 8);
	assert_int_equal(collected(f, true), -1);
	usage_forget_others(slot);
	assert_int_equal(slot->quota_word, WORD(100, 8));
	slot->quota_base = WORD(100, 5);
	usage_forget_others(slot);
	assert_int_equal(slot->quota_word, WORD(100, 3));
}

static void a_late_confirmation_hides_no_later_charge(void **state)
{
	static const struct {
		uint32_t period;
		uint64_t units;
		const char *why;
	} rows[] = {
		{ 100, 1, "in the same period" },
		{ 101, 2, "in the next one, and as much as in the last" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct tollgate_slot *slot;
		struct usage_batch batch;

		load(f, NULL, 0);
		slot = slot_of_account(f, 7);
		slot->quota_word = WORD(100, 2);
		slot->quota_collected = 0;
		assert_int_equal(usage_collect(&f->slots, 100, &batch), 0);
		assert_true(usage_quota_charge(slot, rows[i].period, rows[i].units, 10));
		usage_confirm(&f->slots, &batch);
		usage_batch_done(&batch);
		assert_int_equal(usage_collect(&f->slots, 100, &batch), 0);
		if (batch.quota_count != 1)
			fail_msg("%s: hidden", rows[i].why);
		usage_batch_done(&batch);
	}
}

static void an_account_without_a_quota_has_nothing_to_store(void **state)
{
	struct fixture *f = *state;
	struct usage_batch batch;

	put_account(f, 7, "free", STORE_ACTIVE);
	slot_of_account(f, 7)->quota_word = WORD(100, 2);
	assert_int_equal(usage_collect(&f->slots, 100, &batch), 0);
	assert_int_equal(batch.quota_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(periods_are_numbered_by_their_first_day),
		cmocka_unit_test(a_charge_counts_in_the_newest_period),
		cmocka_unit_test(a_row_of_the_store_is_taken_over),
		TEST(however_often_it_is_loaded_each_row_counts_once),
		TEST(the_store_gets_what_this_epoch_charged),
		TEST(a_late_confirmation_hides_no_later_charge),
		TEST(an_account_without_a_quota_has_nothing_to_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
