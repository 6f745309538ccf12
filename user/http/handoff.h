/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handoff: a whole request, handed from the loop that received it to another one, and its answer back.
 *
 * The responder belongs to the loop that answers; each loop that receives requests has a sender. The
 * sender reads the request to its end, within a limit, and hands a copy to the responder; the answer goes
 * back to the client if it still waits. The sender refuses what the responder cannot take: 413 for a
 * body above the limit, 503 when too many handoffs are under way.
 */
#ifndef HTTP_HANDOFF_H
#define HTTP_HANDOFF_H

#include <sys/socket.h>

#include "base/buf.h"
#include "http/server.h"

struct handoff_responder;
struct handoff_sender;

/* A request as the responder sees it: a copy that lives until handoff_answer(). */
struct handoff {
	struct text method, path, query; /* the query without its '?' */
	struct text authority;		 /* Host */
	struct text fields;		 /* of the head: lines "Name: value\r\n" */
	struct text body;
	struct sockaddr_storage peer; /* of the connection; a proxy's, if there is one */
	void *context;		      /* for the responder's user */
};

/* A request has arrived. It must be answered, now or later, on the same thread. */
typedef void (*handoff_handler)(void *arg, struct handoff *handoff);

/*
 * A responder on @loop for at most @max_handoffs requests at once. It does not keep the loop alive.
 * NULL when memory is short.
 */
struct handoff_responder *handoff_responder_new(uv_loop_t *loop, unsigned max_handoffs,
						handoff_handler handler, void *arg);

/*
 * Accept no more requests. Requests that were delivered must still be answered; those on their way are
 * refused. Freed with the last sender. Accepts NULL.
 */
void handoff_responder_close(struct handoff_responder *responder);

/*
 * Answer with these field lines (as in struct http_answer; Date is added) and this body, and free the
 * handoff. Copies both. The responder's thread. When memory is short the client's connection breaks.
 */
void handoff_answer(struct handoff *handoff, unsigned status, struct text fields, struct text body);

/* The value of the request's only field of that name, whatever its case. False: none, or several. */
bool handoff_field(const struct handoff *handoff, const char *name, struct text *ret_value);

/* How many fields of that name there are. */
unsigned handoff_field_count(const struct handoff *handoff, const char *name);

/* A sender on @loop to @responder (borrowed until it is closed). NULL when memory is short. */
struct handoff_sender *handoff_sender_new(uv_loop_t *loop, struct handoff_responder *responder);

/*
 * Take over stream @s, whose request head has just arrived: its handler is not called any more. The
 * request's body may have at most @max_body bytes.
 */
void handoff_take(struct handoff_sender *sender, struct http_stream *s, size_t max_body);

/*
 * The loop ends. Streams that wait must have been aborted (http_server_close()); answers that still
 * arrive are dropped. The loop must turn once more. Accepts NULL.
 */
void handoff_sender_close(struct handoff_sender *sender);

#endif
