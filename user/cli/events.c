/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * events: follow what the XDP program refuses.
 *
 * The agent keeps the latest events. Four times a second, ask it for those after the last one seen.
 */
#include <inttypes.h>
#include <time.h>

#include "cli/cli_private.h"

#define PAUSE_NS 250000000

static const char help[] =
	"Print the XDP program's refusals as they happen, until interrupted: one of every\n"
	"`event_every` (see the configuration). Lost events are reported on standard error.\n\n"
	"  --all      begin with the events that the agent still has, at most 1024\n"
	"  --count N  stop after N events\n"
	"  --json     print a JSON object per line\n";

struct follower {
	struct client client;
	bool json, all;
	bool is_begun; /* the agent has answered once */
	uint64_t last; /* serial number of the last event seen */
	uint64_t left; /* events still to print; UINT64_MAX: no limit */
	json_int_t lost_in_kernel;
};

static const char *word(const json_t *event, const char *member)
{
	const char *value = json_string_value(json_object_get(event, member));

	return value ? value : "-";
}

static void print_event(const struct follower *f, const json_t *event)
{
	FILE *out = output_stdout();

	if (f->json) {
		json_dumpf(event, out, JSON_COMPACT);
		fputc('\n', out);
		return;
	}
	fprintf(out, "%s %s -> %lld %s %s %s, action %s\n", word(event, "time"),
		word(event, "client"),
		(long long)json_integer_value(json_object_get(event, "port")), word(event, "plane"),
		word(event, "verdict"), word(event, "account"), word(event, "action"));
}

/* Events before the first answer do not count as lost: nobody asked for them. */
static void tell_losses(struct follower *f, const json_t *answer)
{
	json_int_t lost = json_integer_value(json_object_get(answer, "lost"));
	json_int_t in_kernel = json_integer_value(json_object_get(answer, "lost_in_kernel"));

	if (in_kernel > f->lost_in_kernel)
		lost += in_kernel - f->lost_in_kernel;
	f->lost_in_kernel = in_kernel;
	if (f->is_begun && lost)
		fprintf(stderr, "%lld events were lost\n", (long long)lost);
	f->is_begun = true;
}

static void take(struct follower *f, const json_t *answer)
{
	const json_t *event;
	size_t i;

	tell_losses(f, answer);
	json_array_foreach (json_object_get(answer, "events"), i, event) {
		if (!f->left)
			return;
		print_event(f, event);
		f->left -= f->left != UINT64_MAX;
	}
	f->last = (uint64_t)json_integer_value(json_object_get(answer, "last"));
}

static int follow(struct follower *f)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	char path[CLI_PATH_MAX];
	json_t *answer;

	while (f->left) {
		if (f->is_begun || f->all)
			snprintf(path, sizeof(path), "/api/v1/events?since=%" PRIu64, f->last);
		else
			snprintf(path, sizeof(path), "/api/v1/events");
		if (client_call(&f->client, "GET", path, NULL, &answer)) {
			output_error("%s", f->client.error);
			return 1;
		}
		take(f, answer);
		json_decref(answer);
		if (output_finish(0))
			return 1;
		if (f->left)
			nanosleep(&pause, NULL);
	}
	return 0;
}

int cli_events(int argc, char **argv, const struct cli_options *options)
{
	struct follower f = { .left = UINT64_MAX };
	const char *count = NULL;
	const struct args args = {
		.usage = "events [--all] [--count N] [--json]",
		.help = help,
		.options = (const struct args_option[]){ { "all", NULL, &f.all, 0 },
							 { "count", &count, NULL, 0 },
							 { "json", NULL, &f.json, 0 },
							 { 0 } },
	};
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	if (count && (text_parse_u64(text_of(count), UINT32_MAX, &f.left) || !f.left)) {
		output_error("--count must be a number of events, 1 or more");
		return 2;
	}
	client_init(&f.client, options->socket);
	code = follow(&f);
	client_done(&f.client);
	return code;
}
