/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * api: calls to Stripe's API.
 *
 * Calls are queued and limited, both per second and at the same time. Calls for which a customer
 * waits come first.
 *
 * Connections that fail and answers with 409, 429 or 5xx are retried, with exponential backoff and
 * jitter, and not before Retry-After. Stripe-Should-Retry overrides the status. All attempts of a
 * POST have the same idempotency key (docs.stripe.com/api/idempotent_requests,
 * docs.stripe.com/error-low-level).
 *
 * The secret key is sent in the Authorization header and appears nowhere else. Control loop only.
 */
#ifndef STRIPE_API_H
#define STRIPE_API_H

#include <jansson.h>
#include <uv.h>

#include "base/text.h"
#include "net/transfer.h"

struct stripe_api;

/* The strings are copied. */
struct stripe_api_config {
	const char *secret_key;
	const char *base;	   /* "https://api.stripe.com" */
	const char *version;	   /* "2026-10-28.endive" */
	unsigned calls_per_second; /* the most in any period of one second */
};

/* The strings are copied. */
struct stripe_call {
	const char *method; /* "GET", "POST" or "DELETE" */
	const char *path;   /* with the query */
	/* The body of a POST; see form.h. For a path below /v2/ it is JSON. */
	struct text form;
	const char *idempotency_key; /* of a POST; NULL for a random one */
	bool is_interactive;	     /* a customer waits: send it first, and give up sooner */
};

struct stripe_answer {
	/*
	 * 0: `status` is 2xx and `body` is the answer. -EREMOTEIO: Stripe refused, see `status` and
	 * the members after it. -EBADMSG: the answer is not a JSON object. -ENOBUFS: too many calls
	 * wait. Otherwise the errno of the last attempt (transfer.h).
	 */
	int err;
	unsigned status;  /* 0: no answer */
	json_t *body;	  /* borrowed; NULL after an error */
	uint64_t date_s;  /* the answer's Date, in Unix time; 0: none */
	const char *type; /* of Stripe's error, as are the next two; "" if there is none */
	const char *code;
	const char *message;
	/*
	 * The whole error in one line for logs and people, with the request's ID. Contains no
	 * secret.
	 */
	const char *why;
};
typedef void (*stripe_done)(void *arg, const struct stripe_answer *answer);

/* Whether the error of @answer may pass, so that the same call may succeed later. Pure. */
bool stripe_answer_may_pass(const struct stripe_answer *answer);

/* @transfers is borrowed. NULL if out of memory. */
struct stripe_api *stripe_api_new(uv_loop_t *loop, struct transfers *transfers,
				  const struct stripe_api_config *config);

/* Use @config from the next attempt of a call on. 0; -ENOMEM, and then nothing has changed. */
int stripe_api_set_config(struct stripe_api *api, const struct stripe_api_config *config);

/* Drop all calls without calling back, and free. The loop must turn once more. Accepts NULL. */
void stripe_api_free(struct stripe_api *api);

/*
 * Queue @call. Calls @done exactly once, before this returns only with -ENOBUFS or -ENOMEM. A call
 * cannot be cancelled: the caller must keep what @arg points to until @done, or free the api.
 */
void stripe_api_call(struct stripe_api *api, const struct stripe_call *call, stripe_done done,
		     void *arg);

/*
 * Unix time by Stripe's clock: the Date of its last answer, and what the monotonic clock has
 * counted since. Before the first answer, the time of the system's clock.
 */
uint64_t stripe_api_now_s(const struct stripe_api *api);

struct stripe_api_counters {
	uint64_t calls;	   /* attempts */
	uint64_t retries;  /* attempts that were not the first of their call */
	uint64_t failures; /* calls that failed after all their attempts */
	unsigned waiting;  /* calls without a final answer yet */
};
const struct stripe_api_counters *stripe_api_counters(const struct stripe_api *api);

#endif
