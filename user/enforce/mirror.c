/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror: keys, tiers, and the tables. Accounts are in mirror_accounts.c.
 *
 * After a key's entry is in the tables, only two members change: `revoked_ms`, which is atomic, and
 * `of_account`, which only the control loop uses.
 */
#include "enforce/mirror.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/crypto.h"
#include "enforce/mirror_private.h"

/* The key's hash is keyed with the pepper, so any part of it is as good as random. */
static unsigned long hash_key(const uint8_t hash[STORE_HASH_BYTES])
{
	unsigned long word;

	memcpy(&word, hash, sizeof(word));
	return word;
}

void mirror_register_thread(void)
{
	urcu_memb_register_thread();
}

void mirror_unregister_thread(void)
{
	urcu_memb_unregister_thread();
}

/* Index the accounts in adopted slots, so that each account gets its slot again. */
static int index_adopted(struct mirror *mirror)
{
	const struct slots *slots = mirror->slots;
	uint32_t size = 1024;

	while (size < slots->used * 2)
		size *= 2;
	mirror->slot_by_account = calloc(size, sizeof(*mirror->slot_by_account));
	mirror->slot_is_claimed = calloc(slots->count, sizeof(*mirror->slot_is_claimed));
	if (!mirror->slot_by_account || !mirror->slot_is_claimed)
		return -ENOMEM;
	mirror->slot_mask = size - 1;
	for (uint32_t i = 0; i < slots->used; i++) {
		uint32_t at =
			(uint32_t)table_hash_id(slots->list[i].account_id) & mirror->slot_mask;

		if (!slots->list[i].account_id)
			continue;
		while (mirror->slot_by_account[at])
			at = (at + 1) & mirror->slot_mask;
		mirror->slot_by_account[at] = i + 1;
	}
	return 0;
}

int64_t mirror_find_adopted(const struct mirror *mirror, uint64_t account_id)
{
	uint32_t at = (uint32_t)table_hash_id(account_id) & mirror->slot_mask;

	for (; mirror->slot_by_account[at]; at = (at + 1) & mirror->slot_mask) {
		uint32_t index = mirror->slot_by_account[at] - 1;

		if (mirror->slots->list[index].account_id == account_id)
			return index;
	}
	return -ENOENT;
}

static int make_tables(struct mirror *mirror)
{
	int err = table_init(&mirror->keys_by_hash);

	if (!err)
		err = table_init(&mirror->keys_by_id);
	if (!err)
		err = table_init(&mirror->accounts);
	for (unsigned i = 0; i < WORD_INDEXED && !err; i++)
		err = table_init(&mirror->by_word[i]);
	return err;
}

struct mirror *mirror_new(struct slots *slots)
{
	struct mirror *mirror = calloc(1, sizeof(*mirror));

	if (!mirror)
		return NULL;
	mirror->slots = slots;
	mirror->next_turn_s = UINT64_MAX;
	if (!make_tables(mirror) && !index_adopted(mirror))
		return mirror;
	mirror_free(mirror);
	return NULL;
}

static void free_entries(struct mirror *mirror)
{
	struct cds_lfht_iter iter;
	struct account_entry *account;
	struct key_entry *key;

	/*
	 * No thread looks any more, so free entries at once. The iterator already has the next
	 * node.
	 */
	urcu_memb_read_lock();
	cds_lfht_for_each_entry (mirror->keys_by_id.lfht, &iter, key, by_id) {
		table_remove(&mirror->keys_by_id, &key->by_id);
		table_remove(&mirror->keys_by_hash, &key->by_hash);
		free(key);
	}
	cds_lfht_for_each_entry (mirror->accounts.lfht, &iter, account, by_id) {
		table_remove(&mirror->accounts, &account->by_id);
		mirror_forget_account(mirror, account);
		free(account->words);
		free(account);
	}
	urcu_memb_read_unlock();
}

void mirror_free(struct mirror *mirror)
{
	if (!mirror)
		return;
	if (mirror->keys_by_id.lfht && mirror->accounts.lfht)
		free_entries(mirror);
	table_done(&mirror->keys_by_hash);
	table_done(&mirror->keys_by_id);
	table_done(&mirror->accounts);
	for (unsigned i = 0; i < mirror->tier_count; i++)
		free(mirror->tier_names[i]);
	for (unsigned i = 0; i < WORD_INDEXED; i++)
		table_done(&mirror->by_word[i]);
	free(mirror->slot_by_account);
	free(mirror->slot_is_claimed);
	mirror_refresh_free(mirror->refresh);
	free(mirror);
}

int mirror_tier_id(struct mirror *mirror, const char *name)
{
	for (unsigned i = 0; i < mirror->tier_count; i++) {
		if (!strcmp(mirror->tier_names[i], name))
			return (int)i;
	}
	if (mirror->tier_count == MIRROR_MAX_TIERS)
		return -ENOSPC;
	mirror->tier_names[mirror->tier_count] = strdup(name);
	if (!mirror->tier_names[mirror->tier_count])
		return -ENOMEM;
	mirror->tier_by_id[mirror->tier_count] =
		mirror->tiers ? tiers_find(mirror->tiers, name) : NULL;
	/* Publish the name: workers read names of ids that they find in slots. */
	atomic_write_release(&mirror->tier_count, mirror->tier_count + 1);
	return (int)mirror->tier_count - 1;
}

unsigned mirror_tier_count(const struct mirror *mirror)
{
	return atomic_read_acquire(&mirror->tier_count);
}

const char *mirror_tier_name(const struct mirror *mirror, unsigned tier_id)
{
	return tier_id < mirror_tier_count(mirror) ? mirror->tier_names[tier_id] : "";
}

int mirror_can_add(const struct mirror *mirror)
{
	const struct slots *slots = mirror->slots;

	return slots->free_count || slots->used < slots->count ? 0 : -ENOSPC;
}

static int match_key_id(struct cds_lfht_node *node, const void *id)
{
	return caa_container_of(node, struct key_entry, by_id)->id == *(const uint64_t *)id;
}

static struct key_entry *find_key_by_id(const struct mirror *mirror, uint64_t id)
{
	struct cds_lfht_node *node =
		table_find(&mirror->keys_by_id, table_hash_id(id), match_key_id, &id);

	return node ? caa_container_of(node, struct key_entry, by_id) : NULL;
}

void mirror_set_xdp(struct mirror *mirror, struct xdp_plane *xdp)
{
	mirror->xdp = xdp;
}

void mirror_set_shares(struct mirror *mirror, struct shares *shares)
{
	mirror->shares = shares;
}

int mirror_put_key(struct mirror *mirror, const struct store_key *key)
{
	struct key_entry *entry = find_key_by_id(mirror, key->id);
	struct account_entry *account;

	if (entry) {
		/* A key from the journal may get a later time in the store: see mirror_key_time().
		 */
		atomic_write(&entry->created_ms, key->created_ms);
		atomic_write_release(&entry->revoked_ms, key->revoked_ms);
		xdp_forget_key(mirror->xdp, entry->hash);
		return mirror->refresh ? mirror_refresh_key(mirror, key->id) : 0;
	}
	account = mirror_find_account(mirror, key->account);
	if (!account)
		return -ENOENT;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	memcpy(entry->hash, key->hash, sizeof(entry->hash));
	entry->id = key->id;
	entry->account = account;
	entry->created_ms = key->created_ms;
	entry->revoked_ms = key->revoked_ms;
	SLIST_INSERT_HEAD(&account->keys, entry, of_account);
	table_add(&mirror->keys_by_id, table_hash_id(key->id), &entry->by_id);
	table_add(&mirror->keys_by_hash, hash_key(key->hash), &entry->by_hash);
	return mirror->refresh ? mirror_refresh_key(mirror, key->id) : 0;
}

int mirror_end_key(struct mirror *mirror, uint64_t id, uint64_t at_ms)
{
	struct key_entry *entry = find_key_by_id(mirror, id);

	if (!entry)
		return -ENOENT;
	if (!entry->revoked_ms || entry->revoked_ms > at_ms)
		atomic_write_release(&entry->revoked_ms, at_ms);
	xdp_forget_key(mirror->xdp, entry->hash);
	return mirror->refresh ? mirror_refresh_key(mirror, id) : 0;
}

/*
 * End the keys of @account created before @before_ms, as of @at_ms. Returns how many were still
 * valid.
 */
static int64_t end_keys(struct mirror *mirror, struct account_entry *account, uint64_t before_ms,
			uint64_t at_ms)
{
	struct key_entry *key;
	int64_t ended = 0;

	if (before_ms < account->keys_over_before_ms)
		before_ms = account->keys_over_before_ms;
	atomic_write(&account->keys_over_since_ms, at_ms);
	atomic_write_release(&account->keys_over_before_ms, before_ms);
	/* The keys have ended now. Each also notes its own end, for when all are ended again. */
	SLIST_FOREACH (key, &account->keys, of_account) {
		if (key->created_ms >= before_ms || (key->revoked_ms && key->revoked_ms <= at_ms))
			continue;
		atomic_write_release(&key->revoked_ms, at_ms);
		ended++;
	}
	xdp_forget_keys_of(mirror->xdp, account->slot);
	return ended;
}

int64_t mirror_end_keys(struct mirror *mirror, uint64_t account_id, uint64_t before_ms,
			uint64_t at_ms)
{
	struct account_entry *account = mirror_find_account(mirror, account_id);
	const struct key_entry *key;
	uint64_t latest_ms = 0;

	if (!account)
		return -ENOENT;
	if (before_ms)
		return end_keys(mirror, account, before_ms, at_ms);
	/*
	 * Compare with the keys' own times: whatever the clock did since, no key may be left out.
	 */
	SLIST_FOREACH (key, &account->keys, of_account) {
		if (latest_ms <= key->created_ms)
			latest_ms = key->created_ms + 1;
	}
	return end_keys(mirror, account, latest_ms, at_ms);
}

size_t mirror_valid_keys(const struct mirror *mirror, uint64_t account_id, uint64_t now_ms)
{
	const struct account_entry *account = mirror_find_account(mirror, account_id);
	const struct key_entry *key;
	size_t count = 0;

	if (!account)
		return 0;
	SLIST_FOREACH (key, &account->keys, of_account)
		count += !key->revoked_ms || key->revoked_ms > now_ms;
	return count;
}

uint64_t mirror_key_time(const struct mirror *mirror, uint64_t account, uint64_t now_ms)
{
	const struct account_entry *entry = mirror_find_account(mirror, account);

	return entry && now_ms < entry->keys_over_before_ms ? entry->keys_over_before_ms : now_ms;
}

void mirror_drop_strays(struct mirror *mirror)
{
	struct slots *slots = mirror->slots;

	for (uint32_t i = 0; i < slots->used; i++) {
		if (slots->list[i].account_id && !mirror->slot_is_claimed[i])
			slots_give_back(slots, i);
	}
	mirror->is_complete = true;
}

static int match_hash(struct cds_lfht_node *node, const void *hash)
{
	return crypto_equal(caa_container_of(node, struct key_entry, by_hash)->hash, hash,
			    STORE_HASH_BYTES);
}

/* When the key ends or ended, by itself or with all keys of its account; 0: never. */
static uint64_t end_of(const struct key_entry *key)
{
	const struct account_entry *account = key->account;
	uint64_t before_ms = atomic_read_acquire(&account->keys_over_before_ms);
	uint64_t own_ms = atomic_read_acquire(&key->revoked_ms), all_ms;

	if (atomic_read(&key->created_ms) >= before_ms)
		return own_ms;
	all_ms = atomic_read(&account->keys_over_since_ms);
	return own_ms && own_ms < all_ms ? own_ms : all_ms;
}

void mirror_each_key_ending(const struct mirror *mirror, uint64_t after_ms, uint64_t by_ms,
			    void (*visit)(void *arg, uint64_t key), void *arg)
{
	struct cds_lfht_iter iter;
	struct key_entry *key;

	urcu_memb_read_lock();
	cds_lfht_for_each_entry (mirror->keys_by_id.lfht, &iter, key, by_id) {
		uint64_t end_ms = end_of(key);

		if (end_ms > after_ms && end_ms <= by_ms)
			visit(arg, key->id);
	}
	urcu_memb_read_unlock();
}

bool mirror_find(const struct mirror *mirror, const uint8_t hash[STORE_HASH_BYTES],
		 struct mirror_key *ret_key)
{
	const struct key_entry *entry;
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;

	urcu_memb_read_lock();
	cds_lfht_lookup(mirror->keys_by_hash.lfht, hash_key(hash), match_hash, hash, &iter);
	node = cds_lfht_iter_get_node(&iter);
	if (node) {
		entry = caa_container_of(node, struct key_entry, by_hash);
		ret_key->id = entry->id;
		ret_key->slot = entry->account->slot;
		ret_key->generation = mirror->slots->list[entry->account->slot].generation;
		ret_key->revoked_ms = end_of(entry);
	}
	urcu_memb_read_unlock();
	return node;
}

bool mirror_key_by_id(const struct mirror *mirror, uint64_t id, struct store_key *ret_key)
{
	const struct key_entry *entry = find_key_by_id(mirror, id);

	if (!entry)
		return false;
	*ret_key = (struct store_key){
		.id = entry->id,
		.account = entry->account->id,
		.created_ms = entry->created_ms,
		.revoked_ms = entry->revoked_ms,
	};
	memcpy(ret_key->hash, entry->hash, sizeof(ret_key->hash));
	return true;
}

uint64_t mirror_accounts(const struct mirror *mirror)
{
	return mirror->accounts.count;
}

uint64_t mirror_keys(const struct mirror *mirror)
{
	return mirror->keys_by_id.count;
}
