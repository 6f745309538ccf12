/* SPDX-License-Identifier: BSD-2-Clause */
/* commands: the table of the subcommands, and the one call that most of them make. */
#include "cli/cli_private.h"

const struct cli_command cli_commands[] = {
	{ "status", "what the running agent says of itself", cli_status },
	{ "account", "create, list, show, set, suspend and resume accounts", cli_account },
	{ "key", "create, list, revoke, rotate and import API keys", cli_key },
	{ "usage", "requests counted for each account", cli_usage },
	{ "deny", "addresses whose connections are refused", cli_deny },
	{ "allow", "addresses that never get a penalty", cli_allow },
	{ "fastpath", "the kernel's half: what it does, and what it is to do", cli_fastpath },
	{ "events", "follow what the kernel's half refuses", cli_events },
	{ "reload", "let the running agent read its configuration again", cli_reload },
	{ "sync", "hold all subscriptions against Stripe's", cli_sync },
	{ "version", "the version of this program", cli_version },
	{ NULL, NULL, NULL },
};

json_t *cli_call(const struct cli_options *options, const char *method, const char *path,
		 json_t *body)
{
	struct client client;
	json_t *answer = NULL;

	client_init(&client, options->socket);
	if (client_call(&client, method, path, body, &answer))
		output_error("%s", client.error);
	client_done(&client);
	json_decref(body);
	return answer;
}

bool cli_body_add(json_t *body, const char *name, const char *value)
{
	if (!value || !json_object_set_new(body, name, json_string(value)))
		return true;
	output_error("the value of --%s is not valid UTF-8", name);
	return false;
}
