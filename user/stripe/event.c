/* SPDX-License-Identifier: BSD-2-Clause */
/* event: see event.h. */
#include "stripe/event.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "stripe/field.h"

#define THIN_PREFIX "v1." /* of the types of thin events about objects of API v1 */

#define NAMES(...) ((const char *const[]){ __VA_ARGS__, NULL })

/*
 * What each type of event makes dirty. The first row applies whose name is the event's type; a name
 * that ends in '.' is a prefix, because thin events have many finer types. In a snapshot event, the
 * dirty object's ID is in data.object at the first of `paths` that exists.
 *
 * Stripe takes no prefixes when an endpoint is registered, so `needed` lists the names that must
 * arrive; see event_needed(). Other events of a prefix are understood, too, but they add nothing.
 */
static const struct rule {
	const char *name;
	enum event_kind kind;
	const char *object_type; /* of the dirty object */
	const char *paths[2];
	const char *const *needed; /* ends with NULL; NULL: `name` itself, as a snapshot */
} rules[] = {
	{ "customer.subscription.",
	  EVENT_SUBSCRIPTION,
	  "subscription",
	  { "id" },
	  NAMES("customer.subscription.created", "customer.subscription.updated",
		"customer.subscription.deleted", "customer.subscription.paused",
		"customer.subscription.resumed", "customer.subscription.trial_will_end",
		"customer.subscription.pending_update_applied",
		"customer.subscription.pending_update_expired") },
	{ "invoice.",
	  EVENT_SUBSCRIPTION,
	  "subscription",
	  { "parent.subscription_details.subscription", "subscription" },
	  NAMES("invoice.paid", "invoice.payment_failed", "invoice.payment_action_required",
		"invoice.marked_uncollectible", "invoice.voided") },
	{ "checkout.session.",
	  EVENT_CHECKOUT,
	  "checkout.session",
	  { "id" },
	  NAMES("checkout.session.completed", "checkout.session.async_payment_succeeded",
		"checkout.session.async_payment_failed", "checkout.session.expired") },
	{ "customer.deleted", EVENT_CUSTOMER, "customer", { "id" }, NULL },
	{ "customer.updated", EVENT_CUSTOMER, "customer", { "id" }, NULL },
	{ "entitlements.active_entitlement_summary.",
	  EVENT_ENTITLEMENTS,
	  "customer",
	  { "customer" },
	  NAMES("entitlements.active_entitlement_summary.updated") },
	{ "billing.meter.created", EVENT_CATALOG, "billing.meter", { "id" }, NULL },
	{ "billing.meter.updated", EVENT_CATALOG, "billing.meter", { "id" }, NULL },
	{ "billing.meter.deactivated", EVENT_CATALOG, "billing.meter", { "id" }, NULL },
	{ "billing.meter.reactivated", EVENT_CATALOG, "billing.meter", { "id" }, NULL },
	{ "billing.meter.error_report_triggered",
	  EVENT_METER_ERROR,
	  "billing.meter",
	  { "id" },
	  NAMES("v1.billing.meter.error_report_triggered") },
	{ "billing.meter.no_meter_found",
	  EVENT_METER_ERROR,
	  "billing.meter",
	  { "id" },
	  NAMES("v1.billing.meter.no_meter_found") },
	{ "charge.dispute.created", EVENT_DISPUTE, "charge", { "charge" }, NULL },
	{ "charge.dispute.updated", EVENT_DISPUTE, "charge", { "charge" }, NULL },
	{ "charge.dispute.closed", EVENT_DISPUTE, "charge", { "charge" }, NULL },
	{ "charge.refunded", EVENT_DISPUTE, "charge", { "id" }, NULL },
	{ "charge.refund.updated", EVENT_DISPUTE, "charge", { "charge" }, NULL },
	{ "refund.updated", EVENT_DISPUTE, "charge", { "charge" }, NULL },
	{ "refund.failed", EVENT_DISPUTE, "charge", { "charge" }, NULL },
	{ "price.",
	  EVENT_CATALOG,
	  "price",
	  { "id" },
	  NAMES("price.created", "price.updated", "price.deleted") },
	{ "product.",
	  EVENT_CATALOG,
	  "product",
	  { "id" },
	  NAMES("product.created", "product.updated", "product.deleted") },
};

static const char *const kind_words[] = {
	[EVENT_UNKNOWN] = "unknown",	     [EVENT_SUBSCRIPTION] = "subscription",
	[EVENT_INVOICE] = "invoice",	     [EVENT_CHECKOUT] = "checkout",
	[EVENT_CUSTOMER] = "customer",	     [EVENT_ENTITLEMENTS] = "entitlements",
	[EVENT_METER_ERROR] = "meter_error", [EVENT_DISPUTE] = "dispute",
	[EVENT_CATALOG] = "catalog",	     [EVENT_REFERENCE] = "event",
};

const char *event_kind_word(enum event_kind kind)
{
	return kind_words[kind];
}

static const struct rule *find_rule(const char *name)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		size_t len = strlen(rules[i].name);

		if (rules[i].name[len - 1] == '.' ? !strncmp(rules[i].name, name, len)
						  : !strcmp(rules[i].name, name))
			return &rules[i];
	}
	return NULL;
}

const char *event_needed(enum event_format format, size_t index)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		const char *const *names = rules[i].needed ? rules[i].needed : &rules[i].name;

		for (size_t k = 0; k == 0 || (rules[i].needed && names[k]); k++) {
			bool is_thin = !strncmp(names[k], THIN_PREFIX, strlen(THIN_PREFIX));

			if (is_thin == (format == EVENT_THIN) && !index--)
				return names[k];
		}
	}
	return NULL;
}

int event_write_types(struct buf *path, size_t first)
{
	const char *name;
	int err = 0;

	for (size_t i = 0; !err && i < EVENT_TYPES_MAX; i++) {
		name = event_needed(EVENT_SNAPSHOT, first + i);
		if (!name)
			break;
		err = buf_printf(path, "&types%%5B%zu%%5D=%s", i, name);
	}
	return err;
}

/* Read a number of exactly @count digits. False if it is not one, or out of range. */
static bool digits(const char *text, size_t count, unsigned min, unsigned max, int *ret_value)
{
	uint64_t value;

	if (strnlen(text, count) < count ||
	    text_parse_u64((struct text){ text, count }, max, &value) || value < min)
		return false;
	*ret_value = (int)value;
	return true;
}

int event_parse_time(const char *text, uint64_t *ret_s)
{
	struct tm tm = { 0 };

	/* Each check fails at the NUL, so the next one does not read past it. */
	if (!digits(text, 4, 1970, 9999, &tm.tm_year) || text[4] != '-' ||
	    !digits(text + 5, 2, 1, 12, &tm.tm_mon) || text[7] != '-' ||
	    !digits(text + 8, 2, 1, 31, &tm.tm_mday) || text[10] != 'T' ||
	    !digits(text + 11, 2, 0, 23, &tm.tm_hour) || text[13] != ':' ||
	    !digits(text + 14, 2, 0, 59, &tm.tm_min) || text[16] != ':' ||
	    !digits(text + 17, 2, 0, 60, &tm.tm_sec))
		return -EINVAL;
	text += 19;
	if (*text == '.')
		text += 1 + strspn(text + 1, "0123456789");
	if (strcmp(text, "Z") != 0)
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	*ret_s = (uint64_t)timegm(&tm);
	return 0;
}

static const char *read_thin(const json_t *root, struct event *e, const struct rule *rule)
{
	const json_t *related = field_at(root, "related_object");
	const char *created = field_text(root, "created");

	if (!created || event_parse_time(created, &e->created_s))
		return "created is missing or not valid";
	if (!field_copy(field_text(related, "id"), e->object_id, sizeof(e->object_id)) ||
	    !field_copy(field_text(related, "type"), e->object_type, sizeof(e->object_type)))
		return "the id or type of related_object is not valid";
	if (!strcmp(e->object_type, "customer"))
		field_copy(e->object_id, e->customer, sizeof(e->customer));
	if (!rule)
		return NULL;
	e->kind = rule->kind;
	if (rule->kind == EVENT_SUBSCRIPTION && !strcmp(e->object_type, "invoice"))
		e->kind = EVENT_INVOICE;
	if (e->object_id[0] || e->kind == EVENT_METER_ERROR)
		return NULL;
	/* Some types have no related object: v1.invoice.upcoming, those of entitlements. */
	if (!field_copy(field_text(root, "snapshot_event"), e->object_id, sizeof(e->object_id)))
		return "snapshot_event is not valid";
	if (e->object_id[0])
		e->kind = EVENT_REFERENCE;
	return NULL;
}

static const char *read_snapshot(const json_t *root, struct event *e, const struct rule *rule)
{
	json_t *object = field_at(root, "data.object");
	const char *type = field_text(object, "object"), *id = NULL, *customer;

	e->created_s = field_u64(root, "created");
	if (!e->created_s)
		return "created is missing or not valid";
	if (!json_is_object(object))
		return "data.object is missing";
	field_copy_words(field_text(root, "api_version"), e->api_version, sizeof(e->api_version));
	if (!rule)
		return NULL;
	for (size_t i = 0; i < 2 && rule->paths[i] && !id; i++)
		id = field_id(object, rule->paths[i]);
	if (!id && rule->kind == EVENT_SUBSCRIPTION && type && !strcmp(type, "invoice"))
		return NULL; /* an invoice without a subscription */
	if (!field_copy(id, e->object_id, sizeof(e->object_id)))
		return "the id in data.object is not valid";
	e->kind = rule->kind;
	field_copy(rule->object_type, e->object_type, sizeof(e->object_type));
	customer = strcmp(rule->object_type, "customer") ? field_id(object, "customer") : id;
	field_copy(customer, e->customer, sizeof(e->customer));
	if (e->object_id[0] && type && !strcmp(type, rule->object_type))
		e->snapshot = json_incref(object);
	return NULL;
}

static const char *read_event(const json_t *root, struct event *e)
{
	const char *shape = field_text(root, "object");

	if (!shape || (strcmp(shape, "event") != 0 && strcmp(shape, "v2.core.event") != 0))
		return "not an event";
	e->is_thin = shape[0] == 'v';
	if (!field_copy(field_text(root, "id"), e->id, sizeof(e->id)) || !e->id[0])
		return "id is missing or not valid";
	if (!field_copy(field_text(root, "type"), e->type, sizeof(e->type)) || !e->type[0])
		return "type is missing or not valid";
	if (!json_is_boolean(field_at(root, "livemode")))
		return "livemode is missing or not valid";
	if (!field_copy(field_text(root, "account"), e->account, sizeof(e->account)))
		return "account is not valid";
	e->is_live = field_bool(root, "livemode");
	if (e->is_thin)
		return read_thin(root, e,
				 strncmp(e->type, THIN_PREFIX, strlen(THIN_PREFIX))
					 ? NULL
					 : find_rule(e->type + strlen(THIN_PREFIX)));
	return read_snapshot(root, e, find_rule(e->type));
}

int event_parse(struct text body, struct event *ret, const char **ret_why)
{
	struct event e = { 0 };
	json_t *root = NULL;
	const char *why;
	int err;

	if (body.len > EVENT_MAX_BYTES) {
		*ret_why = "too large";
		return -EMSGSIZE;
	}
	err = field_parse(body, &root, ret_why);
	if (err)
		return err;
	why = read_event(root, &e);
	json_decref(root);
	if (why) {
		event_done(&e);
		*ret_why = why;
		return -EBADMSG;
	}
	*ret = e;
	return 0;
}

void event_done(struct event *event)
{
	json_decref(event->snapshot);
	*event = (struct event){ 0 };
}
