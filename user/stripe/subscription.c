/* SPDX-License-Identifier: BSD-2-Clause */
/* subscription: see subscription.h. */
#include "stripe/subscription.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "enforce/account.h"
#include "stripe/field.h"

static bool read_item(const json_t *object, const struct subscription *s,
		      struct subscription_item *item)
{
	/* Prices used to be called plans; old API versions send both members. */
	const json_t *price = field_at(object, "price");
	uint64_t quantity = field_u64(object, "quantity");
	const char *usage;

	if (!json_is_object(price))
		price = field_at(object, "plan");
	usage = field_text(price, "recurring.usage_type");
	if (!usage)
		usage = field_text(price, "usage_type");
	item->is_metered = usage && !strcmp(usage, "metered");
	item->period_start_s = field_u64(object, "current_period_start");
	item->period_end_s = field_u64(object, "current_period_end");
	if (!item->period_end_s) {
		item->period_start_s = s->period_start_s;
		item->period_end_s = s->period_end_s;
	}
	item->quantity = quantity < UINT32_MAX ? (uint32_t)quantity : UINT32_MAX;
	/* The operator may have chosen these, even with spaces in them. */
	field_copy_words(field_text(price, "id"), item->price, sizeof(item->price));
	field_copy_words(field_text(price, "lookup_key"), item->lookup_key,
			 sizeof(item->lookup_key));
	field_copy_words(field_id(price, "product"), item->product, sizeof(item->product));
	return field_copy(field_text(object, "id"), item->id, sizeof(item->id)) &&
	       field_copy(field_text(price, "recurring.meter"), item->meter, sizeof(item->meter)) &&
	       item->price[0];
}

static const char *read_items(const json_t *object, struct subscription *s)
{
	const json_t *items = field_at(object, "items.data"), *item;
	size_t i;

	if (!json_is_array(items))
		return "items is missing or not valid";
	s->has_more_items = field_bool(object, "items.has_more");
	json_array_foreach (items, i, item) {
		if (i == SUBSCRIPTION_MAX_ITEMS) {
			s->has_more_items = true;
			break;
		}
		if (!read_item(item, s, &s->items[i]))
			return "an item has no price, or an id that is not valid";
		s->item_count++;
	}
	return NULL;
}

static void read_status(const json_t *object, struct subscription *s)
{
	enum store_status status;

	field_copy_words(field_text(object, "status"), s->status_word, sizeof(s->status_word));
	s->status = store_status_parse(s->status_word, &status) ? -1 : (int)status;
	field_copy_words(field_text(object, "status_details.paused.subscription.type"),
			 s->paused_cause, sizeof(s->paused_cause));
	s->is_collection_paused = json_is_object(field_at(object, "pause_collection"));
}

static void read_times(const json_t *object, struct subscription *s)
{
	uint64_t last_end_s = 0;

	if (!s->period_end_s && s->item_count) {
		s->period_start_s = s->items[0].period_start_s;
		s->period_end_s = s->items[0].period_end_s;
	}
	for (unsigned i = 0; i < s->item_count; i++) {
		if (s->items[i].period_end_s > last_end_s)
			last_end_s = s->items[i].period_end_s;
	}
	s->created_s = field_u64(object, "created");
	s->trial_end_s = field_u64(object, "trial_end");
	s->ended_at_s = field_u64(object, "ended_at");
	s->cancel_at_s = field_u64(object, "cancel_at");
	if (!s->cancel_at_s && field_bool(object, "cancel_at_period_end"))
		s->cancel_at_s = last_end_s ? last_end_s : s->period_end_s;
}

uint64_t subscription_owed_since(const json_t *invoice)
{
	const char *status = field_text(invoice, "status");
	uint64_t due_s = field_u64(invoice, "due_date"); /* the customer pays it by hand */
	uint64_t finalized_s = field_u64(invoice, "status_transitions.finalized_at");

	if (!status || (strcmp(status, "open") != 0 && strcmp(status, "uncollectible") != 0))
		return 0;
	if (due_s)
		return due_s;
	if (!field_u64(invoice, "attempt_count"))
		return 0;
	return finalized_s ? finalized_s : field_u64(invoice, "created");
}

static void read_invoice(const json_t *object, struct subscription *s)
{
	const json_t *invoice = field_at(object, "latest_invoice");

	field_copy(field_id(object, "latest_invoice"), s->invoice, sizeof(s->invoice));
	field_copy_words(field_text(invoice, "status"), s->invoice_status,
			 sizeof(s->invoice_status));
	s->invoice_attempts = (uint32_t)field_u64(invoice, "attempt_count");
	s->invoice_created_s = field_u64(invoice, "created");
	s->owed_since_s = subscription_owed_since(invoice);
}

/* Keep the metadata as text. Stripe allows 50 pairs of up to 540 bytes; leave out the last ones. */
static void read_metadata(const json_t *object, struct subscription *s)
{
	const char *account = field_text(object, "metadata." SUBSCRIPTION_ACCOUNT);
	json_t *kept = json_copy(field_at(object, "metadata"));
	const char *last = NULL;
	char *text = NULL;

	if (!account || account_parse_id(text_of(account), &s->account))
		s->account = 0;
	while (json_object_size(kept)) {
		const char *name;
		json_t *value;

		free(text);
		text = json_dumps(kept, JSON_COMPACT | JSON_SORT_KEYS);
		if (!text || strlen(text) < sizeof(s->metadata))
			break;
		json_object_foreach (kept, name, value) {
			if (!last || strcmp(name, last) > 0)
				last = name;
		}
		json_object_del(kept, last);
		last = NULL;
	}
	if (text && json_object_size(kept))
		memcpy(s->metadata, text, strlen(text) + 1);
	free(text);
	json_decref(kept);
}

static const char *parse(const json_t *object, struct subscription *s)
{
	const char *kind = field_text(object, "object"), *why;

	if (!kind || strcmp(kind, "subscription"))
		return "not a subscription";
	if (!field_copy(field_text(object, "id"), s->id, sizeof(s->id)) || !s->id[0])
		return "id is missing or not valid";
	if (!field_copy(field_id(object, "customer"), s->customer, sizeof(s->customer)) ||
	    !s->customer[0])
		return "customer is missing or not valid";
	if (!field_text(object, "status"))
		return "status is missing or not valid";
	s->is_live = field_bool(object, "livemode");
	s->is_customer_deleted = field_bool(object, "customer.deleted");
	field_copy_words(field_text(object, "customer.email"), s->email, sizeof(s->email));
	s->period_start_s = field_u64(object, "current_period_start");
	s->period_end_s = field_u64(object, "current_period_end");
	why = read_items(object, s);
	if (why)
		return why;
	read_status(object, s);
	read_times(object, s);
	read_invoice(object, s);
	read_metadata(object, s);
	return NULL;
}

int subscription_parse(const json_t *object, struct subscription *ret, const char **ret_why)
{
	struct subscription s = { 0 };
	const char *why = parse(object, &s);

	if (why) {
		*ret_why = why;
		return -EBADMSG;
	}
	*ret = s;
	return 0;
}

const struct subscription_item *subscription_metered_item(const struct subscription *s,
							  const char *meter_id)
{
	const struct subscription_item *first = NULL;

	for (unsigned i = 0; i < s->item_count; i++) {
		const struct subscription_item *item = &s->items[i];

		if (!item->is_metered)
			continue;
		if (meter_id && !strcmp(item->meter, meter_id))
			return item;
		if (!first)
			first = item;
	}
	return first;
}

static bool tier_names(const struct tier *tier, const struct subscription_item *item)
{
	for (unsigned i = 0; i < tier->price_count; i++) {
		const char *name = tier->prices[i];

		if (*name && (!strcmp(name, item->price) || !strcmp(name, item->lookup_key) ||
			      !strcmp(name, item->product)))
			return true;
	}
	return false;
}

const struct tier *subscription_tier(const struct tiers *tiers, const struct subscription *s,
				     const struct subscription_item **ret_item)
{
	for (unsigned i = 0; i < tiers->count; i++) {
		for (unsigned j = 0; j < s->item_count; j++) {
			if (tier_names(&tiers->list[i], &s->items[j])) {
				*ret_item = &s->items[j];
				return &tiers->list[i];
			}
		}
	}
	*ret_item = s->item_count ? &s->items[0] : NULL;
	return NULL;
}
