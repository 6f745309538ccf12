/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fastpath_feed: gives XDP what it needs to answer in place: a set of templates for each tier, and
 * the routes in the order in which the agent matches them.
 *
 * XDP answers nothing while tiers and routes change: fastpath_feed_stop() comes first, and
 * fastpath_feed_start() once every worker uses the new rules.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_private.h"
#include "base/clock.h"
#include "base/log.h"
#include "proxy/refusal_templates.h"

/* After so many repeated answers without a single one that arrived, assume that they are lost. */
#define LOST_ANSWERS_MOST 16

static bool has_same_answers(const struct tier *a, const struct tier *b)
{
	return a->interval_ns == b->interval_ns && a->limit_ns == b->limit_ns &&
	       a->quota == b->quota && a->period == b->period;
}

static uint32_t find_set(const struct tiers *tiers, const struct tier *like)
{
	for (unsigned i = 0; tiers && i < tiers->count; i++)
		if (has_same_answers(&tiers->list[i], like))
			return tiers->list[i].answers;
	return TOLLGATE_NO_ANSWERS;
}

static bool uses_set(const struct tiers *tiers, uint32_t set)
{
	for (unsigned i = 0; i < tiers->count; i++)
		if (tiers->list[i].answers == set)
			return true;
	return false;
}

static void make_set(struct agent *agent, struct tiers *fresh, unsigned i, uint64_t now_ns)
{
	struct tier *tier = &fresh->list[i];
	const struct tiers before = { .list = fresh->list, .count = i };

	tier->answers = find_set(agent->tiers == fresh ? NULL : agent->tiers, tier);
	if (tier->answers == TOLLGATE_NO_ANSWERS)
		tier->answers = find_set(&before, tier);
	if (tier->answers != TOLLGATE_NO_ANSWERS)
		return;
	tier->answers = fastpath_take_set(agent->fastpath, now_ns);
	if (tier->answers == TOLLGATE_NO_ANSWERS)
		log_warn("fast path: no free set of templates for tier %s; the agent alone refuses "
			 "its "
			 "requests",
			 tier->name);
	else if (refusal_templates_write_tier(agent->fastpath, tier->answers, tier))
		log_warn("fast path: out of memory for the templates of tier %s", tier->name);
}

void fastpath_feed_prepare(struct agent *agent, struct tiers *fresh)
{
	uint64_t now_ns = clock_mono_ns();

	if (!agent->fastpath)
		return;
	if (refusal_templates_write_common(agent->fastpath))
		log_warn("fast path: out of memory for templates");
	for (unsigned i = 0; i < fresh->count; i++)
		make_set(agent, fresh, i, now_ns);
}

void fastpath_feed_give_back(struct agent *agent, const struct tiers *old,
			     const struct tiers *fresh)
{
	uint64_t now_ns = clock_mono_ns();

	for (unsigned i = 0; agent->fastpath && i < old->count; i++)
		if (!uses_set(fresh, old->list[i].answers))
			fastpath_give_set(agent->fastpath, old->list[i].answers, now_ns);
}

void fastpath_feed_stop(struct agent *agent)
{
	if (agent->fastpath)
		fastpath_set_answering(agent->fastpath, false);
}

/* tollgate's own paths come before every route; among routes the longest wins. */
static unsigned list_routes(const struct config *config, struct fastpath_route *list)
{
	unsigned count = 0;

	for (unsigned i = 0; i < config->own_path_count; i++)
		list[count++] = (struct fastpath_route){ .path = config->own_paths[i] };
	for (unsigned i = 0; i < config->routes.count; i++) {
		const struct route *route = &config->routes.list[i];

		list[count++] = (struct fastpath_route){
			.path = { route->path, route->path_len },
			.cost = route->is_public ? 0 : route->cost,
		};
	}
	return count;
}

void fastpath_feed_start(struct agent *agent)
{
	const struct config *config = agent->rules->config;
	struct fastpath_route *list;
	bool fits;

	if (!agent->fastpath || agent->phase != AGENT_RUNNING)
		return;
	list = calloc(config->own_path_count + config->routes.count + 1, sizeof(*list));
	if (!list) {
		log_warn("fast path: out of memory for routes; nothing is answered in place");
		return;
	}
	fits = fastpath_set_routes(agent->fastpath, list, list_routes(config, list));
	free(list);
	if (!fits)
		log_warn("fast path: more than %d routes; nothing is answered in place",
			 TOLLGATE_ROUTES);
	agent->answers_arrived = UINT64_MAX;
	fastpath_set_answering(agent->fastpath, fits);
}

/* Some drivers accept frames that XDP sends and lose them without any error. */
void fastpath_feed_watch(struct agent *agent)
{
	uint64_t counters[TOLLGATE_COUNTER_COUNT], repeated;

	if (fastpath_read_counters(agent->fastpath, counters))
		return;
	repeated = counters[TOLLGATE_COUNTER_ANSWER_REPEATED];
	if (counters[TOLLGATE_COUNTER_ANSWER_ARRIVED] != agent->answers_arrived ||
	    fastpath_action(agent->fastpath) != TOLLGATE_ACTION_ANSWER)
		agent->answers_repeated = repeated;
	agent->answers_arrived = counters[TOLLGATE_COUNTER_ANSWER_ARRIVED];
	if (repeated - agent->answers_repeated < LOST_ANSWERS_MOST)
		return;
	fastpath_set_action(agent->fastpath, TOLLGATE_ACTION_DROP);
	log_error(
		"fast path: none of XDP's last answers arrived, from now on action is drop: does "
		"the interface send what XDP gives it (XDP_TX)? The other end of a veth pair needs "
		"an XDP program too, or GRO off");
}
