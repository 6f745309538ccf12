/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * key: create, list, revoke and rotate API keys.
 *
 * A new key is the only thing on standard output, so that KEY=$(tollgate key create ...) captures
 * it; the remarks about it go to standard error. No error message contains a key.
 */
#include "cli/cli_private.h"

static const char help[] =
	"usage: tollgate key create --account ID [--label L]\n"
	"       tollgate key list [--account ID]\n"
	"       tollgate key revoke ID | --account ID\n"
	"       tollgate key rotate ID [--overlap 24h]\n"
	"       tollgate key import FILE\n"
	"\n"
	"With --json each prints the agent's answer. `create` and `rotate` print only the new key\n"
	"on standard output. It is shown this once.\n";

static const struct table_column list_columns[] = {
	{ "ID", "id", TABLE_TEXT },	      { "ACCOUNT", "account", TABLE_TEXT },
	{ "KEY", "hint", TABLE_TEXT },	      { "CREATED", "created", TABLE_TEXT },
	{ "REVOKED", "revoked", TABLE_TEXT }, { "ENDS", "ends", TABLE_TEXT },
	{ "LABEL", "label", TABLE_TEXT },     { 0 },
};

static const struct table_column show_columns[] = {
	{ "id", "id", TABLE_TEXT },	      { "account", "account", TABLE_TEXT },
	{ "key", "hint", TABLE_TEXT },	      { "label", "label", TABLE_TEXT },
	{ "created", "created", TABLE_TEXT }, { "revoked", "revoked", TABLE_TEXT },
	{ "ends", "ends", TABLE_TEXT },	      { 0 },
};

static const struct table_column revoked_columns[] = {
	{ "account", "account", TABLE_TEXT },
	{ "revoked", "revoked", TABLE_NUMBER },
	{ 0 },
};

static const char *string_of(const json_t *object, const char *member)
{
	const char *value = json_string_value(json_object_get(object, member));

	return value ? value : "";
}

/* Print a new key and free the answer that contains it. */
static int print_new_key(json_t *answer, bool json)
{
	int code;

	if (json)
		output_json(answer);
	else
		fprintf(output_stdout(), "%s\n", string_of(answer, "key"));
	code = output_finish(0);
	if (code)
		output_error(
			"%s was created, but its key could not be printed and is lost: revoke it",
			string_of(answer, "id"));
	else if (!json)
		fprintf(stderr, "This is %s of %s. Keep the key: it is shown only this once.\n",
			string_of(answer, "id"), string_of(answer, "account"));
	json_decref(answer);
	return code;
}

static int create(int argc, char **argv, const struct cli_options *options)
{
	const char *account = NULL, *label = NULL;
	bool json = false;
	const struct args args = {
		.usage = "key create --account ID [--label L] [--json]",
		.help = "Create a key and print it on a line of its own on standard output. It is "
			"shown\n"
			"this once: tollgate keeps only its hash.\n\n"
			"  --account ID  account that the key belongs to (acc_...)\n"
			"  --label L     a name for people\n"
			"  --json        print a JSON object with \"key\", \"id\" and "
			"\"account\"\n",
		.options = (const struct args_option[]){ { "account", &account, NULL, 0 },
							 { "label", &label, NULL, 0 },
							 { "json", NULL, &json, 0 },
							 { 0 } },
	};
	json_t *body, *answer;
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	if (!account) {
		output_error("--account is required");
		return 2;
	}
	if (!cli_check_id(account, "acc_"))
		return 2;
	body = json_pack("{s:s}", "account", account);
	if (!cli_body_add(body, "label", label)) {
		json_decref(body);
		return 2;
	}
	answer = cli_call(options, "POST", "/api/v1/keys", body);
	return answer ? print_new_key(answer, json) : 1;
}

static int list(int argc, char **argv, const struct cli_options *options)
{
	const char *account = NULL;
	bool json = false;
	const struct args args = {
		.usage = "key list [--account ID] [--json]",
		.help = "Print the keys of all accounts, or of one. Of each key only a hint is "
			"kept: the\n"
			"end of its prefix and its last four characters.\n",
		.options = (const struct args_option[]){ { "account", &account, NULL, 0 },
							 { "json", NULL, &json, 0 },
							 { 0 } },
	};
	char path[CLI_PATH_MAX];
	json_t *answer;
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	if (account && !cli_check_id(account, "acc_"))
		return 2;
	snprintf(path, sizeof(path), "/api/v1/keys%s%s", account ? "?account=" : "",
		 account ? account : "");
	answer = cli_call(options, "GET", path, NULL);
	if (!answer)
		return 1;
	if (json)
		output_json(answer);
	else
		table_print(output_stdout(), list_columns, answer);
	json_decref(answer);
	return output_finish(0);
}

/* The path of the call that revokes one key, or with @account all its keys. */
static bool revoke_path(const char *id, const char *account, char *ret_path)
{
	if (!id == !account) {
		output_error("give either the id of a key or --account");
		return false;
	}
	if (!cli_check_id(id ? id : account, id ? "key_" : "acc_"))
		return false;
	if (id)
		snprintf(ret_path, CLI_PATH_MAX, "/api/v1/keys/%s/revoke", id);
	else
		snprintf(ret_path, CLI_PATH_MAX, "/api/v1/accounts/%s/keys/revoke", account);
	return true;
}

static int revoke(int argc, char **argv, const struct cli_options *options)
{
	const char *id = NULL, *account = NULL;
	bool json = false;
	const struct args args = {
		.usage = "key revoke ID | --account ID [--json]",
		.help = "Revoke a key now and print it. ID is the id that `key list` shows, not "
			"the key\n"
			"itself.\n\n"
			"  --account ID  revoke all keys of this account at once, and print how "
			"many\n"
			"                were valid\n",
		.options = (const struct args_option[]){ { "account", &account, NULL, 0 },
							 { "json", NULL, &json, 0 },
							 { 0 } },
		.ret_operands = &id,
		.operand_max = 1,
	};
	char path[CLI_PATH_MAX];
	json_t *answer;
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	if (!revoke_path(id, account, path))
		return 2;
	answer = cli_call(options, "POST", path, NULL);
	if (!answer)
		return 1;
	if (json)
		output_json(answer);
	else
		table_print_object(output_stdout(), id ? show_columns : revoked_columns, answer);
	json_decref(answer);
	return output_finish(0);
}

static int rotate(int argc, char **argv, const struct cli_options *options)
{
	const char *id, *overlap = NULL;
	bool json = false;
	const struct args args = {
		.usage = "key rotate ID [--overlap DURATION] [--json]",
		.help = "Create a new key for the account of an old one, and print it as `key "
			"create` does.\n\n"
			"  --overlap DURATION  how long the old key stays valid, for example 24h;\n"
			"                      without it the old key ends now\n",
		.options = (const struct args_option[]){ { "overlap", &overlap, NULL, 0 },
							 { "json", NULL, &json, 0 },
							 { 0 } },
		.ret_operands = &id,
		.operand_min = 1,
		.operand_max = 1,
	};
	char path[CLI_PATH_MAX];
	json_t *body, *answer;
	uint64_t overlap_ms;
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	if (!cli_check_id(id, "key_"))
		return 2;
	if (overlap && text_parse_duration_ms(text_of(overlap), &overlap_ms)) {
		output_error("--overlap must be a duration, for example 24h");
		return 2;
	}
	body = overlap ? json_pack("{s:s}", "overlap", overlap) : NULL;
	snprintf(path, sizeof(path), "/api/v1/keys/%s/rotate", id);
	answer = cli_call(options, "POST", path, body);
	return answer ? print_new_key(answer, json) : 1;
}

static const struct cli_command actions[] = {
	{ "create", "", create },	  { "list", "", list },
	{ "revoke", "", revoke },	  { "rotate", "", rotate },
	{ "import", "", cli_key_import }, { NULL, NULL, NULL },
};

int cli_key(int argc, char **argv, const struct cli_options *options)
{
	return cli_dispatch(argc, argv, actions, help, options);
}
