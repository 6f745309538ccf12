// SPDX-License-Identifier: BSD-2-Clause
/*
 * The drop itself: segments of connections whose sockets are really there, on the loopback of a
 * network namespace of the test's own.
 *
 * The client sends some bytes first, so that sequence numbers and received bytes are not trivial.
 * Nothing else speaks for the segments: the account is in penalty and has no credit.
 */
#include "bpf/fixture.h"

#include <fcntl.h>
#include <linux/tcp.h>
#include <poll.h>

#define ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))
#define SENT	    "GET / HTTP/1.1\r\n"

enum socket_state { CONNECTED, CLOSED_BY_CLIENT, CLOSED };

struct pair {
	int listener;
	int client;
	int server;
	struct sockaddr_storage client_address;
	struct sockaddr_storage local_address;
	uint32_t rcv_nxt;	 /* of the server's socket */
	uint32_t bytes_received; /* likewise */
};

static struct fastpath *fp;

static uint32_t read_rcv_nxt(int fd)
{
	int receive_queue = 1, on = 1, off = TCP_REPAIR_OFF_NO_WP;
	socklen_t len = sizeof(uint32_t);
	uint32_t seq = 0;

	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &receive_queue,
				    sizeof(receive_queue)),
			 0);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &seq, &len), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)), 0);
	return seq;
}

static uint32_t read_bytes_received(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_bytes_received;
}

/* @listen_family AF_INET6 with an IPv4 @family: a dual-stack listener. */
static void pair_open(struct pair *pair, int listen_family, int family)
{
	struct sockaddr_storage any = fixture_address(
		listen_family, listen_family == AF_INET6 ? "::" : "0.0.0.0", PACKET_LOCAL_PORT);
	struct sockaddr_storage to = fixture_address(
		family, family == AF_INET6 ? "::1" : "127.0.0.1", PACKET_LOCAL_PORT);
	socklen_t len = sizeof(any);
	char bytes[sizeof(SENT)];
	int on = 1;

	pair->listener = socket(listen_family, SOCK_STREAM, 0);
	setsockopt(pair->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(pair->listener, (struct sockaddr *)&any, len), 0);
	assert_int_equal(listen(pair->listener, 1), 0);
	pair->client = socket(family, SOCK_STREAM, 0);
	assert_int_equal(connect(pair->client, (struct sockaddr *)&to, sizeof(to)), 0);
	len = sizeof(pair->client_address);
	pair->server = accept(pair->listener, (struct sockaddr *)&pair->client_address, &len);
	assert_true(pair->server >= 0);
	len = sizeof(pair->local_address);
	getsockname(pair->server, (struct sockaddr *)&pair->local_address, &len);

	assert_int_equal(write(pair->client, SENT, strlen(SENT)), strlen(SENT));
	assert_int_equal(read(pair->server, bytes, sizeof(bytes)), strlen(SENT));
	pair->rcv_nxt = read_rcv_nxt(pair->server);
	pair->bytes_received = read_bytes_received(pair->server);
	assert_int_equal(pair->bytes_received, strlen(SENT));
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void pair_close(struct pair *pair)
{
	close_fd(&pair->client);
	close_fd(&pair->server);
	close_fd(&pair->listener);
}

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

static struct packet pair_packet(const struct pair *pair, int family, int32_t seq_offset,
				 uint8_t flags)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)&pair->client_address;
	const char *address = family == AF_INET6 ? "::1" : "127.0.0.1";

	/* sockaddr_in6 has its port at the same place */
	return packet_build(&(struct packet_spec){ .family = family,
						   .client = address,
						   .local = address,
						   .client_port = ntohs(in->sin_port),
						   .seq = pair->rcv_nxt + seq_offset,
						   .flags = flags,
						   .payload = "Host: a\r\n" });
}

static const struct row {
	const char *why;
	int listen_family;
	int family;
	int32_t seq_offset;	 /* of the segment, to what the socket expects */
	int32_t answered_offset; /* of `answered`, to what was received */
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
	{ "successor of a dropped segment", V4, 1448, 0, PSH, DROP },
	{ "data with FIN comes again too", V4, 0, 0, FIN, DROP },
	{ "one byte is not answered", V4, 0, -1, PSH, OWED },
	{ "nothing is answered", V6, 0, -(int)sizeof(SENT) + 1, PSH, OWED },
	{ "`answered` runs ahead", V4, 0, 1, PSH, OWED },
	{ "its first byte is there already", V4, -1, 0, PSH, HAD },
	{ "a repetition of what was received", V4, -(int)sizeof(SENT) + 1, 0, PSH, HAD },
	{ "a repetition while an answer is owed", V6, -1, -1, PSH, HAD },
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
		fail_msg("%s: verdict %d, not %d", row->why, verdict, row->verdict);
	fixture_assert_counted(fp, before, row->counter, row->why);
	if (conn->dropped != (verdict == XDP_DROP) ||
	    fastpath_slots(fp)->xdp_dropped != (verdict == XDP_DROP))
		fail_msg("%s: records count %d and %d drops", row->why, (int)conn->dropped,
			 (int)fastpath_slots(fp)->xdp_dropped);
	pair_close(&pair);
	fastpath_close(fp, true);
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
