/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * billing: all that talks with Stripe and with customers, put together: webhooks, pages, reports.
 *
 * Its responder is there whether or not Stripe is configured; the rest only if it is, once the store is
 * loaded. Control loop only.
 */
#ifndef AGENT_BILLING_H
#define AGENT_BILLING_H

#include <jansson.h>

#include "admin/admin.h"
#include "http/handoff.h"

struct agent;
struct billing;

/* By the agent's configuration. NULL when memory is short. */
struct billing *billing_new(struct agent *agent);

/* Where workers bring requests on own paths. */
struct handoff_responder *billing_responder(const struct billing *billing);

/* The registry is there: begin. 0 or -ENOMEM. */
int billing_start(struct billing *billing);

/* The agent goes by another configuration. */
void billing_configure(struct billing *billing);

/* See admin.h: -ENOSYS without Stripe, -EAGAIN before the start. */
int billing_ask(struct billing *billing, enum admin_question question, uint64_t since_s,
		admin_answered done, void *arg);

/* For `status`: a new object, or NULL without Stripe. */
json_t *billing_status(const struct billing *billing);

/* Prometheus text. 0 or the error of buf_append(). */
int billing_metrics(const struct billing *billing, struct buf *out);

/*
 * Take no more requests, end what is under way; before the registry and the store are freed. Then, when
 * the loop is empty, free. Accept NULL.
 */
void billing_stop(struct billing *billing);
void billing_free(struct billing *billing);

/*
 * This host works Stripe's events, reports and notices until @until_ns (CLOCK_MONOTONIC), and longer if
 * it is told again before. Until the first time it only takes events in.
 */
void billing_hold(struct billing *billing, uint64_t until_ns);

/* The feed: a task was added to @queue, by any host. @task is NULL when only the store has it. */
void billing_task_added(struct billing *billing, const char *queue, const struct store_task *task);

#endif
