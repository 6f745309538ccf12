/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * follow: applies the store's feed of changes to the mirror and the lists, and decides what happens
 * to requests while the store cannot be reached.
 *
 * Once the mirror is loaded, only the feed changes it. This host's own changes arrive here too, in
 * their order among the other hosts' changes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent_private.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "base/log.h"

/* If something does not fit, an unknown key may still be valid: answer unknown keys with 503. */
static void note_overflow(struct agent *agent, int err)
{
	if (!agent->is_overfull)
		log_error("a change in the store cannot be applied: %s",
			  err == -ENOSPC ? "max_accounts is too small" : strerror(-err));
	agent->is_overfull = true;
	atomic_write(&agent->gate.is_current, false);
}

static void on_account(void *arg, const struct store_account *account)
{
	struct agent *agent = arg;
	int err = mirror_put_account(agent->mirror, account, clock_steady_ms(), clock_mono_ns());

	if (err)
		note_overflow(agent, err);
}

static void on_account_gone(void *arg, uint64_t account)
{
	struct agent *agent = arg;

	mirror_drop_account(agent->mirror, account);
}

static void on_key(void *arg, const struct store_key *key)
{
	struct agent *agent = arg;
	int err = mirror_put_key(agent->mirror, key);

	if (err)
		note_overflow(agent, err);
}

static void on_key_end(void *arg, uint64_t key, uint64_t at_ms)
{
	struct agent *agent = arg;
	int err = mirror_end_key(agent->mirror, key, at_ms);

	if (err == -ENOMEM)
		note_overflow(agent, err);
}

static void on_keys_end(void *arg, uint64_t account, uint64_t before_ms, uint64_t at_ms)
{
	struct agent *agent = arg;

	mirror_end_keys(agent->mirror, account, before_ms, at_ms);
}

static void on_entry(void *arg, const struct store_entry *entry)
{
	agent_lists_enter(arg, entry);
}

static void on_entry_gone(void *arg, const struct cidr *block)
{
	agent_lists_leave(arg, block);
}

static void on_task(void *arg, const char *queue, const struct store_task *task)
{
	struct agent *agent = arg;

	billing_task_added(agent->billing, queue, task);
}

/* For how long the store has not been reached. */
static uint64_t away_ms(const struct agent *agent)
{
	return agent->is_away ? (clock_mono_ns() - agent->heard_ns) / NS_PER_MS : 0;
}

void follow_failed(struct agent *agent, const char *why)
{
	char degraded[sizeof(agent->degraded)];

	snprintf(degraded, sizeof(degraded), "the store cannot be reached: %.200s", why);
	if (!agent->is_away)
		log_error("%s; requests with known keys are served, unknown keys get 503",
			  degraded);
	else if (strcmp(degraded, agent->degraded))
		log_warn("%s", degraded);
	agent->is_away = true;
	memcpy(agent->degraded, degraded, sizeof(degraded));
	atomic_write(&agent->gate.is_current, false);
}

static void come_back(struct agent *agent)
{
	if (agent->is_away)
		log_info("the store is reachable again after %" PRIu64 " ms", away_ms(agent));
	/* Any call makes the store replay what waits in the journal. */
	if (agent->is_away)
		fleet_pass_time(agent->fleet);
	agent->heard_ns = clock_mono_ns();
	agent->is_away = agent->is_too_stale = false;
	agent->degraded[0] = '\0';
	if (agent->gate.is_refusing) {
		agent->not_ready[0] = '\0';
		atomic_write(&agent->gate.is_refusing, false);
		fastpath_feed_start(agent);
	}
	if (!agent->is_overfull)
		atomic_write(&agent->gate.is_current, true);
}

static void on_state(void *arg, int err, const char *why)
{
	struct agent *agent = arg;

	if (agent->phase != AGENT_RUNNING)
		return;
	if (!err) {
		come_back(agent);
		return;
	}
	follow_failed(agent, why);
	if (err == -ESTALE) {
		log_warn("changes may have been missed; loading the store again");
		agent->reloads++;
		load_again(agent);
	}
}

void follow_pass_time(struct agent *agent)
{
	const struct config *config = agent->rules->config;

	if (!agent->is_away || away_ms(agent) < config->max_stale_ms || agent->is_too_stale)
		return;
	agent->is_too_stale = true;
	log_error("the store has been unreachable for longer than max_stale%s",
		  config->refuse_when_stale ? "; known keys get 503 too"
					    : "; known keys are still served");
	if (!config->refuse_when_stale)
		return;
	snprintf(agent->not_ready, sizeof(agent->not_ready),
		 "the store has been unreachable for longer than max_stale");
	atomic_write(&agent->gate.is_refusing, true);
	fastpath_feed_stop(agent);
}

void follow_start(struct agent *agent)
{
	static const struct store_follower follower = {
		.on_account = on_account,
		.on_account_gone = on_account_gone,
		.on_key = on_key,
		.on_key_end = on_key_end,
		.on_keys_end = on_keys_end,
		.on_entry = on_entry,
		.on_entry_gone = on_entry_gone,
		.on_task = on_task,
		.on_state = on_state,
	};
	int err;

	agent->is_overfull = false;
	come_back(agent);
	err = store_follow(agent->store, &follower, agent);
	if (err)
		agent_fail(agent, "cannot follow the store's changes: %s", strerror(-err));
}
