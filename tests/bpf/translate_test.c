// SPDX-License-Identifier: BSD-2-Clause
/*
 * A shifted connection: translation of its segments in both directions, after XDP has answered
 * once.
 *
 * Sequence numbers in the tables are offsets from what the server's socket expected next and had
 * sent before the answer. L is the length of the swallowed request, P that of the answer.
 *
 *   client's seq   ------0======L------>      server's seq   ------0++++++P------>
 *   socket's       ------0------>             socket's       ------0------>
 */
#include "bpf/answers.h"

#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>

#include "bpf/edge.skel.h"

#define REQUEST	       GET(KEY)
#define TEXT_OF_ANSWER RATE_ANSWER(WAIT_TEXT)
#define L	       ((int)sizeof(REQUEST) - 1)
#define P	       ((int)sizeof(TEXT_OF_ANSWER) - 1)

#define BARE PACKET_ACK
#define DATA (PACKET_ACK | PACKET_PSH)
#define FIN  (PACKET_ACK | PACKET_FIN)
#define RST  (PACKET_ACK | PACKET_RST)

static struct world w;

static uint64_t counted(enum tollgate_counter counter)
{
	uint64_t counters[TOLLGATE_COUNTER_COUNT];

	assert_int_equal(fastpath_read_counters(w.fp, counters), 0);
	return counters[counter];
}

/* Run a segment from the client with these numbers. @seq and @ack return the translated ones. */
static int run(const char *payload, uint8_t flags, int *seq, int *ack, struct packet *ret_out)
{
	struct packet_spec spec = {
		.payload = payload, .flags = flags, .seq = *seq, .ack = w.pair.snd_nxt + *ack
	};
	struct packet in = world_packet(&w, &spec);
	int verdict = world_run(&w, &in, ret_out);

	*seq = parts_of(ret_out).seq - w.pair.rcv_nxt;
	*ack = parts_of(ret_out).ack - w.pair.snd_nxt;
	return verdict;
}

static void answer_once(void)
{
	int seq = 0, ack = 0;
	struct packet out;

	world_reset(&w);
	assert_int_equal(run(REQUEST, 0, &seq, &ack, &out), XDP_TX);
}

static void acknowledge(void)
{
	uint64_t arrived = counted(TOLLGATE_COUNTER_ANSWER_ARRIVED);
	int seq = L, ack = P;
	struct packet out;

	assert_int_equal(run(NULL, BARE, &seq, &ack, &out),
			 XDP_DROP); /* nothing new for the socket */
	assert_int_equal(counted(TOLLGATE_COUNTER_ANSWER_ARRIVED), arrived + 1);
	assert_int_equal(w.conn->shift.pending_len, 0);
}

static void a_lost_answer_is_repeated(void **state)
{
	struct packet_spec spec = { .payload = REQUEST };
	struct packet in, first, again;

	(void)state;
	world_reset(&w);
	in = world_packet(&w, &spec);
	assert_int_equal(world_run(&w, &in, &first), XDP_TX);
	for (int i = 0; i < 3; i++) {
		uint64_t repeated = counted(TOLLGATE_COUNTER_ANSWER_REPEATED);

		assert_int_equal(world_run(&w, &in, &again), XDP_TX);
		assert_int_equal(again.len, first.len);
		assert_memory_equal(again.data, first.data, first.len);
		assert_int_equal(counted(TOLLGATE_COUNTER_ANSWER_REPEATED), repeated + 1);
	}
	assert_int_equal(fastpath_slots(w.fp)->xdp_refused, 1);
	/* TCP may retransmit it together with the data that follows: still the same answer. */
	spec.payload = REQUEST REQUEST;
	in = world_packet(&w, &spec);
	assert_int_equal(world_run(&w, &in, &again), XDP_TX);
	assert_memory_equal(again.data, first.data, first.len);
}

/* The repeated answer has the new segment's timestamps, and is in the same VLAN. */
static void a_lost_answer_is_repeated_with_new_timestamps_in_its_vlan(void **state)
{
	uint8_t options[12] = { 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2 };
	struct packet_spec spec = {
		.payload = REQUEST, .vlan_tags = 1, .tcp_option_words = 3, .tcp_options = options
	};
	struct packet in, out;

	(void)state;
	world_reset(&w);
	w.conn->vlan = TOLLGATE_VLAN_TAGGED | 100;
	for (int i = 0; i < 3; i++) {
		options[7] += i;
		in = world_packet(&w, &spec);
		assert_int_equal(world_run(&w, &in, &out), XDP_TX);
		expect_answer(&in, &out, TEXT_OF_ANSWER, "timestamps, VLAN");
		expect_window(&w, &out);
	}
	assert_int_equal(fastpath_slots(w.fp)->xdp_refused, 1);
}

static const struct arrival_row {
	const char *why;
	bool is_pending; /* the client has not acknowledged the answer */
	const char *payload;
	uint8_t flags;
	int seq, ack;
	int verdict;
	int seq_out, ack_out; /* if it passes */
} arrivals[] = {
#define HELD XDP_DROP, 0, 0
	{ "data after the pending request", true, "x", DATA, L, 0, HELD },
	{ "a FIN after the pending request", true, NULL, FIN, L, 0, HELD },
	{ "data from before the request", true, "12345", DATA, -5, 0, XDP_PASS, -5, 0 },
	{ "RST", true, NULL, RST, L, 0, XDP_PASS, 0, 0 },
	{ "an ACK that does not include the answer", true, NULL, BARE, L, 0, XDP_PASS, 0, 0 },
	{ "a probe of a closed window", true, NULL, BARE, -1, 0, XDP_PASS, -1, 0 },
	{ "half of the answer acknowledged", true, "x", DATA, L, P / 2, HELD },
	{ "data that acknowledge the answer", true, "x", DATA, L, P, XDP_PASS, 0, 0 },
	{ "a FIN that acknowledges it", true, NULL, FIN, L, P, XDP_PASS, 0, 0 },

	{ "data", false, "x", DATA, L, P, XDP_PASS, 0, 0 },
	{ "further data", false, "x", DATA, L + 100, P, XDP_PASS, 100, 0 },
	{ "a FIN", false, NULL, FIN, L, P, XDP_PASS, 0, 0 },
	{ "a later RST", false, NULL, RST, L, P, XDP_PASS, 0, 0 },
	{ "an old ACK among inserted bytes", false, "x", DATA, L, P / 2, XDP_PASS, 0, 0 },
	{ "an older ACK", false, "x", DATA, L, -7, XDP_PASS, 0, -7 },
	{ "an ACK of data sent since", false, NULL, BARE, L, P + 9, XDP_PASS, 0, 9 },
	{ "a late copy of the swallowed request", false, REQUEST, DATA, 0, P, XDP_PASS, -L, 0 },
	{ "a late copy of earlier data", false, "12345", DATA, -5, P, XDP_PASS, -5, 0 },
	{ "a late copy of both", false, "1234567890", DATA, -5, P, HELD },
	{ "a keep-alive probe", false, NULL, BARE, L - 1, P, XDP_PASS, -1, 0 },
	{ "an ACK with nothing new", false, NULL, BARE, L, P, HELD },
};

static void incoming_segments_are_translated_or_held(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(arrivals) / sizeof(arrivals[0]); i++) {
		const struct arrival_row *row = &arrivals[i];
		int seq = row->seq, ack = row->ack, verdict;
		struct packet out;

		answer_once();
		if (!row->is_pending)
			acknowledge();
		verdict = run(row->payload, row->flags, &seq, &ack, &out);
		if (verdict != row->verdict)
			fail_msg("%s: verdict %d, expected %d", row->why, verdict, row->verdict);
		if (verdict != XDP_PASS)
			continue;
		if (seq != row->seq_out || ack != row->ack_out)
			fail_msg("%s: seq %d ack %d, expected %d and %d", row->why, seq, ack,
				 row->seq_out, row->ack_out);
		expect_checksums(&out, row->why);
	}
}

/* A client whose receive buffer has room again announces it in a bare ACK. */
static void an_ack_with_another_window_passes(void **state)
{
	struct packet_spec spec = { .flags = BARE, .seq = L };
	struct packet in, out;

	(void)state;
	answer_once();
	acknowledge();
	spec.ack = w.pair.snd_nxt + P;
	in = world_packet(&w, &spec);
	assert_int_equal(world_run(&w, &in, &out), XDP_DROP);
	spec.window = (w.pair.snd_wnd >> w.pair.snd_wscale) + 1;
	in = world_packet(&w, &spec);
	assert_int_equal(world_run(&w, &in, &out), XDP_PASS);
	assert_int_equal(parts_of(&out).ack, w.pair.snd_nxt);
	assert_int_equal(number_at(&out, parts_of(&out).tcp_at + 12) & 0xffff, spec.window);
	expect_checksums(&out, "another window");
}

static void put_number(uint8_t *at, uint32_t number)
{
	number = htonl(number);
	memcpy(at, &number, sizeof(number));
}

static void incoming_sack_blocks_are_translated(void **state)
{
	uint8_t options[12] = { 1, 1, 5, 10 };
	struct packet_spec spec = { .tcp_option_words = 3, .tcp_options = options, .flags = BARE };
	struct packet in, out;
	size_t at;

	(void)state;
	answer_once();
	acknowledge();
	put_number(options + 4, w.pair.snd_nxt + P + 10);
	put_number(options + 8, w.pair.snd_nxt + P + 20);
	spec.seq = L;
	spec.ack = w.pair.snd_nxt + P;
	in = world_packet(&w, &spec);
	assert_int_equal(world_run(&w, &in, &out), XDP_PASS);
	at = parts_of(&out).tcp_at + 24;
	assert_int_equal(number_at(&out, at), w.pair.snd_nxt + 10);
	assert_int_equal(number_at(&out, at + 4), w.pair.snd_nxt + 20);
	expect_checksums(&out, "SACK");
}

static void a_second_answer_follows_the_first(void **state)
{
	int seq = L, ack = P;
	struct packet out;

	(void)state;
	answer_once();
	/* The ACK comes with the next request, as it usually does. */
	assert_int_equal(run(REQUEST, 0, &seq, &ack, &out), XDP_TX);
	assert_int_equal(parts_of(&out).seq, w.pair.snd_nxt + P);
	assert_int_equal(parts_of(&out).ack, w.pair.rcv_nxt + 2 * L);
	assert_int_equal(fastpath_slots(w.fp)->xdp_refused, 2);
	seq = 2 * L;
	ack = 2 * P;
	assert_int_equal(run("x", DATA, &seq, &ack, &out), XDP_PASS);
	assert_int_equal(seq, 0);
	assert_int_equal(ack, 0);
}

/* ---- egress ---- */

static const struct departure_row {
	const char *why;
	bool is_pending;
	const char *payload;
	uint8_t flags;
	int seq, ack;
	int seq_out, ack_out;
} departures[] = {
	{ "data while the answer is pending: the request is not acknowledged", true, "x", DATA, 0,
	  0, P, 0 },
	{ "data", false, "x", DATA, 0, 0, P, L },
	{ "an ACK", false, NULL, BARE, 0, 0, P, L },
	{ "a FIN", false, NULL, FIN, 0, 0, P, L },
	{ "RST", false, NULL, RST, 0, 0, P, L },
	{ "a retransmission of earlier data", false, "123", DATA, -3, 0, -3, L },
	{ "old and new together", false, "12345", DATA, -3, 0, P - 3, L },
	{ "a keep-alive probe", false, NULL, BARE, -1, 0, -1, L },
	{ "an old acknowledgement", false, "x", DATA, 0, -3, P, -3 },
	{ "a newer acknowledgement", false, "x", DATA, 0, 30, P, L + 30 },
};

/* A segment from the server's socket. */
static struct packet departing(const struct departure_row *row)
{
	const char *address = w.family == AF_INET6 ? "::1" : "127.0.0.1";
	const struct sockaddr_in *client = (const struct sockaddr_in *)&w.pair.client_address;
	struct packet_spec spec = { .family = w.family,
				    .client = address,
				    .local = address,
				    .client_port = PACKET_LOCAL_PORT,
				    .local_port = ntohs(client->sin_port),
				    .seq = w.pair.snd_nxt + row->seq,
				    .ack = w.pair.rcv_nxt + row->ack,
				    .flags = row->flags,
				    .payload = row->payload };

	return packet_build(&spec);
}

static void outgoing_segments_are_translated(void **state)
{
	int program = bpf_program__fd(w.fp->skel->progs.edge_egress);

	(void)state;
	for (size_t i = 0; i < sizeof(departures) / sizeof(departures[0]); i++) {
		const struct departure_row *row = &departures[i];
		struct packet in, out;
		int seq, ack;

		answer_once();
		if (!row->is_pending)
			acknowledge();
		in = departing(row);
		assert_int_equal(run_program(program, &in, &out), TC_ACT_UNSPEC);
		seq = parts_of(&out).seq - w.pair.snd_nxt;
		ack = parts_of(&out).ack - w.pair.rcv_nxt;
		if (seq != row->seq_out || ack != row->ack_out)
			fail_msg("%s: seq %d ack %d, expected %d and %d", row->why, seq, ack,
				 row->seq_out, row->ack_out);
		expect_checksums(&out, row->why);
	}
}

/* SACK blocks for data after a gap, in the connection's VLAN. */
static void outgoing_sack_blocks_are_translated(void **state)
{
	uint8_t options[12] = { 1, 1, 5, 10 };
	const struct sockaddr_in *client = (const struct sockaddr_in *)&w.pair.client_address;
	const char *address = w.family == AF_INET6 ? "::1" : "127.0.0.1";
	struct packet_spec spec = { .family = w.family,
				    .client = address,
				    .local = address,
				    .client_port = PACKET_LOCAL_PORT,
				    .local_port = ntohs(client->sin_port),
				    .seq = w.pair.snd_nxt,
				    .ack = w.pair.rcv_nxt,
				    .tcp_option_words = 3,
				    .tcp_options = options,
				    .vlan_tags = 1 };
	struct packet in, out;
	size_t at;

	(void)state;
	answer_once();
	acknowledge();
	put_number(options + 4, w.pair.rcv_nxt + 10);
	put_number(options + 8, w.pair.rcv_nxt + 20);
	in = packet_build(&spec);
	assert_int_equal(run_program(bpf_program__fd(w.fp->skel->progs.edge_egress), &in, &out),
			 TC_ACT_UNSPEC);
	at = parts_of(&out).tcp_at + 24;
	assert_int_equal(parts_of(&out).ack, w.pair.rcv_nxt + L);
	assert_int_equal(number_at(&out, at), w.pair.rcv_nxt + L + 10);
	assert_int_equal(number_at(&out, at + 4), w.pair.rcv_nxt + L + 20);
	expect_checksums(&out, "outgoing SACK");
	assert_int_equal(w.conn->vlan, TOLLGATE_VLAN_TAGGED | 100);
}

/* A super-frame: its sequence number is the first segment's, its end the last one's. */
static void outgoing_merged_segments_are_translated(void **state)
{
	const struct departure_row row = { .payload = "1234567890", .flags = DATA };
	struct __sk_buff skb = { .gso_size = 4, .gso_segs = 3 };
	struct packet in, out;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_out = out.data,
		    .data_size_out = sizeof(out.data), .ctx_in = &skb, .ctx_size_in = sizeof(skb));

	(void)state;
	answer_once();
	acknowledge();
	in = departing(&row);
	opts.data_in = in.data;
	opts.data_size_in = in.len;
	assert_int_equal(
		bpf_prog_test_run_opts(bpf_program__fd(w.fp->skel->progs.edge_egress), &opts), 0);
	out.len = opts.data_size_out;
	assert_int_equal(parts_of(&out).seq, w.pair.snd_nxt + P);
	assert_int_equal(parts_of(&out).ack, w.pair.rcv_nxt + L);
	expect_checksums(&out, "merged");
	assert_int_equal(w.conn->egress_end, w.pair.snd_nxt + 10);
}

enum turn { OFF, OBSERVE, STALE };

static void turn_off(enum turn turn)
{
	if (turn == STALE) {
		fastpath_settings(w.fp)->stale_after_ns = 0;
		fastpath_beat(w.fp, 1);
		return;
	}
	fastpath_set_action(w.fp, turn == OFF ? TOLLGATE_ACTION_OFF : TOLLGATE_ACTION_OBSERVE);
}

/* There are no new answers, but connections with earlier answers are still translated. */
static void translation_continues_when_turned_off(void **state)
{
	const struct departure_row row = { .payload = "x", .flags = DATA };

	(void)state;
	for (enum turn turn = OFF; turn <= STALE; turn++) {
		struct packet_spec spec = { .payload = REQUEST };
		struct packet in, out, again;
		int seq = L, ack = P;

		world_reset(&w);
		in = world_packet(&w, &spec);
		assert_int_equal(world_run(&w, &in, &out), XDP_TX);
		turn_off(turn);
		assert_int_equal(world_run(&w, &in, &again), XDP_TX);
		assert_memory_equal(again.data, out.data, out.len);
		acknowledge();
		assert_int_equal(run(REQUEST, 0, &seq, &ack, &out), XDP_PASS);
		assert_int_equal(seq, 0);
		assert_int_equal(ack, 0);
		expect_checksums(&out, "turned off");
		in = departing(&row);
		run_program(bpf_program__fd(w.fp->skel->progs.edge_egress), &in, &out);
		assert_int_equal(parts_of(&out).seq, w.pair.snd_nxt + P);
		assert_int_equal(parts_of(&out).ack, w.pair.rcv_nxt + L);
		assert_int_equal(fastpath_slots(w.fp)->xdp_refused, 1);
	}
}

/* egress_end never goes back. */
static void egress_records_the_last_end(void **state)
{
	const struct departure_row newer = { .payload = "12345", .flags = DATA, .seq = 0 };
	const struct departure_row older = { .payload = "1", .flags = DATA, .seq = -1 };
	int program = bpf_program__fd(w.fp->skel->progs.edge_egress);
	struct packet in, out;

	(void)state;
	world_reset(&w);
	w.conn->flags = 0;
	w.conn->egress_end = 0;
	in = departing(&newer);
	run_program(program, &in, &out);
	assert_int_equal(w.conn->flags, TOLLGATE_CONN_EGRESS);
	assert_int_equal(w.conn->egress_end, w.pair.snd_nxt + 5);
	assert_memory_equal(in.data, out.data, in.len);
	in = departing(&older);
	run_program(program, &in, &out);
	assert_int_equal(w.conn->egress_end, w.pair.snd_nxt + 5);
}

/* ---- ICMP, and odd segments ---- */

static void put_checksum(struct packet *p, size_t at, size_t from, uint32_t sum)
{
	uint16_t check;

	memset(p->data + at, 0, 2);
	check = htons(packet_fold(packet_sum(p->data + from, p->len - from, sum)));
	memcpy(p->data + at, &check, 2);
}

/* A router's error about a segment of ours that it could not forward. */
static struct packet icmp_error(uint32_t quoted_seq)
{
	struct departure_row row = { .flags = BARE, .seq = quoted_seq - w.pair.snd_nxt };
	struct packet quoted = departing(&row), p = { .len = 0 };
	bool is_ip6 = w.family == AF_INET6;
	size_t header = is_ip6 ? 40 : 20, icmp = 14 + header;

	packet_put(&p, quoted.data, 14 + header);
	p.data[14 + (is_ip6 ? 6 : 9)] = is_ip6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	packet_put16(&p, is_ip6 ? 2 << 8 : 3 << 8 | 4); /* too big */
	packet_put16(&p, 0);
	packet_put32(&p, 1400);
	packet_put(&p, quoted.data + 14, header + 8);
	put_checksum(&p, icmp + 2, icmp,
		     is_ip6 ? packet_sum(p.data + 22, 32, IPPROTO_ICMPV6 + p.len - icmp) : 0);
	return p;
}

static void quotes_in_icmp_errors_are_translated(void **state)
{
	bool is_ip6 = w.family == AF_INET6;
	size_t header = is_ip6 ? 40 : 20, icmp = 14 + header;
	struct packet in, out;

	(void)state;
	answer_once();
	acknowledge();
	in = icmp_error(w.pair.snd_nxt + P + 50);
	assert_int_equal(world_run(&w, &in, &out), XDP_PASS);
	assert_int_equal(number_at(&out, icmp + 8 + header + 4), w.pair.snd_nxt + 50);
	assert_int_equal(packet_fold(packet_sum(out.data + icmp, out.len - icmp,
						is_ip6 ? packet_sum(out.data + 22, 32,
								    IPPROTO_ICMPV6 + out.len - icmp)
						       : 0)),
			 0);
	world_reset(&w); /* not shifted: unchanged */
	assert_int_equal(world_run(&w, &in, &out), XDP_PASS);
	assert_memory_equal(in.data, out.data, in.len);
}

static void segments_that_cannot_be_translated_are_dropped(void **state)
{
	static const struct packet_spec odd4[] = { { .ip_option_words = 1 },
						   { .fragment = 0x2000 } };
	static const struct packet_spec odd6[] = { { .extension = PACKET_HOP_BY_HOP },
						   { .extension = 44 } };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct packet_spec spec = w.family == AF_INET6 ? odd6[i] : odd4[i];
		uint64_t dropped = counted(TOLLGATE_COUNTER_DROP_ODD);
		struct packet in, out;

		spec.payload = "x";
		world_reset(&w);
		in = world_packet(&w, &spec);
		assert_int_equal(world_run(&w, &in, &out), XDP_PASS);
		answer_once();
		assert_int_equal(world_run(&w, &in, &out), XDP_DROP);
		assert_int_equal(counted(TOLLGATE_COUNTER_DROP_ODD), dropped + 1);
	}
}

static int open4(void **state)
{
	(void)state;
	world_open(&w, AF_INET);
	return 0;
}

static int open6(void **state)
{
	(void)state;
	world_open(&w, AF_INET6);
	return 0;
}

static int close_world(void **state)
{
	(void)state;
	world_close(&w);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lost_answer_is_repeated),
		cmocka_unit_test(a_lost_answer_is_repeated_with_new_timestamps_in_its_vlan),
		cmocka_unit_test(incoming_segments_are_translated_or_held),
		cmocka_unit_test(an_ack_with_another_window_passes),
		cmocka_unit_test(incoming_sack_blocks_are_translated),
		cmocka_unit_test(a_second_answer_follows_the_first),
		cmocka_unit_test(outgoing_segments_are_translated),
		cmocka_unit_test(outgoing_sack_blocks_are_translated),
		cmocka_unit_test(outgoing_merged_segments_are_translated),
		cmocka_unit_test(translation_continues_when_turned_off),
		cmocka_unit_test(egress_records_the_last_end),
		cmocka_unit_test(quotes_in_icmp_errors_are_translated),
		cmocka_unit_test(segments_that_cannot_be_translated_are_dropped),
	};
	int failed;

	fixture_enter(NULL);
	failed = cmocka_run_group_tests_name("IPv4", tests, open4, close_world);
	failed += cmocka_run_group_tests_name("IPv6", tests, open6, close_world);
	fixture_leave(NULL);
	return failed;
}
