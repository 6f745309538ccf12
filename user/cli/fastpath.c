/* SPDX-License-Identifier: BSD-2-Clause */
/* fastpath: what the kernel's half does, and what it is to do. */
#include <string.h>

#include "base/action.h"
#include "cli/cli_private.h"

static const struct table_column interfaces[] = {
	{ "INTERFACE", "name", TABLE_TEXT },
	{ "MODE", "mode", TABLE_TEXT },
	{ "WHY", "why", TABLE_TEXT },
	{ 0 },
};

static const struct table_column counters[] = {
	{ "XDP COUNTER", "name", TABLE_TEXT },
	{ "PACKETS", "count", TABLE_NUMBER },
	{ 0 },
};

static const char help[] =
	"Print what the kernel's half does: its action, the mode of each interface and why it is\n"
	"so, the connections that it knows of, and what it did with packets to our ports.\n\n"
	"With an action, change it at once: `off` and `observe` refuse nothing (`observe` counts\n"
	"what would be refused), `drop` drops segments and SYNs, `answer` also answers requests.\n"
	"It holds until the next start or reload, which go by the configuration.\n\n"
	"  --json  an object\n";

static void print(const json_t *fastpath)
{
	const char *why = json_string_value(json_object_get(fastpath, "why"));
	json_t *attached = json_object_get(fastpath, "interfaces"), *rows = json_array(), *count;
	bool is_loaded = json_is_true(json_object_get(fastpath, "loaded"));
	FILE *out = output_stdout();
	const char *name;

	if (is_loaded)
		fprintf(out, "action %s; %lld flows enrolled\n",
			json_string_value(json_object_get(fastpath, "action")),
			(long long)json_integer_value(json_object_get(fastpath, "flows")));
	else
		fputs("there is no fast path: the agent alone refuses\n", out);
	if (why && *why)
		fprintf(out, "%s\n", why);
	if (json_array_size(attached)) {
		fputc('\n', out);
		table_print(out, interfaces, attached);
	}
	json_object_foreach (json_object_get(fastpath, "counters"), name, count)
		json_array_append_new(rows, json_pack("{s:s, s:O}", "name", name, "count", count));
	if (json_array_size(rows)) {
		fputc('\n', out);
		table_print(out, counters, rows);
	}
	json_decref(rows);
}

int cli_fastpath(int argc, char **argv, const struct cli_options *options)
{
	const char *action = NULL;
	enum tollgate_action parsed;
	bool json = false;
	const struct args args = {
		.usage = "fastpath [off | observe | drop | answer] [--json]",
		.help = help,
		.options = (const struct args_option[]){ { "json", NULL, &json, 0 }, { 0 } },
		.ret_operands = &action,
		.operand_max = 1,
	};
	json_t *body = NULL, *answer;
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	if (action && action_parse(action, &parsed)) {
		output_error("the action is off, observe, drop or answer");
		return 2;
	}
	if (action)
		body = json_pack("{s:s}", "action", action);
	answer = cli_call(options, action ? "POST" : "GET", "/api/v1/fastpath", body);
	if (!answer)
		return 1;
	if (json)
		output_json(answer);
	else if (action)
		fprintf(output_stdout(),
			"action %s, until the next start or reload, which go by the "
			"configuration\n",
			action);
	else
		print(answer);
	json_decref(answer);
	return output_finish(0);
}
