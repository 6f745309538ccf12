/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stripe_command: the subcommands `stripe setup`, which registers tollgate at Stripe, and `stripe
 * doctor`, which looks for what is wrong with a running one. Both read the configuration.
 */
#include "agent/stripe_command.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/commands.h"
#include "base/args.h"
#include "base/log.h"
#include "base/output.h"
#include "base/paths.h"
#include "stripe/event.h"

#define DEFAULT_WEBHOOK_PATH "/webhooks/stripe"
#define UNKNOWN_HOST	     "https://YOUR-HOST"

struct options {
	const char *config;
	const char *env_file, *url; /* NULL: not given */
	bool is_dry_run, prints, json;
};

static const char help[] =
	"usage: tollgate stripe setup [-c FILE] [--env-file FILE] [--url URL] [--dry-run]\n"
	"                             [--json]\n"
	"       tollgate stripe setup --print [-c FILE] [--env-file FILE] [--url URL] [--json]\n"
	"       tollgate stripe doctor [-c FILE] [--env-file FILE] [--url URL] [--json]\n"
	"\n"
	"`setup` makes Stripe send the events that tollgate needs, and checks that the prices and\n"
	"meters of the configuration exist. `doctor` checks the same for a running agent, and its\n"
	"clock, events and usage.\n";

static const char setup_help[] =
	"Create the webhook endpoint and the event destination at Stripe, or add the missing "
	"events\n"
	"to those that exist, and print the signing secrets of new ones, once. Then check the\n"
	"prices and meters of the tiers and the customer portal. The exit code is 1 if there is a\n"
	"problem.\n\n"
	"  -c, --config FILE    configuration (" DEFAULT_CONFIG ")\n"
	"      --env-file FILE  lines NAME=value for ${NAME} in the configuration\n"
	"      --url URL        public address of tollgate; without it stripe.app_url\n"
	"      --dry-run        only print what would change\n"
	"      --print          only print the events and how to register them by hand; makes no\n"
	"                       call\n"
	"      --json           print a JSON object\n";

static const char doctor_help[] =
	"Check a running agent's connection with Stripe: all that `stripe setup` checks, whether "
	"an\n"
	"endpoint sends the needed events, clocks, undelivered events, and what the agent could "
	"not\n"
	"process. Nothing is changed. The exit code is 1 if there is a problem.\n\n"
	"  -c, --config FILE    configuration (" DEFAULT_CONFIG ")\n"
	"      --env-file FILE  lines NAME=value for ${NAME} in the configuration\n"
	"      --url URL        public address of tollgate; without it stripe.app_url\n"
	"      --json           print a JSON object\n";

/* ---- what both do first ---- */

static struct config *read_config(const struct options *options)
{
	struct config *config = NULL;
	struct buf messages;

	if (options->env_file && agent_read_env_file(options->env_file))
		return NULL;
	buf_init(&messages, 1 << 20);
	if (config_read(options->config ? options->config : DEFAULT_CONFIG, &config, &messages))
		config = NULL;
	if (buf_len(&messages))
		fwrite(buf_head(&messages), 1, buf_len(&messages), stderr);
	buf_done(&messages);
	if (config && !config->stripe.is_configured) {
		output_error("the configuration has no section 'stripe'");
		config_free(config);
		return NULL;
	}
	return config;
}

/*
 * The URL to which Stripe sends events: @base, which may already end in the webhook's path, or the
 * configured one. @config may be NULL. 0 or -EINVAL after a message.
 */
static int make_url(const struct config *config, const char *base, char ret_url[SESSION_URL_MAX])
{
	const char *path = config ? config->stripe.webhook_path : DEFAULT_WEBHOOK_PATH;
	size_t len;

	if (!base && config)
		base = config->stripe.app_url;
	if (!base) {
		output_error("tollgate's public address is not known; use for example --url "
			     "https://api.example.com, or set stripe.app_url");
		return -EINVAL;
	}
	len = strlen(base);
	while (len && base[len - 1] == '/')
		len--;
	if (len >= strlen(path) && !strncmp(base + len - strlen(path), path, strlen(path)))
		len -= strlen(path);
	if ((strncmp(base, "https://", 8) != 0 && strncmp(base, "http://", 7) != 0) || len < 9 ||
	    strpbrk(base, " \t\r\n?#") || len + strlen(path) >= SESSION_URL_MAX) {
		output_error("'%.200s' is not a valid URL; use for example "
			     "https://api.example.com",
			     base);
		return -EINVAL;
	}
	snprintf(ret_url, SESSION_URL_MAX, "%.*s%s", (int)len, base, path);
	return 0;
}

/* ---- --print ---- */

static json_t *list_names(enum event_format format)
{
	json_t *names = json_array();
	const char *name;

	for (size_t i = 0; (name = event_needed(format, i)); i++)
		json_array_append_new(names, json_string(name));
	return names;
}

static void print_names(enum event_format format, const char *start, const char *between)
{
	const char *name;

	for (size_t i = 0; (name = event_needed(format, i)); i++)
		fprintf(output_stdout(), "%s%s", i ? between : start, name);
	fputc('\n', output_stdout());
}

/* @version may be NULL. */
static void print_by_hand(const char *url, const char *version)
{
	const char *path = strchr(strstr(url, "//") + 2, '/'), *name;
	FILE *out = output_stdout();

	fprintf(out, "A webhook endpoint (snapshot events) for %s with these events:\n\n", url);
	print_names(EVENT_SNAPSHOT, "    ", "\n    ");
	fprintf(out,
		"\nAn event destination (thin events) for the same URL with these events, if a "
		"tier has a meter:\n\n");
	print_names(EVENT_THIN, "    ", "\n    ");
	fprintf(out,
		"\nIn Stripe's dashboard: Developers, Webhooks, Add destination. Or the first "
		"one with Stripe's\ncommand line:\n\n    stripe post /v1/webhook_endpoints "
		"-d url=%s",
		url);
	if (version)
		fprintf(out, " \\\n        -d api_version=%s", version);
	for (size_t i = 0; (name = event_needed(EVENT_SNAPSHOT, i)); i++)
		fprintf(out, " \\\n        -d \"enabled_events[]=%s\"", name);
	fprintf(out,
		"\n\nPut the signing secret of each into stripe.webhook_secrets.\n\n"
		"To test on your own machine, without either:\n\n"
		"    stripe listen --forward-to localhost:8080%s \\\n"
		"        --forward-thin-to localhost:8080%s",
		path, path);
	print_names(EVENT_THIN, " \\\n        --thin-events ", ",");
}

static int print(const struct options *options)
{
	bool has_config = options->config || !access(DEFAULT_CONFIG, R_OK);
	struct config *config = has_config ? read_config(options) : NULL;
	const char *base = options->url;
	char url[SESSION_URL_MAX];
	json_t *json;

	if (has_config && !config)
		return 1;
	if (!base && (!config || !config->stripe.app_url))
		base = UNKNOWN_HOST;
	if (make_url(config, base, url)) {
		config_free(config);
		return 1;
	}
	if (options->json) {
		json = json_pack("{s:s, s:o, s:o}", "url", url, "snapshot_events",
				 list_names(EVENT_SNAPSHOT), "thin_events", list_names(EVENT_THIN));
		output_json(json);
		json_decref(json);
	} else {
		print_by_hand(url, config ? config->stripe.api_version : NULL);
	}
	config_free(config);
	return output_finish(0);
}

/* ---- results ---- */

static json_t *registration_json(const struct registration *r)
{
	return json_pack("{s:s, s:s?, s:O?, s:b, s:s?}", "action", r->action, "id",
			 r->id[0] ? r->id : NULL, "added", r->added, "enabled", r->is_enabled_again,
			 "secret", r->secret[0] ? r->secret : NULL);
}

static void print_registration(const char *noun, const struct registration *r, bool is_dry_run)
{
	FILE *out = output_stdout();
	bool changes = !strcmp(r->action, "created") || !strcmp(r->action, "updated");
	json_t *name;
	size_t i;

	fprintf(out, "%s: %s%s%s%s\n", noun, changes && is_dry_run ? "would be " : "", r->action,
		r->id[0] ? " " : "", r->id);
	if (changes && r->is_enabled_again)
		fprintf(out, "  enabled again\n");
	json_array_foreach (r->added, i, name)
		fprintf(out, "  + %s\n", json_string_value(name));
}

static unsigned long long count_of(const json_t *agent, const char *name)
{
	return (unsigned long long)json_integer_value(json_object_get(agent, name));
}

static void print_agent(const json_t *agent)
{
	if (agent)
		fprintf(output_stdout(),
			"agent: events: %llu accepted, %llu wait, %llu failed; units: %llu "
			"delivered, %llu wait, %llu failed\n",
			count_of(agent, "events_accepted"), count_of(agent, "events_pending"),
			count_of(agent, "events_failed"), count_of(agent, "usage_delivered_units"),
			count_of(agent, "usage_pending_units"),
			count_of(agent, "usage_failed_units"));
}

static void print_secrets(const struct registrations *r)
{
	FILE *out = output_stdout();

	if (!r->endpoint.secret[0] && !r->destination.secret[0])
		return;
	fprintf(out, "\nSigning secrets, shown this once. Add them to stripe.webhook_secrets, or "
		     "put each into a file\nof stripe.webhook_secret_files, then run `tollgate "
		     "reload`:\n");
	if (r->endpoint.secret[0])
		fprintf(out, "  %s\n", r->endpoint.secret);
	if (r->destination.secret[0])
		fprintf(out, "  %s\n", r->destination.secret);
	fputc('\n', out);
}

static void print_findings(const struct stripe_session *s)
{
	json_t *finding;
	size_t i;

	json_array_foreach (s->findings, i, finding)
		fprintf(output_stdout(), "%s: %s: %s; %s\n",
			json_is_true(json_object_get(finding, "is_problem")) ? "problem" : "note",
			json_string_value(json_object_get(finding, "where")),
			json_string_value(json_object_get(finding, "what")),
			json_string_value(json_object_get(finding, "remedy")));
	if (s->problems)
		fprintf(output_stdout(), "%u problem%s\n", s->problems,
			s->problems == 1 ? "" : "s");
	else
		fprintf(output_stdout(), "no problems\n");
}

bool stripe_check_config(const struct config *config)
{
	struct stripe_session session;
	bool is_good;

	if (!config->stripe.is_configured) {
		output_error("--stripe: the configuration has no section stripe");
		return false;
	}
	if (session_open(&session, config)) {
		output_error("out of memory");
		session_close(&session);
		return false;
	}
	stripe_check_key(&session);
	stripe_check_tiers(&session);
	stripe_check_portal(&session);
	print_findings(&session);
	is_good = !session.problems;
	session_close(&session);
	return is_good;
}

static void print_result(const struct stripe_session *s, const struct registrations *r,
			 const struct options *options, json_t *agent)
{
	json_t *json;

	if (options->json) {
		json = json_pack("{s:s, s:b, s:b, s:o, s:o, s:O, s:O*}", "url", s->url, "ok",
				 !s->problems, "dry_run", options->is_dry_run, "endpoint",
				 registration_json(&r->endpoint), "destination",
				 registration_json(&r->destination), "findings", s->findings,
				 "agent", agent);
		output_json(json);
		json_decref(json);
		return;
	}
	print_registration("webhook endpoint", &r->endpoint, options->is_dry_run);
	print_registration("event destination", &r->destination, options->is_dry_run);
	print_agent(agent);
	print_secrets(r);
	print_findings(s);
}

/* ---- the two actions ---- */

static int run(const struct options *options, bool is_doctor)
{
	struct config *config = read_config(options);
	struct registrations registrations = { 0 };
	struct stripe_session s = { 0 };
	json_t *agent = NULL;
	int code = 1;

	if (!config)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	if (session_open(&s, config)) {
		output_error("out of memory");
	} else if (!make_url(config, options->url, s.url)) {
		stripe_check_key(&s);
		if (is_doctor)
			stripe_check_registrations(&s, &registrations);
		else
			stripe_register(&s, options->is_dry_run, &registrations);
		stripe_check_tiers(&s);
		stripe_check_portal(&s);
		if (is_doctor)
			agent = stripe_check_agent(&s, &registrations);
		print_result(&s, &registrations, options, agent);
		code = output_finish(s.problems ? 1 : 0);
	}
	json_decref(agent);
	registrations_done(&registrations);
	session_close(&s);
	config_free(config);
	return code;
}

static int setup(int argc, char **argv)
{
	struct options options = { 0 };
	const struct args args = {
		.usage = "stripe setup [-c FILE] [--env-file FILE] [--url URL] [--dry-run | "
			 "--print] [--json]",
		.help = setup_help,
		.options =
			(const struct args_option[]){ { "config", &options.config, NULL, 'c' },
						      { "env-file", &options.env_file, NULL, 0 },
						      { "url", &options.url, NULL, 0 },
						      { "dry-run", NULL, &options.is_dry_run, 0 },
						      { "print", NULL, &options.prints, 0 },
						      { "json", NULL, &options.json, 0 },
						      { 0 } },
	};
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	return options.prints ? print(&options) : run(&options, false);
}

static int doctor(int argc, char **argv)
{
	struct options options = { .is_dry_run = true };
	const struct args args = {
		.usage = "stripe doctor [-c FILE] [--env-file FILE] [--url URL] [--json]",
		.help = doctor_help,
		.options = (const struct args_option[]){ { "config", &options.config, NULL, 'c' },
							 { "env-file", &options.env_file, NULL, 0 },
							 { "url", &options.url, NULL, 0 },
							 { "json", NULL, &options.json, 0 },
							 { 0 } },
	};
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	return run(&options, true);
}

int agent_command_stripe(int argc, char **argv)
{
	static const char *const actions[] = { "setup", "doctor" };
	const char *meant;

	if (argc > 1 && args_is_help(argv[1])) {
		fputs(help, output_stdout());
		return output_finish(0);
	}
	if (argc > 1 && !strcmp(argv[1], "setup"))
		return setup(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "doctor"))
		return doctor(argc - 1, argv + 1);
	meant = argc > 1 ? text_nearest(text_of(argv[1]), actions, 2) : NULL;
	if (meant)
		output_error("stripe has no such action, did you mean '%s'?", meant);
	else
		output_error(argc > 1 ? "stripe has no such action" : "stripe needs an action");
	fputs(help, stderr);
	return EXIT_USAGE;
}
