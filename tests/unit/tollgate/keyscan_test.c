/* SPDX-License-Identifier: BSD-2-Clause */
/* The key scan: what it finds, and what makes it unsure, so that the agent decides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/text.h"
#include "tollgate/keyscan.h"

#define KEY "0123456789abcdef"

/* Fill the room after the head with the oddest bytes: they must not matter. */
static enum tollgate_scan_result scan_bytes(struct tollgate_scan *s, const char *head, size_t len)
{
	static __u8 room[TOLLGATE_SCAN_ROOM_SIZE];

	memset(room, '\r', sizeof(room));
	if (len <= sizeof(room))
		memcpy(room, head, len);
	return tollgate_scan_head(s, room, (__u32)len);
}

static enum tollgate_scan_result scan(struct tollgate_scan *s, const char *head)
{
	return scan_bytes(s, head, strlen(head));
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
		  TOLLGATE_METHOD_GET, 0, "a query is not part of the path" },
		{ "POST / HTTP/1.1\r\nhOST:h:80\r\nx-api-KEY:" KEY "\r\ncontent-length: 42\r\n\r\n",
		  "/", KEY, TOLLGATE_METHOD_POST, 42, "any case, no space" },
		{ "PUT / HTTP/1.1\r\nHost: h\r\nAuthorization: bEARER " KEY "\r\n\r\n", "/", KEY,
		  TOLLGATE_METHOD_PUT, 0, "Bearer without X-API-Key" },
		{ "PATCH / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer zzzzzzzzzzzzzzzzzzzz\r\n"
		  "X-API-Key: " KEY "\r\n\r\n",
		  "/", KEY, TOLLGATE_METHOD_PATCH, 0, "X-API-Key outranks Bearer" },
		{ "DELETE / HTTP/1.1\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\n", "/", "",
		  TOLLGATE_METHOD_DELETE, 0, "no key" },
		{ "GET /~a/@b/!c/$d/e_f?g=h&i=j:k/?l HTTP/1.1\r\nHost: a.example.com:65535\r\n\r\n",
		  "/~a/@b/!c/$d/e_f", "", TOLLGATE_METHOD_GET, 0, "rare bytes of a target" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nX-API-Key: 0123456789 abcdef\r\n\r\n", "/",
		  "0123456789 abcdef", TOLLGATE_METHOD_GET, 0,
		  "a space within a key belongs to it" },
		{ "GET / HTTP/1.1\r\nhost: h\r\nX-API-Keys: 1\r\nExpect-CT: "
		  "2\r\nUpgrade-Insecure-Requests: "
		  "1\r\n\r\n",
		  "/", "", TOLLGATE_METHOD_GET, 0, "longer names are other fields" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nAccept: */*  \r\nX-API-Key: " KEY "\r\n\r\n", "/",
		  KEY, TOLLGATE_METHOD_GET, 0, "spaces after a value that does not matter" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum tollgate_scan_result expected =
			*rows[i].key ? TOLLGATE_SCAN_KEY : TOLLGATE_SCAN_NO_KEY;
		struct tollgate_scan s;
		const char *head = rows[i].head;

		if (scan(&s, head) != expected || s.head_len != strlen(head) ||
		    s.method != rows[i].method || s.content_length != rows[i].length ||
		    !text_is((struct text){ head + s.path_at, s.path_len }, rows[i].path) ||
		    !text_is((struct text){ head + s.key_at, s.key_len }, rows[i].key))
			fail_msg("%s", rows[i].why);
	}
}

static void it_is_unsure_of_everything_else(void **state)
{
	static const struct {
		const char *head, *why;
	} rows[] = {
		{ "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "a method whose answer has no body" },
		{ "get / HTTP/1.1\r\nHost: h\r\n\r\n", "methods are case-sensitive" },
		{ "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", "absolute-form" },
		{ "GET /%61 HTTP/1.1\r\nHost: h\r\n\r\n", "encoded path" },
		{ "GET //a HTTP/1.1\r\nHost: h\r\n\r\n", "empty segment" },
		{ "GET /a/../b HTTP/1.1\r\nHost: h\r\n\r\n", "dot segment" },
		{ "GET / HTTP/1.0\r\nHost: h\r\n\r\n", "HTTP/1.0" },
		{ "GET / http/1.1\r\nHost: h\r\n\r\n", "the version is case-sensitive" },
		{ "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", "two spaces" },
		{ "GET / HTTP/1.1\nHost: h\r\n\r\n", "bare LF" },
		{ "GET / HTTP/1.1\r\nHost: h\r\n x: folded\r\n\r\n", "obs-fold" },
		{ "GET / HTTP/1.1\r\nHost : h\r\n\r\n", "a space before the colon" },
		{ "GET / HTTP/1.1\r\nX-API-Key: " KEY "\r\n\r\n", "no Host" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nhost: h\r\n\r\n", "two Hosts" },
		{ "GET / HTTP/1.1\r\nHost: h:\r\n\r\n", "a port without digits" },
		{ "GET / HTTP/1.1\r\nHost: h/\r\n\r\n", "an invalid host" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nX-API-Key: " KEY "\r\nX-API-Key: " KEY "\r\n\r\n",
		  "the key twice" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nX-API-Key: " KEY "\r\nAuthorization: Bearer " KEY
		  "\r\nAuthorization: Bearer " KEY "\r\n\r\n",
		  "Authorization twice" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nX-API-Key: " KEY " \r\n\r\n",
		  "a space after the key" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nX-API-Key: short\r\n\r\n", "too short for a key" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer  " KEY "\r\n\r\n",
		  "two spaces after Bearer" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic " KEY "\r\n\r\n",
		  "not Bearer" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "close" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, x-api-key\r\n\r\n",
		  "a list" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "chunks" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n", "Expect" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n", "Upgrade" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1234567890\r\n\r\n", "ten digits" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n", "not a number" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", "an empty number" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
		  "the length twice" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nConnection: "
		  "keep-alive\r\n\r\n",
		  "Connection twice" },
		{ "GET / HTTP/1.1\r\nHost: h:65536\r\n\r\n", "a port above 65535" },
		{ "GET /aaaaaa//b HTTP/1.1\r\nHost: h\r\n\r\n", "empty segment across words" },
		{ "GET /aaaaaaa/.b HTTP/1.1\r\nHost: h\r\n\r\n", "dot segment across words" },
		{ "GET /a?b=%61 HTTP/1.1\r\nHost: h\r\n\r\n", "encoded query" },
		{ "GET / HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n", "no name" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", "no colon" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nX-API-Key:  " KEY "\r\n\r\n",
		  "two spaces before the key" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", "bare CR" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nX: \x7f\r\n\r\n", "DEL" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nX: a\x01\r\n\r\n", "control byte" },
		{ "GET / HTTP/1.1\r\nHost: h\r\nX: \xc3\xa4\r\n\r\n", "obs-text" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tollgate_scan s;

		if (scan(&s, rows[i].head) != TOLLGATE_SCAN_UNSURE)
			fail_msg("%s: not unsure", rows[i].why);
	}
}

static void an_incomplete_head_has_no_result(void **state)
{
	static const char head[] =
		"GET /a HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nX-API-Key: " KEY "\r\n\r\n";
	static __u8 room[TOLLGATE_SCAN_ROOM_SIZE];
	struct tollgate_scan s;

	(void)state;
	for (size_t len = 0; len < sizeof(head) - 1; len++) {
		if (scan_bytes(&s, head, len) != TOLLGATE_SCAN_MORE)
			fail_msg("complete after %zu bytes", len);
		/* The room may still hold the rest of it from an earlier packet. */
		memcpy(room, head, sizeof(head));
		if (tollgate_scan_head(&s, room, (__u32)len) != TOLLGATE_SCAN_MORE)
			fail_msg("complete after %zu bytes, followed by old bytes", len);
	}
	assert_int_equal(scan(&s, head), TOLLGATE_SCAN_KEY);
}

/* A field may start at any byte of a word. */
static void the_position_of_a_field_does_not_matter(void **state)
{
	char head[256];
	struct tollgate_scan s;

	(void)state;
	for (int path = 1; path < 20; path++) {
		for (int agent = 1; agent < 20; agent++) {
			int len = snprintf(head, sizeof(head),
					   "GET /%.*s HTTP/1.1\r\nHost: h\r\nUser-Agent: %.*s\r\n"
					   "X-API-Key: " KEY "\r\n\r\n",
					   path, "pathpathpathpathpath", agent,
					   "agentagentagentagent");

			if (scan(&s, head) != TOLLGATE_SCAN_KEY || s.head_len != (__u32)len ||
			    s.path_len != (__u32)path + 1 ||
			    memcmp(head + s.key_at, KEY, s.key_len))
				fail_msg("path of %d bytes, agent of %d", path, agent);
		}
	}
}

static void heads_and_keys_have_bounds(void **state)
{
	static const struct {
		const char *before;
		int fill;
		size_t count;
		enum tollgate_scan_result result;
		const char *why;
	} rows[] = {
		{ "X-API-Key: ", 'k', 15, TOLLGATE_SCAN_UNSURE, "short key" },
		{ "X-API-Key: ", 'k', 256, TOLLGATE_SCAN_KEY, "longest key" },
		{ "X-API-Key: ", 'k', 257, TOLLGATE_SCAN_UNSURE, "longer key" },
		{ "Cookie: ", 'c', 1380, TOLLGATE_SCAN_NO_KEY, "as much as a segment holds" },
		{ "Cookie: ", 'c', 1900, TOLLGATE_SCAN_UNSURE, "more" },
		{ "Cookie: ", 'c', 3000, TOLLGATE_SCAN_UNSURE, "more than the room" },
	};
	char head[8192];
	struct tollgate_scan s;
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		len = (size_t)snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: h\r\n%s",
				       rows[i].before);
		memset(head + len, rows[i].fill, rows[i].count);
		strcpy(head + len + rows[i].count, "\r\n\r\n");
		if (scan(&s, head) != rows[i].result)
			fail_msg("%s", rows[i].why);
	}
	for (unsigned fields = 30; fields <= 31; fields++) {
		len = (size_t)snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: h\r\n");
		for (unsigned i = 0; i < fields; i++)
			len += (size_t)snprintf(head + len, sizeof(head) - len, "Abc: def\r\n");
		strcpy(head + len, "\r\n");
		assert_int_equal(scan(&s, head),
				 fields > 30 ? TOLLGATE_SCAN_UNSURE : TOLLGATE_SCAN_NO_KEY);
	}
}

static void the_fingerprint_is_the_keys_hash(void **state)
{
	static const __u64 secret[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };
	__u8 room[TOLLGATE_SCAN_ROOM_SIZE];
	__u64 hash[2], expected[2];

	(void)state;
	for (size_t i = 0; i < sizeof(room); i++)
		room[i] = (__u8)(i * 7);
	for (__u32 len = 0; len <= TOLLGATE_SCAN_KEY_MAX; len++) {
		assert_int_equal(tollgate_fingerprint(secret, room, 3, len, hash), 0);
		tollgate_siphash128(secret, room + 3, len, expected);
		assert_memory_equal(hash, expected, sizeof(hash));
	}
	assert_int_equal(tollgate_fingerprint(secret, room, 3, 257, hash), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_finds_the_key_the_path_and_the_length),
		cmocka_unit_test(it_is_unsure_of_everything_else),
		cmocka_unit_test(an_incomplete_head_has_no_result),
		cmocka_unit_test(the_position_of_a_field_does_not_matter),
		cmocka_unit_test(heads_and_keys_have_bounds),
		cmocka_unit_test(the_fingerprint_is_the_keys_hash),
	};

	return cmocka_run_group_tests_name("keyscan", tests, NULL, NULL);
}
