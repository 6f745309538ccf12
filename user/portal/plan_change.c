/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * plan_change: a customer who has a subscription picks another plan.
 *
 * Stripe's billing portal makes the change: it shows what the change costs, collects the payment
 * and prorates. Its configuration decides which prices customers may change to. If it does not
 * offer the one that was picked, the customer chooses on Stripe's page. The billing portal cannot
 * change a subscription with several prices or a metered one.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "enforce/account.h"
#include "http/form.h"
#include "portal/portal_private.h"
#include "stripe/field.h"

#define NOT_CHANGEABLE                                                                         \
	"Your plan can't be changed online. Please contact the provider of this API, who can " \
	"change it for you."

/*
 * Stripe's two pages: confirm the change to the chosen price, or choose among the offered prices.
 */
enum { WAY_CONFIRM, WAY_CHOOSE, WAY_COUNT };

static void ask(struct visit *visit);

static int add_flow(struct buf *form, const struct order *order)
{
	const struct checkout_order *checkout = &order->checkout;
	const char *prefix =
		order->way == WAY_CONFIRM ? "subscription_update_confirm" : "subscription_update";
	char name[96];
	int err = form_add(form, "flow_data[type]", prefix);

	snprintf(name, sizeof(name), "flow_data[%s][subscription]", prefix);
	if (!err)
		err = form_add(form, name, order->subscription);
	if (err || order->way != WAY_CONFIRM)
		return err;
	err = form_add(form, "flow_data[subscription_update_confirm][items][0][id]", order->item);
	if (!err)
		err = form_add(form, "flow_data[subscription_update_confirm][items][0][price]",
			       checkout->lines[0].price);
	/* Needed even for a flat plan: the customer may come from one with several seats. */
	if (!err && !checkout->lines[0].is_metered)
		err = form_add_u64(form,
				   "flow_data[subscription_update_confirm][items][0][quantity]",
				   checkout->quantity);
	return err;
}

static int add_dashboard(struct buf *form, const char *name, const struct stripe_settings *settings,
			 const char *query)
{
	struct buf url;
	int err;

	buf_init(&url, 8192);
	err = buf_printf(&url, "%s%s/dashboard%s%c", settings->app_url, settings->portal_path,
			 query, '\0');
	if (!err)
		err = form_add(form, name, buf_head(&url));
	buf_done(&url);
	return err;
}

static int write_form(struct buf *form, const struct visit *visit)
{
	const struct stripe_settings *settings = visit->portal->context->settings;
	const struct order *order = visit->order;
	int err = form_add(form, "customer", order->customer);

	/* Where customers return to without a change, and with one. */
	if (!err)
		err = add_dashboard(form, "return_url", settings, "");
	if (!err)
		err = add_flow(form, order);
	if (!err)
		err = form_add(form, "flow_data[after_completion][type]", "redirect");
	if (!err)
		err = add_dashboard(form, "flow_data[after_completion][redirect][return_url]",
				    settings, "?done=plan-changed");
	return err;
}

static void on_page(void *arg, const struct stripe_answer *answer)
{
	struct visit *visit = arg;
	struct order *order = visit->order;
	const char *url = answer->err ? NULL : field_text(answer->body, "url");

	if (url && visit->wants_json) {
		visit_answer_json(visit, 200, TEXT(""), json_pack("{s:s}", "url", url));
		return;
	}
	if (url) {
		visit_leave(visit, PORTAL_BILLING, url, TEXT(""));
		return;
	}
	log_warn("cannot open Stripe's page to change subscription %s: %s", order->subscription,
		 answer->err ? answer->why : "the answer has no URL");
	if (answer->err != -EREMOTEIO || answer->status != 400) {
		visit_refuse(
			visit, 502,
			"We couldn't open Stripe's page, and your plan has not changed. Please try "
			"again in a minute.");
	} else if (++order->way < WAY_COUNT) {
		ask(visit);
	} else {
		log_warn("customers cannot change their plan: check that the billing portal's "
			 "configuration at Stripe allows it, with the prices of the tiers; "
			 "subscriptions with several prices or a metered one must be changed in "
			 "Stripe's dashboard");
		visit_refuse(visit, 409, NOT_CHANGEABLE);
	}
}

static void ask(struct visit *visit)
{
	const struct stripe_context *context = visit->portal->context;
	struct buf form;

	buf_init(&form, 32768);
	if (write_form(&form, visit))
		visit_refuse(visit, 500, PORTAL_OUR_FAULT);
	else
		stripe_api_call(context->api,
				&(struct stripe_call){ .method = "POST",
						       .path = "/v1/billing_portal/sessions",
						       .form = buf_text(&form),
						       .is_interactive = true },
				on_page, visit);
	buf_done(&form);
}

/* Whether the subscription's @item is already what the customer picked. */
static bool is_same(const struct checkout_order *checkout, const struct subscription_item *item)
{
	return !strcmp(checkout->lines[0].price, item->price) &&
	       (!checkout->is_quantity_chosen || checkout->quantity == item->quantity);
}

static void on_subscription(void *arg, const struct stripe_answer *answer)
{
	struct visit *visit = arg;
	struct order *order = visit->order;
	const struct subscription_item *item;
	struct subscription s;
	const char *why = answer->why;

	if (answer->err || subscription_parse(answer->body, &s, &why)) {
		log_warn("cannot read subscription %s to change it: %s", order->subscription, why);
		visit_refuse(visit, 502,
			     "We can't reach our payment service right now, and your plan has not "
			     "changed. Please try again in a minute.");
		return;
	}
	subscription_tier(visit->portal->context->tiers, &s, &item);
	if (!item) {
		visit_refuse(visit, 409, NOT_CHANGEABLE);
	} else if (is_same(&order->checkout, item)) {
		if (visit->wants_html)
			visit_go(visit, "/dashboard?done=same-plan", TEXT(""));
		else
			visit_refuse(visit, 409, "You already have this plan.");
	} else {
		snprintf(order->item, sizeof(order->item), "%s", item->id);
		order->way = order->checkout.line_count > 1 ? WAY_CHOOSE : WAY_CONFIRM;
		ask(visit);
	}
}

void plan_change(struct visit *visit, const struct store_account *account)
{
	struct order *order = visit->order;
	char path[STORE_NAME_MAX + 32];

	/* What is owed must be paid first. */
	if (account->status != STORE_ACTIVE && account->status != STORE_TRIALING) {
		if (visit->wants_html)
			visit_go(visit, "/dashboard", TEXT(""));
		else
			visit_refuse(visit, 409,
				     "Your subscription is not active, so its plan can't be "
				     "changed. Open the dashboard to see why.");
		return;
	}
	snprintf(order->customer, sizeof(order->customer), "%s", account->customer);
	snprintf(order->subscription, sizeof(order->subscription), "%s", account->subscription);
	snprintf(path, sizeof(path), "/v1/subscriptions/%s", account->subscription);
	stripe_api_call(
		visit->portal->context->api,
		&(struct stripe_call){ .method = "GET", .path = path, .is_interactive = true },
		on_subscription, visit);
}
