/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * usage_test: requests are counted once, in the window of their own time, and reach the store.
 *
 * A ledger stands in for the store. Like the store, it keeps the largest totals of each account and
 * window; it also counts how often it got each row.
 */
#include "base/atomic.h"
#include "unit/enforce/enforce_fixture.h"

#include "enforce/period.h"

#define WINDOW_MS   (USAGE_WINDOW_SECONDS * 1000ULL)
#define FIRST	    (WALL_MS / WINDOW_MS) /* number of a window */
#define LEDGER_ROWS 256

/* A time by a clock that was never set. */
#define AT(at_ms) ((struct clock_wall){ .ms = (at_ms) })

struct ledger {
	struct store_usage rows[LEDGER_ROWS];
	unsigned came[LEDGER_ROWS];
	size_t count;
};

static void ledger_put(struct ledger *ledger, const struct store_usage *row)
{
	size_t i = 0;

	while (i < ledger->count && (ledger->rows[i].account != row->account ||
				     ledger->rows[i].window_start_s != row->window_start_s))
		i++;
	if (i == ledger->count)
		ledger->rows[ledger->count++] = *row;
	ledger->came[i]++;
	if (ledger->rows[i].requests < row->requests)
		ledger->rows[i] = *row;
}

static const struct store_usage *ledger_find(const struct ledger *ledger, uint64_t account,
					     uint64_t window)
{
	static const struct store_usage none;

	for (size_t i = 0; i < ledger->count; i++) {
		if (ledger->rows[i].account == account &&
		    ledger->rows[i].window_start_s == window * USAGE_WINDOW_SECONDS)
			return &ledger->rows[i];
	}
	return &none;
}

/* Collect and confirm until nothing is left. */
static void flush(struct fixture *f, size_t max_rows, struct ledger *ledger)
{
	struct usage_batch batch;

	for (unsigned n = 0; n < 1000; n++) {
		assert_int_equal(usage_collect(&f->slots, max_rows, &batch), 0);
		if (batch.usage_count > max_rows || batch.quota_count > max_rows)
			fail_msg("%zu and %zu rows, but at most %zu were asked for",
				 batch.usage_count, batch.quota_count, max_rows);
		if (!batch.usage_count && !batch.quota_count)
			return;
		for (size_t i = 0; i < batch.usage_count; i++)
			ledger_put(ledger, &batch.usage[i]);
		usage_confirm(&f->slots, &batch);
		usage_batch_done(&batch);
	}
	fail_msg("there is always something left");
}

static struct tollgate_slot *take(struct fixture *f, uint64_t account)
{
	return &f->list[slots_take(&f->slots, account)];
}

static void count(struct fixture *f, struct tollgate_slot *slot, uint64_t window, unsigned times,
		  uint32_t units)
{
	while (times--)
		usage_count(&f->slots, slot, units, AT(window * WINDOW_MS + times % WINDOW_MS));
}

static void a_request_counts_in_the_window_of_its_own_time(void **state)
{
	static const struct {
		uint64_t at_ms, window;
	} rows[] = {
		{ FIRST * WINDOW_MS, FIRST },
		{ (FIRST + 1) * WINDOW_MS - 1, FIRST },
		{ (FIRST + 1) * WINDOW_MS, FIRST + 1 },
		{ (FIRST + 1) * WINDOW_MS - 1, FIRST }, /* late: its response took some time */
		{ (FIRST + 1) * WINDOW_MS + 1, FIRST + 1 },
		{ FIRST * WINDOW_MS, FIRST },
	};
	struct fixture *f = *state;
	struct tollgate_slot *slot = take(f, 7);
	struct ledger ledger = { 0 };

	for (size_t i = 0; i < COUNT(rows); i++)
		usage_count(&f->slots, slot, 10, AT(rows[i].at_ms));
	flush(f, 100, &ledger);
	assert_int_equal(ledger.count, 2);
	assert_int_equal(ledger_find(&ledger, 7, FIRST)->requests, 4);
	assert_int_equal(ledger_find(&ledger, 7, FIRST)->units, 40);
	assert_int_equal(ledger_find(&ledger, 7, FIRST + 1)->requests, 2);
	assert_int_equal(ledger_find(&ledger, 7, FIRST)->epoch, f->head.epoch);
	assert_int_equal(ledger_find(&ledger, 7, FIRST)->window_seconds, USAGE_WINDOW_SECONDS);
}

/* The window in which a request at @now counts. */
static uint64_t window_of_clock(struct fixture *f, struct tollgate_slot *slot,
				struct clock_wall now)
{
	const uint64_t before[2] = { slot->usage[0].requests, slot->usage[1].requests };
	const uint64_t windows[2] = { slot->usage[0].window, slot->usage[1].window };

	usage_count(&f->slots, slot, 1, now);
	for (unsigned i = 0; i < 2; i++) {
		if (slot->usage[i].window != windows[i] || slot->usage[i].requests != before[i])
			return slot->usage[i].window;
	}
	return 0;
}

static uint64_t window_of(struct fixture *f, struct tollgate_slot *slot, uint64_t at_ms)
{
	return window_of_clock(f, slot, AT(at_ms));
}

static void a_window_ends_with_the_billing_period(void **state)
{
	/* Windows of an hour from 0; a period from 1800 to 9000. */
	static const struct {
		uint64_t at_s, start_s, seconds;
		const char *why;
	} rows[] = {
		{ 100, 0, 1800, "before the period: until it begins" },
		{ 1799, 0, 1800, "its last second" },
		{ 1800, 1800, 1800, "from its beginning to the hour" },
		{ 3599, 1800, 1800, "still" },
		{ 3600, 3600, 3600, "a whole one" },
		{ 8999, 7200, 1800, "cut at its end" },
		{ 9000, 9000, 1800, "what follows is not known, but begins there" },
		{ 10799, 9000, 1800, "up to the hour" },
		{ 10800, 10800, 3600, "whole again" },
	};
	struct fixture *f = *state;
	struct tollgate_slot *slot = take(f, 7);
	struct ledger ledger = { 0 };

	slot_set_periods(slot, PERIOD_SPAN(1800, 9000), 0, 0);
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t window = window_of(f, slot, rows[i].at_s * 1000);

		if (window != TOLLGATE_USAGE_WINDOW(rows[i].start_s, rows[i].seconds))
			fail_msg("%s: %llu s from %llu", rows[i].why,
				 (unsigned long long)TOLLGATE_USAGE_SECONDS(window),
				 (unsigned long long)TOLLGATE_USAGE_START_S(window));
	}
	flush(f, 10, &ledger);
}

static void another_length_begins_with_the_next_window(void **state)
{
	struct fixture *f = *state;
	struct tollgate_slot *slot = take(f, 7);
	struct ledger ledger = { 0 };
	uint64_t units = 0;

	/*
	 * Windows of an hour, then of a minute, then of an hour: nothing is lost or opened twice.
	 */
	usage_count(&f->slots, slot, 1, AT(43200 * 1000ULL));
	flush(f, 10, &ledger);
	slots_set_window(&f->slots, 60);
	for (unsigned m = 29; m < 32; m++) {
		usage_count(&f->slots, slot, 10, AT((43200 + m * 60) * 1000ULL));
		flush(f, 10, &ledger);
	}
	slots_set_window(&f->slots, 3600);
	usage_count(&f->slots, slot, 100, AT((43200 + 40 * 60) * 1000ULL));
	flush(f, 10, &ledger);
	usage_count(&f->slots, slot, 1000, AT(46800 * 1000ULL));
	flush(f, 10, &ledger);
	for (size_t i = 0; i < ledger.count; i++)
		units += ledger.rows[i].units;
	assert_int_equal(units, 1131);
}

static void a_longer_window_begins_where_the_last_one_ended(void **state)
{
	static const struct {
		uint64_t at_s, start_s, seconds;
	} rows[] = {
		{ 2400, 1980, 1620 },
		{ 3599, 1980, 1620 },
		{ 3600, 3600, 3600 },
		{ 2500, 1980, 1620 },
	};
	struct fixture *f = *state;
	struct tollgate_slot *slot = take(f, 7);
	struct ledger ledger = { 0 };

	slots_set_window(&f->slots, 60);
	window_of(f, slot, 1860 * 1000);
	window_of(f, slot, 1920 * 1000); /* ends at 1980 */
	slots_set_window(&f->slots, 3600);
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(window_of(f, slot, rows[i].at_s * 1000),
				 TOLLGATE_USAGE_WINDOW(rows[i].start_s, rows[i].seconds));
	flush(f, 10, &ledger);
}

static void time_that_went_back_over_a_restart_loses_nothing(void **state)
{
	struct fixture *f = *state;
	struct tollgate_slot *slot = take(f, 7);
	struct ledger ledger = { 0 };

	count(f, slot, FIRST + 2, 3, 1);
	count(f, slot, FIRST + 1, 1, 1);
	/* Older than both, and both are in the future: the first one may have existed before. */
	count(f, slot, FIRST, 2, 1);
	flush(f, 100, &ledger);
	assert_int_equal(ledger.count, 3);
	assert_int_equal(ledger_find(&ledger, 7, FIRST + 2)->requests, 3);
	assert_int_equal(ledger_find(&ledger, 7, FIRST + 1)->requests, 1);
	assert_int_equal(ledger_find(&ledger, 7, FIRST)->requests, 0);
}

static void windows_follow_a_clock_that_was_set(void **state)
{
	static const struct {
		uint64_t at_s;
		uint32_t jumps;
		uint64_t start_s, end_s;
		const char *why;
	} rows[] = {
		{ 10000, 0, 7200, 10800, "before" },
		{ 17200, 1, 14401, 18001, "two hours ahead: windows move by a second" },
		{ 10010, 2, 7202, 10802, "corrected" },
		{ 17200, 3, 14403, 18003, "ahead again" },
		{ 21700, 3, 21603, 25203, "for longer than a window" },
		{ 10020, 4, 10020, 10804, "corrected: both are in the future, one begins now" },
		{ 10021, 4, 10020, 10804, "and goes on" },
		{ 10019, 4, 10020, 10804, "also for a request that took longer" },
		{ 10900, 4, 10804, 14404, "the next one" },
		{ 10795, 4, 10804, 14404, "a late request" },
		{ 14404, 4, 14404, 18004, "what was the future has come" },
		{ 21604, 4, 21604, 25204, "and more of it" },
		{ 28900, 5, 28805, 32405, "ahead" },
		{ 32500, 5, 32405, 36005, "further" },
		{ 21610, 0, 21610, 25200, "corrected while the agent was stopped" },
		{ 21611, 0, 21610, 25200, "and goes on" },
		{ 32401, 0, 32400, 36000, "the next, until the future has come again" },
		{ 32405, 0, 32400, 36000, "and so on" },
	};
	struct fixture *f = *state;
	struct tollgate_slot *slot = take(f, 7);
	struct ledger ledger = { 0 };
	uint64_t sum = 0;

	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct clock_wall now = { rows[i].at_s * 1000, rows[i].jumps };
		uint64_t window = window_of_clock(f, slot, now);

		flush(f, 100, &ledger);
		if (window !=
		    TOLLGATE_USAGE_WINDOW(rows[i].start_s, rows[i].end_s - rows[i].start_s))
			fail_msg("%s: from %llu, %llu s", rows[i].why,
				 (unsigned long long)TOLLGATE_USAGE_START_S(window),
				 (unsigned long long)TOLLGATE_USAGE_SECONDS(window));
	}
	for (size_t i = 0; i < ledger.count; i++)
		sum += ledger.rows[i].requests;
	assert_int_equal(sum, COUNT(rows));
}

static void windows_that_are_reused_are_set_aside(void **state)
{
	struct fixture *f = *state;
	struct tollgate_slot *slots[3] = { take(f, 7), take(f, 8), take(f, 9) };
	struct ledger ledger = { 0 };

	/* The store is unreachable for ten windows. */
	for (unsigned w = 0; w < 10; w++) {
		for (unsigned a = 0; a < 3; a++)
			count(f, slots[a], FIRST + w, w + a + 1, 2);
	}
	flush(f, 7, &ledger);
	assert_int_equal(ledger.count, 30);
	for (unsigned w = 0; w < 10; w++) {
		for (unsigned a = 0; a < 3; a++) {
			const struct store_usage *row = ledger_find(&ledger, 7 + a, FIRST + w);

			if (row->requests != w + a + 1 || row->units != 2 * (w + a + 1))
				fail_msg("account %u, window %u: %llu", 7 + a, w,
					 (unsigned long long)row->requests);
		}
	}
	for (size_t i = 0; i < ledger.count; i++) {
		if (ledger.came[i] != 1)
			fail_msg("row %zu came %u times", i, ledger.came[i]);
	}
}

static void a_window_that_the_store_has_is_not_set_aside(void **state)
{
	struct fixture *f = *state;
	struct tollgate_slot *slot = take(f, 7);
	struct ledger ledger = { 0 };

	count(f, slot, FIRST, 5, 1);
	flush(f, 100, &ledger);
	count(f, slot, FIRST + 2, 1, 1);
	flush(f, 100, &ledger);
	assert_int_equal(ledger.count, 2);
	assert_int_equal(ledger.came[0] + ledger.came[1], 2);
	/* But it is if it has grown since. */
	count(f, slot, FIRST + 2, 1, 1);
	count(f, slot, FIRST + 4, 1, 1);
	flush(f, 100, &ledger);
	assert_int_equal(ledger_find(&ledger, 7, FIRST + 2)->requests, 2);
}

static void small_batches_bring_everything_once(void **state)
{
	static const size_t max_rows[] = { 1, 2, 3, 7, 19, 20, 21, 1000 };
	struct fixture *f = *state;
	struct tollgate_slot *slots[20];

	for (unsigned a = 0; a < 20; a++)
		slots[a] = take(f, a + 1);
	slots_give_back(&f->slots, 4);
	for (size_t i = 0; i < COUNT(max_rows); i++) {
		uint64_t window = FIRST + 2 * i;
		struct ledger ledger = { 0 };

		for (unsigned a = 0; a < 20; a++) {
			count(f, slots[a], window, a + 1, 1);
			if (a % 2)
				count(f, slots[a], window + 1, 1, 3);
		}
		slots[4]->usage[0] = slots[4]->usage[1] = (struct tollgate_usage){ 0 };
		flush(f, max_rows[i], &ledger);
		if (ledger.count != 19 + 10)
			fail_msg("at most %zu: %zu rows", max_rows[i], ledger.count);
		for (size_t r = 0; r < ledger.count; r++)
			assert_int_equal(ledger.came[r], 1);
		assert_int_equal(ledger_find(&ledger, 20, window)->requests, 20);
		assert_int_equal(ledger_find(&ledger, 20, window + 1)->units, 3);
	}
}

static void unconfirmed_rows_are_collected_again(void **state)
{
	struct fixture *f = *state;
	struct usage_batch batch;
	struct ledger ledger = { 0 };

	count(f, take(f, 7), FIRST, 5, 1);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(usage_collect(&f->slots, 100, &batch), 0);
		assert_int_equal(batch.usage_count, 1);
		usage_batch_done(&batch);
		assert_null(batch.usage);
	}
	flush(f, 100, &ledger);
	assert_int_equal(ledger.rows[0].requests, 5);
}

static void a_late_confirmation_hides_nothing_newer(void **state)
{
	static const struct {
		uint64_t window; /* counted between the batch and its confirmation */
		bool makes_room; /* after another one, so that it reuses the first entry */
		unsigned rows;	 /* still to be collected then */
		const char *why;
	} rows[] = {
		{ FIRST, false, 1, "more in the same window" },
		{ FIRST + 1, false, 1, "the next one" },
		{ FIRST + 2, true, 3, "one that took its entry: all are new to the store" },
		/* The same count as was confirmed for the other window, and a similar number. */
		{ FIRST + (1 << 20), true, 3, "one far away that took its entry" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct tollgate_slot *slot = take(f, i + 1);
		struct ledger ledger = { 0 };
		struct usage_batch batch;

		count(f, slot, FIRST, 5, 1);
		assert_int_equal(usage_collect(&f->slots, 100, &batch), 0);
		if (rows[i].makes_room)
			count(f, slot, FIRST + 1, 1, 1);
		count(f, slot, rows[i].window, 5, 1);
		usage_confirm(&f->slots, &batch);
		usage_batch_done(&batch);
		flush(f, 100, &ledger);
		if (ledger.count != rows[i].rows ||
		    ledger_find(&ledger, i + 1, rows[i].window)->requests !=
			    (rows[i].window == FIRST ? 10 : 5))
			fail_msg("%s: %zu rows came", rows[i].why, ledger.count);
	}
}

static void confirmations_of_what_was_set_aside_may_come_in_any_order(void **state)
{
	struct fixture *f = *state;
	struct tollgate_slot *slot = take(f, 7);
	struct usage_batch first, second, third;
	struct ledger ledger = { 0 };

	for (unsigned w = 0; w < 6; w++) /* four set aside, two in the slot */
		count(f, slot, FIRST + w, w + 1, 1);
	assert_int_equal(usage_collect(&f->slots, 2, &first), 0);
	assert_int_equal(usage_collect(&f->slots, 3, &second), 0);
	usage_confirm(&f->slots, &second);
	usage_confirm(&f->slots, &first); /* its rows are already removed */
	usage_confirm(&f->slots, &first);
	assert_int_equal(usage_collect(&f->slots, 100, &third), 0);
	assert_int_equal(third.usage_count, 3);
	assert_int_equal(third.aside_count, 1);
	assert_int_equal(third.usage[0].requests, 4);
	usage_batch_done(&first);
	usage_batch_done(&second);
	usage_batch_done(&third);
	flush(f, 100, &ledger);
	assert_int_equal(ledger.count, 3);
}

static void a_restart_writes_everything_again(void **state)
{
	struct fixture *f = *state;
	struct tollgate_slot *slot = take(f, 7);
	struct ledger ledger = { 0 };

	count(f, slot, FIRST, 5, 1);
	count(f, slot, FIRST + 1, 6, 1);
	slot->quota_period = TOLLGATE_PERIOD_DAY;
	assert_true(usage_quota_charge(slot, 20000, 3, 10));
	flush(f, 100, &ledger);
	assert_int_equal(fixture_adopt(f), SLOTS_SAME_BOOT);
	flush(f, 100, &ledger);
	assert_int_equal(ledger.count, 2);
	assert_int_equal(ledger.came[0] + ledger.came[1], 4);
	assert_int_equal(ledger_find(&ledger, 7, FIRST)->requests, 5);
}

static void nothing_is_collected_from_nothing(void **state)
{
	struct fixture *f = *state;
	struct usage_batch batch;

	assert_int_equal(usage_collect(&f->slots, 100, &batch), 0);
	assert_int_equal(batch.usage_count + batch.quota_count, 0);
	usage_confirm(&f->slots, &batch);
	usage_batch_done(&batch);
	take(f, 7);
	assert_int_equal(usage_collect(&f->slots, 100, &batch), 0);
	assert_int_equal(batch.usage_count + batch.quota_count, 0);
}

/*
 * Threads: in each phase, all count in two neighbouring windows, one of which reuses an old entry.
 */

#define THREADS 4
#define PHASES	40
#define EACH	3000

struct race {
	struct fixture *f;
	struct tollgate_slot *slot;
	pthread_barrier_t phase;
	struct ledger *ledger;
	uint64_t counted[PHASES + 1];
};

static void count_in_phases(void *arg, unsigned index)
{
	struct race *race = arg;
	uint64_t seed = index + 1;

	for (unsigned p = 0; p < PHASES; p++) {
		uint64_t mine[2] = { 0 };

		pthread_barrier_wait(&race->phase);
		/*
		 * In some phases, one of them is also the control loop; in others the store is
		 * away.
		 */
		for (unsigned i = 0; i < EACH; i++) {
			unsigned later = draw(&seed) % 2;

			usage_count(&race->f->slots, race->slot, 3,
				    AT((FIRST + p + later) * WINDOW_MS));
			mine[later]++;
			if (!index && p % 4 == 3 && i % 500 == 0)
				flush(race->f, 100, race->ledger);
		}
		atomic_add(&race->counted[p], mine[0]);
		atomic_add(&race->counted[p + 1], mine[1]);
	}
}

static void threads_never_mix_windows(void **state)
{
	struct fixture *f = *state;
	struct ledger ledger = { 0 };
	struct race race = { .f = f, .slot = take(f, 7), .ledger = &ledger };

	pthread_barrier_init(&race.phase, NULL, THREADS);
	run_crew(THREADS, count_in_phases, &race);
	pthread_barrier_destroy(&race.phase);
	flush(f, 100, &ledger);
	for (unsigned p = 0; p <= PHASES; p++) {
		const struct store_usage *row = ledger_find(&ledger, 7, FIRST + p);

		if (row->requests != race.counted[p] || row->units != 3 * race.counted[p])
			fail_msg("window %u: %llu requests, %llu units, but %llu were counted", p,
				 (unsigned long long)row->requests, (unsigned long long)row->units,
				 (unsigned long long)race.counted[p]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_counts_in_the_window_of_its_own_time),
		TEST(a_window_ends_with_the_billing_period),
		TEST(another_length_begins_with_the_next_window),
		TEST(a_longer_window_begins_where_the_last_one_ended),
		TEST(time_that_went_back_over_a_restart_loses_nothing),
		TEST(windows_follow_a_clock_that_was_set),
		TEST(windows_that_are_reused_are_set_aside),
		TEST(a_window_that_the_store_has_is_not_set_aside),
		TEST(small_batches_bring_everything_once),
		TEST(unconfirmed_rows_are_collected_again),
		TEST(a_late_confirmation_hides_nothing_newer),
		TEST(confirmations_of_what_was_set_aside_may_come_in_any_order),
		TEST(a_restart_writes_everything_again),
		TEST(nothing_is_collected_from_nothing),
		TEST(threads_never_mix_windows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
