/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fleet: this host among the hosts that share the store.
 *
 * Every second it sends a heartbeat, learns about the other hosts, and asks for the lease on the
 * work that only one host may do: Stripe's events, reports, notices. A holder whose heartbeat is
 * missing loses the lease after LEASE_MS. It stops earlier by its own clock, and a fence rejects
 * late writes.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent_private.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

#define LEASE_MS 5000 /* by Redis's clock */
#define HOLD_MS	 4000 /* by our clock, from when we asked for it */
#define ALIVE_MS 5000 /* a host seen since then counts as alive */

struct fleet {
	struct agent *agent; /* borrowed */
	struct store_host self;
	bool is_beating;
	uint64_t asked_ns;	/* when the heartbeat under way was sent */
	uint64_t held_until_ns; /* the lease is ours until then, whatever the last heartbeat
				   returned */
	uint64_t now_ms, changes, holder;
	struct store_host *hosts; /* owned: as of the last heartbeat */
	size_t host_count;
	unsigned alive;
};

struct fleet *fleet_new(struct agent *agent)
{
	struct fleet *fleet = calloc(1, sizeof(*fleet));

	if (!fleet)
		return NULL;
	fleet->agent = agent;
	fleet->alive = 1;
	fleet->self.started_ms = clock_wall_ms();
	snprintf(fleet->self.version, sizeof(fleet->self.version), "%s", TOLLGATE_VERSION);
	if (gethostname(fleet->self.name, sizeof(fleet->self.name) - 1))
		snprintf(fleet->self.name, sizeof(fleet->self.name), "unknown");
	return fleet;
}

void fleet_free(struct fleet *fleet)
{
	if (!fleet)
		return;
	free(fleet->hosts);
	free(fleet);
}

static bool is_alive(const struct fleet *fleet, const struct store_host *host)
{
	return host->seen_ms + ALIVE_MS >= fleet->now_ms;
}

static void take_fleet(struct fleet *fleet, const struct store_fleet *news)
{
	struct store_host *hosts = malloc((news->host_count + 1) * sizeof(*hosts));

	fleet->now_ms = news->now_ms;
	fleet->changes = news->changes;
	if (fleet->holder != news->holder && !news->holds_forever)
		log_info("Stripe's events and reports are processed by host %016" PRIx64 "%s",
			 news->holder, news->holder == fleet->self.id ? ", this one" : "");
	fleet->holder = news->holder;
	if (!hosts)
		return;
	if (news->host_count)
		memcpy(hosts, news->hosts, news->host_count * sizeof(*hosts));
	free(fleet->hosts);
	fleet->hosts = hosts;
	fleet->host_count = news->host_count;
	fleet->alive = 0;
	for (size_t i = 0; i < fleet->host_count; i++)
		fleet->alive += is_alive(fleet, &hosts[i]);
	fleet->alive = fleet->alive ? fleet->alive : 1;
	share_exchange_set_hosts(fleet->agent->share_exchange, fleet->alive);
}

static void on_beaten(void *arg, int err, const struct store_fleet *news)
{
	struct fleet *fleet = arg;
	struct agent *agent = fleet->agent;

	fleet->is_beating = false;
	if (err || agent->phase != AGENT_RUNNING)
		return; /* follow.c reports that the store cannot be reached */
	take_fleet(fleet, news);
	if (fleet->holder != fleet->self.id)
		return;
	fleet->held_until_ns =
		news->holds_forever ? UINT64_MAX : fleet->asked_ns + HOLD_MS * NS_PER_MS;
	billing_hold(agent->billing, fleet->held_until_ns);
}

void fleet_pass_time(struct fleet *fleet)
{
	struct agent *agent = fleet->agent;

	if (fleet->is_beating || agent->phase != AGENT_RUNNING)
		return;
	fleet->is_beating = true;
	fleet->asked_ns = clock_mono_ns();
	fleet->self.id = agent->slots.head->epoch;
	fleet->self.followed = store_followed(agent->store);
	fleet->self.accounts = mirror_accounts(agent->mirror);
	fleet->self.keys = mirror_keys(agent->mirror);
	fleet->self.lent_units = share_exchange_lent(agent->share_exchange);
	store_beat(agent->store, &fleet->self, agent->rules->config->stripe.is_configured, LEASE_MS,
		   on_beaten, fleet);
}

static void on_left(void *arg, int err)
{
	(void)arg;
	(void)err; /* then the store forgets this host after a while */
}

void fleet_leave(struct fleet *fleet)
{
	if (fleet && fleet->self.id && fleet->agent->store && !fleet->agent->is_away)
		store_leave(fleet->agent->store, fleet->self.id, on_left, NULL);
}

json_t *fleet_json(const struct fleet *fleet)
{
	json_t *list = json_array();

	for (size_t i = 0; i < fleet->host_count; i++) {
		const struct store_host *host = &fleet->hosts[i];
		char id[17];

		snprintf(id, sizeof(id), "%016" PRIx64, host->id);
		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:I, s:I, s:I, s:I, s:I}", "id",
				  id, "name", host->name, "version", host->version, "self",
				  host->id == fleet->self.id, "alive", is_alive(fleet, host),
				  "holds_billing", host->id == fleet->holder, "seen_ms",
				  (json_int_t)(fleet->now_ms - host->seen_ms), "behind",
				  (json_int_t)(fleet->changes > host->followed
						       ? fleet->changes - host->followed
						       : 0),
				  "accounts", (json_int_t)host->accounts, "keys",
				  (json_int_t)host->keys, "lent_units",
				  (json_int_t)host->lent_units));
	}
	return list;
}

void fleet_metrics(const struct fleet *fleet, struct metrics *m)
{
	metrics_family(m, "tollgate_hosts", "gauge",
		       "Hosts that share the store and were seen in the last five seconds.");
	metrics_value(m, fleet->alive);
	metrics_family(m, "tollgate_holds_billing", "gauge",
		       "1 on the host that processes Stripe's events and reports usage.");
	metrics_value(m, clock_mono_ns() < fleet->held_until_ns);
}
