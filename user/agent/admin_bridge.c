/* SPDX-License-Identifier: BSD-2-Clause */
/* admin_bridge: what the admin interface may use of the agent, and opening that interface. */
#include <errno.h>
#include <string.h>

#include "agent/agent_private.h"
#include "base/log.h"

static bool is_ready(void *arg, const char **ret_why)
{
	struct agent *agent = arg;

	*ret_why = agent->not_ready[0] ? agent->not_ready : agent->degraded;
	return agent->phase == AGENT_RUNNING && !agent->not_ready[0];
}

static int on_reload(void *arg, struct buf *messages, void (*done)(void *arg), void *done_arg)
{
	return reload(arg, messages, done, done_arg);
}

static int on_ask(void *arg, const struct admin_question *question, admin_answered done,
		  void *done_arg)
{
	return billing_ask(((struct agent *)arg)->billing, question, done, done_arg);
}

static int on_make_claim(void *arg, const struct admin_claim *claim, admin_claimed done,
			 void *done_arg)
{
	return billing_make_claim(((struct agent *)arg)->billing, claim, done, done_arg);
}

/* Holds until the next reload, which applies the configuration again. */
static int on_set_action(void *arg, enum tollgate_action action, const char **ret_why)
{
	struct agent *agent = arg;

	*ret_why = agent->fastpath_why;
	if (!agent->fastpath)
		return -ENODEV;
	if (agent->phase != AGENT_RUNNING)
		return -EAGAIN;
	fastpath_set_action(agent->fastpath, action);
	log_info("fast path: action %s, by order of the admin interface", action_word(action));
	return 0;
}

int admin_bridge_open(struct agent *agent)
{
	const struct config *config = agent->rules->config;
	const struct admin_agent bridge = {
		.arg = agent,
		.registry = &agent->registry,
		.mirror = &agent->mirror,
		.slots = &agent->slots,
		.store = &agent->store,
		.tiers = &agent->tiers,
		.lists = &agent->lists,
		.key_prefix = agent->key_prefix,
		.is_ready = is_ready,
		.status = status_json,
		.write_metrics = status_metrics,
		.reload = on_reload,
		.ask = on_ask,
		.make_claim = on_make_claim,
		.change_lists = agent_lists_change,
		.fastpath = status_fastpath,
		.set_action = on_set_action,
		.events = events_json,
	};
	int err;

	agent->admin = admin_new(&agent->loop, &bridge);
	if (!agent->admin)
		return -ENOMEM;
	err = admin_listen_unix(agent->admin, config->admin_socket);
	if (err) {
		log_error("admin socket %s: %s", config->admin_socket, strerror(-err));
		return err;
	}
	if (!config->has_admin_address)
		return 0;
	err = admin_listen_tcp(agent->admin, &config->admin_address);
	if (err)
		log_error("admin address: %s", strerror(-err));
	return err;
}
