/* SPDX-License-Identifier: BSD-2-Clause */
/* The strict check of heads, and the character table that it uses. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/h1.h"
#include "http/h1_chars.h"

struct row {
	const char *head; /* ended by NUL; a NUL inside a head has a test of its own */
	int err;
	const char *why;
};

#define OK  0
#define NO  (-EBADMSG)
#define GET "GET / HTTP/1.1\r\nHost: a\r\n"

static void check_rows(enum h1_side side, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *rule = NULL;
		int err = h1_check_head(side, text_of(rows[i].head), &rule);

		if (err != rows[i].err)
			fail_msg("%s: %d (%s), not %d", rows[i].why, err, rule ? rule : "accepted",
				 rows[i].err);
		if (err && !rule)
			fail_msg("%s: no rule was named", rows[i].why);
	}
}

#define CHECK_ROWS(side, rows) check_rows(side, rows, sizeof(rows) / sizeof(rows[0]))

static void request_lines_are_exactly_the_grammar(void **state)
{
	static const struct row rows[] = {
		{ "GET / HTTP/1.1\r\nHost: a\r\n\r\n", OK, "the simplest request" },
		{ "GET / HTTP/1.0\r\n\r\n", OK, "HTTP/1.0 needs no Host" },
		{ "GET / HTTP/1.1\r\n\r\n", NO, "HTTP/1.1 needs Host" },
		{ "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", NO, "an empty line comes first" },
		{ " GET / HTTP/1.1\r\nHost: a\r\n\r\n", NO, "a space comes first" },
		{ "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", NO, "two spaces" },
		{ "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", NO, "two spaces after the target" },
		{ "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", NO, "a space at the end" },
		{ "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", NO, "a tab instead of a space" },
		{ "GET /\r\n\r\n", NO, "HTTP/0.9" },
		{ "GET / HTTP/1.1\nHost: a\r\n\r\n", NO, "bare LF" },
		{ "GET / HTTP/1.1\rHost: a\r\n\r\n", NO, "bare CR" },
		{ "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", NO, "CR twice" },
		{ "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", NO, "the method is not a token" },
		{ "M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", OK, "a token with a dash" },
		{ "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", NO, "CONNECT is not supported" },
		{ "GET / http/1.1\r\nHost: a\r\n\r\n", NO, "the version is not in upper case" },
		{ "GET / HTTP/1.01\r\nHost: a\r\n\r\n", NO, "the minor version has two digits" },
		{ "GET / HTTP/11\r\nHost: a\r\n\r\n", NO, "the version has no dot" },
		{ "GET / HTTP/1.2\r\nHost: a\r\n\r\n", -EPROTONOSUPPORT,
		  "an unknown minor version" },
		{ "GET / HTTP/2.0\r\nHost: a\r\n\r\n", -EPROTONOSUPPORT, "HTTP/2 as text" },
		{ "GET / HTTP/0.9\r\nHost: a\r\n\r\n", -EPROTONOSUPPORT,
		  "HTTP/0.9 with a version" },
		{ "", NO, "an empty head" },
		{ "GET / HTTP/1.1\r\nHost: a\r\n", NO, "no empty line" },
		{ "GET / HTTP/1.1\r\nHost: a\r\n\r\nx", NO, "bytes after the head" },
	};

	(void)state;
	CHECK_ROWS(H1_REQUESTS, rows);
}

static void targets_are_of_a_known_form(void **state)
{
	static const struct row rows[] = {
		{ "GET /a/b?c=d HTTP/1.1\r\nHost: a\r\n\r\n", OK, "path and query" },
		{ "GET /?a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", OK, "a query may contain / and ?" },
		{ "GET /%41%fF HTTP/1.1\r\nHost: a\r\n\r\n", OK, "valid escapes" },
		{ "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", NO, "half an escape" },
		{ "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", NO, "an escape that is not hexadecimal" },
		{ "GET /?%q0 HTTP/1.1\r\nHost: a\r\n\r\n", NO,
		  "an escape in a query that is not hexadecimal" },
		{ "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", NO, "fragment" },
		{ "GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", NO, "backslash" },
		{ "GET /a|b HTTP/1.1\r\nHost: a\r\n\r\n", NO, "a byte that is not a pchar" },
		{ "GET /\"a\" HTTP/1.1\r\nHost: a\r\n\r\n", NO, "quotes" },
		{ "GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", NO, "an unescaped byte above 0x7f" },
		{ "GET a HTTP/1.1\r\nHost: a\r\n\r\n", NO, "relative" },
		{ "GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", NO, "a query without a path" },
		{ "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", OK, "the server as a whole" },
		{ "GET * HTTP/1.1\r\nHost: a\r\n\r\n", NO, "* is for OPTIONS only" },
		{ "OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n", NO, "bytes after *" },
		{ "GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", OK, "absolute" },
		{ "GET HTTPS://A HTTP/1.1\r\nHost: a\r\n\r\n", OK,
		  "scheme and host in upper case" },
		{ "GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n", NO, "a query needs a path" },
		{ "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", NO, "Host differs from the target" },
		{ "GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", NO,
		  "Host is compared byte by byte" },
		{ "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", NO, "userinfo" },
		{ "GET http:///b HTTP/1.1\r\nHost: a\r\n\r\n", NO, "no authority" },
		{ "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", NO, "other scheme" },
		{ "GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", NO, "one slash after the scheme" },
		{ "GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", NO, "authority-form" },
	};

	(void)state;
	CHECK_ROWS(H1_REQUESTS, rows);
}

static void hosts_are_exactly_the_grammar(void **state)
{
	static const struct {
		const char *host;
		int err;
	} rows[] = {
		{ "a", OK },
		{ "a.example.com:8080", OK },
		{ "127.0.0.1:1", OK },
		{ "[::1]", OK },
		{ "[::1]:65535", OK },
		{ "[2001:db8::1.2.3.4]", OK },
		{ "a:", OK },
		{ "%41b", OK },
		{ "a_b~c", OK },
		{ "", NO },
		{ ":80", NO },
		{ "a:65536", NO },
		{ "a:x", NO },
		{ "a:1:2", NO },
		{ "a b", NO },
		{ "a/b", NO },
		{ "u@a", NO },
		{ "[::1", NO },
		{ "[]", NO },
		{ "[1.2.3.4]", NO },
		{ "[::1%25eth0]", NO },
		{ "[v1.x]", NO },
		{ "[::1]x", NO },
		{ "::1", NO },
		{ "a\\b", NO },
		{ "%4", NO },
		{ "a\tb", NO },
		{ "\xc3\xa4", NO },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *rule = NULL;
		char head[128];
		int err;

		snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", rows[i].host);
		err = h1_check_head(H1_REQUESTS, text_of(head), &rule);
		if (err != rows[i].err)
			fail_msg("Host %s: %d, not %d", rows[i].host, err, rows[i].err);
	}
}

static void fields_are_exactly_the_grammar(void **state)
{
	static const struct row rows[] = {
		{ GET "A:b\r\n\r\n", OK, "no space after the colon" },
		{ GET "A: \t b \t\r\n\r\n", OK, "white space around the value" },
		{ GET "A:\r\n\r\n", OK, "empty value" },
		{ GET "A: b\tc\r\n\r\n", OK, "a tab in the value" },
		{ GET "A: \x80\xff\r\n\r\n", OK, "obs-text" },
		{ GET "!#$%&'*+-.^_`|~09aZ: b\r\n\r\n", OK, "every tchar" },
		{ GET "A : b\r\n\r\n", NO, "a space before the colon" },
		{ GET "A\t: b\r\n\r\n", NO, "a tab before the colon" },
		{ GET "A b: c\r\n\r\n", NO, "a space in a name" },
		{ GET "A(: c\r\n\r\n", NO, "a byte in a name that is not a tchar" },
		{ GET "\xe4: c\r\n\r\n", NO, "obs-text in a name" },
		{ GET ": b\r\n\r\n", NO, "no name" },
		{ GET "A\r\n\r\n", NO, "no colon" },
		{ GET "A: b\r\n c\r\n\r\n", NO, "folded" },
		{ GET "A: b\r\n\tc\r\n\r\n", NO, "folded by a tab" },
		{ "GET / HTTP/1.1\r\n Host: a\r\n\r\n", NO, "a space before the first field" },
		{ GET "A: b\rc\r\n\r\n", NO, "bare CR" },
		{ GET "A: b\nC: d\r\n\r\n", NO, "bare LF" },
		{ GET "A: b\r\r\n\r\n", NO, "CR twice" },
		{ GET "A: b\x01\r\n\r\n", NO, "control byte" },
		{ GET "A: b\x7f\r\n\r\n", NO, "DEL" },
		{ GET "A: b\r\n\n", NO, "a bare LF ends the head" },
		{ GET "Host: a\r\n\r\n", NO, "Host twice with the same value" },
		{ GET "hOST: b\r\n\r\n", NO, "Host twice in another case" },
		{ GET "Connection: close, keep-alive\r\n\r\n", OK, "a list of tokens" },
		{ GET "Connection:\r\n\r\n", OK, "an empty list" },
		{ GET "Connection: a b\r\n\r\n", NO, "not a list of tokens" },
		{ GET "Connection: a,,b\r\n\r\n", NO, "empty element" },
		{ GET "Connection: a,\r\n\r\n", NO, "empty element at the end" },
		{ GET "Connection: \"a\"\r\n\r\n", NO, "quoted" },
	};
	static const char nul[] = GET "A: b\0c\r\n\r\n";
	const char *rule = NULL;

	(void)state;
	CHECK_ROWS(H1_REQUESTS, rows);
	assert_int_equal(h1_check_head(H1_REQUESTS, (struct text){ nul, sizeof(nul) - 1 }, &rule),
			 NO);
}

static void a_body_has_one_length_only(void **state)
{
	static const struct row rows[] = {
		{ GET "Content-Length: 5\r\n\r\n", OK, "a length" },
		{ GET "Content-Length: 0\r\n\r\n", OK, "a length of 0" },
		{ GET "Content-Length: 9223372036854775807\r\n\r\n", OK, "the largest length" },
		{ GET "Content-Length: 9223372036854775808\r\n\r\n", NO,
		  "one more than the largest" },
		{ GET "Content-Length: 18446744073709551616\r\n\r\n", NO, "overflow" },
		{ GET "Content-Length: -1\r\n\r\n", NO, "a minus sign" },
		{ GET "Content-Length: +1\r\n\r\n", NO, "a plus sign" },
		{ GET "Content-Length: 0x5\r\n\r\n", NO, "hexadecimal" },
		{ GET "Content-Length: 5 5\r\n\r\n", NO, "two numbers" },
		{ GET "Content-Length: 5, 5\r\n\r\n", NO, "list" },
		{ GET "Content-Length:\r\n\r\n", NO, "empty" },
		{ GET "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", NO,
		  "twice with the same value" },
		{ GET "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", NO, "twice" },
		{ GET "Content-Length : 5\r\n\r\n", NO, "a space before the colon" },
		{ GET "Transfer-Encoding: chunked\r\n\r\n", OK, "chunked" },
		{ GET "Transfer-Encoding: CHUNKED\r\n\r\n", OK, "in any case" },
		{ GET "Transfer-Encoding: gzip, chunked\r\n\r\n", NO, "other coding" },
		{ GET "Transfer-Encoding: chunked, chunked\r\n\r\n", NO, "chunked twice" },
		{ GET "Transfer-Encoding: identity\r\n\r\n", NO,
		  "a coding that RFC 9112 has removed" },
		{ GET "Transfer-Encoding: chunked;a=b\r\n\r\n", NO, "parameter" },
		{ GET "Transfer-Encoding: xchunked\r\n\r\n", NO,
		  "a coding whose name ends in chunked" },
		{ GET "Transfer-Encoding: \"chunked\"\r\n\r\n", NO, "quoted" },
		{ GET "Transfer-Encoding:\r\n\r\n", NO, "empty" },
		{ GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", NO,
		  "field twice" },
		{ GET "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", NO, "both" },
		{ GET "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", NO, "both" },
		{ "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", NO, "HTTP/1.0" },
	};

	(void)state;
	CHECK_ROWS(H1_REQUESTS, rows);
}

static void status_lines_are_exactly_the_grammar(void **state)
{
	static const struct row rows[] = {
		{ "HTTP/1.1 200 OK\r\n\r\n", OK, "the simplest response" },
		{ "HTTP/1.0 200 OK\r\n\r\n", OK, "HTTP/1.0" },
		{ "HTTP/1.1 599 \r\n\r\n", OK, "no reason phrase, but the space before it" },
		{ "HTTP/1.1 200\r\n\r\n", NO, "no space after the code" },
		{ "HTTP/1.1 200 a b\x80\r\n\r\n", OK, "spaces and obs-text in the reason phrase" },
		{ "HTTP/1.1 200 a\x01\r\n\r\n", NO, "control byte" },
		{ "HTTP/1.1  200 OK\r\n\r\n", NO, "two spaces" },
		{ "HTTP/1.1 20 OK\r\n\r\n", NO, "two digits" },
		{ "HTTP/1.1 2000 OK\r\n\r\n", NO, "four digits" },
		{ "HTTP/1.1 2x0 OK\r\n\r\n", NO, "a code that is not a number" },
		{ "HTTP/1.1 099 OK\r\n\r\n", NO, "below 100" },
		{ "HTTP/1.1 600 OK\r\n\r\n", NO, "above 599" },
		{ "HTTP/1.2 200 OK\r\n\r\n", -EPROTONOSUPPORT, "an unknown minor version" },
		{ "ICY 200 OK\r\n\r\n", NO, "another protocol" },
		{ "HTTP/1.1 200 OK\n\r\n", NO, "bare LF" },
		{ "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", NO, "folded" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", NO,
		  "length twice" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", NO,
		  "both" },
	};

	(void)state;
	CHECK_ROWS(H1_RESPONSES, rows);
}

static void a_hundred_fields_are_enough(void **state)
{
	char head[2048] = "GET / HTTP/1.1\r\nHost: a\r\n";
	const char *rule = NULL;

	(void)state;
	for (int i = 1; i < HTTP_MAX_HEADERS; i++)
		strcat(head, "A: b\r\n");
	strcat(head, "\r\n");
	assert_int_equal(h1_check_head(H1_REQUESTS, text_of(head), &rule), 0);
	strcpy(head + strlen(head) - 2, "A: b\r\n\r\n");
	assert_int_equal(h1_check_head(H1_REQUESTS, text_of(head), &rule), -EMSGSIZE);
}

/* Compares the table with the grammars, as the RFCs spell them. */
static void the_character_table_is_right(void **state)
{
	static const char alnum[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

	(void)state;
	for (unsigned i = 0; i < 256; i++) {
		char c = (char)i;
#define IN(set) (c && strchr(set, c) != NULL)
		bool unreserved = IN(alnum) || IN("-._~");
		bool sub = IN("!$&'()*+,;=");
		bool text = i >= 0x20 && i != 0x7f;

		if (h1_is(c, H1_TOKEN) != (IN(alnum) || IN("!#$%&'*+-.^_`|~")) ||
		    h1_is(c, H1_VALUE) != (text || c == '\t') ||
		    h1_is(c, H1_PATH) != (unreserved || sub || IN(":@/")) ||
		    h1_is(c, H1_QUERY) != (unreserved || sub || IN(":@/?")) ||
		    h1_is(c, H1_REG_NAME) != (unreserved || sub) ||
		    h1_is(c, H1_HEX) != IN("0123456789abcdefABCDEF") ||
		    h1_is(c, H1_DIGIT) != IN("0123456789") ||
		    h1_is(c, H1_QDTEXT) != ((text || c == '\t') && c != '"' && c != '\\'))
			fail_msg("byte %02x is in the wrong classes", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_lines_are_exactly_the_grammar),
		cmocka_unit_test(targets_are_of_a_known_form),
		cmocka_unit_test(hosts_are_exactly_the_grammar),
		cmocka_unit_test(fields_are_exactly_the_grammar),
		cmocka_unit_test(a_body_has_one_length_only),
		cmocka_unit_test(status_lines_are_exactly_the_grammar),
		cmocka_unit_test(a_hundred_fields_are_enough),
		cmocka_unit_test(the_character_table_is_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
