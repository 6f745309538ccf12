/* SPDX-License-Identifier: BSD-2-Clause */
/* status: the agent's state and counters, as JSON and as Prometheus metrics. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent_private.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "tollgate/verdict.h"

static const char *const verdict_labels[] = {
#define X(name, label, status, detail) label,
	TOLLGATE_VERDICTS(X)
#undef X
};

static const char *const counter_labels[] = {
#define X(name, label) label,
	TOLLGATE_COUNTERS(X)
#undef X
};

static const char *mode_word(enum fastpath_mode mode)
{
	return mode == FASTPATH_NATIVE ? "native" : mode == FASTPATH_GENERIC ? "generic" : "none";
}

static unsigned connections(const struct agent *agent)
{
	unsigned sum = 0;

	/* Workers that end free what is asked for here. */
	if (agent->phase == AGENT_STOPPING)
		return 0;
	for (unsigned i = 0; i < agent->workers_started; i++)
		sum += worker_connections(agent->workers[i]);
	return sum;
}

static uint64_t read_counter(const uint64_t *counter)
{
	return atomic_read(counter);
}

static struct proxy_counters sum_counters(const struct agent *agent)
{
	struct proxy_counters sum = { 0 };

	if (agent->phase == AGENT_STOPPING)
		return sum;
	for (unsigned i = 0; i < agent->workers_started; i++) {
		const uint64_t *from = (const uint64_t *)worker_counters(agent->workers[i]);
		uint64_t *to = (uint64_t *)&sum;

		for (size_t j = 0; j < sizeof(sum) / sizeof(*to); j++)
			to[j] += read_counter(&from[j]);
	}
	return sum;
}

json_t *status_fastpath(void *arg)
{
	struct agent *agent = arg;
	json_t *interfaces = json_array(), *counters = json_object();
	uint64_t values[TOLLGATE_COUNTER_COUNT];

	if (agent->fastpath) {
		const struct fastpath_interface *interface;

		for (unsigned i = 0; (interface = fastpath_interface(agent->fastpath, i))->name;
		     i++)
			json_array_append_new(interfaces,
					      json_pack("{s:s, s:s, s:s}", "name", interface->name,
							"mode", mode_word(interface->mode), "why",
							interface->why));
		if (!fastpath_read_counters(agent->fastpath, values)) {
			for (unsigned i = 0; i < TOLLGATE_COUNTER_COUNT; i++)
				json_object_set_new(counters, counter_labels[i],
						    json_integer((json_int_t)values[i]));
		}
	}
	return json_pack("{s:b, s:s, s:s, s:I, s:o, s:o}", "loaded", agent->fastpath != NULL,
			 "action",
			 agent->fastpath ? action_word(fastpath_action(agent->fastpath)) : "off",
			 "why", agent->fastpath_why, "flows",
			 (json_int_t)(agent->fastpath ? fastpath_enrolled(agent->fastpath) : 0),
			 "interfaces", interfaces, "counters", counters);
}

json_t *status_json(void *arg)
{
	struct agent *agent = arg;
	struct proxy_counters sum = sum_counters(agent);
	json_t *verdicts = json_object();
	char url[256];
	bool is_ready = agent->phase == AGENT_RUNNING && !agent->not_ready[0];

	store_show_url(agent->rules->config->store, url, sizeof(url));
	for (unsigned i = 0; i < TOLLGATE_VERDICT_COUNT; i++)
		json_object_set_new(verdicts, verdict_labels[i],
				    json_integer((json_int_t)sum.verdicts[i]));
	return json_pack("{s:s, s:b, s:s, s:i, s:I, s:i, s:i, s:I, s:I, s:s, s:o, s:o, s:o, s:o*}",
			 "version", TOLLGATE_VERSION, "ready", is_ready, "why",
			 agent->not_ready[0] ? agent->not_ready : agent->degraded, "pid",
			 (int)getpid(), "uptime_seconds",
			 (json_int_t)((clock_mono_ns() - agent->started_ns) / NS_PER_SECOND),
			 "workers", (int)agent->workers_started, "connections",
			 (int)connections(agent), "accounts",
			 (json_int_t)(agent->mirror ? mirror_accounts(agent->mirror) : 0), "keys",
			 (json_int_t)(agent->mirror ? mirror_keys(agent->mirror) : 0), "store", url,
			 "requests", verdicts, "fastpath", status_fastpath(agent), "hosts",
			 fleet_json(agent->fleet), "stripe", billing_status(agent->billing));
}

/* XDP's counters that are verdicts. */
static const struct {
	enum tollgate_verdict verdict;
	enum tollgate_counter counter;
} xdp_verdicts[] = {
	{ TOLLGATE_PENALTY_FLOW, TOLLGATE_COUNTER_DROP_FLOW },
	{ TOLLGATE_PENALTY_SOURCE, TOLLGATE_COUNTER_DROP_SOURCE },
	{ TOLLGATE_DENIED, TOLLGATE_COUNTER_DROP_DENIED },
	{ TOLLGATE_OVER_RATE, TOLLGATE_COUNTER_ANSWER_RATE },
	{ TOLLGATE_OVER_QUOTA, TOLLGATE_COUNTER_ANSWER_QUOTA },
	{ TOLLGATE_INACTIVE, TOLLGATE_COUNTER_ANSWER_INACTIVE },
	{ TOLLGATE_REVOKED_KEY, TOLLGATE_COUNTER_ANSWER_REVOKED },
};

static void write_requests(struct metrics *m, const struct proxy_counters *sum, const uint64_t *xdp)
{
	metrics_family(m, "tollgate_requests_total", "counter",
		       "Verdicts of both planes. XDP's drops are counted in packets.");
	for (unsigned i = 0; i < TOLLGATE_VERDICT_COUNT; i++) {
		if (i != TOLLGATE_PENALTY_FLOW && i != TOLLGATE_PENALTY_SOURCE)
			metrics_sample(m, "verdict", verdict_labels[i], "plane", "agent",
				       sum->verdicts[i]);
	}
	for (unsigned i = 0; i < sizeof(xdp_verdicts) / sizeof(xdp_verdicts[0]); i++)
		metrics_sample(m, "verdict", verdict_labels[xdp_verdicts[i].verdict], "plane",
			       "xdp", xdp[xdp_verdicts[i].counter]);
	metrics_family(m, "tollgate_xdp_packets_total", "counter",
		       "What the XDP program did with packets to tollgate's ports, and why.");
	for (unsigned i = 0; i < TOLLGATE_COUNTER_COUNT; i++)
		metrics_sample(m, "result", counter_labels[i], NULL, NULL, xdp[i]);
}

static void write_answers(struct metrics *m, const struct proxy_counters *sum)
{
	static const char *const codes[] = { "other", "1xx", "2xx", "3xx", "4xx", "5xx" };

	metrics_family(m, "tollgate_answers_total", "counter", "Answers sent, by status class.");
	for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		metrics_sample(m, "code", codes[i], NULL, NULL, sum->answers[i]);
	metrics_family(m, "tollgate_upstream_failures_total", "counter",
		       "Upstream connections that failed.");
	metrics_value(m, sum->upstream_failures);
	metrics_family(m, "tollgate_upstream_retries_total", "counter",
		       "Requests sent again on another connection.");
	metrics_value(m, sum->upstream_retries);
	metrics_family(m, "tollgate_flows_enrolled_total", "counter",
		       "Connections that the agent enrolled with the XDP program.");
	metrics_value(m, sum->enrolled);
	metrics_family(m, "tollgate_flow_table_full_total", "counter",
		       "Connections for which the flow table had no room.");
	metrics_value(m, sum->enrol_failures);
}

static void write_state(struct metrics *m, const struct agent *agent)
{
	uint64_t waiting = 0, refused = 0;

	metrics_family(m, "tollgate_ready", "gauge",
		       "1 if requests get verdicts, 0 if they get 503.");
	metrics_value(m, agent->phase == AGENT_RUNNING && !agent->not_ready[0]);
	metrics_family(m, "tollgate_connections", "gauge", "Open client connections.");
	metrics_value(m, connections(agent));
	metrics_family(m, "tollgate_accounts", "gauge", "Accounts in the mirror.");
	metrics_value(m, agent->mirror ? mirror_accounts(agent->mirror) : 0);
	metrics_family(m, "tollgate_keys", "gauge", "Keys in the mirror.");
	metrics_value(m, agent->mirror ? mirror_keys(agent->mirror) : 0);
	metrics_family(m, "tollgate_usage_write_failing", "gauge",
		       "1 if usage cannot be written to the store. Nothing is lost.");
	metrics_value(m, agent->was_usage_error);
	if (agent->store)
		fleet_metrics(agent->fleet, m), share_exchange_metrics(agent->share_exchange, m);
	metrics_family(m, "tollgate_store_away", "gauge",
		       "1 while the shared store is unreachable. Unknown keys get 503.");
	metrics_value(m, agent->is_away);
	if (agent->store)
		store_journal_counts(agent->store, &waiting, &refused);
	metrics_family(m, "tollgate_journal", "gauge",
		       "Changes and usage rows kept on this host for the store, by state.");
	metrics_sample(m, "state", "waiting", NULL, NULL, waiting);
	metrics_sample(m, "state", "refused", NULL, NULL, refused);
	metrics_family(m, "tollgate_store_reloads_total", "counter",
		       "Times the store was loaded again because changes may have been missed.");
	metrics_value(m, agent->reloads);
	metrics_family(m, "tollgate_fastpath_attached", "gauge",
		       "1 for the mode in which XDP serves the interface.");
	for (unsigned i = 0; agent->fastpath && fastpath_interface(agent->fastpath, i)->name; i++) {
		const struct fastpath_interface *interface = fastpath_interface(agent->fastpath, i);

		metrics_sample(m, "interface", interface->name, "mode", mode_word(interface->mode),
			       1);
	}
}

int status_metrics(void *arg, struct buf *out)
{
	struct agent *agent = arg;
	struct proxy_counters sum = sum_counters(agent);
	uint64_t xdp[TOLLGATE_COUNTER_COUNT] = { 0 };
	struct metrics m = { .out = out };

	if (agent->fastpath)
		m.err = fastpath_read_counters(agent->fastpath, xdp);
	metrics_family(&m, "tollgate_build_info", "gauge", "Always 1; the version is a label.");
	metrics_sample(&m, "version", TOLLGATE_VERSION, NULL, NULL, 1);
	write_requests(&m, &sum, xdp);
	write_answers(&m, &sum);
	write_state(&m, agent);
	if (!m.err)
		m.err = billing_metrics(agent->billing, out);
	return m.err;
}
