/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * args: options and operands of one subcommand.
 *
 * Options may stand before and after operands, as "--name value" or "--name=value"; the last one
 * counts; "--" ends them. Operands are never repeated in a message, because a key may have been put
 * where an id belongs.
 */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "cli/cli.h"

struct args_option {
	const char *name;	/* without the dashes; NULL ends a list */
	const char **ret_value; /* where its value goes; NULL: a flag */
	bool *ret_flag;
};

struct args {
	const char *usage; /* one line, without "usage: tollgate " */
	const char *help;  /* sentences and a list of the options */
	const struct args_option *options;
	const char **ret_operands; /* room for operand_max */
	unsigned operand_min, operand_max;
};

/*
 * True: go on. False: return *ret_exit; help is written (0), or what is wrong (2). argv[0] is not
 * looked at; everything that is returned points into @argv.
 */
bool args_parse(int argc, char **argv, const struct args *args, int *ret_exit);

/* Run the action of a subcommand such as `account`, named by argv[1]; @help lists them all. */
int args_dispatch(int argc, char **argv, const struct cli_command *actions, const char *help,
		  const struct cli_options *options);

/* Whether @id is @prefix ("acc_", "key_") and 16 hex digits; if not, a message says so. */
bool args_check_id(const char *id, const char *prefix);

/*
 * "7d" (so long before @now_ms), "2026-01-31" or "2026-01-31T12:00:00Z" as seconds since 1970.
 * 0 or -EINVAL.
 */
int args_parse_since(struct text text, uint64_t now_ms, uint64_t *ret_s);

#endif
