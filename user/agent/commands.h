/* SPDX-License-Identifier: BSD-2-Clause */
/* commands: the subcommands that run an agent, or that read its configuration. */
#ifndef AGENT_COMMANDS_H
#define AGENT_COMMANDS_H

/* argv[0] is the subcommand's name. Return the exit code: 0 ok, 1 failed, 2 wrong usage. */
int agent_command_run(int argc, char **argv);
int agent_command_check(int argc, char **argv);
int agent_command_store(int argc, char **argv);
int agent_command_stripe(int argc, char **argv);

/*
 * Set the environment from a file of lines NAME=value. 0, or a negative errno after an error
 * message.
 */
int agent_read_env_file(const char *path);

#endif
