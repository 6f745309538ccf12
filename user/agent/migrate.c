/* SPDX-License-Identifier: BSD-2-Clause */
/* migrate: the subcommand `store migrate`, which moves what a store holds to another place. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/commands.h"
#include "base/args.h"
#include "base/log.h"
#include "base/output.h"
#include "base/paths.h"
#include "base/text.h"
#include "config/config.h"
#include "enforce/key.h"
#include "store/store_migrate.h"

/* The pepper's check value, by which a store knows that its hashes are of this pepper. */
static int read_pepper(const char *path, uint8_t ret_check[CRYPTO_HASH_BYTES])
{
	struct crypto_hmac *pepper;
	struct config *config;
	struct buf messages;
	int err;

	buf_init(&messages, 1 << 20);
	err = config_read(path, &config, &messages);
	if (buf_len(&messages))
		fwrite(buf_head(&messages), 1, buf_len(&messages), stderr);
	buf_done(&messages);
	if (err)
		return err;
	err = key_pepper_load(config->pepper_file, &pepper, ret_check);
	if (err)
		output_error("pepper_file %s: %s", config->pepper_file, strerror(-err));
	else
		crypto_hmac_free(pepper);
	config_free(config);
	return err;
}

static int migrate(const char *config, const char *from, const char *to)
{
	struct store_migration moved = { 0 };
	uint8_t pepper_check[CRYPTO_HASH_BYTES];
	char why[512] = "", digest[2 * STORE_HASH_BYTES + 1];

	if (read_pepper(config, pepper_check))
		return 1;
	if (store_migrate(from, to, pepper_check, &moved, why, sizeof(why))) {
		output_error("%s", why);
		return 1;
	}
	text_hex(moved.digest, sizeof(moved.digest), digest);
	fprintf(output_stdout(),
		"moved and read back: %" PRIu64 " accounts, %" PRIu64 " keys, %" PRIu64
		" entries of lists, %" PRIu64 " quotas, %" PRIu64 " rows of usage, %" PRIu64
		" tasks\nboth stores: %s\n",
		moved.accounts, moved.keys, moved.entries, moved.quotas, moved.usage, moved.tasks,
		digest);
	return output_finish(0);
}

int agent_command_store(int argc, char **argv)
{
	const char *config = DEFAULT_CONFIG, *env_file = NULL, *operands[3];
	const struct args args = {
		.usage = "store migrate [-c FILE] [--env-file FILE] FROM TO",
		.help = "Copy everything in the store FROM to the store TO, which must be empty, "
			"then read "
			"both\n"
			"and compare them. Both are URLs, for example "
			"sqlite:/var/lib/tollgate/tollgate.db and\n"
			"redis://10.0.0.5/0. Stop every tollgate that uses them first. FROM is not "
			"changed.\n\n"
			"  -c, --config FILE    configuration, for its pepper_file (" DEFAULT_CONFIG
			")\n"
			"      --env-file FILE  lines NAME=value for ${NAME} in the "
			"configuration\n",
		.options = (const struct args_option[]){ { "config", &config, NULL, 'c' },
							 { "env-file", &env_file, NULL, 0 },
							 { 0 } },
		.ret_operands = operands,
		.operand_min = 3,
		.operand_max = 3,
	};
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	if (strcmp(operands[0], "migrate")) {
		output_error("store has no such action, did you mean 'migrate'?");
		return EXIT_USAGE;
	}
	if (env_file && agent_read_env_file(env_file))
		return 1;
	return migrate(config, operands[1], operands[2]);
}
