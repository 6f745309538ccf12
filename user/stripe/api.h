/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * api: calls to Stripe's API.
 *
 * Calls wait for their turn: so many a second, so many at once, those that a customer waits for first.
 * What may pass by itself is tried again: connections that fail, 409, 429 and 5xx, after a random part of
 * a time that doubles, or what Retry-After says; Stripe-Should-Retry wins over the status. All tries of
 * a POST have the same idempotency key (docs.stripe.com/api/idempotent_requests,
 * docs.stripe.com/error-low-level). The secret key is in the Authorization header and nowhere else.
 * Control loop only.
 */
#ifndef STRIPE_API_H
#define STRIPE_API_H

#include <jansson.h>
#include <uv.h>

#include "base/text.h"
#include "net/transfer.h"

struct stripe_api;

/* Texts are copied. */
struct stripe_api_config {
	const char *secret_key;
	const char *base;	   /* "https://api.stripe.com" */
	const char *version;	   /* "2026-10-28.endive" */
	unsigned calls_per_second; /* at most, in any second */
};

/* Texts are copied. */
struct stripe_call {
	const char *method;	     /* "GET", "POST" or "DELETE" */
	const char *path;	     /* with the query */
	struct text form;	     /* a POST's body, see form.h */
	const char *idempotency_key; /* of a POST; NULL: a random one */
	bool is_interactive;	     /* somebody waits: before all others, and not tried for long */
};

struct stripe_answer {
	/*
	 * 0: the call was done, `status` is 2xx and `body` its JSON. -EREMOTEIO: Stripe said no, see
	 * `status` and what follows. -EBADMSG: an answer that is no JSON. -ENOBUFS: too many calls wait.
	 * Else the errno of the last try (transfer.h).
	 */
	int err;
	unsigned status;  /* 0: no answer */
	json_t *body;	  /* borrowed; NULL after an error */
	uint64_t date_s;  /* Stripe's Date of this answer; 0: none */
	const char *type; /* of Stripe's error, or "" */
	const char *code;
	const char *message;
	const char *
		why; /* all of it in a line for logs and people, with the request's id; no secret */
};
typedef void (*stripe_done)(void *arg, const struct stripe_answer *answer);

/* @transfers is borrowed. NULL when memory is short. */
struct stripe_api *stripe_api_new(uv_loop_t *loop, struct transfers *transfers,
				  const struct stripe_api_config *config);

/* From the next try on. 0 or -ENOMEM, and then nothing changed. */
int stripe_api_set_config(struct stripe_api *api, const struct stripe_api_config *config);

/* Drop all calls without a callback, and free. The loop must turn once more. Accepts NULL. */
void stripe_api_free(struct stripe_api *api);

/*
 * @done follows exactly once; only with -ENOBUFS or -ENOMEM before this returns. There is no way to
 * take a call back: who asks keeps what @arg needs until then, or frees the whole api.
 */
void stripe_api_call(struct stripe_api *api, const struct stripe_call *call, stripe_done done,
		     void *arg);

struct stripe_api_counters {
	uint64_t calls;	   /* tries */
	uint64_t retries;  /* of these, further ones */
	uint64_t failures; /* calls that failed for good */
	unsigned waiting;  /* calls that are not answered */
};
const struct stripe_api_counters *stripe_api_counters(const struct stripe_api *api);

#endif
