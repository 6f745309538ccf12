/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * events: XDP reports one of every `event_every` refusals; they are kept here for `tollgate
 * events`.
 *
 * A ring holds the latest ones. Each has a serial number, so that a reader that returns knows which
 * events are new and how many it has missed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/agent_private.h"
#include "base/clock.h"
#include "enforce/account.h"
#include "tollgate/verdict.h"

#define EVENTS_KEPT 1024

struct kept {
	struct tollgate_event event;
	uint64_t wall_ms;
	uint64_t account; /* 0: none */
};

struct events {
	struct agent *agent; /* borrowed */
	uint64_t count;	     /* events ever taken; the serial number of the latest */
	struct kept ring[EVENTS_KEPT];
};

static const char *const verdict_labels[] = {
#define X(name, label, status, detail) label,
	TOLLGATE_VERDICTS(X)
#undef X
};

struct events *events_new(struct agent *agent)
{
	struct events *events = calloc(1, sizeof(*events));

	if (events)
		events->agent = agent;
	return events;
}

void events_free(struct events *events)
{
	free(events);
}

static void on_event(void *arg, const struct tollgate_event *event)
{
	struct events *events = arg;
	const struct slots *slots = &events->agent->slots;
	struct kept *kept = &events->ring[events->count++ % EVENTS_KEPT];
	uint64_t now_ns = clock_mono_ns();
	uint64_t age_ns = now_ns > event->at_ns ? now_ns - event->at_ns : 0;

	*kept = (struct kept){ .event = *event, .wall_ms = clock_wall_ms() - age_ns / NS_PER_MS };
	if (event->slot < slots->count)
		kept->account = slots->list[event->slot].account_id;
}

void events_take(struct events *events)
{
	if (events->agent->fastpath)
		fastpath_poll_events(events->agent->fastpath, on_event, events);
}

static void format_time(uint64_t wall_ms, char ret_text[32])
{
	time_t seconds = (time_t)(wall_ms / 1000);
	char text[24];
	struct tm utc;

	gmtime_r(&seconds, &utc);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(ret_text, 32, "%s.%03uZ", text, (unsigned)(wall_ms % 1000));
}

static void format_client(const struct tollgate_event *event, char *ret_text, size_t size)
{
	struct cidr one = { .prefix_bits = 128 };
	char address[CIDR_TEXT_SIZE];

	memcpy(one.address, event->client_be32, sizeof(one.address));
	cidr_format(&one, address);
	snprintf(ret_text, size, cidr_is_ipv4(&one) ? "%s:%u" : "[%s]:%u", address,
		 ntohs(event->client_port_be16));
}

static json_t *json_event(const struct kept *kept, uint64_t serial)
{
	const struct tollgate_event *event = &kept->event;
	char time[32], client[CIDR_TEXT_SIZE + 8], account[ACCOUNT_ID_SIZE] = "";

	format_time(kept->wall_ms, time);
	format_client(event, client, sizeof(client));
	if (kept->account)
		account_format_id(kept->account, account);
	return json_pack("{s:I, s:s, s:s, s:i, s:s, s:s, s:s*, s:s}", "serial", (json_int_t)serial,
			 "time", time, "client", client, "port", (int)ntohs(event->local_port_be16),
			 "verdict",
			 event->verdict < TOLLGATE_VERDICT_COUNT ? verdict_labels[event->verdict]
								 : "unknown",
			 "plane", "xdp", "account", kept->account ? account : NULL, "action",
			 action_word(event->action));
}

json_t *events_json(void *arg, bool has_since, uint64_t since)
{
	struct agent *agent = arg;
	struct events *events = agent->events;
	uint64_t counters[TOLLGATE_COUNTER_COUNT] = { 0 };
	json_t *array = json_array();
	uint64_t first, lost;

	events_take(events);
	if (agent->fastpath)
		fastpath_read_counters(agent->fastpath, counters);
	if (!has_since || since > events->count)
		since = events->count;
	first = events->count > EVENTS_KEPT ? events->count - EVENTS_KEPT : 0;
	lost = since < first ? first - since : 0;
	for (uint64_t serial = since + lost; serial < events->count; serial++)
		json_array_append_new(array,
				      json_event(&events->ring[serial % EVENTS_KEPT], serial + 1));
	return json_pack("{s:o, s:I, s:I, s:I, s:i}", "events", array, "last",
			 (json_int_t)events->count, "lost", (json_int_t)lost, "lost_in_kernel",
			 (json_int_t)counters[TOLLGATE_COUNTER_EVENT_LOST], "every",
			 agent->fastpath ? (int)agent->rules->config->fastpath.event_every : 0);
}
