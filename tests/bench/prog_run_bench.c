// SPDX-License-Identifier: BSD-2-Clause
/*
 * Nanoseconds per packet for each path, through BPF_PROG_RUN, as differences from an empty program
 * measured on the same machine in the same rounds.
 *
 * Rounds of all paths alternate and the median is taken, so that noise affects all paths equally.
 * Needs root; creates its own network namespace and bpffs.
 */
#include "bpf/answers.h"

#include <bpf/libbpf.h>

#include "bpf/edge.skel.h"
#include "bpf/pass.skel.h"
#include "tests/bench/again.skel.h"

#define ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))
#define ROUNDS	    15
#define REPEAT	    500000
#define SINGLES	    20001 /* single runs of a program that changes the packet */

#define REQUEST                                                                             \
	"GET /v1/items/42 HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: curl/7.88.1\r\n" \
	"Accept: */*\r\nX-API-Key: " KEY "\r\nX-Padding: 12345678901234\r\n\r\n"
_Static_assert(sizeof(REQUEST) - 1 == 150, "of which the figures speak");

enum program { EDGE, EMPTY };
enum flow { OTHER, ENROLLED, CONNECTED };

static struct path {
	const char *name;
	enum program program;
	enum flow flow; /* the flow that the packet belongs to */
	struct packet_spec spec;
	int verdict;
	struct packet packet;
	unsigned rounds_ns[ROUNDS];
} paths[] = {
	{ "empty program", EMPTY, OTHER, { .payload = "x" }, XDP_PASS, { .len = 0 }, { 0 } },
#define EDGE_PATH(name, flow, verdict, ...)                               \
	{                                                                 \
		name, EDGE, flow, { __VA_ARGS__ }, verdict, { .len = 0 }, \
		{                                                         \
			0                                                 \
		}                                                         \
	}
	EDGE_PATH("not our port", OTHER, XDP_PASS, .local_port = 9, .payload = "x"),
	EDGE_PATH("not our port, IPv6", OTHER, XDP_PASS, .family = AF_INET6, .local_port = 9),
	EDGE_PATH("ACK on our port", OTHER, XDP_PASS, .seq = 0),
	EDGE_PATH("SYN, no source in penalty", OTHER, XDP_PASS, .flags = PACKET_SYN),
	EDGE_PATH("data, not enrolled", OTHER, XDP_PASS, .payload = "x"),
	EDGE_PATH("data, enrolled, no penalty", ENROLLED, XDP_PASS, .payload = "x"),
	EDGE_PATH("data, in penalty, dropped", CONNECTED, XDP_DROP, .payload = "x"),
};

static struct pair pair;

/* Slot 0 is in penalty, and the socket pair is bound to it. Slot 1 is not in penalty. */
static void prepare(struct fastpath *fp)
{
	struct sockaddr_storage client = fixture_address(AF_INET, PACKET_CLIENT4, 1);
	struct sockaddr_storage local = fixture_address(AF_INET, PACKET_LOCAL4, PACKET_LOCAL_PORT);
	struct tollgate_settings *set = fastpath_settings(fp);
	struct tollgate_conn *conn;

	set->ports[PACKET_LOCAL_PORT / 64] |= 1ULL << PACKET_LOCAL_PORT % 64;
	set->stale_after_ns = set->event_every = 0; /* see keep_alive() */
	set->action = TOLLGATE_ACTION_DROP;
	conn = fastpath_conn(fp, fixture_enrol(fp, &client, &local));
	conn->slot = 1;
	fastpath_slots(fp)[1].generation = conn->slot_generation;

	pair_open(&pair, AF_INET, AF_INET);
	conn = fastpath_conn(fp, fixture_enrol(fp, &pair.client_address, &pair.local_address));
	conn->answered = pair.bytes_received;
	for (size_t i = 0; i < ELEMENTS(paths); i++) {
		struct path *path = &paths[i];

		if (path->flow == ENROLLED)
			path->spec.client_port = 1;
		path->packet = path->flow == CONNECTED ? pair_packet(&pair, AF_INET, 0, 0)
						       : packet_build(&path->spec);
	}
}

/* Renew the penalty, the empty bucket and the heartbeat, to last longer than the next run. */
static void keep_alive(struct fastpath *fp)
{
	uint64_t far_ns = clock_mono_ns() + 3600 * NS_PER_SECOND;

	fastpath_slots(fp)[0].tat_ns = far_ns;
	fastpath_slots(fp)[0].drop_until_ns = far_ns;
	fastpath_beat(fp, far_ns);
}

static unsigned measure(int program_fd, const struct path *path)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = path->packet.data,
		    .data_size_in = path->packet.len, .repeat = REPEAT);
	int err = bpf_prog_test_run_opts(program_fd, &opts);

	if (err || (int)opts.retval != path->verdict)
		fail_msg("%s: error %d, verdict %u", path->name, err, opts.retval);
	return opts.duration;
}

static int compare_ns(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

	return (x > y) - (x < y);
}

static int median(struct path *path)
{
	qsort(path->rounds_ns, ROUNDS, sizeof(path->rounds_ns[0]), compare_ns);
	return path->rounds_ns[ROUNDS / 2];
}

/* As long as the agent's own answer with all its headers. */
#define LONG_ANSWER                                                                          \
	"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/problem+json\r\n"       \
	"Retry-After: 0000\r\nRateLimit: \"rate\";r=0;t=0000\r\nContent-Length: 116\r\n\r\n" \
	"{\"type\":\"about:blank\",\"title\":\"Too Many Requests\",\"status\":429,"          \
	"\"detail\":\"The rate of your plan is used up for now.\"}\n"

static const struct request {
	const char *name;
	bool has_credit, is_bound;
	int verdict;
} requests[] = {
	{ "in limit, one account's", true, true, XDP_PASS },
	{ "in limit, several accounts'", true, false, XDP_PASS },
	{ "over limit, answered", false, false, XDP_TX },
};

static struct packet set_scene(struct world *w, const struct request *request)
{
	static const char answer[] = LONG_ANSWER;
	const uint16_t at[] = { last_digit(answer, "After: ", 4), last_digit(answer, ";t=", 4) };
	struct packet_spec spec = { .payload = REQUEST };

	world_reset(w);
	fastpath_settings(w->fp)->event_every = 100; /* the default */
	fastpath_put_template(w->fp, w->set, TOLLGATE_TEMPLATE_RATE + 3, TEXT(answer), at);
	if (request->has_credit)
		fastpath_slots(w->fp)->tat_ns = 0;
	w->conn->slot = request->is_bound ? 0 : TOLLGATE_NO_SLOT;
	w->conn->slot_generation = SLOT_GENERATION;
	w->conn->flags |= request->is_bound ? TOLLGATE_CONN_BOUND : 0;
	return world_packet(w, &spec);
}

/* Many single runs from the same state. Caches are cold, and the time of the system call counts. */
static int measure_singles(struct world *w, int program_fd, const struct packet *in, int verdict)
{
	static unsigned singles_ns[SINGLES];
	struct tollgate_conn fresh = *w->conn;
	struct packet out;

	for (unsigned i = 0; i < SINGLES; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->data, .data_size_in = in->len,
			    .data_out = out.data, .data_size_out = sizeof(out.data), .repeat = 1);

		*w->conn = fresh;
		if (bpf_prog_test_run_opts(program_fd, &opts) || (int)opts.retval != verdict)
			fail_msg("verdict %u, expected %d", opts.retval, verdict);
		singles_ns[i] = opts.duration;
	}
	qsort(singles_ns, SINGLES, sizeof(singles_ns[0]), compare_ns);
	return singles_ns[SINGLES / 2];
}

/* Many runs in one system call, with the program that restores what it has changed. */
static int measure_again(struct again_bpf *again, const struct world *w,
			 struct bpf_program *program, const struct packet *packet, int verdict)
{
	static struct path path;

	path = (struct path){ .name = "loop", .verdict = verdict, .packet = *packet };
	memcpy(again->bss->frame_before, packet->data, packet->len);
	again->bss->frame_len = packet->len;
	again->bss->conn_before = *w->conn;
	again->bss->conn_index = w->conn - fastpath_conn(w->fp, 0);
	for (unsigned round = 0; round < ROUNDS; round++)
		path.rounds_ns[round] = measure(bpf_program__fd(program), &path);
	return median(&path);
}

/* Load the program that restores, with the fast path's maps. */
static struct again_bpf *open_again(const struct fastpath *fp)
{
	struct again_bpf *again = again_bpf__open();
	struct bpf_map *map;

	assert_non_null(again);
	bpf_object__for_each_map(map, again->obj)
	{
		struct bpf_map *shared =
			bpf_object__find_map_by_name(fp->skel->obj, bpf_map__name(map));

		if (shared && !bpf_map__is_internal(map))
			assert_int_equal(bpf_map__reuse_fd(map, bpf_map__fd(shared)), 0);
	}
	if (again_bpf__load(again))
		fail_msg("cannot load the program that restores: %s", strerror(errno));
	return again;
}

static void bench_requests(const struct pass_bpf *pass)
{
	struct again_bpf *again;
	struct packet packet;
	struct world w;
	int empty_ns, restore_ns;

	world_open(&w, AF_INET);
	again = open_again(w.fp);
	packet = set_scene(&w, &requests[0]);
	empty_ns = measure_singles(&w, bpf_program__fd(pass->progs.pass), &packet, XDP_PASS);
	restore_ns = measure_again(again, &w, again->progs.restore_alone, &packet, XDP_PASS);
	printf("\nrequest of %zu bytes on an enrolled flow, answer of %zu; above empty\n"
	       "%-28s %6s %12s\n",
	       strlen(REQUEST), strlen(LONG_ANSWER), "path", "loop", "run singly");
	for (size_t i = 0; i < ELEMENTS(requests); i++) {
		const struct request *request = &requests[i];
		int loop_ns, single_ns;

		packet = set_scene(&w, request);
		loop_ns = measure_again(again, &w, again->progs.edge_again, &packet,
					request->verdict);
		packet = set_scene(&w, request);
		single_ns =
			measure_singles(&w, fastpath_program_fd(w.fp), &packet, request->verdict);
		printf("%-28s %6d %12d\n", request->name, loop_ns - restore_ns,
		       single_ns - empty_ns);
	}
	again_bpf__destroy(again);
	world_close(&w);
}

int main(void)
{
	struct fastpath_config config;
	struct pass_bpf *pass;
	struct fastpath *fp;
	int empty_ns;

	fixture_enter(NULL);
	config = fixture_config();
	fp = fixture_open(&config);
	pass = pass_bpf__open_and_load();
	assert_non_null(pass);
	prepare(fp);
	keep_alive(fp);
	for (unsigned round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < ELEMENTS(paths); i++)
			paths[i].rounds_ns[round] = measure(
				paths[i].program == EMPTY ? bpf_program__fd(pass->progs.pass)
							  : fastpath_program_fd(fp),
				&paths[i]);
	empty_ns = median(&paths[0]);
	printf("%-28s %6s %12s\n", "path", "ns", "above empty");
	for (size_t i = 0; i < ELEMENTS(paths); i++)
		printf("%-28s %6d %12d\n", paths[i].name, median(&paths[i]),
		       median(&paths[i]) - empty_ns);

	pair_close(&pair);
	fastpath_close(fp, FASTPATH_REMOVE);
	bench_requests(pass);
	pass_bpf__destroy(pass);
	return fixture_leave(NULL);
}
