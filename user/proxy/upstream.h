/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * upstream: the servers behind a route, and one worker's connections to them.
 *
 * A link carries one request to one server, on a kept or a new connection. Servers are used in
 * turn. Servers that failed recently are skipped, unless all of them failed. One timer per worker
 * checks all deadlines ten times a second.
 *
 * All functions are for the loop's thread. Callbacks come only from the loop, never from within one
 * of these functions. A callback may abandon its link.
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
	/*
	 * The connection is established, or failed: -ETIMEDOUT, -ECONNREFUSED ... Then the link is
	 * gone.
	 */
	void (*on_ready)(void *owner, int err);
	/* A head arrived, also an interim one (1xx). It is valid until the next event. */
	void (*on_head)(void *owner, const struct http_message *head);
	void (*on_body)(void *owner, const char *data, size_t len);
	/* All data received so far has been delivered. */
	void (*on_pause)(void *owner);
	/* The response is complete; the link is gone. */
	void (*on_end)(void *owner);
	/* The link failed and is gone: -ECONNRESET, -ETIMEDOUT, -EBADMSG or -EMSGSIZE (invalid). */
	void (*on_error)(void *owner, int err);
	/* upstream_queued() was high and has gone down. */
	void (*on_drain)(void *owner);
};

/* For the @count upstreams of @configs, which are borrowed. NULL if memory is short. */
struct upstreams *upstreams_new(uv_loop_t *loop, const struct upstream_config *configs,
				unsigned count);

/*
 * Close idle connections now, and the others when their requests have ended; then free the set.
 * @on_gone (may be NULL) is called last, when the configurations are no longer used. Accepts NULL.
 */
void upstreams_free(struct upstreams *set, void (*on_gone)(void *arg), void *arg);

/* The servers that were tried for one request; zeroed: none. */
struct upstream_tried {
	uint64_t words[UPSTREAM_MAX_SERVERS / 64]; /* a bit for each server */
};

/*
 * Open a link to a server of the upstream with index @index that is not in @tried, and add the
 * server to @tried. After 0, either upstream_is_ready() is true at once or on_ready follows.
 * -EHOSTUNREACH if every server was tried, -EBUSY if all have max_connections, or conn_connect()'s
 * error, such as -ENOMEM; then @tried is as before.
 */
int upstream_open(struct upstreams *set, unsigned index, struct upstream_tried *tried,
		  const struct upstream_events *events, void *owner,
		  struct upstream_link **ret_link);
bool upstream_is_ready(const struct upstream_link *link);

/*
 * Whether the connection served a request before: then a reset may only mean that it was idle too
 * long.
 */
bool upstream_is_reused(const struct upstream_link *link);

/* Whether any byte of the response has arrived. */
bool upstream_has_answered(const struct upstream_link *link);

/*
 * Send the head of a request with @method, and its body in pieces. 0 or an error of conn_write().
 */
int upstream_send_head(struct upstream_link *link, struct text method, struct text head);
int upstream_send(struct upstream_link *link, const uv_buf_t *parts, unsigned count);

/* Bytes that are not sent yet. */
size_t upstream_queued(const struct upstream_link *link);

/* The request is complete: the server must start its response within answer_ms. */
void upstream_sent_all(struct upstream_link *link);

/* Pause and resume reading the response. */
void upstream_pause(struct upstream_link *link);
void upstream_resume(struct upstream_link *link);

/* Close the link before its response is complete. No event follows. */
void upstream_abandon(struct upstream_link *link);

/* Whether @server of upstream @index failed recently and is not used. For metrics. */
bool upstream_is_failing(const struct upstreams *set, unsigned index, unsigned server);

#endif
