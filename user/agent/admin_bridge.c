/* SPDX-License-Identifier: BSD-2-Clause */
/* admin_bridge: what the agent lends to the admin interface, and the interface's opening. */
#include <errno.h>
#include <string.h>

#include "agent/agent_private.h"
#include "base/log.h"

static struct registry *lend_registry(void *arg)
{
	return ((struct agent *)arg)->registry;
}

static struct mirror *lend_mirror(void *arg)
{
	return ((struct agent *)arg)->mirror;
}

static struct slots *lend_slots(void *arg)
{
	return &((struct agent *)arg)->slots;
}

static struct store *lend_store(void *arg)
{
	return ((struct agent *)arg)->store;
}

static const struct tiers *lend_tiers(void *arg)
{
	return ((struct agent *)arg)->tiers;
}

static const char *lend_key_prefix(void *arg)
{
	return ((struct agent *)arg)->key_prefix;
}

static bool is_ready(void *arg, const char **ret_why)
{
	struct agent *agent = arg;

	*ret_why = agent->not_ready[0] ? agent->not_ready : agent->degraded;
	return agent->phase == AGENT_RUNNING && !agent->not_ready[0];
}

static int lend_reload(void *arg, struct buf *messages, void (*done)(void *arg), void *done_arg)
{
	return reload(arg, messages, done, done_arg);
}

static int lend_ask(void *arg, enum admin_question question, uint64_t since_s, admin_answered done,
		    void *done_arg)
{
	return billing_ask(((struct agent *)arg)->billing, question, since_s, done, done_arg);
}

static struct lists *lend_lists(void *arg)
{
	return ((struct agent *)arg)->lists;
}

/* Until the next reload, which goes by the configuration again. */
static int lend_set_action(void *arg, enum tollgate_action action, const char **ret_why)
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

int lend_open_admin(struct agent *agent)
{
	const struct config *config = agent->rules->config;
	const struct admin_agent lent = {
		.arg = agent,
		.registry = lend_registry,
		.mirror = lend_mirror,
		.slots = lend_slots,
		.store = lend_store,
		.tiers = lend_tiers,
		.key_prefix = lend_key_prefix,
		.is_ready = is_ready,
		.status = status_json,
		.write_metrics = status_metrics,
		.reload = lend_reload,
		.ask = lend_ask,
		.lists = lend_lists,
		.change_lists = agent_lists_change,
		.fastpath = status_fastpath,
		.set_action = lend_set_action,
		.events = events_json,
	};
	int err;

	agent->admin = admin_new(&agent->loop, &lent);
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
