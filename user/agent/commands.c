/* SPDX-License-Identifier: BSD-2-Clause */
/* commands: the subcommands that are an agent, or look at what one would be told. */
#include "agent/commands.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "config/config.h"
#include "base/env.h"

#define DEFAULT_CONFIG "/etc/tollgate/tollgate.yaml"

struct options {
	const char *config;
	const char *env_file;
};

static const char run_usage[] =
	"usage: tollgate run [-c FILE] [--env-file FILE]\n"
	"Run the agent in the foreground until SIGTERM; SIGHUP reloads.\n"
	"  -c, --config FILE    configuration (" DEFAULT_CONFIG ")\n"
	"      --env-file FILE  lines NAME=value for ${NAME} in the configuration\n";
static const char check_usage[] =
	"usage: tollgate check [-c FILE] [--env-file FILE] [FILE]\n"
	"Check a configuration; say what is wrong and where, and exit 1.\n";

/* -1: go on; else the exit code. */
static int parse(int argc, char **argv, const char *usage, struct options *ret)
{
	static const struct option names[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "env-file", required_argument, NULL, 'e' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int letter;

	*ret = (struct options){ .config = DEFAULT_CONFIG };
	optind = 0;
	while ((letter = getopt_long(argc, argv, "c:h", names, NULL)) != -1) {
		switch (letter) {
		case 'c':
			ret->config = optarg;
			break;
		case 'e':
			ret->env_file = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	return -1;
}

static int read_env_file(const char *path)
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
	struct options options;
	int code = parse(argc, argv, run_usage, &options);

	if (code >= 0)
		return code;
	if (optind < argc) {
		fprintf(stderr, "tollgate: unexpected '%s'\n", argv[optind]);
		fputs(run_usage, stderr);
		return 2;
	}
	if (options.env_file && read_env_file(options.env_file))
		return 1;
	return agent_run(options.config, options.env_file);
}

int agent_command_check(int argc, char **argv)
{
	struct config *config;
	struct options options;
	struct buf messages;
	int err, code = parse(argc, argv, check_usage, &options);

	if (code >= 0)
		return code;
	if (optind + 1 < argc) {
		fputs("tollgate: one configuration at a time\n", stderr);
		fputs(check_usage, stderr);
		return 2;
	}
	if (optind < argc)
		options.config = argv[optind];
	if (options.env_file && read_env_file(options.env_file))
		return 1;
	buf_init(&messages, 1 << 20);
	err = config_read(options.config, &config, &messages);
	if (buf_len(&messages))
		fwrite(buf_head(&messages), 1, buf_len(&messages), stderr);
	buf_done(&messages);
	if (err)
		return 1;
	config_free(config);
	printf("%s: ok\n", options.config);
	return 0;
}
