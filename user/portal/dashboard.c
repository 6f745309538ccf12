/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dashboard: signing in with a key, and what can be done once signed in.
 *
 * A session belongs to the key that it was signed in with, and ends with it: whoever revokes a stolen key
 * throws the thief out of here too.
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
#include "stripe/form.h"

#define MAX_KEYS       1000 /* of an account that are looked at */
#define MAX_VALID_KEYS 20
#define OVERLAP_MS     (24 * 3600 * 1000ULL)
#define USAGE_ROWS     100000

/* ---- who is signed in ---- */

static bool is_over(const struct store_key *key)
{
	return key->revoked_ms && key->revoked_ms <= clock_wall_ms();
}

/* Whether @key, of which the mirror knows, is valid; all of an account's keys may be over at once. */
static bool is_valid(const struct portal *portal, const struct store_key *key)
{
	struct mirror_key found;

	return mirror_find(portal->context->mirror, key->hash, &found) &&
	       (!found.revoked_ms || found.revoked_ms > clock_wall_ms());
}

/* Whether the visitor is signed in; then `account` and `key` say as whom. */
static bool enter(struct visit *visit)
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
	return cookie_write(fields, visit, cookie_session_name(visit), cookie, SESSION_SECONDS,
			    true);
}

static bool is_foreign(const struct visit *visit)
{
	const char *app_url = visit->portal->context->settings->app_url;

	return request_is_foreign(visit->handoff, request_origin(text_of(app_url)), false);
}

/* Whether a form of a signed-in page asks for @action. If not, the visit has been answered. */
static bool may_act(struct visit *visit, const char *action)
{
	char purpose[32], token[SESSION_SEAL_SIZE];

	if (is_foreign(visit)) {
		visit_refuse(visit, 403, "This form was not ours");
	} else if (!enter(visit)) {
		dashboard_show_sign_in(visit, 403, "Your session is over. Sign in again.");
	} else if (request_param(&visit->params, "token", token, sizeof(token)) ||
		   !session_is_sealed(visit->portal->secret, token_purpose(action, purpose),
				      visit->cookie, text_of(token))) {
		visit_refuse(visit, 403, "This form is out of date; open the dashboard again");
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
		 "<section class=\"card\"><h2>Sign in</h2><p class=\"soft\">With one of your API "
		 "keys, "
		 "you see your plan and usage and manage your keys.</p>"
		 "<form method=\"post\" action=\"{}\"><label for=\"key\">API key</label>"
		 "<input id=\"key\" name=\"key\" type=\"password\" required maxlength=\"256\" "
		 "autocomplete=\"current-password\" spellcheck=\"false\">"
		 "<p><button type=\"submit\">Sign in</button></p></form></section>",
		 path);
	page_answer(&page, visit, status, TEXT(""));
}

/* The id of the valid key that is @text; 0: there is none. */
static uint64_t find_key(const struct portal *portal, struct text text)
{
	uint8_t hash[CRYPTO_HASH_BYTES];
	struct mirror_key key;

	if (!key_is_plausible(portal->keys.prefix, text))
		return 0;
	crypto_hmac_sha256(portal->keys.pepper, text.ptr, text.len, hash);
	if (!mirror_find(portal->context->mirror, hash, &key) ||
	    (key.revoked_ms && key.revoked_ms <= clock_wall_ms()))
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

	if (is_foreign(visit)) {
		visit_refuse(visit, 403, "This form was not ours");
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
		dashboard_show_sign_in(visit, 403, "That is no valid API key.");
		return;
	}
	buf_init(&fields, 1024);
	if (dashboard_write_session(&fields, visit, key))
		visit_refuse(visit, 500, "Out of memory");
	else
		visit_go(visit, "/dashboard", buf_text(&fields));
	buf_done(&fields);
}

/* To @page, signed out. */
static void leave_signed_out(struct visit *visit, const char *page)
{
	struct buf fields;

	buf_init(&fields, 1024);
	if (cookie_write(&fields, visit, cookie_session_name(visit), "", 0, true))
		visit_refuse(visit, 500, "Out of memory");
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
		{ "revoked", "The key is revoked. It is not accepted any more." },
		{ "signed-out", "You are signed out." },
		{ "own", "The key is revoked, and with it you are signed out." },
	};
	char done[16];

	if (request_form_get(visit->handoff->query, "done", done, sizeof(done)))
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
			     "The dashboard is not available now; try again in a moment");
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

	/* Even a broken one: the answer says so. */
	if (request_form_get(visit->handoff->query, "session_id", session, sizeof(session)) !=
	    -ENOENT) {
		claim_open(visit);
		return;
	}
	visit->notice = done_words(visit);
	if (!enter(visit))
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
		"<p class=\"note\">Copy it now: this is the only time that it is shown. It is kept "
		"nowhere, so nobody can look it up for you later.</p>"
		"<code class=\"key\" id=\"key\">{}</code>"
		"<p>Send it with each request:</p>"
		"<code class=\"key\">curl -H \"X-API-Key: {}\" {}/</code>"
		"<p><a class=\"button\" href=\"{}\">I have saved it: to the dashboard</a></p>",
		result->key_text, result->key_text, visit->portal->context->settings->app_url,
		path);
	page_answer(&page, visit, 200, fields);
}

/* ---- keys ---- */

/* The action's key among the account's: NULL if it is not there, or over. And how many are valid. */
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
		if (is_over(&keys[i]))
			continue;
		++*ret_valid;
		if (keys[i].id == id)
			found = &keys[i];
	}
	return found;
}

static void on_made(void *arg, const struct registry_result *result)
{
	struct visit *visit = arg;

	if (result->err) {
		log_error("dashboard: no key could be made: %s", strerror(-result->err));
		visit_refuse(visit, 503, "No key can be made now; try again in a moment");
	} else {
		dashboard_show_key(visit, result, "Your new API key", TEXT(""));
	}
}

static void on_revoked(void *arg, const struct registry_result *result)
{
	struct visit *visit = arg;
	struct store_key key;

	if (result->err)
		visit_refuse(visit, 503, "The key cannot be revoked now; try again in a moment");
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
		visit_refuse(visit, 503, "No key can be made now");
	else if (valid >= MAX_VALID_KEYS)
		visit_refuse(visit, 409, "You have twenty valid keys: revoke one first");
	else
		registry_key_create(visit->portal->context->registry, visit->account, label,
				    on_made, visit);
}

static void on_keys_to_rotate(void *arg, int err, const struct store_key *keys, size_t count)
{
	struct visit *visit = arg;
	unsigned valid;
	const struct store_key *key = survey(visit, keys, err ? 0 : count, &valid);

	if (err || count == MAX_KEYS)
		visit_refuse(visit, 503, "No key can be made now");
	else if (!key)
		visit_refuse(visit, 404, "You have no such key that is valid");
	else if (valid >= MAX_VALID_KEYS)
		visit_refuse(visit, 409, "You have twenty valid keys: revoke one first");
	else
		registry_key_rotate(visit->portal->context->registry, key->id, OVERLAP_MS, on_made,
				    visit);
}

static void on_keys_to_revoke(void *arg, int err, const struct store_key *keys, size_t count)
{
	struct visit *visit = arg;
	unsigned valid;
	const struct store_key *key = survey(visit, keys, err ? 0 : count, &valid);

	if (err)
		visit_refuse(visit, 503, "The key cannot be revoked now; try again in a moment");
	else if (!key)
		visit_refuse(visit, 404, "You have no such key that is valid");
	/* Without a key there would be no way back in here. */
	else if (valid == 1)
		visit_refuse(visit, 409, "This is your last key: create another one first");
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
			     "Stripe's billing page cannot be opened now; try again in a "
			     "moment");
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
		visit_refuse(visit, 409, "This account is not billed through Stripe");
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
		visit_refuse(visit, 500, "Out of memory");
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
