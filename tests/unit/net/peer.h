/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * peer: a server for the clients under test, on the test's own loop. With HTTP it reads whole
 * requests and gives each the next answer of a script; with SMTP it looks up its answers by the
 * client's lines.
 */
#ifndef UNIT_NET_PEER_H
#define UNIT_NET_PEER_H

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/tls.h"

#define PEER_GIVE_UP_MS	  20000
#define PEER_MAX_REQUESTS 256

enum peer_then { PEER_KEEP, PEER_CLOSE, PEER_RESET, PEER_HOLD };

/*
 * HTTP: the answers, in order. SMTP: `to` is the start of the client's line that is answered; ""
 * stands for the greeting.
 */
struct peer_answer {
	const char *text; /* NULL: no answer */
	enum peer_then then;
	const char *to;
};

struct peer;

struct peer_client {
	struct peer *peer;
	struct conn *conn; /* NULL once it is closed */
	struct buf in;
	bool is_greeted, is_data; /* of a mail */
};

struct peer {
	uv_loop_t *loop;
	struct listener *listener;
	struct tls_context *tls;
	const struct peer_answer *script; /* ended by an empty entry */
	bool is_smtp;
	unsigned answered;
	char *requests[PEER_MAX_REQUESTS]; /* complete ones, in the order of arrival */
	unsigned request_count;
	struct peer_client *clients[PEER_MAX_REQUESTS];
	unsigned client_count;
	struct buf transcript; /* SMTP: what the clients sent */
};

static inline bool peer_is_end(const struct peer_answer *answer)
{
	return !answer->text && !answer->then && !answer->to;
}

static inline void peer_give(struct peer_client *c, const struct peer_answer *answer)
{
	if (answer->text) {
		uv_buf_t part = uv_buf_init((char *)answer->text, (unsigned)strlen(answer->text));

		assert_int_equal(conn_write(c->conn, &part, 1), 0);
	}
	if (answer->then == PEER_RESET)
		conn_close(c->conn, true);
	else if (answer->then == PEER_CLOSE)
		conn_shutdown(c->conn);
}

/* The length of the request at the start of @t; 0: it is not complete. */
static inline size_t peer_request_len(struct text t)
{
	const char *end = t.len ? memmem(t.ptr, t.len, "\r\n\r\n", 4) : NULL;
	const char *length;
	size_t len;

	if (!end)
		return 0;
	len = (size_t)(end - t.ptr) + 4;
	length = memmem(t.ptr, len, "Content-Length: ", 16);
	if (length)
		len += strtoul(length + 16, NULL, 10);
	return len <= t.len ? len : 0;
}

static inline void peer_http(struct peer_client *c)
{
	struct peer *p = c->peer;
	size_t len;

	while (c->conn && (len = peer_request_len(buf_text(&c->in)))) {
		const struct peer_answer *answer = &p->script[p->answered];

		assert_in_range(p->request_count, 0, PEER_MAX_REQUESTS - 1);
		p->requests[p->request_count++] = text_dup((struct text){ buf_head(&c->in), len });
		buf_consume(&c->in, len);
		if (peer_is_end(answer))
			fail_msg("not in the script: %s", p->requests[p->request_count - 1]);
		p->answered++;
		peer_give(c, answer);
	}
}

static inline void peer_smtp_line(struct peer_client *c, struct text line)
{
	buf_append_text(&c->peer->transcript, line);
	if (c->is_data && !text_is(line, ".\r\n"))
		return;
	c->is_data = false;
	for (const struct peer_answer *a = c->peer->script; !peer_is_end(a); a++) {
		if (*a->to && text_starts(line, text_of(a->to))) {
			c->is_data = a->text && !strncmp(a->text, "354", 3);
			peer_give(c, a);
			return;
		}
	}
	fail_msg("not in the script: %.*s", TEXT_ARG(line));
}

static inline void peer_smtp(struct peer_client *c)
{
	char *end;

	while (c->conn && buf_len(&c->in) &&
	       (end = memchr(buf_head(&c->in), '\n', buf_len(&c->in)))) {
		size_t len = (size_t)(end - buf_head(&c->in)) + 1;

		peer_smtp_line(c, (struct text){ buf_head(&c->in), len });
		buf_consume(&c->in, len);
	}
}

static inline void peer_on_data(struct conn *conn, const char *data, size_t len)
{
	struct peer_client *c = conn_owner(conn);

	assert_int_equal(buf_append(&c->in, data, len), 0);
	if (c->peer->is_smtp)
		peer_smtp(c);
	else
		peer_http(c);
}

static inline void peer_on_eof(struct conn *conn)
{
	conn_close(conn, false);
}

static inline void peer_on_error(struct conn *conn, int err)
{
	(void)err;
	conn_close(conn, true);
}

static inline void peer_on_drain(struct conn *conn)
{
	(void)conn;
}

static inline void peer_on_closed(struct conn *conn)
{
	struct peer_client *c = conn_owner(conn);

	c->conn = NULL;
}

static inline void peer_on_connection(struct listener *l)
{
	static const struct conn_events events = {
		.on_data = peer_on_data,
		.on_eof = peer_on_eof,
		.on_drain = peer_on_drain,
		.on_error = peer_on_error,
		.on_closed = peer_on_closed,
	};
	struct peer *p = listener_owner(l);
	struct peer_client *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	assert_in_range(p->client_count, 0, PEER_MAX_REQUESTS - 1);
	p->clients[p->client_count++] = c;
	c->peer = p;
	buf_init(&c->in, 16 * 1024 * 1024);
	assert_int_equal(conn_accept(listener_stream(l), p->tls, &events, c, &c->conn), 0);
}

static inline void peer_start(struct peer *p, uv_loop_t *loop, const struct peer_answer *script)
{
	struct sockaddr_storage address;

	*p = (struct peer){ .loop = loop, .script = script };
	buf_init(&p->transcript, 1024 * 1024);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(listener_parse_address("127.0.0.1:0", &address), 0);
	assert_int_equal(listener_open_tcp(loop, &address, peer_on_connection, p, &p->listener), 0);
}

/* Close everything. Then the loop must run until no handle is left; then call peer_done(). */
static inline void peer_stop(struct peer *p)
{
	listener_close(p->listener);
	for (unsigned i = 0; i < p->client_count; i++) {
		if (p->clients[i]->conn)
			conn_close(p->clients[i]->conn, true);
	}
}

static inline void peer_done(struct peer *p)
{
	for (unsigned i = 0; i < p->client_count; i++) {
		buf_done(&p->clients[i]->in);
		free(p->clients[i]);
	}
	for (unsigned i = 0; i < p->request_count; i++)
		free(p->requests[i]);
	buf_done(&p->transcript);
	tls_context_unref(p->tls);
}

/* Write a URL of the peer, for example "http://127.0.0.1:1234/", to @ret_url. */
static inline void peer_url(const struct peer *p, const char *scheme, const char *host,
			    const char *path, char ret_url[128])
{
	snprintf(ret_url, 128, "%s://%s:%u%s", scheme, host, listener_port(p->listener), path);
}

/* Wait for the next event or timer of the loop. */
static inline void peer_wait(struct peer *p, uint64_t give_up_ns)
{
	struct pollfd fd = { .fd = uv_backend_fd(p->loop), .events = POLLIN };
	int timeout_ms = uv_backend_timeout(p->loop);

	if (clock_mono_ns() > give_up_ns)
		fail_msg("nothing more happened");
	poll(&fd, 1, timeout_ms < 0 || timeout_ms > 50 ? 50 : timeout_ms);
}

/* Run the loop once. A mail server speaks first, after the TLS handshake if there is one. */
static inline void peer_turn(struct peer *p)
{
	uv_run(p->loop, UV_RUN_NOWAIT);
	for (unsigned i = 0; p->is_smtp && i < p->client_count; i++) {
		struct peer_client *c = p->clients[i];

		if (!c->conn || c->is_greeted || !conn_is_up(c->conn))
			continue;
		c->is_greeted = true;
		peer_give(c, &p->script[0]);
	}
}

/* Run the loop until @condition. */
#define PEER_WAIT(p, condition)                                                      \
	do {                                                                         \
		uint64_t give_up_ns = clock_mono_ns() + PEER_GIVE_UP_MS * NS_PER_MS; \
                                                                                     \
		while (peer_turn(p), !(condition))                                   \
			peer_wait(p, give_up_ns);                                    \
	} while (0)

#define SAY(text)                       \
	{                               \
		(text), PEER_KEEP, NULL \
	}
#define PEER_OK(fields, length, body) \
	"HTTP/1.1 200 OK\r\n" fields "Content-Length: " #length "\r\n\r\n" body

#endif
