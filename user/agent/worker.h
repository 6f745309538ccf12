/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * worker: one thread with its own loop, listeners, connections and proxy.
 *
 * The control loop creates a worker, gives it its listeners and starts it. From then on it only
 * sends orders, which the worker carries out in order and acknowledges on the control loop.
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

/* What all workers share. Borrowed. */
struct worker_shared {
	struct proxy_shared proxy;
	struct handoff_responder *responder; /* answers requests on tollgate's own paths */
	struct lists *lists;		     /* clients whose connections are refused */
};

/*
 * Create a worker for @config's listeners with @rules, bound but not accepting yet.
 * Acknowledgements arrive on the loop @control. 0, or a negative errno and a message in @ret_why
 * that names the listener.
 */
int worker_new(uv_loop_t *control, const struct config *config, const struct worker_shared *shared,
	       struct ruleset *rules, struct worker **ret_worker, char *ret_why, size_t why_size);

/* Start the thread. 0 or a negative errno. */
int worker_start(struct worker *worker);

/* Use @rules from the next request on. The worker takes a reference. */
void worker_set_rules(struct worker *worker, struct ruleset *rules, worker_done done, void *arg);

/* Reset the connections of clients that the lists deny; acknowledged when done. */
void worker_sweep(struct worker *worker, worker_done done, void *arg);

/* Accept no more connections and let requests finish; acknowledged when no connection is left. */
void worker_drain(struct worker *worker, worker_done done, void *arg);

/* Close everything; acknowledged when the loop has ended. worker_free() may be called then. */
void worker_stop(struct worker *worker, worker_done done, void *arg);

/* Free a worker that was stopped or never started. Accepts NULL. */
void worker_free(struct worker *worker);

const struct proxy_counters *worker_counters(const struct worker *worker);
unsigned worker_connections(const struct worker *worker);

#endif
