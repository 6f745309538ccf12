/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The parser: messages, bodies and chunks. Each row is fed in pieces of every size, because the
 * result must not depend on how the bytes are cut.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/h1.h"
#include "http/h1_chunk.h"

#define GET  "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST "POST /p?q HTTP/1.1\r\nHost: a\r\n"

/*
 * What the parser found in a stream of bytes, as text: "{GET /}" for a head, "[body]", "." for the
 * end of a message; and the error that it ended with.
 */
struct story {
	char text[4096];
	size_t len;
	int err;
	bool in_body;
};

static void tell(struct story *story, const char *data, size_t len)
{
	assert_true(story->len + len < sizeof(story->text));
	memcpy(story->text + story->len, data, len);
	story->len += len;
	story->text[story->len] = '\0';
}

static void tell_head(struct story *story, enum h1_side side, const struct http_message *m)
{
	char line[512];
	int len;

	if (side == H1_REQUESTS)
		len = snprintf(line, sizeof(line), "{%.*s %.*s|%.*s|%.*s", TEXT_ARG(m->method),
			       TEXT_ARG(m->target), TEXT_ARG(m->authority), TEXT_ARG(m->path));
	else
		len = snprintf(line, sizeof(line), "{%u", m->status);
	tell(story, line, len);
	http_for_each_header (h, m) {
		len = snprintf(line, sizeof(line), " %.*s=%.*s", TEXT_ARG(h->name),
			       TEXT_ARG(h->value));
		tell(story, line, len);
	}
	tell(story, m->keep_alive ? "+}" : "}", m->keep_alive ? 2 : 1);
	story->in_body = false;
}

/* Feed @bytes, and write down every event until the parser needs more. */
static void hear(struct story *story, struct h1_parser *p, enum h1_side side, const char *bytes,
		 size_t len)
{
	size_t at = 0;

	while (!story->err) {
		struct text piece;
		size_t used;
		int event = h1_parser_feed(p, bytes + at, len - at, &used, &piece);

		at += used;
		if (event < 0) {
			story->err = event;
		} else if (event == H1_NEED_MORE) {
			assert_int_equal(at, len);
			return;
		} else if (event == H1_HEAD) {
			tell_head(story, side, h1_parser_message(p));
		} else if (event == H1_BODY) {
			if (!story->in_body)
				tell(story, "[", 1);
			story->in_body = true;
			tell(story, piece.ptr, piece.len);
		} else {
			tell(story, story->in_body ? "]." : ".", story->in_body ? 2 : 1);
			story->in_body = false;
		}
	}
}

static struct story story_of(enum h1_side side, struct text bytes, size_t step, size_t max_head)
{
	struct h1_parser *p = h1_parser_new(side, max_head);
	struct story story = { 0 };

	assert_non_null(p);
	for (size_t at = 0; at < bytes.len && !story.err; at += step) {
		size_t len = bytes.len - at < step ? bytes.len - at : step;
		/* In memory of its own, so that a sanitizer notices reads past the end. */
		char *copy = malloc(len);

		memcpy(copy, bytes.ptr + at, len);
		hear(&story, p, side, copy, len);
		free(copy);
	}
	if (!story.err) {
		int event = h1_parser_eof(p);

		if (event == H1_END)
			tell(&story, "].", 2);
		else
			story.err = event;
	}
	h1_parser_free(p);
	return story;
}

struct row {
	const char *bytes;
	const char *story;
	int err;
	const char *why;
};

static void check_rows(enum h1_side side, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct text bytes = text_of(rows[i].bytes);

		for (size_t step = 1; step <= bytes.len; step++) {
			struct story got = story_of(side, bytes, step, 1024);

			if (got.err != rows[i].err || strcmp(got.text, rows[i].story))
				fail_msg("%s, by %zu: '%s' %d, not '%s' %d", rows[i].why, step,
					 got.text, got.err, rows[i].story, rows[i].err);
		}
	}
}

#define CHECK_ROWS(side, rows) check_rows(side, rows, sizeof(rows) / sizeof(rows[0]))

static void requests_are_parsed(void **state)
{
	static const struct row rows[] = {
		{ GET "\r\n", "{GET /|a|/ Host=a+}.", 0, "the simplest request" },
		{ GET "A:  b c \t\r\nC:\r\n\r\n", "{GET /|a|/ Host=a A=b c C=+}.", 0,
		  "values are trimmed" },
		{ GET "\r\n" GET "\r\n", "{GET /|a|/ Host=a+}.{GET /|a|/ Host=a+}.", 0,
		  "two requests" },
		{ POST "Content-Length: 3\r\n\r\nabc" GET "\r\n",
		  "{POST /p?q|a|/p Host=a Content-Length=3+}[abc].{GET /|a|/ Host=a+}.", 0,
		  "a body, then another request" },
		{ POST "Content-Length: 0\r\n\r\n", "{POST /p?q|a|/p Host=a Content-Length=0+}.", 0,
		  "an empty body" },
		{ POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		  "{POST /p?q|a|/p Host=a Transfer-Encoding=chunked+}[abc].", 0, "chunks" },
		{ GET "Connection: close\r\n\r\n", "{GET /|a|/ Host=a Connection=close}.", 0,
		  "close" },
		{ GET "Connection: x, CLOSE\r\n\r\n", "{GET /|a|/ Host=a Connection=x, CLOSE}.", 0,
		  "close in a list" },
		{ "GET / HTTP/1.0\r\n\r\n", "{GET /||/}.", 0, "HTTP/1.0 closes" },
		{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
		  "{GET /||/ Connection=Keep-Alive+}.", 0, "HTTP/1.0 with keep-alive" },
		{ "GET http://h:1/x?y HTTP/1.1\r\nHost: h:1\r\n\r\n",
		  "{GET http://h:1/x?y|h:1|/x Host=h:1+}.", 0, "absolute-form" },
		{ "GET https://h HTTP/1.1\r\nHost: h\r\n\r\n", "{GET https://h|h|/ Host=h+}.", 0,
		  "absolute-form without a path" },
		{ "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "{OPTIONS *|a|* Host=a+}.", 0,
		  "asterisk-form" },
		{ GET "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
		  "{GET /|a|/ Host=a Connection=upgrade Upgrade=websocket+}.", 0, "upgrade" },
		{ GET "\r\nGARBAGE\x01\r\n\r\n", "{GET /|a|/ Host=a+}.", -EBADMSG,
		  "a second request is checked, too" },
		{ "GET / HT", "", -EBADMSG, "the stream ends inside a head" },
		{ POST "Content-Length: 3\r\n\r\nab",
		  "{POST /p?q|a|/p Host=a Content-Length=3+}[ab", -EBADMSG,
		  "the stream ends inside a body" },
		{ "\x16\x03\x01", "", -EBADMSG, "TLS is refused at its first byte" },
		{ "GET / HTTP/1.1\r\nHost: a\n", "", -EBADMSG,
		  "a bare LF, before the rest has arrived" },
		{ "\r\n\r\n", "", -EBADMSG, "empty lines come first" },
		{ "FOO / HTTP/1.1\r\nHost: a\r\n\r\n", "", -EBADMSG,
		  "a method that llhttp does not know" },
	};

	(void)state;
	CHECK_ROWS(H1_REQUESTS, rows);
}

static const struct {
	const char *body;
	const char *story; /* NULL: -EBADMSG */
	const char *why;
} chunk_rows[] = {
	{ "0\r\n\r\n", ".", "an empty body" },
	{ "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "[abcde].", "two chunks" },
	{ "0000000000000003\r\nabc\r\n000\r\n\r\n", "[abc].", "leading zeros" },
	{ "a\r\n0123456789\r\n0\r\n\r\n", "[0123456789].", "lower case" },
	{ "A\r\n0123456789\r\n0\r\n\r\n", "[0123456789].", "upper case" },
	{ "1;a\r\nx\r\n0\r\n\r\n", "[x].", "extension" },
	{ "1;a;c=d\r\nx\r\n0;z\r\n\r\n", "[x].", "extensions with values" },
	{ "0\r\nA: b\r\nC:\r\n\r\n", ".", "trailer fields are dropped" },
	{ "3\nabc\r\n0\r\n\r\n", NULL, "bare LF after the size" },
	{ "3\r\nabc\n0\r\n\r\n", NULL, "bare LF after the data" },
	{ "3\rabc\r\n0\r\n\r\n", NULL, "bare CR" },
	{ "3\r\nabcd\r\n0\r\n\r\n", NULL, "data longer than the size" },
	{ "\r\n", NULL, "no size" },
	{ "x\r\n", NULL, "a size that is not hexadecimal" },
	{ "0x3\r\nabc\r\n0\r\n\r\n", NULL, "0x" },
	{ "-1\r\n", NULL, "minus sign" },
	{ "+1\r\nx\r\n0\r\n\r\n", NULL, "plus sign" },
	{ " 1\r\nx\r\n0\r\n\r\n", NULL, "space before the size" },
	{ "1 \r\nx\r\n0\r\n\r\n", NULL, "space after the size" },
	{ "1 ;a\r\nx\r\n0\r\n\r\n", NULL, "space before an extension" },
	{ "1; a\r\nx\r\n0\r\n\r\n", NULL, "space in an extension" },
	{ "1;a =b\r\nx\r\n0\r\n\r\n", NULL, "space before =" },
	{ "1;\r\nx\r\n0\r\n\r\n", NULL, "extension without a name" },
	{ "1;a=\r\nx\r\n0\r\n\r\n", NULL, "extension without a value" },
	{ "1;a\nb\r\nx\r\n0\r\n\r\n", NULL, "bare LF in an extension" },
	{ "1;a=\"b\nc\"\r\nx\r\n0\r\n\r\n", NULL, "bare LF in a quoted string" },
	{ "1;a=\"b\"c\r\nx\r\n0\r\n\r\n", NULL, "byte after a quoted string" },
	{ "ffffffffffffffff\r\n", NULL, "a size above INT64_MAX" },
	{ "10000000000000000\r\n", NULL, "17 digits" },
	{ "0\r\nA : b\r\n\r\n", NULL, "trailer: space before the colon" },
	{ "0\r\n A: b\r\n\r\n", NULL, "trailer: space first" },
	{ "0\r\nA: b\n\r\n", NULL, "trailer: bare LF" },
	{ "0\r\nA\r\n\r\n", NULL, "trailer: no colon" },
	{ "0\r\nA: \x01\r\n\r\n", NULL, "trailer: control byte" },
	{ "0\r\nContent-Length: 5\r\n\r\n", ".", "trailer: a Content-Length has no effect" },
	{ "0\r\n\n", NULL, "bare LF at the end" },
};

static void chunks_are_exactly_the_grammar(void **state)
{
	static const char head[] = POST "Transfer-Encoding: chunked\r\n\r\n";
	static const char told[] = "{POST /p?q|a|/p Host=a Transfer-Encoding=chunked+}";

	(void)state;
	for (size_t i = 0; i < sizeof(chunk_rows) / sizeof(chunk_rows[0]); i++) {
		char bytes[512], expected[512];

		snprintf(bytes, sizeof(bytes), "%s%s", head, chunk_rows[i].body);
		snprintf(expected, sizeof(expected), "%s%s", told,
			 chunk_rows[i].story ? chunk_rows[i].story : "");
		for (size_t step = 1; step <= strlen(bytes); step++) {
			struct story got = story_of(H1_REQUESTS, text_of(bytes), step, 1024);

			if (chunk_rows[i].story ? got.err || strcmp(got.text, expected)
						: got.err != -EBADMSG)
				fail_msg("%s, by %zu: '%s' %d", chunk_rows[i].why, step, got.text,
					 got.err);
		}
	}
}

static int feed_chunks(const char *begin, const char *again, size_t count, const char *end)
{
	struct h1_chunk c = { 0 };
	const char *rule = NULL;
	struct text piece;
	size_t used;
	int event = h1_chunk_feed(&c, text_of(begin), &used, &piece, &rule);

	while (event == H1_NEED_MORE && count--)
		event = h1_chunk_feed(&c, text_of(again), &used, &piece, &rule);
	if (event == H1_NEED_MORE)
		event = h1_chunk_feed(&c, text_of(end), &used, &piece, &rule);
	return event;
}

static void extensions_and_trailers_are_bounded(void **state)
{
	(void)state;
	assert_int_equal(feed_chunks("0;", "a", 250, "\r\n\r\n"), H1_END);
	assert_int_equal(feed_chunks("0;", "a", 300, "\r\n\r\n"), -EBADMSG);
	/* Not through the parser: llhttp 8 refuses some of this. */
	assert_int_equal(feed_chunks("0;c=\"", "d \\\" e", 2, "\";f\r\n\r\n"), H1_END);
	assert_int_equal(feed_chunks("7fffffffffffffff", "", 0, "\r\n"), H1_NEED_MORE);
	assert_int_equal(feed_chunks("8000000000000000", "", 0, "\r\n"), -EBADMSG);
	assert_int_equal(feed_chunks("0\r\n", "A: b\r\n", 1000, "\r\n"), H1_END);
	assert_int_equal(feed_chunks("0\r\n", "A: b\r\n", 2000, "\r\n"), -EBADMSG);
}

static void responses_are_parsed(void **state)
{
	static const struct row rows[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", "{200 Content-Length=2+}[ab].",
		  0, "a length" },
		{ "HTTP/1.1 200 OK\r\n\r\nab", "{200}[ab].", 0, "until close" },
		{ "HTTP/1.1 200 \r\n\r\n", "{200}].", 0, "until close, and empty" },
		{ "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
		  "{200 Connection=keep-alive Content-Length=0+}.", 0, "HTTP/1.0 with keep-alive" },
		{ "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 \r\nContent-Length: 9\r\n\r\n",
		  "{204+}.{304 Content-Length=9+}.", 0, "204 and 304 have no body" },
		{ "HTTP/1.1 100 \r\n\r\nHTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nx",
		  "{100+}.{200 Content-Length=1+}[x].", 0, "an interim response first" },
		{ "HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
		  "{101 Connection=upgrade Upgrade=x+}.", 0, "switching protocols" },
		{ "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
		  "{200 Transfer-Encoding=chunked+}[x].", 0, "chunks" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", "{200 Content-Length=2+}[a",
		  -EBADMSG, "the stream ends inside the body" },
		{ "HTTP/1.1 200 \r\nTransfer-Encoding: gzip\r\n\r\n", "", -EBADMSG,
		  "a coding other than chunked" },
	};

	(void)state;
	CHECK_ROWS(H1_RESPONSES, rows);
}

static void an_answer_to_head_has_no_body(void **state)
{
	static const char bytes[] = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
	struct h1_parser *p = h1_parser_new(H1_RESPONSES, 1024);
	struct story story = { 0 };

	(void)state;
	h1_parser_expect(p, TEXT("HEAD"));
	hear(&story, p, H1_RESPONSES, bytes, sizeof(bytes) - 1);
	assert_string_equal(story.text, "{200 Content-Length=9+}.");
	assert_int_equal(h1_parser_message(p)->content_length, 9);
	assert_true(h1_parser_message(p)->is_head);
	assert_true(h1_parser_is_idle(p));
	h1_parser_free(p);
}

static void a_head_is_bounded(void **state)
{
	char bytes[200];
	struct story at_most, more;

	(void)state;
	memset(bytes, 'a', sizeof(bytes));
	memcpy(bytes, GET "A: ", strlen(GET "A: "));
	memcpy(bytes + 96, "\r\n\r\n", 4);
	for (size_t step = 1; step <= 100; step++) {
		at_most = story_of(H1_REQUESTS, (struct text){ bytes, 100 }, step, 100);
		more = story_of(H1_REQUESTS, (struct text){ bytes, 100 }, step, 99);
		assert_int_equal(at_most.err, 0);
		assert_int_equal(more.err, -EMSGSIZE);
	}
}

static void a_bare_lf_is_refused_before_the_rest_arrives(void **state)
{
	static const char bytes[] = "GET / HTTP/1.1\r\nHost: a\n";

	(void)state;
	for (size_t step = 1; step < sizeof(bytes); step++) {
		struct h1_parser *p = h1_parser_new(H1_REQUESTS, 1024);
		struct story story = { 0 };

		for (size_t at = 0; at < sizeof(bytes) - 1; at += step)
			hear(&story, p, H1_REQUESTS, bytes + at,
			     sizeof(bytes) - 1 - at < step ? sizeof(bytes) - 1 - at : step);
		assert_int_equal(story.err, -EBADMSG);
		h1_parser_free(p);
	}
}

static void fields_that_tollgate_reads_are_marked(void **state)
{
	static const char bytes[] =
		"HEAD / HTTP/1.1\r\nhost: a\r\nx-api-key: k\r\n"
		"Expect: 100-Continue\r\nContent-Length: 7\r\nX-Api-Key: l\r\n\r\n";
	struct h1_parser *p = h1_parser_new(H1_REQUESTS, 1024);
	const struct http_message *m;
	struct text piece;
	size_t used;

	(void)state;
	assert_int_equal(h1_parser_feed(p, bytes, sizeof(bytes) - 1, &used, &piece), H1_HEAD);
	m = h1_parser_message(p);
	assert_true(m->is_head && m->expects_continue && !m->expects_unknown);
	assert_int_equal(m->body, HTTP_BODY_LENGTH);
	assert_int_equal(m->content_length, 7);
	assert_int_equal(http_count(m, HTTP_X_API_KEY), 2);
	assert_true(text_is(http_find(m, HTTP_X_API_KEY)->value, "k"));
	assert_null(http_find(m, HTTP_AUTHORIZATION));
	assert_false(h1_parser_is_idle(p));
	h1_parser_free(p);
}

static void every_name_is_found_in_any_case(void **state)
{
	(void)state;
	for (unsigned id = 1; id < HTTP_NAME_COUNT; id++) {
		const char *name = http_name_spelling(id);
		char upper[64];
		size_t len = strlen(name);

		for (size_t i = 0; i <= len; i++)
			upper[i] = name[i] >= 'a' && name[i] <= 'z' ? name[i] - 32 : name[i];
		if (http_name_find(text_of(name)) != id || http_name_find(text_of(upper)) != id)
			fail_msg("%s was not found", name);
		upper[len - 1] = '!';
		assert_int_equal(http_name_find(text_of(upper)), HTTP_OTHER);
	}
	assert_int_equal(http_name_find(TEXT("")), HTTP_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_parsed),
		cmocka_unit_test(chunks_are_exactly_the_grammar),
		cmocka_unit_test(extensions_and_trailers_are_bounded),
		cmocka_unit_test(responses_are_parsed),
		cmocka_unit_test(an_answer_to_head_has_no_body),
		cmocka_unit_test(a_head_is_bounded),
		cmocka_unit_test(a_bare_lf_is_refused_before_the_rest_arrives),
		cmocka_unit_test(fields_that_tollgate_reads_are_marked),
		cmocka_unit_test(every_name_is_found_in_any_case),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
