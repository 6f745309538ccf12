/* SPDX-License-Identifier: BSD-2-Clause */
/* portal_private: what the portal's files share with each other. */
#ifndef PORTAL_PRIVATE_H
#define PORTAL_PRIVATE_H

#include <sys/queue.h>

#include "base/crypto.h"
#include "portal/claim_link.h"
#include "portal/html.h"
#include "portal/limiter.h"
#include "portal/link.h"
#include "portal/notice.h"
#include "portal/portal.h"
#include "portal/request.h"
#include "portal/session.h"
#include "stripe/api.h"
#include "stripe/catalog.h"
#include "stripe/checkout.h"

#define PORTAL_ORIGIN_MAX 128
#define PORTAL_KEYS_SHOWN 100

/* Texts for customers that several files use. */
#define PORTAL_OUR_FAULT  "Something went wrong on our side. Please try again in a minute."
#define PORTAL_PROVIDER	  "the provider of this API"
#define PORTAL_UNVERIFIED "We couldn't verify this form. Please open its page again and retry."

/* Stripe's pages, to which the portal sends customers. */
enum portal_place { PORTAL_CHECKOUT, PORTAL_BILLING, PORTAL_PLACE_COUNT };

struct portal {
	const struct stripe_context *context; /* borrowed */
	struct portal_keys keys;	      /* borrowed */
	struct notices *notices;	      /* borrowed: sends mails */
	struct crypto_hmac *secret;	      /* owned: signs cookies and tokens */
	struct catalog *catalog;	      /* owned */
	LIST_HEAD(, visit) visits;	      /* owned: visits without an answer yet */
	unsigned visit_count;
	LIST_HEAD(, making) makings;	/* owned: links that are being made */
	STAILQ_HEAD(, search) searches; /* owned: by mail address; one runs, others wait */
	unsigned search_count;
	uv_timer_t search_timer;
	bool is_stopped;
	struct limiter sign_ins;  /* failed sign-ins, by source */
	struct limiter checkouts; /* by source */
	struct limiter mails;	  /* mails with links, by source */
	struct limiter mails_to;  /* the same, by address */
	struct limiter mails_all; /* the same, of all visitors together */
	struct limiter all;	  /* calls of Stripe's API for all visitors together */
	/*
	 * The origins at which Stripe's pages were last seen, "" if at the usual ones. The content
	 * security policy must list them, because forms may redirect only to listed origins.
	 */
	char places[PORTAL_PLACE_COUNT][PORTAL_ORIGIN_MAX];
	char style_hash[64]; /* for the content security policy */
};

/* What a customer wants to buy. Its prices are resolved one after another. */
struct order {
	char names[CHECKOUT_MAX_LINES][SUBSCRIPTION_NAME_MAX]; /* as configured; "" ends the list */
	struct checkout_order checkout;			       /* line_count: resolved so far */
	char customer[STORE_NAME_MAX]; /* Stripe's ID, if the buyer is known */
	/* For plan_change.c: the item to change, and which of Stripe's pages is asked for. */
	char subscription[STORE_NAME_MAX], item[STORE_NAME_MAX];
	unsigned way;
};

/* One request, until it is answered. */
struct visit {
	LIST_ENTRY(visit) entry; /* in the portal's visits */
	struct portal *portal;	 /* borrowed, as is the next */
	struct handoff *handoff;
	struct request_params params; /* owned; of a POST */
	bool wants_json, wants_html;
	bool is_claim;	  /* the URL contains a secret */
	bool is_indexed;  /* search engines may list the page */
	bool is_revoking; /* recovery: revoke all other keys */
	struct text
		origin; /* of another site whose script may read the answer; borrowed; or empty */
	/* Set once the visitor is signed in. */
	uint64_t account, key;
	struct text cookie; /* the session cookie; borrowed from the handoff */
	/* Checkout and claim. */
	char session[CHECKOUT_ID_MAX];	/* of the checkout; for a mailed link, its claim's ID */
	char claim[CLAIM_LINK_ID_SIZE]; /* of the key that claim.c shows */
	char label[STORE_LABEL_MAX];	/* of that key, if it was claimed by a link */
	char link[LINK_SIZE];		/* a link's token; "" if there is none */
	struct order *order;		/* owned */
	char email[256], reference[201];
	/* The dashboard, while its data is collected. */
	const char *notice;	 /* static: the outcome of the last action; or NULL */
	struct store_key *shown; /* owned */
	size_t shown_count;
};

/* ---- answer.c ---- */

/*
 * Answer and free the visit. @fields are header lines, each with CRLF. visit_answer() sends only
 * these; all other functions add the lines that every answer of the portal has.
 */
void visit_answer(struct visit *visit, unsigned status, struct text fields, struct text body);
void visit_answer_json(struct visit *visit, unsigned status, struct text fields, json_t *owned);

/*
 * Write @words to a page. If support_url is configured, the words PORTAL_PROVIDER in them become a
 * link to it.
 */
void page_say(struct html *page, const struct visit *visit, const char *words);

/* A page: begin, write the content, and answer with it, which frees the visit and ends the page. */
void page_begin(struct html *page, const struct visit *visit, const char *title);
void page_answer(struct html *page, struct visit *visit, unsigned status, struct text fields);

/*
 * Refuse and free the visit: with a page if the visitor wants HTML, else with problem details.
 * visit_refuse_busy() answers 429 and says when to retry.
 */
void visit_refuse(struct visit *visit, unsigned status, const char *detail);
void visit_refuse_busy(struct visit *visit, uint64_t wait_ns);
void visit_refuse_with(struct visit *visit, unsigned status, const char *detail,
		       struct text fields);

/* Answer a browser that asks whether a script of another site may make a request (CORS). */
void visit_answer_preflight(struct visit *visit);

/*
 * Redirect the visitor and free the visit: visit_go() to a page of the portal such as "/dashboard",
 * visit_leave() to @url, a page of Stripe's.
 */
void visit_go(struct visit *visit, const char *page, struct text fields);
void visit_leave(struct visit *visit, enum portal_place place, const char *url, struct text fields);

/* Append a Set-Cookie field whose cookie browsers send when Stripe redirects to the dashboard. */
int cookie_write_claim(struct buf *fields, const struct visit *visit, const char *name,
		       const char *value, uint64_t max_age_s);

/*
 * Append the Set-Cookie fields of the session; @max_age_s 0 deletes it. There is one for each page
 * that reads it, so that the API, which may be at the same host, never gets it.
 */
int cookie_write_session(struct buf *fields, const struct visit *visit, const char *value,
			 uint64_t max_age_s);
const char *cookie_session_name(const struct visit *visit);

/* The path of @page below the portal's prefix. */
void portal_path(const struct portal *portal, const char *page, char *ret_path, size_t size);

/* The visitor's source as a number for a limiter: equal for equal addresses (IPv6: equal /64). */
uint64_t visit_source(const struct visit *visit);

/* ---- the pages ---- */

void pricing_show(struct visit *visit);
void pricing_buy(struct visit *visit);

void claim_open(struct visit *visit);	   /* GET /dashboard?session_id= */
void claim_link_open(struct visit *visit); /* GET /dashboard/claim?link= */
void claim_take(struct visit *visit);

/*
 * plan_change.c: send the signed-in customer, whose subscription has not ended, to Stripe's page
 * that changes it to the order's price. All prices of the order are resolved.
 */
void plan_change(struct visit *visit, const struct store_account *account);

/* Free the links that are being made. Their callbacks are not called. */
void claim_link_forget(struct portal *portal);

void dashboard_open(struct visit *visit);
void dashboard_sign_in(struct visit *visit);
void dashboard_sign_out(struct visit *visit);
void dashboard_create(struct visit *visit);
void dashboard_rotate(struct visit *visit);
void dashboard_revoke(struct visit *visit);
void dashboard_billing(struct visit *visit);

/* Whether the visitor is signed in. If so, set the visit's account, key and cookie. */
bool dashboard_enter(struct visit *visit);

/* Whether the form comes from another site. */
bool visit_is_foreign(const struct visit *visit);

/* Answer with the sign-in form. @why is shown above it; NULL for nothing. */
void dashboard_show_sign_in(struct visit *visit, unsigned status, const char *why);

/* Answer with a page that shows a new key, the only time that it is shown; @fields as above. */
void dashboard_show_key(struct visit *visit, const struct registry_result *result,
			const char *words, struct text fields);

/* Append the cookie that signs the browser in with the key whose ID is @key. */
int dashboard_write_session(struct buf *fields, const struct visit *visit, uint64_t key);

/*
 * recover.c: the form, and the links that it mails. recover_search() mails links for all accounts
 * with the address @email: 0, or -EBUSY if too many searches wait or memory is short.
 * recover_forget() drops them.
 */
void recover_show(struct visit *visit);
void recover_ask(struct visit *visit);
void recover_open(struct visit *visit);
void recover_take(struct visit *visit);
int recover_search(struct portal *portal, const char *email);
void recover_account(struct portal *portal, uint64_t account,
		     const char *email); /* this one only */
void recover_forget(struct portal *portal);

/* Say how to get a new key. @otherwise begins the sentence, for example "If you have lost it,". */
void page_offer_recovery(struct html *page, const struct visit *visit, const char *otherwise);

/* Read the form's `email` into the visit. False if it is not an address. */
bool visit_read_email(struct visit *visit);

/* How long the visitor must wait for a mail to this address; 0: send it now, it is charged. */
uint64_t visit_mail_wait_ns(struct visit *visit);

void visit_say_mailed(struct visit *visit, const char *words);

/*
 * Read the link from the form, and return whether the form comes from the page of that link. If
 * not, the visit has been answered.
 */
bool visit_has_token(struct visit *visit, const char *purpose);

/* signup.c: the form on the pricing page, and the links that it mails. */
void signup_ask(struct visit *visit);
void signup_open(struct visit *visit);
void signup_take(struct visit *visit);

/*
 * dashboard_page.c: answer with the signed-in account's page. @since_s is 0 if the usage is
 * unknown.
 */
void dashboard_write(struct visit *visit, const struct store_usage *usage, size_t usage_count,
		     uint64_t since_s);
uint64_t dashboard_usage_since_s(uint64_t now_s);

/* A hidden input with the token that the session needs for @action. */
void dashboard_write_token(struct html *page, const struct visit *visit, const char *action);

#endif
