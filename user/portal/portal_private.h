/* SPDX-License-Identifier: BSD-2-Clause */
/* What the pages' files know of each other. */
#ifndef PORTAL_PRIVATE_H
#define PORTAL_PRIVATE_H

#include <sys/queue.h>

#include "base/crypto.h"
#include "portal/html.h"
#include "portal/limiter.h"
#include "portal/portal.h"
#include "portal/request.h"
#include "portal/session.h"
#include "stripe/api.h"
#include "stripe/catalog.h"
#include "stripe/checkout.h"

#define PORTAL_ORIGIN_MAX 128
#define PORTAL_KEYS_SHOWN 100

enum portal_place { PORTAL_CHECKOUT, PORTAL_BILLING, PORTAL_PLACE_COUNT };

struct portal {
	const struct stripe_context *context; /* borrowed */
	struct portal_keys keys;	      /* borrowed */
	struct crypto_hmac *secret;	      /* owned: of cookies and tokens */
	struct catalog *catalog;	      /* owned */
	LIST_HEAD(, visit) visits;	      /* owned: those that wait for an answer */
	unsigned visit_count;
	struct limiter sign_ins;  /* that failed, by source */
	struct limiter checkouts; /* by source */
	struct limiter all;	  /* checkouts and claims of all sources, which Stripe sees */
	/* Where Stripe's pages turned out to be, for forms may only lead to places that are named. */
	char places[PORTAL_PLACE_COUNT][PORTAL_ORIGIN_MAX];
	char style_hash[64]; /* for the content security policy */
};

/* One request, until it is answered. */
struct visit {
	LIST_ENTRY(visit) entry; /* of the portal's */
	struct portal *portal;
	struct handoff *handoff;
	struct request_params params; /* of a POST */
	bool wants_json, wants_html;
	bool is_claim; /* its URL holds a secret */
	/* Signed in: as whom, and with which cookie. */
	uint64_t account, key;
	struct text cookie;
	/* Checkout and claim. */
	char session[CHECKOUT_ID_MAX];
	char price[SUBSCRIPTION_NAME_MAX];
	char email[256], reference[201];
	/* The dashboard, while it is put together. */
	const char *notice;	 /* static: what was done just now; or NULL */
	struct store_key *shown; /* owned */
	size_t shown_count;
};

/* ---- portal.c ---- */

/* Answer and end the visit. Fields are lines beyond those that every answer has. */
void visit_answer(struct visit *visit, unsigned status, struct text fields, struct text body);
void visit_answer_json(struct visit *visit, unsigned status, struct text fields, json_t *owned);

/* A page: begin, write, and answer with it, which ends the visit and the page. */
void page_begin(struct html *page, const struct visit *visit, const char *title);
void page_answer(struct html *page, struct visit *visit, unsigned status, struct text fields);

/* Say no: as a page to whom wants one, else as a problem. */
void visit_refuse(struct visit *visit, unsigned status, const char *detail);
void visit_refuse_busy(struct visit *visit, uint64_t wait_ns);

/* See another page of ours, "/dashboard"; or one of Stripe's. */
void visit_go(struct visit *visit, const char *page, struct text fields);
void visit_leave(struct visit *visit, enum portal_place place, const char *url, struct text fields);

/* Append a Set-Cookie for the dashboard; @max_age_s 0 takes it away. */
int cookie_write(struct buf *fields, const struct visit *visit, const char *name, const char *value,
		 uint64_t max_age_s, bool is_strict);
const char *cookie_session_name(const struct visit *visit);

/* "prefix/page". */
void portal_path(const struct portal *portal, const char *page, char *ret_path, size_t size);
uint64_t visit_source(const struct visit *visit);

/* ---- the pages ---- */

void pricing_show(struct visit *visit);
void pricing_buy(struct visit *visit);

void claim_open(struct visit *visit); /* GET /dashboard?session_id= */
void claim_take(struct visit *visit);

void dashboard_open(struct visit *visit);
void dashboard_sign_in(struct visit *visit);
void dashboard_sign_out(struct visit *visit);
void dashboard_create(struct visit *visit);
void dashboard_rotate(struct visit *visit);
void dashboard_revoke(struct visit *visit);
void dashboard_billing(struct visit *visit);

/* The form to sign in, with a word on why. */
void dashboard_show_sign_in(struct visit *visit, unsigned status, const char *why);

/* A new key, this once; @fields as above. */
void dashboard_show_key(struct visit *visit, const struct registry_result *result,
			const char *words, struct text fields);

/* Sign the browser in with @key: a cookie. */
int dashboard_write_session(struct buf *fields, const struct visit *visit, uint64_t key);

/* dashboard_page.c: the signed-in account's page. @since_s 0: usage cannot be had. */
void dashboard_write(struct visit *visit, const struct store_usage *usage, size_t usage_count,
		     uint64_t since_s);
uint64_t dashboard_usage_since_s(uint64_t now_s);

/* A hidden token of the session for @action. */
void dashboard_write_token(struct html *page, const struct visit *visit, const char *action);

#endif
