// SPDX-License-Identifier: BSD-2-Clause
/*
 * Drops: segments of connections with real sockets, on loopback in the test's own network
 * namespace.
 *
 * The account is in penalty and has no credit, so only the socket's state can make a segment pass.
 */
#include "bpf/pair.h"

#include <poll.h>

#define ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))
enum socket_state { CONNECTED, CLOSED_BY_CLIENT, CLOSED };

static struct fastpath *fp;

static void pair_enter_state(struct pair *pair, enum socket_state state)
{
	struct pollfd readable = { .fd = pair->server, .events = POLLRDHUP };

	if (state == CONNECTED)
		return;
	close_fd(&pair->client);
	assert_int_equal(poll(&readable, 1, 5000), 1);
	if (state == CLOSED) {
		close_fd(&pair->server);
		close_fd(&pair->listener);
	}
}

static const struct row {
	const char *why;
	int listen_family;
	int family;
	int32_t seq_offset;	 /* the segment's number minus what the socket expects */
	int32_t answered_offset; /* `answered` minus the bytes received */
	uint8_t flags;
	enum tollgate_action action;
	enum socket_state state;
	int verdict;
	int counter;
} rows[] = {
#define V4   AF_INET, AF_INET
#define V6   AF_INET6, AF_INET6
#define DUAL AF_INET6, AF_INET
#define PSH  PACKET_PSH | PACKET_ACK
#define FIN  PACKET_FIN | PACKET_ACK
#define DROP TOLLGATE_ACTION_DROP, CONNECTED, XDP_DROP, TOLLGATE_COUNTER_DROP_FLOW
#define OWED TOLLGATE_ACTION_DROP, CONNECTED, XDP_PASS, TOLLGATE_COUNTER_PASS_OWED
#define HAD  TOLLGATE_ACTION_DROP, CONNECTED, XDP_PASS, TOLLGATE_COUNTER_PASS_SOCKET
	{ "all answered", V4, 0, 0, PSH, DROP },
	{ "all answered, IPv6", V6, 0, 0, PSH, DROP },
	{ "all answered, IPv4 on an IPv6 socket", DUAL, 0, 0, PSH, DROP },
	{ "the segment after a dropped one", V4, 1448, 0, PSH, DROP },
	{ "data with FIN", V4, 0, 0, FIN, DROP },
	{ "one byte is not answered", V4, 0, -1, PSH, OWED },
	{ "nothing is answered", V6, 0, -(int)sizeof(SENT) + 1, PSH, OWED },
	{ "`answered` is ahead", V4, 0, 1, PSH, OWED },
	{ "the socket has its first byte already", V4, -1, 0, PSH, HAD },
	{ "a retransmission of received data", V4, -(int)sizeof(SENT) + 1, 0, PSH, HAD },
	{ "a retransmission while an answer is owed", V6, -1, -1, PSH, HAD },
	{ "answer acts like drop", V4, 0, 0, PSH, TOLLGATE_ACTION_ANSWER, CONNECTED, XDP_DROP,
	  TOLLGATE_COUNTER_DROP_FLOW },
	{ "observe only counts", V4, 0, 0, PSH, TOLLGATE_ACTION_OBSERVE, CONNECTED, XDP_PASS,
	  TOLLGATE_COUNTER_OBSERVE_FLOW },
	{ "off does not even count", V4, 0, 0, PSH, TOLLGATE_ACTION_OFF, CONNECTED, XDP_PASS,
	  NO_COUNTER },
	{ "the client has closed", V4, 1, 1, PSH, TOLLGATE_ACTION_DROP, CLOSED_BY_CLIENT, XDP_PASS,
	  TOLLGATE_COUNTER_PASS_SOCKET },
	{ "the socket is gone", V4, 0, 0, PSH, TOLLGATE_ACTION_DROP, CLOSED, XDP_PASS,
	  TOLLGATE_COUNTER_PASS_SOCKET },
};

static void run_row(const struct row *row)
{
	struct fastpath_config config = fixture_config();
	uint64_t before[TOLLGATE_COUNTER_COUNT];
	struct pair pair;
	struct packet packet;
	struct tollgate_conn *conn;
	char why[256];
	int verdict;

	config.action = row->action;
	fp = fixture_open(&config);
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	fastpath_settings(fp)->ports[PACKET_LOCAL_PORT / 64] |= 1ULL << PACKET_LOCAL_PORT % 64;
	pair_open(&pair, row->listen_family, row->family);
	conn = fastpath_conn(fp, fixture_enrol(fp, &pair.client_address, &pair.local_address));
	conn->answered = pair.bytes_received + row->answered_offset;
	packet = pair_packet(&pair, row->family, row->seq_offset, row->flags);
	pair_enter_state(&pair, row->state);

	assert_int_equal(fastpath_read_counters(fp, before), 0);
	verdict = fixture_run(fp, packet.data, packet.len);
	if (verdict != row->verdict)
		fail_msg("%s: verdict %d, expected %d", row->why, verdict, row->verdict);
	fixture_assert_counted(fp, before, row->counter, row->why);
	if (conn->dropped != (verdict == XDP_DROP) ||
	    fastpath_slots(fp)->xdp_dropped != (verdict == XDP_DROP))
		fail_msg("%s: connection and slot count %d and %d drops", row->why,
			 (int)conn->dropped, (int)fastpath_slots(fp)->xdp_dropped);
	pair_close(&pair);
	fastpath_close(fp, FASTPATH_REMOVE);
}

static void a_segment_is_dropped_only_while_nothing_is_owed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++)
		run_row(&rows[i]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_segment_is_dropped_only_while_nothing_is_owed),
	};

	return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
