/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * proxy: one worker's requests, from the verdict to the upstream and back.
 *
 * A proxy belongs to one loop, and all functions are for that loop's thread. proxy_handler is the
 * handler of its HTTP servers; the owner of each server is a struct proxy_port.
 *
 * The module proxy: one request on its way: route, verdict, upstream, answer. Deciding the verdict
 * belongs to enforce, HTTP's syntax to http, and what workers do as a whole to agent.
 */
#ifndef PROXY_PROXY_H
#define PROXY_PROXY_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "fastpath/fastpath.h"
#include "enforce/gate.h"
#include "enforce/penalty.h"
#include "http/server.h"
#include "proxy/rules.h"

/* The counters of one worker. Only the worker writes them; any thread reads them, atomically. */
struct proxy_counters {
	uint64_t verdicts[TOLLGATE_VERDICT_COUNT];
	uint64_t answers[6]; /* by status class: [2] is 2xx; [0]: none of them */
	uint64_t upstream_failures;
	uint64_t upstream_retries;
	uint64_t enrolled; /* connections reported to the fast path since the start */
	uint64_t enrol_failures;
};

struct proxy;

/* What all workers share. All members are borrowed; `fastpath` may be NULL. */
struct proxy_shared {
	const struct gate *gate;
	struct fastpath *fastpath;
	struct penalty *penalty;
};

/* One listener; the owner of its server (http_server_owner()). */
struct proxy_port {
	struct proxy *proxy; /* borrowed */
	bool has_fastpath;   /* the fast path is configured for its interfaces */
	bool is_tls;
};

extern const struct http_handler proxy_handler;

/* Takes a reference to @rules of its own. NULL if memory is short or there are no random bytes. */
struct proxy *proxy_new(uv_loop_t *loop, const struct proxy_shared *shared, struct rules *rules);

/* Use @rules from the next request on. 0, or -ENOMEM; then the old rules stay. */
int proxy_set_rules(struct proxy *proxy, struct rules *rules);

/*
 * Give requests for the rules' own paths to @divert, which takes over the stream. Without @divert,
 * they are routed like all others. Call this before the first request.
 */
void proxy_set_divert(struct proxy *proxy, void (*divert)(void *arg, struct http_stream *s),
		      void *arg);

const struct proxy_counters *proxy_counters(const struct proxy *proxy);

/* Count a connection that was refused because its client is on the deny list. */
void proxy_count_denied(struct proxy *proxy);

/* No more requests will start: release the rules and close upstream connections. Idempotent. */
void proxy_stop(struct proxy *proxy);

/* Free it after proxy_stop(), when all connections of its servers are closed. Accepts NULL. */
void proxy_free(struct proxy *proxy);

#endif
