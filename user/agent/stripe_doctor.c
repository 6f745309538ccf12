/* SPDX-License-Identifier: BSD-2-Clause */
/* stripe_doctor: what only `stripe doctor` looks at: the running agent, clocks and deliveries. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/stripe_command.h"
#include "base/buf.h"
#include "base/clock.h"
#include "stripe/event.h"
#include "stripe/field.h"

#define MAX_AHEAD_S 10 /* Stripe's Date has whole seconds, and the answer took a while */
#define MAX_PATH    4096
#define LATEST_S    60	  /* a younger event may still be on its way */
#define SPAN_S	    86400 /* events that failed earlier were fetched by a reconciliation since */

static void check_clock(struct stripe_session *s)
{
	long long ahead_s = s->ahead_s;

	if (s->has_date && llabs(ahead_s) > MAX_AHEAD_S)
		session_problem(s, "clock", "clock",
				"synchronize this host's clock, for example with systemd-timesyncd",
				"it is %lld seconds %s Stripe's", llabs(ahead_s),
				ahead_s > 0 ? "ahead of" : "behind");
}

static unsigned long long count_of(const json_t *stripe, const char *name)
{
	return (unsigned long long)field_u64(stripe, name);
}

static void check_usage(struct stripe_session *s, const json_t *stripe)
{
	const json_t *list = json_object_get(stripe, "usage_problems"), *problem;
	unsigned long long failed = count_of(stripe, "usage_failed_units");
	unsigned long long lost = count_of(stripe, "usage_lost_units");
	size_t i;

	json_array_foreach (list, i, problem)
		session_problem(s, "usage", field_text(problem, "what"),
				"the usage is billed once the cause is gone",
				"%llu units cannot be billed: %s", count_of(problem, "units"),
				field_text(problem, "why"));
	if (failed)
		session_problem(s, "usage", "usage",
				"remove the cause that the log names, then run `tollgate usage "
				"retry`",
				"Stripe refused %llu units", failed);
	if (lost)
		session_problem(s, "usage", "usage", "put them on an invoice at Stripe by hand",
				"%llu units are too old for Stripe", lost);
}

static void check_events(struct stripe_session *s, const json_t *stripe)
{
	unsigned long long failed = count_of(stripe, "events_failed");
	unsigned long long refused = count_of(stripe, "events_refused");

	if (failed)
		session_problem(s, "agent", "events", "see the log, then run `tollgate sync`",
				"%llu could not be processed", failed);
	if (refused && !count_of(stripe, "events_accepted") && !count_of(stripe, "events_repeated"))
		session_problem(s, "agent", "stripe.webhook_secrets",
				"compare the secrets with those of the endpoint at Stripe",
				"the signatures of all %llu webhooks were wrong", refused);
}

static json_t *check_status(struct stripe_session *s)
{
	json_t *status = session_agent(s, "/api/v1/status"), *stripe;
	const char *why = field_text(status, "why");

	if (!status) {
		session_problem(s, "agent", s->config->admin_socket,
				"start it, or run this command as a user who may open the socket",
				"the agent does not answer: %s",
				s->why[0] ? s->why : "unexpected status");
		return NULL;
	}
	if (!field_bool(status, "ready"))
		session_problem(s, "agent", "agent", "see `tollgate status`", "it is not ready: %s",
				why ? why : "");
	stripe = json_incref(json_object_get(status, "stripe"));
	if (json_is_object(stripe)) {
		check_events(s, stripe);
		check_usage(s, stripe);
	} else {
		session_problem(s, "agent", "agent", "restart it with this configuration",
				"it runs without the section 'stripe'");
	}
	json_decref(status);
	return stripe;
}

static int write_events_path(struct buf *path, const struct stripe_session *s, size_t first)
{
	uint64_t now_s = clock_wall_ms() / 1000 - (uint64_t)(s->has_date ? s->ahead_s : 0);
	int err = buf_printf(path,
			     "/v1/events?delivery_success=false&limit=100&created[gte]=%llu"
			     "&created[lte]=%llu",
			     (unsigned long long)(now_s - SPAN_S),
			     (unsigned long long)(now_s - LATEST_S));

	if (!err)
		err = event_write_types(path, first);
	return err ? err : buf_append(path, "", 1);
}

/* The needed events of the last day that Stripe could not deliver. False if it cannot be asked. */
static bool count_undelivered(struct stripe_session *s, size_t *ret_count)
{
	struct buf path;

	*ret_count = 0;
	for (size_t first = 0; event_needed(EVENT_SNAPSHOT, first); first += EVENT_TYPES_MAX) {
		json_t *list = NULL;

		buf_init(&path, MAX_PATH);
		if (!write_events_path(&path, s, first))
			list = session_list(s, buf_head(&path), "events");
		buf_done(&path);
		if (!list)
			return false;
		*ret_count += json_array_size(list);
		json_decref(list);
	}
	return true;
}

/* With other endpoints, the list does not say which of them did not get an event. */
static void check_deliveries(struct stripe_session *s, const struct registrations *r)
{
	char what[160];
	size_t count;

	if (!count_undelivered(s, &count) || !count)
		return;
	if (r->others)
		snprintf(
			what, sizeof(what),
			"Stripe could not deliver %zu event%s of the last day to all endpoints, of "
			"which %u have other URLs",
			count, count == 1 ? "" : "s", r->others);
	else
		snprintf(what, sizeof(what), "Stripe could not deliver %zu event%s of the last day",
			 count, count == 1 ? "" : "s");
	session_add(s, &(struct finding){
			       .check = "deliveries",
			       .where = s->url,
			       .what = what,
			       .remedy = "see the endpoint's page in Stripe's dashboard for the "
					 "reason; `tollgate sync` fetches them",
			       .is_note = r->others > 0 });
}

json_t *stripe_check_agent(struct stripe_session *s, const struct registrations *r)
{
	if (!s->config->stripe.webhook_secret_count)
		session_problem(s, "secrets", "stripe.webhook_secrets",
				"add the signing secret of the endpoint",
				"is empty, so every event is refused");
	check_clock(s);
	if (!s->is_lost)
		check_deliveries(s, r);
	return check_status(s);
}
