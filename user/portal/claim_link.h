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
#include "portal/link.h"
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
	const char *label;	  /* of the key; NULL: the usual one */
	uint64_t lasts_ms;	  /* CLAIM_LINK_MIN_MS to CLAIM_LINK_MAX_MS */
	bool is_further;	  /* another key, even if one was claimed */
};

/*
 * Make a link, now or later. @done gets an object that it takes over, with "url", "expires",
 * "account" and "claimed" (whether its key was already collected); or NULL, an HTTP status and the
 * reason. All links for an account lead to the same key (claim_first_id()), unless `is_further` is
 * set.
 */
typedef void (*claim_link_done)(void *arg, json_t *answer, unsigned status, const char *why);
void claim_link_make(struct portal *portal, const struct claim_order *order, claim_link_done done,
		     void *arg);

/*
 * Write the ID of the claim with which the first key of @account is shown. A checkout's page, a
 * sign-up and all claim links use it, so only one of them shows a key. A customer who comes back
 * with a new subscription can claim once more. Pure.
 */
void claim_first_id(const struct store_account *account, char ret_claim[CLAIM_LINK_ID_SIZE]);

/* What the token of a claim link says. */
struct claim_link {
	uint64_t account;
	char claim[CLAIM_LINK_ID_SIZE]; /* "": that of claim_first_id() */
	char label[STORE_LABEL_MAX];	/* of the key; "": the usual one */
};

/* Write a token that is valid until @expires_s. 0, or an error of link_write(). */
int claim_link_write(const struct crypto_hmac *secret, const struct claim_link *link,
		     uint64_t expires_s, char ret_token[LINK_SIZE]);

/* Read a token. 0, -EBADMSG, -ETIMEDOUT as link_read(). Pure. */
int claim_link_read(const struct crypto_hmac *secret, const char *token, uint64_t now_s,
		    struct claim_link *ret_link);

#endif
