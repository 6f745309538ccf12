/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * claim_link: see claim_link.h. claim.c shows the page that a link leads to.
 *
 * A link names an account and a claim. The store's list of claims makes sure that each claim
 * happens only once (registry_key_claim()).
 */
#include "portal/claim_link.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/clock.h"
#include "enforce/account.h"
#include "portal/portal_private.h"
#include "stripe/apply.h"

#define PURPOSE	       "claim link"
#define ACCOUNTS_NAMED 8 /* of a customer, in an error */
#define WORD	       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

void claim_first_id(const struct store_account *account, char ret_claim[CLAIM_LINK_ID_SIZE])
{
	char id[ACCOUNT_ID_SIZE];

	account_format_id(account->id, id);
	if (account->subscription[0])
		snprintf(ret_claim, CLAIM_LINK_ID_SIZE, "%s", account->subscription);
	else
		snprintf(ret_claim, CLAIM_LINK_ID_SIZE, "start_%s_%" PRIx64, id,
			 account->created_ms);
}

/* A token's subject is the account's ID, the claim's ID and the label, separated by spaces. */
int claim_link_write(const struct crypto_hmac *secret, const struct claim_link *link,
		     uint64_t expires_s, char ret_token[LINK_SIZE])
{
	char account[ACCOUNT_ID_SIZE], subject[LINK_SUBJECT_MAX];

	account_format_id(link->account, account);
	snprintf(subject, sizeof(subject), "%s %s %s", account, link->claim, link->label);
	return link_write(secret, PURPOSE, subject, expires_s, ret_token);
}

int claim_link_read(const struct crypto_hmac *secret, const char *token, uint64_t now_s,
		    struct claim_link *ret_link)
{
	struct link_token link;
	const char *claim, *label;
	int err = link_read(secret, PURPOSE, text_of(token), now_s, &link);

	if (err)
		return err;
	/* The portal wrote it, so a token with other contents is from another version. */
	*ret_link = (struct claim_link){ 0 };
	claim = strchr(link.subject, ' ');
	label = claim ? strchr(claim + 1, ' ') : NULL;
	if (!label ||
	    account_parse_id((struct text){ link.subject, (size_t)(claim - link.subject) },
			     &ret_link->account) ||
	    (size_t)(label - claim) > sizeof(ret_link->claim) ||
	    text_copy(ret_link->label, sizeof(ret_link->label), label + 1))
		return -EBADMSG;
	memcpy(ret_link->claim, claim + 1, (size_t)(label - claim - 1));
	return 0;
}

/* ---- making a link ---- */

struct making {
	LIST_ENTRY(making) entry; /* in the portal's makings */
	struct portal *portal;	  /* borrowed */
	claim_link_done done;
	void *arg;
	bool is_further;
	uint64_t expires_s;
	struct claim_link link;
};

/* Takes over @answer. */
static void end(struct making *m, json_t *answer, unsigned status, const char *why)
{
	LIST_REMOVE(m, entry);
	m->done(m->arg, answer, status, why);
	free(m);
}

static void fail(struct making *m, unsigned status, const char *why)
{
	end(m, NULL, status, why);
}

static void on_claim(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct making *m = arg;
	const struct stripe_settings *settings = m->portal->context->settings;
	char token[LINK_SIZE], account[ACCOUNT_ID_SIZE];
	struct buf url;
	json_t *answer;

	(void)tasks;
	account_format_id(m->link.account, account);
	if (err || claim_link_write(m->portal->secret, &m->link, m->expires_s, token)) {
		fail(m, 503, "the store cannot be read; try again");
		return;
	}
	buf_init(&url, 8192);
	answer = buf_printf(&url, "%s%s/dashboard/claim?link=%s%c", settings->app_url,
			    settings->portal_path, token, '\0')
			 ? NULL
			 : json_pack("{s:s, s:I, s:s, s:b}", "url", buf_head(&url), "expires",
				     (json_int_t)m->expires_s, "account", account, "claimed",
				     count != 0);
	buf_done(&url);
	if (answer)
		end(m, answer, 200, NULL);
	else
		fail(m, 500, "out of memory");
}

/* The account is known. Choose the claim's ID, and look whether it was claimed already. */
static void finish(struct making *m, const struct store_account *account)
{
	char first[CLAIM_LINK_ID_SIZE];
	uint8_t random[16];

	m->link.account = account->id;
	if (m->is_further) {
		if (crypto_random(random, sizeof(random))) {
			fail(m, 500, "no random numbers");
			return;
		}
		memcpy(m->link.claim, "more_", 5);
		text_hex(random, sizeof(random), m->link.claim + 5);
	}
	claim_first_id(account, first);
	store_task_find(m->portal->context->store, REGISTRY_CLAIMS,
			m->is_further ? m->link.claim : first, on_claim, m);
}

static void on_applied(void *arg, const struct registry_result *result)
{
	struct making *m = arg;

	if (result->err)
		fail(m, 503, "the subscription cannot be stored right now; try again");
	else if (!result->account)
		fail(m, 404, "the subscription has ended, or no tier has its price");
	else
		finish(m, result->account);
}

/* Whether Stripe has answered. If not, the link has failed. */
static bool is_answered(struct making *m, const struct stripe_answer *answer)
{
	if (!answer->err)
		return true;
	if (answer->err == -EREMOTEIO && answer->status == 404)
		fail(m, 404, "Stripe has no such object");
	else
		fail(m, 502, answer->why);
	return false;
}

static void on_subscription(void *arg, const struct stripe_answer *answer)
{
	struct making *m = arg;

	if (is_answered(m, answer))
		apply_subscription(m->portal->context, answer->body,
				   &(struct apply_source){ .as_of_s = answer->date_s }, on_applied,
				   m);
}

static void on_session(void *arg, const struct stripe_answer *answer)
{
	struct making *m = arg;
	struct checkout_session session;

	if (!is_answered(m, answer))
		return;
	checkout_read(answer->body, &session);
	if (session.state != CHECKOUT_PAID)
		fail(m, 409, "the checkout session is not paid, or not for a subscription");
	else
		apply_subscription(m->portal->context, session.subscription,
				   &(struct apply_source){ .as_of_s = answer->date_s,
							   .reference = session.reference },
				   on_applied, m);
}

static void find_account(struct making *m, uint64_t id)
{
	struct store_account account;
	uint32_t slot;

	if (mirror_account(m->portal->context->mirror, id, &account, &slot))
		finish(m, &account);
	else
		fail(m, 404, "there is no such account");
}

/* The customer has several accounts: name them, so that the caller can choose. */
static void fail_with_accounts(struct making *m, const uint64_t *ids, unsigned count)
{
	char why[64 + ACCOUNTS_NAMED * (ACCOUNT_ID_SIZE + 1)], id[ACCOUNT_ID_SIZE];
	size_t len = (size_t)snprintf(why, sizeof(why),
				      "the customer has %u accounts; name one of them:", count);

	for (unsigned i = 0; i < count && i < ACCOUNTS_NAMED; i++) {
		account_format_id(ids[i], id);
		len += (size_t)snprintf(why + len, sizeof(why) - len, " %s", id);
	}
	if (count > ACCOUNTS_NAMED)
		snprintf(why + len, sizeof(why) - len, " ...");
	fail(m, 409, why);
}

static void find_customer(struct making *m, const char *customer)
{
	unsigned count;
	uint64_t *ids;

	if (mirror_list_of_customer(m->portal->context->mirror, customer, &ids, &count)) {
		fail(m, 500, "out of memory");
		return;
	}
	if (!count)
		fail(m, 404,
		     "the customer has no account yet; name the subscription or the checkout "
		     "session");
	else if (count > 1)
		fail_with_accounts(m, ids, count);
	else
		find_account(m, ids[0]);
	free(ids);
}

static void find_subscription(struct making *m, const char *id)
{
	const struct stripe_context *context = m->portal->context;
	char path[STORE_NAME_MAX + 128];
	struct store_account account;
	uint32_t slot;

	if (mirror_account_by_subscription(context->mirror, id, &account, &slot)) {
		finish(m, &account);
		return;
	}
	snprintf(path, sizeof(path),
		 "/v1/subscriptions/%s?expand[0]=customer&expand[1]=latest_invoice", id);
	stripe_api_call(context->api, &(struct stripe_call){ .method = "GET", .path = path },
			on_subscription, m);
}

/* Whether @id may stand in a path. */
static bool is_plain(const char *id)
{
	return *id && strspn(id, WORD) == strlen(id) && strlen(id) < STORE_NAME_MAX;
}

void claim_link_forget(struct portal *portal)
{
	struct making *m;

	while ((m = LIST_FIRST(&portal->makings))) {
		LIST_REMOVE(m, entry);
		free(m);
	}
}

void claim_link_make(struct portal *portal, const struct claim_order *order, claim_link_done done,
		     void *arg)
{
	struct making *m = calloc(1, sizeof(*m));
	uint64_t account = 0;

	if (!m) {
		done(arg, NULL, 500, "out of memory");
		return;
	}
	*m = (struct making){
		.portal = portal, .done = done, .arg = arg, .is_further = order->is_further
	};
	LIST_INSERT_HEAD(&portal->makings, m, entry);
	m->expires_s = (clock_wall_ms() + order->lasts_ms) / 1000;
	text_copy(m->link.label, sizeof(m->link.label), order->label ? order->label : "");
	if (!portal->context->settings->app_url) {
		fail(m, 409, "claim links need the option stripe.app_url");
	} else if (order->account) {
		/* An ID that is not valid belongs to no account, and neither does 0. */
		account_parse_id(text_of(order->account), &account);
		find_account(m, account);
	} else if (order->customer) {
		find_customer(m, order->customer);
	} else if (order->subscription && is_plain(order->subscription)) {
		find_subscription(m, order->subscription);
	} else if (order->session && checkout_id_is_plausible(text_of(order->session))) {
		checkout_fetch(portal->context, order->session, on_session, m);
	} else {
		fail(m, 400, "the ID is not valid");
	}
}
