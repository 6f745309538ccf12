// SPDX-License-Identifier: BSD-2-Clause
/*
 * Answers in place: packet tables through BPF_PROG_RUN, on connections with real sockets.
 *
 * Every row starts from a state in which XDP answers, and changes one thing. An answer is checked
 * to the last byte; a passed packet must be unchanged. translate_test.c tests the connection
 * afterwards.
 */
#include "bpf/answers.h"

#define TS_OPTION 1, 1, 8, 10, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88

static const uint8_t timestamp[] = { TS_OPTION };
static const uint8_t timestamp_and_sack[] = { TS_OPTION, 1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9 };
static const uint8_t unknown_option[] = { 1, 254, 6, 0, 0, 0, 0, 1 };

/* What differs from the state in which XDP answers. */
enum change {
	NOTHING,
	VLAN_KNOWN,
	VLAN_OTHER,
	NOT_ALL_ANSWERED,
	ANSWERED_AHEAD,
	AGENT_CLAIMS,
	YOUNG,
	POISONED,
	EGRESS_UNKNOWN,
	EGRESS_BEHIND,
	NEVER_IN_ORDER,
	OUT_OF_ORDER,
	STALE,
	NO_TEMPLATE,
	NO_ANSWERS,
	SLOT_CHANGED_HANDS,
	LIMITS_CHANGING,
	HAS_CREDIT,
	HAS_BOUND_CREDIT,
	NO_LIMIT,
	FAR_IN_DEBT,
	INACTIVE,
	QUOTA_GONE_AND_CLOSED,
	NOTHING_LENT,
	LENT_AGAIN,
	QUOTA_GONE,
	NOT_ANSWERING,
	SCALES_NOT, /* the client's window has no scale */
};

struct row {
	const char *why;
	const char *payload;
	enum change change;
	struct packet_spec spec;
	int verdict;
	int counter;
	enum tollgate_action action;
};

#define ANSWERED    XDP_TX, TOLLGATE_COUNTER_ANSWER_RATE, TOLLGATE_ACTION_ANSWER
#define PASSED(why) XDP_PASS, TOLLGATE_COUNTER_PASS_##why, TOLLGATE_ACTION_ANSWER
#define PLAIN     \
	{         \
		0 \
	}

static const struct row rows[] = {
	{ "a plain GET", GET(KEY), NOTHING, PLAIN, ANSWERED },
	{ "Bearer", "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " KEY "\r\n\r\n", NOTHING,
	  PLAIN, ANSWERED },
	{ "a body that ends in the segment", POST(KEY, "5", "12345"), NOTHING, PLAIN, ANSWERED },
	{ "timestamps",
	  GET(KEY),
	  NOTHING,
	  { .tcp_option_words = 3, .tcp_options = timestamp },
	  ANSWERED },
	{ "timestamps and SACK",
	  GET(KEY),
	  NOTHING,
	  { .tcp_option_words = 6, .tcp_options = timestamp_and_sack },
	  ANSWERED },
	{ "NOPs", GET(KEY), NOTHING, { .tcp_option_words = 2 }, ANSWERED },
	{ "Ethernet padding", GET(KEY), NOTHING, { .padding = 4 }, ANSWERED },
	{ "its VLAN", GET(KEY), VLAN_KNOWN, { .vlan_tags = 1 }, ANSWERED },
	{ "a revoked key", GET(REVOKED), NOTHING, PLAIN, XDP_TX, TOLLGATE_COUNTER_ANSWER_REVOKED,
	  TOLLGATE_ACTION_ANSWER },
	{ "a suspended account", GET(KEY), INACTIVE, PLAIN, XDP_TX,
	  TOLLGATE_COUNTER_ANSWER_INACTIVE, TOLLGATE_ACTION_ANSWER },
	{ "the quota is used up", GET(KEY), QUOTA_GONE_AND_CLOSED, PLAIN, XDP_TX,
	  TOLLGATE_COUNTER_ANSWER_QUOTA, TOLLGATE_ACTION_ANSWER },
	{ "ECT is not CE", GET(KEY), NOTHING, { .tos = 2 }, ANSWERED },

	{ "another VLAN", GET(KEY), VLAN_OTHER, { .vlan_tags = 1 }, PASSED(PACKET) },
	{ "the VLAN tag is missing", GET(KEY), VLAN_KNOWN, PLAIN, PASSED(PACKET) },
	{ "CE", GET(KEY), NOTHING, { .tos = 3 }, PASSED(PACKET) },
	{ "an unknown option",
	  GET(KEY),
	  NOTHING,
	  { .tcp_option_words = 2, .tcp_options = unknown_option },
	  PASSED(PACKET) },
	{ "URG", GET(KEY), NOTHING, { .flags = 0x20 | PACKET_ACK }, PASSED(PACKET) },
	{ "with FIN", GET(KEY), NOTHING, { .flags = PACKET_FIN | PACKET_ACK }, PASSED(PACKET) },
	{ "a window that is too small", GET(KEY), SCALES_NOT, { .window = 1 }, PASSED(PACKET) },

	{ "no key", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", NOTHING, PLAIN, PASSED(HEAD) },
	{ "an incomplete head", "GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: " KEY "\r\n", NOTHING,
	  PLAIN, PASSED(HEAD) },
	{ "two requests", GET(KEY) GET(KEY), NOTHING, PLAIN, PASSED(HEAD) },
	{ "an incomplete body", POST(KEY, "6", "12345"), NOTHING, PLAIN, PASSED(HEAD) },
	{ "more than the body", POST(KEY, "4", "12345"), NOTHING, PLAIN, PASSED(HEAD) },
	{ "HEAD", "HEAD / HTTP/1.1\r\nHost: a\r\nX-API-Key: " KEY "\r\n\r\n", NOTHING, PLAIN,
	  PASSED(HEAD) },
	{ "HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nX-API-Key: " KEY "\r\n\r\n", NOTHING, PLAIN,
	  PASSED(HEAD) },
	{ "a key that XDP does not know", GET(UNKNOWN), NOTHING, PLAIN, PASSED(KEY) },
	{ "the slot now has another account", GET(KEY), SLOT_CHANGED_HANDS, PLAIN, PASSED(KEY) },
	{ "a public route", "GET /public/x HTTP/1.1\r\nHost: a\r\nX-API-Key: " KEY "\r\n\r\n",
	  NOTHING, PLAIN, PASSED(ROUTE) },
	{ "a route that costs more than the burst",
	  "GET /dear HTTP/1.1\r\nHost: a\r\nX-API-Key: " KEY "\r\n\r\n", NOTHING, PLAIN,
	  PASSED(LIMITS) },

	{ "credit", GET(KEY), HAS_CREDIT, PLAIN, PASSED(CREDIT) },
	{ "the account that the connection is bound to has credit", "not even read",
	  HAS_BOUND_CREDIT, PLAIN, PASSED(CREDIT) },
	{ "no rate limit", GET(KEY), NO_LIMIT, PLAIN, PASSED(CREDIT) },
	{ "a shared rate, and no lease", GET(KEY), NOTHING_LENT, PLAIN, ANSWERED },
	{ "a shared rate, and a new lease", GET(KEY), LENT_AGAIN, PLAIN, PASSED(CREDIT) },
	{ "a debt that the agent would forgive", GET(KEY), FAR_IN_DEBT, PLAIN, PASSED(LIMITS) },
	{ "the quota is used up, but a new period may have begun", GET(KEY), QUOTA_GONE, PLAIN,
	  PASSED(LIMITS) },
	{ "limits are being written", GET(KEY), LIMITS_CHANGING, PLAIN, PASSED(BUSY) },
	{ "no templates for the tier", GET(KEY), NO_ANSWERS, PLAIN, PASSED(LIMITS) },
	{ "an empty template", GET(KEY), NO_TEMPLATE, PLAIN, PASSED(LIMITS) },

	{ "an answer is owed", GET(KEY), NOT_ALL_ANSWERED, PLAIN, PASSED(OWED) },
	{ "`answered` is ahead", GET(KEY), ANSWERED_AHEAD, PLAIN, PASSED(OWED) },
	{ "the agent is about to close", GET(KEY), AGENT_CLAIMS, PLAIN, PASSED(CLAIMED) },
	{ "enrolled a moment ago", GET(KEY), YOUNG, PLAIN, PASSED(NEW) },
	{ "egress was never seen", GET(KEY), EGRESS_UNKNOWN, PLAIN, PASSED(EGRESS) },
	{ "egress did not see the last segment", GET(KEY), EGRESS_BEHIND, PLAIN, PASSED(EGRESS) },
	{ "the order is not known yet", GET(KEY), NEVER_IN_ORDER, PLAIN, PASSED(ORDER) },
	{ "data was lost before it", GET(KEY), OUT_OF_ORDER, PLAIN, PASSED(ORDER) },
	{ "it acknowledges bytes that were not sent",
	  GET(KEY),
	  NOTHING,
	  { .ack = 1 },
	  PASSED(SENDING) },
	{ "the heartbeat is stale", GET(KEY), STALE, PLAIN, PASSED(STALE) },

	{ "observe", GET(KEY), NOTHING, PLAIN, XDP_PASS, TOLLGATE_COUNTER_OBSERVE_ANSWER,
	  TOLLGATE_ACTION_OBSERVE },
	{ "off", GET(KEY), NOTHING, PLAIN, XDP_PASS, NO_COUNTER, TOLLGATE_ACTION_OFF },
	{ "the agent is not ready", GET(KEY), NOT_ANSWERING, PLAIN, PASSED(NOT_BOUND) },
	{ "poisoned", GET(KEY), POISONED, PLAIN, PASSED(NOT_BOUND) },
};

static void change_slot(struct tollgate_slot *slot, enum change change)
{
	uint64_t now_ns = clock_mono_ns();

	slot->generation += change == SLOT_CHANGED_HANDS;
	slot->limits_seq += change == LIMITS_CHANGING;
	if (change == NO_ANSWERS)
		slot->answers = TOLLGATE_NO_ANSWERS;
	if (change == HAS_CREDIT || change == HAS_BOUND_CREDIT)
		slot->tat_ns = 0;
	if (change == NO_LIMIT)
		slot->interval_ns = 0;
	if (change == FAR_IN_DEBT)
		slot->tat_ns += 10 * NS_PER_SECOND;
	if (change == INACTIVE)
		slot->state = TOLLGATE_SLOT_INACTIVE;
	if (change == QUOTA_GONE || change == QUOTA_GONE_AND_CLOSED) {
		slot->quota_limit = 10;
		slot->quota_word = 10;
	}
	if (change == NOTHING_LENT || change == LENT_AGAIN) {
		slot->interval_ns = slot->limit_ns = 0;
		slot->closed_reason = TOLLGATE_OVER_RATE;
		slot->closed_until_ns = change == LENT_AGAIN ? 0 : now_ns + NS_PER_SECOND;
		slot->closed_end_ns = now_ns + WAIT_S * NS_PER_SECOND - NS_PER_SECOND / 2;
	}
	if (change == QUOTA_GONE_AND_CLOSED) {
		slot->closed_reason = TOLLGATE_OVER_QUOTA;
		slot->closed_until_ns = now_ns + NS_PER_SECOND;
		slot->closed_end_ns = now_ns + WAIT_S * NS_PER_SECOND - NS_PER_SECOND / 2;
	}
}

static void change_conn(struct world *w, enum change change)
{
	struct tollgate_conn *conn = w->conn;

	if (change == VLAN_KNOWN || change == VLAN_OTHER)
		conn->vlan = TOLLGATE_VLAN_TAGGED | (change == VLAN_KNOWN ? 100 : 101);
	conn->answered += change == ANSWERED_AHEAD ? 1 : change == NOT_ALL_ANSWERED ? -1 : 0;
	if (change == SCALES_NOT)
		conn->snd_wscale = 0;
	if (change == AGENT_CLAIMS)
		conn->claim = TOLLGATE_CLAIM_AGENT;
	if (change == YOUNG)
		conn->answer_from_ns = clock_mono_ns() + 10 * NS_PER_SECOND;
	if (change == POISONED)
		conn->flags |= TOLLGATE_CONN_POISONED;
	if (change == EGRESS_UNKNOWN)
		conn->flags &= ~TOLLGATE_CONN_EGRESS;
	conn->egress_end -= change == EGRESS_BEHIND;
	if (change == NEVER_IN_ORDER)
		conn->shift.state = 0;
	conn->shift.in_end -= change == OUT_OF_ORDER;
	if (change == HAS_BOUND_CREDIT) {
		conn->slot = 0;
		conn->slot_generation = SLOT_GENERATION;
		conn->flags |= TOLLGATE_CONN_BOUND;
	}
	if (change == STALE) {
		fastpath_settings(w->fp)->stale_after_ns = 0;
		fastpath_beat(w->fp, 1);
	}
	if (change == NO_TEMPLATE)
		w->fp->templates[w->set * TOLLGATE_TEMPLATE_SET + TOLLGATE_TEMPLATE_RATE + 3].len =
			0;
	fastpath_set_answering(w->fp, change != NOT_ANSWERING);
}

static const char *expected_answer(const struct row *row)
{
	switch (row->counter) {
	case TOLLGATE_COUNTER_ANSWER_RATE:
		return RATE_ANSWER(WAIT_TEXT);
	case TOLLGATE_COUNTER_ANSWER_QUOTA:
		return QUOTA_ANSWER(WAIT_TEXT);
	case TOLLGATE_COUNTER_ANSWER_INACTIVE:
		return INACTIVE_ANSWER;
	default:
		return REVOKED_ANSWER;
	}
}

static void run_row(struct world *w, const struct row *row)
{
	uint64_t before[TOLLGATE_COUNTER_COUNT];
	struct packet_spec spec = row->spec;
	struct tollgate_shift shift;
	struct packet in, out;
	int verdict;

	world_reset(w);
	fastpath_set_action(w->fp, row->action);
	change_slot(fastpath_slots(w->fp), row->change);
	change_conn(w, row->change);
	shift = w->conn->shift;
	spec.payload = row->payload;
	in = world_packet(w, &spec);
	assert_int_equal(fastpath_read_counters(w->fp, before), 0);
	verdict = world_run(w, &in, &out);
	if (verdict != row->verdict)
		fail_msg("%s, IPv%d: verdict %d, expected %d", row->why,
			 w->family == AF_INET ? 4 : 6, verdict, row->verdict);
	fixture_assert_counted(w->fp, before, row->counter, row->why);
	if (verdict == XDP_TX) {
		expect_answer(&in, &out, expected_answer(row), row->why);
		expect_window(w, &out);
		assert_int_equal(w->conn->shift.pending_len, strlen(row->payload));
		return;
	}
	if (out.len != in.len || memcmp(in.data, out.data, in.len) != 0)
		fail_msg("%s: passed, but changed", row->why);
	shift.in_end = w->conn->shift.in_end; /* passed data moves it */
	shift.state = w->conn->shift.state;
	assert_memory_equal(&shift, &w->conn->shift, sizeof(shift));
	assert_int_equal(fastpath_slots(w->fp)->xdp_refused, 0);
}

static void run_all(int family)
{
	struct world w;

	world_open(&w, family);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		run_row(&w, &rows[i]);
	world_close(&w);
}

static void xdp_answers_what_the_agent_would_refuse(void **state)
{
	(void)state;
	run_all(AF_INET);
}

static void ipv6_is_answered_like_ipv4(void **state)
{
	(void)state;
	run_all(AF_INET6);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(xdp_answers_what_the_agent_would_refuse),
		cmocka_unit_test(ipv6_is_answered_like_ipv4),
	};

	return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
