/* SPDX-License-Identifier: BSD-2-Clause */
/* commands: the table of the subcommands, and what several of them need. */
#include <string.h>

#include "cli/cli_private.h"

#define ACTIONS_MAX 16 /* of one subcommand; used only to suggest the nearest name */

const struct cli_command cli_commands[] = {
	{ "status", "show the state and counters of the running agent", cli_status },
	{ "account", "create, list, show, set, suspend and resume accounts", cli_account },
	{ "key", "create, list, revoke, rotate and import API keys", cli_key },
	{ "claim", "make a link that shows a customer an API key", cli_claim },
	{ "usage", "show the usage of each account", cli_usage },
	{ "deny", "refuse connections from addresses", cli_deny },
	{ "allow", "never penalize connections from addresses", cli_allow },
	{ "fastpath", "show or change what the XDP program does", cli_fastpath },
	{ "events", "follow what the XDP program refuses", cli_events },
	{ "reload", "make the running agent reload its configuration", cli_reload },
	{ "sync", "reconcile accounts with the subscriptions at Stripe", cli_sync },
	{ "version", "print the version", cli_version },
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

int cli_dispatch(int argc, char **argv, const struct cli_command *actions, const char *help,
		 const struct cli_options *options)
{
	const char *names[ACTIONS_MAX], *meant;
	size_t count = 0;

	if (argc > 1 && args_is_help(argv[1])) {
		fputs(help, output_stdout());
		return output_finish(0);
	}
	for (; argc > 1 && actions->name && count < ACTIONS_MAX; actions++) {
		if (!strcmp(argv[1], actions->name))
			return actions->run(argc - 1, argv + 1, options);
		names[count++] = actions->name;
	}
	meant = argc > 1 ? text_nearest(text_of(argv[1]), names, count) : NULL;
	if (meant)
		output_error("%s has no such action, did you mean '%s'?", argv[0], meant);
	else
		output_error(argc > 1 ? "%s has no such action" : "%s needs an action", argv[0]);
	fputs(help, stderr);
	return EXIT_USAGE;
}
