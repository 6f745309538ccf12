/* SPDX-License-Identifier: BSD-2-Clause */
/* usage: requests counted for each account. */
#include <inttypes.h>

#include "base/clock.h"
#include "cli/cli_private.h"

static const struct table_column columns[] = {
	{ "ACCOUNT", "account", TABLE_TEXT },	{ "WINDOW", "window", TABLE_TEXT },
	{ "SECONDS", "seconds", TABLE_NUMBER }, { "REQUESTS", "requests", TABLE_NUMBER },
	{ "UNITS", "units", TABLE_NUMBER },	{ 0 },
};

static const char help[] =
	"Print the requests that were counted, by account and window of time, for all\n"
	"accounts or one. Units are requests times the cost of their route.\n\n"
	"  --since WHEN  only windows that begin later: 24h or 7d ago, or since a UTC date\n"
	"                such as 2026-01-31 or 2026-01-31T12:00:00Z\n"
	"  --json        an array of objects\n";

int cli_usage(int argc, char **argv, const struct cli_options *options)
{
	const char *id = NULL, *since = NULL;
	bool json = false;
	const struct args args = {
		.usage = "usage [ID] [--since WHEN] [--json]",
		.help = help,
		.options = (const struct args_option[]){ { "since", &since, NULL },
							 { "json", NULL, &json },
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
	if (since && args_parse_since(text_of(since), clock_wall_ms(), &since_s)) {
		output_error("--since is a duration such as 24h, or a UTC date such as 2026-01-31 "
			     "or 2026-01-31T12:00:00Z");
		return 2;
	}
	if (id && !args_check_id(id, "acc_"))
		return 2;
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
