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

static const char help[] =
	"Show the counted requests by account and window of time, for all accounts or one.\n"
	"UNITS are requests weighted by the cost of their route.\n\n"
	"  --since WHEN  only windows that begin after WHEN: a duration ago such as 24h or 7d, or\n"
	"                a UTC date such as 2026-01-31 or 2026-01-31T12:00:00Z\n"
	"  --drift       compare the units of accounts that have a meter with Stripe's, since\n"
	"                WHEN or since the billing period began; exit code 0 only if none differs\n"
	"  --json        print a JSON array of objects; with --drift, an object\n";

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

int cli_usage(int argc, char **argv, const struct cli_options *options)
{
	const char *id = NULL, *since = NULL;
	bool json = false, drift = false;
	const struct args args = {
		.usage = "usage [ID] [--since WHEN] [--drift] [--json]",
		.help = help,
		.options = (const struct args_option[]){ { "since", &since, NULL, 0 },
							 { "drift", NULL, &drift, 0 },
							 { "json", NULL, &json, 0 },
							 { 0 } },
		.ret_operands = &id,
		.operand_max = 1,
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
	if (id && !cli_check_id(id, "acc_"))
		return 2;
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
