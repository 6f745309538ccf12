/* SPDX-License-Identifier: BSD-2-Clause */
/* exchange_private: what exchange.c (the steps) and response.c (what the upstream sends) share. */
#ifndef PROXY_EXCHANGE_PRIVATE_H
#define PROXY_EXCHANGE_PRIVATE_H

#include "proxy/exchange.h"
#include "proxy/proxy_private.h"

enum step {
	STEP_ROUTE,   /* find the route; refuse malformed requests, answer preflights */
	STEP_GATE,    /* get the verdict */
	STEP_CONNECT, /* connect to one of the upstream's servers */
	STEP_SEND,    /* send the head and let the client's body flow */
	STEP_RETRY,   /* the server failed: use another one if that is safe */
	STEP_FAIL,    /* there will be no response: answer 502, 503 or 504, or break off */
	STEP_DONE,    /* give everything back */
	STEP_WAIT,    /* not a step: a completion will continue */
	STEP_FREED,   /* not a step: the exchange is gone */
};

struct exchange {
	struct proxy *proxy;	    /* borrowed */
	struct rules_hold *rules;   /* holds one use */
	struct http_stream *stream; /* borrowed; NULL when it has ended */
	struct client *client;	    /* borrowed from the connection */
	const struct proxy_port *port;
	const struct route *route;   /* borrowed from the rules */
	struct upstream_link *link;  /* owned; NULL: none */
	SLIST_ENTRY(exchange) spare; /* while the proxy keeps it for a later request */
	struct gate_result gate;
	bool key_in_authorization;
	bool is_charged;       /* holds a concurrency slot of the account */
	bool is_answered;      /* the client has been sent the head of a response */
	bool is_head_pending;  /* the upstream's head waits for a piece of the body */
	bool is_body_complete; /* the client has sent its whole body */
	bool is_body_begun;    /* a piece of it was sent upstream */
	bool is_chunked;       /* the body is chunked on the way upstream */
	bool is_flowing;       /* the client's body may be sent upstream */
	struct upstream_tried tried;
	unsigned attempts;
	int err;
	enum step step;
	unsigned status; /* of the pending head */
	uint64_t length; /* of the response's body, in bytes, or HTTP_UNKNOWN_LENGTH */
	uint64_t passed; /* bytes of it sent to the client */
	bool add_date;
	struct buf head;   /* the head for the upstream, kept for another attempt */
	struct buf fields; /* of the response */
	struct buf body;   /* of a refusal */
	char request_id[REQUEST_ID_SIZE];
};

/* Run @step and the steps after it, until the exchange must wait for a completion or is freed. */
void exchange_run(struct exchange *x, enum step step);

/*
 * Give back the concurrency slot, before the client can see that its request has ended. Idempotent.
 */
void exchange_give_back(struct exchange *x);

/*
 * Detach the exchange from its stream, before the last call on the stream: nothing that this call
 * causes may find the exchange. Returns the stream.
 */
struct http_stream *exchange_leave_stream(struct exchange *x);

/* Whether the request belongs to an account, which has limits. */
static inline bool exchange_is_limited(const struct exchange *x)
{
	return x->gate.has_account;
}

/* Callbacks for the upstream's link (response.c). */
extern const struct upstream_events exchange_upstream_events;

#endif
