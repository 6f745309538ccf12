/* SPDX-License-Identifier: BSD-2-Clause */
/* The server: its limits, and what it does when the client is slow, sends too much or leaves. */
#include "unit/http/server_fixture.h"

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
	say(fd, request); /* far more than the server reads of it */
	got = hear(&f, fd, NULL);
	assert_non_null(strstr(got, "{\"status\":431,"));
	assert_null(strstr(got, "<RESET>"));
	assert_int_equal(f.refused, 431);
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
		assert_true(sent < 64 * 1024 * 1024); /* the kernel's buffers, and no more */
	}
	assert_int_equal(f.aborts, 0);
	close(fd);
	stop(&f);
	assert_int_equal(f.aborts, 1);
}

static void a_client_that_leaves_aborts_its_stream(void **state)
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

static void a_client_that_does_not_read_is_disconnected(void **state)
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

static void note_drained(void *arg)
{
	struct fixture *f = arg;

	f->is_drained = true;
}

static void draining_waits_for_answers(void **state)
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

static bool is_welcome(void *arg, const struct sockaddr_storage *peer)
{
	assert_int_equal(peer->ss_family, AF_INET);
	return *(bool *)arg;
}

static void unwelcome_clients_are_reset_on_arrival_and_later(void **state)
{
	bool is_open = true;
	struct fixture f;
	int idle, waiting, late;

	(void)state;
	start(&f, &test_limits);
	http_server_set_door(f.server, is_welcome, &is_open);
	idle = dial(&f);
	waiting = dial(&f);
	say(waiting, GET("/wait"));
	WAIT_UNTIL(&f, f.waiting && http_server_connections(f.server) == 2);
	http_server_close_unwelcome(f.server);
	WAIT_UNTIL(&f, http_server_connections(f.server) == 2);
	is_open = false;
	http_server_close_unwelcome(f.server);
	assert_int_equal(f.aborts, 1);
	assert_string_equal(hear(&f, waiting, NULL), "<RESET>");
	assert_string_equal(hear(&f, idle, NULL), "<RESET>");
	late = dial(&f);
	assert_string_equal(hear(&f, late, NULL), "<RESET>");
	assert_int_equal(f.unwelcome, 1);
	WAIT_UNTIL(&f, http_server_connections(f.server) == 0);
	close(idle);
	close(waiting);
	close(late);
	stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_large_head_is_431_and_the_client_can_read_it),
		cmocka_unit_test(pending_bytes_are_bounded),
		cmocka_unit_test(a_client_that_leaves_aborts_its_stream),
		cmocka_unit_test(bodies_that_go_wrong_abort_with_an_answer),
		cmocka_unit_test(slow_heads_are_408_and_idle_connections_close),
		cmocka_unit_test(a_client_that_does_not_read_is_disconnected),
		cmocka_unit_test(draining_waits_for_answers),
		cmocka_unit_test(connections_and_requests_are_counted),
		cmocka_unit_test(closing_the_server_aborts_with_ecanceled),
		cmocka_unit_test(unwelcome_clients_are_reset_on_arrival_and_later),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
