/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * usage: what each account used, counted in its slot and written to the store.
 *
 * A window's `collected` and a quota's `quota_collected` record what the store has. Like the
 * quota's word they hold a tag, the low bits of the window's start or the period, above the count.
 * So a late confirmation is never mistaken for one of the next window.
 */
#include "enforce/usage.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "base/log.h"
#include "enforce/period.h"

#define COUNT_MASK   TOLLGATE_QUOTA_MAX
#define PERIOD_OF(w) ((uint32_t)((w) >> TOLLGATE_QUOTA_SHIFT))
#define UNITS_OF(w)  ((w)&COUNT_MASK)
#define WORD(p, u)   ((uint64_t)(p) << TOLLGATE_QUOTA_SHIFT | (u))
#define ASIDE_MAX    1000000
#define AHEAD_S	     60 /* clocks may differ by so much */

/*
 * Windows that had to make room before they were collected: only while the store cannot take usage
 * for longer than a window.
 */
struct usage_aside {
	pthread_mutex_t lock;
	struct store_usage *rows; /* owned; in the order in which they were set aside */
	size_t count, room;
	uint64_t gone; /* rows before these, which were confirmed */
};

struct usage_aside *usage_aside_new(void)
{
	struct usage_aside *aside = calloc(1, sizeof(*aside));

	if (aside)
		pthread_mutex_init(&aside->lock, NULL);
	return aside;
}

void usage_aside_free(struct usage_aside *aside)
{
	if (!aside)
		return;
	pthread_mutex_destroy(&aside->lock);
	free(aside->rows);
	free(aside);
}

static uint64_t tagged(uint64_t window, uint64_t count)
{
	return TOLLGATE_USAGE_START_S(window) << TOLLGATE_QUOTA_SHIFT | (count & COUNT_MASK);
}

static struct store_usage usage_row(const struct slots *slots, uint64_t account, uint64_t window,
				    uint64_t requests, uint64_t units)
{
	return (struct store_usage){
		.account = account,
		.epoch = slots->head->epoch,
		.window_start_s = TOLLGATE_USAGE_START_S(window),
		.window_seconds = TOLLGATE_USAGE_SECONDS(window),
		.requests = requests,
		.units = units,
	};
}

static void set_aside(struct usage_aside *aside, const struct store_usage *row)
{
	int err;

	pthread_mutex_lock(&aside->lock);
	err = array_reserve(aside->rows, aside->room, aside->count + 1, ASIDE_MAX);
	if (!err)
		aside->rows[aside->count++] = *row;
	pthread_mutex_unlock(&aside->lock);
	if (err)
		log_error("usage lost: account acc_%016llx, window %llu, %llu units: %s",
			  (unsigned long long)row->account, (unsigned long long)row->window_start_s,
			  (unsigned long long)row->units, strerror(-err));
}

/* Open @window in an entry that this worker made busy; set aside what the store does not have. */
static void open_window(const struct slots *slots, struct tollgate_slot *slot,
			struct tollgate_usage *usage, uint64_t old, uint64_t window)
{
	if (old && atomic_read_acquire(&usage->collected) != tagged(old, usage->requests)) {
		struct store_usage row =
			usage_row(slots, slot->account_id, old, usage->requests, usage->units);

		set_aside(slots->aside, &row);
	}
	atomic_write_release(&usage->requests, 0);
	atomic_write_release(&usage->units, 0);
	/*
	 * A window of another length may start in the same second, so the tag alone would not do.
	 */
	atomic_write_release(&usage->collected, 0);
	atomic_write_release(&usage->window, window);
}

/*
 * The window that holds @now_s: it starts @shift_s after a multiple of its length; a billing period
 * cuts it.
 */
static uint64_t window_at(uint32_t length_s, uint32_t shift_s, uint64_t billing, uint64_t now_s)
{
	uint64_t start_s = now_s - (now_s - shift_s) % length_s, end_s = start_s + length_s;
	const uint64_t turns_s[] = { PERIOD_START_S(billing), PERIOD_END_S(billing) };

	for (unsigned i = 0; billing && i < 2; i++) {
		if (turns_s[i] <= now_s && turns_s[i] > start_s)
			start_s = turns_s[i];
		else if (turns_s[i] > now_s && turns_s[i] < end_s)
			end_s = turns_s[i];
	}
	return TOLLGATE_USAGE_WINDOW(start_s, end_s - start_s);
}

/*
 * Cut from @window what belongs to @seen, a window that is over. If windows become longer or a
 * billing period moves, the new window starts where the old one ended.
 */
static uint64_t begin_after(uint64_t window, uint64_t seen, uint64_t now_s)
{
	uint64_t start_s = TOLLGATE_USAGE_START_S(window);
	uint64_t end_s = TOLLGATE_USAGE_START_S(seen) + TOLLGATE_USAGE_SECONDS(seen);

	if (seen == TOLLGATE_USAGE_BUSY || end_s <= start_s || end_s > now_s)
		return window;
	return TOLLGATE_USAGE_WINDOW(end_s, TOLLGATE_USAGE_SECONDS(window) - (end_s - start_s));
}

/*
 * A window from @now_s to the end of @window, for a clock that was set back. @window itself may
 * have existed before the last restart, but none that began at this second, or else at the next.
 */
static uint64_t begin_now(uint64_t window, uint64_t now_s)
{
	uint64_t start_s = TOLLGATE_USAGE_START_S(window);
	uint64_t end_s = start_s + TOLLGATE_USAGE_SECONDS(window);

	if (now_s == start_s && now_s + 1 < end_s)
		now_s++;
	return TOLLGATE_USAGE_WINDOW(now_s, end_s - now_s);
}

/*
 * Find the entry that counts requests of @window. A new window replaces the older of the two, so
 * both only move forward. A window that was replaced is never opened again, because its totals
 * would start at 0: its late requests are counted in the older of the two. Only if both are in the
 * future, because the clock was set back, the older one makes room for a window that begins now.
 */
static struct tollgate_usage *find_window(const struct slots *slots, struct tollgate_slot *slot,
					  uint64_t window, uint64_t now_s)
{
	for (;;) {
		uint64_t seen[2] = { atomic_read_acquire(&slot->usage[0].window),
				     atomic_read_acquire(&slot->usage[1].window) };
		struct tollgate_usage *older = &slot->usage[seen[0] <= seen[1] ? 0 : 1];
		__u64 oldest = seen[0] <= seen[1] ? seen[0] : seen[1];

		if (seen[0] == window || seen[1] == window)
			return &slot->usage[seen[0] == window ? 0 : 1];
		if (seen[0] == TOLLGATE_USAGE_BUSY || seen[1] == TOLLGATE_USAGE_BUSY) {
			cpu_relax();
		} else if (oldest > window && TOLLGATE_USAGE_START_S(oldest) <= now_s + AHEAD_S) {
			return older;
		} else if (oldest > window &&
			   atomic_compare_exchange(&older->window, &oldest, TOLLGATE_USAGE_BUSY)) {
			open_window(slots, slot, older, oldest, begin_now(window, now_s));
			return older;
		} else if (atomic_compare_exchange(&older->window, &oldest, TOLLGATE_USAGE_BUSY)) {
			open_window(slots, slot, older, oldest, window);
			return older;
		}
	}
}

void usage_count(const struct slots *slots, struct tollgate_slot *slot, uint32_t units,
		 struct clock_wall now)
{
	uint32_t length_s = atomic_read(&slots->head->window_seconds);
	uint64_t now_s = now.ms / 1000;
	uint64_t window = window_at(length_s, now.jumps % length_s,
				    atomic_read_acquire(&slot->billing), now_s);
	struct tollgate_usage *usage;

	for (unsigned i = 0; i < 2; i++)
		window = begin_after(window, atomic_read_acquire(&slot->usage[i].window), now_s);
	usage = find_window(slots, slot, window, now_s);

	/* Units first: a reader that sees the request must also see its units. */
	atomic_add(&usage->units, units);
	atomic_add_release(&usage->requests, 1);
}

/*
 * Periods of both kinds are numbered by the day on which they start. So numbers only grow, even if
 * the tier of an account changes from one kind to the other.
 */
uint32_t usage_period(uint32_t period_kind, uint64_t wall_ms)
{
	static _Thread_local uint32_t cached_day, cached_month_start;
	uint32_t day = clock_day(wall_ms);

	if (period_kind != TOLLGATE_PERIOD_MONTH)
		return period_kind == TOLLGATE_PERIOD_DAY ? day : 0;
	if (cached_day != day) {
		cached_month_start = clock_day(clock_month_start_ms(clock_month(wall_ms)));
		cached_day = day;
	}
	return cached_month_start;
}

uint64_t usage_period_end_ms(uint32_t period_kind, uint32_t period)
{
	if (period_kind == TOLLGATE_PERIOD_DAY)
		return clock_day_start_ms(period + 1);
	return clock_month_start_ms(clock_month(clock_day_start_ms(period)) + 1);
}

uint32_t usage_quota_period(uint32_t period_kind, uint64_t span, uint64_t wall_ms,
			    uint64_t *ret_end_ms)
{
	uint64_t start_s = PERIOD_START_S(span), end_s = PERIOD_END_S(span);
	uint32_t period;

	if (period_kind != TOLLGATE_PERIOD_MONTH || !span) {
		period = usage_period(period_kind, wall_ms);
		*ret_end_ms = usage_period_end_ms(period_kind, period);
		return period;
	}
	/* The span is over; the control loop replaces it within a second. */
	if (wall_ms / 1000 >= end_s) {
		uint64_t length_s = end_s - start_s;

		start_s = end_s;
		end_s += length_s;
	}
	*ret_end_ms = end_s * 1000;
	return clock_day(start_s * 1000);
}

uint64_t usage_quota_used(uint64_t word, uint32_t period)
{
	return PERIOD_OF(word) >= period ? UNITS_OF(word) : 0;
}

bool usage_quota_charge(struct tollgate_slot *slot, uint32_t period, uint64_t units, uint64_t limit)
{
	__u64 word = atomic_read_acquire(&slot->quota_word);
	uint64_t used, fresh;

	do {
		used = usage_quota_used(word, period) + units;
		if (used > limit)
			return false;
		fresh = WORD(PERIOD_OF(word) > period ? PERIOD_OF(word) : period, used);
	} while (!atomic_compare_exchange(&slot->quota_word, &word, fresh));
	return true;
}

/* @word plus @units in @period; units of an earlier period are dropped. */
static uint64_t word_plus(uint64_t word, uint32_t period, uint64_t units)
{
	uint64_t sum = (PERIOD_OF(word) == period ? UNITS_OF(word) : 0) + units;

	return WORD(period, sum < COUNT_MASK ? sum : COUNT_MASK);
}

/* The units of the word's period that this epoch charged. */
static uint64_t own_units(uint64_t word, uint64_t base)
{
	return UNITS_OF(word) - (PERIOD_OF(base) == PERIOD_OF(word) ? UNITS_OF(base) : 0);
}

uint64_t usage_quota_own(const struct tollgate_slot *slot, uint32_t period)
{
	uint64_t word = atomic_read_acquire(&slot->quota_word);

	return PERIOD_OF(word) == period ? own_units(word, atomic_read_acquire(&slot->quota_base))
					 : 0;
}

void usage_set_others(struct tollgate_slot *slot, uint32_t period, uint64_t units)
{
	__u64 word = atomic_read_acquire(&slot->quota_word);
	uint64_t base = atomic_read_acquire(&slot->quota_base), fresh, own;

	if (PERIOD_OF(word) > period || PERIOD_OF(base) > period)
		return;
	/*
	 * The base first: for a moment the own units seem fewer, but the quota is never exceeded.
	 */
	atomic_write_release(&slot->quota_base, WORD(period, units));
	do {
		own = PERIOD_OF(word) == period ? own_units(word, base) : 0;
		fresh = WORD(period, units + own);
	} while (!atomic_compare_exchange(&slot->quota_word, &word, fresh));
}

uint32_t usage_latest_period(uint64_t wall_ms)
{
	return clock_day(wall_ms + AHEAD_S * 1000ULL);
}

bool usage_forget_future(struct tollgate_slot *slot, uint64_t wall_ms)
{
	if (PERIOD_OF(atomic_read_acquire(&slot->quota_word)) <= usage_latest_period(wall_ms))
		return false;
	atomic_write_release(&slot->quota_base, 0);
	atomic_write_release(&slot->quota_word, 0);
	return true;
}

void usage_forget_others(struct tollgate_slot *slot)
{
	uint64_t word = slot->quota_word;

	atomic_write_release(&slot->quota_word,
			     WORD(PERIOD_OF(word), own_units(word, slot->quota_base)));
	atomic_write_release(&slot->quota_base, 0);
}

void usage_restore_quota(struct tollgate_slot *slot, const struct store_quota *quota,
			 uint64_t epoch)
{
	uint64_t word = slot->quota_word, units = quota->units & COUNT_MASK;
	uint32_t period = quota->period;

	if (quota->period_kind != slot->quota_period || PERIOD_OF(word) > period)
		return;
	if (quota->epoch != epoch) {
		atomic_write_release(&slot->quota_base, word_plus(slot->quota_base, period, units));
		atomic_write_release(&slot->quota_word, word_plus(word, period, units));
	} else if (PERIOD_OF(word) != period || own_units(word, slot->quota_base) < units) {
		atomic_write_release(&slot->quota_word, word_plus(slot->quota_base, period, units));
	}
}

/* Collect one window of a slot. If the batch is full, a later one will have it. */
static int collect_window(const struct slots *slots, const struct tollgate_slot *slot, unsigned i,
			  size_t max_rows, struct usage_batch *batch)
{
	const struct tollgate_usage *usage = &slot->usage[i];
	uint64_t window = atomic_read_acquire(&usage->window);
	uint64_t requests = atomic_read_acquire(&usage->requests);
	uint64_t units = atomic_read_acquire(&usage->units);
	int err;

	if (!window || window == TOLLGATE_USAGE_BUSY ||
	    atomic_read_acquire(&usage->window) != window ||
	    usage->collected == tagged(window, requests) || batch->usage_count >= max_rows)
		return 0;
	err = array_reserve(batch->usage, batch->usage_room, batch->usage_count + 1, max_rows);
	if (!err)
		batch->usage[batch->usage_count++] =
			usage_row(slots, slot->account_id, window, requests, units);
	return err;
}

static int collect_quota(const struct slots *slots, const struct tollgate_slot *slot,
			 size_t max_rows, struct usage_batch *batch)
{
	uint64_t word = atomic_read_acquire(&slot->quota_word);
	uint64_t base = atomic_read_acquire(&slot->quota_base);
	int err;

	if (word == slot->quota_collected || !slot->quota_period)
		return 0;
	err = array_reserve(batch->quotas, batch->quota_room, batch->quota_count + 1, max_rows);
	if (err)
		return err;
	batch->quotas[batch->quota_count++] = (struct store_quota){
		.account = slot->account_id,
		.epoch = slots->head->epoch,
		.period_kind = slot->quota_period,
		.period = PERIOD_OF(word),
		.units = own_units(word, base),
	};
	return 0;
}

static int collect_aside(struct usage_aside *aside, size_t max_rows, struct usage_batch *batch)
{
	size_t count;
	int err;

	pthread_mutex_lock(&aside->lock);
	count = aside->count < max_rows ? aside->count : max_rows;
	err = array_reserve(batch->usage, batch->usage_room, count, max_rows);
	if (!err && count) {
		memcpy(batch->usage, aside->rows, count * sizeof(*aside->rows));
		batch->usage_count = count;
	}
	batch->aside_count = batch->usage_count;
	batch->aside_end = aside->gone + batch->usage_count;
	pthread_mutex_unlock(&aside->lock);
	return err;
}

int usage_collect(struct slots *slots, size_t max_rows, struct usage_batch *batch)
{
	int err;

	*batch = (struct usage_batch){ 0 };
	err = collect_aside(slots->aside, max_rows, batch);
	for (uint32_t done = 0; done < slots->used && !err && batch->usage_count < max_rows &&
				batch->quota_count < max_rows;
	     done++) {
		const struct tollgate_slot *slot = &slots->list[slots->collect_at % slots->used];

		slots->collect_at = (slots->collect_at + 1) % slots->used;
		if (!slot->account_id)
			continue;
		err = collect_window(slots, slot, 0, max_rows, batch);
		if (!err)
			err = collect_window(slots, slot, 1, max_rows, batch);
		if (!err)
			err = collect_quota(slots, slot, max_rows, batch);
	}
	if (err)
		usage_batch_done(batch);
	return err;
}

/* Drop the rows that a batch contained: those before number @end, counted since the start. */
static void confirm_aside(struct usage_aside *aside, uint64_t end)
{
	pthread_mutex_lock(&aside->lock);
	if (end > aside->gone) {
		size_t count = (size_t)(end - aside->gone);

		aside->count -= count;
		aside->gone = end;
		memmove(aside->rows, aside->rows + count, aside->count * sizeof(*aside->rows));
	}
	pthread_mutex_unlock(&aside->lock);
}

/* Rows are in the order of slots, so each search continues where the last one ended. */
static struct tollgate_slot *next_slot(const struct slots *slots, uint64_t account, uint32_t *at)
{
	for (uint32_t done = 0; done < slots->used; done++, *at = (*at + 1) % slots->used) {
		if (slots->list[*at].account_id == account)
			return &slots->list[*at];
	}
	return NULL;
}

static void confirm_window(struct tollgate_slot *slot, const struct store_usage *row)
{
	uint64_t window = TOLLGATE_USAGE_WINDOW(row->window_start_s, row->window_seconds);

	for (unsigned i = 0; i < 2; i++) {
		struct tollgate_usage *usage = &slot->usage[i];

		if (atomic_read_acquire(&usage->window) == window)
			atomic_write_release(&usage->collected, tagged(window, row->requests));
	}
}

void usage_doubt(const struct slots *slots)
{
	for (uint32_t i = 0; i < slots->used; i++) {
		struct tollgate_slot *slot = &slots->list[i];

		for (unsigned j = 0; j < 2; j++)
			atomic_write_release(&slot->usage[j].collected, 0);
		atomic_write_release(&slot->quota_collected, 0);
	}
}

void usage_confirm(const struct slots *slots, const struct usage_batch *batch)
{
	uint32_t at = 0;

	confirm_aside(slots->aside, batch->aside_end);
	for (size_t i = batch->aside_count; i < batch->usage_count; i++) {
		struct tollgate_slot *slot = next_slot(slots, batch->usage[i].account, &at);

		if (slot)
			confirm_window(slot, &batch->usage[i]);
	}
	at = 0;
	for (size_t i = 0; i < batch->quota_count; i++) {
		const struct store_quota *row = &batch->quotas[i];
		struct tollgate_slot *slot = next_slot(slots, row->account, &at);

		if (slot)
			atomic_write_release(
				&slot->quota_collected,
				WORD(row->period,
				     row->units + (PERIOD_OF(slot->quota_base) == row->period
							   ? UNITS_OF(slot->quota_base)
							   : 0)));
	}
}

void usage_batch_done(struct usage_batch *batch)
{
	free(batch->usage);
	free(batch->quotas);
	*batch = (struct usage_batch){ 0 };
}
