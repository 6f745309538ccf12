/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * slot: the shared array in which every account has its record.
 *
 * The memory is a BPF map or, without BPF, a file in the state folder, mapped shared either way, so
 * that buckets, penalties and usage survive a crash of the agent. slots_adopt() decides what of the
 * content found there may be believed.
 *
 * Slots are given out and their limits written by the control loop alone; charging and counting is
 * done by any worker (gate.h, usage.h).
 */
#ifndef ENFORCE_SLOT_H
#define ENFORCE_SLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/tier.h"
#include "tollgate/abi.h"

struct slots {
	struct tollgate_slot *list;	  /* borrowed from the map, or mapped from the file */
	struct tollgate_slots_head *head; /* likewise */
	uint32_t count;
	uint32_t used;	     /* slots from here on were never given out */
	uint32_t *free_list; /* owned: slots below `used` that are free */
	uint32_t free_count;
	uint32_t collect_at; /* where usage_collect() goes on */
	void *file_map;	     /* owned; NULL when a BPF map holds the slots */
	size_t file_bytes;
};

enum slots_origin {
	SLOTS_NEW,	   /* nothing was there, or nothing of ours */
	SLOTS_SAME_BOOT,   /* everything was taken over */
	SLOTS_OTHER_BOOT,  /* usage was taken over, monotonic words were zeroed */
	SLOTS_OTHER_STORE, /* accounts of another store: all was zeroed */
};

/* Use the memory of a BPF map. 0 or -ENOMEM. */
int slots_use_map(struct slots *slots, struct tollgate_slot *list, struct tollgate_slots_head *head,
		  uint32_t count);

/*
 * Use the file at @path, made or replaced if it is missing or of another size or ABI. 0 or the errno
 * of the file (-ENOSPC included: the whole file is allocated).
 */
int slots_use_file(struct slots *slots, const char *path, uint32_t count);

/*
 * Decide what of the content is ours, and make the slots ready for this boot and this store: nobody
 * may use them before. Concurrency counts never survive. Usage that is not yet in the store is kept
 * in every case but SLOTS_NEW and SLOTS_OTHER_STORE. Negative errno only if random bytes fail.
 */
int slots_adopt(struct slots *slots, const uint8_t boot_id[16], const uint8_t store_id[16],
		uint32_t window_seconds);

/* The length of usage windows that are opened from now on. Those that are open end as they were to. */
void slots_set_window(struct slots *slots, uint32_t window_seconds);

/* Let go of the memory; a file stays. Accepts a zeroed struct. */
void slots_done(struct slots *slots);

/* A free slot for @account_id, its index; -ENOSPC when all are taken. */
int64_t slots_take(struct slots *slots, uint64_t account_id);

/* Give a slot back. Usage in it must be in the store. */
void slots_give_back(struct slots *slots, uint32_t index);

/*
 * Set what a verdict reads, all at once for every reader. Debt in the bucket keeps its worth in units
 * when the rate changes. @tier NULL: the account has no tier that is configured, and is inactive.
 */
void slot_set_limits(struct tollgate_slot *slot, const struct tier *tier, uint32_t tier_id,
		     bool is_open, uint64_t now_ns);

/*
 * Set the billing period and the span of a monthly quota (period.h); 0: none. Usage windows opened from
 * now on end with the period. @grace_end_s: when an account that is past due loses its access; 0: none is.
 */
void slot_set_periods(struct tollgate_slot *slot, uint64_t billing, uint64_t quota_span,
		      uint32_t grace_end_s);

/* The limits as they were at one moment. Any thread. */
struct slot_limits {
	uint64_t interval_ns, limit_ns, features, quota_limit, quota_span;
	uint32_t quota_period, concurrency_limit, tier, state, grace_end_s;
};
void slot_read_limits(const struct tollgate_slot *slot, struct slot_limits *ret_limits);

#endif
