/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror_private: the mirror's records. Private to mirror.c (tables, tiers, keys) and mirror_accounts.c.
 *
 * Three hash tables of liburcu: keys by hash (read by all workers), keys by id and accounts by id.
 * Accounts by subscription and by customer are plain chained tables: the control loop's alone.
 */
#ifndef ENFORCE_MIRROR_PRIVATE_H
#define ENFORCE_MIRROR_PRIVATE_H

#include <sys/queue.h>

#include "base/table.h"
#include "enforce/mirror.h"

#define MIRROR_MAX_TIERS 4096

/* What is kept of an account as text, in the order of `words`. The first ones have an index. */
enum account_word {
	WORD_CUSTOMER,
	WORD_SUBSCRIPTION,
	WORD_INDEXED,
	WORD_LABEL = WORD_INDEXED,
	WORD_PRICE,
	WORD_EMAIL,
	WORD_FEATURES,
	WORD_COUNT
};

SLIST_HEAD(account_list, account_entry);
SLIST_HEAD(key_list, key_entry);

struct account_entry {
	struct cds_lfht_node by_id;
	/*
	 * Keys that were created before the first of these are over since the second (0: none are).
	 * Read by workers, atomically; it lies with `slot` in one cache line.
	 */
	uint64_t keys_over_before_ms, keys_over_since_ms;
	uint32_t slot;
	uint16_t tier_id;
	uint8_t status; /* enum store_status */
	bool is_held;
	uint64_t id;
	union {
		struct cds_lfht_node by_word[WORD_INDEXED]; /* if the word is not empty */
		SLIST_ENTRY(account_entry) dropped;	    /* once it is in no table */
	};
	struct key_list keys; /* the newest first */
	char *words;	      /* owned: the texts one after the other, each with its NUL */
	uint64_t created_ms, past_due_ms;
	uint32_t period_start_s, period_end_s, trial_end_s, cancel_at_s, as_of_s;
	uint32_t quota_end_s; /* when the quota's span in the slot ends; 0: it has none */
};

struct key_entry {
	struct cds_lfht_node by_hash;
	struct cds_lfht_node by_id;
	uint8_t hash[STORE_HASH_BYTES];
	uint64_t id;
	struct account_entry *account; /* borrowed from the mirror; lives as long as it */
	SLIST_ENTRY(key_entry) of_account;
	uint64_t created_ms;
	uint64_t revoked_ms; /* read by workers, atomically */
};

struct mirror {
	struct slots *slots;		    /* borrowed */
	struct xdp_plane *xdp;		    /* borrowed; NULL: the agent alone */
	struct shares *shares;		    /* borrowed; NULL: no limits are shared */
	const struct tiers *tiers;	    /* borrowed from the caller of mirror_set_tiers */
	struct table keys_by_hash;	    /* owns its entries */
	struct table keys_by_id;	    /* the same entries */
	struct table accounts;		    /* owns its entries */
	struct table by_word[WORD_INDEXED]; /* accounts again; the control loop's alone */
	char *tier_names[MIRROR_MAX_TIERS]; /* owned */
	const struct tier *tier_by_id[MIRROR_MAX_TIERS]; /* borrowed; NULL: not configured */
	unsigned tier_count;
	uint32_t *slot_by_account; /* owned: open hash of the slots that were adopted, index + 1 */
	uint32_t slot_mask;
	bool *slot_is_claimed;		/* owned: an account in the store has it */
	bool is_complete;		/* a load has ended, and none is under way */
	struct mirror_refresh *refresh; /* owned; NULL: no load into a mirror in use is under way */
	uint64_t next_turn_s;		/* when the first of the quotas' spans ends */
	uint64_t past_due_count;
};

/* The slot that the account had when the slots were adopted, or -ENOENT. */
int64_t mirror_find_adopted(const struct mirror *mirror, uint64_t account_id);

struct account_entry *mirror_find_account(const struct mirror *mirror, uint64_t id);

/* Write what a verdict reads of this account to its slot, by the tiers and the time as they are. */
void mirror_apply(struct mirror *mirror, struct account_entry *entry, uint64_t wall_ms,
		  uint64_t mono_ns);

/* It is in no table any more: out of the indexes and the counts; its slot is not claimed. */
void mirror_forget_account(struct mirror *mirror, struct account_entry *entry);

/* In mirror_refresh.c, while `refresh` is there: the store has this. 0 or -ENOMEM. */
int mirror_refresh_account(struct mirror *mirror, struct account_entry *account);
int mirror_refresh_key(struct mirror *mirror, uint64_t id);
void mirror_refresh_free(struct mirror_refresh *refresh); /* accepts NULL */

#endif
