/* SPDX-License-Identifier: BSD-2-Clause */
/* checkout: see checkout.h. */
#include "stripe/checkout.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "enforce/account.h"
#include "http/form.h"
#include "stripe/field.h"

#define MAX_FORM_BYTES (64 * 1024)

static int add_metadata(struct buf *form, const struct stripe_settings *settings)
{
	char name[128];
	int err = 0;

	for (unsigned i = 0; i < settings->metadata_count && !err; i++) {
		const char *word = settings->metadata[i], *value = strchr(word, '=');
		int len = (int)(value - word);

		snprintf(name, sizeof(name), "metadata[%.*s]", len, word);
		err = form_add(form, name, value + 1);
		snprintf(name, sizeof(name), "subscription_data[metadata][%.*s]", len, word);
		if (!err)
			err = form_add(form, name, value + 1);
	}
	return err;
}

/* Add a URL: @configured, or if that is NULL, the URL of the portal's @page. */
static int add_url(struct buf *form, const struct stripe_settings *settings, const char *name,
		   const char *configured, const char *page)
{
	struct buf made;
	int err = 0;

	buf_init(&made, 8192);
	if (!configured)
		err = buf_printf(&made, "%s%s%s%c", settings->app_url, settings->portal_path, page,
				 '\0');
	if (!err)
		err = form_add(form, name, configured ? configured : buf_head(&made));
	buf_done(&made);
	return err;
}

static int add_line(struct buf *form, const struct checkout_order *order, unsigned i)
{
	char name[64];
	int err;

	snprintf(name, sizeof(name), "line_items[%u][price]", i);
	err = form_add(form, name, order->lines[i].price);
	snprintf(name, sizeof(name), "line_items[%u][quantity]", i);
	if (!err && !order->lines[i].is_metered)
		err = form_add_u64(form, name, i ? 1 : order->quantity);
	snprintf(name, sizeof(name), "line_items[%u][adjustable_quantity][enabled]", i);
	if (err || i || !order->is_quantity_chosen || order->lines[i].is_metered)
		return err;
	err = form_add(form, name, "true");
	snprintf(name, sizeof(name), "line_items[%u][adjustable_quantity][minimum]", i);
	if (!err)
		err = form_add(form, name, "1");
	/* Stripe's default is 99, and it refuses an order of more. */
	snprintf(name, sizeof(name), "line_items[%u][adjustable_quantity][maximum]", i);
	return err ? err : form_add_u64(form, name, CHECKOUT_MAX_QUANTITY);
}

/* Add who buys, and for which account. */
static int add_customer(struct buf *form, const struct stripe_settings *settings,
			const struct checkout_order *order)
{
	char account[ACCOUNT_ID_SIZE];
	int err = 0;

	if (order->customer)
		err = form_add(form, "customer", order->customer);
	else if (order->email)
		err = form_add(form, "customer_email", order->email);
	/* Stripe taxes by the customer's address; "auto" saves the one entered at checkout. */
	if (!err && order->customer && settings->automatic_tax)
		err = form_add(form, "customer_update[address]", "auto");
	if (!err && order->reference)
		err = form_add(form, "client_reference_id", order->reference);
	if (err || !order->account)
		return err;
	account_format_id(order->account, account);
	return form_add(form, "subscription_data[metadata][" SUBSCRIPTION_ACCOUNT "]", account);
}

static int write_order(struct buf *form, const struct stripe_settings *settings,
		       const struct checkout_order *order)
{
	char name[48];
	int err = form_add(form, "mode", "subscription");

	for (unsigned i = 0; i < order->line_count && !err; i++)
		err = add_line(form, order, i);
	if (!err && order->trial_days)
		err = form_add_u64(form, "subscription_data[trial_period_days]", order->trial_days);
	if (!err && settings->allow_promotion_codes)
		err = form_add(form, "allow_promotion_codes", "true");
	if (!err && settings->automatic_tax)
		err = form_add(form, "automatic_tax[enabled]", "true");
	if (!err)
		err = add_url(form, settings, "success_url", settings->success_url,
			      "/dashboard?session_id={CHECKOUT_SESSION_ID}");
	if (!err)
		err = add_url(form, settings, "cancel_url", settings->cancel_url, "/pricing");
	if (!err)
		err = add_customer(form, settings, order);
	if (!err)
		err = add_metadata(form, settings);
	for (unsigned i = 0; i < settings->payment_method_type_count && !err; i++) {
		snprintf(name, sizeof(name), "payment_method_types[%u]", i);
		err = form_add(form, name, settings->payment_method_types[i]);
	}
	return err;
}

void checkout_create(const struct stripe_context *context, const struct checkout_order *order,
		     stripe_done done, void *arg)
{
	struct stripe_answer failure = { .type = "", .code = "", .message = "", .why = "" };
	struct buf form;

	buf_init(&form, MAX_FORM_BYTES);
	failure.err = write_order(&form, context->settings, order);
	if (failure.err)
		done(arg, &failure);
	else
		stripe_api_call(context->api,
				&(struct stripe_call){ .method = "POST",
						       .path = "/v1/checkout/sessions",
						       .form = buf_text(&form),
						       .is_interactive = true },
				done, arg);
	buf_done(&form);
}

bool checkout_id_is_plausible(struct text id)
{
	if (!text_starts(id, TEXT("cs_")) || id.len < 8 || id.len >= CHECKOUT_ID_MAX)
		return false;
	for (size_t i = 0; i < id.len; i++) {
		char c = id.ptr[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    c != '_')
			return false;
	}
	return true;
}

void checkout_fetch(const struct stripe_context *context, const char *id, stripe_done done,
		    void *arg)
{
	char path[CHECKOUT_ID_MAX + 128];

	snprintf(path, sizeof(path),
		 "/v1/checkout/sessions/%s?expand[0]=subscription.customer&expand[1]=customer"
		 "&expand[2]=invoice",
		 id);
	stripe_api_call(
		context->api,
		&(struct stripe_call){ .method = "GET", .path = path, .is_interactive = true },
		done, arg);
}

static bool is_word(const char *word, const char *wanted)
{
	return word && !strcmp(word, wanted);
}

static enum checkout_state read_state(const json_t *object, const json_t *subscription)
{
	const char *status = field_text(object, "status");
	const char *payment = field_text(object, "payment_status");

	if (!is_word(field_text(object, "object"), "checkout.session") ||
	    !is_word(field_text(object, "mode"), "subscription"))
		return CHECKOUT_OTHER;
	if (is_word(status, "open"))
		return CHECKOUT_OPEN;
	if (is_word(status, "expired"))
		return CHECKOUT_EXPIRED;
	if (!is_word(status, "complete") || !subscription)
		return CHECKOUT_OTHER;
	if (is_word(payment, "unpaid"))
		return CHECKOUT_UNPAID;
	return is_word(payment, "paid") || is_word(payment, "no_payment_required") ? CHECKOUT_PAID
										   : CHECKOUT_OTHER;
}

void checkout_read(const json_t *object, struct checkout_session *ret_session)
{
	const json_t *subscription = field_at(object, "subscription");

	if (!json_is_object(subscription))
		subscription = NULL;
	*ret_session = (struct checkout_session){
		.state = read_state(object, subscription),
		.created_s = field_u64(object, "created"),
		.paid_s = field_u64(object, "invoice.status_transitions.paid_at"),
		.id = field_text(object, "id"),
		.url = field_text(object, "url"),
		.reference = field_text(object, "client_reference_id"),
		.subscription = subscription,
	};
}

const char *checkout_reason(const struct stripe_answer *answer)
{
	const char *message = answer->message ? answer->message : "";

	if (answer->err == -EREMOTEIO && (answer->status == 401 || answer->status == 403))
		return "the payment service did not accept our credentials";
	/* Stripe's messages about API keys contain parts of the key. */
	if (answer->err == -EREMOTEIO && message[0] && !strstr(message, "sk_") &&
	    !strstr(message, "rk_"))
		return message;
	switch (answer->err) {
	case -EREMOTEIO:
		return "the payment service refused the request";
	case -ENOBUFS:
		return "too many requests are in progress";
	case -ENOMEM:
		return "out of memory";
	case -EBADMSG:
		return "the payment service sent an invalid answer";
	default:
		return "the payment service cannot be reached";
	}
}
