/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * signup: visitors take a tier with `self_service: true`, without Stripe, by confirming their mail
 * address.
 *
 * Each address gets one account: the account's ID is derived from the address, so the store refuses
 * a second one from any host. If the address has an account already, the answer to the form is the
 * same, but the mail has a link to recover the account. If the owner has bought since and the
 * subscription has ended, the account can get the free tier again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "enforce/account.h"
#include "http/form.h"
#include "portal/portal_private.h"

#define PURPOSE	 "sign up"
#define VALID_MS (24 * 3600 * 1000ULL)

/* The ID of the account of @email: the same for addresses that differ in case only. Never 0. */
static uint64_t account_of(const struct portal *portal, const char *email)
{
	char lower[STORE_LABEL_MAX], seal[SESSION_SEAL_SIZE], text[ACCOUNT_ID_SIZE];
	uint64_t id = 0;
	size_t i = 0;

	for (; email[i] && i + 1 < sizeof(lower); i++)
		lower[i] = email[i] >= 'A' && email[i] <= 'Z' ? (char)(email[i] | 0x20) : email[i];
	lower[i] = '\0';
	session_seal(portal->secret, "self-service account", text_of(lower), seal);
	snprintf(text, sizeof(text), "acc_%.16s", seal);
	account_parse_id(text_of(text), &id);
	id >>= 1; /* stores have signed numbers */
	return id ? id : 1;
}

static const struct tier *find_tier(const struct portal *portal, const char *name)
{
	const struct tier *tier = tiers_find(portal->context->tiers, name);

	return tier && tier->is_self_service ? tier : NULL;
}

/* ---- asking for a link ---- */

static int mail_link(struct visit *visit, const struct tier *tier)
{
	struct portal *portal = visit->portal;
	const struct stripe_settings *settings = portal->context->settings;
	uint64_t expires_s = (clock_wall_ms() + VALID_MS) / 1000;
	char subject[LINK_SUBJECT_MAX], token[LINK_SIZE];
	struct buf line;
	int err;

	if (snprintf(subject, sizeof(subject), "%s %s", tier->name, visit->email) >=
	    (int)sizeof(subject))
		return -ENAMETOOLONG;
	err = link_write(portal->secret, PURPOSE, subject, expires_s, token);
	buf_init(&line, 16384);
	if (!err)
		err = buf_printf(&line, "%s%s/dashboard/start?link=%s%c", settings->app_url,
				 settings->portal_path, token, '\0');
	if (!err)
		err = notices_mail_link(portal->notices, TEMPLATE_CONFIRM, visit->email,
					buf_head(&line), expires_s);
	buf_done(&line);
	return err;
}

static bool has_bought_and_ended(const struct store_account *account)
{
	return account->subscription[0] && account_status_is_final(account->status);
}

void signup_ask(struct visit *visit)
{
	struct portal *portal = visit->portal;
	char name[STORE_NAME_MAX];
	struct store_account account;
	const struct tier *tier;
	uint64_t wait_ns;
	uint32_t slot;
	int err;

	if (visit_is_foreign(visit)) {
		visit_refuse(visit, 403, PORTAL_UNVERIFIED);
		return;
	}
	if (request_param(&visit->params, "tier", name, sizeof(name)))
		name[0] = '\0';
	tier = find_tier(portal, name);
	if (!tier || !notices_can_mail(portal->notices)) {
		visit_refuse(visit, 400, "Please choose a plan from the pricing page.");
		return;
	}
	if (!visit_read_email(visit)) {
		visit_refuse(visit, 400,
			     "This is not a valid email address. Please go back and check it.");
		return;
	}
	wait_ns = visit_mail_wait_ns(visit);
	if (wait_ns) {
		visit_refuse_busy(visit, wait_ns);
		return;
	}
	err = 0;
	if (mirror_account(portal->context->mirror, account_of(portal, visit->email), &account,
			   &slot) &&
	    !has_bought_and_ended(&account))
		recover_account(portal, account.id, visit->email);
	else
		err = mail_link(visit, tier);
	if (err) {
		log_error("sign-up: cannot mail a link: %s", strerror(-err));
		visit_refuse(visit, 503, PORTAL_OUR_FAULT);
	} else {
		visit_say_mailed(visit,
				 "We have sent you an email with a link. Open it to get your API "
				 "key. If no email arrives, please check your spam folder and that "
				 "you typed the address correctly.");
	}
}

/* ---- using a link ---- */

static void say(struct visit *visit, unsigned status, const char *title, const char *words)
{
	struct html page;
	char path[256];

	portal_path(visit->portal, "/pricing", path, sizeof(path));
	page_begin(&page, visit, title);
	html_put(&page,
		 "<p class=\"note bad\" role=\"alert\">{}</p><p><a class=\"button\" "
		 "href=\"{}\">Back "
		 "to pricing</a></p>",
		 words, path);
	page_answer(&page, visit, status, TEXT(""));
}

/* The link's tier; sets the visit's address. If it is not valid, the visit has been answered. */
static const struct tier *read_link(struct visit *visit)
{
	const struct tier *tier = NULL;
	struct link_token link;
	char *email;
	int err = link_read(visit->portal->secret, PURPOSE, text_of(visit->link),
			    clock_wall_ms() / 1000, &link);

	visit->is_claim = true;
	email = err ? NULL : strchr(link.subject, ' ');
	if (email) {
		*email++ = '\0';
		tier = find_tier(visit->portal, link.subject);
		snprintf(visit->email, sizeof(visit->email), "%.255s", email);
	}
	if (err == -ETIMEDOUT)
		say(visit, 410, "This link has expired",
		    "Links are valid for 24 hours. Please choose your plan again.");
	else if (!email)
		say(visit, 404, "This link is not valid",
		    "Please check that you opened the complete link, or choose your plan again.");
	else if (!tier)
		say(visit, 410, "This plan is no longer offered",
		    "Please choose another plan on the pricing page.");
	return tier;
}

void signup_open(struct visit *visit)
{
	char path[256], token[SESSION_SEAL_SIZE];
	const struct tier *tier;
	struct html page;

	if (form_get(visit->handoff->query, "link", visit->link, sizeof(visit->link)))
		visit->link[0] = '\0';
	tier = read_link(visit);
	if (!tier)
		return;
	portal_path(visit->portal, "/dashboard/start", path, sizeof(path));
	session_seal(visit->portal->secret, "sign-up token", text_of(visit->link), token);
	page_begin(&page, visit, "Get your API key");
	html_put(&page,
		 "<section class=\"card\"><h2>Your plan: {}</h2><p>Your API key is shown "
		 "<strong>only "
		 "once</strong>, so be ready to store it safely.</p><form method=\"post\" "
		 "action=\"{}\"><input type=\"hidden\" name=\"link\" value=\"{}\"><input "
		 "type=\"hidden\" name=\"token\" value=\"{}\"><button type=\"submit\">Show my API "
		 "key</button></form></section>",
		 tier->name, path, visit->link, token);
	page_answer(&page, visit, 200, TEXT(""));
}

static void on_claimed(void *arg, const struct registry_result *result)
{
	struct visit *visit = arg;
	char path[256];
	struct buf fields;
	struct html page;

	if (result->err == -EEXIST) {
		portal_path(visit->portal, "/dashboard/recover", path, sizeof(path));
		page_begin(&page, visit, "Your key was already shown");
		html_put(&page,
			 "<p class=\"note\">A key is shown only once, and we don't keep a copy of "
			 "it.</p><p><a class=\"button\" href=\"{}\">Get a new key by email</a></p>",
			 path);
		page_answer(&page, visit, 200, TEXT(""));
		return;
	}
	if (result->err) {
		log_error("sign-up: cannot create a key: %s", strerror(-result->err));
		visit_refuse(visit, 503, PORTAL_OUR_FAULT);
		return;
	}
	buf_init(&fields, 4096);
	if (dashboard_write_session(&fields, visit, result->key->id))
		buf_clear(&fields);
	dashboard_show_key(visit, result, "Your API key", buf_text(&fields));
	buf_done(&fields);
}

static void claim(struct visit *visit, const struct store_account *account)
{
	claim_first_id(account, visit->claim);
	registry_key_claim(visit->portal->context->registry, visit->account, visit->claim,
			   "self-service", on_claimed, visit);
}

static void on_freed(void *arg, const struct registry_result *result)
{
	struct visit *visit = arg;

	if (result->err) {
		log_error("sign-up: cannot change an account: %s", strerror(-result->err));
		visit_refuse(visit, 503, PORTAL_OUR_FAULT);
	} else {
		claim(visit, result->account);
	}
}

/* Give the account, whose subscription has ended, the free tier again. */
static void free_again(struct visit *visit, const struct store_account *account)
{
	struct registry_change change = REGISTRY_NO_CHANGE;
	const struct tier *tier = read_link(visit);

	if (!tier)
		return;
	change.tier = tier->name;
	change.subscription = "";
	change.status = STORE_ACTIVE;
	change.mode = STORE_MODE_NONE;
	registry_account_set(visit->portal->context->registry, account->id, &change, on_freed,
			     visit);
}

static void on_created(void *arg, const struct registry_result *result)
{
	struct visit *visit = arg;
	struct store_account account;
	uint32_t slot;

	if (result->err && result->err != -EEXIST) {
		log_error("sign-up: cannot create an account: %s",
			  result->err == -ENOSPC ? "all slots are taken; raise max_accounts"
						 : strerror(-result->err));
		visit_refuse(visit, 503,
			     "We can't create more accounts right now. Your link stays valid, so "
			     "please try again later.");
		return;
	}
	if (!result->err) {
		log_info("sign-up: created an account of tier %s", result->account->tier);
		claim(visit, result->account);
	} else if (mirror_account(visit->portal->context->mirror, visit->account, &account,
				  &slot)) {
		if (has_bought_and_ended(&account))
			free_again(visit, &account);
		else
			claim(visit, &account);
	} else {
		/* Another host has just created it; the store's feed reports it in a moment. */
		visit_refuse(visit, 503,
			     "Your account is being created. Please try again in a few seconds.");
	}
}

void signup_take(struct visit *visit)
{
	struct store_account account = { .status = STORE_ACTIVE };
	const struct tier *tier;

	if (!visit_has_token(visit, "sign-up token"))
		return;
	tier = read_link(visit);
	if (!tier)
		return;
	visit->account = account.id = account_of(visit->portal, visit->email);
	snprintf(account.tier, sizeof(account.tier), "%s", tier->name);
	snprintf(account.email, sizeof(account.email), "%.127s", visit->email);
	snprintf(account.label, sizeof(account.label), "%.127s", visit->email);
	registry_account_create(visit->portal->context->registry, &account, on_created, visit);
}
