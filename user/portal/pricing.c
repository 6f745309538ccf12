/* SPDX-License-Identifier: BSD-2-Clause */
/* pricing: the plans for sale, and the start of a checkout at Stripe. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "http/form.h"
#include "base/clock.h"
#include "base/log.h"
#include "portal/claim.h"
#include "portal/portal_private.h"
#include "portal/price_text.h"
#include "portal/words.h"

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

/* The button that buys the price, with its interval if the tier has several. */
static void write_button(struct html *page, const struct tier *tier,
			 const struct catalog_price *price)
{
	char text[PRICE_TEXT_SIZE];

	html_put(page, "<button type=\"submit\">Get {}", tier->name);
	if (tier->price_count > 1 && price && price->interval[0])
		html_put(page, ", {}", price_text_interval(price, text));
	html_raw(page, "</button></form>");
}

static void write_tier(struct html *page, const struct visit *visit, const struct tier *tier)
{
	const struct portal *portal = visit->portal;
	const struct tiers *tiers = portal->context->tiers;
	char words[WORDS_SIZE], path[256];
	const char *limit;

	portal_path(portal, "/checkout", path, sizeof(path));
	html_put(page, "<section class=\"card wide\"><h2>{}</h2>", tier->name);
	if (tier->price_count == 1)
		write_price(page, catalog_find(portal->catalog, tier->prices[0]));
	html_raw(page, "<ul>");
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
		html_put(page,
			 "<form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"tier\" "
			 "value=\"{}\"><input type=\"hidden\" name=\"price\" value=\"{}\">",
			 path, tier->name, tier->prices[i]);
		write_button(page, tier, catalog_find(portal->catalog, tier->prices[i]));
	}
	html_raw(page, "</div></section>");
}

static void show_page(struct visit *visit)
{
	const struct tiers *tiers = visit->portal->context->tiers;
	unsigned shown = 0;
	struct html page;

	page_begin(&page, visit, "Pricing");
	html_raw(&page, "<p class=\"soft\">You pay on Stripe's website and get your API key right "
			"after that.</p><div class=\"grid\">");
	for (unsigned i = 0; i < tiers->count; i++) {
		if (tiers->list[i].price_count) {
			write_tier(&page, visit, &tiers->list[i]);
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
	json_t *prices = json_array(), *features = json_array();
	char rate[WORDS_SIZE];

	for (unsigned i = 0; i < tier->price_count; i++)
		json_array_append_new(prices, describe_price(portal, tier->prices[i]));
	for (unsigned i = 0; i < tiers->feature_count; i++) {
		if (feature_name(tiers, tier, i))
			json_array_append_new(features, json_string(tiers->features[i]));
	}
	words_rate(tier->interval_ns, rate);
	return json_pack("{s:s, s:o, s:s*, s:I, s:I, s:s, s:I, s:o}", "name", tier->name, "prices",
			 prices, "rate", rate[0] ? rate : NULL, "burst", (json_int_t)tier->burst,
			 "quota", (json_int_t)tier->quota, "period",
			 tier->period == TOLLGATE_PERIOD_DAY ? "day" : "month", "concurrency",
			 (json_int_t)tier->concurrency, "features", features);
}

static void show_json(struct visit *visit)
{
	const struct tiers *tiers = visit->portal->context->tiers;
	json_t *list = json_array();
	char path[256];

	portal_path(visit->portal, "/checkout", path, sizeof(path));
	for (unsigned i = 0; i < tiers->count; i++) {
		if (tiers->list[i].price_count)
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

static void on_session(void *arg, const struct stripe_answer *answer)
{
	struct visit *visit = arg;
	struct checkout_session session;
	struct buf fields;

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

static void on_price(void *arg, const struct catalog_price *price, const struct stripe_answer *why)
{
	struct visit *visit = arg;

	if (!price) {
		log_warn("checkout: price '%s': %s", visit->price,
			 why ? why->why : "Stripe has no active price of this name");
		fail_checkout(visit,
			      why ? checkout_reason(why) : "this price is no longer for sale");
		return;
	}
	checkout_create(visit->portal->context,
			&(struct checkout_order){
				.price = price->id,
				.is_metered = price->is_metered,
				.email = visit->email[0] ? visit->email : NULL,
				.reference = visit->reference[0] ? visit->reference : NULL },
			on_session, visit);
}

/*
 * Find a price of a tier by its configured name or Stripe ID @price, by the name @tier, or by both.
 * Either may be empty. Returns the configured name of the price; NULL if there is none.
 */
static const char *choose_price(const struct portal *portal, const char *tier, const char *price)
{
	const struct tiers *tiers = portal->context->tiers;

	for (unsigned i = 0; i < tiers->count; i++) {
		const struct tier *t = &tiers->list[i];

		if (tier[0] && strcmp(t->name, tier))
			continue;
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
	const char *chosen = choose_price(visit->portal, tier, price);
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
	snprintf(visit->price, sizeof(visit->price), "%s", chosen);
	return true;
}

/*
 * The form needs no token: visitors of this page have no authority that another site could misuse,
 * and a form on another site can take its visitor no further than to Stripe's page.
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
	catalog_resolve(portal->catalog, visit->price, on_price, visit);
}
