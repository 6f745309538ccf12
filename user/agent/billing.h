/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * billing: the agent's own paths and what is behind them: webhooks, pages, and all talk with Stripe.
 *
 * Control loop only. It is there whether or not Stripe is configured, because a reload may bring it.
 */
#ifndef AGENT_BILLING_H
#define AGENT_BILLING_H

#include "http/errand.h"

struct agent;
struct billing;

/* NULL when memory is short. */
struct billing *billing_new(struct agent *agent);

/* Where workers bring requests on own paths. */
struct errand_desk *billing_desk(const struct billing *billing);

/* Take no more requests, end what is under way. Accepts NULL; billing_free() follows once the loop is empty. */
void billing_stop(struct billing *billing);
void billing_free(struct billing *billing);

#endif
