/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror_private: the mirror's records. Private to mirror.c (tables, tiers, keys),
 * mirror_accounts.c and mirror_refresh.c.
 *
 * Workers read only the table of keys by hash, and the accounts that its entries point to. All
 * other tables and lists belong to the control loop.
 */
#ifndef ENFORCE_MIRROR_PRIVATE_H
#define ENFORCE_MIRROR_PRIVATE_H

#include <sys/queue.h>

#include "base/table.h"
#include "enforce/mirror.h"

#define MIRROR_MAX_TIERS 4096

/*
 * An account's texts, in the order in which they are packed. Those before WORD_INDEXED have an
 * index.
 */
enum account_word {
	WORD_CUSTOMER,
	WORD_SUBSCRIPTION,
	WORD_INDEXED,
	WORD_LABEL = WORD_INDEXED,
	WORD_PRICE,
	WORD_EMAIL,
	WORD_FEATURES,
	WORD_DISPUTES,
	WORD_REFERENCE,
	WORD_METADATA,
	WORD_COUNT
};

SLIST_HEAD(account_list, account_entry);
SLIST_HEAD(key_list, key_entry);

struct account_entry {
	struct cds_lfht_node by_id;
	/*
	 * Atomic: keys created before the first of these ended at the second; 0: none did. Workers
	 * read them, and they are close to `slot`, which workers read too.
	 */
	uint64_t keys_over_before_ms, keys_over_since_ms;
	uint32_t slot;
	uint16_t tier_id;
	uint8_t status;		       /* enum store_status */
	uint8_t is_held : 1, mode : 2; /* enum store_mode */
	uint64_t id;
	union {
		struct cds_lfht_node by_word[WORD_INDEXED]; /* if the word is not empty */
		SLIST_ENTRY(account_entry) dropped;	    /* once it is in no table */
	};
	struct key_list keys; /* the newest first */
	char *words;	      /* owned: the texts in a row, each with its NUL */
	uint64_t created_ms, past_due_ms;
	uint32_t period_start_s, period_end_s, trial_end_s, cancel_at_s, as_of_s;
	uint32_t usage_start_s, usage_end_s;
	uint32_t quota_end_s; /* end of the quota's span in the slot; 0: there is none */
	uint32_t seats;
};

struct key_entry {
	struct cds_lfht_node by_hash;
	struct cds_lfht_node by_id;
	uint8_t hash[STORE_HASH_BYTES];
	uint64_t id;
	struct account_entry *account; /* borrowed from the mirror */
	SLIST_ENTRY(key_entry) of_account;
	uint64_t created_ms; /* workers read it atomically */
	uint64_t revoked_ms; /* atomic: workers read it */
};

struct mirror {
	struct slots *slots;		    /* borrowed */
	struct xdp_plane *xdp;		    /* borrowed; NULL: the agent alone */
	struct shares *shares;		    /* borrowed; NULL: no limits are shared */
	const struct tiers *tiers;	    /* borrowed from the caller of mirror_set_tiers() */
	enum store_mode mode;		    /* that is configured */
	struct table keys_by_hash;	    /* owns its entries */
	struct table keys_by_id;	    /* the same entries */
	struct table accounts;		    /* owns its entries */
	struct table by_word[WORD_INDEXED]; /* the same accounts */
	char *tier_names[MIRROR_MAX_TIERS]; /* owned */
	const struct tier *tier_by_id[MIRROR_MAX_TIERS]; /* borrowed; NULL: not configured */
	unsigned tier_count;
	uint32_t *slot_by_account; /* owned: open hash of the adopted slots: index + 1; 0: free */
	uint32_t slot_mask;
	bool *slot_is_claimed;		/* owned: an account of the store uses the slot */
	bool is_complete;		/* the store is loaded, and no other load is running */
	struct mirror_refresh *refresh; /* owned; NULL: no refresh is running */
	uint64_t next_turn_s;		/* when the first quota span ends */
	uint64_t past_due_count;
	uint64_t mode_count[STORE_MODE_GONE + 1];
};

/* The index of the slot that the account had when the slots were adopted, or -ENOENT. */
int64_t mirror_find_adopted(const struct mirror *mirror, uint64_t account_id);

struct account_entry *mirror_find_account(const struct mirror *mirror, uint64_t id);

/* Write the account's limits and periods to its slot, for the present tiers and time. */
void mirror_apply(struct mirror *mirror, struct account_entry *entry, uint64_t wall_ms,
		  uint64_t mono_ns);

/* The account was removed from `accounts`: remove it from all else, and unclaim its slot. */
void mirror_forget_account(struct mirror *mirror, struct account_entry *entry);

/* While a refresh is running: note that the store has this account or key. 0 or -ENOMEM. */
int mirror_refresh_account(struct mirror *mirror, struct account_entry *account);
int mirror_refresh_key(struct mirror *mirror, uint64_t id);
void mirror_refresh_free(struct mirror_refresh *refresh); /* accepts NULL */

#endif
