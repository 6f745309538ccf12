/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cli: the subcommands that talk to a running agent through its admin socket.
 *
 * Their exit codes: 0 success, 1 failure, 2 wrong usage.
 *
 * The module cli: asking the agent and printing its answer. Nothing is decided here: a rule that
 * matters belongs behind the admin API, where every client meets it.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

struct cli_options {
	const char *socket; /* admin socket; default /run/tollgate/admin.sock */
};

struct cli_command {
	const char *name;
	const char *summary;
	/* argv[0] is the name of the subcommand. Returns the exit code. */
	int (*run)(int argc, char **argv, const struct cli_options *options);
};

extern const struct cli_command cli_commands[]; /* ends with a NULL name */

#endif
