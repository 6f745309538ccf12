/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror: accounts and keys of the store, in memory, as requests need them.
 *
 * One writer: the control loop. Workers only look keys up, without locks (liburcu); each thread that does so registers itself first. A
 * change is visible to every worker, and through the slots to XDP, when the writing call returns.
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
 * An empty mirror over @slots (borrowed, adopted already). Tiers that are not known are remembered by
 * name, so their ids stay the same over reloads. NULL when memory is short.
 */
struct mirror *mirror_new(struct slots *slots);

/*
 * Workers tell XDP about keys. When a key's meaning changes here, XDP has forgotten it by the time the
 * writing call returns. @xdp is borrowed and may be NULL. Call this before the first change to a key
 * that XDP might know.
 */
void mirror_set_xdp(struct mirror *mirror, struct xdp_plane *xdp);

/*
 * Limits of tiers that say so are held by all hosts together, in @shares (borrowed; NULL: each host has its
 * own, as without this call). Before the first account.
 */
struct shares;
void mirror_set_shares(struct mirror *mirror, struct shares *shares);

/* Free it; no thread may look anything up any more. Slots keep their content. Accepts NULL. */
void mirror_free(struct mirror *mirror);

/* Before the first and after the last look-up of a thread. */
void mirror_register_thread(void);
void mirror_unregister_thread(void);

/*
 * Ids of tiers: small numbers that never change their meaning while the agent runs, and that slots
 * carry. mirror_tier_id() makes one on first use (control loop); -ENOMEM.
 */
int mirror_tier_id(struct mirror *mirror, const char *name);
unsigned mirror_tier_count(const struct mirror *mirror);
const char *mirror_tier_name(const struct mirror *mirror, unsigned tier_id);

/* Let @tiers (borrowed until the next call) hold from now on, for every account. */
int mirror_set_tiers(struct mirror *mirror, const struct tiers *tiers, uint64_t wall_ms,
		     uint64_t mono_ns);

/*
 * What time alone changes: accounts whose grace has ended at @wall_ms are closed, and monthly quotas
 * that follow a billing period get their next stretch. Every second; cheap when there is nothing to do.
 */
void mirror_pass_time(struct mirror *mirror, uint64_t wall_ms, uint64_t mono_ns);

/* Enter or change an account. -ENOSPC when all slots are taken, -ENOMEM; then nothing changed. */
int mirror_put_account(struct mirror *mirror, const struct store_account *account, uint64_t wall_ms,
		       uint64_t mono_ns);

/* Whether another account would find a slot: 0 or -ENOSPC. */
int mirror_can_add(const struct mirror *mirror);

/* Enter or change a key. -ENOENT for an unknown account, -ENOMEM. */
int mirror_put_key(struct mirror *mirror, const struct store_key *key);

/* Let a key end at @at_ms, unless it was to end sooner. -ENOENT, -ENOMEM. */
int mirror_end_key(struct mirror *mirror, uint64_t id, uint64_t at_ms);

/*
 * The same for the keys of @account that were created before @before_ms (0: all that it has now), at an
 * @at_ms that has come: one change, which a worker sees for all of them or for none. Returns how many
 * were still valid, or -ENOENT.
 */
int64_t mirror_end_keys(struct mirror *mirror, uint64_t account, uint64_t before_ms,
			uint64_t at_ms);

/* How many keys of @account are not over at @now_ms. */
size_t mirror_valid_keys(const struct mirror *mirror, uint64_t account, uint64_t now_ms);

/* When a key that is to be made for @account at @now_ms was created: never a time at which all ended. */
uint64_t mirror_key_time(const struct mirror *mirror, uint64_t account, uint64_t now_ms);

/*
 * After everything was entered: slots found at the start that belong to no account are given back. A
 * load that failed before this is simply done again, accounts first.
 */
void mirror_drop_strays(struct mirror *mirror);

/*
 * A load into a mirror that is in use: what is entered between the two is in the store, and at the end
 * all else is dropped. Begun again without an end, it begins anew. 0 or -ENOMEM.
 */
int mirror_refresh_begin(struct mirror *mirror);
void mirror_refresh_end(struct mirror *mirror);

/* What a key stands for. */
struct mirror_key {
	uint64_t id;
	uint32_t slot;
	uint32_t generation;
	uint64_t revoked_ms; /* 0, or when it ends or ended */
};

/* Look a key's hash up; false when it is unknown. Registered threads. */
bool mirror_find(const struct mirror *mirror, const uint8_t hash[STORE_HASH_BYTES],
		 struct mirror_key *ret_key);

/* For the control loop: accounts by id, in no order, and how many there are of each. */
bool mirror_account(const struct mirror *mirror, uint64_t id, struct store_account *ret_account,
		    uint32_t *ret_slot);
bool mirror_key_by_id(const struct mirror *mirror, uint64_t id, struct store_key *ret_key);
bool mirror_account_by_subscription(const struct mirror *mirror, const char *subscription,
				    struct store_account *ret_account, uint32_t *ret_slot);

/* How many accounts @customer has, in no order; the ids of the first @max of them. */
unsigned mirror_accounts_of_customer(const struct mirror *mirror, const char *customer,
				     uint64_t *ret_ids, unsigned max);

/*
 * The ids of all accounts of @customer, in no order, as an array that the caller frees; NULL if there
 * are none. 0 or -ENOMEM.
 */
int mirror_list_of_customer(const struct mirror *mirror, const char *customer, uint64_t **ret_ids,
			    unsigned *ret_count);

void mirror_each_account(const struct mirror *mirror,
			 void (*visit)(void *arg, const struct store_account *account,
				       uint32_t slot),
			 void *arg);
uint64_t mirror_accounts(const struct mirror *mirror);
uint64_t mirror_keys(const struct mirror *mirror);

/* Take over what the store knows of a quota: see usage.h for the words. */
void mirror_put_quota(struct mirror *mirror, const struct store_quota *quota);

#endif
