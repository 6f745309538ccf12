/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * share_exchange: exchanges units of shared limits with the store, a few times a second whatever
 * the number of requests.
 *
 * Exchanges have a store handle of their own, because they must not wait behind a large batch of
 * usage. One exchange is under way at a time. Workers can ask for one before the timer does, at
 * least SPACING_NS after the last one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_private.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "enforce/share.h"

#define BATCH	   500
#define SPACING_NS (20 * NS_PER_MS)
#define EVERY_MS   (SHARE_EVERY_NS / NS_PER_MS)

struct share_exchange {
	struct agent *agent; /* borrowed */
	struct shares shares;
	struct store *store; /* owned; NULL: nothing is shared */
	uv_timer_t timer;
	uv_async_t wake;
	bool is_open, is_opening, is_busy, is_wanted, is_last, has_handles;
	uint64_t asked_ns;
	struct store_share_want wants[BATCH]; /* under way */
	size_t want_count;
	uint64_t exchanges, failures, lent;
};

static void exchange(struct share_exchange *s);
static void on_timer(uv_timer_t *timer);

/* ---- opening ---- */

static void on_opened(void *arg, int err)
{
	struct share_exchange *s = arg;

	s->is_opening = false;
	s->is_open = !err;
}

static void open_store(struct share_exchange *s)
{
	if (s->is_opening || s->is_open)
		return;
	s->is_opening = true;
	store_open(s->store, s->agent->pepper_check, on_opened, s);
}

/* ---- exchanging ---- */

static void go_on(struct share_exchange *s)
{
	uint64_t since_ns = clock_mono_ns() - s->asked_ns;

	if (!s->is_wanted || s->is_busy)
		return;
	if (since_ns >= SPACING_NS)
		exchange(s);
	else
		uv_timer_start(&s->timer, on_timer, (SPACING_NS - since_ns) / NS_PER_MS + 1,
			       EVERY_MS);
}

static void on_granted(void *arg, int err, const struct store_share_grant *grants, size_t count)
{
	struct share_exchange *s = arg;
	struct agent *agent = s->agent;

	s->is_busy = false;
	if (err) {
		s->failures++;
		share_retry(&s->shares, s->wants, s->want_count);
		return;
	}
	s->exchanges++;
	share_apply(&s->shares, &agent->slots, s->wants, grants, count, s->asked_ns);
	for (size_t i = 0; i < count; i++)
		s->lent +=
			grants[i].paid > s->wants[i].used ? grants[i].paid - s->wants[i].used : 0;
	if (count == BATCH)
		s->is_wanted = true;
	go_on(s);
}

static void exchange(struct share_exchange *s)
{
	struct agent *agent = s->agent;

	if (s->is_busy || !s->is_open || !agent->registry)
		return;
	s->is_wanted = false;
	s->want_count = share_collect(&s->shares, &agent->slots, clock_steady_ms(), clock_mono_ns(),
				      s->is_last, s->wants, BATCH);
	if (!s->want_count)
		return;
	s->is_busy = true;
	s->asked_ns = clock_mono_ns();
	store_share_exchange(s->store, s->shares.instance, s->shares.hosts, s->wants, s->want_count,
			     on_granted, s);
}

static void on_timer(uv_timer_t *timer)
{
	struct share_exchange *s = timer->data;

	if (!s->is_open)
		open_store(s);
	else
		exchange(s);
}

/* Called by workers. uv_async_send() may be called by any thread; several calls may be merged. */
static void wake(void *arg)
{
	uv_async_send(&((struct share_exchange *)arg)->wake);
}

static void on_wake(uv_async_t *handle)
{
	struct share_exchange *s = handle->data;

	s->is_wanted = true;
	go_on(s);
}

/* ---- life ---- */

struct share_exchange *share_exchange_new(struct agent *agent)
{
	struct share_exchange *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->agent = agent;
	return s;
}

void share_exchange_set_hosts(struct share_exchange *s, unsigned hosts)
{
	shares_set_hosts(&s->shares, hosts);
}

int share_exchange_start(struct share_exchange *s)
{
	struct agent *agent = s->agent;
	const struct config *config = agent->rules->config;
	int err;

	if (!store_can_share(agent->store))
		return 0;
	err = shares_init(&s->shares, agent->slots.count);
	if (!err)
		err = store_new(&agent->loop, config->store, (unsigned)config->redis_timeout_ms,
				&s->store);
	if (err)
		return err;
	uv_timer_init(&agent->loop, &s->timer);
	uv_async_init(&agent->loop, &s->wake, on_wake);
	s->timer.data = s->wake.data = s;
	s->has_handles = true;
	s->shares.wake = wake;
	s->shares.wake_arg = s;
	mirror_set_shares(agent->mirror, &s->shares);
	agent->gate.shares = &s->shares;
	uv_timer_start(&s->timer, on_timer, 0, EVERY_MS);
	return 0;
}

void share_exchange_stop(struct share_exchange *s)
{
	if (!s || !s->has_handles)
		return;
	/* Give borrowed units back. store_free() carries out calls that were made before. */
	s->is_last = true;
	if (!s->is_busy && !s->agent->is_away)
		exchange(s);
	s->shares.wake = NULL;
	uv_close((uv_handle_t *)&s->timer, NULL);
	uv_close((uv_handle_t *)&s->wake, NULL);
	s->has_handles = false;
	store_free(s->store);
	s->store = NULL;
}

void share_exchange_free(struct share_exchange *s)
{
	if (!s)
		return;
	shares_done(&s->shares);
	free(s);
}

/* ---- status and metrics ---- */

uint64_t share_exchange_lent(const struct share_exchange *s)
{
	uint64_t lent = 0;

	for (size_t i = 0; i < s->want_count; i++) {
		const struct share *share = &s->shares.list[s->wants[i].slot];
		uint64_t used = atomic_read(&share->used);
		uint64_t paid = atomic_read(&share->paid);

		lent += paid > used ? paid - used : 0;
	}
	return lent;
}

void share_exchange_metrics(const struct share_exchange *s, struct metrics *m)
{
	if (!s->store)
		return;
	metrics_family(m, "tollgate_share_exchanges_total", "counter",
		       "Calls to the store about limits that all hosts share.");
	metrics_sample(m, "result", "ok", NULL, NULL, s->exchanges);
	metrics_sample(m, "result", "failed", NULL, NULL, s->failures);
	metrics_family(m, "tollgate_share_lent_units_total", "counter",
		       "Units that this host has borrowed from shared limits.");
	metrics_value(m, s->lent);
}
