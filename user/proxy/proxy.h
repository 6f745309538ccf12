/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * proxy: one worker's requests, from the verdict to the upstream and back.
 *
 * A proxy belongs to one loop. It gives a handler for HTTP servers; each listener's server is told
 * apart by a port, which says what its connections may do on the fast path.
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

/* What one worker counts. Written by the worker alone, read by anyone, atomically. */
struct proxy_counters {
	uint64_t verdicts[TOLLGATE_VERDICT_COUNT];
	uint64_t answers[6]; /* by the hundreds of the status: [2] is 2xx */
	uint64_t upstream_failures;
	uint64_t upstream_retries;
	uint64_t enrolled; /* connections that were told to the fast path, ever */
	uint64_t enrol_failures;
};

struct proxy;

/* What all workers share; all borrowed. @fastpath may be NULL. */
struct proxy_shared {
	const struct gate *gate;
	struct fastpath *fastpath;
	struct penalty *penalty;
};

/* A listener as its server's owner (http_server_owner). */
struct proxy_port {
	struct proxy *proxy; /* borrowed */
	bool has_fastpath;   /* its interfaces are opted in */
	bool is_tls;
};

extern const struct http_handler proxy_handler;

/* @rules get a reference of the proxy's own. NULL when memory is short. */
struct proxy *proxy_new(uv_loop_t *loop, const struct proxy_shared *shared, struct rules *rules);

/* From the next request on, go by @rules. -ENOMEM: the old ones stay. */
int proxy_set_rules(struct proxy *proxy, struct rules *rules);

/*
 * Requests on one of the rules' own paths go to @divert, which takes the stream over. Without it they
 * are routed like all others. Before the first request.
 */
void proxy_set_divert(struct proxy *proxy, void (*divert)(void *arg, struct http_stream *s),
		      void *arg);

const struct proxy_counters *proxy_counters(const struct proxy *proxy);

/* A connection was refused, for its client is on the deny list. */
void proxy_count_denied(struct proxy *proxy);

/* No request will come any more: let go of the rules; upstream connections close. Idempotent. */
void proxy_stop(struct proxy *proxy);

/* After proxy_stop(), and when all connections of its servers are closed. Accepts NULL. */
void proxy_free(struct proxy *proxy);

#endif
