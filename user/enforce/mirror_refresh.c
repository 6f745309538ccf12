/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror_refresh: a load into a mirror that is in use: afterwards it holds what the store has and
 * nothing else.
 *
 * Which ids have come is noted in a set of their own, which lives as long as the load does: an entry
 * has no room for a mark that is needed so seldom.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/atomic.h"
#include "enforce/mirror_private.h"

#define MIN_PLACES 1024

/* An open hash of ids; none of them is 0. */
struct id_set {
	uint64_t *places; /* owned; a power of two of them */
	size_t place_count, count;
};

struct mirror_refresh {
	struct id_set accounts, keys;
};

static bool set_has(const struct id_set *set, uint64_t id)
{
	size_t at = mirror_hash_id(id) & (set->place_count - 1);

	for (; set->places[at]; at = (at + 1) & (set->place_count - 1)) {
		if (set->places[at] == id)
			return true;
	}
	return false;
}

static void place(struct id_set *set, uint64_t id)
{
	size_t at = mirror_hash_id(id) & (set->place_count - 1);

	while (set->places[at])
		at = (at + 1) & (set->place_count - 1);
	set->places[at] = id;
}

static int grow(struct id_set *set)
{
	struct id_set larger = { .place_count = 2 * set->place_count, .count = set->count };

	larger.places = calloc(larger.place_count, sizeof(*larger.places));
	if (!larger.places)
		return -ENOMEM;
	for (size_t i = 0; i < set->place_count; i++) {
		if (set->places[i])
			place(&larger, set->places[i]);
	}
	free(set->places);
	*set = larger;
	return 0;
}

static int set_add(struct id_set *set, uint64_t id)
{
	int err;

	if (set_has(set, id))
		return 0;
	err = set->count * 2 >= set->place_count ? grow(set) : 0;
	if (err)
		return err;
	place(set, id);
	set->count++;
	return 0;
}

static int set_init(struct id_set *set)
{
	*set = (struct id_set){ .place_count = MIN_PLACES };
	set->places = calloc(set->place_count, sizeof(*set->places));
	return set->places ? 0 : -ENOMEM;
}

void mirror_refresh_free(struct mirror_refresh *refresh)
{
	if (!refresh)
		return;
	free(refresh->accounts.places);
	free(refresh->keys.places);
	free(refresh);
}

int mirror_refresh_begin(struct mirror *mirror)
{
	struct mirror_refresh *refresh = calloc(1, sizeof(*refresh));

	if (!refresh || set_init(&refresh->accounts) || set_init(&refresh->keys)) {
		mirror_refresh_free(refresh);
		return -ENOMEM;
	}
	mirror_refresh_free(mirror->refresh);
	mirror->refresh = refresh;
	mirror->is_complete = false; /* quotas of other epochs come anew with their accounts */
	return 0;
}

int mirror_refresh_account(struct mirror *mirror, struct account_entry *account)
{
	/* Each key has its own end too, which comes anew. */
	atomic_write_release(&account->keys_over_before_ms, 0);
	return set_add(&mirror->refresh->accounts, account->id);
}

int mirror_refresh_key(struct mirror *mirror, uint64_t id)
{
	return set_add(&mirror->refresh->keys, id);
}

/* Take @key out of every table and chain. */
static void unlink_key(struct mirror *mirror, struct key_entry *key)
{
	struct key_entry **at = &key->account->last_key;

	while (*at != key)
		at = &(*at)->next_of_account;
	*at = key->next_of_account;
	cds_lfht_del(mirror->keys_by_id, &key->by_id);
	cds_lfht_del(mirror->keys_by_hash, &key->by_hash);
	mirror->key_count--;
	xdp_forget_key(mirror->xdp, key->hash);
}

/* Keys that did not come; chained by `next_of_account`, to be freed when no worker can see them. */
static struct key_entry *drop_keys(struct mirror *mirror)
{
	struct key_entry *key, *dropped = NULL;
	struct cds_lfht_iter iter;

	urcu_memb_read_lock();
	cds_lfht_for_each_entry (mirror->keys_by_id, &iter, key, by_id) {
		if (set_has(&mirror->refresh->keys, key->id))
			continue;
		unlink_key(mirror, key);
		key->next_of_account = dropped;
		dropped = key;
	}
	urcu_memb_read_unlock();
	return dropped;
}

/* Accounts likewise, chained by next[0]; they have no keys any more. */
static struct account_entry *drop_accounts(struct mirror *mirror)
{
	struct account_entry *account, *dropped = NULL;
	struct cds_lfht_iter iter;

	urcu_memb_read_lock();
	cds_lfht_for_each_entry (mirror->accounts, &iter, account, by_id) {
		if (set_has(&mirror->refresh->accounts, account->id))
			continue;
		cds_lfht_del(mirror->accounts, &account->by_id);
		mirror_forget_account(mirror, account);
		account->next[0] = dropped;
		dropped = account;
	}
	urcu_memb_read_unlock();
	return dropped;
}

void mirror_refresh_end(struct mirror *mirror)
{
	struct account_entry *accounts;
	struct key_entry *keys;

	if (!mirror->refresh)
		return;
	keys = drop_keys(mirror);
	accounts = drop_accounts(mirror);
	urcu_memb_synchronize_rcu();
	while (keys) {
		struct key_entry *key = keys;

		keys = key->next_of_account;
		free(key);
	}
	while (accounts) {
		struct account_entry *account = accounts;

		accounts = account->next[0];
		slots_give_back(mirror->slots, account->slot);
		free(account->words);
		free(account);
	}
	mirror_refresh_free(mirror->refresh);
	mirror->refresh = NULL;
}
