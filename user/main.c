/* SPDX-License-Identifier: BSD-2-Clause */
/* main: the one binary; options, and which subcommand it is. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "agent/commands.h"
#include "cli/cli.h"

#define DEFAULT_SOCKET "/run/tollgate/admin.sock"

static const struct {
	const char *name, *summary;
	int (*run)(int argc, char **argv);
} agent_commands[] = {
	{ "run", "run the agent in the foreground", agent_command_run },
	{ "check", "check a configuration", agent_command_check },
	{ "store", "move a store to another place", agent_command_store },
	{ NULL, NULL, NULL },
};

static void usage(FILE *out)
{
	fputs("usage: tollgate [--socket PATH] SUBCOMMAND ...\n\n", out);
	for (size_t i = 0; agent_commands[i].name; i++)
		fprintf(out, "  %-9s %s\n", agent_commands[i].name, agent_commands[i].summary);
	for (const struct cli_command *c = cli_commands; c->name; c++)
		fprintf(out, "  %-9s %s\n", c->name, c->summary);
	fputs("\nEach subcommand has --help.\n", out);
}

static int run_subcommand(int argc, char **argv, const struct cli_options *options)
{
	for (size_t i = 0; agent_commands[i].name; i++) {
		if (!strcmp(agent_commands[i].name, argv[0]))
			return agent_commands[i].run(argc, argv);
	}
	for (const struct cli_command *c = cli_commands; c->name; c++) {
		if (!strcmp(c->name, argv[0]))
			return c->run(argc, argv, options);
	}
	fprintf(stderr, "tollgate: no subcommand '%s'\n", argv[0]);
	usage(stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option names[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	struct cli_options options = { .socket = DEFAULT_SOCKET };
	int letter;

	/* '+': options after the subcommand are the subcommand's. */
	while ((letter = getopt_long(argc, argv, "+hV", names, NULL)) != -1) {
		switch (letter) {
		case 's':
			options.socket = optarg;
			break;
		case 'h':
			usage(stdout);
			return 0;
		case 'V':
			printf("tollgate %s\n", TOLLGATE_VERSION);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind == argc) {
		usage(stderr);
		return 2;
	}
	return run_subcommand(argc - optind, argv + optind, &options);
}
