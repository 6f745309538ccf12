/* SPDX-License-Identifier: BSD-2-Clause */
/* apply: see apply.h. */
#include "stripe/apply.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "enforce/account.h"
#include "stripe/api.h"

/* A change until the registry has made it. */
struct application {
	const struct stripe_context *context; /* borrowed */
	registry_done done;
	void *arg;
	char tier_name[STORE_NAME_MAX];
	char subscription[STORE_NAME_MAX], customer[STORE_NAME_MAX];
};

static void on_applied(void *arg, const struct registry_result *result)
{
	struct application *a = arg;
	const struct stripe_context *context = a->context;

	if (!result->err && result->account && result->is_changed && !a->tier_name[0] &&
	    result->before && result->before->tier[0])
		log_warn("subscription %s loses its access: no tier has its price %s",
			 result->account->subscription, result->account->price);
	if (!result->err && result->is_changed && context->on_changed)
		context->on_changed(context->on_changed_arg, result->before, result->account);
	a->done(a->arg, result);
	free(a);
}

/*
 * Whether the account @id, of another subscription, still needs the meter of @tier for itself: its
 * tier has the same meter, and it is entitled or has usage that is not billed yet.
 */
static bool keeps_meter(const struct application *a, uint64_t id, const struct tier *tier,
			struct store_account *ret_other)
{
	const struct stripe_context *context = a->context;
	const struct tier *other_tier;
	uint32_t slot;

	if (!mirror_account(context->mirror, id, ret_other, &slot) || !ret_other->subscription[0])
		return false;
	other_tier = tiers_find(context->tiers, ret_other->tier);
	if (!other_tier || !other_tier->meter || strcmp(other_tier->meter, tier->meter) != 0)
		return false;
	return account_is_entitled(ret_other, mirror_mode(context->mirror), other_tier->grace_ms,
				   clock_steady_ms()) ||
	       (context->has_unbilled && context->has_unbilled(context->on_changed_arg, id));
}

/*
 * Stripe counts meter events per customer, so if two subscriptions of a customer used the same
 * meter, it would bill the usage of each to both. Only the account that was first gets access.
 */
static bool withholds_tier(void *arg, uint64_t account)
{
	const struct application *a = arg;
	const struct tier *tier = tiers_find(a->context->tiers, a->tier_name);
	struct store_account other, own;
	bool is_kept = false, is_known;
	unsigned count;
	uint64_t *ids;
	uint32_t slot;

	if (!tier || !tier->meter || !a->customer[0])
		return false;
	if (mirror_list_of_customer(a->context->mirror, a->customer, &ids, &count))
		return true; /* out of memory: the next reconciliation tries again */
	for (unsigned i = 0; i < count && !is_kept; i++)
		is_kept = ids[i] != account && keeps_meter(a, ids[i], tier, &other);
	free(ids);
	/* Log it once. */
	is_known =
		mirror_account_by_subscription(a->context->mirror, a->subscription, &own, &slot) &&
		!own.tier[0];
	if (is_kept && !is_known)
		log_error("subscription %s gets no access for now: customer %s already has "
			  "subscription %s, whose tier uses the same meter '%s'",
			  a->subscription, a->customer, other.subscription, tier->meter);
	return is_kept;
}

static int choose_status(const struct stripe_context *context, const struct subscription *s)
{
	if (s->status < 0) {
		context->oddities->unknown_statuses++;
		log_error("subscription %s: unknown status '%s'; its access does not change", s->id,
			  s->status_word);
	}
	if (s->is_collection_paused && context->settings->refuse_when_paused &&
	    (s->status == STORE_ACTIVE || s->status == STORE_TRIALING))
		return STORE_PAUSED;
	return s->status;
}

/* Since when payments have failed, in milliseconds; 0: unknown. */
static uint64_t failing_since_ms(const struct subscription *s, const struct apply_source *source)
{
	return s->owed_since_s ? s->owed_since_s * 1000 : source->failed_ms;
}

/* Set the period of the metered item, if it is not that of the item that selected the tier. */
static void choose_usage_period(const struct stripe_context *context, const struct subscription *s,
				const struct tier *tier, struct registry_subscription *wanted)
{
	const struct subscription_item *item;
	const char *meter_id = NULL;

	if (!tier || !tier->meter)
		return;
	if (context->meter_id)
		meter_id = context->meter_id(context->on_changed_arg, tier->meter);
	item = subscription_metered_item(s, meter_id);
	if (!item || (item->period_start_s == wanted->period_start_s &&
		      item->period_end_s == wanted->period_end_s))
		return;
	wanted->usage_start_s = item->period_start_s;
	wanted->usage_end_s = item->period_end_s;
}

static void fail(registry_done done, void *arg, int err)
{
	done(arg, &(struct registry_result){ .err = err });
}

static void apply(const struct stripe_context *context, const struct subscription *s,
		  const struct apply_source *source, registry_done done, void *arg)
{
	const struct subscription_item *item;
	const struct tier *tier;
	struct registry_subscription wanted;
	struct application *a;

	tier = subscription_tier(context->tiers, s, &item);
	context->oddities->untiered += !tier && !account_status_is_final(s->status);
	a = malloc(sizeof(*a));
	if (!a) {
		fail(done, arg, -ENOMEM);
		return;
	}
	*a = (struct application){ .context = context, .done = done, .arg = arg };
	snprintf(a->tier_name, sizeof(a->tier_name), "%s", tier ? tier->name : "");
	snprintf(a->subscription, sizeof(a->subscription), "%s", s->id);
	snprintf(a->customer, sizeof(a->customer), "%s", s->customer);
	wanted = (struct registry_subscription){
		.on_dropped = free,
		.subscription = s->id,
		.customer = s->customer,
		.email = s->email[0] ? s->email : NULL,
		.tier = a->tier_name,
		.withholds_tier = withholds_tier,
		.price = item ? item->price : "",
		.label = s->email,
		.reference = source->reference,
		.metadata = s->metadata,
		.seats = item && item->quantity ? item->quantity : 1,
		.account = s->account,
		.status = choose_status(context, s),
		.past_due_since_ms = failing_since_ms(s, source),
		.mode = s->is_live ? STORE_MODE_LIVE : STORE_MODE_TEST,
		.period_start_s =
			item && item->period_end_s ? item->period_start_s : s->period_start_s,
		.period_end_s = item && item->period_end_s ? item->period_end_s : s->period_end_s,
		.trial_end_s = s->trial_end_s,
		.cancel_at_s = s->cancel_at_s,
		.as_of_s = source->as_of_s,
		.now_s = stripe_api_now_s(context->api),
		.is_snapshot = source->is_snapshot,
		.is_listed = source->is_listed,
	};
	choose_usage_period(context, s, tier, &wanted);
	registry_subscription_apply(context->registry, &wanted, on_applied, a);
}

/* ---- questions to Stripe before a subscription is applied ---- */

/* A subscription that waits until Stripe has answered what is needed to apply it. */
struct first_sight {
	const struct stripe_context *context; /* borrowed */
	struct apply_source source;
	char reference[STORE_REFERENCE_MAX]; /* `source` points to it */
	struct subscription s;
	registry_done done;
	void *arg;
	bool has_asked_invoices, has_asked_ended;
	unsigned pending; /* ended subscriptions that are being applied */
};

static void apply_now_or_ask(struct first_sight *sight);

/*
 * Whether the question failed, so that the subscription cannot be applied now and was freed. If
 * Stripe refuses to answer, perhaps because the key lacks the permission, the subscription is
 * applied without the answer; any other failure is temporary.
 */
static bool has_failed(struct first_sight *sight, const struct stripe_answer *answer,
		       const char *question)
{
	bool is_refused = answer->err == -EREMOTEIO && answer->status >= 400 &&
			  answer->status < 500 && answer->status != 429;

	if (!answer->err)
		return false;
	log_warn("subscription %s: cannot ask Stripe %s%s: %s", sight->s.id, question,
		 is_refused ? "" : ", will retry", answer->why);
	if (is_refused)
		return false;
	fail(sight->done, sight->arg, -EIO);
	free(sight);
	return true;
}

/*
 * Whether the subscription is past due and it is unknown since when. The latest invoice does not
 * tell, because it may be newer than the first failure.
 */
static bool is_seen_late(const struct first_sight *sight)
{
	const struct stripe_context *context = sight->context;
	const struct subscription_item *item;
	struct store_account account;
	uint32_t slot;

	return sight->s.status == STORE_PAST_DUE && !sight->source.is_snapshot &&
	       subscription_tier(context->tiers, &sight->s, &item) &&
	       !(mirror_account_by_subscription(context->mirror, sight->s.id, &account, &slot) &&
		 account.past_due_ms);
}

static void on_invoices(void *arg, const struct stripe_answer *answer)
{
	struct first_sight *sight = arg;
	const json_t *invoice, *data = json_object_get(answer->body, "data");
	size_t i;

	if (has_failed(sight, answer, "since when it is past due, so its grace may be too long"))
		return;
	json_array_foreach (data, i, invoice) {
		uint64_t since_s = subscription_owed_since(invoice);

		if (since_s && (!sight->s.owed_since_s || since_s < sight->s.owed_since_s))
			sight->s.owed_since_s = since_s;
	}
	apply_now_or_ask(sight);
}

/* Whether it has no account yet, while its customer has one that is not known to have ended. */
static bool is_further(const struct first_sight *sight)
{
	const struct stripe_context *context = sight->context;
	const struct subscription_item *item;
	struct store_account account;
	bool is_found = false;
	uint64_t *ids;
	unsigned count;
	uint32_t slot;

	if (sight->source.is_snapshot ||
	    mirror_account_by_subscription(context->mirror, sight->s.id, &account, &slot) ||
	    account_status_is_final(sight->s.status) ||
	    !subscription_tier(context->tiers, &sight->s, &item) ||
	    mirror_list_of_customer(context->mirror, sight->s.customer, &ids, &count))
		return false;
	for (unsigned i = 0; i < count && !is_found; i++)
		is_found = mirror_account(context->mirror, ids[i], &account, &slot) &&
			   account.subscription[0] && !account_status_is_final(account.status);
	free(ids);
	return is_found;
}

static void on_ended_applied(void *arg, const struct registry_result *result)
{
	struct first_sight *sight = arg;

	if (result && result->err)
		log_warn("subscription %s: cannot apply the end of the customer's former one: %s",
			 sight->s.id, strerror(-result->err));
	if (--sight->pending == 0)
		apply_now_or_ask(sight);
}

static void on_ended(void *arg, const struct stripe_answer *answer)
{
	struct first_sight *sight = arg;
	const json_t *object, *data = json_object_get(answer->body, "data");
	const struct apply_source source = { .as_of_s = answer->date_s };
	struct subscription s;
	const char *why;
	size_t i;

	if (has_failed(sight, answer, "which subscriptions of its customer have ended"))
		return;
	sight->pending = 1;
	json_array_foreach (data, i, object) {
		if (subscription_parse(object, &s, &why))
			continue;
		sight->pending++;
		apply(sight->context, &s, &source, on_ended_applied, sight);
	}
	on_ended_applied(sight, NULL);
}

static void ask(struct first_sight *sight, const char *path, const char *id, stripe_done done)
{
	char whole[STORE_NAME_MAX + 64];

	snprintf(whole, sizeof(whole), "%s%s", path, id);
	stripe_api_call(sight->context->api,
			&(struct stripe_call){ .method = "GET", .path = whole }, done, sight);
}

static void apply_now_or_ask(struct first_sight *sight)
{
	if (!sight->has_asked_invoices && is_seen_late(sight)) {
		sight->has_asked_invoices = true;
		ask(sight, "/v1/invoices?status=open&limit=100&subscription=", sight->s.id,
		    on_invoices);
	} else if (!sight->has_asked_ended && is_further(sight)) {
		sight->has_asked_ended = true;
		ask(sight, "/v1/subscriptions?status=ended&limit=100&customer=", sight->s.customer,
		    on_ended);
	} else {
		apply(sight->context, &sight->s, &sight->source, sight->done, sight->arg);
		free(sight);
	}
}

void apply_subscription(const struct stripe_context *context, const json_t *object,
			const struct apply_source *source, registry_done done, void *arg)
{
	struct first_sight *sight = calloc(1, sizeof(*sight));
	const char *why;

	if (!sight) {
		fail(done, arg, -ENOMEM);
		return;
	}
	if (subscription_parse(object, &sight->s, &why)) {
		log_error("cannot read a subscription from Stripe: %s", why);
		fail(done, arg, -EBADMSG);
		free(sight);
		return;
	}
	sight->context = context;
	sight->source = *source;
	sight->done = done;
	sight->arg = arg;
	if (source->reference) {
		snprintf(sight->reference, sizeof(sight->reference), "%s", source->reference);
		sight->source.reference = sight->reference;
	}
	apply_now_or_ask(sight);
}
