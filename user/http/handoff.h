/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handoff: hands a whole request from the loop that received it to another loop, and the answer
 * back.
 *
 * The responder belongs to the loop that answers; each loop that receives requests has a sender.
 * The sender reads the request to its end, up to a limit, and hands a copy to the responder. The
 * answer goes back to the client if it is still connected. The sender refuses what the responder
 * cannot take: 413 for a body above the limit, 503 if too many handoffs are under way.
 */
#ifndef HTTP_HANDOFF_H
#define HTTP_HANDOFF_H

#include <sys/socket.h>

#include "base/buf.h"
#include "http/server.h"

struct handoff_responder;
struct handoff_sender;

/* A request as the responder sees it: a copy that is valid until handoff_answer(). */
struct handoff {
	struct text method, path, query; /* the query without its '?' */
	struct text authority;		 /* Host */
	struct text fields;		 /* the header fields: lines "Name: value\r\n" */
	struct text body;
	struct sockaddr_storage peer; /* of the connection; may be a trusted proxy */
	void *context;		      /* a pointer of the responder's user; NULL at first */
};

/* A request has arrived. It must be answered, now or later, on the same thread. */
typedef void (*handoff_handler)(void *arg, struct handoff *handoff);

/*
 * A responder on @loop for at most @max_handoffs requests at a time, which go to @handler. It does
 * not keep the loop alive. Called before the loop runs, or on its thread. NULL: out of memory.
 */
struct handoff_responder *handoff_responder_new(uv_loop_t *loop, unsigned max_handoffs,
						handoff_handler handler, void *arg);

/*
 * Accept no more requests. Requests that were delivered must still be answered; others are refused
 * with
 * 503. The responder is freed with its last sender. The responder's thread. Accepts NULL.
 */
void handoff_responder_close(struct handoff_responder *responder);

/*
 * Answer with these field lines (as in struct http_answer; Date is added) and this body, which are
 * copied, and free @handoff. If memory is short, the client's connection is reset. The responder's
 * thread.
 */
void handoff_answer(struct handoff *handoff, unsigned status, struct text fields, struct text body);

/* The value of the field @name, in any case. False if there is none, or more than one. */
bool handoff_field(const struct handoff *handoff, const char *name, struct text *ret_value);

/* The number of fields with that name, in any case. */
unsigned handoff_field_count(const struct handoff *handoff, const char *name);

/* A sender on @loop to @responder, which it references. NULL: out of memory. */
struct handoff_sender *handoff_sender_new(uv_loop_t *loop, struct handoff_responder *responder);

/*
 * Take over the stream @s, inside its on_request: the stream's handler is not called any more. A
 * body above @max_body bytes is refused with 413. The sender's thread.
 */
void handoff_take(struct handoff_sender *sender, struct http_stream *s, size_t max_body);

/*
 * Close the sender. Its streams must have ended before; see http_server_close(). Answers that
 * arrive later are dropped. The loop must run once more. The sender's thread. Accepts NULL.
 */
void handoff_sender_close(struct handoff_sender *sender);

#endif
