/* SPDX-License-Identifier: BSD-2-Clause */
/* status: the state and counters of the running agent. The exit code tells whether it is ready. */
#include "cli/cli_private.h"

static const struct table_column overview[] = {
	{ "pid", "pid", TABLE_NUMBER },		  { "up", "up", TABLE_TEXT },
	{ "workers", "workers", TABLE_NUMBER },	  { "connections", "connections", TABLE_NUMBER },
	{ "accounts", "accounts", TABLE_NUMBER }, { "keys", "keys", TABLE_NUMBER },
	{ "store", "store", TABLE_TEXT },	  { "fast path", "fast_path", TABLE_TEXT },
	{ "billing", "billing", TABLE_TEXT },	  { 0 },
};

static const struct table_column interfaces[] = {
	{ "INTERFACE", "name", TABLE_TEXT },
	{ "MODE", "mode", TABLE_TEXT },
	{ "WHY", "why", TABLE_TEXT },
	{ 0 },
};

static const char *string_of(const json_t *object, const char *member)
{
	const char *value = json_string_value(json_object_get(object, member));

	return value ? value : "";
}

static void add_uptime(json_t *status)
{
	json_int_t seconds = json_integer_value(json_object_get(status, "uptime_seconds"));
	int days = (int)(seconds / 86400), hours = (int)(seconds / 3600 % 24);
	int minutes = (int)(seconds / 60 % 60);
	char text[64];

	if (days)
		snprintf(text, sizeof(text), "%d d %d h", days, hours);
	else if (hours)
		snprintf(text, sizeof(text), "%d h %d min", hours, minutes);
	else if (minutes)
		snprintf(text, sizeof(text), "%d min %d s", minutes, (int)(seconds % 60));
	else
		snprintf(text, sizeof(text), "%d s", (int)seconds);
	json_object_set_new(status, "up", json_string(text));
}

static void add_fastpath(json_t *status, const json_t *fastpath)
{
	const char *why = string_of(fastpath, "why");
	bool loaded = json_is_true(json_object_get(fastpath, "loaded"));

	json_object_set_new(status, "fast_path",
			    json_sprintf("%s%s%s%s", loaded ? "loaded, action " : "off",
					 loaded ? string_of(fastpath, "action") : "",
					 *why ? ": " : "", why));
}

/* Print @counts, an object of numbers, as a table. */
static void print_counts(const char *name, const char *unit, json_t *counts)
{
	const struct table_column columns[] = {
		{ name, "name", TABLE_TEXT },
		{ unit, "count", TABLE_NUMBER },
		{ 0 },
	};
	json_t *rows = json_array(), *count;
	const char *key;

	json_object_foreach (counts, key, count)
		json_array_append_new(rows, json_pack("{s:s, s:O}", "name", key, "count", count));
	if (json_array_size(rows)) {
		fputc('\n', output_stdout());
		table_print(output_stdout(), columns, rows);
	}
	json_decref(rows);
}

static long long count_of(const json_t *object, const char *member)
{
	return json_integer_value(json_object_get(object, member));
}

static void add_billing(json_t *status, const json_t *stripe)
{
	if (!stripe)
		return;
	json_object_set_new(
		status, "billing",
		json_sprintf("%lld events wait; units: %lld delivered, %lld wait, %lld blocked, "
			     "%lld failed, %lld lost",
			     count_of(stripe, "events_pending"),
			     count_of(stripe, "usage_delivered_units"),
			     count_of(stripe, "usage_pending_units"),
			     count_of(stripe, "usage_blocked_units"),
			     count_of(stripe, "usage_failed_units"),
			     count_of(stripe, "usage_lost_units")));
}

/* Usage that cannot be billed for now, and why. */
static void print_problems(const json_t *problems)
{
	const json_t *problem;
	size_t i;

	json_array_foreach (problems, i, problem)
		fprintf(output_stdout(), "%s%lld units in %lld windows cannot be billed: %s\n",
			i ? "" : "\n", count_of(problem, "units"), count_of(problem, "windows"),
			json_string_value(json_object_get(problem, "why")));
}

static void print_hosts(json_t *hosts)
{
	static const struct table_column columns[] = {
		{ "HOST", "id", TABLE_TEXT },
		{ "NAME", "name", TABLE_TEXT },
		{ "VERSION", "version", TABLE_TEXT },
		{ "STATE", "state", TABLE_TEXT },
		{ "SEEN MS AGO", "seen_ms", TABLE_NUMBER },
		{ "CHANGES BEHIND", "behind", TABLE_NUMBER },
		{ "ACCOUNTS", "accounts", TABLE_NUMBER },
		{ "KEYS", "keys", TABLE_NUMBER },
		{ "LENT", "lent_units", TABLE_NUMBER },
		{ 0 },
	};
	json_t *host;
	size_t i;

	if (!json_array_size(hosts))
		return;
	json_array_foreach (hosts, i, host) {
		bool is_self = json_is_true(json_object_get(host, "self"));
		const char *state = !json_is_true(json_object_get(host, "alive")) ? "away"
				    : json_is_true(json_object_get(host, "holds_billing"))
					    ? "bills"
					    : "alive";

		json_object_set_new(host, "state",
				    json_sprintf("%s%s", state, is_self ? ", this one" : ""));
	}
	fputc('\n', output_stdout());
	table_print(output_stdout(), columns, hosts);
}

static void print_status(json_t *status)
{
	json_t *fastpath = json_object_get(status, "fastpath");
	json_t *attached = json_object_get(fastpath, "interfaces");
	bool ready = json_is_true(json_object_get(status, "ready"));
	const char *why = string_of(status, "why");
	FILE *out = output_stdout();

	add_uptime(status);
	add_fastpath(status, fastpath);
	add_billing(status, json_object_get(status, "stripe"));
	fprintf(out, "tollgate %s is %s%s%s\n\n", string_of(status, "version"),
		ready ? "ready" : "not ready", *why ? (ready ? ", but " : ": ") : "", why);
	table_print_object(out, overview, status);
	if (json_array_size(attached)) {
		fputc('\n', out);
		table_print(out, interfaces, attached);
	}
	print_problems(json_object_get(json_object_get(status, "stripe"), "usage_problems"));
	print_hosts(json_object_get(status, "hosts"));
	print_counts("VERDICT", "REQUESTS", json_object_get(status, "requests"));
	print_counts("XDP COUNTER", "PACKETS", json_object_get(fastpath, "counters"));
}

int cli_status(int argc, char **argv, const struct cli_options *options)
{
	bool json = false, ready;
	const struct args args = {
		.usage = "status [--json]",
		.help = "Show the state of the running agent, the fast path on each interface with "
			"the reason\n"
			"for its mode, and counters. The exit code is 0 only if the agent is "
			"ready: requests\n"
			"get real verdicts.\n",
		.options = (const struct args_option[]){ { "json", NULL, &json, 0 }, { 0 } },
	};
	json_t *answer;
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	answer = cli_call(options, "GET", "/api/v1/status", NULL);
	if (!answer)
		return 1;
	ready = json_is_true(json_object_get(answer, "ready"));
	if (json)
		output_json(answer);
	else
		print_status(answer);
	json_decref(answer);
	return output_finish(ready ? 0 : 1);
}
