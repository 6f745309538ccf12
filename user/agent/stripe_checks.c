/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stripe_checks: whether what the configuration names exists at Stripe and is usable: the key, the
 * prices and meters of the tiers, and the customer portal.
 */
#include <stdio.h>
#include <string.h>

#include "agent/stripe_command.h"
#include "base/buf.h"
#include "http/form.h"
#include "stripe/field.h"
#include "stripe/meter.h"

#define MAX_PATH  1024
#define WHERE_MAX 128

/* ---- the key ---- */

/* Whether the key's prefix says live mode; false in *ret_known for a key without such a prefix. */
static bool key_is_live(const char *key, bool *ret_known)
{
	bool is_live = !strncmp(key, "sk_live_", 8) || !strncmp(key, "rk_live_", 8);

	*ret_known = is_live || !strncmp(key, "sk_test_", 8) || !strncmp(key, "rk_test_", 8);
	return is_live;
}

void stripe_check_key(struct stripe_session *s)
{
	const struct stripe_settings *settings = &s->config->stripe;
	bool is_known, is_live = key_is_live(settings->secret_key, &is_known);

	if (!strncmp(settings->secret_key, "pk_", 3))
		session_problem(s, "key", "stripe.secret_key",
				"use the secret key, which begins with sk_ or rk_",
				"is a publishable key");
	else if (is_known && is_live != (stripe_settings_mode(settings) == STORE_MODE_LIVE))
		session_problem(s, "mode", "stripe.livemode",
				"set it to auto, or use a key of the other mode",
				"is %s, but the key is a %s-mode key, so every event is refused",
				is_live ? "false" : "true", is_live ? "live" : "test");
}

/* ---- prices ---- */

/* GET @start and the encoded @name. */
static json_t *get_named(struct stripe_session *s, const char *start, const char *name)
{
	struct buf path;
	json_t *answer = NULL;

	buf_init(&path, MAX_PATH);
	if (!buf_append_str(&path, start) && !form_encode(&path, name) && !buf_append(&path, "", 1))
		answer = session_get(s, buf_head(&path), "prices");
	buf_done(&path);
	return answer;
}

/* The first object of a list, owned by the caller. Takes over @list, which may be NULL. */
static json_t *first_of(json_t *list)
{
	json_t *first = json_incref(json_array_get(json_object_get(list, "data"), 0));

	json_decref(list);
	return first;
}

/*
 * The object that a tier names @name: a price by its ID or its lookup key, or a product. NULL if
 * there is none. An archived price gives up no lookup key, so active prices are asked for first.
 */
static json_t *find_named(struct stripe_session *s, const char *name)
{
	static const char *const lists[] = {
		"/v1/prices?active=true&limit=1&lookup_keys[0]=",
		"/v1/prices?limit=1&lookup_keys[0]=",
	};
	json_t *found = NULL;

	if (strncmp(name, "prod_", 5) != 0)
		found = get_named(s, "/v1/prices/", name);
	for (size_t i = 0; !found && !s->is_lost && i < 2; i++)
		found = first_of(get_named(s, lists[i], name));
	if (!found && !s->is_lost)
		found = get_named(s, "/v1/products/", name);
	return found;
}

/* The event name of the meter with this ID; NULL if it is not among @meters. */
static const char *meter_name(const json_t *meters, const char *id)
{
	const json_t *meter;
	size_t i;

	json_array_foreach (meters, i, meter) {
		const char *its_id = field_text(meter, "id");

		if (id && its_id && !strcmp(its_id, id))
			return field_text(meter, "event_name");
	}
	return NULL;
}

static void check_price(struct stripe_session *s, const struct tier *tier, const char *where,
			const char *name, const json_t *price, const json_t *meters)
{
	const char *usage = field_text(price, "recurring.usage_type"), *meter;

	if (!field_bool(price, "active")) {
		session_problem(s, "price", where, "activate it, or name another price in 'prices'",
				"price '%s' is archived at Stripe", name);
		return;
	}
	if (!json_is_object(field_at(price, "recurring"))) {
		session_problem(s, "price", where, "name a recurring price in 'prices'",
				"price '%s' is a one-time price, which cannot be subscribed to",
				name);
		return;
	}
	if (!usage || strcmp(usage, "metered") != 0 || !meters)
		return;
	meter = meter_name(meters, field_id(price, "recurring.meter"));
	if (!tier->meter)
		session_problem(
			s, "price", where, "add the option 'meter' to the tier",
			"price '%s' is metered%s%s, but the tier has no meter, so its usage "
			"is not billed",
			name, meter ? " by " : "", meter ? meter : "");
	else if (meter && strcmp(meter, tier->meter) != 0)
		session_problem(s, "price", where, "name the same meter in both",
				"price '%s' bills the meter '%s', but usage is reported to '%s'",
				name, meter, tier->meter);
}

static void check_product(struct stripe_session *s, const struct tier *tier, const char *where,
			  const char *name, const json_t *product, const json_t *meters)
{
	json_t *price;

	if (!field_bool(product, "active")) {
		session_problem(s, "price", where, "activate it, or name another one in 'prices'",
				"product '%s' is archived at Stripe", name);
		return;
	}
	price = first_of(
		get_named(s, "/v1/prices?active=true&type=recurring&limit=1&product=", name));
	if (price)
		check_price(s, tier, where, name, price, meters);
	else if (!s->is_lost)
		session_problem(s, "price", where, "add a recurring price to it at Stripe",
				"product '%s' has no active recurring price", name);
	json_decref(price);
}

static void check_name(struct stripe_session *s, const struct tier *tier, const char *name,
		       const json_t *meters)
{
	char where[WHERE_MAX];
	json_t *found = find_named(s, name);
	const char *type = field_text(found, "object");

	snprintf(where, sizeof(where), "tier %s", tier->name);
	if (type && !strcmp(type, "price"))
		check_price(s, tier, where, name, found, meters);
	else if (type)
		check_product(s, tier, where, name, found, meters);
	else if (!s->is_lost)
		session_problem(s, "price", where,
				"create it in this mode, or correct the option 'prices'",
				"Stripe has no price, lookup key or product '%s'", name);
	json_decref(found);
}

/* ---- meters ---- */

static const json_t *find_meter(const json_t *meters, const char *event_name)
{
	const json_t *meter, *found = NULL;
	size_t i;

	json_array_foreach (meters, i, meter) {
		const char *name = field_text(meter, "event_name");
		const char *status = field_text(meter, "status");

		if (!name || strcmp(name, event_name) != 0)
			continue;
		if (status && !strcmp(status, "active"))
			return meter;
		found = meter;
	}
	return found;
}

/* tollgate reports one event per account and window, whose value only a sum bills in full. */
static void check_meter(struct stripe_session *s, const struct tier *tier, const json_t *meters)
{
	const json_t *meter = find_meter(meters, tier->meter);
	const char *status = field_text(meter, "status");
	char where[WHERE_MAX], fault[METER_FAULT_MAX];

	snprintf(where, sizeof(where), "tier %s", tier->name);
	if (!meter) {
		session_problem(s, "meter", where,
				"create it with the formula 'sum', or correct the option 'meter'",
				"Stripe has no meter with the event name '%s'", tier->meter);
		return;
	}
	if (!status || strcmp(status, "active") != 0)
		session_problem(s, "meter", where, "reactivate it at Stripe",
				"the meter '%s' is not active", tier->meter);
	meter_fault(meter, fault);
	if (fault[0])
		session_problem(s, "meter", where, METER_REMEDY,
				"the meter '%s' %s, which would bill the wrong amount", tier->meter,
				fault);
}

static bool is_first_with_meter(const struct tiers *tiers, unsigned index)
{
	for (unsigned i = 0; i < index; i++) {
		if (tiers->list[i].meter && !strcmp(tiers->list[i].meter, tiers->list[index].meter))
			return false;
	}
	return true;
}

bool stripe_uses_meters(const struct config *config)
{
	for (unsigned i = 0; i < config->tiers.count; i++) {
		if (config->tiers.list[i].meter && config->stripe.report == STRIPE_METER_EVENTS)
			return true;
	}
	return false;
}

void stripe_check_tiers(struct stripe_session *s)
{
	const struct tiers *tiers = &s->config->tiers;
	bool has_meters = s->config->stripe.report == STRIPE_METER_EVENTS;
	json_t *meters = NULL;

	if (has_meters)
		meters = session_list(s, "/v1/billing/meters?limit=100", "billing meters");
	for (unsigned i = 0; i < tiers->count && !s->is_lost; i++) {
		const struct tier *tier = &tiers->list[i];

		for (unsigned k = 0; k < tier->price_count && !s->is_lost; k++)
			check_name(s, tier, tier->prices[k], meters);
		if (tier->meter && meters && is_first_with_meter(tiers, i))
			check_meter(s, tier, meters);
	}
	json_decref(meters);
}

/* ---- the customer portal ---- */

#define PORTAL	"customer portal"
#define CHANGES "features.subscription_update"

static const char *portal_remedy(const struct stripe_session *s)
{
	if (stripe_settings_mode(&s->config->stripe) == STORE_MODE_LIVE)
		return "save its settings at https://dashboard.stripe.com/settings/billing/portal";
	return "save its settings at https://dashboard.stripe.com/test/settings/billing/portal";
}

/* A price of a tier whose subscribers the portal can let switch. */
struct plan {
	char where[WHERE_MAX];
	char price[STORE_NAME_MAX]; /* its ID at Stripe */
	bool is_per_seat;
};

/*
 * Find what the pricing page sells as @name. Returns false if there is no such price, or if it is
 * metered: the portal cannot change such subscriptions.
 */
static bool find_plan(struct stripe_session *s, const struct tier *tier, const char *name,
		      struct plan *ret_plan)
{
	json_t *found = find_named(s, name), *price = found;
	const char *type = field_text(found, "object"), *usage, *id;

	if (type && !strcmp(type, "product")) {
		id = field_id(found, "default_price");
		price = id ? get_named(s, "/v1/prices/", id) : NULL;
		json_decref(found);
	}
	usage = field_text(price, "recurring.usage_type");
	id = field_text(price, "id");
	*ret_plan = (struct plan){ .is_per_seat = tier->is_per_seat };
	snprintf(ret_plan->where, sizeof(ret_plan->where), "tier %s", tier->name);
	if (id && usage && !strcmp(usage, "licensed") && field_bool(price, "active"))
		snprintf(ret_plan->price, sizeof(ret_plan->price), "%s", id);
	json_decref(price);
	return ret_plan->price[0];
}

static bool has_text(const json_t *list, const char *text)
{
	const json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		if (json_is_string(item) && !strcmp(json_string_value(item), text))
			return true;
	}
	return false;
}

/* Whether one of @products, in the portal's configuration, has this price. */
static bool offers(const json_t *products, const char *price)
{
	const json_t *product;
	size_t i;

	json_array_foreach (products, i, product) {
		if (has_text(json_object_get(product, "prices"), price))
			return true;
	}
	return false;
}

static void check_plan(struct stripe_session *s, const struct plan *plan, const json_t *portal)
{
	const json_t *allowed = field_at(portal, CHANGES ".default_allowed_updates");

	if (!offers(field_at(portal, CHANGES ".products"), plan->price))
		session_note(s, "portal", plan->where, portal_remedy(s),
			     "customers cannot switch to price '%s', because the customer portal "
			     "does not offer it",
			     plan->price);
	if (plan->is_per_seat && !has_text(allowed, "quantity"))
		session_note(s, "portal", plan->where, portal_remedy(s),
			     "customers cannot change how many seats they have, because the "
			     "customer portal does not let them change the quantity");
}

/* Operators may want to change plans themselves, so these findings are only notes. */
static void check_plan_changes(struct stripe_session *s, const json_t *portal)
{
	const struct tiers *tiers = &s->config->tiers;
	bool is_on = field_bool(portal, CHANGES ".enabled") &&
		     has_text(field_at(portal, CHANGES ".default_allowed_updates"), "price");
	unsigned count = 0;
	struct plan plan;

	for (unsigned i = 0; i < tiers->count; i++) {
		const struct tier *tier = &tiers->list[i];

		for (unsigned k = 0; k < tier->price_count && !tier->extra_price_count; k++) {
			if (s->is_lost || !find_plan(s, tier, tier->prices[k], &plan))
				continue;
			count++;
			if (is_on)
				check_plan(s, &plan, portal);
		}
	}
	if (!is_on && count > 1 && !s->is_lost)
		session_note(s, "portal", PORTAL, portal_remedy(s),
			     "does not allow customers to switch plans, so the pricing page offers "
			     "them a change that fails");
}

void stripe_check_portal(struct stripe_session *s)
{
	json_t *list, *portal;

	/* Only the dashboard and the pricing page lead to the portal. */
	if (!s->config->stripe.app_url || s->is_lost)
		return;
	/* Stripe leaves out the products unless they are expanded. */
	list = session_get(s,
			   "/v1/billing_portal/configurations?active=true&is_default=true&limit=1"
			   "&expand[0]=data." CHANGES ".products",
			   "customer portal configurations");
	if (!list)
		return;
	portal = first_of(list);
	if (portal)
		check_plan_changes(s, portal);
	else
		session_problem(s, "portal", PORTAL, portal_remedy(s),
				"has no default configuration, so customers cannot manage their "
				"subscription");
	json_decref(portal);
}
