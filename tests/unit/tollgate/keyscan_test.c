/* SPDX-License-Identifier: BSD-2-Clause */
/* The key scan: what it finds, and all that makes it leave a request to the agent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/text.h"
#include "tollgate/keyscan.h"

#define KEY "0123456789abcdef"

static struct tollgate_scan scan(const char *head)
{
	struct tollgate_scan s;

	tollgate_scan_init(&s);
	for (const char *c = head; *c && s.state < TOLLGATE_SCAN_DONE; c++)
		tollgate_scan_byte(&s, (__u8)*c);
	return s;
}

static void it_finds_the_key_the_path_and_the_length(void **state)
{
	static const struct {
		const char *head, *path, *key;
		unsigned method;
		uint64_t length;
		const char *why;
	} rows[] = {
		{ "GET /a HTTP/1.1\r\nHost: h\r\nX-API-Key: " KEY "\r\n\r\n", "/a", KEY,
		  TOLLGATE_METHOD_GET, 0, "X-API-Key" },
		{ "GET /a?b=/../c HTTP/1.1\r\nHost: h\r\nX-API-Key: " KEY "\r\n\r\n", "/a", KEY,
		  TOLLGATE_METHOD_GET, 0, "a query is no path" },
		{ "POST / HTTP/1.1\r\nhOST:h:80\r\nx-api-KEY:" KEY "\r\ncontent-length: 42\r\n\r\n",
		  "/", KEY, TOLLGATE_METHOD_POST, 42, "any case, no blank" },
		{ "PUT / HTTP/1.1\r\nHost: h\r\nAuthorization: bEARER " KEY "\r\n\r\n", "/", KEY,
		  TOLLGATE_METHOD_PUT, 0, "Bearer where X-API-Key is absent" },
		{ "PATCH / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer zzzzzzzzzzzzzzzzzzzz\r\n"
		  "X-API-Key: " KEY "\r\n\r\n",
		  "/", KEY, TOLLGATE_METHOD_PATCH, 0, "X-API-Key outranks Bearer" },
		{ "DELETE / HTTP/1.1\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\n", "/", "",
		  TOLLGATE_METHOD_DELETE, 0, "no key" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nAccept: */*  \r\nX-API-Key: " KEY "\r\n\r\n", "/",
		  KEY, TOLLGATE_METHOD_GET, 0, "blanks behind a value that does not matter" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tollgate_scan s = scan(rows[i].head);
		__u32 at, len = tollgate_scan_key(&s, &at);

		if (s.state != TOLLGATE_SCAN_DONE || s.at != strlen(rows[i].head) ||
		    s.method != rows[i].method || s.length != rows[i].length ||
		    !text_is((struct text){ rows[i].head + s.path_at, s.path_len }, rows[i].path) ||
		    !text_is((struct text){ rows[i].head + at, len }, rows[i].key))
			fail_msg("%s: state %u after %u bytes", rows[i].why, s.state, s.at);
	}
}

static void it_is_unsure_of_all_else(void **state)
{
	static const struct {
		const char *head, *why;
	} rows[] = {
		{ "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
		  "a method that wants no body in the answer" },
		{ "get / HTTP/1.1\r\nHost: h\r\n\r\n", "methods have case" },
		{ "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", "absolute-form" },
		{ "GET /%61 HTTP/1.1\r\nHost: h\r\n\r\n", "encoded path" },
		{ "GET //a HTTP/1.1\r\nHost: h\r\n\r\n", "empty segment" },
		{ "GET /a/../b HTTP/1.1\r\nHost: h\r\n\r\n", "dot segment" },
		{ "GET / HTTP/1.0\r\nHost: h\r\n\r\n", "HTTP/1.0" },
		{ "GET / http/1.1\r\nHost: h\r\n\r\n", "the version has case" },
		{ "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", "two blanks" },
		{ "GET / HTTP/1.1\nHost: h\r\n\r\n", "bare LF" },
		{ "GET / HTTP/1.1\r\nHost: h\r\n x: folded\r\n\r\n", "obs-fold" },
		{ "GET / HTTP/1.1\r\nHost : h\r\n\r\n", "blank before the colon" },
		{ "GET / HTTP/1.1\r\nX-API-Key: " KEY "\r\n\r\n", "no Host" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nhost: h\r\n\r\n", "two Hosts" },
		{ "GET / HTTP/1.1\r\nHost: h:\r\n\r\n", "a port without digits" },
		{ "GET / HTTP/1.1\r\nHost: h/\r\n\r\n", "no host" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nX-API-Key: " KEY "\r\nX-API-Key: " KEY "\r\n\r\n",
		  "the key twice" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nX-API-Key: " KEY "\r\nAuthorization: Bearer " KEY
		  "\r\nAuthorization: Bearer " KEY "\r\n\r\n",
		  "the other field twice" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nX-API-Key: " KEY " \r\n\r\n",
		  "blank behind the key" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nX-API-Key: short\r\n\r\n", "too short for a key" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer  " KEY "\r\n\r\n",
		  "two blanks" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic " KEY "\r\n\r\n",
		  "not Bearer" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "close" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, x-api-key\r\n\r\n",
		  "a list" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "chunks" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n", "Expect" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n", "Upgrade" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1234567890\r\n\r\n", "ten digits" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n", "no number" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", "empty number" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nX: a\x01\r\n\r\n", "control byte" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nX: \xc3\xa4\r\n\r\n", "obs-text" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (scan(rows[i].head).state != TOLLGATE_SCAN_UNSURE)
			fail_msg("%s: not unsure", rows[i].why);
	}
}

static void a_head_that_goes_on_is_not_done(void **state)
{
	static const char head[] = "GET /a HTTP/1.1\r\nHost: h\r\nX-API-Key: " KEY "\r\n\r\n";
	struct tollgate_scan s;

	(void)state;
	tollgate_scan_init(&s);
	for (size_t i = 0; i + 1 < sizeof(head) - 1; i++) {
		tollgate_scan_byte(&s, (__u8)head[i]);
		if (s.state >= TOLLGATE_SCAN_DONE)
			fail_msg("over after %zu bytes: %u", i + 1, s.state);
	}
}

static void heads_and_keys_have_bounds(void **state)
{
	char head[8192];
	size_t len = (size_t)snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: h\r\nX: ");

	(void)state;
	memset(head + len, 'x', sizeof(head) - len - 1);
	head[sizeof(head) - 1] = '\0';
	assert_int_equal(scan(head).state, TOLLGATE_SCAN_UNSURE);
	len = (size_t)snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: h\r\nX-API-Key: ");
	memset(head + len, 'k', 257);
	strcpy(head + len + 257, "\r\n\r\n");
	assert_int_equal(scan(head).state, TOLLGATE_SCAN_UNSURE);
	strcpy(head + len + 256, "\r\n\r\n");
	assert_int_equal(scan(head).state, TOLLGATE_SCAN_DONE);
	len = (size_t)snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: h\r\n");
	for (unsigned i = 0; i < 100; i++)
		len += (size_t)snprintf(head + len, sizeof(head) - len, "a:\r\n");
	strcpy(head + len, "\r\n");
	assert_int_equal(scan(head).state, TOLLGATE_SCAN_UNSURE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_finds_the_key_the_path_and_the_length),
		cmocka_unit_test(it_is_unsure_of_all_else),
		cmocka_unit_test(a_head_that_goes_on_is_not_done),
		cmocka_unit_test(heads_and_keys_have_bounds),
	};

	return cmocka_run_group_tests_name("keyscan", tests, NULL, NULL);
}
