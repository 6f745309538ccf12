// SPDX-License-Identifier: BSD-2-Clause
/*
 * What the XDP program does with a packet if there is no socket: packet tables through
 * BPF_PROG_RUN.
 *
 * Every row starts from a state in which XDP refuses, and changes one thing. A data segment gets as
 * far as the look-up of its socket, which does not exist: PASS_SOCKET. socket_test.c tests what
 * follows.
 */
#include "bpf/fixture.h"

#define ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

static struct fastpath *fp;
static uint32_t conn4, conn6;

static struct sockaddr_storage client_of(int family)
{
	return fixture_address(family, family == AF_INET6 ? PACKET_CLIENT6 : PACKET_CLIENT4,
			       PACKET_CLIENT_PORT);
}

static struct sockaddr_storage local_of(int family)
{
	return fixture_address(family, family == AF_INET6 ? PACKET_LOCAL6 : PACKET_LOCAL4,
			       PACKET_LOCAL_PORT);
}

static void enter_listener(const char *mapped)
{
	struct tollgate_listener_key key = { .port_be16 = htons(PACKET_LOCAL_PORT), .ifindex = 1 };
	int fd = fixture_map(fp, "listeners");

	inet_pton(AF_INET6, mapped, key.local_be32);
	assert_int_equal(bpf_map_update_elem(fd, &key, &(uint32_t){ 1 }, BPF_ANY), 0);
	close(fd);
}

static void leave_listeners(void)
{
	struct tollgate_listener_key key;
	int fd = fixture_map(fp, "listeners");

	while (bpf_map_get_next_key(fd, NULL, &key) == 0)
		bpf_map_delete_elem(fd, &key);
	close(fd);
}

/* A state in which XDP refuses both connections' segments and both sources' SYNs. */
static int set_up(void **state)
{
	struct fastpath_config config = fixture_config();
	struct sockaddr_storage client, local;
	char why[256];

	(void)state;
	fp = fixture_open(&config);
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	fastpath_settings(fp)->ports[PACKET_LOCAL_PORT / 64] |= 1ULL << PACKET_LOCAL_PORT % 64;
	enter_listener("::");
	for (int i = 0; i < 2; i++) {
		int family = i ? AF_INET6 : AF_INET;

		client = client_of(family);
		local = local_of(family);
		*(i ? &conn6 : &conn4) = fixture_enrol(fp, &client, &local);
		assert_int_equal(xdp_penalize_source(fastpath_plane(fp), &client,
						     clock_mono_ns() + 50 * NS_PER_SECOND),
				 0);
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fastpath_close(fp, FASTPATH_REMOVE);
	return 0;
}

struct row {
	const char *why;
	struct packet_spec packet;
	int verdict;
	int counter;
	void (*change)(void); /* applied to the state before */
};

#define PASSES(name)	 XDP_PASS, TOLLGATE_COUNTER_PASS_##name
#define PASSES_UNCOUNTED XDP_PASS, NO_COUNTER
#define DROPS(name)	 XDP_DROP, TOLLGATE_COUNTER_DROP_##name
#define OBSERVES(name)	 XDP_PASS, TOLLGATE_COUNTER_OBSERVE_##name

static void run_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct packet packet = packet_build(&rows[i].packet);
		uint64_t before[TOLLGATE_COUNTER_COUNT];
		int verdict;

		set_up(NULL);
		if (rows[i].change)
			rows[i].change();
		assert_int_equal(fastpath_read_counters(fp, before), 0);
		verdict = fixture_run(fp, packet.data, packet.len);
		if (verdict != rows[i].verdict)
			fail_msg("%s: verdict %d, expected %d", rows[i].why, verdict,
				 rows[i].verdict);
		fixture_assert_counted(fp, before, rows[i].counter, rows[i].why);
		tear_down(NULL);
	}
}

static void frames_that_are_hard_to_read_pass(void **state)
{
	static const struct row rows[] = {
		{ "IPv4 with data", { .payload = "x" }, PASSES(SOCKET), NULL },
		{ "IPv6 with data", { .family = AF_INET6, .payload = "x" }, PASSES(SOCKET), NULL },
		{ "one VLAN tag", { .vlan_tags = 1, .payload = "x" }, PASSES(SOCKET), NULL },
		{ "two VLAN tags",
		  { .family = AF_INET6, .vlan_tags = 2, .payload = "x" },
		  PASSES(SOCKET),
		  NULL },
		{ "three VLAN tags", { .vlan_tags = 3, .payload = "x" }, PASSES(ODD), NULL },
		{ "IP option", { .ip_option_words = 1, .payload = "x" }, PASSES(ODD), NULL },
		{ "SYN with IP option",
		  { .ip_option_words = 10, .flags = PACKET_SYN },
		  PASSES(ODD),
		  NULL },
		{ "DF is not a fragment",
		  { .fragment = 0x4000, .payload = "x" },
		  PASSES(SOCKET),
		  NULL },
		{ "first fragment", { .fragment = 0x2000, .payload = "x" }, PASSES(ODD), NULL },
		{ "later fragment", { .fragment = 0x0001, .payload = "x" }, PASSES(ODD), NULL },
		{ "hop-by-hop options",
		  { .family = AF_INET6, .extension = PACKET_HOP_BY_HOP },
		  PASSES(ODD),
		  NULL },
		{ "IPv6 fragment",
		  { .family = AF_INET6, .extension = 44, .payload = "x" },
		  PASSES(ODD),
		  NULL },
		{ "routing header",
		  { .family = AF_INET6, .extension = 43, .payload = "x" },
		  PASSES(ODD),
		  NULL },
		{ "destination options",
		  { .family = AF_INET6, .extension = 60, .flags = PACKET_SYN },
		  PASSES(ODD),
		  NULL },
		{ "UDP", { .protocol = IPPROTO_UDP, .payload = "x" }, PASSES_UNCOUNTED, NULL },
		{ "UDP6", { .family = AF_INET6, .protocol = IPPROTO_UDP }, PASSES_UNCOUNTED, NULL },
		{ "ARP", { .ether_type = ETH_P_ARP, .payload = "x" }, PASSES_UNCOUNTED, NULL },
		{ "IPv4 with the EtherType of IPv6",
		  { .ether_type = ETH_P_IPV6, .payload = "x" },
		  PASSES_UNCOUNTED,
		  NULL },
		{ "another port", { .local_port = 8444, .payload = "x" }, PASSES_UNCOUNTED, NULL },
		{ "SYN to another port",
		  { .local_port = 8507, .flags = PACKET_SYN },
		  PASSES_UNCOUNTED,
		  NULL },
		{ "IP length beyond the frame",
		  { .payload = "x", .length_lie = 1 },
		  PASSES(ODD),
		  NULL },
		{ "IP length below the headers",
		  { .payload = "x", .length_lie = -30 },
		  PASSES_UNCOUNTED,
		  NULL },
	};

	(void)state;
	run_rows(rows, ELEMENTS(rows));
}

static void segments_without_data_pass_uncounted(void **state)
{
	static const struct row rows[] = {
		{ "ACK", { 0 }, PASSES_UNCOUNTED, NULL },
		{ "padding is not data", { .padding = 6 }, PASSES_UNCOUNTED, NULL },
		{ "TCP options are not data", { .tcp_option_words = 10 }, PASSES_UNCOUNTED, NULL },
		{ "data after TCP options",
		  { .tcp_option_words = 3, .payload = "x" },
		  PASSES(SOCKET),
		  NULL },
		{ "FIN", { .flags = PACKET_FIN | PACKET_ACK }, PASSES_UNCOUNTED, NULL },
		{ "FIN with data",
		  { .flags = PACKET_FIN | PACKET_ACK, .payload = "x" },
		  PASSES(SOCKET),
		  NULL },
		{ "RST", { .flags = PACKET_RST }, PASSES_UNCOUNTED, NULL },
		{ "RST with data",
		  { .flags = PACKET_RST | PACKET_ACK, .payload = "x" },
		  PASSES_UNCOUNTED,
		  NULL },
		{ "RST with SYN", { .flags = PACKET_RST | PACKET_SYN }, PASSES_UNCOUNTED, NULL },
		{ "SYN and ACK", { .flags = PACKET_SYN | PACKET_ACK }, PASSES_UNCOUNTED, NULL },
	};

	(void)state;
	run_rows(rows, ELEMENTS(rows));
}

static void forgive(void)
{
	struct sockaddr_storage client = client_of(AF_INET);

	xdp_forgive_source(fastpath_plane(fp), &client);
}

static void let_the_source_expire(void)
{
	struct sockaddr_storage client = client_of(AF_INET);

	assert_int_equal(xdp_penalize_source(fastpath_plane(fp), &client, clock_mono_ns()), 0);
}

static void let_all_sources_expire(void)
{
	fastpath_settings(fp)->sources_until_ns = clock_mono_ns();
}

static void listen_at_the_address(void)
{
	leave_listeners();
	enter_listener("::ffff:" PACKET_LOCAL4);
}

static void listen_elsewhere(void)
{
	leave_listeners();
	enter_listener("::ffff:10.9.0.3");
}

static void miss_heartbeats(void)
{
	fastpath_settings(fp)->stale_after_ns = NS_PER_MS;
	fastpath_beat(fp, clock_mono_ns() - 2 * NS_PER_MS);
}

static void beat_ahead_of_the_clock(void)
{
	fastpath_beat(fp, clock_mono_ns() + NS_PER_SECOND);
}

static void act_off(void)
{
	fastpath_set_action(fp, TOLLGATE_ACTION_OFF);
}

static void act_observe(void)
{
	fastpath_set_action(fp, TOLLGATE_ACTION_OBSERVE);
}

static void act_answer(void)
{
	fastpath_set_action(fp, TOLLGATE_ACTION_ANSWER);
}

static void connections_of_sources_in_penalty_are_refused(void **state)
{
	static const struct row rows[] = {
		{ "in penalty", { .flags = PACKET_SYN }, DROPS(SOURCE), NULL },
		{ "tagged twice", { .vlan_tags = 2, .flags = PACKET_SYN }, DROPS(SOURCE), NULL },
		{ "IPv6", { .family = AF_INET6, .flags = PACKET_SYN }, DROPS(SOURCE), NULL },
		{ "the same /64",
		  { .family = AF_INET6, .client = "fd09::9", .flags = PACKET_SYN },
		  DROPS(SOURCE),
		  NULL },
		{ "another /64",
		  { .family = AF_INET6, .client = "fd09:0:0:1::1", .flags = PACKET_SYN },
		  PASSES(SYN),
		  NULL },
		{ "another IPv4 address",
		  { .client = "10.9.0.3", .flags = PACKET_SYN },
		  PASSES(SYN),
		  NULL },
		{ "SYN with data", { .flags = PACKET_SYN, .payload = "x" }, DROPS(SOURCE), NULL },
		{ "forgiven", { .flags = PACKET_SYN }, PASSES(SYN), forgive },
		{ "expired", { .flags = PACKET_SYN }, PASSES(SYN), let_the_source_expire },
		{ "all expired", { .flags = PACKET_SYN }, PASSES(SYN), let_all_sources_expire },
		{ "listener at the address",
		  { .flags = PACKET_SYN },
		  DROPS(SOURCE),
		  listen_at_the_address },
		{ "listener at another address",
		  { .flags = PACKET_SYN },
		  PASSES(SYN),
		  listen_elsewhere },
		{ "no listener", { .flags = PACKET_SYN }, PASSES(SYN), leave_listeners },
		{ "no agent", { .flags = PACKET_SYN }, PASSES(STALE), miss_heartbeats },
		{ "heartbeat just written",
		  { .flags = PACKET_SYN },
		  DROPS(SOURCE),
		  beat_ahead_of_the_clock },
		{ "off", { .flags = PACKET_SYN }, PASSES_UNCOUNTED, act_off },
		{ "observe", { .flags = PACKET_SYN }, OBSERVES(SOURCE), act_observe },
		{ "answer", { .flags = PACKET_SYN }, DROPS(SOURCE), act_answer },
	};

	(void)state;
	run_rows(rows, ELEMENTS(rows));
}

static void unbind(void)
{
	fastpath_conn(fp, conn4)->flags = 0;
}

static void poison(void)
{
	fastpath_conn(fp, conn4)->flags |= TOLLGATE_CONN_POISONED;
}

static void reuse_the_record(void)
{
	fastpath_conn(fp, conn4)->generation += 2;
}

static void free_the_record(void)
{
	fastpath_conn(fp, conn4)->generation++;
}

static void reuse_the_slot(void)
{
	fastpath_slots(fp)->generation++;
}

static void bind_to_no_slot(void)
{
	fastpath_conn(fp, conn4)->slot = TOLLGATE_NO_SLOT;
}

static void lift_the_penalty(void)
{
	fastpath_slots(fp)->drop_until_ns = 0;
}

static void let_the_penalty_expire(void)
{
	fastpath_slots(fp)->drop_until_ns = clock_mono_ns();
}

static void write_limits(void)
{
	fastpath_slots(fp)->limits_seq++;
}

static void give_credit(void)
{
	fastpath_slots(fp)->tat_ns = clock_mono_ns() + 9 * NS_PER_SECOND;
}

static void give_almost_credit(void)
{
	fastpath_slots(fp)->tat_ns = clock_mono_ns() + 10 * NS_PER_SECOND;
}

static void give_no_limit(void)
{
	fastpath_slots(fp)->interval_ns = 0;
}

static void any_doubt_lets_a_segment_pass(void **state)
{
	static const struct row rows[] = {
		{ "another client port",
		  { .client_port = 40001, .payload = "x" },
		  PASSES(NOT_ENROLLED),
		  NULL },
		{ "another local address",
		  { .local = "10.9.0.3", .payload = "x" },
		  PASSES(NOT_ENROLLED),
		  NULL },
		{ "record of a later flow",
		  { .payload = "x" },
		  PASSES(NOT_ENROLLED),
		  reuse_the_record },
		{ "a free record", { .payload = "x" }, PASSES(NOT_ENROLLED), free_the_record },
		{ "not bound", { .payload = "x" }, PASSES(NOT_BOUND), unbind },
		{ "bound to no slot", { .payload = "x" }, PASSES(NOT_BOUND), bind_to_no_slot },
		{ "slot of a later account",
		  { .payload = "x" },
		  PASSES(NOT_BOUND),
		  reuse_the_slot },
		{ "TLS and HTTP/2 are dropped too", { .payload = "x" }, PASSES(SOCKET), poison },
		{ "no penalty", { .payload = "x" }, PASSES(NO_PENALTY), lift_the_penalty },
		{ "penalty over", { .payload = "x" }, PASSES(NO_PENALTY), let_the_penalty_expire },
		{ "no agent", { .payload = "x" }, PASSES(STALE), miss_heartbeats },
		{ "limits being written", { .payload = "x" }, PASSES(BUSY), write_limits },
		{ "room for one unit", { .payload = "x" }, PASSES(CREDIT), give_credit },
		{ "room for less than a unit",
		  { .payload = "x" },
		  PASSES(SOCKET),
		  give_almost_credit },
		{ "no rate limit", { .payload = "x" }, PASSES(CREDIT), give_no_limit },
		{ "off", { .payload = "x" }, PASSES_UNCOUNTED, act_off },
	};

	(void)state;
	run_rows(rows, ELEMENTS(rows));
}

/* BPF_PROG_RUN requires at least an Ethernet header. */
static void a_frame_truncated_anywhere_passes(void **state)
{
	static const struct packet_spec specs[] = {
		{ .flags = PACKET_SYN },
		{ .family = AF_INET6, .flags = PACKET_SYN },
		{ .vlan_tags = 2, .payload = "GET / HTTP/1.1" },
		{ .family = AF_INET6, .vlan_tags = 1, .payload = "GET / HTTP/1.1" },
		{ .family = AF_INET6, .extension = 44 },
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(specs); i++) {
		struct packet packet = packet_build(&specs[i]);

		for (size_t len = ETH_HLEN; len < packet.len; len++)
			if (fixture_run(fp, packet.data, len) != XDP_PASS)
				fail_msg("case %zu: not passed if cut to %zu of %zu bytes", i, len,
					 packet.len);
	}
}

static void on_event(void *arg, const struct tollgate_event *event)
{
	*(struct tollgate_event *)arg = *event;
}

static void an_event_names_client_account_and_verdict(void **state)
{
	struct packet packet = packet_build(&(struct packet_spec){ .flags = PACKET_SYN });
	struct tollgate_event event = { 0 };
	uint32_t client_be32;

	(void)state;
	inet_pton(AF_INET, PACKET_CLIENT4, &client_be32);
	assert_int_equal(fixture_run(fp, packet.data, packet.len), XDP_DROP);
	assert_int_equal(fastpath_poll_events(fp, on_event, &event), 1);
	assert_int_equal(event.verdict, TOLLGATE_PENALTY_SOURCE);
	assert_int_equal(event.action, TOLLGATE_ACTION_DROP);
	assert_int_equal(event.slot, TOLLGATE_NO_SLOT);
	assert_int_equal(event.client_be32[3], client_be32);
	assert_int_equal(ntohs(event.client_port_be16), PACKET_CLIENT_PORT);
	assert_int_equal(ntohs(event.local_port_be16), PACKET_LOCAL_PORT);
	assert_true(clock_mono_ns() - event.at_ns < NS_PER_SECOND);

	fastpath_settings(fp)->event_every = 0;
	assert_int_equal(fixture_run(fp, packet.data, packet.len), XDP_DROP);
	assert_int_equal(fastpath_poll_events(fp, on_event, &event), 0);
}

static void events_that_do_not_fit_are_counted(void **state)
{
	struct packet packet = packet_build(&(struct packet_spec){ .flags = PACKET_SYN });
	uint64_t counters[TOLLGATE_COUNTER_COUNT];

	(void)state;
	for (int i = 0; i < 8192; i++)
		assert_int_equal(fixture_run(fp, packet.data, packet.len), XDP_DROP);
	assert_int_equal(fastpath_read_counters(fp, counters), 0);
	assert_int_equal(counters[TOLLGATE_COUNTER_DROP_SOURCE], 8192);
	assert_true(counters[TOLLGATE_COUNTER_EVENT_LOST] > 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_that_are_hard_to_read_pass),
		cmocka_unit_test(segments_without_data_pass_uncounted),
		cmocka_unit_test(connections_of_sources_in_penalty_are_refused),
		cmocka_unit_test(any_doubt_lets_a_segment_pass),
		cmocka_unit_test_setup_teardown(a_frame_truncated_anywhere_passes, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(an_event_names_client_account_and_verdict, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(events_that_do_not_fit_are_counted, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
