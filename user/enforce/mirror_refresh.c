/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror_refresh: loads the store into a mirror that is in use, and then drops what is not in the
 * store.
 *
 * The ids that were loaded are kept in sets for the time of the load, because a mark in each entry
 * would cost memory all the time.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/atomic.h"
#include "base/id_set.h"
#include "enforce/mirror_private.h"

struct mirror_refresh {
	struct id_set accounts, keys;
};

static int note(struct id_set *set, uint64_t id)
{
	/* There are as many as the store has. */
	int added = id_set_add(set, id, SIZE_MAX);

	return added < 0 ? added : 0;
}

void mirror_refresh_free(struct mirror_refresh *refresh)
{
	if (!refresh)
		return;
	id_set_done(&refresh->accounts);
	id_set_done(&refresh->keys);
	free(refresh);
}

int mirror_refresh_begin(struct mirror *mirror)
{
	struct mirror_refresh *refresh = calloc(1, sizeof(*refresh));

	if (!refresh)
		return -ENOMEM;
	mirror_refresh_free(mirror->refresh);
	mirror->refresh = refresh;
	mirror->is_complete = false; /* so that mirror_put_account() forgets other epochs' quotas */
	return 0;
}

int mirror_refresh_account(struct mirror *mirror, struct account_entry *account)
{
	/* The ends of single keys are in the store too and come with the load. */
	atomic_write_release(&account->keys_over_before_ms, 0);
	return note(&mirror->refresh->accounts, account->id);
}

int mirror_refresh_key(struct mirror *mirror, uint64_t id)
{
	return note(&mirror->refresh->keys, id);
}

/* Remove @key from all tables and lists. */
static void unlink_key(struct mirror *mirror, struct key_entry *key)
{
	SLIST_REMOVE(&key->account->keys, key, key_entry, of_account);
	table_remove(&mirror->keys_by_id, &key->by_id);
	table_remove(&mirror->keys_by_hash, &key->by_hash);
	xdp_forget_key(mirror->xdp, key->hash);
}

/* Move keys that were not loaded to @dropped; workers may still see them for a moment. */
static void drop_keys(struct mirror *mirror, struct key_list *dropped)
{
	struct cds_lfht_iter iter;
	struct key_entry *key;

	urcu_memb_read_lock();
	cds_lfht_for_each_entry (mirror->keys_by_id.lfht, &iter, key, by_id) {
		if (id_set_has(&mirror->refresh->keys, key->id))
			continue;
		unlink_key(mirror, key);
		SLIST_INSERT_HEAD(dropped, key, of_account);
	}
	urcu_memb_read_unlock();
}

/* The same for accounts, which have no keys any more. */
static void drop_accounts(struct mirror *mirror, struct account_list *dropped)
{
	struct account_entry *account;
	struct cds_lfht_iter iter;

	urcu_memb_read_lock();
	cds_lfht_for_each_entry (mirror->accounts.lfht, &iter, account, by_id) {
		if (id_set_has(&mirror->refresh->accounts, account->id))
			continue;
		table_remove(&mirror->accounts, &account->by_id);
		mirror_forget_account(mirror, account);
		SLIST_INSERT_HEAD(dropped, account, dropped);
	}
	urcu_memb_read_unlock();
}

/* Free what was dropped, once no worker looks at it any more. */
static void free_dropped(struct mirror *mirror, struct account_list *accounts,
			 struct key_list *keys)
{
	struct account_entry *account;
	struct key_entry *key;

	urcu_memb_synchronize_rcu();
	while ((key = SLIST_FIRST(keys))) {
		SLIST_REMOVE_HEAD(keys, of_account);
		free(key);
	}
	while ((account = SLIST_FIRST(accounts))) {
		SLIST_REMOVE_HEAD(accounts, dropped);
		slots_give_back(mirror->slots, account->slot);
		free(account->words);
		free(account);
	}
}

int mirror_drop_account(struct mirror *mirror, uint64_t id)
{
	struct account_list accounts = SLIST_HEAD_INITIALIZER(accounts);
	struct key_list keys = SLIST_HEAD_INITIALIZER(keys);
	struct account_entry *account = mirror_find_account(mirror, id);
	struct key_entry *key;

	if (!account)
		return -ENOENT;
	while ((key = SLIST_FIRST(&account->keys))) {
		unlink_key(mirror, key);
		SLIST_INSERT_HEAD(&keys, key, of_account);
	}
	table_remove(&mirror->accounts, &account->by_id);
	mirror_forget_account(mirror, account);
	SLIST_INSERT_HEAD(&accounts, account, dropped);
	free_dropped(mirror, &accounts, &keys);
	return 0;
}

void mirror_refresh_end(struct mirror *mirror)
{
	struct account_list accounts = SLIST_HEAD_INITIALIZER(accounts);
	struct key_list keys = SLIST_HEAD_INITIALIZER(keys);

	if (!mirror->refresh)
		return;
	drop_keys(mirror, &keys);
	drop_accounts(mirror, &accounts);
	free_dropped(mirror, &accounts, &keys);
	mirror_refresh_free(mirror->refresh);
	mirror->refresh = NULL;
}
