/* SPDX-License-Identifier: BSD-2-Clause */
/* proxy: one worker's requests: what they have in common. */
#include "proxy/proxy.h"

#include <errno.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "base/log.h"
#include "proxy/exchange.h"
#include "proxy/proxy_private.h"

/* The server refused a head itself. It counts as the verdict on a malformed request. */
static void on_refused(struct http_server *server, unsigned status, const char *why)
{
	struct proxy_port *port = http_server_owner(server);

	count(&port->proxy->counters.verdicts[TOLLGATE_MALFORMED]);
	count(&port->proxy->counters.answers[status / 100]);
	log_debug("refused with %u: %s", status, why);
}

const struct http_handler proxy_handler = {
	.on_request = exchange_start,
	.on_body = exchange_body,
	.on_body_end = exchange_body_end,
	.on_drain = exchange_drain,
	.on_abort = exchange_abort,
	.on_connection_closed = client_closed,
	.on_settled = client_settled,
	.on_idle = client_is_idle,
	.on_refused = on_refused,
};

static struct rules_hold *rules_hold_new(uv_loop_t *loop, struct rules *rules)
{
	struct rules_hold *hold = calloc(1, sizeof(*hold));

	if (!hold)
		return NULL;
	hold->upstreams = upstreams_new(loop, rules->upstreams, rules->upstream_count);
	if (!hold->upstreams) {
		free(hold);
		return NULL;
	}
	hold->rules = rules_ref(rules);
	hold->users = 1;
	return hold;
}

struct rules_hold *rules_hold_use(struct rules_hold *hold)
{
	hold->users++;
	return hold;
}

static void on_upstreams_gone(void *arg)
{
	struct rules_hold *hold = arg;

	rules_unref(hold->rules);
	free(hold);
}

void rules_hold_release(struct rules_hold *hold)
{
	if (--hold->users == 0)
		upstreams_free(hold->upstreams, on_upstreams_gone, hold);
}

struct proxy *proxy_new(uv_loop_t *loop, const struct proxy_shared *shared, struct rules *rules)
{
	struct proxy *proxy = calloc(1, sizeof(*proxy));

	if (!proxy)
		return NULL;
	proxy->loop = loop;
	proxy->shared = *shared;
	proxy->rules = rules_hold_new(loop, rules);
	if (!proxy->rules || crypto_random(proxy->id_state, sizeof(proxy->id_state))) {
		proxy_free(proxy);
		return NULL;
	}
	proxy->id_state[0] |= 1; /* the generator needs a state that is not all zeros */
	return proxy;
}

int proxy_set_rules(struct proxy *proxy, struct rules *rules)
{
	struct rules_hold *hold = rules_hold_new(proxy->loop, rules);

	if (!hold)
		return -ENOMEM;
	rules_hold_release(proxy->rules);
	proxy->rules = hold;
	return 0;
}

void proxy_set_divert(struct proxy *proxy, void (*divert)(void *arg, struct http_stream *s),
		      void *arg)
{
	proxy->divert = divert;
	proxy->divert_arg = arg;
}

void proxy_count_denied(struct proxy *proxy)
{
	count(&proxy->counters.verdicts[TOLLGATE_DENIED]);
}

const struct proxy_counters *proxy_counters(const struct proxy *proxy)
{
	return &proxy->counters;
}

void proxy_stop(struct proxy *proxy)
{
	struct rules_hold *hold = proxy->rules;

	proxy->rules = NULL;
	if (hold)
		rules_hold_release(hold);
}

void proxy_free(struct proxy *proxy)
{
	if (!proxy)
		return;
	proxy_stop(proxy);
	exchange_free_spares(proxy);
	free(proxy);
}
