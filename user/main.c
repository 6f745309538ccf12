/* SPDX-License-Identifier: BSD-2-Clause */
/* main: the one binary: its own options, and the choice of a subcommand. */
#include <stdio.h>
#include <string.h>

#include "agent/commands.h"
#include "base/args.h"
#include "base/output.h"
#include "base/paths.h"
#include "base/text.h"
#include "cli/cli.h"

static const struct {
	const char *name, *summary;
	int (*run)(int argc, char **argv);
} agent_commands[] = {
	{ "run", "run the agent in the foreground", agent_command_run },
	{ "check", "check a configuration file", agent_command_check },
	{ "store", "copy a store to another one", agent_command_store },
	{ "stripe", "register at Stripe, and check what is registered", agent_command_stripe },
	{ NULL, NULL, NULL },
};

#define NAMES_MAX 32

static void print_commands(FILE *out)
{
	for (size_t i = 0; agent_commands[i].name; i++)
		fprintf(out, "  %-9s %s\n", agent_commands[i].name, agent_commands[i].summary);
	for (const struct cli_command *c = cli_commands; c->name; c++)
		fprintf(out, "  %-9s %s\n", c->name, c->summary);
}

static int print_help(void)
{
	FILE *out = output_stdout();

	fputs("usage: tollgate [--socket PATH] SUBCOMMAND ...\n\n", out);
	print_commands(out);
	fputs("\n  -s, --socket PATH  admin socket of the agent (" DEFAULT_SOCKET ")\n"
	      "  -V, --version      print the version\n"
	      "  -h, --help         print this help; each subcommand has one, too\n",
	      out);
	return output_finish(0);
}

static int fail_unknown(const char *name)
{
	const char *names[NAMES_MAX], *meant;
	size_t count = 0;

	for (size_t i = 0; agent_commands[i].name && count < NAMES_MAX; i++)
		names[count++] = agent_commands[i].name;
	for (const struct cli_command *c = cli_commands; c->name && count < NAMES_MAX; c++)
		names[count++] = c->name;
	meant = text_nearest(text_of(name), names, count);
	if (meant) {
		output_error("unknown subcommand '%.64s', did you mean '%s'?", name, meant);
	} else {
		output_error("unknown subcommand '%.64s'; the subcommands are:", name);
		print_commands(stderr);
	}
	return EXIT_USAGE;
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
	return fail_unknown(argv[0]);
}

int main(int argc, char **argv)
{
	struct cli_options options = { .socket = DEFAULT_SOCKET };
	bool wants_version = false;
	int first = argc, code;
	const struct args args = {
		.usage = "[--socket PATH] SUBCOMMAND ...",
		.help = "",
		.options = (const struct args_option[]){ { "socket", &options.socket, NULL, 's' },
							 { "version", NULL, &wants_version, 'V' },
							 { 0 } },
		.ret_rest = &first,
	};

	if (argc > 1 && args_is_help(argv[1]))
		return print_help();
	if (!args_parse(argc, argv, &args, &code))
		return code;
	if (wants_version) {
		fputs("tollgate " TOLLGATE_VERSION "\n", output_stdout());
		return output_finish(0);
	}
	if (first < argc)
		return run_subcommand(argc - first, argv + first, &options);
	output_error("a subcommand is missing; the subcommands are:");
	print_commands(stderr);
	return EXIT_USAGE;
}
