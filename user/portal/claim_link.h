/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * claim_link: links with which customers get the first key of an account.
 *
 * They serve customers who did not buy on the portal's own pages: through a Payment Link, the
 * operator's checkout, or by hand. Anybody who has the link gets the key, in any browser, but only
 * once.
 */
#ifndef PORTAL_CLAIM_LINK_H
#define PORTAL_CLAIM_LINK_H

#include <jansson.h>

#include "base/crypto.h"
#include "base/text.h"
#include "store/store.h"

struct portal;

#define CLAIM_LINK_MIN_MS  (60 * 1000ULL)
#define CLAIM_LINK_MAX_MS  (30 * 86400000ULL)
#define CLAIM_LINK_ID_SIZE 128

/* What a link is for. Exactly one of the strings is set. All are borrowed during the call. */
struct claim_order {
	const char *account;	  /* "acc_..." */
	const char *customer;	  /* Stripe's ID; the customer must have exactly one account */
	const char *subscription; /* Stripe's ID; fetched from Stripe if it has no account yet */
	const char *session;	  /* the ID of a paid checkout session */
	uint64_t lasts_ms;	  /* CLAIM_LINK_MIN_MS to CLAIM_LINK_MAX_MS */
	bool is_further;	  /* another key, even if one was claimed */
};

/*
 * Make a link, now or later. @done gets an object that it takes over, with "url", "expires",
 * "account" and "claimed" (whether its key was already collected); or NULL, an HTTP status and the
 * reason. All links for an account lead to the same key, and so do those for a checkout session and
 * the page that its buyer sees; unless `is_further` is set.
 */
typedef void (*claim_link_done)(void *arg, json_t *answer, unsigned status, const char *why);
void claim_link_make(struct portal *portal, const struct claim_order *order, claim_link_done done,
		     void *arg);

/*
 * Read the token of a claim link: the account, and the ID of the claim. 0, -EBADMSG, -ETIMEDOUT as
 * link_read(). Pure.
 */
int claim_link_read(const struct crypto_hmac *secret, const char *token, uint64_t now_s,
		    uint64_t *ret_account, char ret_claim[CLAIM_LINK_ID_SIZE]);

#endif
