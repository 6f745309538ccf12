/* SPDX-License-Identifier: BSD-2-Clause */
/* The strict pass over heads, and the character table that it rests on. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/h1.h"
#include "http/h1_chars.h"

struct row {
	const char *head; /* NUL-terminated; see the test of NUL for the byte itself */
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
			fail_msg("%s: no rule is named", rows[i].why);
	}
}

#define CHECK_ROWS(side, rows) check_rows(side, rows, sizeof(rows) / sizeof(rows[0]))

static void request_lines_are_exactly_the_grammar(void **state)
{
	static const struct row rows[] = {
		{ "GET / HTTP/1.1\r\nHost: a\r\n\r\n", OK, "the plainest request" },
		{ "GET / HTTP/1.0\r\n\r\n", OK, "HTTP/1.0 needs no Host" },
		{ "GET / HTTP/1.1\r\n\r\n", NO, "HTTP/1.1 needs one" },
		{ "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", NO, "empty line first" },
		{ " GET / HTTP/1.1\r\nHost: a\r\n\r\n", NO, "blank first" },
		{ "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", NO, "two blanks" },
		{ "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", NO, "two blanks behind the target" },
		{ "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", NO, "blank at the end" },
		{ "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", NO, "tab for a blank" },
		{ "GET /\r\n\r\n", NO, "HTTP/0.9" },
		{ "GET / HTTP/1.1\nHost: a\r\n\r\n", NO, "bare LF" },
		{ "GET / HTTP/1.1\rHost: a\r\n\r\n", NO, "bare CR" },
		{ "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", NO, "CR twice" },
		{ "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", NO, "method is no token" },
		{ "M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", OK, "a token with a dash" },
		{ "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", NO, "CONNECT is not supported" },
		{ "GET / http/1.1\r\nHost: a\r\n\r\n", NO, "the version is upper case" },
		{ "GET / HTTP/1.01\r\nHost: a\r\n\r\n", NO, "one digit" },
		{ "GET / HTTP/11\r\nHost: a\r\n\r\n", NO, "no point" },
		{ "GET / HTTP/1.2\r\nHost: a\r\n\r\n", -EPROTONOSUPPORT, "no such version" },
		{ "GET / HTTP/2.0\r\nHost: a\r\n\r\n", -EPROTONOSUPPORT, "not here" },
		{ "GET / HTTP/0.9\r\nHost: a\r\n\r\n", -EPROTONOSUPPORT, "nor that" },
		{ "", NO, "nothing" },
		{ "GET / HTTP/1.1\r\nHost: a\r\n", NO, "no empty line" },
		{ "GET / HTTP/1.1\r\nHost: a\r\n\r\nx", NO, "more than a head" },
	};

	(void)state;
	CHECK_ROWS(H1_REQUESTS, rows);
}

static void targets_are_of_a_known_form(void **state)
{
	static const struct row rows[] = {
		{ "GET /a/b?c=d HTTP/1.1\r\nHost: a\r\n\r\n", OK, "path and query" },
		{ "GET /?a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", OK, "a query holds / and ?" },
		{ "GET /%41%fF HTTP/1.1\r\nHost: a\r\n\r\n", OK, "well-formed escapes" },
		{ "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", NO, "half an escape" },
		{ "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", NO, "no hex" },
		{ "GET /?%q0 HTTP/1.1\r\nHost: a\r\n\r\n", NO, "no hex in a query" },
		{ "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", NO, "fragment" },
		{ "GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", NO, "backslash" },
		{ "GET /a|b HTTP/1.1\r\nHost: a\r\n\r\n", NO, "no pchar" },
		{ "GET /\"a\" HTTP/1.1\r\nHost: a\r\n\r\n", NO, "quotes" },
		{ "GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", NO, "raw byte above 7f" },
		{ "GET a HTTP/1.1\r\nHost: a\r\n\r\n", NO, "relative" },
		{ "GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", NO, "query alone" },
		{ "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", OK, "the server as a whole" },
		{ "GET * HTTP/1.1\r\nHost: a\r\n\r\n", NO, "* is for OPTIONS" },
		{ "OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n", NO, "* alone" },
		{ "GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", OK, "absolute" },
		{ "GET HTTPS://A HTTP/1.1\r\nHost: a\r\n\r\n", OK, "case does not matter there" },
		{ "GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n", NO, "a query needs a path" },
		{ "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", NO, "Host says otherwise" },
		{ "GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", NO, "as bytes, too" },
		{ "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", NO, "userinfo" },
		{ "GET http:///b HTTP/1.1\r\nHost: a\r\n\r\n", NO, "no authority" },
		{ "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", NO, "other scheme" },
		{ "GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", NO, "no scheme's form" },
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
		{ GET "A:b\r\n\r\n", OK, "no blank" },
		{ GET "A: \t b \t\r\n\r\n", OK, "blanks around" },
		{ GET "A:\r\n\r\n", OK, "empty value" },
		{ GET "A: b\tc\r\n\r\n", OK, "tab within" },
		{ GET "A: \x80\xff\r\n\r\n", OK, "obs-text" },
		{ GET "!#$%&'*+-.^_`|~09aZ: b\r\n\r\n", OK, "every tchar" },
		{ GET "A : b\r\n\r\n", NO, "blank before the colon" },
		{ GET "A\t: b\r\n\r\n", NO, "tab before the colon" },
		{ GET "A b: c\r\n\r\n", NO, "blank in a name" },
		{ GET "A(: c\r\n\r\n", NO, "no tchar" },
		{ GET "\xe4: c\r\n\r\n", NO, "obs-text in a name" },
		{ GET ": b\r\n\r\n", NO, "no name" },
		{ GET "A\r\n\r\n", NO, "no colon" },
		{ GET "A: b\r\n c\r\n\r\n", NO, "folded" },
		{ GET "A: b\r\n\tc\r\n\r\n", NO, "folded by a tab" },
		{ "GET / HTTP/1.1\r\n Host: a\r\n\r\n", NO, "blank before the first field" },
		{ GET "A: b\rc\r\n\r\n", NO, "bare CR" },
		{ GET "A: b\nC: d\r\n\r\n", NO, "bare LF" },
		{ GET "A: b\r\r\n\r\n", NO, "CR twice" },
		{ GET "A: b\x01\r\n\r\n", NO, "control byte" },
		{ GET "A: b\x7f\r\n\r\n", NO, "DEL" },
		{ GET "A: b\r\n\n", NO, "head ends in a bare LF" },
		{ GET "Host: a\r\n\r\n", NO, "Host twice, and the same" },
		{ GET "hOST: b\r\n\r\n", NO, "Host twice in another case" },
		{ GET "Connection: close, keep-alive\r\n\r\n", OK, "a list of tokens" },
		{ GET "Connection:\r\n\r\n", OK, "an empty list" },
		{ GET "Connection: a b\r\n\r\n", NO, "no list of tokens" },
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
		{ GET "Content-Length: 0\r\n\r\n", OK, "of nothing" },
		{ GET "Content-Length: 9223372036854775807\r\n\r\n", OK, "the largest" },
		{ GET "Content-Length: 9223372036854775808\r\n\r\n", NO, "one more" },
		{ GET "Content-Length: 18446744073709551616\r\n\r\n", NO, "overflow" },
		{ GET "Content-Length: -1\r\n\r\n", NO, "sign" },
		{ GET "Content-Length: +1\r\n\r\n", NO, "plus" },
		{ GET "Content-Length: 0x5\r\n\r\n", NO, "hex" },
		{ GET "Content-Length: 5 5\r\n\r\n", NO, "two numbers" },
		{ GET "Content-Length: 5, 5\r\n\r\n", NO, "list" },
		{ GET "Content-Length:\r\n\r\n", NO, "empty" },
		{ GET "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", NO, "twice, and the same" },
		{ GET "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", NO, "twice" },
		{ GET "Content-Length : 5\r\n\r\n", NO, "blank before the colon" },
		{ GET "Transfer-Encoding: chunked\r\n\r\n", OK, "chunked" },
		{ GET "Transfer-Encoding: CHUNKED\r\n\r\n", OK, "in any case" },
		{ GET "Transfer-Encoding: gzip, chunked\r\n\r\n", NO, "other coding" },
		{ GET "Transfer-Encoding: chunked, chunked\r\n\r\n", NO, "chunked twice" },
		{ GET "Transfer-Encoding: identity\r\n\r\n", NO, "no such coding any more" },
		{ GET "Transfer-Encoding: chunked;a=b\r\n\r\n", NO, "parameter" },
		{ GET "Transfer-Encoding: xchunked\r\n\r\n", NO, "nearly chunked" },
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
		{ "HTTP/1.1 200 OK\r\n\r\n", OK, "the plainest answer" },
		{ "HTTP/1.0 200 OK\r\n\r\n", OK, "HTTP/1.0" },
		{ "HTTP/1.1 599 \r\n\r\n", OK, "no reason, but its blank" },
		{ "HTTP/1.1 200\r\n\r\n", NO, "no blank" },
		{ "HTTP/1.1 200 a b\x80\r\n\r\n", OK, "a reason has blanks and obs-text" },
		{ "HTTP/1.1 200 a\x01\r\n\r\n", NO, "control byte" },
		{ "HTTP/1.1  200 OK\r\n\r\n", NO, "two blanks" },
		{ "HTTP/1.1 20 OK\r\n\r\n", NO, "two digits" },
		{ "HTTP/1.1 2000 OK\r\n\r\n", NO, "four digits" },
		{ "HTTP/1.1 2x0 OK\r\n\r\n", NO, "no digit" },
		{ "HTTP/1.1 099 OK\r\n\r\n", NO, "below 100" },
		{ "HTTP/1.1 600 OK\r\n\r\n", NO, "above 599" },
		{ "HTTP/1.2 200 OK\r\n\r\n", -EPROTONOSUPPORT, "no such version" },
		{ "ICY 200 OK\r\n\r\n", NO, "no HTTP" },
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

/* The table against the grammars' own words. */
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
