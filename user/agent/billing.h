/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * billing: everything that talks with Stripe and with customers: webhooks, pages, reports, notices.
 *
 * The responder always exists. The rest exists only if Stripe is configured, from the moment the
 * store is loaded. Control loop only.
 */
#ifndef AGENT_BILLING_H
#define AGENT_BILLING_H

#include <jansson.h>

#include "admin/admin.h"
#include "http/handoff.h"

struct agent;
struct billing;

/* Uses the agent's configuration. NULL when memory is short. */
struct billing *billing_new(struct agent *agent);

/* Answers the requests on tollgate's own paths that workers hand off. */
struct handoff_responder *billing_responder(const struct billing *billing);

/* Start, once there is a registry. 0 or -ENOMEM. */
int billing_start(struct billing *billing);

/* Apply the new configuration after a reload. */
void billing_configure(struct billing *billing);

/* Documented in admin.h. -ENOSYS without Stripe, -EAGAIN before the start. */
int billing_ask(struct billing *billing, const struct admin_question *question, admin_answered done,
		void *arg);

int billing_make_claim(struct billing *billing, const struct admin_claim *claim, admin_claimed done,
		       void *arg);

/* A new object for `status`, or NULL without Stripe. */
json_t *billing_status(const struct billing *billing);

/* Prometheus text. 0 or the error of buf_append(). */
int billing_metrics(const struct billing *billing, struct buf *out);

/*
 * Stop: accept no more requests and cancel those under way, before the registry and the store are
 * freed. Free: once the loop has nothing left to do. Both accept NULL.
 */
void billing_stop(struct billing *billing);
void billing_free(struct billing *billing);

/*
 * Process Stripe's events, reports and notices on this host until @until_ns (CLOCK_MONOTONIC), and
 * longer if this is called again before. Without the lease, events are only received and stored.
 */
void billing_hold(struct billing *billing, uint64_t until_ns);

/*
 * From the feed: some host has added a task to @queue. @task is NULL if it must be read from the
 * store.
 */
void billing_task_added(struct billing *billing, const char *queue, const struct store_task *task);

/*
 * The store was loaded again after changes were missed; it may even be a restored backup. If this
 * host has the lease, it reads the pending events from the start, and reconciles.
 */
void billing_loaded_again(struct billing *billing);

#endif
