/* SPDX-License-Identifier: BSD-2-Clause */
/* commands: the subcommands that run an agent or check its configuration. */
#include "agent/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/stripe_command.h"
#include "base/args.h"
#include "base/env.h"
#include "base/output.h"
#include "base/paths.h"
#include "config/config.h"
#include "portal/words.h"

struct options {
	const char *config;
	const char *env_file; /* NULL: none */
	const char *file;     /* of `check`: the configuration as an operand; NULL: none */
	bool asks_stripe;     /* of `check` */
};

#define CONFIG_HELP                                                   \
	"  -c, --config FILE    configuration (" DEFAULT_CONFIG ")\n" \
	"      --env-file FILE  lines NAME=value for ${NAME} in the configuration\n"

/* False: return *ret_exit. */
static bool parse(int argc, char **argv, struct args *args, struct options *ret, int *ret_exit)
{
	bool is_check = args->operand_max > 0;
	const struct args_option options[] = { { "config", &ret->config, NULL, 'c' },
					       { "env-file", &ret->env_file, NULL, 0 },
					       { is_check ? "stripe" : NULL, NULL,
						 &ret->asks_stripe, 0 },
					       { 0 } };

	*ret = (struct options){ .config = DEFAULT_CONFIG };
	args->options = options;
	args->ret_operands = &ret->file;
	return args_parse(argc, argv, args, ret_exit);
}

int agent_read_env_file(const char *path)
{
	struct buf messages;
	int err;

	buf_init(&messages, 4096);
	err = env_read_file(path, &messages);
	if (err)
		fwrite(buf_head(&messages), 1, buf_len(&messages), stderr);
	buf_done(&messages);
	return err;
}

int agent_command_run(int argc, char **argv)
{
	struct args args = {
		.usage = "run [-c FILE] [--env-file FILE]",
		.help = "Run the agent in the foreground until SIGTERM. SIGHUP "
			"reloads.\n\n" CONFIG_HELP,
	};
	struct options options;
	int code;

	if (!parse(argc, argv, &args, &options, &code))
		return code;
	if (options.env_file && agent_read_env_file(options.env_file))
		return 1;
	return agent_run(options.config, options.env_file);
}

/*
 * Print each tier's rate and burst, because a burst that was left out follows from the rate, and it
 * decides whether a client that sends several requests at once is refused.
 */
static void print_tiers(const struct tiers *tiers)
{
	char rate[WORDS_SIZE];

	for (unsigned i = 0; i < tiers->count; i++) {
		const struct tier *tier = &tiers->list[i];

		if (tier->interval_ns)
			fprintf(output_stdout(), "tier %s: rate %s, burst %" PRIu64 "\n",
				tier->name, words_rate(tier->interval_ns, rate), tier->burst);
		else
			fprintf(output_stdout(), "tier %s: no rate limit\n", tier->name);
	}
}

int agent_command_check(int argc, char **argv)
{
	struct args args = {
		.usage = "check [-c FILE] [--env-file FILE] [--stripe] [FILE]",
		.help = "Check a configuration, and print the rate and the burst of each tier. If "
			"the\n"
			"configuration is wrong, print what is wrong and where, and exit with "
			"1.\n\n" CONFIG_HELP
			"      --stripe         ask Stripe, with the configured key, whether the "
			"prices and\n"
			"                       meters of the tiers exist and are usable\n",
		.operand_max = 1,
	};
	struct config *config;
	struct options options;
	struct buf messages;
	bool is_good;
	int err, code;

	if (!parse(argc, argv, &args, &options, &code))
		return code;
	if (options.file)
		options.config = options.file;
	if (options.env_file && agent_read_env_file(options.env_file))
		return 1;
	buf_init(&messages, 1 << 20);
	err = config_read(options.config, &config, &messages);
	if (buf_len(&messages))
		fwrite(buf_head(&messages), 1, buf_len(&messages), stderr);
	buf_done(&messages);
	if (err)
		return 1;
	print_tiers(&config->tiers);
	is_good = !options.asks_stripe || stripe_check_config(config);
	config_free(config);
	if (is_good)
		fprintf(output_stdout(), "%s: ok\n", options.config);
	return output_finish(!is_good);
}
