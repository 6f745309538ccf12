/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * claim: the key of whoever has just paid.
 *
 * GET shows a button, and only the POST behind it hands the key out: what fetches pages ahead of their
 * reader (prefetching browsers, mail and chat scanners that follow links, a reload) sends GETs, and the
 * only showing of a key must not be spent on one. The GET does bring the subscription's account up to date,
 * which any number of them may.
 *
 * That a key is handed out once is the store's to see to: the claim and the key are one transaction. A
 * crash after it and before the page leaves a claimed session whose key nobody saw; the page says what then.
 */
#include "portal/claim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "enforce/account.h"
#include "portal/portal_private.h"
#include "stripe/apply.h"

#define COOKIE_S (30 * 24 * 3600) /* payments that are slow take days */
#define WINDOW_S (24 * 3600)	  /* to claim after paying */

/* Each session has a cookie of its own, so that two tabs do not take each other's. */
static void cookie_name(const struct visit *visit, const char *session, char ret_name[64])
{
	bool is_secure = text_starts(text_of(cookie_session_name(visit)), TEXT("__Secure-"));
	char seal[SESSION_SEAL_SIZE];

	session_seal(visit->portal->secret, "checkout name", text_of(session), seal);
	snprintf(ret_name, 64, "%stollgate_checkout_%.12s", is_secure ? "__Secure-" : "", seal);
}

int claim_write_cookie(struct buf *fields, const struct visit *visit, const char *session)
{
	char name[64], seal[SESSION_SEAL_SIZE];

	cookie_name(visit, session, name);
	session_seal(visit->portal->secret, "checkout", text_of(session), seal);
	/* Lax: the way back from Stripe begins on another site. */
	return cookie_write(fields, visit, name, seal, COOKIE_S, false);
}

static bool is_bound(const struct visit *visit)
{
	struct text field, seal;
	char name[64];

	cookie_name(visit, visit->session, name);
	return handoff_field(visit->handoff, "Cookie", &field) &&
	       request_cookie(field, name, &seal) &&
	       session_is_sealed(visit->portal->secret, "checkout", text_of(visit->session), seal);
}

static bool is_claiming(const struct visit *visit)
{
	return text_is(visit->handoff->method, "POST");
}

static void say(struct visit *visit, unsigned status, const char *title, const char *kind,
		const char *words)
{
	struct html page;

	if (status >= 400 && !visit->wants_html) {
		visit_refuse(visit, status, words);
		return;
	}
	page_begin(&page, visit, title);
	html_put(&page, "<p class=\"note {}\">{}</p>", kind, words);
	page_answer(&page, visit, status, TEXT(""));
}

/* ---- what there is to say ---- */

static void say_wait(struct visit *visit)
{
	struct html page;

	page_begin(&page, visit, "Waiting for your payment");
	html_raw(&page,
		 "<meta http-equiv=\"refresh\" content=\"10\">"
		 "<p class=\"note\" role=\"status\">Your order is complete, but your payment has "
		 "not "
		 "arrived yet. With some ways of paying that takes days. This page looks again by "
		 "itself; you can also come back to it later with this browser.</p>");
	page_answer(&page, visit, 200, TEXT(""));
}

static void say_open(struct visit *visit)
{
	struct html page;
	char path[256];

	portal_path(visit->portal, "/pricing", path, sizeof(path));
	page_begin(&page, visit, "Not paid");
	html_put(&page,
		 "<p class=\"note\">This checkout was not completed, and nothing was paid.</p>"
		 "<p><a class=\"button\" href=\"{}\">Back to the plans</a></p>",
		 path);
	page_answer(&page, visit, visit->wants_html ? 200 : 402, TEXT(""));
}

static void say_claimed(struct visit *visit, const struct store_key *key)
{
	struct html page;
	char path[256];

	portal_path(visit->portal, "/dashboard", path, sizeof(path));
	page_begin(&page, visit, "Your key was already shown");
	if (key)
		html_put(&page, "<p>The key of this order is <code>{}</code>{}.</p>", key->hint,
			 key->revoked_ms && key->revoked_ms <= clock_wall_ms()
				 ? ", and it is not valid any more"
				 : "");
	html_put(
		&page,
		"<p class=\"note\">It was shown once and is kept nowhere, so it cannot be shown "
		"again. If you did not get to see it, or have lost it, write to the people who run "
		"this API: they can give you a new one.</p>"
		"<p>If you have it, <a href=\"{}\">sign in with it</a> to see your usage and to "
		"manage your keys.</p>",
		path);
	page_answer(&page, visit, visit->wants_html ? 200 : 409, TEXT(""));
}

static void say_ready(struct visit *visit, const struct store_account *account)
{
	char path[256], token[SESSION_SEAL_SIZE];
	struct html page;

	portal_path(visit->portal, "/dashboard/claim", path, sizeof(path));
	session_seal(visit->portal->secret, "claim token", text_of(visit->session), token);
	page_begin(&page, visit, "Thank you");
	html_put(&page,
		 "<section class=\"card\"><h2>Your plan: {}</h2><p>Your payment has arrived and "
		 "your "
		 "API key is ready. It is shown <strong>only once</strong>: have a safe place for "
		 "it at "
		 "hand.</p><form method=\"post\" action=\"{}\"><input type=\"hidden\" "
		 "name=\"session_id\" value=\"{}\"><input type=\"hidden\" name=\"token\" "
		 "value=\"{}\">"
		 "<button type=\"submit\">Show my API key</button></form></section>",
		 account->tier[0] ? account->tier : "(none)", path, visit->session, token);
	page_answer(&page, visit, 200, TEXT(""));
}

/* ---- claimed already? ---- */

static void on_claimed_keys(void *arg, int err, const struct store_key *keys, size_t count)
{
	struct visit *visit = arg;
	const struct store_key *found = NULL;

	for (size_t i = 0; i < count && !err; i++) {
		if (keys[i].id == visit->key)
			found = &keys[i];
	}
	say_claimed(visit, found);
}

static void on_claim_found(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct visit *visit = arg;
	const struct store_account *account = NULL;
	struct store_account found;
	struct store_key key;
	uint32_t slot;

	if (err) {
		visit_refuse(visit, 503, "Not available now; your key waits for you");
	} else if (count && !account_parse_key_id(text_of(tasks[0].object), &visit->key) &&
		   mirror_key_by_id(visit->portal->context->mirror, visit->key, &key)) {
		store_keys_list(visit->portal->context->store, key.account, 0, PORTAL_KEYS_SHOWN,
				on_claimed_keys, visit);
	} else if (count) {
		say_claimed(visit, NULL);
	} else {
		if (mirror_account(visit->portal->context->mirror, visit->account, &found, &slot))
			account = &found;
		if (account)
			say_ready(visit, account);
		else
			visit_refuse(visit, 503, "Not available now; your key waits for you");
	}
}

static void look_for_claim(struct visit *visit)
{
	store_task_find(visit->portal->context->store, REGISTRY_CLAIMS, visit->session,
			on_claim_found, visit);
}

/* ---- handing out ---- */

static void on_claimed(void *arg, const struct registry_result *result)
{
	struct visit *visit = arg;
	struct buf fields;

	if (result->err == -EEXIST) {
		look_for_claim(visit);
		return;
	}
	if (result->err) {
		log_error("claim: no key could be made: %s", strerror(-result->err));
		visit_refuse(visit, 503, "Not available now; your key waits for you");
		return;
	}
	buf_init(&fields, 1024);
	if (dashboard_write_session(&fields, visit, result->key->id))
		buf_clear(&fields);
	dashboard_show_key(visit, result, "Your API key", buf_text(&fields));
	buf_done(&fields);
}

static void on_applied(void *arg, const struct registry_result *result)
{
	struct visit *visit = arg;

	if (result->err) {
		log_error("claim: the subscription could not be applied: %s",
			  strerror(-result->err));
		visit_refuse(visit, 503, "Not available now; your key waits for you");
	} else if (!result->account) {
		say(visit, 410, "This subscription has ended", "bad",
		    "The subscription of this order has ended.");
	} else {
		visit->account = result->account->id;
		if (is_claiming(visit))
			registry_key_claim(visit->portal->context->registry, visit->account,
					   visit->session, "checkout", on_claimed, visit);
		else
			look_for_claim(visit);
	}
}

static void on_session(void *arg, const struct stripe_answer *answer)
{
	struct visit *visit = arg;
	uint64_t now_s = answer->date_s ? answer->date_s : clock_wall_ms() / 1000;
	struct checkout_session session;
	uint64_t since_s;

	if (answer->err) {
		log_warn("claim: %s", answer->why);
		if (answer->err == -EREMOTEIO && answer->status == 404)
			say(visit, 404, "No such order", "bad", "There is no such order.");
		else
			visit_refuse(
				visit, 502,
				"The payment service cannot be asked now; try again in a moment");
		return;
	}
	checkout_read(answer->body, &session);
	since_s = session.paid_s > session.created_s ? session.paid_s : session.created_s;
	if (session.state == CHECKOUT_UNPAID)
		say_wait(visit);
	else if (session.state == CHECKOUT_OPEN || session.state == CHECKOUT_EXPIRED)
		say_open(visit);
	else if (session.state != CHECKOUT_PAID)
		say(visit, 403, "Nothing to collect", "bad", "This order comes with no key.");
	else if (now_s > since_s + WINDOW_S)
		say(visit, 410, "Too late", "bad",
		    "A key can be collected within 24 hours after the payment. Write to the people "
		    "who run this API: they can give you one.");
	else
		apply_subscription(visit->portal->context, session.subscription,
				   &(struct apply_source){ .as_of_s = now_s }, on_applied, visit);
}

/* ---- the two requests ---- */

static void fetch(struct visit *visit)
{
	uint64_t now_ns = clock_mono_ns();
	uint64_t wait_ns = limiter_wait_ns(&visit->portal->all, 0, now_ns);

	if (!checkout_id_is_plausible(text_of(visit->session))) {
		visit_refuse(visit, 400, "That is no id of a checkout");
	} else if (!is_bound(visit)) {
		say(visit, 403, "Another browser", "bad",
		    "A key can be collected only with the browser in which its checkout began. Go "
		    "back "
		    "to that browser and open this page there.");
	} else if (wait_ns) {
		visit_refuse_busy(visit, wait_ns);
	} else {
		limiter_charge(&visit->portal->all, 0, now_ns);
		checkout_fetch(visit->portal->context, visit->session, on_session, visit);
	}
}

void claim_open(struct visit *visit)
{
	visit->is_claim = true;
	if (request_form_get(visit->handoff->query, "session_id", visit->session,
			     sizeof(visit->session)))
		visit->session[0] = '\0';
	fetch(visit);
}

void claim_take(struct visit *visit)
{
	struct text origin = request_origin(text_of(visit->portal->context->settings->app_url));
	char token[SESSION_SEAL_SIZE] = "";

	visit->is_claim = true;
	if (request_param(&visit->params, "session_id", visit->session, sizeof(visit->session)))
		visit->session[0] = '\0';
	if (request_param(&visit->params, "token", token, sizeof(token)))
		token[0] = '\0';
	/* The page with the form has no referrer, and so its form no origin. */
	if (request_is_foreign(visit->handoff, origin, true) ||
	    !session_is_sealed(visit->portal->secret, "claim token", text_of(visit->session),
			       text_of(token)))
		visit_refuse(visit, 403, "This form was not ours; open the page again");
	else
		fetch(visit);
}
