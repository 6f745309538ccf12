/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dashboard: customers sign in with an API key, see their account and manage its keys.
 *
 * A session belongs to the key that signed in and ends when that key is revoked. So revoking a
 * stolen key also signs the thief out.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/clock.h"
#include "base/log.h"
#include "enforce/account.h"
#include "portal/claim.h"
#include "portal/portal_private.h"
#include "stripe/field.h"
#include "http/form.h"

#define MAX_KEYS       1000 /* keys of one account that are read, revoked ones included */
#define MAX_VALID_KEYS 20
#define OVERLAP_MS     (24 * 3600 * 1000ULL) /* the old key's validity after a rotation */
#define USAGE_ROWS     100000

/* Texts that several answers use. */
#define NO_KEY_CREATED                                                                            \
	"We couldn't create a key. Please try again in a minute. If it fails again, contact the " \
	"provider of this API."
#define NO_KEY_REVOKED "We couldn't revoke the key. Please try again in a minute."
#define TOO_MANY_KEYS  "You already have 20 valid keys. Revoke one of them first."
#define NOT_YOUR_KEY \
	"This is not one of your valid keys. Open the dashboard again to see your current keys."

/* ---- who is signed in ---- */

static bool is_revoked(const struct store_key *key)
{
	return key->revoked_ms && key->revoked_ms <= clock_steady_ms();
}

/*
 * Whether the mirror still accepts @key. The key's own revoked_ms is not enough, because all keys
 * of an account may be revoked at once.
 */
static bool is_valid(const struct portal *portal, const struct store_key *key)
{
	struct mirror_key found;

	return mirror_find(portal->context->mirror, key->hash, &found) &&
	       (!found.revoked_ms || found.revoked_ms > clock_steady_ms());
}

bool dashboard_enter(struct visit *visit)
{
	struct text field, cookie;
	struct store_key key;
	uint64_t id;

	if (!handoff_field(visit->handoff, "Cookie", &field) ||
	    !request_cookie(field, cookie_session_name(visit), &cookie) ||
	    session_read(visit->portal->secret, cookie, clock_wall_ms() / 1000, &id) ||
	    !mirror_key_by_id(visit->portal->context->mirror, id, &key) ||
	    !is_valid(visit->portal, &key))
		return false;
	visit->cookie = cookie;
	visit->account = key.account;
	visit->key = id;
	return true;
}

static const char *token_purpose(const char *action, char ret_purpose[32])
{
	snprintf(ret_purpose, 32, "form %s", action);
	return ret_purpose;
}

void dashboard_write_token(struct html *page, const struct visit *visit, const char *action)
{
	char purpose[32], token[SESSION_SEAL_SIZE];

	session_seal(visit->portal->secret, token_purpose(action, purpose), visit->cookie, token);
	html_put(page, "<input type=\"hidden\" name=\"token\" value=\"{}\">", token);
}

int dashboard_write_session(struct buf *fields, const struct visit *visit, uint64_t key)
{
	char cookie[SESSION_TEXT_SIZE];

	session_write(visit->portal->secret, key, clock_wall_ms() / 1000 + SESSION_SECONDS, cookie);
	return cookie_write_session(fields, visit, cookie, SESSION_SECONDS);
}

bool visit_is_foreign(const struct visit *visit)
{
	const char *app_url = visit->portal->context->settings->app_url;

	return request_is_foreign(visit->handoff, request_origin(text_of(app_url)), false);
}

/*
 * Whether the request comes from the form for @action on a page of this session. If not, the visit
 * has been answered.
 */
static bool may_act(struct visit *visit, const char *action)
{
	char purpose[32], token[SESSION_SEAL_SIZE];

	if (visit_is_foreign(visit)) {
		visit_refuse(visit, 403, PORTAL_UNVERIFIED);
	} else if (!dashboard_enter(visit)) {
		dashboard_show_sign_in(visit, 403, "Your session has ended. Please sign in again.");
	} else if (request_param(&visit->params, "token", token, sizeof(token)) ||
		   !session_is_sealed(visit->portal->secret, token_purpose(action, purpose),
				      visit->cookie, text_of(token))) {
		visit_refuse(visit, 403,
			     "This form is out of date. Please open the dashboard again.");
	} else {
		return true;
	}
	return false;
}

/* ---- signing in and out ---- */

void dashboard_show_sign_in(struct visit *visit, unsigned status, const char *why)
{
	struct html page;
	char path[256];

	if (status >= 400 && !visit->wants_html) {
		visit_refuse(visit, status, why);
		return;
	}
	portal_path(visit->portal, "/dashboard/sign-in", path, sizeof(path));
	page_begin(&page, visit, "Dashboard");
	if (why)
		html_put(&page, "<p class=\"note {}\" role=\"alert\">{}</p>",
			 status >= 400 ? "bad" : "good", why);
	html_put(&page,
		 "<section class=\"card\"><h2>Sign in</h2><p class=\"soft\">Sign in with one of "
		 "your API keys to see your plan and usage and to manage your keys.</p>"
		 "<form method=\"post\" action=\"{}\"><label for=\"key\">API key</label>"
		 "<input id=\"key\" name=\"key\" type=\"password\" required maxlength=\"256\" "
		 "autocomplete=\"current-password\" spellcheck=\"false\">"
		 "<p><button type=\"submit\">Sign in</button></p></form>",
		 path);
	portal_path(visit->portal, "/dashboard/recover", path, sizeof(path));
	if (notices_can_mail(visit->portal->notices))
		html_put(&page, "<p><a href=\"{}\">Lost your key?</a></p>", path);
	html_raw(&page, "</section>");
	page_answer(&page, visit, status, TEXT(""));
}

/* The ID of the key whose plain text is @text; 0 if that is not a valid key. */
static uint64_t find_key(const struct portal *portal, struct text text)
{
	uint8_t hash[CRYPTO_HASH_BYTES];
	struct mirror_key key;

	if (!key_is_plausible(portal->keys.prefix, text))
		return 0;
	crypto_hmac_sha256(portal->keys.pepper, text.ptr, text.len, hash);
	if (!mirror_find(portal->context->mirror, hash, &key) ||
	    (key.revoked_ms && key.revoked_ms <= clock_steady_ms()))
		return 0;
	return key.id;
}

void dashboard_sign_in(struct visit *visit)
{
	struct portal *portal = visit->portal;
	uint64_t source = visit_source(visit), now_ns = clock_mono_ns(), key;
	uint64_t wait_ns = limiter_wait_ns(&portal->sign_ins, source, now_ns);
	char text[KEY_MAX_BYTES + 16];
	struct buf fields;

	if (visit_is_foreign(visit)) {
		visit_refuse(visit, 403, PORTAL_UNVERIFIED);
		return;
	}
	if (wait_ns) {
		visit_refuse_busy(visit, wait_ns);
		return;
	}
	if (request_param(&visit->params, "key", text, sizeof(text)))
		text[0] = '\0';
	key = find_key(portal, text_trim(text_of(text)));
	OPENSSL_cleanse(text, sizeof(text));
	if (!key) {
		limiter_charge(&portal->sign_ins, source, now_ns);
		dashboard_show_sign_in(
			visit, 403,
			"This API key is not valid. Please check that you copied all of it.");
		return;
	}
	buf_init(&fields, 4096);
	if (dashboard_write_session(&fields, visit, key))
		visit_refuse(visit, 500, PORTAL_OUR_FAULT);
	else
		visit_go(visit, "/dashboard", buf_text(&fields));
	buf_done(&fields);
}

/* Delete the session's cookie and redirect to @page. */
static void leave_signed_out(struct visit *visit, const char *page)
{
	struct buf fields;

	buf_init(&fields, 4096);
	if (cookie_write_session(&fields, visit, "", 0))
		visit_refuse(visit, 500, PORTAL_OUR_FAULT);
	else
		visit_go(visit, page, buf_text(&fields));
	buf_done(&fields);
}

void dashboard_sign_out(struct visit *visit)
{
	if (may_act(visit, "sign-out"))
		leave_signed_out(visit, "/dashboard?done=signed-out");
}

/* ---- the page ---- */

static const char *done_words(const struct visit *visit)
{
	static const struct {
		const char *word, *words;
	} rows[] = {
		{ "revoked", "The key is revoked. Requests with it are refused from now on." },
		{ "signed-out", "You are signed out." },
		{ "same-plan", "You already have this plan." },
		{ "plan-changed",
		  "Your plan is being changed. This page shows the new one as soon as Stripe has "
		  "confirmed it." },
		{ "own",
		  "You revoked the key that you had signed in with, so you are signed out." },
	};
	char done[16];

	if (form_get(visit->handoff->query, "done", done, sizeof(done)))
		return NULL;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!strcmp(rows[i].word, done))
			return rows[i].words;
	}
	return NULL;
}

static void on_usage(void *arg, int err, const struct store_usage *rows, size_t count)
{
	dashboard_write(arg, rows, err ? 0 : count,
			err ? 0 : dashboard_usage_since_s(clock_wall_ms() / 1000));
}

static void on_keys_to_show(void *arg, int err, const struct store_key *keys, size_t count)
{
	struct visit *visit = arg;

	visit->shown = err || !count ? NULL : malloc(count * sizeof(*keys));
	if (!visit->shown) {
		visit_refuse(visit, 503,
			     "We couldn't load your dashboard. Please try again in a minute.");
		return;
	}
	memcpy(visit->shown, keys, count * sizeof(*keys));
	visit->shown_count = count;
	store_usage_list(visit->portal->context->store, visit->account,
			 dashboard_usage_since_s(clock_wall_ms() / 1000), USAGE_ROWS, on_usage,
			 visit);
}

void dashboard_open(struct visit *visit)
{
	char session[4];

	/* A session_id that is too long or malformed goes to the claim too, which refuses it. */
	if (form_get(visit->handoff->query, "session_id", session, sizeof(session)) != -ENOENT) {
		claim_open(visit);
		return;
	}
	visit->notice = done_words(visit);
	if (!dashboard_enter(visit))
		dashboard_show_sign_in(visit, 200, visit->notice);
	else
		store_keys_list(visit->portal->context->store, visit->account, 0, MAX_KEYS,
				on_keys_to_show, visit);
}

void dashboard_show_key(struct visit *visit, const struct registry_result *result,
			const char *title, struct text fields)
{
	struct html page;
	char path[256];

	portal_path(visit->portal, "/dashboard", path, sizeof(path));
	page_begin(&page, visit, title);
	html_put(
		&page,
		"<p class=\"note\">Copy it now and store it in a safe place. We don't keep a copy, "
		"so we can't show it again.</p>"
		"<code class=\"key\" id=\"key\">{}</code>"
		"<p>Send it with every request:</p>"
		"<code class=\"key\">curl -H \"X-API-Key: {}\" {}/</code>"
		"<p><a class=\"button\" href=\"{}\">I have saved my key</a></p>",
		result->key_text, result->key_text, visit->portal->context->settings->app_url,
		path);
	page_answer(&page, visit, 200, fields);
}

/* ---- keys ---- */

/*
 * The key that the form names, if it is one of the account's @keys and not revoked; else NULL.
 * Counts the valid keys.
 */
static const struct store_key *survey(const struct visit *visit, const struct store_key *keys,
				      size_t count, unsigned *ret_valid)
{
	const struct store_key *found = NULL;
	char named[ACCOUNT_ID_SIZE + 1];
	uint64_t id = 0;

	*ret_valid = 0;
	if (!request_param(&visit->params, "key", named, sizeof(named)) &&
	    account_parse_key_id(text_of(named), &id))
		id = 0;
	for (size_t i = 0; i < count; i++) {
		if (is_revoked(&keys[i]))
			continue;
		++*ret_valid;
		if (keys[i].id == id)
			found = &keys[i];
	}
	return found;
}

static void on_created(void *arg, const struct registry_result *result)
{
	struct visit *visit = arg;

	if (result->err) {
		log_error("dashboard: cannot create a key: %s", strerror(-result->err));
		visit_refuse(visit, 503, NO_KEY_CREATED);
	} else {
		dashboard_show_key(visit, result, "Your new API key", TEXT(""));
	}
}

static void on_revoked(void *arg, const struct registry_result *result)
{
	struct visit *visit = arg;
	struct store_key key;

	if (result->err)
		visit_refuse(visit, 503, NO_KEY_REVOKED);
	else if (mirror_key_by_id(visit->portal->context->mirror, visit->key, &key) &&
		 is_valid(visit->portal, &key))
		visit_go(visit, "/dashboard?done=revoked", TEXT(""));
	else
		leave_signed_out(visit, "/dashboard?done=own");
}

static void on_keys_to_create(void *arg, int err, const struct store_key *keys, size_t count)
{
	struct visit *visit = arg;
	char label[STORE_LABEL_MAX];
	unsigned valid;

	survey(visit, keys, err ? 0 : count, &valid);
	if (request_param(&visit->params, "label", label, sizeof(label)))
		label[0] = '\0';
	if (err || count == MAX_KEYS)
		visit_refuse(visit, 503, NO_KEY_CREATED);
	else if (valid >= MAX_VALID_KEYS)
		visit_refuse(visit, 409, TOO_MANY_KEYS);
	else
		registry_key_create(visit->portal->context->registry, visit->account, label,
				    on_created, visit);
}

static void on_keys_to_rotate(void *arg, int err, const struct store_key *keys, size_t count)
{
	struct visit *visit = arg;
	unsigned valid;
	const struct store_key *key = survey(visit, keys, err ? 0 : count, &valid);

	if (err || count == MAX_KEYS)
		visit_refuse(visit, 503, NO_KEY_CREATED);
	else if (!key)
		visit_refuse(visit, 404, NOT_YOUR_KEY);
	else if (valid >= MAX_VALID_KEYS)
		visit_refuse(visit, 409, TOO_MANY_KEYS);
	else
		registry_key_rotate(visit->portal->context->registry, key->id, OVERLAP_MS,
				    on_created, visit);
}

static void on_keys_to_revoke(void *arg, int err, const struct store_key *keys, size_t count)
{
	struct visit *visit = arg;
	unsigned valid;
	const struct store_key *key = survey(visit, keys, err ? 0 : count, &valid);

	if (err)
		visit_refuse(visit, 503, NO_KEY_REVOKED);
	else if (!key)
		visit_refuse(visit, 404, NOT_YOUR_KEY);
	/* Without a valid key the customer could not sign in again. */
	else if (valid == 1)
		visit_refuse(visit, 409,
			     "This is your only valid key. Create another one before you revoke "
			     "it.");
	else
		registry_key_revoke(visit->portal->context->registry, key->id, clock_wall_ms(),
				    on_revoked, visit);
}

static void act(struct visit *visit, const char *action, store_keys_done done)
{
	if (may_act(visit, action))
		store_keys_list(visit->portal->context->store, visit->account, 0, MAX_KEYS, done,
				visit);
}

void dashboard_create(struct visit *visit)
{
	act(visit, "create", on_keys_to_create);
}

void dashboard_rotate(struct visit *visit)
{
	act(visit, "rotate", on_keys_to_rotate);
}

void dashboard_revoke(struct visit *visit)
{
	act(visit, "revoke", on_keys_to_revoke);
}

/* ---- billing ---- */

static void on_billing(void *arg, const struct stripe_answer *answer)
{
	struct visit *visit = arg;
	const char *url = answer->err ? NULL : field_text(answer->body, "url");

	if (answer->err)
		log_warn("dashboard: billing portal: %s", answer->why);
	if (url)
		visit_leave(visit, PORTAL_BILLING, url, TEXT(""));
	else
		visit_refuse(visit, 502,
			     "We couldn't open Stripe's billing page. Please try again in a "
			     "minute.");
}

void dashboard_billing(struct visit *visit)
{
	const struct stripe_context *context = visit->portal->context;
	struct store_account account;
	uint64_t now_ns = clock_mono_ns();
	struct buf form, back;
	uint32_t slot;

	if (!may_act(visit, "billing"))
		return;
	if (!mirror_account(context->mirror, visit->account, &account, &slot) ||
	    !account.customer[0]) {
		visit_refuse(visit, 409,
			     "This account is not billed through Stripe, so it has no billing "
			     "page.");
		return;
	}
	if (limiter_wait_ns(&visit->portal->all, 0, now_ns)) {
		visit_refuse_busy(visit, limiter_wait_ns(&visit->portal->all, 0, now_ns));
		return;
	}
	limiter_charge(&visit->portal->all, 0, now_ns);
	buf_init(&form, 16384);
	buf_init(&back, 8192);
	if (buf_printf(&back, "%s%s/dashboard%c", context->settings->app_url,
		       context->settings->portal_path, '\0') ||
	    form_add(&form, "customer", account.customer) ||
	    form_add(&form, "return_url", buf_head(&back)))
		visit_refuse(visit, 500, PORTAL_OUR_FAULT);
	else
		stripe_api_call(context->api,
				&(struct stripe_call){ .method = "POST",
						       .path = "/v1/billing_portal/sessions",
						       .form = buf_text(&form),
						       .is_interactive = true },
				on_billing, visit);
	buf_done(&back);
	buf_done(&form);
}
