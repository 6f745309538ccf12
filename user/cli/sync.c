/* SPDX-License-Identifier: BSD-2-Clause */
/* sync: reconcile accounts with the subscriptions at Stripe, and print what was repaired. */
#include "cli/cli_private.h"

static const struct table_column columns[] = {
	{ "ACCOUNT", "account", TABLE_TEXT },
	{ "SUBSCRIPTION", "subscription", TABLE_TEXT },
	{ "CHANGE", "change", TABLE_TEXT },
	{ 0 },
};

static long long number(const json_t *answer, const char *name)
{
	return json_integer_value(json_object_get(answer, name));
}

static void print(const json_t *answer)
{
	const json_t *repairs = json_object_get(answer, "repairs");
	const json_t *problem, *problems = json_object_get(answer, "problems");
	size_t i;

	json_array_foreach (problems, i, problem)
		fprintf(output_stdout(), "%s\n", json_string_value(problem));
	if (json_array_size(repairs))
		table_print(output_stdout(), columns, repairs);
	fprintf(output_stdout(),
		"%lld subscriptions: %lld repaired, %lld failed; %lld missed events, %lld "
		"accounts that Stripe does not list\n",
		number(answer, "subscriptions"), number(answer, "repaired"),
		number(answer, "failed"), number(answer, "missed_events"),
		number(answer, "strays"));
}

int cli_sync(int argc, char **argv, const struct cli_options *options)
{
	bool json = false;
	const struct args args = {
		.usage = "sync [--json]",
		.help = "List all subscriptions at Stripe, repair accounts that differ, and print "
			"each repair.\n"
			"The exit code is 1 if Stripe cannot be reached, a repair failed, or a "
			"tier's meter is not usable.\n",
		.options = (const struct args_option[]){ { "json", NULL, &json, 0 }, { 0 } },
	};
	json_t *answer;
	bool has_failed;
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	answer = cli_call(options, "POST", "/api/v1/sync", NULL);
	if (!answer)
		return 1;
	if (json)
		output_json(answer);
	else
		print(answer);
	has_failed = number(answer, "failed") > 0 ||
		     json_array_size(json_object_get(answer, "problems"));
	json_decref(answer);
	return output_finish(has_failed);
}
