/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * claim: a customer who has just paid collects the API key.
 *
 * A key can be shown only once, so a GET must not use up that one time: browsers that prefetch
 * pages, scanners that follow links in mail and chat, and reloads all send GETs. GET therefore only
 * shows a button, and the POST behind it shows the key. GET also creates or updates the
 * subscription's account, which is safe to repeat.
 *
 * The store makes sure that a subscription gets at most one key here: it writes the claim and the
 * key in one transaction. If tollgate crashes after that transaction and before the page is sent,
 * the key is claimed but nobody has seen it; the page then says whom to ask for a new one.
 */
#include "portal/claim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "http/form.h"
#include "base/clock.h"
#include "base/log.h"
#include "enforce/account.h"
#include "portal/portal_private.h"
#include "stripe/apply.h"

#define COOKIE_S (30 * 24 * 3600) /* slow payment methods take days */
#define WINDOW_S (24 * 3600)	  /* the time to claim the key after payment */

/* Texts that several answers use. */
#define KEY_UNAVAILABLE \
	"We can't show your API key right now. It is safe: please try again in a minute."

/* Each session has its own cookie, so that checkouts in two tabs do not overwrite each other's. */
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
	/* Lax, because the customer comes back here from Stripe's site. */
	return cookie_write_claim(fields, visit, name, seal, COOKIE_S);
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

/* Whether the customer opened a claim link, instead of returning from a checkout. */
static bool has_link(const struct visit *visit)
{
	return visit->link[0];
}

/* The form's token is for the link or the session whose page showed the form. */
static struct text token_of(const struct visit *visit)
{
	return text_of(has_link(visit) ? visit->link : visit->session);
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
	html_put(&page, "<p class=\"note {}\">", kind);
	page_say(&page, visit, words);
	html_raw(&page, "</p>");
	page_answer(&page, visit, status, TEXT(""));
}

/* ---- answers ---- */

static void say_wait(struct visit *visit)
{
	struct html page;

	page_begin(&page, visit, "Waiting for your payment");
	html_raw(&page,
		 "<meta http-equiv=\"refresh\" content=\"10\">"
		 "<p class=\"note\" role=\"status\">We have your order, but your payment hasn't "
		 "arrived yet. Some payment methods take a few days. This page checks again every "
		 "10 seconds. You can also close it and open it again later in this browser.</p>");
	page_answer(&page, visit, 200, TEXT(""));
}

static void say_open(struct visit *visit)
{
	struct html page;
	char path[256];

	portal_path(visit->portal, "/pricing", path, sizeof(path));
	page_begin(&page, visit, "Checkout not completed");
	html_put(&page,
		 "<p class=\"note\">You did not complete this checkout, and you have not been "
		 "charged.</p><p><a class=\"button\" href=\"{}\">Back to pricing</a></p>",
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
		html_put(&page, "<p>The API key for this {} is <code>{}</code>{}.</p>",
			 has_link(visit) ? "link" : "order", key->hint,
			 key->revoked_ms && key->revoked_ms <= clock_steady_ms()
				 ? ". It is no longer valid"
				 : "");
	html_put(&page,
		 "<p class=\"note\">A key is shown only once, and we don't keep a copy of it.</p>"
		 "<p>If you have the key, <a href=\"{}\">sign in with it</a> to see your usage "
		 "and manage your keys.</p>",
		 path);
	page_offer_recovery(&page, visit, "If you didn't see the key, or have lost it,");
	page_answer(&page, visit, visit->wants_html ? 200 : 409, TEXT(""));
}

/* @has_keys: the account has valid keys already, such as that of a returning customer. */
static void say_ready(struct visit *visit, const struct store_account *account, bool has_keys)
{
	char path[256], token[SESSION_SEAL_SIZE];
	struct html page;

	session_seal(visit->portal->secret, "claim token", token_of(visit), token);
	page_begin(&page, visit,
		   has_link(visit) ? "Your API key"
		   : has_keys	   ? "Welcome back"
				   : "Thank you");
	html_put(&page, "<section class=\"card\"><h2>Your plan: {}</h2>",
		 account->tier[0] ? account->tier : "none");
	portal_path(visit->portal, "/dashboard", path, sizeof(path));
	if (has_link(visit))
		html_raw(&page,
			 "<p>Your API key is ready. It is shown <strong>only once</strong>, so be "
			 "ready to store it safely.</p>");
	else if (has_keys)
		html_put(
			&page,
			"<p>Your order is complete. Your API keys stay the same and work with this "
			"plan.</p><p><a class=\"button\" href=\"{}\">Open the dashboard</a></p>"
			"<p>You can also get another key. It is shown <strong>only once</strong>, "
			"so be ready to store it safely.</p>",
			path);
	else
		html_raw(&page, "<p>Your order is complete, and your API key is ready. It is shown "
				"<strong>only once</strong>, so be ready to store it safely.</p>");
	portal_path(visit->portal, "/dashboard/claim", path, sizeof(path));
	html_put(&page,
		 "<form method=\"post\" action=\"{}\"><input "
		 "type=\"hidden\" name=\"{}\" value=\"{}\"><input type=\"hidden\" "
		 "name=\"token\" value=\"{}\"><button class=\"{}\" type=\"submit\">{}</button>"
		 "</form></section>",
		 path, has_link(visit) ? "link" : "session_id",
		 has_link(visit) ? visit->link : visit->session, token,
		 has_keys && !has_link(visit) ? "plain" : "",
		 has_keys && !has_link(visit) ? "Show me another API key" : "Show my API key");
	page_answer(&page, visit, 200, TEXT(""));
}

/* ---- whether the key was claimed before ---- */

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

static void on_own_keys(void *arg, int err, const struct store_key *keys, size_t count)
{
	struct visit *visit = arg;
	struct store_account account;
	bool has_keys = false;
	uint32_t slot;

	for (size_t i = 0; i < count && !err && !has_keys; i++)
		has_keys = !keys[i].revoked_ms || keys[i].revoked_ms > clock_steady_ms();
	if (err || !mirror_account(visit->portal->context->mirror, visit->account, &account, &slot))
		visit_refuse(visit, 503, KEY_UNAVAILABLE);
	else
		say_ready(visit, &account, has_keys);
}

static void on_claim_found(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct visit *visit = arg;
	struct store_key key;

	if (err) {
		visit_refuse(visit, 503, KEY_UNAVAILABLE);
	} else if (count && !account_parse_key_id(text_of(tasks[0].object), &visit->key) &&
		   mirror_key_by_id(visit->portal->context->mirror, visit->key, &key)) {
		store_keys_list(visit->portal->context->store, key.account, 0, PORTAL_KEYS_SHOWN,
				on_claimed_keys, visit);
	} else if (count) {
		say_claimed(visit, NULL);
	} else {
		store_keys_list(visit->portal->context->store, visit->account, 0, PORTAL_KEYS_SHOWN,
				on_own_keys, visit);
	}
}

static void look_for_claim(struct visit *visit)
{
	store_task_find(visit->portal->context->store, REGISTRY_CLAIMS, visit->claim,
			on_claim_found, visit);
}

/* ---- claiming ---- */

static void on_claimed(void *arg, const struct registry_result *result)
{
	struct visit *visit = arg;
	struct buf fields;

	if (result->err == -EEXIST) {
		look_for_claim(visit);
		return;
	}
	if (result->err) {
		log_error("claim: cannot create a key: %s", strerror(-result->err));
		visit_refuse(visit, 503, KEY_UNAVAILABLE);
		return;
	}
	buf_init(&fields, 4096);
	if (dashboard_write_session(&fields, visit, result->key->id))
		buf_clear(&fields);
	dashboard_show_key(visit, result, "Your API key", buf_text(&fields));
	buf_done(&fields);
}

static void on_applied(void *arg, const struct registry_result *result)
{
	struct visit *visit = arg;

	if (result->err) {
		log_error("claim: cannot apply the subscription: %s", strerror(-result->err));
		visit_refuse(visit, 503, KEY_UNAVAILABLE);
	} else if (!result->account) {
		say(visit, 410, "This subscription has ended", "bad",
		    "The subscription for this order has ended. To subscribe again, choose a plan "
		    "on the pricing page.");
	} else {
		visit->account = result->account->id;
		claim_first_id(result->account, visit->claim);
		if (is_claiming(visit))
			registry_key_claim(visit->portal->context->registry, visit->account,
					   visit->claim, "checkout", on_claimed, visit);
		else
			look_for_claim(visit);
	}
}

/*
 * Say why the page cannot show a key and, after the words @otherwise, how the customer can get one
 * anyway.
 */
static void say_no_key(struct visit *visit, unsigned status, const char *title, const char *words,
		       const char *otherwise)
{
	struct html page;

	if (!visit->wants_html) {
		visit_refuse(visit, status, words);
		return;
	}
	page_begin(&page, visit, title);
	html_put(&page, "<p class=\"note bad\" role=\"alert\">{}</p>", words);
	page_offer_recovery(&page, visit, otherwise);
	page_answer(&page, visit, status, TEXT(""));
}

static void say_not_found(struct visit *visit)
{
	say_no_key(
		visit, 404, "Order not found",
		"We couldn't find this order. Please check that you opened the complete address.",
		"If you have paid,");
}

/*
 * The answer is the same for every order, whatever its state. So a visitor without the cookie
 * learns only whether Stripe knows the session. That gives little away, because the IDs of sessions
 * are too long to be guessed, and customers need it: a mistyped address and a wrong browser have
 * different remedies.
 */
static void say_other_browser(struct visit *visit)
{
	say_no_key(visit, 403, "Please use your other browser",
		   "We don't recognize this browser. An order's API key is shown only in the "
		   "browser in which the checkout was started, so please open this page there.",
		   "If you have paid and can't do that,");
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
			say_not_found(visit);
		else
			visit_refuse(visit, 502,
				     "We can't reach our payment service right now. Please try "
				     "again in a minute.");
		return;
	}
	checkout_read(answer->body, &session);
	since_s = session.paid_s > session.created_s ? session.paid_s : session.created_s;
	if (!is_bound(visit))
		say_other_browser(visit);
	else if (session.state == CHECKOUT_UNPAID)
		say_wait(visit);
	else if (session.state == CHECKOUT_OPEN || session.state == CHECKOUT_EXPIRED)
		say_open(visit);
	else if (session.state != CHECKOUT_PAID)
		say(visit, 403, "No API key to show", "bad",
		    "This order does not include an API key.");
	else if (now_s > since_s + WINDOW_S)
		say_no_key(visit, 410, "This page has expired",
			   "Your API key could be shown here for 24 hours after your payment.",
			   "If you didn't get it,");
	else
		apply_subscription(
			visit->portal->context, session.subscription,
			&(struct apply_source){ .as_of_s = now_s, .reference = session.reference },
			on_applied, visit);
}

/* ---- the two requests ---- */

static void fetch(struct visit *visit)
{
	struct portal *portal = visit->portal;
	uint64_t now_ns = clock_mono_ns(), source = visit_source(visit);
	bool is_own = is_bound(visit);
	uint64_t wait_ns = limiter_wait_ns(&portal->all, 0, now_ns);

	/* Visitors without a checkout must not use up the calls that buyers need. */
	if (!wait_ns && !is_own)
		wait_ns = limiter_wait_ns(&portal->checkouts, source, now_ns);

	if (!checkout_id_is_plausible(text_of(visit->session))) {
		say_not_found(visit);
	} else if (wait_ns) {
		visit_refuse_busy(visit, wait_ns);
	} else {
		limiter_charge(&portal->all, 0, now_ns);
		if (!is_own)
			limiter_charge(&portal->checkouts, source, now_ns);
		checkout_fetch(portal->context, visit->session, on_session, visit);
	}
}

void claim_open(struct visit *visit)
{
	visit->is_claim = true;
	if (form_get(visit->handoff->query, "session_id", visit->session, sizeof(visit->session)))
		visit->session[0] = '\0';
	fetch(visit);
}

/* ---- by a link ---- */

/*
 * Read the link's token, and find its account. If it is not valid, the visit has been answered.
 * There is no limit on attempts: the seal cannot be guessed.
 */
static bool read_link(struct visit *visit)
{
	struct portal *portal = visit->portal;
	struct store_account account;
	struct claim_link link;
	uint32_t slot;
	int err = claim_link_read(portal->secret, visit->link, clock_wall_ms() / 1000, &link);

	if (err == -ETIMEDOUT) {
		say(visit, 410, "This link has expired", "bad",
		    "Please ask the provider of this API for a new link.");
	} else if (err) {
		say(visit, 404, "This link is not valid", "bad",
		    "Please check that you opened the complete link. If that doesn't help, "
		    "please ask the provider of this API for a new one.");
	} else if (!mirror_account(portal->context->mirror, link.account, &account, &slot)) {
		say(visit, 410, "This account has been deleted", "bad",
		    "The account that this link is for no longer exists. If you didn't expect "
		    "this, please contact the provider of this API.");
	} else {
		visit->account = account.id;
		snprintf(visit->label, sizeof(visit->label), "%s",
			 link.label[0] ? link.label : "claim link");
		/* All links for an account share its first claim, whenever they were made. */
		if (link.claim[0])
			snprintf(visit->claim, sizeof(visit->claim), "%s", link.claim);
		else
			claim_first_id(&account, visit->claim);
		return true;
	}
	return false;
}

void claim_link_open(struct visit *visit)
{
	visit->is_claim = true;
	if (form_get(visit->handoff->query, "link", visit->link, sizeof(visit->link)))
		visit->link[0] = '\0';
	if (read_link(visit))
		look_for_claim(visit);
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
	if (request_param(&visit->params, "link", visit->link, sizeof(visit->link)))
		visit->link[0] = '\0';
	if (has_link(visit) && !read_link(visit))
		return;
	/* The page has Referrer-Policy no-referrer, so its form comes with "Origin: null". */
	if (request_is_foreign(visit->handoff, origin, true) ||
	    !session_is_sealed(visit->portal->secret, "claim token", token_of(visit),
			       text_of(token)))
		visit_refuse(visit, 403, PORTAL_UNVERIFIED);
	else if (has_link(visit))
		registry_key_claim(visit->portal->context->registry, visit->account, visit->claim,
				   visit->label, on_claimed, visit);
	else
		fetch(visit);
}
