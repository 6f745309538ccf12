/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * args: the options and operands of a command.
 *
 * Options may stand before and after operands, as "--name value", "--name=value" or, if they have a
 * letter, "-n value"; the last one counts; "--" ends them. -h and --help print the help. Operands
 * are never repeated in a message, because a key may have been put where an id belongs.
 */
#ifndef BASE_ARGS_H
#define BASE_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

struct args_option {
	const char *name;	/* without the dashes; NULL ends a list */
	const char **ret_value; /* where its value goes; NULL: a flag */
	bool *ret_flag;
	char letter; /* of its short form; 0: none */
};

struct args {
	const char *usage; /* one line, without "usage: tollgate " */
	const char *help;  /* sentences and a list of the options */
	const struct args_option *options;
	const char **ret_operands; /* room for operand_max */
	unsigned operand_min, operand_max;
	int *ret_rest; /* not NULL: parsing stops at the first operand, whose index this is */
};

#define EXIT_USAGE 2 /* the exit code for wrong usage */

/*
 * True: go on. False: return *ret_exit, for the help has been printed (0) or an error (EXIT_USAGE).
 * argv[0] is ignored; everything returned points into @argv.
 */
bool args_parse(int argc, char **argv, const struct args *args, int *ret_exit);

/* Whether @word asks for help: -h or --help. */
bool args_is_help(const char *word);

#endif
