/* SPDX-License-Identifier: BSD-2-Clause */
/* usage: the usage of each account. */
#include <inttypes.h>

#include "base/clock.h"
#include "cli/cli_private.h"

static const struct table_column columns[] = {
	{ "ACCOUNT", "account", TABLE_TEXT },	{ "WINDOW", "window", TABLE_TEXT },
	{ "SECONDS", "seconds", TABLE_NUMBER }, { "REQUESTS", "requests", TABLE_NUMBER },
	{ "UNITS", "units", TABLE_NUMBER },	{ 0 },
};

static const struct table_column drift_columns[] = {
	{ "ACCOUNT", "account", TABLE_TEXT }, { "METER", "meter", TABLE_TEXT },
	{ "SINCE", "since", TABLE_TEXT },     { "COUNTED", "counted", TABLE_NUMBER },
	{ "OPEN", "open", TABLE_NUMBER },     { "PENDING", "pending", TABLE_NUMBER },
	{ "FAILED", "failed", TABLE_NUMBER }, { "DELIVERED", "delivered", TABLE_NUMBER },
	{ "STRIPE", "stripe", TABLE_NUMBER }, { "DRIFT", "drift", TABLE_NUMBER },
	{ "ERROR", "error", TABLE_TEXT },     { 0 },
};

static const struct table_column failed_columns[] = {
	{ "TASK", "task", TABLE_TEXT },		{ "ACCOUNT", "account", TABLE_TEXT },
	{ "CUSTOMER", "customer", TABLE_TEXT }, { "METER", "meter", TABLE_TEXT },
	{ "UNITS", "units", TABLE_NUMBER },	{ "STATE", "state", TABLE_TEXT },
	{ "WHY", "why", TABLE_TEXT },		{ 0 },
};

static const char help[] =
	"Show the counted requests by account and window of time, for all accounts or one.\n"
	"UNITS are requests weighted by the cost of their route.\n\n"
	"  --since WHEN  only windows that begin after WHEN: a duration ago such as 24h or 7d, or\n"
	"                a UTC date such as 2026-01-31 or 2026-01-31T12:00:00Z\n"
	"  --drift       compare the units of accounts that have a meter with Stripe's, since\n"
	"                WHEN or since the billing period began; exit code 0 only if none differs\n"
	"  --failed      show the usage that Stripe did not accept\n"
	"  --json        print a JSON array of objects; with --drift, an object\n\n"
	"`usage retry` sends the usage that Stripe refused again now. With a TASK of --failed,\n"
	"it sends that one, also if its state is 'in doubt': check at Stripe first that it was "
	"not\n"
	"billed.\n";

static int print_drift(const struct cli_options *options, uint64_t since_s, bool json)
{
	char path[CLI_PATH_MAX];
	json_int_t drifting, errors;
	json_t *answer, *accounts;

	snprintf(path, sizeof(path), "/api/v1/drift?since=%" PRIu64, since_s);
	answer = cli_call(options, "GET", path, NULL);
	if (!answer)
		return 1;
	accounts = json_object_get(answer, "accounts");
	drifting = json_integer_value(json_object_get(answer, "drifting"));
	errors = json_integer_value(json_object_get(answer, "errors"));
	if (json) {
		output_json(answer);
	} else {
		table_print(output_stdout(), drift_columns, accounts);
		fprintf(output_stdout(), "%zu accounts: %lld differ, %lld could not be compared\n",
			json_array_size(accounts), (long long)drifting, (long long)errors);
	}
	json_decref(answer);
	return output_finish(drifting || errors);
}

static int print_failed(const struct cli_options *options, bool json)
{
	json_t *answer = cli_call(options, "GET", "/api/v1/usage/failed", NULL);

	if (!answer)
		return 1;
	if (json)
		output_json(answer);
	else
		table_print(output_stdout(), failed_columns, answer);
	json_decref(answer);
	return output_finish(0);
}

static int retry(const struct cli_options *options, const char *task, bool json)
{
	json_t *answer, *body = task ? json_pack("{s:s}", "task", task) : json_object();

	answer = cli_call(options, "POST", "/api/v1/usage/retry", body);
	if (!answer)
		return 1;
	if (json)
		output_json(answer);
	else
		fprintf(output_stdout(), "%lld reports are sent again\n",
			(long long)json_integer_value(json_object_get(answer, "retried")));
	json_decref(answer);
	return output_finish(0);
}

int cli_usage(int argc, char **argv, const struct cli_options *options)
{
	const char *operands[2] = { NULL, NULL }, *since = NULL, *id;
	bool json = false, drift = false, failed = false;
	const struct args args = {
		.usage = "usage [ID] [--since WHEN] [--drift | --failed] [--json]\n"
			 "       tollgate usage retry [TASK] [--json]",
		.help = help,
		.options = (const struct args_option[]){ { "since", &since, NULL, 0 },
							 { "drift", NULL, &drift, 0 },
							 { "failed", NULL, &failed, 0 },
							 { "json", NULL, &json, 0 },
							 { 0 } },
		.ret_operands = operands,
		.operand_max = 2,
	};
	char path[CLI_PATH_MAX];
	uint64_t since_s = 0;
	json_t *answer;
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	if (since && cli_parse_since(text_of(since), clock_wall_ms(), &since_s)) {
		output_error("--since must be a duration such as 24h, or a UTC date such as "
			     "2026-01-31 or "
			     "2026-01-31T12:00:00Z");
		return 2;
	}
	id = operands[0];
	if (id && !strcmp(id, "retry") && !since && !drift && !failed)
		return retry(options, operands[1], json);
	if (operands[1]) {
		output_error("unexpected argument '%s'", operands[1]);
		return 2;
	}
	if (id && !cli_check_id(id, "acc_"))
		return 2;
	if (failed && (id || since || drift)) {
		output_error("--failed cannot be combined with an id, --since or --drift");
		return 2;
	}
	if (failed)
		return print_failed(options, json);
	if (id && drift) {
		output_error("--drift covers all accounts; it cannot be combined with an id");
		return 2;
	}
	if (drift)
		return print_drift(options, since_s, json);
	snprintf(path, sizeof(path), "/api/v1/usage?since=%" PRIu64 "%s%s", since_s,
		 id ? "&account=" : "", id ? id : "");
	answer = cli_call(options, "GET", path, NULL);
	if (!answer)
		return 1;
	if (json)
		output_json(answer);
	else
		table_print(output_stdout(), columns, answer);
	json_decref(answer);
	return output_finish(0);
}
