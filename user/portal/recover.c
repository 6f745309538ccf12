/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * recover: customers who have lost their key get a new one by mail.
 *
 * The address is the one that Stripe has, or that a self-service account was confirmed with. The
 * answer is the same whether or not an account has it, so nobody learns who is a customer. The
 * accounts are searched after the answer, some slots at a time, because there may be several
 * hundred thousand. Mail scanners open links, so opening one changes nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "enforce/account.h"
#include "http/form.h"
#include "portal/mail.h"
#include "portal/portal_private.h"

#define PURPOSE	     "recover"
#define LABEL	     "recovered by mail" /* of the new key */
#define VALID_MS     (3600 * 1000ULL)
#define MAX_SEARCHES 64
#define MAX_FOUND    20	  /* accounts of one address that a mail lists */
#define SLOTS_A_TURN 4096 /* of a search */
#define TURN_MS	     1

/* The search for the accounts of one address. */
struct search {
	STAILQ_ENTRY(search) entry;
	char email[STORE_LABEL_MAX]; /* as asked for, then as an account has it */
	uint32_t next_slot;
	uint64_t found[MAX_FOUND];
	unsigned found_count;
	bool has_more; /* accounts than fit */
};

/* ---- the form ---- */

static void show_form(struct visit *visit, unsigned status, const char *why)
{
	struct html page;
	char path[256];

	portal_path(visit->portal, "/dashboard/recover", path, sizeof(path));
	page_begin(&page, visit, "Recover your access");
	if (why)
		html_put(&page, "<p class=\"note bad\" role=\"alert\">{}</p>", why);
	html_put(&page,
		 "<section class=\"card\"><p>Enter the email address of your account. We'll send "
		 "you a link to a new API key.</p><form method=\"post\" "
		 "action=\"{}\"><label for=\"email\">Email address</label><input id=\"email\" "
		 "name=\"email\" type=\"email\" required maxlength=\"127\" "
		 "autocomplete=\"email\"><p><button type=\"submit\">Send the link</button></p>"
		 "</form></section>",
		 path);
	page_answer(&page, visit, status, TEXT(""));
}

static bool is_offered(struct visit *visit)
{
	if (notices_can_mail(visit->portal->notices))
		return true;
	visit_refuse(visit, 404,
		     "We can't send email from here. To get a new API key, please "
		     "contact " PORTAL_PROVIDER ".");
	return false;
}

void page_offer_recovery(struct html *page, const struct visit *visit, const char *otherwise)
{
	char path[256];

	portal_path(visit->portal, "/dashboard/recover", path, sizeof(path));
	if (notices_can_mail(visit->portal->notices)) {
		html_put(page,
			 "<p>{} we can email a link to a new key to the address of your "
			 "account.</p><p><a class=\"button\" href=\"{}\">Get a key by "
			 "email</a></p>",
			 otherwise, path);
		return;
	}
	html_put(page, "<p>{} ", otherwise);
	page_say(page, visit, "please contact " PORTAL_PROVIDER ", who can give you a new key.");
	html_raw(page, "</p>");
}

void recover_show(struct visit *visit)
{
	if (is_offered(visit))
		show_form(visit, 200, NULL);
}

/* ---- the search ---- */

static void look_at(struct portal *portal, struct search *search, uint32_t index)
{
	const struct stripe_context *context = portal->context;
	uint64_t id = context->slots->list[index].account_id;
	struct store_account account;
	uint32_t slot;

	if (!id || !mirror_account(context->mirror, id, &account, &slot) || slot != index ||
	    strcasecmp(account.email, search->email) != 0 ||
	    account_is_of_other_mode(&account, mirror_mode(context->mirror)))
		return;
	if (search->found_count == MAX_FOUND) {
		search->has_more = true;
		return;
	}
	search->found[search->found_count++] = id;
	memcpy(search->email, account.email, sizeof(search->email));
}

/* Append a line with the link of one account. */
static int write_line(struct buf *lines, struct portal *portal, uint64_t id, uint64_t expires_s)
{
	const struct stripe_settings *settings = portal->context->settings;
	char token[LINK_SIZE], name[ACCOUNT_ID_SIZE];
	struct store_account account;
	uint32_t slot;
	int err;

	if (!mirror_account(portal->context->mirror, id, &account, &slot))
		return 0;
	account_format_id(id, name);
	err = link_write(portal->secret, PURPOSE, name, expires_s, token);
	if (err)
		return err;
	return buf_printf(lines, "%s (%s):\n%s%s/dashboard/recover/key?link=%s\n\n",
			  account.tier[0] ? account.tier : "no plan", name, settings->app_url,
			  settings->portal_path, token);
}

static void end_search(struct portal *portal, struct search *search)
{
	uint64_t expires_s = (clock_wall_ms() + VALID_MS) / 1000;
	struct buf lines;
	int err = 0;

	buf_init(&lines, 64 * 1024);
	for (unsigned i = 0; i < search->found_count && !err; i++)
		err = write_line(&lines, portal, search->found[i], expires_s);
	if (!err && search->has_more)
		err = buf_append_str(&lines, "You have more accounts than we can list here. To "
					     "recover the others, please contact us.\n\n");
	if (!err && buf_len(&lines))
		err = buf_append(&lines, "", 1);
	if (!err && buf_len(&lines))
		err = notices_mail_link(portal->notices, TEMPLATE_RECOVERY, search->email,
					buf_head(&lines), expires_s);
	if (err)
		log_error("recovery: cannot write a mail: %s", strerror(-err));
	else if (search->found_count)
		log_info("recovery: mailing links for %u account%s", search->found_count,
			 search->found_count == 1 ? "" : "s");
	buf_done(&lines);
}

void recover_account(struct portal *portal, uint64_t account, const char *email)
{
	struct search search = { .found = { account }, .found_count = 1 };

	snprintf(search.email, sizeof(search.email), "%s", email);
	end_search(portal, &search);
}

static void on_turn(uv_timer_t *timer)
{
	struct portal *portal = timer->data;
	uint32_t count = portal->context->slots->count;
	struct search *search = STAILQ_FIRST(&portal->searches);

	for (unsigned i = 0; search && i < SLOTS_A_TURN && search->next_slot < count; i++)
		look_at(portal, search, search->next_slot++);
	if (!search || search->next_slot < count)
		return;
	STAILQ_REMOVE_HEAD(&portal->searches, entry);
	portal->search_count--;
	end_search(portal, search);
	free(search);
	if (STAILQ_EMPTY(&portal->searches))
		uv_timer_stop(&portal->search_timer);
}

void recover_forget(struct portal *portal)
{
	struct search *search;

	while ((search = STAILQ_FIRST(&portal->searches))) {
		STAILQ_REMOVE_HEAD(&portal->searches, entry);
		free(search);
	}
}

int recover_search(struct portal *portal, const char *email)
{
	struct search *search =
		portal->search_count < MAX_SEARCHES ? calloc(1, sizeof(*search)) : NULL;

	if (!search)
		return -EBUSY;
	snprintf(search->email, sizeof(search->email), "%s", email);
	STAILQ_INSERT_TAIL(&portal->searches, search, entry);
	portal->search_count++;
	uv_timer_start(&portal->search_timer, on_turn, TURN_MS, TURN_MS);
	return 0;
}

/* ---- asking for a link ---- */

bool visit_read_email(struct visit *visit)
{
	struct text trimmed;

	if (request_param(&visit->params, "email", visit->email, sizeof(visit->email)))
		visit->email[0] = '\0';
	trimmed = text_trim(text_of(visit->email));
	memmove(visit->email, trimmed.ptr, trimmed.len);
	visit->email[trimmed.len] = '\0';
	return trimmed.len < STORE_LABEL_MAX && mail_is_address(visit->email);
}

uint64_t visit_mail_wait_ns(struct visit *visit)
{
	struct portal *portal = visit->portal;
	uint64_t source = visit_source(visit), now_ns = clock_mono_ns(), address, wait_ns, other_ns;
	char lower[sizeof(visit->email)];
	uint8_t hash[CRYPTO_HASH_BYTES];
	size_t len = strlen(visit->email);

	for (size_t i = 0; i <= len; i++)
		lower[i] = visit->email[i] >= 'A' && visit->email[i] <= 'Z'
				   ? (char)(visit->email[i] | 0x20)
				   : visit->email[i];
	crypto_hmac_sha256(portal->secret, lower, len, hash);
	memcpy(&address, hash, sizeof(address));
	wait_ns = limiter_wait_ns(&portal->mails, source, now_ns);
	other_ns = limiter_wait_ns(&portal->mails_to, address, now_ns);
	if (!wait_ns && !other_ns)
		wait_ns = limiter_wait_ns(&portal->mails_all, 0, now_ns);
	if (wait_ns || other_ns)
		return wait_ns > other_ns ? wait_ns : other_ns;
	limiter_charge(&portal->mails, source, now_ns);
	limiter_charge(&portal->mails_to, address, now_ns);
	limiter_charge(&portal->mails_all, 0, now_ns);
	return 0;
}

void visit_say_mailed(struct visit *visit, const char *words)
{
	struct html page;

	page_begin(&page, visit, "Check your email");
	html_put(&page, "<p class=\"note good\" role=\"status\">{}</p>", words);
	page_answer(&page, visit, 200, TEXT(""));
}

void recover_ask(struct visit *visit)
{
	uint64_t wait_ns;

	if (!is_offered(visit))
		return;
	if (visit_is_foreign(visit)) {
		visit_refuse(visit, 403, PORTAL_UNVERIFIED);
		return;
	}
	if (!visit_read_email(visit)) {
		show_form(visit, 400, "This is not a valid email address. Please check it.");
		return;
	}
	wait_ns = visit_mail_wait_ns(visit);
	if (wait_ns)
		visit_refuse_busy(visit, wait_ns);
	else if (recover_search(visit->portal, visit->email))
		visit_refuse(visit, 503, PORTAL_OUR_FAULT);
	else
		visit_say_mailed(visit,
				 "If an account has this email address, we have sent a link to it. "
				 "The link is valid for an hour. If no email arrives, please check "
				 "your spam folder, and that the address is the one you used when "
				 "you signed up or paid.");
}

/* ---- using a link ---- */

static void say(struct visit *visit, unsigned status, const char *title, const char *words)
{
	struct html page;
	char path[256];

	portal_path(visit->portal, "/dashboard/recover", path, sizeof(path));
	page_begin(&page, visit, title);
	html_put(&page,
		 "<p class=\"note bad\" role=\"alert\">{}</p><p><a class=\"button\" "
		 "href=\"{}\">Get another link</a></p>",
		 words, path);
	page_answer(&page, visit, status, TEXT(""));
}

/* Read the link and find its account. If it is not valid, the visit has been answered. */
static bool read_link(struct visit *visit, struct store_account *ret_account)
{
	struct link_token link;
	uint32_t slot;
	int err = link_read(visit->portal->secret, PURPOSE, text_of(visit->link),
			    clock_wall_ms() / 1000, &link);

	visit->is_claim = true;
	if (err == -ETIMEDOUT) {
		say(visit, 410, "This link has expired", "Links are valid for an hour.");
	} else if (err || account_parse_id(text_of(link.subject), &visit->account) ||
		   !mirror_account(visit->portal->context->mirror, visit->account, ret_account,
				   &slot)) {
		say(visit, 404, "This link is not valid",
		    "Please check that you opened the complete link.");
	} else {
		snprintf(visit->session, sizeof(visit->session), "recover_%s", link.id);
		return true;
	}
	return false;
}

void recover_open(struct visit *visit)
{
	char path[256], token[SESSION_SEAL_SIZE];
	struct store_account account;
	struct html page;

	if (form_get(visit->handoff->query, "link", visit->link, sizeof(visit->link)))
		visit->link[0] = '\0';
	if (!read_link(visit, &account))
		return;
	portal_path(visit->portal, "/dashboard/recover/key", path, sizeof(path));
	session_seal(visit->portal->secret, "recover token", text_of(visit->link), token);
	page_begin(&page, visit, "Get a new API key");
	html_put(&page,
		 "<section class=\"card\"><h2>Your plan: {}</h2><p>The new key is shown "
		 "<strong>only once</strong>, so be ready to store it safely.</p><form "
		 "method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"link\" value=\"{}\">"
		 "<input type=\"hidden\" name=\"token\" value=\"{}\"><p><label "
		 "class=\"check\"><input "
		 "type=\"checkbox\" name=\"revoke\" value=\"yes\"> Revoke all other keys of this "
		 "account now. Do this if somebody else may have them.</label></p><button "
		 "type=\"submit\">Show my new API key</button></form></section>",
		 account.tier[0] ? account.tier : "none", path, visit->link, token);
	page_answer(&page, visit, 200, TEXT(""));
}

static void on_claimed(void *arg, const struct registry_result *result)
{
	struct visit *visit = arg;
	char account[ACCOUNT_ID_SIZE], key[ACCOUNT_ID_SIZE];
	struct buf fields;

	if (result->err == -EEXIST) {
		say(visit, 410, "This link was already used", "Each link works only once.");
		return;
	}
	if (result->err) {
		log_error("recovery: cannot create a key: %s", strerror(-result->err));
		visit_refuse(visit, 503, PORTAL_OUR_FAULT);
		return;
	}
	account_format_id(visit->account, account);
	account_format_key_id(result->key->id, key);
	log_info("recovery: account %s has a new key %s%s", account, key,
		 visit->is_revoking ? ", and all others are revoked" : "");
	buf_init(&fields, 4096);
	if (dashboard_write_session(&fields, visit, result->key->id))
		buf_clear(&fields);
	dashboard_show_key(visit, result, "Your new API key", buf_text(&fields));
	buf_done(&fields);
}

/*
 * To revoke the other keys too, the link is first claimed with a key that nobody sees, so that only
 * one of several simultaneous requests continues. Revoking all keys then ends that key as well. If
 * a later step fails, the customer needs another link.
 */
static void say_unfinished(struct visit *visit, int err)
{
	log_error("recovery: cannot revoke keys and create another: %s", strerror(-err));
	say(visit, 503, "We couldn't create your key",
	    "Something went wrong on our side, and this link can't be used again. Your old keys "
	    "may already be revoked. Please get another link.");
}

static void on_created(void *arg, const struct registry_result *result)
{
	if (result->err)
		say_unfinished(arg, result->err);
	else
		on_claimed(arg, result);
}

static void on_revoked(void *arg, const struct registry_result *result)
{
	struct visit *visit = arg;

	if (result->err)
		say_unfinished(visit, result->err);
	else
		registry_key_create(visit->portal->context->registry, visit->account, LABEL,
				    on_created, visit);
}

static void on_used_up(void *arg, const struct registry_result *result)
{
	struct visit *visit = arg;

	if (result->err)
		on_claimed(visit, result);
	else
		registry_keys_revoke(visit->portal->context->registry, visit->account, on_revoked,
				     visit);
}

bool visit_has_token(struct visit *visit, const char *purpose)
{
	struct text origin = request_origin(text_of(visit->portal->context->settings->app_url));
	char token[SESSION_SEAL_SIZE] = "";

	visit->is_claim = true;
	if (request_param(&visit->params, "link", visit->link, sizeof(visit->link)))
		visit->link[0] = '\0';
	if (request_param(&visit->params, "token", token, sizeof(token)))
		token[0] = '\0';
	/* The page has Referrer-Policy no-referrer, so its form comes with "Origin: null". */
	if (!request_is_foreign(visit->handoff, origin, true) &&
	    session_is_sealed(visit->portal->secret, purpose, text_of(visit->link), text_of(token)))
		return true;
	visit_refuse(visit, 403, PORTAL_UNVERIFIED);
	return false;
}

void recover_take(struct visit *visit)
{
	struct store_account account;
	char revoke[8];

	if (!visit_has_token(visit, "recover token") || !read_link(visit, &account))
		return;
	visit->is_revoking = !request_param(&visit->params, "revoke", revoke, sizeof(revoke));
	registry_key_claim(visit->portal->context->registry, visit->account, visit->session, LABEL,
			   visit->is_revoking ? on_used_up : on_claimed, visit);
}
