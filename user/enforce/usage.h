/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * usage: what each account used, counted in its slot and written to the store.
 *
 * A slot has two kinds of counts. Two windows count answered requests, so that the last one can be
 * collected while the next one fills. A window ends at a multiple of its length or where the
 * account's billing period ends. The quota's word counts the units charged in the period by all
 * epochs (an epoch is one lifetime of the slots' memory, on any host); its base is the part that
 * other epochs charged, and the store gets the difference. Workers count, the control loop
 * collects.
 */
#ifndef ENFORCE_USAGE_H
#define ENFORCE_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "enforce/slot.h"
#include "store/store.h"

#define USAGE_WINDOW_SECONDS 3600 /* length of windows without Stripe */

/*
 * Count one answered request of @units in the window that holds @now. Any worker. If a window must
 * be reused before it was collected, its counts are set aside for the next batch.
 *
 * A window that was reused must not be opened again, because its totals would start at 0. So each
 * time the clock is set, windows move by a second, so that those from before and after differ; they
 * are the same again only after as many times as a window has seconds.
 * If both of the slot's windows are in the future, one begins now.
 */
void usage_count(const struct slots *slots, struct tollgate_slot *slot, uint32_t units,
		 struct clock_wall now);

/*
 * The quota period at @wall_ms: the day on which it started (clock_day()); 0 without a quota. Pure.
 */
uint32_t usage_period(uint32_t period_kind, uint64_t wall_ms);

/*
 * The same if the quota may have a span (period.h), with the period's end in Unix milliseconds.
 * Pure.
 */
uint32_t usage_quota_period(uint32_t period_kind, uint64_t span, uint64_t wall_ms,
			    uint64_t *ret_end_ms);

/* When that period ends, in Unix milliseconds. Pure. */
uint64_t usage_period_end_ms(uint32_t period_kind, uint32_t period);

/* The units that a quota's word holds for @period; 0 if its period is older. Pure. */
uint64_t usage_quota_used(uint64_t word, uint32_t period);

/*
 * Charge @units if the quota @limit allows it; otherwise return false and charge nothing. Periods
 * only move forward: if @period is older than the word's, the units count in the word's period. Any
 * worker.
 */
bool usage_quota_charge(struct tollgate_slot *slot, uint32_t period, uint64_t units,
			uint64_t limit);

/*
 * Add a row of the store to the slot. A row of another epoch is added to the base; a row of this
 * epoch
 * (@epoch) only raises this epoch's count. A row of a past period is ignored. Control loop only.
 */
void usage_restore_quota(struct tollgate_slot *slot, const struct store_quota *quota,
			 uint64_t epoch);

/*
 * If the quota's word is of a period that begins more than a minute after @wall_ms, the clock was
 * ahead: forget the word, and return true. A load then brings what the store has of the present
 * period. Control loop only.
 */
bool usage_forget_future(struct tollgate_slot *slot, uint64_t wall_ms);

/*
 * The number of the last period that may have begun by @wall_ms, allowing for other clocks. Pure.
 */
uint32_t usage_latest_period(uint64_t wall_ms);

/* Drop what other epochs charged, before a load brings their rows again. Control loop only. */
void usage_forget_others(struct tollgate_slot *slot);

/* The units that this epoch charged in @period. Any thread. */
uint64_t usage_quota_own(const struct tollgate_slot *slot, uint32_t period);

/*
 * Set what all other epochs charged in @period to @units; this epoch's units are added to it. A
 * past
 * @period is ignored. Control loop only.
 */
void usage_set_others(struct tollgate_slot *slot, uint32_t period, uint64_t units);

/* Rows to write to the store. */
struct usage_batch {
	struct store_usage *usage; /* owned */
	size_t usage_count, usage_room;
	size_t aside_count;	    /* the first rows of these had been set aside */
	uint64_t aside_end;	    /* number of the first row set aside that is not among them */
	struct store_quota *quotas; /* owned */
	size_t quota_count, quota_room;
};

/*
 * Collect what changed since usage_confirm(), at most @max_rows of each kind, starting where the
 * last batch ended. Control loop only. 0 or -ENOMEM. The caller frees @batch with
 * usage_batch_done().
 */
int usage_collect(struct slots *slots, size_t max_rows, struct usage_batch *batch);

/*
 * The store may have lost rows: collect everything that the slots still hold again. Rows are
 * totals, so writing them twice does no harm. Control loop only.
 */
void usage_doubt(const struct slots *slots);

/* The store has the rows of @batch. Control loop only. */
void usage_confirm(const struct slots *slots, const struct usage_batch *batch);
void usage_batch_done(struct usage_batch *batch);

/* Memory for windows set aside; slot.c's, one for each struct slots. NULL when memory is short. */
struct usage_aside *usage_aside_new(void);
void usage_aside_free(struct usage_aside *aside); /* accepts NULL */

#endif
