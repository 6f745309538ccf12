/* SPDX-License-Identifier: BSD-2-Clause */
/* ruleset: a configuration and what is derived from it. */
#include "agent/ruleset.h"

#include <errno.h>
#include <stdlib.h>

static void release(struct rules *rules)
{
	struct ruleset *ruleset = (struct ruleset *)rules;

	for (unsigned i = 0; ruleset->tls && i < ruleset->config->listener_count; i++)
		tls_context_unref(ruleset->tls[i]);
	free(ruleset->tls);
	config_free(ruleset->config);
	free(ruleset);
}

static int load_tls(struct ruleset *ruleset, const struct ruleset *old, struct buf *messages)
{
	struct config *config = ruleset->config;
	char why[512];

	for (unsigned i = 0; i < config->listener_count; i++) {
		const struct config_listener *listener = &config->listeners[i];
		int err;

		if (!listener->certificate)
			continue;
		err = tls_context_new_server(listener->certificate, listener->private_key,
					     &ruleset->tls[i], why, sizeof(why));
		if (!err)
			continue;
		buf_printf(messages, "listener %s: %s\n", listener->name, why);
		if (err != -EACCES || !old)
			return err;
		buf_printf(messages, "listener %s: the old certificate stays in use\n",
			   listener->name);
		ruleset->tls[i] = tls_context_ref(old->tls[i]);
	}
	return 0;
}

int ruleset_new(struct config *config, const struct ruleset *old, struct ruleset **ret_ruleset,
		struct buf *messages)
{
	static uint64_t serial; /* control loop only */
	struct ruleset *ruleset = calloc(1, sizeof(*ruleset));
	int err;

	if (!ruleset) {
		config_free(config);
		return -ENOMEM;
	}
	ruleset->config = config;
	ruleset->rules = (struct rules){
		.serial = ++serial,
		.routes = &config->routes,
		.upstreams = config->upstreams,
		.upstream_count = config->upstream_count,
		.trusted_proxies = config->trusted_proxies,
		.trusted_proxy_count = config->trusted_proxy_count,
		.own_paths = config->own_paths,
		.own_path_count = config->own_path_count,
		.count_below = config->count_below,
		.tolerance = config->fastpath.tolerance,
		.users = 1,
		.release = release,
	};
	ruleset->tls = calloc(config->listener_count, sizeof(*ruleset->tls));
	err = ruleset->tls ? load_tls(ruleset, old, messages) : -ENOMEM;
	if (err) {
		ruleset_unref(ruleset);
		return err;
	}
	*ret_ruleset = ruleset;
	return 0;
}
