/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Handoffs: whole requests to another loop and back, over real sockets. Both ends are on the same
 * loop here.
 */
#include "unit/http/server_fixture.h"

#include "http/handoff.h"

static struct handoff_responder *responder;
static struct handoff_sender *sender;
static struct handoff *held; /* a request to /held, which the test answers */
static char seen[512];
static unsigned handoffs;

static void on_handoff(void *arg, struct handoff *e)
{
	struct text value = TEXT("-");

	(void)arg;
	handoffs++;
	if (text_is(e->path, "/held")) {
		held = e;
		return;
	}
	handoff_field(e, "x-mark", &value);
	snprintf(seen, sizeof(seen), "%.*s %.*s ?%.*s @%.*s [%.*s] marks=%u %.*s",
		 TEXT_ARG(e->method), TEXT_ARG(e->path), TEXT_ARG(e->query), TEXT_ARG(e->authority),
		 TEXT_ARG(e->body), handoff_field_count(e, "X-Mark"), TEXT_ARG(value));
	handoff_answer(e, 200, TEXT("X-From: responder\r\n"), text_of(seen));
}

static void on_own_request(struct http_stream *s)
{
	handoff_take(sender, s, 16);
}

static const struct http_handler own_handler = { .on_request = on_own_request };

static void open_both(struct fixture *f, unsigned max_handoffs)
{
	handoffs = 0;
	held = NULL;
	start(f, &test_limits);
	http_server_free(f->server);
	f->server = http_server_new(&f->loop, &own_handler, f, &test_limits);
	responder = handoff_responder_new(&f->loop, max_handoffs, on_handoff, NULL);
	sender = handoff_sender_new(&f->loop, responder);
	assert_non_null(sender);
}

static void close_both(struct fixture *f)
{
	http_server_close(f->server);
	handoff_sender_close(sender);
	handoff_responder_close(responder);
	stop(f);
}

static void the_responder_gets_the_whole_request_and_the_client_its_answer(void **state)
{
	static const struct {
		const char *request, *answer, *why;
	} rows[] = {
		{ "GET /p?a=1&b HTTP/1.1\r\nHost: h\r\nX-Mark: yes\r\n" CLOSE "\r\n",
		  "GET /p ?a=1&b @h [] marks=1 yes", "a query and a field" },
		{ "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n" CLOSE "\r\nabc",
		  "POST /p ? @h [abc] marks=0 -", "a body" },
		{ "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n" CLOSE "\r\n",
		  "POST /p ? @h [] marks=0 -", "an empty body" },
		{ "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n" CLOSE
		  "\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
		  "POST /p ? @h [abc] marks=0 -", "chunks" },
		{ "GET /p? HTTP/1.1\r\nHost: h\r\nX-Mark: a\r\nx-mark: b\r\n" CLOSE "\r\n",
		  "GET /p ? @h [] marks=2 -", "a field that comes twice has no value" },
		{ "GET /p HTTP/1.1\r\nHost: h\r\nX-Marked: a\r\n" CLOSE "\r\n",
		  "GET /p ? @h [] marks=0 -", "a longer name is another field" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture f;
		char *got, *body;
		int fd;

		open_both(&f, 10);
		fd = dial(&f);
		say(fd, rows[i].request);
		got = hear(&f, fd, NULL);
		body = strstr(got, "\r\n\r\n");
		if (!body || strcmp(body + 4, rows[i].answer) ||
		    !strstr(got, "X-From: responder\r\n") || !strstr(got, "Date: "))
			fail_msg("%s: '%s'", rows[i].why, got);
		close(fd);
		close_both(&f);
	}
}

static void what_the_responder_cannot_take_is_refused(void **state)
{
	static const struct {
		const char *request, *status, *why;
		unsigned max_handoffs;
	} rows[] = {
		{ "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 17\r\n" CLOSE
		  "\r\n12345678901234567",
		  "HTTP/1.1 413 ", "a body that is announced as too large", 10 },
		{ "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n" CLOSE
		  "\r\n11\r\n12345678901234567\r\n0\r\n\r\n",
		  "HTTP/1.1 413 ", "a chunked body that becomes too large", 10 },
		{ "GET /p HTTP/1.1\r\nHost: h\r\n" CLOSE "\r\n", "HTTP/1.1 503 ",
		  "too many handoffs under way", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture f;
		char *got;
		int fd;

		open_both(&f, rows[i].max_handoffs);
		fd = dial(&f);
		say(fd, rows[i].request);
		got = hear(&f, fd, NULL);
		if (strncmp(got, rows[i].status, strlen(rows[i].status)) || handoffs)
			fail_msg("%s: %u handoffs, '%s'", rows[i].why, handoffs, got);
		close(fd);
		close_both(&f);
	}
}

static void an_answer_to_a_client_that_is_gone_is_dropped(void **state)
{
	static const bool is_sender_closed_first[] = { false, true };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct fixture f;
		int fd;

		open_both(&f, 10);
		fd = dial(&f);
		say(fd, "GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
		while (!held)
			uv_run(&f.loop, UV_RUN_ONCE);
		close(fd);
		http_server_close(f.server);
		if (is_sender_closed_first[i])
			handoff_sender_close(sender);
		handoff_answer(held, 200, TEXT(""), TEXT("late"));
		uv_run(&f.loop, UV_RUN_NOWAIT);
		if (!is_sender_closed_first[i])
			handoff_sender_close(sender);
		handoff_responder_close(responder);
		stop(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_responder_gets_the_whole_request_and_the_client_its_answer),
		cmocka_unit_test(what_the_responder_cannot_take_is_refused),
		cmocka_unit_test(an_answer_to_a_client_that_is_gone_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
