/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * worker: one thread with a loop of its own, its listeners, its connections and its proxy.
 *
 * Made, given its listeners and started by the control loop; from then on the control loop only sends
 * it orders, which the worker carries out in turn and acknowledges back on the control loop.
 */
#ifndef AGENT_WORKER_H
#define AGENT_WORKER_H

#include <uv.h>

#include "agent/ruleset.h"
#include "enforce/lists.h"
#include "http/handoff.h"
#include "proxy/proxy.h"

struct worker;

typedef void (*worker_done)(void *arg, int err);

/* What all workers share; borrowed. */
struct worker_shared {
	struct proxy_shared proxy;
	struct handoff_responder
		*responder;  /* where requests on tollgate's own paths are answered */
	struct lists *lists; /* whose connections are not taken */
};

/*
 * A worker of @config's listeners under @rules, bound but not accepting yet. @control is the loop on
 * which acknowledgements arrive. On failure a negative errno, and @ret_why names the listener.
 */
int worker_new(uv_loop_t *control, const struct config *config, const struct worker_shared *shared,
	       struct ruleset *rules, struct worker **ret_worker, char *ret_why, size_t why_size);

/* Start the thread. 0 or a negative errno. */
int worker_start(struct worker *worker);

/* From the next request on, go by @rules (the worker takes a reference). */
void worker_set_rules(struct worker *worker, struct ruleset *rules, worker_done done, void *arg);

/* Reset the connections of clients that the lists deny; acknowledged when that is done. */
void worker_sweep(struct worker *worker, worker_done done, void *arg);

/* Accept no more, let running requests end; acknowledged when no connection is left. */
void worker_drain(struct worker *worker, worker_done done, void *arg);

/* Close everything; acknowledged when the loop has ended. Then worker_free() may be called. */
void worker_stop(struct worker *worker, worker_done done, void *arg);

/* Free a worker that was stopped or never started. Accepts NULL. */
void worker_free(struct worker *worker);

const struct proxy_counters *worker_counters(const struct worker *worker);
unsigned worker_connections(const struct worker *worker);

#endif
