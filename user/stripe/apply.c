/* SPDX-License-Identifier: BSD-2-Clause */
/* apply: see apply.h. */
#include "stripe/apply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "enforce/account.h"

/* The caller's callback, kept until the registry has applied the change. */
struct application {
	const struct stripe_context *context; /* borrowed */
	registry_done done;
	void *arg;
};

static void on_applied(void *arg, const struct registry_result *result)
{
	struct application *a = arg;
	const struct stripe_context *context = a->context;

	if (!result->err && result->is_changed && context->on_changed)
		context->on_changed(context->on_changed_arg, result->before, result->account);
	a->done(a->arg, result);
	free(a);
}

/*
 * Whether the account @id belongs to another subscription than @s, has not ended, and uses the
 * meter of @tier.
 */
static bool has_meter(const struct stripe_context *context, uint64_t id,
		      const struct subscription *s, const struct tier *tier,
		      struct store_account *ret_other)
{
	const struct tier *other_tier;
	uint32_t slot;

	if (!mirror_account(context->mirror, id, ret_other, &slot) || !ret_other->subscription[0] ||
	    !strcmp(ret_other->subscription, s->id) || ret_other->status == STORE_CANCELED ||
	    ret_other->status == STORE_INCOMPLETE_EXPIRED)
		return false;
	other_tier = tiers_find(context->tiers, ret_other->tier);
	return other_tier && other_tier->meter && !strcmp(other_tier->meter, tier->meter);
}

/*
 * Whether another account of the customer already uses the meter of @tier: 1, 0 or -ENOMEM.
 *
 * Stripe counts meter events per customer, so if two subscriptions of a customer used the same
 * meter, it would bill the usage of each to both. Only the account that was first gets access.
 */
static int shares_meter(const struct stripe_context *context, const struct subscription *s,
			const struct tier *tier)
{
	struct store_account other;
	bool is_shared = false;
	unsigned count;
	uint64_t *ids;
	int err;

	if (!tier->meter || !s->customer[0])
		return 0;
	err = mirror_list_of_customer(context->mirror, s->customer, &ids, &count);
	if (err)
		return err;
	for (unsigned i = 0; i < count && !is_shared; i++)
		is_shared = has_meter(context, ids[i], s, tier, &other);
	free(ids);
	if (is_shared)
		log_error("subscription %s gets no access: customer %s already has subscription "
			  "%s, whose tier uses the same meter '%s'",
			  s->id, s->customer, other.subscription, tier->meter);
	return is_shared;
}

/*
 * The name of the subscription's tier, or "" if it gets none. NULL if out of memory. @ret_item as
 * of subscription_tier().
 */
static const char *choose_tier(const struct stripe_context *context, const struct subscription *s,
			       const struct subscription_item **ret_item)
{
	const struct tier *tier = subscription_tier(context->tiers, s, ret_item);
	int is_shared;

	if (!tier) {
		context->oddities->untiered++;
		log_warn("subscription %s gets no access: no tier has its price %s (lookup key "
			 "'%s', product %s)",
			 s->id, *ret_item ? (*ret_item)->price : "",
			 *ret_item ? (*ret_item)->lookup_key : "",
			 *ret_item ? (*ret_item)->product : "");
		return "";
	}
	is_shared = shares_meter(context, s, tier);
	return is_shared < 0 ? NULL : is_shared ? "" : tier->name;
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

/* Whether the subscription has ended and has no account. It gets none. */
static bool is_history(const struct stripe_context *context, const struct subscription *s)
{
	struct store_account account;
	uint32_t slot;

	return (s->status == STORE_CANCELED || s->status == STORE_INCOMPLETE_EXPIRED) &&
	       !mirror_account_by_subscription(context->mirror, s->id, &account, &slot);
}

static void fail(registry_done done, void *arg, int err)
{
	done(arg, &(struct registry_result){ .err = err });
}

void apply_subscription(const struct stripe_context *context, const json_t *object,
			const struct apply_source *source, registry_done done, void *arg)
{
	const struct subscription_item *item;
	const char *tier;
	struct registry_subscription wanted;
	struct application *a;
	struct subscription s;
	const char *why;

	if (subscription_parse(object, &s, &why)) {
		log_error("cannot read a subscription from Stripe: %s", why);
		fail(done, arg, -EBADMSG);
		return;
	}
	if (is_history(context, &s)) {
		done(arg, &(struct registry_result){ 0 });
		return;
	}
	tier = choose_tier(context, &s, &item);
	a = tier ? malloc(sizeof(*a)) : NULL;
	if (!a) {
		fail(done, arg, -ENOMEM);
		return;
	}
	*a = (struct application){ context, done, arg };
	wanted = (struct registry_subscription){
		.on_dropped = free,
		.subscription = s.id,
		.customer = s.customer,
		.email = s.email[0] ? s.email : NULL,
		.tier = tier,
		.price = item ? item->price : "",
		.label = s.email,
		.status = choose_status(context, &s),
		.past_due_since_ms = source->failed_ms,
		.period_start_s =
			item && item->period_end_s ? item->period_start_s : s.period_start_s,
		.period_end_s = item && item->period_end_s ? item->period_end_s : s.period_end_s,
		.trial_end_s = s.trial_end_s,
		.cancel_at_s = s.cancel_at_s,
		.as_of_s = source->as_of_s,
		.is_snapshot = source->is_snapshot,
	};
	registry_subscription_apply(context->registry, &wanted, on_applied, a);
}
