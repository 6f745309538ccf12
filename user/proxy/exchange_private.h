/* SPDX-License-Identifier: BSD-2-Clause */
/* What exchange.c (the steps) and answer.c (what the upstream sends) know of an exchange. */
#ifndef PROXY_EXCHANGE_PRIVATE_H
#define PROXY_EXCHANGE_PRIVATE_H

#include "proxy/exchange.h"
#include "proxy/proxy_private.h"

enum step {
	STEP_ROUTE,   /* malformed, no route, public, preflight */
	STEP_GATE,    /* the verdict */
	STEP_CONNECT, /* a connection to one of the upstream's servers */
	STEP_SEND,    /* the head, and let the client's body flow */
	STEP_RETRY,   /* that server failed; another one, if that is safe */
	STEP_FAIL,    /* no answer is to be had: 502, 504, or break off */
	STEP_DONE,    /* give everything back */
	STEP_WAIT,    /* a completion goes on */
	STEP_FREED,
};

struct exchange {
	struct proxy *proxy;	    /* borrowed */
	struct rules_hold *rules;   /* one use */
	struct http_stream *stream; /* borrowed; NULL once it is over */
	struct client *client;	    /* borrowed from the connection */
	const struct proxy_port *port;
	const struct route *route;   /* borrowed from the rules */
	struct upstream_link *link;  /* NULL: none, or gone */
	SLIST_ENTRY(exchange) spare; /* while the proxy keeps it for a later request */
	struct gate_result gate;
	bool key_in_authorization;
	bool is_charged;      /* holds a place of the account's concurrency */
	bool is_answered;     /* the answer's head has been given to the client */
	bool is_head_pending; /* the upstream's head has come, and waits for a first piece of body */
	bool is_body_complete; /* the client's body has come completely */
	bool is_body_begun;    /* a piece of it has been sent upstream */
	bool is_chunked;       /* towards the upstream */
	bool is_flowing;       /* the client's body may be sent */
	struct upstream_tried tried;
	unsigned attempts;
	int err;
	enum step step;
	unsigned status; /* of the pending head */
	uint64_t length; /* of the pending answer's body */
	uint64_t passed; /* bytes of it given to the client */
	bool add_date;
	struct buf head;   /* the request as it goes upstream, kept for another attempt */
	struct buf fields; /* of the answer */
	struct buf body;   /* of a refusal */
	char request_id[REQUEST_ID_SIZE];
};

/* Go on with @step, and on, until a completion is to be waited for. */
void exchange_run(struct exchange *x, enum step step);

/* The place in the account's concurrency goes back; before the client learns that its request is over. */
void exchange_give_back(struct exchange *x);

/* The stream's last call is next: nothing that it leads to may find the exchange any more. */
struct http_stream *exchange_leave_stream(struct exchange *x);

/* The answer goes to an account with limits. */
static inline bool exchange_is_limited(const struct exchange *x)
{
	return x->gate.has_account;
}

/* What the upstream's link tells (answer.c). */
extern const struct upstream_events exchange_upstream_events;

#endif
