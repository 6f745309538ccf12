/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stripe_session: what `tollgate stripe setup` and `tollgate stripe doctor` share: calls to Stripe,
 * one after the other, and the list of findings.
 *
 * A command has nothing else to do while it waits, so a call returns with its answer. The running
 * agent never uses this.
 */
#ifndef AGENT_STRIPE_SESSION_H
#define AGENT_STRIPE_SESSION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "config/config.h"
#include "stripe/api.h"

#define SESSION_URL_MAX 1024

struct stripe_session {
	const struct config *config; /* borrowed */
	char url[SESSION_URL_MAX];   /* where Stripe sends events; "" if it is not known */
	uv_loop_t loop;
	uv_timer_t awake;	     /* keeps the loop alive while a call waits for a retry */
	struct transfers *transfers; /* owned */
	struct stripe_api *api;	     /* owned */
	json_t *findings;	     /* owned: [{"check","where","what","remedy","is_problem"}] */
	unsigned problems;
	bool is_lost; /* Stripe cannot be reached or refuses the key: further calls are useless */
	/* The last call: */
	bool is_answered;
	json_t *body; /* owned; NULL after an error */
	int err;
	unsigned status;
	char why[512];
	int64_t ahead_s; /* how far this host's clock was ahead of the answer's Date */
	bool has_date;
};

/* 0 or a negative errno; after an error, too, session_close() must be called. */
int session_open(struct stripe_session *s, const struct config *config);
void session_close(struct stripe_session *s);

/*
 * Make a call. Returns the answer, owned by the caller; or NULL, and then `status` and `why` say
 * what happened. @what names the object for a finding, which is added unless the status is 404 or
 * 400; NULL: never add one.
 */
json_t *session_get(struct stripe_session *s, const char *path, const char *what);
json_t *session_post(struct stripe_session *s, const char *path, struct text body,
		     const char *what);

/* All objects of a list, page by page. @path has a query. As session_get(). */
json_t *session_list(struct stripe_session *s, const char *path, const char *what);

/* The running agent's answer to GET @path on its admin socket, owned by the caller; or NULL. */
json_t *session_agent(struct stripe_session *s, const char *path);

struct finding {
	const char *check; /* one word for programs: "price", "meter", ... */
	const char *where; /* the option or object */
	const char *what;  /* what is wrong */
	const char *remedy;
	bool is_note; /* not a problem: it does not change the exit code */
};

void session_add(struct stripe_session *s, const struct finding *finding);

/* Add a problem, or a note, whose @what is formatted. */
void session_problem(struct stripe_session *s, const char *check, const char *where,
		     const char *remedy, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
void session_note(struct stripe_session *s, const char *check, const char *where,
		  const char *remedy, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

#endif
