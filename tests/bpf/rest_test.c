// SPDX-License-Identifier: BSD-2-Clause
/*
 * A request is answered only while the server's socket is idle. Each test makes a real socket busy
 * in one way, while everything else allows an answer.
 */
#include "bpf/answers.h"

#include <sched.h>

#include "bpf/edge.skel.h"

#define PASSES(why) XDP_PASS, TOLLGATE_COUNTER_PASS_##why

static struct world w;

/* Set the record as if the agent and egress had seen the socket's current state. */
static void catch_up(void)
{
	pair_read(&w.pair);
	world_reset(&w);
}

static int run_spec(struct packet_spec spec, struct packet *ret_out)
{
	struct packet in = world_packet(&w, &spec);

	return world_run(&w, &in, ret_out);
}

/* Run the next request in order: it gets @verdict and is counted as @counter. */
static void expect(int verdict, enum tollgate_counter counter, struct packet_spec spec,
		   const char *why)
{
	uint64_t before[TOLLGATE_COUNTER_COUNT];
	struct packet out;
	int got;

	if (!spec.payload)
		spec.payload = GET(KEY);
	assert_int_equal(fastpath_read_counters(w.fp, before), 0);
	got = run_spec(spec, &out);
	if (got != verdict)
		fail_msg("%s: verdict %d, expected %d", why, got, verdict);
	fixture_assert_counted(w.fp, before, counter, why);
}

static void expect_answered(const char *why)
{
	expect(XDP_TX, TOLLGATE_COUNTER_ANSWER_RATE, (struct packet_spec){ 0 }, why);
}

static void unread_bytes_prevent_an_answer(void **state)
{
	char byte;

	(void)state;
	assert_int_equal(write(w.pair.client, "x", 1), 1);
	assert_int_equal(recv(w.pair.server, &byte, 1, MSG_PEEK), 1);
	catch_up();
	expect(PASSES(OWED), (struct packet_spec){ 0 }, "unread");
	assert_int_equal(read(w.pair.server, &byte, 1), 1);
	catch_up();
	expect_answered("read");
}

static void unsent_bytes_prevent_an_answer(void **state)
{
	int on = 1, off = 0;
	char byte;

	(void)state;
	setsockopt(w.pair.server, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
	assert_int_equal(write(w.pair.server, "x", 1), 1);
	world_reset(&w);
	/* TCP_QUEUE_SEQ is write_seq, but the byte has not been sent. */
	assert_int_equal(read_number(w.pair.server, TCP_SEND_QUEUE), w.pair.snd_nxt + 1);
	expect(PASSES(SENDING), (struct packet_spec){ 0 }, "corked");
	setsockopt(w.pair.server, IPPROTO_TCP, TCP_CORK, &off, sizeof(off));
	assert_int_equal(read(w.pair.client, &byte, 1), 1);
	catch_up();
	expect_answered("sent");
}

/* Send a segment that leaves a gap, by a raw socket. */
static void send_out_of_order(void)
{
	struct packet_spec spec = { .payload = "late", .seq = 10 };
	struct packet p = world_packet(&w, &spec);
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int raw = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);

	assert_int_equal(
		sendto(raw, p.data + 14, p.len - 14, 0, (struct sockaddr *)&to, sizeof(to)),
		p.len - 14);
	close(raw);
}

static uint32_t out_of_order_count(void)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(w.pair.server, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_rcv_ooopack;
}

static void bytes_after_a_gap_prevent_an_answer(void **state)
{
	uint64_t until_ns = clock_mono_ns() + 10 * NS_PER_SECOND;

	(void)state;
	send_out_of_order();
	while (!out_of_order_count() && clock_mono_ns() < until_ns)
		sched_yield();
	assert_int_equal(out_of_order_count(), 1);
	catch_up();
	expect(PASSES(ORDER), (struct packet_spec){ 0 }, "after a gap");
}

static void the_client_must_acknowledge_everything_sent(void **state)
{
	(void)state;
	expect(PASSES(SENDING), (struct packet_spec){ .ack = w.pair.snd_nxt - 1 }, "too old");
	world_reset(&w);
	expect_answered("all");
}

/* Earlier answers must be acknowledged before an answer is inserted at another position. */
static void unacknowledged_answers_prevent_an_answer_elsewhere(void **state)
{
	struct tollgate_shift *shift = &w.conn->shift;
	struct packet_spec spec = { .payload = GET(KEY) };
	struct packet out;

	(void)state;
	shift->state |= TOLLGATE_SHIFT_SHIFTED;
	shift->out_pos = w.pair.snd_nxt;
	shift->out_deltas = tollgate_deltas_word(0, 100);
	spec.ack = w.pair.snd_nxt + 50; /* half of the last answer */
	assert_int_equal(run_spec(spec, &out), XDP_PASS);
	assert_int_equal(parts_of(&out).ack, w.pair.snd_nxt);
	expect_checksums(&out, "an old ACK");

	world_reset(&w);
	shift->out_pos = w.pair.snd_nxt + 5; /* the client has not acknowledged up to there */
	shift->out_deltas = tollgate_deltas_word(10, 20);
	expect(PASSES(SENDING), (struct packet_spec){ .ack = w.pair.snd_nxt + 10 },
	       "no second position");
}

static void data_is_held_while_another_cpu_has_the_claim(void **state)
{
	(void)state;
	w.conn->claim = TOLLGATE_CLAIM_XDP;
	expect(XDP_DROP, TOLLGATE_COUNTER_HELD_DATA, (struct packet_spec){ 0 }, "claimed");
	assert_int_equal(w.conn->claim, TOLLGATE_CLAIM_XDP);
	w.conn->claim = 0;
	expect_answered("free");
	assert_int_equal(w.conn->claim, 0);
}

static void only_an_established_socket_gets_an_answer(void **state)
{
	(void)state;
	shutdown(w.pair.server, SHUT_WR);
	expect(PASSES(SOCKET), (struct packet_spec){ 0 }, "FIN_WAIT");
	pair_close(&w.pair);
	world_reset(&w);
	expect(PASSES(SOCKET), (struct packet_spec){ 0 }, "none");
}

/* A new connection on the same addresses ends the record only if the old one has no socket. */
static void a_syn_ends_a_record_only_without_a_socket(void **state)
{
	const struct packet_spec syn = { .flags = PACKET_SYN };
	struct linger at_once = { .l_onoff = 1 };
	struct packet out;

	(void)state;
	assert_int_equal(run_spec(syn, &out), XDP_PASS);
	assert_int_equal(w.conn->flags & TOLLGATE_CONN_DEAD, 0);
	setsockopt(w.pair.client, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	pair_close(&w.pair);
	assert_int_equal(run_spec(syn, &out), XDP_PASS);
	assert_int_equal(w.conn->flags & TOLLGATE_CONN_DEAD, TOLLGATE_CONN_DEAD);
	expect(PASSES(NOT_ENROLLED), (struct packet_spec){ 0 }, "dead");
}

/* XDP sends one segment only. */
static void an_answer_larger_than_a_segment_is_left_to_the_agent(void **state)
{
	(void)state;
	expect(PASSES(PACKET), (struct packet_spec){ 0 }, "a small segment");
}

/* Waits of all lengths, made from cost and rate. */
static void the_wait_is_written_in_all_its_digits(void **state)
{
	static const struct {
		unsigned interval_s, cost;
		const char *text;
		unsigned digits;
	} rows[] = { { 1, 1, "1", 1 },	       { 9, 1, "9", 1 },
		     { 10, 1, "10", 2 },       { 3600, 3, "10800", 5 },
		     { 65536, 1, "65536", 5 }, { 999999999, 1, "999999999", 9 } };
	char template[256], expected[256];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct packet_spec spec = { .payload = GET(KEY) };
		struct tollgate_slot *slot = fastpath_slots(w.fp);
		struct packet in, out;
		uint16_t at[2];

		world_reset(&w);
		snprintf(template, sizeof(template), RATE_ANSWER("%.*s"), rows[i].digits,
			 "000000000", rows[i].digits, "000000000");
		snprintf(expected, sizeof(expected), RATE_ANSWER("%s"), rows[i].text, rows[i].text);
		at[0] = last_digit(template, "After: ", rows[i].digits);
		at[1] = last_digit(template, ";t=", rows[i].digits);
		fastpath_put_template(w.fp, w.set, TOLLGATE_TEMPLATE_RATE + rows[i].digits - 1,
				      text_of(template), at);
		slot->interval_ns = rows[i].interval_s * NS_PER_SECOND;
		slot->limit_ns = 3 * slot->interval_ns;
		slot->tat_ns = clock_mono_ns() + slot->limit_ns;
		if (rows[i].cost > 1)
			spec.payload =
				"GET /dear HTTP/1.1\r\nHost: a\r\nX-API-Key: " KEY "\r\n\r\n";
		in = world_packet(&w, &spec);
		if (world_run(&w, &in, &out) != XDP_TX)
			fail_msg("%s: not answered", rows[i].text);
		expect_answer(&in, &out, expected, rows[i].text);
	}
}

/*
 * If there is credit for one unit, XDP passes even a request that costs more, and the agent
 * decides.
 */
static void credit_for_one_unit_passes_a_dearer_request(void **state)
{
	struct tollgate_slot *slot = fastpath_slots(w.fp);
	struct packet_spec spec = { .payload = "GET /dear HTTP/1.1\r\nHost: a\r\nX-API-Key: " KEY
					       "\r\n\r\n" };

	(void)state;
	slot->limit_ns = 3 * slot->interval_ns;
	slot->tat_ns = clock_mono_ns() + slot->interval_ns;
	expect(PASSES(CREDIT), spec, "credit for two, cost three");
}

static int reset(void **state)
{
	(void)state;
	world_reset(&w);
	return 0;
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

static int open_small(void **state)
{
	pair_mss = 88;
	open4(state);
	pair_mss = 0;
	return 0;
}

#define ROWS(family)                                                                               \
	cmocka_unit_test_setup_teardown(unread_bytes_prevent_an_answer, family, close_world),      \
		cmocka_unit_test_setup_teardown(unsent_bytes_prevent_an_answer, family,            \
						close_world),                                      \
		cmocka_unit_test_setup_teardown(only_an_established_socket_gets_an_answer, family, \
						close_world),                                      \
		cmocka_unit_test_setup_teardown(a_syn_ends_a_record_only_without_a_socket, family, \
						close_world)

int main(void)
{
	static const struct CMUnitTest apart[] = {
		ROWS(open4),
		ROWS(open6),
		cmocka_unit_test_setup_teardown(bytes_after_a_gap_prevent_an_answer, open4,
						close_world),
		cmocka_unit_test_setup_teardown(
			an_answer_larger_than_a_segment_is_left_to_the_agent, open_small,
			close_world),
	};
	static const struct CMUnitTest together[] = {
		cmocka_unit_test_setup(the_client_must_acknowledge_everything_sent, reset),
		cmocka_unit_test_setup(unacknowledged_answers_prevent_an_answer_elsewhere, reset),
		cmocka_unit_test_setup(data_is_held_while_another_cpu_has_the_claim, reset),
		cmocka_unit_test_setup(the_wait_is_written_in_all_its_digits, reset),
		cmocka_unit_test_setup(credit_for_one_unit_passes_a_dearer_request, reset),
	};
	int failed;

	fixture_enter(NULL);
	failed = cmocka_run_group_tests_name("busy sockets", apart, NULL, NULL);
	failed += cmocka_run_group_tests_name("IPv4", together, open4, close_world);
	failed += cmocka_run_group_tests_name("IPv6", together, open6, close_world);
	fixture_leave(NULL);
	return failed;
}
