/* SPDX-License-Identifier: BSD-2-Clause */
/* fastpath: show or change what the XDP program does. */
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
	"Show what the XDP program does: its action, the mode of each interface and the reason\n"
	"for it, the enrolled connections, and the packets counted on tollgate's ports.\n\n"
	"With an action, change it at once: `off` and `observe` refuse nothing (`observe` counts\n"
	"what would be refused), `drop` drops segments and SYNs, `answer` also answers requests.\n"
	"The change lasts until the next start or reload, which apply the configuration again.\n\n"
	"  --json  print a JSON object\n";

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
		fputs("the fast path is not loaded: the agent alone refuses requests\n", out);
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
		output_error("the action must be off, observe, drop or answer");
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
			"action %s, until the next start or reload applies the configuration "
			"again\n",
			action);
	else
		print(answer);
	json_decref(answer);
	return output_finish(0);
}
