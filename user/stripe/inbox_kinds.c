/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * inbox_kinds: for each kind of dirty object, what is fetched from Stripe and how the answer is
 * applied.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "enforce/account.h"
#include "enforce/mirror.h"
#include "stripe/apply.h"
#include "stripe/dispute.h"
#include "stripe/inbox_private.h"

static const char *text_at(const json_t *object, const char *name)
{
	const char *value = json_string_value(json_object_get(object, name));

	return value ? value : "";
}

/* The ID of a member that is an ID or, if expanded, an object; "" if it is neither. */
static const char *id_at(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	return json_is_object(value) ? text_at(value, "id") : text_at(object, name);
}

/* Whether @id needs no escaping in a URL. All of Stripe's IDs are so. */
static bool is_plain_id(const char *id)
{
	return id[0] && id[strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789_-")] == '\0';
}

/* ---- subscriptions ---- */

static void on_applied(void *arg, const struct registry_result *result)
{
	struct object *object = arg;

	if (result->err == -EBADMSG) {
		object_give_up(object, "the subscription is not valid; see the log");
		return;
	}
	if (result->err == -ENOSPC && mirror_can_add(object->inbox->context->mirror)) {
		log_error("subscription %s: all slots are taken; raise max_accounts, then run "
			  "tollgate sync",
			  object->id);
		object_give_up(object, "all slots are taken");
		return;
	}
	if (result->err)
		log_error("cannot apply subscription %s, will retry: %s", object->id,
			  strerror(-result->err));
	object_done(object, result->err, result->is_changed ? "changed" : "nothing changed");
}

static void act_subscription(struct object *object, const struct stripe_answer *answer)
{
	const struct apply_source source = { .as_of_s = answer->date_s,
					     .reference = object->reference };

	apply_subscription(object->inbox->context, answer->body, &source, on_applied, object);
}

static void on_gone(void *arg, const struct registry_result *result)
{
	struct object *object = arg;

	object_done(object, result->err == -ENOENT ? 0 : result->err,
		    "Stripe has no such subscription");
}

/*
 * Where the subscription is. Stripe says so in words only: "a similar object exists in test mode,
 * but a live mode key was used to make this request".
 */
static enum store_mode mode_in(const struct stripe_answer *answer)
{
	if (strstr(answer->message, "exists in test mode"))
		return STORE_MODE_TEST;
	return strstr(answer->message, "exists in live mode") ? STORE_MODE_LIVE : STORE_MODE_GONE;
}

void object_is_gone(struct object *object, const struct stripe_answer *answer, const char *note)
{
	const struct stripe_context *context = object->inbox->context;
	struct registry_change change = REGISTRY_NO_CHANGE;
	struct store_account account;
	uint32_t slot;

	change.mode = (int)mode_in(answer);
	if (answer->status != 404 ||
	    !mirror_account_by_subscription(context->mirror, object->id, &account, &slot) ||
	    account.mode == (enum store_mode)change.mode ||
	    (change.mode == STORE_MODE_GONE &&
	     account_is_of_other_mode(&account, mirror_mode(context->mirror)))) {
		object_done(object, 0, note);
		return;
	}
	registry_account_set(context->registry, account.id, &change, on_gone, object);
}

/* ---- objects that lead to a subscription ---- */

/* Move the object's events to the object @id of @kind. */
static void hand_on(struct object *object, enum event_kind kind, const char *id)
{
	struct inbox *inbox = object->inbox;

	for (size_t i = 0; i < object->covered.count; i++) {
		inbox_add(inbox, kind, id, object->covered.ids[i]);
		free(object->covered.ids[i]);
	}
	object->covered.count = 0;
	object_done(object, 0, "");
}

static void act_invoice(struct object *object, const struct stripe_answer *answer)
{
	const json_t *parent = json_object_get(answer->body, "parent");
	const char *id = id_at(answer->body, "subscription");

	if (!id[0])
		id = id_at(json_object_get(parent, "subscription_details"), "subscription");
	if (id[0])
		hand_on(object, EVENT_SUBSCRIPTION, id);
	else
		object_done(object, 0, "the invoice has no subscription");
}

static void act_checkout(struct object *object, const struct stripe_answer *answer)
{
	const char *id = id_at(answer->body, "subscription");

	if (!id[0]) {
		object_done(object, 0, "the checkout session has no subscription yet");
		return;
	}
	inbox_add_bought(object->inbox, id, text_at(answer->body, "client_reference_id"), NULL);
	hand_on(object, EVENT_SUBSCRIPTION, id);
}

/* A snapshot event, to which a thin event without an object led. */
static void act_snapshot(struct object *object, const struct stripe_answer *answer)
{
	char *body = json_dumps(answer->body, JSON_COMPACT);
	const char *why = "out of memory";
	struct event event;

	if (!body || event_parse(text_of(body), &event, &why)) {
		free(body);
		object_give_up(object, why);
		return;
	}
	free(body);
	if (event.kind == EVENT_UNKNOWN || event.kind == EVENT_CATALOG ||
	    event.kind == EVENT_METER_ERROR || !is_plain_id(event.object_id))
		object_done(object, 0, "the snapshot event names no object");
	else
		hand_on(object, event.kind, event.object_id);
	event_done(&event);
}

/* ---- customers ---- */

static void on_step(void *arg, const struct registry_result *result)
{
	struct object *object = arg;

	if (result->err && result->err != -ENOENT)
		object->err = result->err;
	if (--object->pending == 0)
		object_done(object, object->err, "");
}

/* Count one step from here to end_steps(), so that object_done() is not called too early. */
static void begin_steps(struct object *object)
{
	object->pending = 1;
	object->err = 0;
}

static void end_steps(struct object *object)
{
	on_step(object, &(struct registry_result){ 0 });
}

static void act_customer(struct object *object, const struct stripe_answer *answer)
{
	const struct stripe_context *context = object->inbox->context;
	bool is_deleted = json_is_true(json_object_get(answer->body, "deleted"));
	uint64_t *ids;
	unsigned count;
	int err = mirror_list_of_customer(context->mirror, object->id, &ids, &count);

	if (err) {
		object_done(object, err, "");
		return;
	}
	begin_steps(object);
	for (unsigned i = 0; i < count; i++) {
		struct store_account account;
		uint32_t slot;

		if (!mirror_account(context->mirror, ids[i], &account, &slot))
			continue;
		if (account.subscription[0])
			inbox_mark(object->inbox, account.subscription);
		if (is_deleted) {
			object->pending++;
			registry_keys_revoke(context->registry, ids[i], on_step, object);
		}
	}
	free(ids);
	end_steps(object);
}

static void act_entitlements(struct object *object, const struct stripe_answer *answer)
{
	const struct stripe_context *context = object->inbox->context;
	const json_t *item, *data = json_object_get(answer->body, "data");
	char features[STORE_FEATURES_MAX] = "";
	size_t i, len = 0;

	json_array_foreach (data, i, item) {
		const char *key = text_at(item, "lookup_key");
		size_t more = strlen(key);

		if (!more || strchr(key, ' '))
			continue;
		if (len + more + 2 > sizeof(features)) {
			log_error("customer %s has too many entitlements; the rest are ignored",
				  object->id);
			break;
		}
		len += (size_t)snprintf(features + len, sizeof(features) - len, "%s%s",
					len ? " " : "", key);
	}
	if (json_is_true(json_object_get(answer->body, "has_more")))
		log_error("customer %s has more than 100 entitlements; the rest are ignored",
			  object->id);
	begin_steps(object);
	object->pending++;
	registry_account_entitle(context->registry, object->id, features, on_step, object);
	end_steps(object);
}

/* ---- meters ---- */

static void act_meter_error(struct object *object, const struct stripe_answer *answer)
{
	const struct inbox_listeners *listeners = &object->inbox->listeners;

	if (listeners->on_meter_error)
		listeners->on_meter_error(listeners->arg, answer->body);
	object_done(object, 0, "");
}

static const struct {
	const char *path; /* %s stands for the object's ID */
	void (*act)(struct object *object, const struct stripe_answer *answer);
} kinds[] = {
	[EVENT_SUBSCRIPTION] = { "/v1/subscriptions/%s?expand%%5B0%%5D=customer"
				 "&expand%%5B1%%5D=latest_invoice",
				 act_subscription },
	[EVENT_INVOICE] = { "/v1/invoices/%s", act_invoice },
	[EVENT_CHECKOUT] = { "/v1/checkout/sessions/%s", act_checkout },
	[EVENT_CUSTOMER] = { "/v1/customers/%s", act_customer },
	[EVENT_ENTITLEMENTS] = { "/v1/entitlements/active_entitlements?customer=%s&limit=100",
				 act_entitlements },
	[EVENT_METER_ERROR] = { "/v2/core/events/%s", act_meter_error },
	[EVENT_DISPUTE] = { NULL, dispute_act }, /* see dispute_paths */
	[EVENT_REFERENCE] = { "/v1/events/%s", act_snapshot },
};

/* The kinds of objects that a thin event about a dispute or refund may name, by their ID. */
static const struct {
	const char *prefix, *path;
} dispute_paths[] = {
	{ "ch_", "/v1/charges/%s" },
	{ "py_", "/v1/charges/%s" },
	{ "re_", "/v1/refunds/%s?expand%%5B0%%5D=charge" },
	{ "pyr_", "/v1/refunds/%s?expand%%5B0%%5D=charge" },
	{ "", "/v1/disputes/%s?expand%%5B0%%5D=charge" },
};

static const char *dispute_path(const char *id)
{
	size_t i = 0;

	while (strncmp(id, dispute_paths[i].prefix, strlen(dispute_paths[i].prefix)) != 0)
		i++;
	return dispute_paths[i].path;
}

void object_path(const struct object *object, char *ret_path, size_t size)
{
	const char *path =
		object->kind == EVENT_DISPUTE ? dispute_path(object->id) : kinds[object->kind].path;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(ret_path, size, path, object->id);
#pragma GCC diagnostic pop
}

void object_act(struct object *object, const struct stripe_answer *answer)
{
	kinds[object->kind].act(object, answer);
}

/* ---- events ---- */

static void on_snapshot_applied(void *arg, const struct registry_result *result)
{
	(void)arg;
	if (result->err && result->err != -EBADMSG)
		log_warn("cannot apply an event's copy of a subscription, will fetch it: %s",
			 strerror(-result->err));
}

static void apply_snapshot(struct inbox *inbox, const struct event *event)
{
	const struct apply_source source = {
		.as_of_s = event->created_s,
		.is_snapshot = true,
		.failed_ms = event->created_s * 1000,
	};

	apply_subscription(inbox->context, event->snapshot, &source, on_snapshot_applied, NULL);
}

static void sort_checkout(struct inbox *inbox, const struct event *event)
{
	const char *id = event->snapshot ? id_at(event->snapshot, "subscription") : "";

	if (is_plain_id(id))
		inbox_add_bought(inbox, id, text_at(event->snapshot, "client_reference_id"),
				 event->id);
	else
		inbox_add(inbox, EVENT_CHECKOUT, event->object_id, event->id);
}

static void ignore(struct inbox *inbox, const struct event *event, const char *why)
{
	log_info("event %s (%s): %s", event->id, event->type, why);
	inbox->counters.ignored++;
	inbox_finish(inbox, event->id, STORE_TASK_DONE, why);
}

void inbox_sort(struct inbox *inbox, const struct event *event)
{
	if (event->account[0]) {
		ignore(inbox, event, "from a connected account");
		return;
	}
	if (event->kind == EVENT_UNKNOWN) {
		ignore(inbox, event, "tollgate does not use this type");
		return;
	}
	if (event->kind == EVENT_CATALOG) {
		if (inbox->listeners.on_catalog)
			inbox->listeners.on_catalog(inbox->listeners.arg);
		inbox_finish(inbox, event->id, STORE_TASK_DONE, "");
		return;
	}
	if (!is_plain_id(event->kind == EVENT_METER_ERROR ? event->id : event->object_id)) {
		log_error("event %s (%s): the object's ID is not valid", event->id, event->type);
		inbox_finish(inbox, event->id, STORE_TASK_FAILED, "the object's ID is not valid");
		return;
	}
	if (event->kind == EVENT_SUBSCRIPTION && event->snapshot)
		apply_snapshot(inbox, event);
	if (event->kind == EVENT_CHECKOUT)
		sort_checkout(inbox, event);
	else
		inbox_add(inbox, event->kind,
			  event->kind == EVENT_METER_ERROR ? event->id : event->object_id,
			  event->id);
}
