/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * claim_link: links that show customers the first key of an account.
 *
 * They serve customers who did not buy on the portal's own pages, but through a Payment Link or the
 * operator's checkout, or whose subscription was created by hand. Anybody who has the link can take
 * the key, in any browser, but only once.
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
	const char *label;	  /* of the key; NULL: the default */
	uint64_t lasts_ms;	  /* CLAIM_LINK_MIN_MS to CLAIM_LINK_MAX_MS */
	bool is_further;	  /* to an additional key, whether or not the first was claimed */
};

/*
 * Make a link. @done may be called before this function returns. It takes over an object with
 * "url", "expires", "account" and "claimed" (whether the key was already collected); or it gets
 * NULL, an HTTP status and the reason. All links for an account lead to the same key
 * (claim_first_id()), unless `is_further` is set.
 */
typedef void (*claim_link_done)(void *arg, json_t *answer, unsigned status, const char *why);
void claim_link_make(struct portal *portal, const struct claim_order *order, claim_link_done done,
		     void *arg);

/*
 * Write the ID of the claim of @account's first key. The checkout's page, the sign-up and all claim
 * links use the same ID, so only one of them shows a key. The ID depends on the subscription, so a
 * returning customer with a new one can claim once more. Pure.
 */
void claim_first_id(const struct store_account *account, char ret_claim[CLAIM_LINK_ID_SIZE]);

/* What the token of a claim link contains. */
struct claim_link {
	uint64_t account;
	char claim[CLAIM_LINK_ID_SIZE]; /* "": claim_first_id() when the link is used */
	char label[STORE_LABEL_MAX];	/* of the key; "": the default */
};

/* Write a token that is valid until @expires_s. 0, or an error of link_write(). */
int claim_link_write(const struct crypto_hmac *secret, const struct claim_link *link,
		     uint64_t expires_s, char ret_token[LINK_SIZE]);

/* Read a token. 0, -EBADMSG, -ETIMEDOUT as link_read(). Pure. */
int claim_link_read(const struct crypto_hmac *secret, const char *token, uint64_t now_s,
		    struct claim_link *ret_link);

#endif
