/* SPDX-License-Identifier: BSD-2-Clause */
/* cli_private: the subcommands, and what their files share. */
#ifndef CLI_PRIVATE_H
#define CLI_PRIVATE_H

#include "base/args.h"
#include "base/output.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/table.h"

#define CLI_PATH_MAX 192 /* bytes of the longest path of the admin API, with its id and the NUL */

int cli_account(int argc, char **argv, const struct cli_options *options);
int cli_key(int argc, char **argv, const struct cli_options *options);
int cli_claim(int argc, char **argv, const struct cli_options *options);
int cli_reload(int argc, char **argv, const struct cli_options *options);
int cli_sync(int argc, char **argv, const struct cli_options *options);
int cli_status(int argc, char **argv, const struct cli_options *options);
int cli_usage(int argc, char **argv, const struct cli_options *options);
int cli_deny(int argc, char **argv, const struct cli_options *options);
int cli_allow(int argc, char **argv, const struct cli_options *options);
int cli_fastpath(int argc, char **argv, const struct cli_options *options);
int cli_events(int argc, char **argv, const struct cli_options *options);
int cli_version(int argc, char **argv, const struct cli_options *options);

/* `key import`, in import.c. */
int cli_key_import(int argc, char **argv, const struct cli_options *options);

/*
 * Make the only call of a subcommand to the admin API. Takes over @body, which may be NULL. Returns
 * the answer, owned by the caller; or NULL, after an error message.
 */
json_t *cli_call(const struct cli_options *options, const char *method, const char *path,
		 json_t *body);

/*
 * Add a member to a body, unless @value is NULL. False, after an error message, if it is not UTF-8.
 */
bool cli_body_add(json_t *body, const char *name, const char *value);

/* Run the action named by argv[1] of a subcommand such as `account`. @help lists the actions. */
int cli_dispatch(int argc, char **argv, const struct cli_command *actions, const char *help,
		 const struct cli_options *options);

/* Whether @id is @prefix ("acc_", "key_") and 16 hex digits; prints an error message if not. */
bool cli_check_id(const char *id, const char *prefix);

/*
 * "7d" (that long before @now_ms), "2026-01-31" or "2026-01-31T12:00:00Z" as seconds since 1970.
 * 0 or -EINVAL.
 */
int cli_parse_since(struct text text, uint64_t now_ms, uint64_t *ret_s);

#endif
