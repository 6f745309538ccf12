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
#include "enforce/mirror.h"
#include "stripe/apply.h"
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
	const struct apply_source source = { .as_of_s = answer->date_s };

	apply_subscription(object->inbox->context, answer->body, &source, on_applied, object);
}

/* ---- objects that lead to a subscription ---- */

/* Move the object's events to the subscription @id. */
static void hand_on(struct object *object, const char *id)
{
	struct inbox *inbox = object->inbox;

	for (size_t i = 0; i < object->covered.count; i++) {
		inbox_add(inbox, EVENT_SUBSCRIPTION, id, object->covered.ids[i]);
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
		hand_on(object, id);
	else
		object_done(object, 0, "the invoice has no subscription");
}

static void act_checkout(struct object *object, const struct stripe_answer *answer)
{
	const char *id = id_at(answer->body, "subscription");

	if (id[0])
		hand_on(object, id);
	else
		object_done(object, 0, "the checkout session has no subscription yet");
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
	begin_steps(object);
	object->pending++;
	registry_account_entitle(context->registry, object->id, features, on_step, object);
	end_steps(object);
}

/* ---- disputes ---- */

/* A charge was disputed or refunded; on_dispute decides whether that suspends access. */
static void act_dispute(struct object *object, const struct stripe_answer *answer)
{
	const struct stripe_context *context = object->inbox->context;
	const struct registry_change hold = { .status = -1, .is_held = 1 };
	const json_t *charge = json_object_get(answer->body, "charge");
	const char *customer = id_at(json_is_object(charge) ? charge : answer->body, "customer");
	uint64_t *ids = NULL;
	unsigned count = 0;
	int err = 0;

	if (customer[0])
		log_warn("customer %s: %s is disputed or refunded", customer, object->id);
	if (customer[0] && context->settings->suspend_on_dispute)
		err = mirror_list_of_customer(context->mirror, customer, &ids, &count);
	if (err) {
		object_done(object, err, "");
		return;
	}
	begin_steps(object);
	for (unsigned i = 0; i < count; i++) {
		object->pending++;
		registry_account_set(context->registry, ids[i], &hold, on_step, object);
	}
	free(ids);
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
	[EVENT_DISPUTE] = { "/v1/charges/%s", act_dispute },
};

#define DISPUTE_PATH "/v1/disputes/%s?expand%%5B0%%5D=charge"

void object_path(const struct object *object, char *ret_path, size_t size)
{
	const char *path = kinds[object->kind].path;

	if (object->kind == EVENT_DISPUTE && strncmp(object->id, "ch_", 3) &&
	    strncmp(object->id, "py_", 3))
		path = DISPUTE_PATH;
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

/* Whether @id needs no escaping in a URL. All of Stripe's IDs are so. */
static bool is_plain_id(const char *id)
{
	return id[0] && id[strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789_-")] == '\0';
}

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
		inbox_add(inbox, EVENT_SUBSCRIPTION, id, event->id);
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
	else if (event->kind == EVENT_DISPUTE && strstr(event->type, "charge.dispute.closed"))
		inbox_finish(inbox, event->id, STORE_TASK_DONE, "the end of a dispute is ignored");
	else
		inbox_add(inbox, event->kind,
			  event->kind == EVENT_METER_ERROR ? event->id : event->object_id,
			  event->id);
}
