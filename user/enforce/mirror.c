/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror: accounts and keys of the store, in memory, as requests need them.
 *
 * Three hash tables of liburcu: keys by hash (read by all workers), keys by id and accounts by id
 * (control loop only). A key's entry is immutable but for `revoked_ms`, one atomic word.
 */
#include "enforce/mirror.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <urcu/urcu-memb.h>
#include <urcu/rculfhash.h>

#include "base/crypto.h"
#include "enforce/account.h"
#include "enforce/usage.h"

#define MAX_TIERS   4096
#define MIN_BUCKETS 1024

struct account_entry {
	struct cds_lfht_node by_id;
	uint64_t id;
	uint64_t created_ms, past_due_ms;
	uint32_t slot;
	uint16_t tier_id;
	uint8_t status; /* enum store_status */
	bool is_held;
	char *words; /* owned: customer, subscription and label, each with its NUL */
};

struct key_entry {
	struct cds_lfht_node by_hash;
	struct cds_lfht_node by_id;
	uint8_t hash[STORE_HASH_BYTES];
	uint64_t id;
	struct account_entry *account; /* borrowed from the mirror; lives as long as it */
	uint64_t created_ms;
	uint64_t revoked_ms; /* read by workers, atomically */
};

struct mirror {
	struct slots *slots;		/* borrowed */
	const struct tiers *tiers;	/* borrowed from the caller of mirror_set_tiers */
	struct cds_lfht *keys_by_hash;	/* owned, with the entries */
	struct cds_lfht *keys_by_id;	/* owned; the same entries */
	struct cds_lfht *accounts;	/* owned, with the entries */
	char *tier_names[MAX_TIERS];	/* owned */
	const struct tier **tier_by_id; /* owned array, borrowed tiers; NULL: not configured */
	unsigned tier_count;
	uint32_t *slot_by_account; /* owned: open hash of the slots that were adopted, index + 1 */
	uint32_t slot_mask;
	bool *slot_is_claimed; /* owned: an account in the store has it */
	bool is_complete;      /* a load has ended */
	uint64_t grace_ms;
	uint64_t account_count, key_count, past_due_count;
};

static unsigned long hash_id(uint64_t id)
{
	return (unsigned long)(id * 0x9e3779b97f4a7c15ULL >> 16);
}

/* A keyed hash is as good as random everywhere. */
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

/* Remember which slot each account had, so that it gets the same one again. */
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
		uint32_t at = (uint32_t)hash_id(slots->list[i].account_id) & mirror->slot_mask;

		if (!slots->list[i].account_id)
			continue;
		while (mirror->slot_by_account[at])
			at = (at + 1) & mirror->slot_mask;
		mirror->slot_by_account[at] = i + 1;
	}
	return 0;
}

static int64_t find_adopted(const struct mirror *mirror, uint64_t account_id)
{
	uint32_t at = (uint32_t)hash_id(account_id) & mirror->slot_mask;

	for (; mirror->slot_by_account[at]; at = (at + 1) & mirror->slot_mask) {
		uint32_t index = mirror->slot_by_account[at] - 1;

		if (mirror->slots->list[index].account_id == account_id)
			return index;
	}
	return -ENOENT;
}

/*
 * Tables grow when we say so: one that does so by itself grows by the length of chains, until hardly
 * any three of a million entries share a bucket, and in a thread of its own that lags behind a load.
 */
static struct cds_lfht *make_table(void)
{
	return cds_lfht_new_flavor(MIN_BUCKETS, MIN_BUCKETS, 0, 0, &urcu_memb_flavor, NULL);
}

/* One of @count entries was added: keep a bucket for each. Not within a read lock. */
static void make_room(struct cds_lfht *table, uint64_t count)
{
	if (count >= MIN_BUCKETS && !(count & (count - 1)))
		cds_lfht_resize(table, count * 2);
}

struct mirror *mirror_new(struct slots *slots)
{
	struct mirror *mirror = calloc(1, sizeof(*mirror));

	if (!mirror)
		return NULL;
	mirror->slots = slots;
	mirror->keys_by_hash = make_table();
	mirror->keys_by_id = make_table();
	mirror->accounts = make_table();
	if (!mirror->keys_by_hash || !mirror->keys_by_id || !mirror->accounts ||
	    index_adopted(mirror))
		goto fail;
	return mirror;
fail:
	mirror_free(mirror);
	return NULL;
}

static void free_entries(struct mirror *mirror)
{
	struct cds_lfht_iter iter;
	struct account_entry *account;
	struct key_entry *key;

	urcu_memb_read_lock();
	cds_lfht_for_each_entry (mirror->keys_by_id, &iter, key, by_id)
		cds_lfht_del(mirror->keys_by_id, &key->by_id);
	cds_lfht_for_each_entry (mirror->keys_by_hash, &iter, key, by_hash) {
		cds_lfht_del(mirror->keys_by_hash, &key->by_hash);
		free(key); /* nobody looks any more; the iterator has the next node already */
	}
	cds_lfht_for_each_entry (mirror->accounts, &iter, account, by_id) {
		cds_lfht_del(mirror->accounts, &account->by_id);
		free(account->words);
		free(account);
	}
	urcu_memb_read_unlock();
}

void mirror_free(struct mirror *mirror)
{
	if (!mirror)
		return;
	if (mirror->keys_by_hash && mirror->keys_by_id && mirror->accounts)
		free_entries(mirror);
	if (mirror->keys_by_hash)
		cds_lfht_destroy(mirror->keys_by_hash, NULL);
	if (mirror->keys_by_id)
		cds_lfht_destroy(mirror->keys_by_id, NULL);
	if (mirror->accounts)
		cds_lfht_destroy(mirror->accounts, NULL);
	for (unsigned i = 0; i < mirror->tier_count; i++)
		free(mirror->tier_names[i]);
	free(mirror->tier_by_id);
	free(mirror->slot_by_account);
	free(mirror->slot_is_claimed);
	free(mirror);
}

int mirror_tier_id(struct mirror *mirror, const char *name)
{
	const struct tier **by_id;

	for (unsigned i = 0; i < mirror->tier_count; i++) {
		if (!strcmp(mirror->tier_names[i], name))
			return (int)i;
	}
	if (mirror->tier_count == MAX_TIERS)
		return -ENOSPC;
	by_id = realloc(mirror->tier_by_id, (mirror->tier_count + 1) * sizeof(*by_id));
	if (!by_id)
		return -ENOMEM;
	mirror->tier_by_id = by_id;
	mirror->tier_names[mirror->tier_count] = strdup(name);
	if (!mirror->tier_names[mirror->tier_count])
		return -ENOMEM;
	by_id[mirror->tier_count] = mirror->tiers ? tiers_find(mirror->tiers, name) : NULL;
	/* Workers read names of ids that they found in slots. */
	__atomic_store_n(&mirror->tier_count, mirror->tier_count + 1, __ATOMIC_RELEASE);
	return (int)mirror->tier_count - 1;
}

unsigned mirror_tier_count(const struct mirror *mirror)
{
	return __atomic_load_n(&mirror->tier_count, __ATOMIC_ACQUIRE);
}

const char *mirror_tier_name(const struct mirror *mirror, unsigned tier_id)
{
	return tier_id < mirror_tier_count(mirror) ? mirror->tier_names[tier_id] : "";
}

static void unpack(const struct mirror *mirror, const struct account_entry *entry,
		   struct store_account *ret_account)
{
	const char *words = entry->words;

	*ret_account = (struct store_account){
		.id = entry->id,
		.status = (enum store_status)entry->status,
		.is_held = entry->is_held,
		.created_ms = entry->created_ms,
		.past_due_ms = entry->past_due_ms,
	};
	strcpy(ret_account->tier, mirror->tier_names[entry->tier_id]);
	strcpy(ret_account->customer, words);
	words += strlen(words) + 1;
	strcpy(ret_account->subscription, words);
	words += strlen(words) + 1;
	strcpy(ret_account->label, words);
}

static void apply(struct mirror *mirror, const struct account_entry *entry, uint64_t wall_ms,
		  uint64_t mono_ns)
{
	struct store_account account;

	unpack(mirror, entry, &account);
	slot_set_limits(&mirror->slots->list[entry->slot], mirror->tier_by_id[entry->tier_id],
			entry->tier_id, account_is_entitled(&account, mirror->grace_ms, wall_ms),
			mono_ns);
}

int mirror_set_tiers(struct mirror *mirror, const struct tiers *tiers, uint64_t grace_ms,
		     uint64_t wall_ms, uint64_t mono_ns)
{
	struct cds_lfht_iter iter;
	struct account_entry *entry;

	for (unsigned i = 0; i < tiers->count; i++) {
		int id = mirror_tier_id(mirror, tiers->list[i].name);

		if (id < 0)
			return id;
	}
	mirror->tiers = tiers;
	mirror->grace_ms = grace_ms;
	for (unsigned i = 0; i < mirror->tier_count; i++)
		mirror->tier_by_id[i] = tiers_find(tiers, mirror->tier_names[i]);
	urcu_memb_read_lock();
	cds_lfht_for_each_entry (mirror->accounts, &iter, entry, by_id)
		apply(mirror, entry, wall_ms, mono_ns);
	urcu_memb_read_unlock();
	return 0;
}

void mirror_update_grace(struct mirror *mirror, uint64_t wall_ms, uint64_t mono_ns)
{
	struct cds_lfht_iter iter;
	struct account_entry *entry;

	if (!mirror->past_due_count)
		return;
	urcu_memb_read_lock();
	cds_lfht_for_each_entry (mirror->accounts, &iter, entry, by_id) {
		if (entry->status == STORE_PAST_DUE)
			apply(mirror, entry, wall_ms, mono_ns);
	}
	urcu_memb_read_unlock();
}

static int match_account(struct cds_lfht_node *node, const void *id)
{
	return caa_container_of(node, struct account_entry, by_id)->id == *(const uint64_t *)id;
}

static struct account_entry *find_account(const struct mirror *mirror, uint64_t id)
{
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;

	urcu_memb_read_lock();
	cds_lfht_lookup(mirror->accounts, hash_id(id), match_account, &id, &iter);
	node = cds_lfht_iter_get_node(&iter);
	urcu_memb_read_unlock();
	return node ? caa_container_of(node, struct account_entry, by_id) : NULL;
}

static char *pack_words(const struct store_account *account)
{
	size_t customer = strlen(account->customer) + 1,
	       subscription = strlen(account->subscription) + 1;
	char *words = malloc(customer + subscription + strlen(account->label) + 1);

	if (!words)
		return NULL;
	strcpy(words, account->customer);
	strcpy(words + customer, account->subscription);
	strcpy(words + customer + subscription, account->label);
	return words;
}

static struct account_entry *add_account(struct mirror *mirror, uint64_t id)
{
	struct account_entry *entry = calloc(1, sizeof(*entry));
	int64_t slot = find_adopted(mirror, id);

	if (!entry) {
		errno = ENOMEM;
		return NULL;
	}
	if (slot < 0)
		slot = slots_take(mirror->slots, id);
	if (slot < 0) {
		free(entry);
		errno = ENOSPC;
		return NULL;
	}
	entry->id = id;
	entry->slot = (uint32_t)slot;
	mirror->slot_is_claimed[slot] = true;
	cds_lfht_node_init(&entry->by_id);
	urcu_memb_read_lock();
	cds_lfht_add(mirror->accounts, hash_id(id), &entry->by_id);
	urcu_memb_read_unlock();
	make_room(mirror->accounts, ++mirror->account_count);
	return entry;
}

int mirror_put_account(struct mirror *mirror, const struct store_account *account, uint64_t wall_ms,
		       uint64_t mono_ns)
{
	struct account_entry *entry = find_account(mirror, account->id);
	int tier_id = mirror_tier_id(mirror, account->tier);
	char *words = tier_id < 0 ? NULL : pack_words(account);

	if (!words)
		return tier_id < 0 ? tier_id : -ENOMEM;
	if (!entry)
		entry = add_account(mirror, account->id);
	if (!entry) {
		free(words);
		return -errno;
	}
	mirror->past_due_count -= entry->words && entry->status == STORE_PAST_DUE;
	mirror->past_due_count += account->status == STORE_PAST_DUE;
	free(entry->words);
	entry->words = words;
	entry->tier_id = (uint16_t)tier_id;
	entry->status = (uint8_t)account->status;
	entry->is_held = account->is_held;
	entry->created_ms = account->created_ms;
	entry->past_due_ms = account->past_due_ms;
	apply(mirror, entry, wall_ms, mono_ns);
	/* A load brings quotas after accounts, and may be the second one, over slots that have them. */
	if (!mirror->is_complete)
		usage_forget_others(&mirror->slots->list[entry->slot]);
	return 0;
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
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;

	urcu_memb_read_lock();
	cds_lfht_lookup(mirror->keys_by_id, hash_id(id), match_key_id, &id, &iter);
	node = cds_lfht_iter_get_node(&iter);
	urcu_memb_read_unlock();
	return node ? caa_container_of(node, struct key_entry, by_id) : NULL;
}

int mirror_put_key(struct mirror *mirror, const struct store_key *key)
{
	struct key_entry *entry = find_key_by_id(mirror, key->id);
	struct account_entry *account;

	if (entry) {
		__atomic_store_n(&entry->revoked_ms, key->revoked_ms, __ATOMIC_RELEASE);
		return 0;
	}
	account = find_account(mirror, key->account);
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
	cds_lfht_node_init(&entry->by_hash);
	cds_lfht_node_init(&entry->by_id);
	urcu_memb_read_lock();
	cds_lfht_add(mirror->keys_by_id, hash_id(key->id), &entry->by_id);
	cds_lfht_add(mirror->keys_by_hash, hash_key(key->hash), &entry->by_hash);
	urcu_memb_read_unlock();
	mirror->key_count++;
	make_room(mirror->keys_by_id, mirror->key_count);
	make_room(mirror->keys_by_hash, mirror->key_count);
	return 0;
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

bool mirror_find(const struct mirror *mirror, const uint8_t hash[STORE_HASH_BYTES],
		 struct mirror_key *ret_key)
{
	const struct key_entry *entry;
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;

	urcu_memb_read_lock();
	cds_lfht_lookup(mirror->keys_by_hash, hash_key(hash), match_hash, hash, &iter);
	node = cds_lfht_iter_get_node(&iter);
	if (node) {
		entry = caa_container_of(node, struct key_entry, by_hash);
		ret_key->slot = entry->account->slot;
		ret_key->generation = mirror->slots->list[entry->account->slot].generation;
		ret_key->revoked_ms = __atomic_load_n(&entry->revoked_ms, __ATOMIC_ACQUIRE);
	}
	urcu_memb_read_unlock();
	return node;
}

bool mirror_account(const struct mirror *mirror, uint64_t id, struct store_account *ret_account,
		    uint32_t *ret_slot)
{
	const struct account_entry *entry = find_account(mirror, id);

	if (!entry)
		return false;
	unpack(mirror, entry, ret_account);
	*ret_slot = entry->slot;
	return true;
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

void mirror_each_account(const struct mirror *mirror,
			 void (*visit)(void *arg, const struct store_account *account,
				       uint32_t slot),
			 void *arg)
{
	struct store_account account;
	struct account_entry *entry;
	struct cds_lfht_iter iter;

	urcu_memb_read_lock();
	cds_lfht_for_each_entry (mirror->accounts, &iter, entry, by_id) {
		unpack(mirror, entry, &account);
		visit(arg, &account, entry->slot);
	}
	urcu_memb_read_unlock();
}

uint64_t mirror_accounts(const struct mirror *mirror)
{
	return mirror->account_count;
}

uint64_t mirror_keys(const struct mirror *mirror)
{
	return mirror->key_count;
}

void mirror_put_quota(struct mirror *mirror, const struct store_quota *quota)
{
	const struct account_entry *entry = find_account(mirror, quota->account);
	const struct tollgate_slots_head *head = mirror->slots->head;

	if (entry)
		usage_restore_quota(&mirror->slots->list[entry->slot], quota, head->epoch);
}
