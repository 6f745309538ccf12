/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror: the accounts and keys of the store, in memory, as requests need them.
 *
 * The control loop is the only writer. Workers look keys up without locks (liburcu), after they
 * have called mirror_register_thread(). When a writing call returns, its change is visible to all
 * workers and, through the slots, to XDP. Functions are for the control loop unless they say
 * otherwise.
 */
#ifndef ENFORCE_MIRROR_H
#define ENFORCE_MIRROR_H

#include <stdbool.h>
#include <stdint.h>

#include "config/tier.h"
#include "enforce/slot.h"
#include "enforce/xdp_plane.h"
#include "store/store.h"

struct mirror;

/*
 * Make an empty mirror over @slots, which are borrowed and adopted already. Returns NULL if memory
 * is short or there are no random bytes.
 */
struct mirror *mirror_new(struct slots *slots);

/*
 * Set the XDP plane (borrowed; NULL: none). XDP learns keys from workers; when a key changes here,
 * XDP has forgotten it when the call returns. Call this before the first change to a key that XDP
 * may know.
 */
void mirror_set_xdp(struct mirror *mirror, struct xdp_plane *xdp);

/*
 * Set where the shared limits of tiers with `is_shared` are (borrowed; NULL: each host has limits
 * of its own). Call this before the first account is entered.
 */
struct shares;
void mirror_set_shares(struct mirror *mirror, struct shares *shares);

/* Free it. No thread may use it any more. Slots keep their content. Accepts NULL. */
void mirror_free(struct mirror *mirror);

/* Call these before the first and after the last lookup of a thread. */
void mirror_register_thread(void);
void mirror_unregister_thread(void);

/*
 * Ids of tiers are small numbers, stored in slots. An id keeps its name as long as the agent runs,
 * also over reloads. mirror_tier_id() returns the id of @name, a new one on first use; -ENOSPC or
 * -ENOMEM. The other two may be called by any thread; the name of an unknown id is "".
 */
int mirror_tier_id(struct mirror *mirror, const char *name);
unsigned mirror_tier_count(const struct mirror *mirror);
const char *mirror_tier_name(const struct mirror *mirror, unsigned tier_id);

/*
 * Set Stripe's mode. Accounts of the other mode are not entitled. Takes effect with the next
 * mirror_set_tiers(). The default is STORE_MODE_NONE, which fits all accounts.
 */
void mirror_set_mode(struct mirror *mirror, enum store_mode mode);
enum store_mode mirror_mode(const struct mirror *mirror);

/*
 * Apply @tiers, borrowed until the next call, to all accounts. 0, or an error of mirror_tier_id().
 */
int mirror_set_tiers(struct mirror *mirror, const struct tiers *tiers, uint64_t wall_ms,
		     uint64_t mono_ns);

/*
 * Apply what changes with time: close accounts whose grace has ended, and start the next span of
 * monthly quotas. Call it every second; it is cheap if there is nothing to do.
 */
void mirror_pass_time(struct mirror *mirror, uint64_t wall_ms, uint64_t mono_ns);

/* Add or change an account. 0; -ENOSPC if all slots are in use or -ENOMEM, without a change. */
int mirror_put_account(struct mirror *mirror, const struct store_account *account, uint64_t wall_ms,
		       uint64_t mono_ns);

/*
 * Remove the account and its keys, and free its slot. Waits until no worker looks at them any more:
 * at most a few milliseconds. 0 or -ENOENT.
 */
int mirror_drop_account(struct mirror *mirror, uint64_t id);

/* How many accounts have this mode. */
uint64_t mirror_mode_count(const struct mirror *mirror, enum store_mode mode);

/* Whether there is a slot for another account: 0 or -ENOSPC. */
int mirror_can_add(const struct mirror *mirror);

/* Add or change a key. 0, -ENOENT if its account is unknown, or -ENOMEM. */
int mirror_put_key(struct mirror *mirror, const struct store_key *key);

/* End a key as of @at_ms, unless it was to end sooner. 0, -ENOENT or -ENOMEM. */
int mirror_end_key(struct mirror *mirror, uint64_t id, uint64_t at_ms);

/*
 * End the keys of @account that were created before @before_ms (0: all its present keys) as of
 * @at_ms, which must not be in the future. It is one change: a worker sees it for all keys or for
 * none. Returns how many keys were still valid, or -ENOENT.
 */
int64_t mirror_end_keys(struct mirror *mirror, uint64_t account, uint64_t before_ms,
			uint64_t at_ms);

/* How many keys of @account are valid at @now_ms. */
size_t mirror_valid_keys(const struct mirror *mirror, uint64_t account, uint64_t now_ms);

/*
 * The creation time to give a key that is made for @account at @now_ms: @now_ms, or later if all
 * keys created at @now_ms were ended together.
 */
uint64_t mirror_key_time(const struct mirror *mirror, uint64_t account, uint64_t now_ms);

/*
 * A load is complete: free adopted slots that belong to no account. If a load failed before this
 * call, load again, accounts first.
 */
void mirror_drop_strays(struct mirror *mirror);

/*
 * Load again into a mirror that is in use. Put everything that the store has between the two calls;
 * the second drops all else. Calling begin again without an end restarts the refresh. 0 or -ENOMEM.
 */
int mirror_refresh_begin(struct mirror *mirror);
void mirror_refresh_end(struct mirror *mirror);

/* What a key stands for. */
struct mirror_key {
	uint64_t id;
	uint32_t slot;
	uint32_t generation;
	uint64_t revoked_ms; /* when it ends or ended (Unix time); 0: never */
};

/* Look up a key by its hash. False if it is unknown. Any registered thread. */
bool mirror_find(const struct mirror *mirror, const uint8_t hash[STORE_HASH_BYTES],
		 struct mirror_key *ret_key);

/* Look up an account or key. False if there is none. */
bool mirror_account(const struct mirror *mirror, uint64_t id, struct store_account *ret_account,
		    uint32_t *ret_slot);
bool mirror_key_by_id(const struct mirror *mirror, uint64_t id, struct store_key *ret_key);
bool mirror_account_by_subscription(const struct mirror *mirror, const char *subscription,
				    struct store_account *ret_account, uint32_t *ret_slot);

/* Returns how many accounts @customer has, and writes up to @max of their ids, in no order. */
unsigned mirror_accounts_of_customer(const struct mirror *mirror, const char *customer,
				     uint64_t *ret_ids, unsigned max);

/*
 * List the ids of all accounts of @customer, in no order. The caller frees the array, which is NULL
 * if there are none. 0 or -ENOMEM.
 */
int mirror_list_of_customer(const struct mirror *mirror, const char *customer, uint64_t **ret_ids,
			    unsigned *ret_count);

/* Call @visit for each account, in no order. It must not change the mirror. */
void mirror_each_account(const struct mirror *mirror,
			 void (*visit)(void *arg, const struct store_account *account,
				       uint32_t slot),
			 void *arg);

/* The number of accounts and of keys. */
uint64_t mirror_accounts(const struct mirror *mirror);
uint64_t mirror_keys(const struct mirror *mirror);

/*
 * Add a quota row of the store to the slot of its account (usage_restore_quota()). Ignores a row of
 * a period that begins after @wall_ms: it was written while a clock was ahead.
 */
void mirror_put_quota(struct mirror *mirror, const struct store_quota *quota, uint64_t wall_ms);

/* Call @visit for each key that ends after @after_ms and by @by_ms. It must not change the mirror.
 */
void mirror_each_key_ending(const struct mirror *mirror, uint64_t after_ms, uint64_t by_ms,
			    void (*visit)(void *arg, uint64_t key), void *arg);

#endif
