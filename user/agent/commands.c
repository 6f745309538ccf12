/* SPDX-License-Identifier: BSD-2-Clause */
/* commands: the subcommands that are an agent, or look at what one would be told. */
#include "agent/commands.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/config.h"

#define DEFAULT_CONFIG "/etc/tollgate/tollgate.yaml"
#define ENV_LINE_MAX   4096

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

/* One line "NAME=value", the value bare or in single or double quotes. -EINVAL for anything else. */
static int set_variable(char *line)
{
	char *value = strchr(line, '='), quote;
	size_t len;

	if (!value || value == line)
		return -EINVAL;
	*value++ = '\0';
	len = strlen(value);
	quote = *value;
	if (quote == '"' || quote == '\'') {
		if (len < 2 || value[len - 1] != quote)
			return -EINVAL;
		value[len - 1] = '\0';
		value++;
	}
	return setenv(line, value, 1) ? -errno : 0;
}

static int read_env_file(const char *path)
{
	char line[ENV_LINE_MAX];
	unsigned number = 0;
	FILE *file = fopen(path, "re");
	int err = 0;

	if (!file) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -errno;
	}
	while (!err && fgets(line, sizeof(line), file)) {
		char *start = line + strspn(line, " \t");

		number++;
		if (strlen(line) == sizeof(line) - 1)
			err = -EINVAL;
		start[strcspn(start, "\r\n")] = '\0';
		if (!*start || *start == '#')
			continue;
		if (!strncmp(start, "export ", 7))
			start += 7;
		if (!err)
			err = set_variable(start);
	}
	fclose(file);
	if (err)
		fprintf(stderr, "%s:%u: not a line NAME=value\n", path, number);
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
	return agent_run(options.config);
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
