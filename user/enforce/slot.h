/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * slot: the shared array that has one record for each account.
 *
 * The memory is a BPF map or, without BPF, a file in the state directory. Both are mapped shared,
 * so buckets, penalties and usage survive a crash of the agent. slots_adopt() decides which of the
 * content is still valid.
 *
 * Only the control loop allocates slots and writes limits. Any worker charges and counts (gate.h,
 * usage.h).
 */
#ifndef ENFORCE_SLOT_H
#define ENFORCE_SLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/tier.h"
#include "tollgate/abi.h"

struct usage_aside;

struct slots {
	struct tollgate_slot *list;	  /* borrowed from the map, or mapped from the file */
	struct tollgate_slots_head *head; /* likewise */
	uint32_t count;
	uint32_t used;	     /* slots from this index on were never allocated */
	uint32_t *free_list; /* owned: indexes below `used` of free slots */
	uint32_t free_count;
	uint32_t collect_at;	   /* where usage_collect() continues */
	struct usage_aside *aside; /* owned: usage that no slot has room for; see usage.h */
	void *file_map;		   /* owned; NULL when a BPF map holds the slots */
	size_t file_bytes;
};

enum slots_origin {
	SLOTS_NEW,	   /* the memory was empty or had another layout */
	SLOTS_SAME_BOOT,   /* everything was kept */
	SLOTS_OTHER_BOOT,  /* usage was kept; monotonic times were zeroed */
	SLOTS_OTHER_STORE, /* the accounts were of another store: all was zeroed */
};

/* Use the memory of a BPF map. 0 or -ENOMEM. */
int slots_use_map(struct slots *slots, struct tollgate_slot *list, struct tollgate_slots_head *head,
		  uint32_t count);

/*
 * Use the file at @path. It is created or replaced if it is missing or has another size or ABI. 0,
 * or a negative errno; -ENOSPC if the disk is full, since the whole file is allocated.
 */
int slots_use_file(struct slots *slots, const char *path, uint32_t count);

/*
 * Validate the content and prepare the slots for this boot and this store; no thread may use them
 * before. Concurrency counts are reset. Usage that is not in the store yet is kept, except after
 * SLOTS_NEW and SLOTS_OTHER_STORE. Returns enum slots_origin, or the error of crypto_random().
 */
int slots_adopt(struct slots *slots, const uint8_t boot_id[16], const uint8_t store_id[16],
		uint32_t window_seconds);

/* Set the length of usage windows that open from now on. Open windows keep their length. */
void slots_set_window(struct slots *slots, uint32_t window_seconds);

/* Unmap the memory. A file stays. Accepts a zeroed struct. */
void slots_done(struct slots *slots);

/* Allocate a slot for @account_id. Returns its index, or -ENOSPC if all are in use. */
int64_t slots_take(struct slots *slots, uint64_t account_id);

/* Free a slot. Its usage must be in the store already. */
void slots_give_back(struct slots *slots, uint32_t index);

/*
 * Set the limits; readers see all of them change at once. If the rate changes, the debt in the
 * bucket keeps its value in units. @tier NULL: the account's tier is not configured, so it is
 * inactive.
 */
void slot_set_limits(struct tollgate_slot *slot, const struct tier *tier, uint32_t tier_id,
		     bool is_open, uint64_t now_ns);

/*
 * Set the billing period and the span of a monthly quota (period.h; 0: none). Usage windows that
 * open from now on end with the period. @grace_end_s: when a past-due account loses its access
 * (Unix time); 0: never.
 */
void slot_set_periods(struct tollgate_slot *slot, uint64_t billing, uint64_t quota_span,
		      uint32_t grace_end_s);

/* A consistent copy of the limits. The members are those of struct tollgate_slot. */
struct slot_limits {
	uint64_t interval_ns, limit_ns, features, quota_limit, quota_span;
	uint32_t quota_period, concurrency_limit, tier, state, grace_end_s;
};

/* Copy the limits as they were at one moment. Any thread. */
void slot_read_limits(const struct tollgate_slot *slot, struct slot_limits *ret_limits);

#endif
