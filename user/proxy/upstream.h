/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * upstream: the servers behind a route, and one worker's connections to them.
 *
 * A link is one request to one server, on a connection that is taken from the idle ones or made. New
 * connections go round robin, past servers that failed lately; if all did, they are tried anyway. One
 * timer per worker sweeps all deadlines ten times a second.
 *
 * Everything belongs to one loop's thread. Events are the last thing that a call does in a turn, and
 * none is ever delivered from within a function of this header.
 */
#ifndef PROXY_UPSTREAM_H
#define PROXY_UPSTREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "config/upstream.h"
#include "http/message.h"

/* One worker's connections to all upstreams of one configuration. */
struct upstreams;
struct upstream_link;

struct upstream_events {
	/* The connection is up, or could not be had: -ETIMEDOUT, -ECONNREFUSED ... */
	void (*on_ready)(void *owner, int err);
	/* A head came; interim ones (1xx) too. Valid until the next event. */
	void (*on_head)(void *owner, const struct http_message *head);
	void (*on_body)(void *owner, const char *data, size_t len);
	/* All that came at once has been told. */
	void (*on_pause)(void *owner);
	/* The answer is complete; the link is gone. */
	void (*on_end)(void *owner);
	/* The link is gone: -ECONNRESET, -EBADMSG, -EMSGSIZE (not understood), -ETIMEDOUT. */
	void (*on_error)(void *owner, int err);
	/* What was written has gone down after upstream_queued() was high. */
	void (*on_drain)(void *owner);
};

/* Connections for the @count upstreams of @configs (borrowed). NULL when memory is short. */
struct upstreams *upstreams_new(uv_loop_t *loop, const struct upstream_config *configs,
				unsigned count);

/*
 * Close idle connections now and the others when their request has ended, then free; @on_gone is
 * called last, when the configurations are not needed any more. Accepts NULL.
 */
void upstreams_free(struct upstreams *set, void (*on_gone)(void *arg), void *arg);

/* The servers that were tried for one request; zeroed: none. */
struct upstream_tried {
	uint64_t words[UPSTREAM_MAX_SERVERS / 64]; /* a bit for each server */
};

/*
 * Open a link to a server of the upstream with index @index that is not in @tried, and add the server
 * to @tried. After 0, either upstream_is_ready() is true at once or on_ready follows. -EHOSTUNREACH if
 * every server was tried, -EBUSY if all have max_connections, or conn_connect()'s error, such as
 * -ENOMEM; then @tried is as before.
 */
int upstream_open(struct upstreams *set, unsigned index, struct upstream_tried *tried,
		  const struct upstream_events *events, void *owner,
		  struct upstream_link **ret_link);
bool upstream_is_ready(const struct upstream_link *link);

/* Whether the connection had served a request before: then a reset may only mean it was idle too long. */
bool upstream_is_reused(const struct upstream_link *link);

/* Whether any byte of an answer has come. */
bool upstream_has_answered(const struct upstream_link *link);

/* Send the head of a request with @method, and its body in pieces; errors as conn_write(). */
int upstream_send_head(struct upstream_link *link, struct text method, struct text head);
int upstream_send(struct upstream_link *link, const uv_buf_t *parts, unsigned count);
size_t upstream_queued(const struct upstream_link *link);

/* The request is sent completely: from now on the server owes the answer within answer_ms. */
void upstream_sent_all(struct upstream_link *link);

/* Stop and restart on_body. */
void upstream_pause(struct upstream_link *link);
void upstream_resume(struct upstream_link *link);

/* Give the link up before its answer is complete; its connection is closed. No event follows. */
void upstream_abandon(struct upstream_link *link);

/* Does the server with that index of that upstream count as failing now? For metrics. */
bool upstream_is_failing(const struct upstreams *set, unsigned index, unsigned server);

#endif
