/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A TCP connection over loopback, and segments that its server's socket would accept.
 *
 * The client sends some bytes first, so that sequence numbers and received bytes are not trivial.
 */
#ifndef TESTS_BPF_PAIR_H
#define TESTS_BPF_PAIR_H

#include "bpf/fixture.h"

#include <linux/tcp.h>

#define SENT "GET / HTTP/1.1\r\n"

struct pair {
	int listener;
	int client;
	int server;
	struct sockaddr_storage client_address;
	struct sockaddr_storage local_address;
	uint32_t rcv_nxt; /* the server's socket's, as are all that follow */
	uint32_t snd_nxt;
	uint32_t bytes_received;
	uint32_t window;    /* bytes that it would announce */
	uint8_t rcv_wscale; /* its scale for windows that it announces */
	uint32_t snd_wnd;   /* bytes that the client has announced */
	uint8_t snd_wscale; /* the client's scale */
};

/* The MSS of the next pair's client; 0: the kernel's choice. */
static int pair_mss;

/* Sequence numbers can be read only in repair mode. Leaving it clears the socket's SO_REUSEADDR. */
static inline void repair(int fd, int mode)
{
	int on = 1;

	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &mode, sizeof(mode)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
}

static inline uint32_t read_number(int fd, int queue)
{
	socklen_t len = sizeof(uint32_t);
	uint32_t seq = 0;

	repair(fd, TCP_REPAIR_ON);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)), 0);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &seq, &len), 0);
	repair(fd, TCP_REPAIR_OFF_NO_WP);
	return seq;
}

static inline uint32_t read_bytes_received(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_bytes_received;
}

/* Read the server's socket's windows in another way than XDP does. */
static inline void read_window(struct pair *pair)
{
	struct tcp_repair_window window = { 0 };
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(pair->server, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	pair->rcv_wscale = info.tcpi_rcv_wscale;
	pair->snd_wscale = info.tcpi_snd_wscale;
	len = sizeof(window);
	repair(pair->server, TCP_REPAIR_ON);
	assert_int_equal(getsockopt(pair->server, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, &len),
			 0);
	repair(pair->server, TCP_REPAIR_OFF_NO_WP);
	pair->snd_wnd = window.snd_wnd;
	pair->window = window.rcv_wup + window.rcv_wnd - pair->rcv_nxt;
}

/* Read the current numbers of the server's socket. */
static inline void pair_read(struct pair *pair)
{
	pair->rcv_nxt = read_number(pair->server, TCP_RECV_QUEUE);
	pair->snd_nxt = read_number(pair->server, TCP_SEND_QUEUE);
	pair->bytes_received = read_bytes_received(pair->server);
	read_window(pair);
}

/* With @listen_family AF_INET6 and @family AF_INET, the listener is dual-stack. */
static inline void pair_open(struct pair *pair, int listen_family, int family)
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
	if (pair_mss)
		setsockopt(pair->client, IPPROTO_TCP, TCP_MAXSEG, &pair_mss, sizeof(pair_mss));
	assert_int_equal(connect(pair->client, (struct sockaddr *)&to, sizeof(to)), 0);
	len = sizeof(pair->client_address);
	pair->server = accept(pair->listener, (struct sockaddr *)&pair->client_address, &len);
	assert_true(pair->server >= 0);
	len = sizeof(pair->local_address);
	getsockname(pair->server, (struct sockaddr *)&pair->local_address, &len);

	assert_int_equal(write(pair->client, SENT, strlen(SENT)), strlen(SENT));
	assert_int_equal(read(pair->server, bytes, sizeof(bytes)), strlen(SENT));
	pair_read(pair);
	assert_int_equal(pair->bytes_received, strlen(SENT));
}

static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline void pair_close(struct pair *pair)
{
	close_fd(&pair->client);
	close_fd(&pair->server);
	close_fd(&pair->listener);
}

static inline struct packet pair_packet(const struct pair *pair, int family, int32_t seq_offset,
					uint8_t flags)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)&pair->client_address;
	const char *address = family == AF_INET6 ? "::1" : "127.0.0.1";

	/* sockaddr_in6 has its port at the same offset. */
	return packet_build(&(struct packet_spec){ .family = family,
						   .client = address,
						   .local = address,
						   .client_port = ntohs(in->sin_port),
						   .seq = pair->rcv_nxt + seq_offset,
						   .flags = flags,
						   .payload = "Host: a\r\n" });
}

#endif
