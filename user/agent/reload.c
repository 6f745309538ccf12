/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reload: applies a new configuration to the running agent, completely or not at all.
 *
 * Everything that can fail comes first. Then the workers get the new rules, and the accounts their
 * tiers. Options that need a restart are reported and stay as they were.
 */
#include <errno.h>
#include <stdlib.h>

#include "agent/agent_private.h"
#include "base/clock.h"
#include "base/env.h"
#include "base/log.h"

/* A caller that waits until all workers use the new rules. */
struct waiter {
	struct agent *agent;
	unsigned workers; /* that have not acknowledged, and one for reload() itself */
	void (*done)(void *arg);
	void *arg;
};

static void on_rules_set(void *arg, int err)
{
	struct waiter *waiter = arg;

	if (err)
		log_error("reload: a worker is out of memory and keeps the old rules");
	if (--waiter->workers)
		return;
	fastpath_feed_start(waiter->agent);
	waiter->done(waiter->arg);
	free(waiter);
}

/* Give @fresh to all workers; @waiter is called when the last one uses it. */
static void give_rules(struct agent *agent, struct ruleset *fresh, struct waiter *waiter)
{
	waiter->workers = agent->workers_started + 1;
	for (unsigned i = 0; i < agent->workers_started; i++)
		worker_set_rules(agent->workers[i], fresh, on_rules_set, waiter);
	on_rules_set(waiter, 0);
}

static struct waiter *waiter_new(struct agent *agent, void (*done)(void *arg), void *arg)
{
	struct waiter *waiter = calloc(1, sizeof(*waiter));

	if (waiter)
		*waiter = (struct waiter){ .agent = agent, .done = done, .arg = arg };
	return waiter;
}

/* Slots and routes change one after the other, so a bit must stand for the same feature in both. */
static int keep_features(struct config *config, const struct config *old, struct buf *messages)
{
	int bits[TIER_MAX_FEATURES], err = tiers_keep_features(&config->tiers, &old->tiers, bits);

	if (err == -ENOSPC)
		buf_append_str(messages,
			       "more than 64 features, counting those before: restart instead\n");
	for (unsigned i = 0; !err && i < config->routes.count; i++) {
		struct route *route = &config->routes.list[i];

		if (route->feature >= 0)
			route->feature = bits[route->feature];
	}
	return err;
}

/* Everything that can fail; nothing of the agent has changed yet. */
static int prepare(struct agent *agent, struct buf *messages, struct ruleset **ret_fresh)
{
	const struct ruleset *old = agent->rules;
	struct config *config;
	int err;

	if (agent->phase > AGENT_RUNNING) {
		buf_append_str(messages, "the agent is stopping\n");
		return -ECANCELED;
	}
	err = agent->env_file ? env_read_file(agent->env_file, messages) : 0;
	if (!err)
		err = config_read(agent->config_path, &config, messages);
	if (err)
		return err;
	/* Workers find a listener's certificate by the listener's index. */
	if (!config_same_listeners(old->config, config)) {
		buf_append_str(messages, "listeners cannot change without a restart\n");
		config_free(config);
		return -EINVAL;
	}
	if (config->stripe.is_configured != old->config->stripe.is_configured) {
		buf_append_str(messages, "stripe cannot be added or removed without a restart\n");
		config_free(config);
		return -EINVAL;
	}
	err = keep_features(config, old->config, messages);
	if (err) {
		config_free(config);
		return err;
	}
	return ruleset_new(config, old, ret_fresh, messages);
}

static void name_what_needs_a_restart(const struct config *old, const struct config *fresh,
				      struct buf *messages)
{
	struct buf names;

	buf_init(&names, 4096);
	if (config_needs_restart(old, fresh, &names))
		buf_printf(messages, "these need a restart to change: %.*s\n",
			   TEXT_ARG(buf_text(&names)));
	buf_done(&names);
}

int reload(struct agent *agent, struct buf *messages, void (*done)(void *arg), void *arg)
{
	struct ruleset *old = agent->rules, *fresh;
	struct waiter *waiter = waiter_new(agent, done, arg);
	int err = waiter ? prepare(agent, messages, &fresh) : -ENOMEM;

	if (err) {
		free(waiter);
		return err;
	}
	fastpath_feed_stop(agent);
	fastpath_feed_prepare(agent, &fresh->config->tiers);
	if (agent->mirror) {
		mirror_set_mode(agent->mirror, stripe_settings_mode(&fresh->config->stripe));
		err = mirror_set_tiers(agent->mirror, &fresh->config->tiers, clock_steady_ms(),
				       clock_mono_ns());
	}
	if (err) {
		mirror_set_mode(agent->mirror, stripe_settings_mode(&old->config->stripe));
		fastpath_feed_give_back(agent, &fresh->config->tiers, agent->tiers);
		fastpath_feed_start(agent);
		ruleset_unref(fresh);
		free(waiter);
		return err;
	}
	fastpath_feed_give_back(agent, agent->tiers, &fresh->config->tiers);
	name_what_needs_a_restart(old->config, fresh->config, messages);
	agent->rules = fresh;
	agent->tiers = &fresh->config->tiers;
	billing_configure(agent->billing);
	if (agent->fastpath && agent->phase == AGENT_RUNNING)
		fastpath_set_action(agent->fastpath, fresh->config->fastpath.action);
	log_set_level(fresh->config->log);
	ruleset_unref(old);
	log_info("configuration reloaded from %s", agent->config_path);
	give_rules(agent, fresh, waiter);
	return 0;
}
