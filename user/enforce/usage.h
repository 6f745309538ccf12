/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * usage: what each account used, counted in its slot and carried to the store.
 *
 * Two kinds of count live in a slot. Windows hold what was answered; two of them, so that the last one
 * can still be read while the next one fills. A window ends at a multiple of its length, or where the
 * account's billing period ends. A quota's word holds what was charged
 * in the period, over all epochs; its base is the part that other epochs charged, and the store gets
 * the difference. Workers count; the control loop collects.
 */
#ifndef ENFORCE_USAGE_H
#define ENFORCE_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "enforce/slot.h"
#include "store/store.h"

#define USAGE_WINDOW_SECONDS 3600 /* without Stripe */

/*
 * Count one answered request of @units in the window that holds @wall_ms. Any worker. A window that
 * must make room before the control loop has collected it is set aside, never lost.
 */
void usage_count(const struct slots *slots, struct tollgate_slot *slot, uint32_t units,
		 uint64_t wall_ms);

/* The quota's period at @wall_ms: the number of the day on which it began; 0 without a quota. */
uint32_t usage_period(uint32_t period_kind, uint64_t wall_ms);

/* The same for an account whose monthly quota may have a span (period.h), and when that period ends. */
uint32_t usage_quota_period(uint32_t period_kind, uint64_t span, uint64_t wall_ms,
			    uint64_t *ret_end_ms);

/* Unix milliseconds at which that period ends. */
uint64_t usage_period_end_ms(uint32_t period_kind, uint32_t period);

/* Units charged in period @period, as a quota's word has them; 0 in a newer period. */
uint64_t usage_quota_used(uint64_t word, uint32_t period);

/*
 * Charge @units if the quota @limit allows: true, or false and nothing is charged. A period that is
 * over never comes back: an older @period counts in the word's own.
 */
bool usage_quota_charge(struct tollgate_slot *slot, uint32_t period, uint64_t units,
			uint64_t limit);

/*
 * Enter a row of the store: another epoch's is added to the base, this epoch's fills an empty slot. A
 * row of a period that is over is ignored.
 */
void usage_restore_quota(struct tollgate_slot *slot, const struct store_quota *quota,
			 uint64_t epoch);

/* Keep only what this epoch charged: before a load, which brings the rows of the others anew. */
void usage_forget_others(struct tollgate_slot *slot);

/* Units that this epoch charged in @period itself. Any thread. */
uint64_t usage_quota_own(const struct tollgate_slot *slot, uint32_t period);

/*
 * Others have charged @units in @period, all together: what this epoch charged comes on top. A @period
 * that is over is ignored. The control loop.
 */
void usage_set_others(struct tollgate_slot *slot, uint32_t period, uint64_t units);

/* What is to be written to the store now. */
struct usage_batch {
	struct store_usage *usage; /* owned */
	size_t usage_count, usage_room;
	size_t aside_count;	    /* the first of these rows, which had been set aside... */
	uint64_t aside_end;	    /* ...up to the one with this number */
	struct store_quota *quotas; /* owned */
	size_t quota_count, quota_room;
};

/*
 * Collect what changed since the last usage_confirm(), at most @max_rows of each kind, beginning where
 * the last batch ended. Control loop only. 0 or -ENOMEM; @batch is the caller's to free.
 */
int usage_collect(struct slots *slots, size_t max_rows, struct usage_batch *batch);

/*
 * The store may have lost what it had: what slots still hold is collected again. Totals, so it does no
 * harm if it has it. Control loop only.
 */
void usage_doubt(const struct slots *slots);

/* The store has @batch: its rows need not be written again. */
void usage_confirm(const struct slots *slots, const struct usage_batch *batch);
void usage_batch_done(struct usage_batch *batch);

#endif
