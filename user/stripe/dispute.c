/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dispute: see dispute.h.
 *
 * What counts is the state of the charge and its disputes now, not the event, so events may come
 * twice and in any order. The steps: the charge; its disputes, if it has any; the invoice that its
 * payment paid; the invoice's subscription; the account.
 *
 * Before API version 2025-03-31.basil a charge names its invoice. Since then, invoice payments lead
 * from the charge's payment intent to the invoice
 * (https://docs.stripe.com/changelog/basil/2025-03-31/add-support-for-multiple-partial-payments-on-invoices).
 */
#include "stripe/dispute.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "stripe/field.h"

#define ID_MAX 256

struct dispute {
	struct object *object; /* borrowed: it waits for object_done() */
	bool counts;	       /* against the customer */
	char charge[ID_MAX], payment_intent[ID_MAX];
	char invoice[ID_MAX]; /* "" if the charge does not name it */
	char why[64];	      /* for the log */
};

bool dispute_counts(const char *status)
{
	static const char *const words[] = {
		"needs_response",	 "under_review",	"lost",
		"appeal_needs_response", "appeal_under_review",
	};

	for (size_t i = 0; status && i < sizeof(words) / sizeof(words[0]); i++) {
		if (!strcmp(status, words[i]))
			return true;
	}
	return false;
}

static void end(struct dispute *d, int err, const char *note)
{
	struct object *object = d->object;

	free(d);
	object_done(object, err, note);
}

/* Ask for @path and continue with @next. */
static void ask(struct dispute *d, const char *path, stripe_done next)
{
	const struct stripe_call call = { .method = "GET", .path = path };

	stripe_api_call(d->object->inbox->context->api, &call, next, d);
}

/*
 * Whether the call succeeded. If not, the object is done with, or is fetched again if that may
 * help.
 */
static bool is_answered(struct dispute *d, const struct stripe_answer *answer)
{
	if (!answer->err)
		return true;
	log_warn("charge %s: %s", d->charge, answer->why);
	end(d, stripe_answer_may_pass(answer) ? -EIO : 0, "Stripe has no such object");
	return false;
}

/* ---- the account ---- */

static void on_set(void *arg, const struct registry_result *result)
{
	struct dispute *d = arg;
	const struct stripe_context *context = d->object->inbox->context;

	if (!result->err && result->is_changed && context->on_changed)
		context->on_changed(context->on_changed_arg, result->before, result->account);
	end(d, result->err == -ENOENT ? 0 : result->err,
	    !result->is_changed ? "nothing changed"
	    : d->counts		? "the account is suspended"
				: "the account is no longer suspended");
}

static void set_account(struct dispute *d, const char *subscription)
{
	const struct stripe_context *context = d->object->inbox->context;
	struct registry_change change = REGISTRY_NO_CHANGE;
	struct store_account account;
	uint32_t slot;

	if (!mirror_account_by_subscription(context->mirror, subscription, &account, &slot)) {
		end(d, 0, "the charge paid for no account");
		return;
	}
	if (d->counts)
		log_warn("charge %s, which paid for subscription %s, %s; on_dispute: %s", d->charge,
			 subscription, d->why,
			 context->settings->suspend_on_dispute ? "suspend" : "notify");
	change.dispute = d->charge;
	change.is_dispute_over = !d->counts || !context->settings->suspend_on_dispute;
	registry_account_set(context->registry, account.id, &change, on_set, d);
}

/* ---- from the charge to its subscription ---- */

static void on_invoice(void *arg, const struct stripe_answer *answer)
{
	struct dispute *d = arg;
	const char *subscription;

	if (!is_answered(d, answer))
		return;
	subscription = field_id(answer->body, "parent.subscription_details.subscription");
	if (!subscription)
		subscription = field_id(answer->body, "subscription");
	if (subscription && *subscription)
		set_account(d, subscription);
	else
		end(d, 0, "the charge paid for no subscription");
}

static void ask_invoice(struct dispute *d, const char *id)
{
	char path[ID_MAX + 64];

	snprintf(path, sizeof(path), "/v1/invoices/%.255s", id);
	ask(d, path, on_invoice);
}

static void on_payments(void *arg, const struct stripe_answer *answer)
{
	struct dispute *d = arg;
	const json_t *payment;
	const char *invoice;

	if (!is_answered(d, answer))
		return;
	payment = json_array_get(json_object_get(answer->body, "data"), 0);
	invoice = field_id(payment, "invoice");
	if (invoice && *invoice)
		ask_invoice(d, invoice);
	else
		end(d, 0, "the charge paid no invoice");
}

static void find_invoice(struct dispute *d)
{
	char path[ID_MAX + 128];

	if (d->invoice[0]) {
		ask_invoice(d, d->invoice);
		return;
	}
	if (!d->payment_intent[0]) {
		end(d, 0, "the charge paid no invoice");
		return;
	}
	snprintf(path, sizeof(path),
		 "/v1/invoice_payments?payment%%5Btype%%5D=payment_intent"
		 "&payment%%5Bpayment_intent%%5D=%s",
		 d->payment_intent);
	ask(d, path, on_payments);
}

/* ---- the charge and its disputes ---- */

static void on_disputes(void *arg, const struct stripe_answer *answer)
{
	struct dispute *d = arg;
	const json_t *dispute;
	size_t i;

	if (!is_answered(d, answer))
		return;
	json_array_foreach (json_object_get(answer->body, "data"), i, dispute) {
		const char *status = field_text(dispute, "status");

		if (d->counts || !dispute_counts(status))
			continue;
		d->counts = true;
		snprintf(d->why, sizeof(d->why), "is disputed (%.40s)", status);
	}
	find_invoice(d);
}

static void on_charge(struct dispute *d, const json_t *charge)
{
	char path[ID_MAX + 64];

	field_copy(field_id(charge, "payment_intent"), d->payment_intent,
		   sizeof(d->payment_intent));
	field_copy(field_id(charge, "invoice"), d->invoice, sizeof(d->invoice));
	d->counts = field_bool(charge, "refunded"); /* in full; a part is in amount_refunded */
	snprintf(d->why, sizeof(d->why), "was refunded in full");
	if (field_bool(charge, "disputed") && !d->counts) {
		snprintf(path, sizeof(path), "/v1/disputes?limit=100&charge=%s", d->charge);
		ask(d, path, on_disputes);
	} else {
		find_invoice(d);
	}
}

void dispute_act(struct object *object, const struct stripe_answer *answer)
{
	const char *kind = field_text(answer->body, "object");
	const json_t *charge = answer->body;
	struct dispute *d = calloc(1, sizeof(*d));

	if (!d) {
		object_done(object, -ENOMEM, "");
		return;
	}
	d->object = object;
	if (!kind || strcmp(kind, "charge") != 0)
		charge = field_at(answer->body, "charge");
	if (!field_copy(field_text(charge, "id"), d->charge, sizeof(d->charge)) || !d->charge[0])
		end(d, 0, "there is no charge");
	else
		on_charge(d, charge);
}
