/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror_accounts: the accounts of the mirror: their entries and indexes, and how they are written
 * to the slots.
 *
 * There may be several hundred thousand, so entries are compact: 32-bit seconds and packed texts.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "enforce/account.h"
#include "enforce/mirror_private.h"
#include "enforce/period.h"
#include "enforce/share.h"
#include "enforce/usage.h"

static const char *word_of(const struct account_entry *entry, enum account_word which)
{
	const char *word = entry->words;

	for (unsigned i = 0; i < which; i++)
		word += strlen(word) + 1;
	return word;
}

static char *pack_words(const struct store_account *account)
{
	const char *const texts[WORD_COUNT] = {
		[WORD_CUSTOMER] = account->customer, [WORD_SUBSCRIPTION] = account->subscription,
		[WORD_LABEL] = account->label,	     [WORD_PRICE] = account->price,
		[WORD_EMAIL] = account->email,	     [WORD_FEATURES] = account->features,
		[WORD_DISPUTES] = account->disputes, [WORD_REFERENCE] = account->reference,
		[WORD_METADATA] = account->metadata,
	};
	size_t bytes = 0;
	char *words, *at;

	for (unsigned i = 0; i < WORD_COUNT; i++)
		bytes += strlen(texts[i]) + 1;
	words = at = malloc(bytes);
	for (unsigned i = 0; words && i < WORD_COUNT; i++)
		at = stpcpy(at, texts[i]) + 1;
	return words;
}

static uint32_t seconds32(uint64_t s)
{
	return s < UINT32_MAX ? (uint32_t)s : UINT32_MAX;
}

static void unpack(const struct mirror *mirror, const struct account_entry *entry,
		   struct store_account *ret_account)
{
	*ret_account = (struct store_account){
		.id = entry->id,
		.status = (enum store_status)entry->status,
		.is_held = entry->is_held,
		.created_ms = entry->created_ms,
		.past_due_ms = entry->past_due_ms,
		.period_start_s = entry->period_start_s,
		.period_end_s = entry->period_end_s,
		.trial_end_s = entry->trial_end_s,
		.cancel_at_s = entry->cancel_at_s,
		.as_of_s = entry->as_of_s,
		.mode = (enum store_mode)entry->mode,
		.usage_start_s = entry->usage_start_s,
		.usage_end_s = entry->usage_end_s,
		.seats = entry->seats,
	};
	/* The texts fit, because they were packed from members of the same sizes. */
#define UNPACK(member, word) text_copy(ret_account->member, sizeof(ret_account->member), (word))
	UNPACK(tier, mirror->tier_names[entry->tier_id]);
	UNPACK(customer, word_of(entry, WORD_CUSTOMER));
	UNPACK(subscription, word_of(entry, WORD_SUBSCRIPTION));
	UNPACK(label, word_of(entry, WORD_LABEL));
	UNPACK(price, word_of(entry, WORD_PRICE));
	UNPACK(email, word_of(entry, WORD_EMAIL));
	UNPACK(features, word_of(entry, WORD_FEATURES));
	UNPACK(disputes, word_of(entry, WORD_DISPUTES));
	UNPACK(reference, word_of(entry, WORD_REFERENCE));
	UNPACK(metadata, word_of(entry, WORD_METADATA));
#undef UNPACK
}

/* Indexes. */

static bool has_word(struct account_entry *entry, enum account_word which, const void *word)
{
	return !strcmp(word_of(entry, which), word);
}

static int match_customer(struct cds_lfht_node *node, const void *word)
{
	return has_word(caa_container_of(node, struct account_entry, by_word[WORD_CUSTOMER]),
			WORD_CUSTOMER, word);
}

static int match_subscription(struct cds_lfht_node *node, const void *word)
{
	return has_word(caa_container_of(node, struct account_entry, by_word[WORD_SUBSCRIPTION]),
			WORD_SUBSCRIPTION, word);
}

static void index_account(struct mirror *mirror, struct account_entry *entry)
{
	for (unsigned which = 0; which < WORD_INDEXED; which++) {
		struct table *table = &mirror->by_word[which];
		const char *word = word_of(entry, which);

		if (*word)
			table_add(table, table_hash_text(table, word), &entry->by_word[which]);
	}
}

static void unindex_account(struct mirror *mirror, struct account_entry *entry)
{
	for (unsigned which = 0; which < WORD_INDEXED; which++) {
		if (*word_of(entry, which))
			table_remove(&mirror->by_word[which], &entry->by_word[which]);
	}
}

/* Slots. */

/* The feature bits for those of the account's entitlements that the configuration knows. */
static uint64_t entitled_features(const struct tiers *tiers, const struct account_entry *entry)
{
	const char *word = word_of(entry, WORD_FEATURES);
	uint64_t features = 0;

	while (*word) {
		size_t len = strcspn(word, " ");

		for (unsigned i = 0; i < tiers->feature_count; i++) {
			if (text_is((struct text){ word, len }, tiers->features[i]))
				features |= 1ULL << i;
		}
		word += len;
		word += strspn(word, " ");
	}
	return features;
}

void mirror_apply(struct mirror *mirror, struct account_entry *entry, uint64_t wall_ms,
		  uint64_t mono_ns)
{
	const struct store_account account = { .status = (enum store_status)entry->status,
					       .is_held = entry->is_held,
					       .mode = (enum store_mode)entry->mode,
					       .disputes = { *word_of(entry, WORD_DISPUTES) },
					       .past_due_ms = entry->past_due_ms };
	const struct tier *tier = mirror->tier_by_id[entry->tier_id];
	struct tollgate_slot *slot = &mirror->slots->list[entry->slot];
	uint64_t billing = period_span(entry->period_start_s, entry->period_end_s), span = 0;
	uint64_t usage = period_span(entry->usage_start_s, entry->usage_end_s);
	uint32_t grace_end_s = 0;
	struct tier granted, lent;
	bool is_open = tier && account_is_entitled(&account, mirror->mode, tier->grace_ms, wall_ms);

	if (tier) {
		tier_for_seats(tier, entry->seats, &granted);
		if (tier->uses_entitlements)
			granted.features |= entitled_features(mirror->tiers, entry);
		tier = &granted;
	}
	if (tier && tier->quota && tier->period == TOLLGATE_PERIOD_MONTH)
		span = period_quota_span(billing, wall_ms / 1000);
	entry->quota_end_s = (uint32_t)PERIOD_END_S(span);
	if (span && entry->quota_end_s < mirror->next_turn_s)
		mirror->next_turn_s = entry->quota_end_s;
	if (is_open && account.status == STORE_PAST_DUE)
		grace_end_s = (uint32_t)((account.past_due_ms + tier->grace_ms) / 1000);
	slot_set_periods(slot, usage ? usage : billing, span, grace_end_s);
	if (!mirror->shares || !tier || !tier->is_shared) {
		slot_set_limits(slot, tier, entry->tier_id, is_open, mono_ns);
		if (mirror->shares)
			share_set_tier(mirror->shares, entry->slot, tier, false);
		return;
	}
	/*
	 * The slot's own bucket must not limit the account: XDP would refuse what a lease allows.
	 * Set the share before the slot loses its rate, and above the other way round, so that one
	 * of them always limits the account.
	 */
	share_set_tier(mirror->shares, entry->slot, tier, false);
	lent = *tier;
	lent.interval_ns = lent.limit_ns = 0;
	slot_set_limits(slot, &lent, entry->tier_id, is_open, mono_ns);
}

void mirror_set_mode(struct mirror *mirror, enum store_mode mode)
{
	mirror->mode = mode;
}

uint64_t mirror_mode_count(const struct mirror *mirror, enum store_mode mode)
{
	return mirror->mode_count[mode];
}

enum store_mode mirror_mode(const struct mirror *mirror)
{
	return mirror->mode;
}

int mirror_set_tiers(struct mirror *mirror, const struct tiers *tiers, uint64_t wall_ms,
		     uint64_t mono_ns)
{
	struct cds_lfht_iter iter;
	struct account_entry *entry;

	for (unsigned i = 0; i < tiers->count; i++) {
		int id = mirror_tier_id(mirror, tiers->list[i].name);

		if (id < 0)
			return id;
	}
	mirror->tiers = tiers;
	for (unsigned i = 0; i < mirror->tier_count; i++)
		mirror->tier_by_id[i] = tiers_find(tiers, mirror->tier_names[i]);
	urcu_memb_read_lock();
	cds_lfht_for_each_entry (mirror->accounts.lfht, &iter, entry, by_id)
		mirror_apply(mirror, entry, wall_ms, mono_ns);
	urcu_memb_read_unlock();
	return 0;
}

void mirror_pass_time(struct mirror *mirror, uint64_t wall_ms, uint64_t mono_ns)
{
	uint64_t now_s = wall_ms / 1000;
	struct cds_lfht_iter iter;
	struct account_entry *entry;

	if (!mirror->past_due_count && now_s < mirror->next_turn_s)
		return;
	mirror->next_turn_s = UINT64_MAX;
	urcu_memb_read_lock();
	cds_lfht_for_each_entry (mirror->accounts.lfht, &iter, entry, by_id) {
		if (entry->status == STORE_PAST_DUE ||
		    (entry->quota_end_s && entry->quota_end_s <= now_s))
			mirror_apply(mirror, entry, wall_ms, mono_ns);
		else if (entry->quota_end_s && entry->quota_end_s < mirror->next_turn_s)
			mirror->next_turn_s = entry->quota_end_s;
	}
	urcu_memb_read_unlock();
}

/* Entries. */

static int match_account(struct cds_lfht_node *node, const void *id)
{
	return caa_container_of(node, struct account_entry, by_id)->id == *(const uint64_t *)id;
}

struct account_entry *mirror_find_account(const struct mirror *mirror, uint64_t id)
{
	struct cds_lfht_node *node =
		table_find(&mirror->accounts, table_hash_id(id), match_account, &id);

	return node ? caa_container_of(node, struct account_entry, by_id) : NULL;
}

static struct account_entry *add_account(struct mirror *mirror, uint64_t id)
{
	struct account_entry *entry = calloc(1, sizeof(*entry));
	int64_t slot = mirror_find_adopted(mirror, id);

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
	if (mirror->shares)
		share_set_tier(mirror->shares, entry->slot, NULL, true);
	table_add(&mirror->accounts, table_hash_id(id), &entry->by_id);
	return entry;
}

/* Copy @account to the entry, which takes over @words, the packed texts. */
static void fill_in(struct mirror *mirror, struct account_entry *entry,
		    const struct store_account *account, char *words, int tier_id)
{
	if (entry->words) {
		mirror->past_due_count -= entry->status == STORE_PAST_DUE;
		mirror->mode_count[entry->mode]--;
		unindex_account(mirror, entry);
	}
	mirror->past_due_count += account->status == STORE_PAST_DUE;
	free(entry->words);
	entry->words = words;
	entry->tier_id = (uint16_t)tier_id;
	entry->status = (uint8_t)account->status;
	entry->is_held = account->is_held;
	entry->created_ms = account->created_ms;
	entry->past_due_ms = account->past_due_ms;
	entry->period_start_s = seconds32(account->period_start_s);
	entry->period_end_s = seconds32(account->period_end_s);
	entry->trial_end_s = seconds32(account->trial_end_s);
	entry->cancel_at_s = seconds32(account->cancel_at_s);
	entry->as_of_s = seconds32(account->as_of_s);
	entry->mode = (uint8_t)account->mode & 3;
	mirror->mode_count[entry->mode]++;
	entry->usage_start_s = seconds32(account->usage_start_s);
	entry->usage_end_s = seconds32(account->usage_end_s);
	entry->seats = account->seats;
	index_account(mirror, entry);
}

void mirror_forget_account(struct mirror *mirror, struct account_entry *entry)
{
	mirror->past_due_count -= entry->status == STORE_PAST_DUE;
	mirror->mode_count[entry->mode]--;
	unindex_account(mirror, entry);
	mirror->slot_is_claimed[entry->slot] = false;
}

int mirror_put_account(struct mirror *mirror, const struct store_account *account, uint64_t wall_ms,
		       uint64_t mono_ns)
{
	struct account_entry *entry = mirror_find_account(mirror, account->id);
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
	fill_in(mirror, entry, account, words, tier_id);
	mirror_apply(mirror, entry, wall_ms, mono_ns);
	/* A load brings quotas after accounts. It may be the second load into the same slots. */
	if (!mirror->is_complete)
		usage_forget_others(&mirror->slots->list[entry->slot]);
	return mirror->refresh ? mirror_refresh_account(mirror, entry) : 0;
}

static bool give(const struct mirror *mirror, const struct account_entry *entry,
		 struct store_account *ret_account, uint32_t *ret_slot)
{
	if (!entry)
		return false;
	unpack(mirror, entry, ret_account);
	*ret_slot = entry->slot;
	return true;
}

bool mirror_account(const struct mirror *mirror, uint64_t id, struct store_account *ret_account,
		    uint32_t *ret_slot)
{
	return give(mirror, mirror_find_account(mirror, id), ret_account, ret_slot);
}

bool mirror_account_by_subscription(const struct mirror *mirror, const char *subscription,
				    struct store_account *ret_account, uint32_t *ret_slot)
{
	const struct table *table = &mirror->by_word[WORD_SUBSCRIPTION];
	struct cds_lfht_node *node = table_find(table, table_hash_text(table, subscription),
						match_subscription, subscription);

	return node &&
	       give(mirror,
		    caa_container_of(node, struct account_entry, by_word[WORD_SUBSCRIPTION]),
		    ret_account, ret_slot);
}

unsigned mirror_accounts_of_customer(const struct mirror *mirror, const char *customer,
				     uint64_t *ret_ids, unsigned max)
{
	const struct table *table = &mirror->by_word[WORD_CUSTOMER];
	struct account_entry *entry;
	struct cds_lfht_iter iter;
	unsigned count = 0;

	urcu_memb_read_lock();
	cds_lfht_for_each_entry_duplicate (table->lfht, table_hash_text(table, customer),
					   match_customer, customer, &iter, entry,
					   by_word[WORD_CUSTOMER]) {
		if (count < max)
			ret_ids[count] = entry->id;
		count++;
	}
	urcu_memb_read_unlock();
	return count;
}

int mirror_list_of_customer(const struct mirror *mirror, const char *customer, uint64_t **ret_ids,
			    unsigned *ret_count)
{
	*ret_ids = NULL;
	*ret_count = mirror_accounts_of_customer(mirror, customer, NULL, 0);
	if (!*ret_count)
		return 0;
	*ret_ids = calloc(*ret_count, sizeof(**ret_ids));
	if (!*ret_ids)
		return -ENOMEM;
	mirror_accounts_of_customer(mirror, customer, *ret_ids, *ret_count);
	return 0;
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
	cds_lfht_for_each_entry (mirror->accounts.lfht, &iter, entry, by_id) {
		unpack(mirror, entry, &account);
		visit(arg, &account, entry->slot);
	}
	urcu_memb_read_unlock();
}

void mirror_put_quota(struct mirror *mirror, const struct store_quota *quota, uint64_t wall_ms)
{
	const struct account_entry *entry = mirror_find_account(mirror, quota->account);
	const struct tollgate_slots_head *head = mirror->slots->head;

	if (entry && quota->period <= usage_latest_period(wall_ms))
		usage_restore_quota(&mirror->slots->list[entry->slot], quota, head->epoch);
}
