/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The server over real sockets: a client writes bytes, the loop turns, and what comes back is text.
 *
 * The handler of these tests answers by the request's path; see on_request(). Times are short where
 * a limit must pass, and long where it must not.
 */
#include <errno.h>
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
	uv_loop_t loop;
	struct listener *listener;
	struct http_server *server;
	struct http_stream *waiting; /* of a request to /wait */
	size_t body_bytes;
	unsigned requests, bodies, aborts, settled, closed, refused;
	int abort_err;
	uint32_t settled_received;
	bool is_drained;
};

/* ---- the handler ---- */

static void answer(struct http_stream *s, const char *body)
{
	const struct http_answer a = {
		.status = 200,
		.length = strlen(body),
		.first_piece = text_of(body),
		.is_last = true,
	};

	assert_int_equal(http_stream_answer(s, &a), 0);
}

static void answer_head_only(struct http_stream *s, uint64_t length)
{
	const struct http_answer a = { .status = 200, .length = length, .add_date = true };

	assert_int_equal(http_stream_answer(s, &a), 0);
}

static void on_request(struct http_stream *s)
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

static void on_body(struct http_stream *s, const char *data, size_t len)
{
	struct fixture *f = http_server_owner(http_stream_server(s));

	assert_true(len > 0);
	f->body_bytes += len;
	if (text_is(http_stream_request(s)->path, "/halt"))
		http_stream_pause(s);
	if (http_has(http_stream_request(s), HTTP_UPGRADE))
		http_stream_write(s, data, len);
}

static void on_body_end(struct http_stream *s)
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

static void on_drain(struct http_stream *s)
{
	(void)s;
}

static void on_abort(struct http_stream *s, int err)
{
	struct fixture *f = http_server_owner(http_stream_server(s));

	f->aborts++;
	f->abort_err = err;
	f->waiting = NULL;
}

static void on_refused(struct http_server *server, unsigned status, const char *why)
{
	struct fixture *f = http_server_owner(server);

	assert_non_null(why);
	f->refused = status;
}

static struct fixture *settling; /* on_settled gets no server */

static void on_settled(void *context, uint32_t received)
{
	(void)context;
	settling->settled++;
	settling->settled_received = received;
}

static void on_connection_closed(void *context)
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

static void on_connection(struct listener *l)
{
	struct fixture *f = listener_owner(l);

	assert_int_equal(http_server_accept(f->server, listener_stream(l), NULL), 0);
}

static void start(struct fixture *f, const struct http_limits *limits)
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

static void stop(struct fixture *f)
{
	http_server_close(f->server);
	listener_close(f->listener);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(http_server_connections(f->server), 0);
	http_server_free(f->server);
	assert_int_equal(uv_loop_close(&f->loop), 0);
}

static int dial(struct fixture *f)
{
	struct sockaddr_storage address;
	char text[64];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(text, sizeof(text), "127.0.0.1:%u", listener_port(f->listener));
	listener_parse_address(text, &address);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(struct sockaddr_in)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void turn(struct fixture *f)
{
	uv_run(&f->loop, UV_RUN_NOWAIT);
	usleep(200);
}

/* What the server sends until it closes, or until @until has come. @until NULL: it must close. */
static char *hear(struct fixture *f, int fd, const char *until)
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
			fail_msg("waited for '%s', heard '%s'", until ? until : "the end", text);
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

/* ---- the tests ---- */

struct row {
	const char *request; /* the connection closes after these */
	const char *answer;
	unsigned requests;
	const char *why;
};

static void answers_are_framed_as_the_request_allows(void **state)
{
	static const struct row rows[] = {
		{ "GET /a HTTP/1.1\r\nHost: a\r\n" CLOSE "\r\n",
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" CLOSE "\r\n/a.", 1, "plain" },
		{ GET("/a") GET("/b") "GET /c HTTP/1.1\r\nHost: a\r\n" CLOSE "\r\n",
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n/a."
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n/b."
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" CLOSE "\r\n/c.",
		  3, "pipelined, in order" },
		{ "HEAD /a HTTP/1.1\r\nHost: a\r\n" CLOSE "\r\n",
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" CLOSE "\r\n", 1, "HEAD has no body" },
		{ "GET /204 HTTP/1.1\r\nHost: a\r\n" CLOSE "\r\n",
		  "HTTP/1.1 204 No Content\r\n" CLOSE "\r\n", 1, "204 has no length" },
		{ "GET /a HTTP/1.0\r\n\r\n",
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" CLOSE "\r\n/a.", 1,
		  "HTTP/1.0 closes" },
		{ "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n",
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n/a."
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" CLOSE "\r\n/b.",
		  2, "HTTP/1.0 kept alive" },
		{ POST("/echo", "Content-Length: 5\r\n" CLOSE) "12345",
		  "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n" CLOSE "\r\ngot 5.", 1, "a body" },
		{ POST("/echo", "Content-Length: 0\r\n" CLOSE),
		  "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n" CLOSE "\r\ngot 0.", 1,
		  "an empty body" },
		{ POST("/echo", "Transfer-Encoding: chunked\r\n" CLOSE) "3\r\nabc\r\n0\r\n\r\n",
		  "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n" CLOSE "\r\ngot 3.", 1, "chunks" },
		{ POST("/a", "Content-Length: 5\r\n") "12345GET /b HTTP/1.0\r\n\r\n",
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n/a."
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" CLOSE "\r\n/b.",
		  2, "an unwanted body is skipped" },
		{ POST("/a", "Content-Length: 99999\r\n"),
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" CLOSE "\r\n/a.", 1,
		  "a large unwanted body is not" },
		{ POST("/a", "Expect: 100-continue\r\nContent-Length: 5\r\n"),
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" CLOSE "\r\n/a.", 1,
		  "after Expect nobody knows whether the body comes" },
		{ POST("/continue", "Expect: 100-continue\r\nContent-Length: 5\r\n" CLOSE) "12345",
		  "HTTP/1.1 100 Continue\r\n\r\n"
		  "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n" CLOSE "\r\ngot 5.",
		  1, "100-continue" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture f;
		char *got;
		int fd;

		start(&f, &test_limits);
		fd = dial(&f);
		say(fd, rows[i].request);
		got = hear(&f, fd, NULL);
		if (strcmp(got, rows[i].answer) || f.requests != rows[i].requests || f.aborts)
			fail_msg("%s: %u requests, %u aborts, '%s'", rows[i].why, f.requests,
				 f.aborts, got);
		close(fd);
		stop(&f);
	}
}

static void unknown_lengths_are_chunked_or_close(void **state)
{
	struct fixture f;
	char *got;
	int fd;

	(void)state;
	start(&f, &test_limits);
	fd = dial(&f);
	say(fd, GET("/stream"));
	got = hear(&f, fd, "\r\n0\r\n\r\n");
	assert_non_null(
		strstr(got, "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"));
	assert_non_null(strstr(got, "\r\nDate: "));
	assert_non_null(strstr(got, " GMT\r\n"));
	say(fd, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	got = hear(&f, fd, NULL);
	assert_non_null(strstr(got, CLOSE "\r\nabcde"));
	assert_null(strstr(got, "chunked"));
	close(fd);
	stop(&f);
}

static void what_is_no_request_is_refused(void **state)
{
	static const struct {
		const char *request, *answer;
		unsigned status;
		const char *why;
	} rows[] = {
		{ "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
		  "{\"status\":400,\"detail\":\"Bad request\"}", 400, "malformed" },
		{ "GET / HTTP/3.0\r\nHost: a\r\n\r\n",
		  "{\"status\":400,\"detail\":\"Bad request\"}", 400, "other version" },
		{ GET("/a") "BAD\r\n\r\n", "{\"status\":400,\"detail\":\"Bad request\"}", 400,
		  "malformed behind a good one" },
		{ POST("/a", "Content-Length: 1048577\r\n"),
		  "{\"status\":413,\"detail\":\"Request body too large\"}", 413, "too large" },
		{ POST("/a", "Expect: coffee\r\n"),
		  "{\"status\":417,\"detail\":\"Expectation failed\"}", 417, "expects too much" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture f;
		char *got;
		int fd;

		start(&f, &test_limits);
		fd = dial(&f);
		say(fd, rows[i].request);
		got = hear(&f, fd, NULL);
		if (!strstr(got, rows[i].answer) || f.refused != rows[i].status ||
		    !strstr(got, "\r\n" CLOSE) || !strstr(got, "application/problem+json"))
			fail_msg("%s: %u '%s'", rows[i].why, f.refused, got);
		close(fd);
		stop(&f);
	}
}

static void a_large_head_is_431_and_the_client_can_read_it(void **state)
{
	static char request[200 * 1024];
	struct fixture f;
	char *got;
	int fd;

	(void)state;
	memset(request, 'a', sizeof(request) - 1);
	memcpy(request, "GET / HTTP/1.1\r\nA: ", 19);
	start(&f, &test_limits);
	fd = dial(&f);
	say(fd, request); /* far more than is looked at */
	got = hear(&f, fd, NULL);
	assert_non_null(strstr(got, "{\"status\":431,"));
	assert_null(strstr(got, "<RESET>"));
	assert_int_equal(f.refused, 431);
	close(fd);
	stop(&f);
}

static void ten_thousand_pipelined_requests_are_answered(void **state)
{
	enum { COUNT = 10000 };
	static const char one[] = GET("/");
	char *all = malloc(COUNT * (sizeof(one) - 1));
	size_t len = COUNT * (sizeof(one) - 1), at = 0;
	unsigned points = 0; /* two an answer: "HTTP/1.1" and "/." */
	struct fixture f;
	char got[65536];
	int fd;

	(void)state;
	for (size_t i = 0; i < COUNT; i++)
		memcpy(all + i * (sizeof(one) - 1), one, sizeof(one) - 1);
	start(&f, &test_limits);
	fd = dial(&f);
	for (unsigned turns = 0; points < 2 * COUNT; turns++) {
		ssize_t count = at < len ? send(fd, all + at, len - at, MSG_DONTWAIT) : 0;

		at += count > 0 ? count : 0;
		turn(&f);
		count = recv(fd, got, sizeof(got), MSG_DONTWAIT);
		for (ssize_t i = 0; i < count; i++)
			points += got[i] == '.';
		if (turns > 100000)
			fail_msg("%u requests, %u points", f.requests, points);
	}
	assert_int_equal(f.requests, COUNT);
	assert_int_equal(f.aborts, 0);
	free(all);
	close(fd);
	stop(&f);
}

static void pipelined_requests_wait_for_a_slow_answer(void **state)
{
	struct fixture f;
	char *got;
	int fd;

	(void)state;
	start(&f, &test_limits);
	fd = dial(&f);
	say(fd, GET("/wait") GET("/b") GET("/c"));
	WAIT_UNTIL(&f, f.waiting);
	for (int i = 0; i < 10; i++)
		turn(&f);
	assert_int_equal(f.requests, 1);
	assert_int_equal(f.settled, 0);
	answer(f.waiting, "first.");
	got = hear(&f, fd, "/c.");
	assert_true(strstr(got, "first.") < strstr(got, "/b."));
	assert_int_equal(f.requests, 3);
	assert_int_equal(f.settled, 1);
	assert_int_equal(f.settled_received, strlen(GET("/wait") GET("/b") GET("/c")));
	close(fd);
	stop(&f);
}

static void pending_bytes_are_bounded(void **state)
{
	static char junk[64 * 1024];
	struct fixture f;
	size_t sent = 0;
	ssize_t count;
	int fd, small = 4096;

	(void)state;
	memset(junk, 'a', sizeof(junk));
	start(&f, &test_limits);
	fd = dial(&f);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	say(fd, GET("/wait"));
	WAIT_UNTIL(&f, f.waiting);
	for (unsigned quiet = 0; quiet < 200; quiet++) {
		turn(&f);
		count = send(fd, junk, sizeof(junk), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (count <= 0)
			continue;
		sent += count;
		quiet = 0;
		assert_true(sent < 64 * 1024 * 1024); /* kernel's buffers, and then it stops */
	}
	assert_int_equal(f.aborts, 0);
	close(fd);
	stop(&f);
	assert_int_equal(f.aborts, 1);
}

static void a_half_closed_client_is_answered(void **state)
{
	struct fixture f;
	char *got;
	int fd;

	(void)state;
	start(&f, &test_limits);
	fd = dial(&f);
	say(fd, GET("/wait") GET("/b"));
	shutdown(fd, SHUT_WR);
	WAIT_UNTIL(&f, f.waiting);
	for (int i = 0; i < 10; i++)
		turn(&f);
	answer(f.waiting, "late.");
	got = hear(&f, fd, NULL);
	assert_non_null(strstr(got, "late."));
	assert_non_null(strstr(got, "/b."));
	WAIT_UNTIL(&f, f.closed == 1);
	close(fd);
	stop(&f);
}

static void a_client_that_vanishes_aborts_its_stream(void **state)
{
	static const struct linger now = { 1, 0 };
	struct fixture f;
	int fd;

	(void)state;
	start(&f, &test_limits);
	fd = dial(&f);
	say(fd, GET("/wait"));
	WAIT_UNTIL(&f, f.waiting);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
	WAIT_UNTIL(&f, f.aborts == 1);
	assert_int_equal(f.abort_err, -ECONNRESET);
	fd = dial(&f);
	say(fd, POST("/echo", "Content-Length: 5\r\n") "12");
	WAIT_UNTIL(&f, f.waiting);
	close(fd);
	WAIT_UNTIL(&f, f.aborts == 2);
	assert_int_equal(f.abort_err, -ECONNRESET);
	WAIT_UNTIL(&f, f.closed == 2);
	stop(&f);
}

static void bodies_that_go_wrong_abort_with_an_answer(void **state)
{
	static const struct {
		const char *request;
		const char *answer;
		int err;
	} rows[] = {
		{ POST("/echo", "Transfer-Encoding: chunked\r\n") "x\r\n", "{\"status\":400,",
		  -EBADMSG },
		{ POST("/echo", "Transfer-Encoding: chunked\r\n") "9\r\n123456789\r\n",
		  "{\"status\":413,", -EMSGSIZE },
		{ POST("/echo", "Content-Length: 5\r\n") "12", "{\"status\":408,", -ETIMEDOUT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_limits limits = test_limits;
		struct fixture f;
		char *got;
		int fd;

		limits.body_ms = 50;
		limits.body_bytes = 8;
		start(&f, &limits);
		fd = dial(&f);
		say(fd, rows[i].request);
		got = hear(&f, fd, NULL);
		if (!strstr(got, rows[i].answer) || f.abort_err != rows[i].err || f.aborts != 1)
			fail_msg("%zu: %d '%s'", i, f.abort_err, got);
		close(fd);
		stop(&f);
	}
}

static void slow_heads_are_408_and_idle_connections_close(void **state)
{
	struct http_limits limits = test_limits;
	struct fixture f;
	int fd;

	(void)state;
	limits.head_ms = 50;
	start(&f, &limits);
	fd = dial(&f);
	say(fd, "GET / HTTP/1.1\r\n");
	assert_non_null(strstr(hear(&f, fd, NULL), "{\"status\":408,"));
	close(fd);
	stop(&f);

	limits.idle_ms = 50;
	limits.head_ms = 60000;
	start(&f, &limits);
	fd = dial(&f);
	assert_string_equal(hear(&f, fd, NULL), "");
	close(fd);
	fd = dial(&f);
	say(fd, GET("/a"));
	assert_non_null(strstr(hear(&f, fd, NULL), "/a."));
	close(fd);
	stop(&f);
}

static void a_client_that_does_not_read_is_given_up(void **state)
{
	static char piece[256 * 1024];
	struct http_limits limits = test_limits;
	struct fixture f;
	int fd;

	(void)state;
	limits.write_ms = 100;
	start(&f, &limits);
	fd = dial(&f);
	say(fd, GET("/wait"));
	WAIT_UNTIL(&f, f.waiting);
	answer_head_only(f.waiting, HTTP_UNKNOWN_LENGTH);
	for (int i = 0; i < 64 && http_stream_queued(f.waiting) < sizeof(piece); i++)
		assert_int_equal(http_stream_write(f.waiting, piece, sizeof(piece)), 0);
	WAIT_UNTIL(&f, f.aborts == 1);
	assert_int_equal(f.abort_err, -ETIMEDOUT);
	close(fd);
	stop(&f);
}

static void a_paused_stream_gets_no_body(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	start(&f, &test_limits);
	fd = dial(&f);
	say(fd, POST("/pause", "Content-Length: 5\r\n") "12345" GET("/b"));
	WAIT_UNTIL(&f, f.waiting);
	for (int i = 0; i < 20; i++)
		turn(&f);
	assert_int_equal(f.body_bytes, 0);
	http_stream_resume(f.waiting);
	assert_int_equal(f.body_bytes, 0); /* not from within */
	assert_non_null(strstr(hear(&f, fd, "/b."), "got 5."));
	close(fd);
	stop(&f);
}

static void a_body_that_was_paused_at_its_end_ends(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	start(&f, &test_limits);
	fd = dial(&f);
	say(fd, POST("/halt", "Content-Length: 5\r\n") "12345");
	WAIT_UNTIL(&f, f.body_bytes == 5);
	for (int i = 0; i < 20; i++)
		turn(&f);
	assert_int_equal(f.bodies, 0);
	http_stream_resume(f.waiting);
	hear(&f, fd, "got 5.");
	close(fd);
	stop(&f);
}

static void an_answer_that_ends_amid_a_large_body_closes(void **state)
{
	struct fixture f;
	char *got;
	int fd;

	(void)state;
	start(&f, &test_limits);
	fd = dial(&f);
	say(fd, POST("/wait", "Content-Length: 999999\r\n") "12345");
	WAIT_UNTIL(&f, f.body_bytes == 5);
	answer_head_only(f.waiting, 2);
	http_stream_write(f.waiting, "ab", 2);
	http_stream_end(f.waiting);
	got = hear(&f, fd, NULL);
	assert_string_equal(got + strlen(got) - 6, "\r\n\r\nab");
	close(fd);
	stop(&f);
}

static void broken_and_short_answers_are_noticed(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	start(&f, &test_limits);
	fd = dial(&f);
	say(fd, GET("/break"));
	assert_non_null(strstr(hear(&f, fd, NULL), "<RESET>"));
	close(fd);
	fd = dial(&f);
	say(fd, GET("/short"));
	assert_non_null(strstr(hear(&f, fd, NULL), "<RESET>"));
	close(fd);
	assert_int_equal(f.aborts, 0);
	stop(&f);
}

static void answers_are_checked(void **state)
{
	struct http_answer bad = { .status = 100 };
	struct http_answer long_piece = { .status = 200, .length = 1, .first_piece = TEXT("ab") };
	struct fixture f;
	int fd;

	(void)state;
	start(&f, &test_limits);
	fd = dial(&f);
	say(fd, GET("/wait"));
	WAIT_UNTIL(&f, f.waiting);
	assert_int_equal(http_stream_answer(f.waiting, &bad), -EINVAL);
	assert_int_equal(http_stream_answer(f.waiting, &long_piece), -EMSGSIZE);
	assert_int_equal(http_stream_write(f.waiting, "a", 1), -EINVAL);
	answer_head_only(f.waiting, 2);
	assert_int_equal(http_stream_inform(f.waiting, 103, TEXT("")), -EINVAL);
	assert_int_equal(http_stream_write(f.waiting, "abc", 3), -EMSGSIZE);
	assert_int_equal(http_stream_write(f.waiting, "ab", 2), 0);
	http_stream_end(f.waiting);
	assert_non_null(strstr(hear(&f, fd, "\r\n\r\nab"), "Content-Length: 2\r\n"));
	close(fd);
	stop(&f);
}

static void a_tunnel_passes_bytes_as_they_are(void **state)
{
	struct fixture f;
	char *got;
	int fd;

	(void)state;
	start(&f, &test_limits);
	fd = dial(&f);
	say(fd,
	    "GET /wait HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly\n");
	WAIT_UNTIL(&f, f.waiting);
	assert_int_equal(http_stream_tunnel(f.waiting, TEXT("Upgrade: x\r\n")), 0);
	got = hear(&f, fd, "early\n");
	assert_string_equal(got, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nearly\n");
	say(fd, "GET / HTTP/1.1\r\n\r\n");
	assert_string_equal(hear(&f, fd, "\r\n\r\n"), "GET / HTTP/1.1\r\n\r\n");
	shutdown(fd, SHUT_WR);
	assert_string_equal(hear(&f, fd, NULL), "");
	assert_int_equal(f.requests, 1);
	close(fd);
	stop(&f);
}

static void note_drained(void *arg)
{
	struct fixture *f = arg;

	f->is_drained = true;
}

static void draining_lets_answers_end(void **state)
{
	struct fixture f;
	int busy, idle;

	(void)state;
	start(&f, &test_limits);
	idle = dial(&f);
	say(idle, GET("/a"));
	hear(&f, idle, "/a.");
	busy = dial(&f);
	say(busy, GET("/wait"));
	WAIT_UNTIL(&f, f.waiting);
	http_server_drain(f.server, note_drained, &f);
	assert_string_equal(hear(&f, idle, NULL), "");
	assert_false(f.is_drained);
	answer(f.waiting, "last.");
	assert_non_null(strstr(hear(&f, busy, NULL), CLOSE "\r\nlast."));
	close(busy);
	WAIT_UNTIL(&f, f.is_drained);
	close(idle);
	stop(&f);
}

static void connections_and_requests_are_counted(void **state)
{
	struct http_limits limits = test_limits;
	struct fixture f;
	int first, second;

	(void)state;
	limits.max_connections = 1;
	limits.max_requests = 2;
	start(&f, &limits);
	first = dial(&f);
	WAIT_UNTIL(&f, http_server_connections(f.server) == 1);
	second = dial(&f);
	assert_string_equal(hear(&f, second, NULL), "<RESET>");
	say(first, GET("/a") GET("/b") GET("/c"));
	assert_null(strstr(hear(&f, first, NULL), "/c."));
	assert_int_equal(f.requests, 2);
	close(first);
	close(second);
	stop(&f);
}

static void closing_the_server_aborts_with_ecanceled(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	start(&f, &test_limits);
	fd = dial(&f);
	say(fd, GET("/wait"));
	WAIT_UNTIL(&f, f.waiting);
	stop(&f);
	assert_int_equal(f.aborts, 1);
	assert_int_equal(f.abort_err, -ECANCELED);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_framed_as_the_request_allows),
		cmocka_unit_test(unknown_lengths_are_chunked_or_close),
		cmocka_unit_test(what_is_no_request_is_refused),
		cmocka_unit_test(a_large_head_is_431_and_the_client_can_read_it),
		cmocka_unit_test(ten_thousand_pipelined_requests_are_answered),
		cmocka_unit_test(pipelined_requests_wait_for_a_slow_answer),
		cmocka_unit_test(pending_bytes_are_bounded),
		cmocka_unit_test(a_half_closed_client_is_answered),
		cmocka_unit_test(a_client_that_vanishes_aborts_its_stream),
		cmocka_unit_test(bodies_that_go_wrong_abort_with_an_answer),
		cmocka_unit_test(slow_heads_are_408_and_idle_connections_close),
		cmocka_unit_test(a_client_that_does_not_read_is_given_up),
		cmocka_unit_test(a_paused_stream_gets_no_body),
		cmocka_unit_test(a_body_that_was_paused_at_its_end_ends),
		cmocka_unit_test(an_answer_that_ends_amid_a_large_body_closes),
		cmocka_unit_test(broken_and_short_answers_are_noticed),
		cmocka_unit_test(answers_are_checked),
		cmocka_unit_test(a_tunnel_passes_bytes_as_they_are),
		cmocka_unit_test(draining_lets_answers_end),
		cmocka_unit_test(connections_and_requests_are_counted),
		cmocka_unit_test(closing_the_server_aborts_with_ecanceled),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
