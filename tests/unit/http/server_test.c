/* SPDX-License-Identifier: BSD-2-Clause */
/* The server: framing of answers, their order, and how streams end. */
#include "unit/http/server_fixture.h"

struct row {
	const char *request; /* the last one of these closes the connection */
	const char *answer;
	unsigned requests;
	const char *why;
};

static void answers_are_framed_as_the_request_allows(void **state)
{
	static const struct row rows[] = {
		{ "GET /a HTTP/1.1\r\nHost: a\r\n" CLOSE "\r\n",
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" CLOSE "\r\n/a.", 1,
		  "a simple request" },
		{ GET("/a") GET("/b") "GET /c HTTP/1.1\r\nHost: a\r\n" CLOSE "\r\n",
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n/a."
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n/b."
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" CLOSE "\r\n/c.",
		  3, "pipelined requests, answered in order" },
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
		  2, "HTTP/1.0 with keep-alive" },
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
		  "a large unwanted body closes the connection" },
		{ POST("/a", "Expect: 100-continue\r\nContent-Length: 5\r\n"),
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" CLOSE "\r\n/a.", 1,
		  "without 100 Continue, it is unknown whether the body follows" },
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

static void what_is_not_a_valid_request_is_refused(void **state)
{
	static const struct {
		const char *request, *answer;
		unsigned status;
		const char *why;
	} rows[] = {
		{ "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
		  "{\"status\":400,\"detail\":\"Bad request\"}", 400, "an invalid head" },
		{ "GET / HTTP/3.0\r\nHost: a\r\n\r\n",
		  "{\"status\":400,\"detail\":\"Bad request\"}", 400, "another version" },
		{ GET("/a") "BAD\r\n\r\n", "{\"status\":400,\"detail\":\"Bad request\"}", 400,
		  "an invalid head after a valid request" },
		{ POST("/a", "Content-Length: 1048577\r\n"),
		  "{\"status\":413,\"detail\":\"Request body too large\"}", 413,
		  "a body that is too large" },
		{ POST("/a", "Expect: coffee\r\n"),
		  "{\"status\":417,\"detail\":\"Expectation failed\"}", 417,
		  "an unknown expectation" },
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

static void ten_thousand_pipelined_requests_are_answered(void **state)
{
	enum { COUNT = 10000 };
	static const char one[] = GET("/");
	char *all = malloc(COUNT * (sizeof(one) - 1));
	size_t len = COUNT * (sizeof(one) - 1), at = 0;
	unsigned points = 0; /* two in each answer: in "HTTP/1.1" and in "/." */
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

static void an_answer_that_ends_amid_a_large_body_closes_the_connection(void **state)
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_framed_as_the_request_allows),
		cmocka_unit_test(unknown_lengths_are_chunked_or_close),
		cmocka_unit_test(what_is_not_a_valid_request_is_refused),
		cmocka_unit_test(ten_thousand_pipelined_requests_are_answered),
		cmocka_unit_test(pipelined_requests_wait_for_a_slow_answer),
		cmocka_unit_test(a_half_closed_client_is_answered),
		cmocka_unit_test(a_paused_stream_gets_no_body),
		cmocka_unit_test(a_body_that_was_paused_at_its_end_ends),
		cmocka_unit_test(an_answer_that_ends_amid_a_large_body_closes_the_connection),
		cmocka_unit_test(broken_and_short_answers_are_noticed),
		cmocka_unit_test(answers_are_checked),
		cmocka_unit_test(a_tunnel_passes_bytes_as_they_are),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
