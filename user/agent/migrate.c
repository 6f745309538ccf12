/* SPDX-License-Identifier: BSD-2-Clause */
/* migrate: the subcommand `store migrate`, which moves what a store holds to another place. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/commands.h"
#include "config/config.h"
#include "base/log.h"
#include "base/text.h"
#include "enforce/key.h"
#include "store/store_migrate.h"

#define DEFAULT_CONFIG "/etc/tollgate/tollgate.yaml"

static const char usage[] =
	"usage: tollgate store migrate [-c FILE] FROM TO\n"
	"Copy all that the store FROM holds into the store TO, which must be empty, and read both\n"
	"back to compare them. Both are URLs, such as sqlite:/var/lib/tollgate/tollgate.db and\n"
	"redis://10.0.0.5/0. Stop every tollgate that uses them first; FROM stays as it is.\n"
	"  -c, --config FILE    configuration, for its pepper_file (" DEFAULT_CONFIG ")\n";

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
		fprintf(stderr, "error: pepper_file %s: %s\n", config->pepper_file, strerror(-err));
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
		fprintf(stderr, "error: %s\n", why);
		return 1;
	}
	text_hex(moved.digest, sizeof(moved.digest), digest);
	printf("moved and read back: %" PRIu64 " accounts, %" PRIu64 " keys, %" PRIu64
	       " entries of lists, %" PRIu64 " quotas, %" PRIu64 " rows of usage, %" PRIu64
	       " tasks\nboth stores: %s\n",
	       moved.accounts, moved.keys, moved.entries, moved.quotas, moved.usage, moved.tasks,
	       digest);
	return 0;
}

int agent_command_store(int argc, char **argv)
{
	static const struct option names[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *config = DEFAULT_CONFIG;
	int letter;

	optind = 0;
	while ((letter = getopt_long(argc, argv, "c:h", names, NULL)) != -1) {
		if (letter == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (letter != 'c') {
			fputs(usage, stderr);
			return 2;
		}
		config = optarg;
	}
	if (argc - optind != 3 || strcmp(argv[optind], "migrate")) {
		fputs(usage, stderr);
		return 2;
	}
	return migrate(config, argv[optind + 1], argv[optind + 2]);
}
