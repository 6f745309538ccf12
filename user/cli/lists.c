/* SPDX-License-Identifier: BSD-2-Clause */
/* lists: addresses whose connections are refused (deny) or never penalized (allow). */
#include "cli/cli_private.h"

static const struct table_column columns[] = {
	{ "ADDRESSES", "cidr", TABLE_TEXT },
	{ "LIST", "list", TABLE_TEXT },
	{ "SINCE", "created", TABLE_TEXT },
	{ "UNTIL", "until", TABLE_TEXT },
	{ 0 },
};

static const char deny_help[] =
	"Refuse connections from an address or a block of addresses, and reset open ones.\n"
	"Without CIDR, print the list. The most specific entry of both lists decides; an entry\n"
	"for the same CIDR on the other list is replaced.\n\n"
	"  --for DURATION  how long, for example 1h or 7d; without it, until it is removed\n"
	"  --force         allow a block wider than /8 (IPv6: /16), or with a trusted proxy in it\n"
	"  --remove CIDR   remove an entry\n"
	"  --list          print the list\n"
	"  --json          print the entry as a JSON object, or the list as an array\n";

static const char allow_help[] =
	"Never penalize an address or a block of addresses for the connections it opens, and\n"
	"accept them even if a wider block is denied. Limits of accounts still apply.\n"
	"Without CIDR, print the list. The most specific entry of both lists decides; an entry\n"
	"for the same CIDR on the other list is replaced.\n\n"
	"  --for DURATION  how long, for example 1h or 7d; without it, until it is removed\n"
	"  --remove CIDR   remove an entry\n"
	"  --list          print the list\n"
	"  --json          print the entry as a JSON object, or the list as an array\n";

struct words {
	const char *block, *length, *removed;
	bool is_list, is_forced, json;
};

/* Whether the options ask for one thing only; prints an error message if not. */
static bool check(const struct words *w)
{
	uint64_t length_ms;

	if (!!w->block + !!w->removed + w->is_list > 1) {
		output_error("give either addresses, --remove or --list");
		return false;
	}
	if (!w->block && (w->length || w->is_forced)) {
		output_error("--for and --force can only be used with addresses");
		return false;
	}
	if (w->length && (text_parse_duration_ms(text_of(w->length), &length_ms) || !length_ms)) {
		output_error("--for must be a duration, for example 1h");
		return false;
	}
	return true;
}

static json_t *call(const struct cli_options *options, const char *list, const struct words *w)
{
	const char *block = w->block ? w->block : w->removed;
	char path[CLI_PATH_MAX];
	json_t *body;

	if (!block) {
		snprintf(path, sizeof(path), "/api/v1/lists?list=%s", list);
		return cli_call(options, "GET", path, NULL);
	}
	body = json_pack("{s:s}", "list", list);
	if (!cli_body_add(body, "cidr", block) || !cli_body_add(body, "for", w->length)) {
		json_decref(body);
		return NULL;
	}
	if (w->is_forced)
		json_object_set_new(body, "force", json_true());
	return cli_call(options, "POST", w->block ? "/api/v1/lists" : "/api/v1/lists/remove", body);
}

static int print(const char *list, const struct words *w, json_t *answer)
{
	const char *until = json_string_value(json_object_get(answer, "until"));
	const char *block = json_string_value(json_object_get(answer, "cidr"));
	FILE *out = output_stdout();

	if (w->json)
		output_json(answer);
	else if (!w->block && !w->removed)
		table_print(out, columns, answer);
	else if (w->removed)
		fprintf(out, "%s is no longer on the %s list\n", block ? block : "", list);
	else
		fprintf(out, "%s is on the %s list%s%s\n", block ? block : "", list,
			until ? " until " : "", until ? until : "");
	json_decref(answer);
	return output_finish(0);
}

static int run(int argc, char **argv, const struct cli_options *options, const char *list,
	       const struct args *words, struct words *w)
{
	json_t *answer;
	int code;

	if (!args_parse(argc, argv, words, &code))
		return code;
	if (!check(w))
		return 2;
	answer = call(options, list, w);
	return answer ? print(list, w, answer) : 1;
}

int cli_deny(int argc, char **argv, const struct cli_options *options)
{
	struct words w = { 0 };
	const struct args args = {
		.usage = "deny [CIDR [--for DURATION] [--force] | --remove CIDR | --list] [--json]",
		.help = deny_help,
		.options = (const struct args_option[]){ { "for", &w.length, NULL, 0 },
							 { "force", NULL, &w.is_forced, 0 },
							 { "remove", &w.removed, NULL, 0 },
							 { "list", NULL, &w.is_list, 0 },
							 { "json", NULL, &w.json, 0 },
							 { 0 } },
		.ret_operands = &w.block,
		.operand_max = 1,
	};

	return run(argc, argv, options, "deny", &args, &w);
}

int cli_allow(int argc, char **argv, const struct cli_options *options)
{
	struct words w = { 0 };
	const struct args args = {
		.usage = "allow [CIDR [--for DURATION] | --remove CIDR | --list] [--json]",
		.help = allow_help,
		.options = (const struct args_option[]){ { "for", &w.length, NULL, 0 },
							 { "remove", &w.removed, NULL, 0 },
							 { "list", NULL, &w.is_list, 0 },
							 { "json", NULL, &w.json, 0 },
							 { 0 } },
		.ret_operands = &w.block,
		.operand_max = 1,
	};

	return run(argc, argv, options, "allow", &args, &w);
}
