/* SPDX-License-Identifier: BSD-2-Clause */
/* pricing: the plans for sale, and the start of a checkout at Stripe. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "enforce/account.h"
#include "http/form.h"
#include "portal/claim.h"
#include "portal/portal_private.h"
#include "portal/price_text.h"
#include "portal/words.h"

#define OWN_PLAN "<p><span class=\"badge good\">Your current plan</span></p>"

/* ---- the tiers ---- */

static const char *feature_name(const struct tiers *tiers, const struct tier *tier, unsigned bit)
{
	return tier->features & 1ULL << bit ? tiers->features[bit] : NULL;
}

static void write_price(struct html *page, const struct catalog_price *price)
{
	char text[PRICE_TEXT_SIZE];
	const char *line;

	if (!price || (!price->amount[0] && !price->step_count)) {
		html_raw(page,
			 "<p class=\"amount\">Price at checkout</p><p class=\"soft small\">Stripe "
			 "shows it before you pay.</p>");
		return;
	}
	html_put(page, "<p class=\"amount\">{}</p>", price_text_headline(price, text));
	for (unsigned i = 0; (line = price_text_line(price, i, text)); i++)
		html_put(page, "<p class=\"soft small\">{}</p>", line);
}

/* The extra prices that are sold together with the tier's price, one line each. */
static void write_extras(struct html *page, const struct portal *portal, const struct tier *tier)
{
	char headline[PRICE_TEXT_SIZE], line[PRICE_TEXT_SIZE];

	for (unsigned i = 0; i < tier->extra_price_count; i++) {
		const struct catalog_price *price =
			catalog_find(portal->catalog, tier->extra_prices[i]);

		if (!price || (!price->amount[0] && !price->step_count))
			continue;
		html_put(page, "<p class=\"soft small\">Plus {}",
			 price->step_count ? "usage:" : price_text_headline(price, headline));
		for (unsigned k = 0; price_text_line(price, k, line); k++)
			html_put(page, k || price->step_count ? "<br>{}" : " {}", line);
		html_raw(page, "</p>");
	}
}

/* The signed-in customer's account, if it has a subscription that has not ended; else NULL. */
static const struct store_account *find_subscriber(struct visit *visit,
						   struct store_account *ret_account)
{
	uint32_t slot;

	if (!dashboard_enter(visit) ||
	    !mirror_account(visit->portal->context->mirror, visit->account, ret_account, &slot) ||
	    !ret_account->subscription[0] || account_status_is_final(ret_account->status) ||
	    ret_account->mode == STORE_MODE_GONE ||
	    account_is_of_other_mode(ret_account, mirror_mode(visit->portal->context->mirror)))
		return NULL;
	return ret_account;
}

/* The button that buys the price, with its interval if the tier has several. */
static void write_button(struct html *page, const struct tier *tier,
			 const struct catalog_price *price, bool is_change)
{
	char text[PRICE_TEXT_SIZE];

	html_put(page, "<button type=\"submit\">{} {}", is_change ? "Switch to" : "Get",
		 tier->name);
	if (tier->price_count > 1 && price && price->interval[0])
		html_put(page, ", {}", price_text_interval(price, text));
	html_raw(page, "</button></form>");
}

/* The form that buys price number @i of the tier, or what the subscriber has instead of it. */
static void write_offer(struct html *page, const struct visit *visit, const struct tier *tier,
			unsigned i, const struct store_account *subscriber)
{
	const struct catalog_price *price = catalog_find(visit->portal->catalog, tier->prices[i]);
	bool is_own = subscriber && !strcmp(subscriber->tier, tier->name) &&
		      (tier->price_count == 1 || (price && !strcmp(price->id, subscriber->price)));
	char path[256], seats[WORDS_SIZE];

	if (is_own && !tier->is_per_seat) {
		html_raw(page, OWN_PLAN);
		return;
	}
	portal_path(visit->portal, "/checkout", path, sizeof(path));
	html_put(page,
		 "<form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"tier\" "
		 "value=\"{}\"><input type=\"hidden\" name=\"price\" value=\"{}\">",
		 path, tier->name, tier->prices[i]);
	snprintf(seats, sizeof(seats), "%u", is_own && subscriber->seats ? subscriber->seats : 1);
	if (tier->is_per_seat)
		html_put(page,
			 "<label>Seats <input type=\"number\" name=\"quantity\" value=\"{}\" "
			 "min=\"1\" max=\"999999\" required></label>",
			 seats);
	write_button(page, tier, price, subscriber);
}

/* The form that mails the link for a free account, unless the visitor is signed in to one. */
static void write_signup(struct html *page, const struct visit *visit, const struct tier *tier)
{
	struct store_account account;
	char path[256];
	uint32_t slot;

	/* find_subscriber() has found out who is signed in. */
	if (visit->account &&
	    mirror_account(visit->portal->context->mirror, visit->account, &account, &slot) &&
	    !strcmp(account.tier, tier->name) && !account_status_is_final(account.status)) {
		html_raw(page, OWN_PLAN);
		return;
	}
	portal_path(visit->portal, "/checkout/free", path, sizeof(path));
	html_put(page,
		 "<form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"tier\" "
		 "value=\"{}\"><label>Email address <input type=\"email\" name=\"email\" required "
		 "maxlength=\"127\" autocomplete=\"email\"></label><p class=\"soft small\">We'll "
		 "email you a link to your API key.</p><button type=\"submit\">Get {}</button>"
		 "</form>",
		 path, tier->name, tier->name);
}

static bool is_offered(const struct visit *visit, const struct tier *tier)
{
	return tier->price_count ||
	       (tier->is_self_service && notices_can_mail(visit->portal->notices));
}

static void write_tier(struct html *page, const struct visit *visit, const struct tier *tier,
		       const struct store_account *subscriber)
{
	const struct portal *portal = visit->portal;
	const struct tiers *tiers = portal->context->tiers;
	char words[WORDS_SIZE];
	const char *limit;

	html_put(page, "<section class=\"card wide\"><h2>{}</h2>", tier->name);
	if (tier->price_count == 1)
		write_price(page, catalog_find(portal->catalog, tier->prices[0]));
	if (tier->is_self_service)
		html_raw(page, "<p class=\"amount\">Free</p>");
	write_extras(page, portal, tier);
	if (tier->is_per_seat)
		html_raw(page, "<p class=\"soft small\">Price and limits are per seat.</p>");
	html_raw(page, "<ul>");
	if (tier->trial_days && !subscriber)
		html_put(page, "<li>First {} days free</li>",
			 words_number(tier->trial_days, words));
	for (unsigned i = 0; (limit = words_limit(tier, i, words)); i++)
		html_put(page, "<li>{}</li>", limit);
	for (unsigned i = 0; i < tiers->feature_count; i++) {
		if (feature_name(tiers, tier, i))
			html_put(page, "<li>Includes {}</li>", feature_name(tiers, tier, i));
	}
	html_raw(page, "</ul><div class=\"push\">");
	for (unsigned i = 0; i < tier->price_count; i++) {
		if (tier->price_count > 1)
			write_price(page, catalog_find(portal->catalog, tier->prices[i]));
		write_offer(page, visit, tier, i, subscriber);
	}
	if (tier->is_self_service)
		write_signup(page, visit, tier);
	html_raw(page, "</div></section>");
}

/* How customers pay, if any tier costs something. */
static void write_intro(struct html *page, const struct tiers *tiers,
			const struct store_account *subscriber)
{
	bool has_prices = false;

	for (unsigned i = 0; i < tiers->count; i++)
		has_prices |= tiers->list[i].price_count != 0;
	if (subscriber)
		html_raw(page, "<p class=\"soft\">You confirm a change of your plan on Stripe's "
			       "website, which shows what it costs. Your API keys stay the "
			       "same.</p>");
	else if (has_prices)
		html_raw(page, "<p class=\"soft\">You pay on Stripe's website and get your API "
			       "key right afterwards.</p>");
}

static void show_page(struct visit *visit)
{
	const struct tiers *tiers = visit->portal->context->tiers;
	const struct store_account *subscriber;
	struct store_account account;
	unsigned shown = 0;
	struct html page;

	subscriber = find_subscriber(visit, &account);
	visit->is_indexed = true;
	page_begin(&page, visit, "Pricing");
	write_intro(&page, tiers, subscriber);
	html_raw(&page, "<div class=\"grid\">");
	for (unsigned i = 0; i < tiers->count; i++) {
		if (is_offered(visit, &tiers->list[i]) &&
		    !(subscriber && tiers->list[i].is_self_service)) {
			write_tier(&page, visit, &tiers->list[i], subscriber);
			shown++;
		}
	}
	html_raw(&page, "</div>");
	if (!shown)
		html_raw(&page, "<p class=\"note\">No plans are for sale at the moment.</p>");
	page_answer(&page, visit, 200, TEXT(""));
}

/* ---- for programs ---- */

static json_t *describe_price(const struct portal *portal, const char *name)
{
	const struct catalog_price *price = catalog_find(portal->catalog, name);
	json_t *object = json_pack("{s:s}", "price", name);

	if (!price)
		return object;
	json_object_set_new(object, "id", json_string(price->id));
	json_object_set_new(object, "currency", json_string(price->currency));
	json_object_set_new(object, "amount",
			    price->amount[0] ? json_string(price->amount) : json_null());
	json_object_set_new(object, "interval", json_string(price->interval));
	json_object_set_new(object, "interval_count", json_integer(price->interval_count));
	json_object_set_new(object, "usage",
			    json_string(price->is_metered ? "metered" : "licensed"));
	return object;
}

static json_t *describe_tier(const struct portal *portal, const struct tier *tier)
{
	const struct tiers *tiers = portal->context->tiers;
	json_t *prices = json_array(), *extras = json_array(), *features = json_array();
	char rate[WORDS_SIZE];

	for (unsigned i = 0; i < tier->price_count; i++)
		json_array_append_new(prices, describe_price(portal, tier->prices[i]));
	for (unsigned i = 0; i < tier->extra_price_count; i++)
		json_array_append_new(extras, describe_price(portal, tier->extra_prices[i]));
	for (unsigned i = 0; i < tiers->feature_count; i++) {
		if (feature_name(tiers, tier, i))
			json_array_append_new(features, json_string(tiers->features[i]));
	}
	words_rate(tier->interval_ns, rate);
	return json_pack("{s:s, s:o, s:o, s:I, s:b, s:b, s:s*, s:I, s:I, s:s, s:I, s:o}", "name",
			 tier->name, "prices", prices, "extra_prices", extras, "trial_days",
			 (json_int_t)tier->trial_days, "per_seat", tier->is_per_seat,
			 "self_service", tier->is_self_service, "rate", rate[0] ? rate : NULL,
			 "burst", (json_int_t)tier->burst, "quota", (json_int_t)tier->quota,
			 "period", tier->period == TOLLGATE_PERIOD_DAY ? "day" : "month",
			 "concurrency", (json_int_t)tier->concurrency, "features", features);
}

static void show_json(struct visit *visit)
{
	const struct tiers *tiers = visit->portal->context->tiers;
	json_t *list = json_array();
	char path[256];

	portal_path(visit->portal, "/checkout", path, sizeof(path));
	for (unsigned i = 0; i < tiers->count; i++) {
		if (is_offered(visit, &tiers->list[i]))
			json_array_append_new(list, describe_tier(visit->portal, &tiers->list[i]));
	}
	visit_answer_json(visit, 200, TEXT(""),
			  json_pack("{s:o, s:s}", "tiers", list, "checkout", path));
}

void pricing_show(struct visit *visit)
{
	char format[16];
	int err = form_get(visit->handoff->query, "format", format, sizeof(format));

	if (err ? visit->wants_json : !strcmp(format, "json"))
		show_json(visit);
	else
		show_page(visit);
}

/* ---- checkout ---- */

static void fail_checkout(struct visit *visit, const char *reason)
{
	char detail[512];

	snprintf(detail, sizeof(detail), "%s: %s",
		 visit->wants_html
			 ? "We couldn't start the checkout, and you have not been charged. "
			   "Please try again in a minute. Reason"
			 : "Stripe session creation failed",
		 reason);
	visit_refuse(visit, 502, detail);
}

static void start_checkout(struct visit *visit);

static void on_session(void *arg, const struct stripe_answer *answer)
{
	struct visit *visit = arg;
	struct checkout_session session;
	struct buf fields;

	/* The customer may have been deleted at Stripe. If so, buy as a new one. */
	if (answer->err == -EREMOTEIO && visit->order->checkout.customer &&
	    !strcmp(answer->code, "resource_missing")) {
		log_warn("checkout: %s; trying again without the customer", answer->why);
		visit->order->checkout.customer = NULL;
		start_checkout(visit);
		return;
	}
	if (answer->err) {
		log_warn("checkout: %s", answer->why);
		/* The price may have changed at Stripe. */
		if (answer->err == -EREMOTEIO)
			catalog_refresh(visit->portal->catalog);
		fail_checkout(visit, checkout_reason(answer));
		return;
	}
	checkout_read(answer->body, &session);
	if (!session.id || !session.url || !checkout_id_is_plausible(text_of(session.id))) {
		log_error("checkout: Stripe's answer has no session with a valid ID and a URL");
		fail_checkout(visit, "the payment service sent an invalid answer");
		return;
	}
	buf_init(&fields, 4096);
	if (claim_write_cookie(&fields, visit, session.id))
		fail_checkout(visit, "out of memory");
	else if (visit->wants_json)
		visit_answer_json(visit, 200, buf_text(&fields),
				  json_pack("{s:s, s:s}", "url", session.url, "id", session.id));
	else
		visit_leave(visit, PORTAL_CHECKOUT, session.url, buf_text(&fields));
	buf_done(&fields);
}

static void start_checkout(struct visit *visit)
{
	struct checkout_order *checkout = &visit->order->checkout;

	checkout->email = visit->email[0] ? visit->email : NULL;
	checkout->reference = visit->reference[0] ? visit->reference : NULL;
	checkout_create(visit->portal->context, checkout, on_session, visit);
}

/*
 * Begin the order, all of whose prices are resolved. A signed-in customer who has a subscription
 * changes it, because a second one would be paid in addition. Other signed-in customers keep their
 * account. Those that Stripe knows also stay the same customer there, and get no second trial.
 */
static void begin_order(struct visit *visit)
{
	struct checkout_order *checkout = &visit->order->checkout;
	const struct stripe_context *context = visit->portal->context;
	struct store_account account;
	uint32_t slot;

	if (find_subscriber(visit, &account)) {
		plan_change(visit, &account);
		return;
	}
	if (visit->account && mirror_account(context->mirror, visit->account, &account, &slot)) {
		checkout->account = account.id;
		if (account.customer[0] && account.mode == mirror_mode(context->mirror)) {
			snprintf(visit->order->customer, sizeof(visit->order->customer), "%s",
				 account.customer);
			checkout->customer = visit->order->customer;
			checkout->trial_days = 0;
		}
	}
	start_checkout(visit);
}

static void resolve_next(struct visit *visit);

static void on_price(void *arg, const struct catalog_price *price, const struct stripe_answer *why)
{
	struct visit *visit = arg;
	struct checkout_order *checkout = &visit->order->checkout;
	struct checkout_line *line = &checkout->lines[checkout->line_count];

	if (!price) {
		log_warn("checkout: price '%s': %s", visit->order->names[checkout->line_count],
			 why ? why->why : "Stripe has no active price with this name");
		fail_checkout(visit,
			      why ? checkout_reason(why) : "this price is no longer for sale");
		return;
	}
	snprintf(line->price, sizeof(line->price), "%s", price->id);
	line->is_metered = price->is_metered;
	checkout->line_count++;
	resolve_next(visit);
}

static void resolve_next(struct visit *visit)
{
	const struct order *order = visit->order;
	unsigned next = order->checkout.line_count;

	if (next < CHECKOUT_MAX_LINES && order->names[next][0])
		catalog_resolve(visit->portal->catalog, order->names[next], on_price, visit);
	else
		begin_order(visit);
}

/*
 * Find a price of a tier by its configured name or Stripe ID @price, by the name @tier, or by both.
 * Either may be empty. Returns the configured name of the price, and its tier; NULL if there is
 * none.
 */
static const char *choose_price(const struct portal *portal, const char *tier, const char *price,
				const struct tier **ret_tier)
{
	const struct tiers *tiers = portal->context->tiers;

	for (unsigned i = 0; i < tiers->count; i++) {
		const struct tier *t = &tiers->list[i];

		if (tier[0] && strcmp(t->name, tier))
			continue;
		*ret_tier = t;
		if (!price[0] && tier[0] && t->price_count)
			return t->prices[0];
		for (unsigned k = 0; k < t->price_count; k++) {
			const struct catalog_price *known =
				catalog_find(portal->catalog, t->prices[k]);

			if (!strcmp(t->prices[k], price) || (known && !strcmp(known->id, price)))
				return t->prices[k];
		}
	}
	return NULL;
}

static bool is_plain_email(const char *email)
{
	const char *at = strchr(email, '@');

	return at && at != email && at[1] && !strchr(at + 1, '@') && !strpbrk(email, " <>,;\"()");
}

/* Make the order for @price of @tier, with the prices that come with it. 0, -EINVAL, -ENOMEM. */
static int make_order(struct visit *visit, const struct tier *tier, const char *price)
{
	struct order *order = calloc(1, sizeof(*order));
	char quantity[16];
	uint64_t seats = 1;
	int err = request_param(&visit->params, "quantity", quantity, sizeof(quantity));

	visit->order = order;
	if (!order)
		return -ENOMEM;
	if (err ? err != -ENOENT : text_parse_u64(text_of(quantity), CHECKOUT_MAX_QUANTITY, &seats))
		return -EINVAL;
	if (!seats || (seats > 1 && !tier->is_per_seat))
		return -EINVAL;
	snprintf(order->names[0], sizeof(order->names[0]), "%s", price);
	for (unsigned i = 0; i < tier->extra_price_count && i + 1 < CHECKOUT_MAX_LINES; i++)
		snprintf(order->names[i + 1], sizeof(order->names[0]), "%s", tier->extra_prices[i]);
	order->checkout.quantity = (uint32_t)seats;
	order->checkout.is_quantity_chosen = tier->is_per_seat;
	order->checkout.trial_days = tier->trial_days;
	return 0;
}

/* Read the order into the visit. If it is not valid, refuse it and return false. */
static bool read_order(struct visit *visit)
{
	char tier[STORE_NAME_MAX], price[SUBSCRIPTION_NAME_MAX];
	int tier_err = request_param(&visit->params, "tier", tier, sizeof(tier));
	int price_err = request_param(&visit->params, "price", price, sizeof(price));
	int email_err =
		request_param(&visit->params, "customer_email", visit->email, sizeof(visit->email));
	int reference_err = request_param(&visit->params, "client_reference_id", visit->reference,
					  sizeof(visit->reference));
	const struct tier *chosen_tier;
	const char *chosen = choose_price(visit->portal, tier, price, &chosen_tier);
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

	if ((tier_err && tier_err != -ENOENT) || (price_err && price_err != -ENOENT) || !chosen) {
		visit_refuse(visit, 400, "Please choose a plan from the pricing page.");
		return false;
	}
	if ((email_err && email_err != -ENOENT) ||
	    (visit->email[0] && !is_plain_email(visit->email))) {
		visit_refuse(visit, 400, "customer_email is not a valid email address.");
		return false;
	}
	if ((reference_err && reference_err != -ENOENT) ||
	    strspn(visit->reference, plain) != strlen(visit->reference)) {
		visit_refuse(visit, 400,
			     "client_reference_id is not valid. Use up to 200 letters, digits, '-' "
			     "and '_'.");
		return false;
	}
	switch (make_order(visit, chosen_tier, chosen)) {
	case 0:
		return true;
	case -EINVAL:
		visit_refuse(
			visit, 400,
			chosen_tier->is_per_seat
				? "Please choose a number of seats from 1 to 999,999."
				: "This plan is not sold by seat, so its quantity is always 1.");
		return false;
	default:
		visit_refuse(visit, 500, PORTAL_OUR_FAULT);
		return false;
	}
}

/*
 * The form needs no token: all that a forged one can do is take the visitor to Stripe's page, which
 * asks before anything is paid or changed. Besides, browsers do not send the session cookie with a
 * form from another site.
 */
void pricing_buy(struct visit *visit)
{
	struct portal *portal = visit->portal;
	uint64_t source = visit_source(visit), now_ns = clock_mono_ns(), wait_ns, all_ns;

	/* A program that sends JSON gets the URL as JSON, not a redirect. */
	visit->wants_json |= visit->params.json && !visit->wants_html;
	if (!read_order(visit))
		return;
	wait_ns = limiter_wait_ns(&portal->checkouts, source, now_ns);
	all_ns = limiter_wait_ns(&portal->all, 0, now_ns);
	if (wait_ns || all_ns) {
		visit_refuse_busy(visit, wait_ns > all_ns ? wait_ns : all_ns);
		return;
	}
	limiter_charge(&portal->checkouts, source, now_ns);
	limiter_charge(&portal->all, 0, now_ns);
	resolve_next(visit);
}
