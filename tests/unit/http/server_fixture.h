/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server_fixture: a server and its clients over real sockets, on the test's own loop.
 *
 * What the handler does depends on the path of the request; see on_request(). test_limits are so
 * long that none passes during a test; a test that waits for one sets its own.
 */
#ifndef UNIT_HTTP_SERVER_FIXTURE_H
#define UNIT_HTTP_SERVER_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "http/server.h"
#include "net/listener.h"

#define GIVE_UP_MS 10000

static const struct http_limits test_limits = {
	.head_bytes = 1024,
	.body_bytes = 1024 * 1024,
	.head_ms = 60000,
	.body_ms = 60000,
	.idle_ms = 60000,
	.write_ms = 60000,
};

struct fixture {
	unsigned unwelcome; /* connections that the server refused */
	uv_loop_t loop;
	struct listener *listener;
	struct http_server *server;
	struct tls_context *tls;     /* NULL: connections are plain */
	struct http_stream *waiting; /* a request that the test answers, as to /wait */
	size_t body_bytes;
	unsigned requests, bodies, aborts, settled, closed, refused;
	int abort_err;
	uint32_t settled_received;
	bool is_drained;
};

/* ---- the handler ---- */

static inline void answer(struct http_stream *s, const char *body)
{
	const struct http_answer a = {
		.status = 200,
		.length = strlen(body),
		.first_piece = text_of(body),
		.is_last = true,
	};

	assert_int_equal(http_stream_answer(s, &a), 0);
}

static inline void answer_head_only(struct http_stream *s, uint64_t length)
{
	const struct http_answer a = { .status = 200, .length = length, .add_date = true };

	assert_int_equal(http_stream_answer(s, &a), 0);
}

static inline void on_request(struct http_stream *s)
{
	struct fixture *f = http_server_owner(http_stream_server(s));
	struct text path = http_stream_request(s)->path;
	char text[32];

	f->requests++;
	f->body_bytes = 0;
	if (text_is(path, "/wait") || text_is(path, "/echo") || text_is(path, "/pause") ||
	    text_is(path, "/halt")) {
		f->waiting = s;
		if (text_is(path, "/pause"))
			http_stream_pause(s);
	} else if (text_is(path, "/stream")) {
		answer_head_only(s, HTTP_UNKNOWN_LENGTH);
		http_stream_write(s, "abc", 3);
		http_stream_write(s, "de", 2);
		http_stream_end(s);
	} else if (text_is(path, "/204")) {
		http_stream_answer(s, &(struct http_answer){ .status = 204, .is_last = true });
	} else if (text_is(path, "/break")) {
		answer_head_only(s, 10);
		http_stream_break(s);
	} else if (text_is(path, "/short")) {
		answer_head_only(s, 10);
		http_stream_end(s);
	} else if (text_is(path, "/continue")) {
		http_stream_inform(s, 100, TEXT(""));
		f->waiting = s;
	} else {
		snprintf(text, sizeof(text), "%.*s.", TEXT_ARG(path));
		answer(s, text);
	}
}

static inline void on_body(struct http_stream *s, const char *data, size_t len)
{
	struct fixture *f = http_server_owner(http_stream_server(s));

	assert_true(len > 0);
	f->body_bytes += len;
	if (text_is(http_stream_request(s)->path, "/halt"))
		http_stream_pause(s);
	if (http_has(http_stream_request(s), HTTP_UPGRADE))
		http_stream_write(s, data, len);
}

static inline void on_body_end(struct http_stream *s)
{
	struct fixture *f = http_server_owner(http_stream_server(s));
	char text[32];

	f->bodies++;
	if (http_has(http_stream_request(s), HTTP_UPGRADE)) {
		http_stream_end(s);
		return;
	}
	snprintf(text, sizeof(text), "got %zu.", f->body_bytes);
	if (!text_is(http_stream_request(s)->path, "/wait"))
		answer(s, text);
}

static inline void on_drain(struct http_stream *s)
{
	(void)s;
}

static inline void on_abort(struct http_stream *s, int err)
{
	struct fixture *f = http_server_owner(http_stream_server(s));

	f->aborts++;
	f->abort_err = err;
	f->waiting = NULL;
}

static inline void on_refused(struct http_server *server, unsigned status, const char *why)
{
	struct fixture *f = http_server_owner(server);

	assert_non_null(why);
	f->refused = status;
}

static struct fixture *settling; /* for the callbacks that do not get a stream or server */

static inline void on_settled(void *context, uint32_t received)
{
	(void)context;
	settling->settled++;
	settling->settled_received = received;
}

static inline void on_connection_closed(void *context)
{
	(void)context;
	settling->closed++;
}

static const struct http_handler handler = {
	.on_request = on_request,
	.on_body = on_body,
	.on_body_end = on_body_end,
	.on_drain = on_drain,
	.on_abort = on_abort,
	.on_refused = on_refused,
	.on_connection_closed = on_connection_closed,
	.on_settled = on_settled,
};

/* ---- the fixture ---- */

static inline void on_connection(struct listener *l)
{
	struct fixture *f = listener_owner(l);
	int err = http_server_accept(f->server, listener_stream(l), f->tls);

	if (err != -EACCES)
		assert_int_equal(err, 0);
	f->unwelcome += err == -EACCES;
}

static inline void start(struct fixture *f, const struct http_limits *limits)
{
	struct sockaddr_storage address;

	*f = (struct fixture){ 0 };
	settling = f;
	assert_int_equal(uv_loop_init(&f->loop), 0);
	assert_int_equal(listener_parse_address("127.0.0.1:0", &address), 0);
	assert_int_equal(listener_open_tcp(&f->loop, &address, on_connection, f, &f->listener), 0);
	f->server = http_server_new(&f->loop, &handler, f, limits);
	assert_non_null(f->server);
}

static inline void stop(struct fixture *f)
{
	http_server_close(f->server);
	listener_close(f->listener);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(http_server_connections(f->server), 0);
	http_server_free(f->server);
	assert_int_equal(uv_loop_close(&f->loop), 0);
}

static inline int dial(struct fixture *f)
{
	struct sockaddr_storage address;
	char text[64];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(text, sizeof(text), "127.0.0.1:%u", listener_port(f->listener));
	listener_parse_address(text, &address);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(struct sockaddr_in)), 0);
	return fd;
}

static inline void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static inline void turn(struct fixture *f)
{
	uv_run(&f->loop, UV_RUN_NOWAIT);
	usleep(200);
}

/* What the server sends up to @until, or until it closes. @until NULL: it must close. */
static inline char *hear(struct fixture *f, int fd, const char *until)
{
	static char text[4 * 1024 * 1024];
	uint64_t start_ns = clock_mono_ns();
	size_t len = 0;

	text[0] = '\0';
	while (!until || !strstr(text, until)) {
		ssize_t count;

		turn(f);
		count = recv(fd, text + len, sizeof(text) - 1 - len, MSG_DONTWAIT);
		if (count == 0)
			break;
		if (count < 0 && errno != EAGAIN)
			return strcat(text, "<RESET>");
		len += count > 0 ? count : 0;
		text[len] = '\0';
		if (clock_mono_ns() - start_ns > GIVE_UP_MS * NS_PER_MS)
			fail_msg("waited for '%s', got '%s'", until ? until : "the end", text);
	}
	return text;
}

#define WAIT_UNTIL(f, condition)                           \
	for (unsigned turns = 0; !(condition); turns++) {  \
		turn(f);                                   \
		if (turns > 20000)                         \
			fail_msg("never: %s", #condition); \
	}

#define GET(path)	   "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST(path, fields) "POST " path " HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define CLOSE		   "Connection: close\r\n"

#endif
