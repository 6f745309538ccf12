/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * relay_test: which fields are relayed to the upstream and back, and which clients are trusted.
 *
 * Requests are parsed from their bytes, so each row reads as on the wire: what the client sent, and
 * what the upstream gets, without the parts that are the same in every head.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/h1.h"
#include "proxy/proxy_private.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct http_message *parse(struct h1_parser *parser, const char *head)
{
	struct text piece;
	size_t used;
	int event = h1_parser_feed(parser, head, strlen(head), &used, &piece);

	if (event != H1_HEAD)
		fail_msg("%s\n%s", h1_parser_error(parser), head);
	return h1_parser_message(parser);
}

struct setting {
	const char *address, *host, *account, *tier;
	bool is_trusted, is_tls, strip_authorization;
};

static const struct setting plain = { .address = "192.0.2.1" };

static void relay(const struct setting *s, const char *request, struct buf *head)
{
	struct h1_parser *parser = h1_parser_new(H1_REQUESTS, 65536);
	struct client client = { .is_trusted = s->is_trusted };
	struct route route = { .host = (char *)s->host };
	struct relay_request r = { .message = parse(parser, request),
				   .client = &client,
				   .route = &route,
				   .strip_authorization = s->strip_authorization,
				   .is_tls = s->is_tls,
				   .request_id = "id1",
				   .account = s->account,
				   .tier = s->tier };

	snprintf(client.address, sizeof(client.address), "%s", s->address);
	assert_int_equal(relay_write_request(&r, head), 0);
	h1_parser_free(parser);
}

#define FORWARDED                                                      \
	"X-Forwarded-For: 192.0.2.1\r\n"                               \
	"Forwarded: for=192.0.2.1;host=\"api.example\";proto=http\r\n" \
	"X-Forwarded-Proto: http\r\nX-Forwarded-Host: api.example\r\n"
#define END "X-Request-Id: id1\r\nVia: 1.1 tollgate\r\n\r\n"

static void check(const struct setting *s, const char *request, const char *expected,
		  const char *why)
{
	struct buf head;

	buf_init(&head, 65536);
	relay(s, request, &head);
	if (!text_is(buf_text(&head), expected))
		fail_msg("%s:\n%.*s", why, TEXT_ARG(buf_text(&head)));
	buf_done(&head);
}

/* Relay a GET with these field lines; compare what is between Host and the fields that we add. */
static void check_fields(const struct setting *s, const char *sent, const char *passed,
			 const char *why)
{
	char request[1024], expected[1024];

	snprintf(request, sizeof(request), "GET /a?b HTTP/1.1\r\nHost: api.example\r\n%s\r\n",
		 sent);
	snprintf(expected, sizeof(expected),
		 "GET /a?b HTTP/1.1\r\nHost: api.example\r\n%s" FORWARDED END, passed);
	check(s, request, expected, why);
}

static void end_to_end_fields_pass_as_they_are(void **state)
{
	static const char *const rows[] = {
		"",
		"Accept: */*\r\nUser-Agent: curl/7\r\n",
		"x-oDD-Case: kept\r\n",
		"Cookie: a=1\r\nCookie: b=2\r\n",
		"Authorization: Basic dTpw\r\n",
		"Via: 1.1 edge\r\n",
		"Empty: \r\n",
		"X-Tollgated: no field of ours\r\n",
		"Under_Score: also\r\n",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check_fields(&plain, rows[i], rows[i], rows[i]);
}

static void hop_by_hop_fields_are_dropped(void **state)
{
	static const struct {
		const char *sent, *passed, *why;
	} rows[] = {
		{ "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n", "", "keep-alive" },
		{ "Proxy-Connection: close\r\nTE: trailers\r\nTrailer: X\r\n", "", "the old ones" },
		{ "Proxy-Authorization: Basic eA==\r\n", "", "a password for a proxy" },
		{ "Connection: x-mine, X-Also\r\nX-Mine: 1\r\nX-ALSO: 2\r\nX-Other: 3\r\n",
		  "X-Other: 3\r\n", "what Connection lists, whatever its case" },
		{ "Connection: a\r\nA: 1\r\nB: 2\r\nConnection: close, b\r\n", "",
		  "in two fields" },
		{ "Connection: close\r\nClose: x\r\nKeep: y\r\n", "Keep: y\r\n",
		  "a field that is named like an option" },
		{ "Connection: Host, X-Request-Id\r\n", "", "ours are set all the same" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check_fields(&plain, rows[i].sent, rows[i].passed, rows[i].why);
}

static void clients_cannot_send_fields_that_tollgate_sets(void **state)
{
	static const struct {
		const char *sent, *why;
	} rows[] = {
		{ "X-Tollgate-Account: acc_1\r\n", "an account" },
		{ "x-tollgate-TIER: pro\r\nX-Tollgate-Tier: x\r\n", "a tier, twice" },
		{ "X-Request-Id: theirs\r\n", "an id" },
		{ "X-API-Key: tg_live_secret_0123456\r\n", "the key" },
		{ "X_Tollgate_Account: acc_1\r\n", "as CGI reads it" },
		{ "X-Tollgate_Account: acc_1\r\nX_TOLLGATE-TIER: x\r\n", "mixed" },
		{ "X_Request_Id: x\r\nX_Forwarded_For: 1.2.3.4\r\nX_Api_Key: x\r\n", "others" },
		{ "Content_Length: 5\r\nTransfer_Encoding: chunked\r\n", "a framing" },
		{ "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n", "from a stranger" },
		{ "X-Forwarded-Host: bank\r\nForwarded: for=1.2.3.4\r\n", "the same" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check_fields(&plain, rows[i].sent, "", rows[i].why);
}

static void fields_of_tollgate_are_set(void **state)
{
	const struct setting s = { .address = "192.0.2.1",
				   .account = "acc_0000000000000007",
				   .tier = "pro",
				   .strip_authorization = true };

	(void)state;
	check(&s,
	      "GET / HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer secret\r\n"
	      "X-Tollgate-Tier: free\r\n\r\n",
	      "GET / HTTP/1.1\r\nHost: api.example\r\n" FORWARDED "X-Request-Id: id1\r\n"
	      "X-Tollgate-Account: acc_0000000000000007\r\nX-Tollgate-Tier: pro\r\n"
	      "Via: 1.1 tollgate\r\n\r\n",
	      "the key was in Authorization");
}

static void fields_of_a_trusted_proxy_are_extended(void **state)
{
	static const struct {
		const char *sent, *forwarded, *why;
	} rows[] = {
		{ "",
		  "X-Forwarded-For: 2001:db8::1\r\n"
		  "Forwarded: for=\"[2001:db8::1]\";host=\"api.example\";proto=https\r\n"
		  "X-Forwarded-Proto: https\r\nX-Forwarded-Host: api.example\r\n",
		  "it says nothing" },
		{ "X-Forwarded-For: 1.2.3.4, 5.6.7.8\r\nX-Forwarded-For: \r\n"
		  "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: http\r\n",
		  "X-Forwarded-For: 1.2.3.4, 5.6.7.8, 9.9.9.9, 2001:db8::1\r\n"
		  "Forwarded: for=\"[2001:db8::1]\";host=\"api.example\";proto=https\r\n"
		  "X-Forwarded-Proto: http\r\nX-Forwarded-Host: api.example\r\n",
		  "lists grow at their end, over several fields" },
		{ "Forwarded: for=1.2.3.4\r\nX-Forwarded-Host: shop.example\r\n",
		  "X-Forwarded-For: 2001:db8::1\r\n"
		  "Forwarded: for=1.2.3.4, "
		  "for=\"[2001:db8::1]\";host=\"api.example\";proto=https\r\n"
		  "X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n",
		  "a host is believed" },
	};
	const struct setting s = { .address = "2001:db8::1", .is_trusted = true, .is_tls = true };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char request[1024], expected[1024];

		snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: api.example\r\n%s\r\n",
			 rows[i].sent);
		snprintf(expected, sizeof(expected),
			 "GET / HTTP/1.1\r\nHost: api.example\r\n%s" END, rows[i].forwarded);
		check(&s, request, expected, rows[i].why);
	}
}

static void targets_and_hosts_take_the_upstreams_form(void **state)
{
	static const struct {
		const char *host, *request, *expected, *why;
	} rows[] = {
		{ NULL, "GET http://api.example/a?b HTTP/1.1\r\nHost: api.example\r\n\r\n",
		  "GET /a?b HTTP/1.1\r\nHost: api.example\r\n" FORWARDED END,
		  "an absolute target" },
		{ NULL, "GET http://api.example HTTP/1.1\r\nHost: api.example\r\n\r\n",
		  "GET / HTTP/1.1\r\nHost: api.example\r\n" FORWARDED END, "without a path" },
		{ "internal:81", "GET /a HTTP/1.1\r\nHost: api.example\r\n\r\n",
		  "GET /a HTTP/1.1\r\nHost: internal:81\r\n" FORWARDED END,
		  "the route's host, and the client's is still told" },
		{ NULL, "GET /%20?x=%2e HTTP/1.1\r\nHost: api.example\r\n\r\n",
		  "GET /%20?x=%2e HTTP/1.1\r\nHost: api.example\r\n" FORWARDED END,
		  "escapes stay as they were sent" },
		{ NULL, "OPTIONS * HTTP/1.1\r\nHost: api.example\r\n\r\n",
		  "OPTIONS * HTTP/1.1\r\nHost: api.example\r\n" FORWARDED END, "the server" },
		{ NULL, "GET /a HTTP/1.0\r\nHost: api.example\r\n\r\n",
		  "GET /a HTTP/1.1\r\nHost: api.example\r\n" FORWARDED END, "an old client" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct setting s = plain;

		s.host = rows[i].host;
		check(&s, rows[i].request, rows[i].expected, rows[i].why);
	}
	check(&plain, "GET /a HTTP/1.0\r\n\r\n",
	      "GET /a HTTP/1.1\r\nHost: \r\nX-Forwarded-For: 192.0.2.1\r\n"
	      "Forwarded: for=192.0.2.1;host=\"\";proto=http\r\n"
	      "X-Forwarded-Proto: http\r\nX-Forwarded-Host: \r\n" END,
	      "a client so old that it names no host");
}

static void bodies_keep_their_framing(void **state)
{
	static const struct {
		const char *fields, *framing, *why;
	} rows[] = {
		{ "", "", "no body" },
		{ "Content-Length: 0\r\n", "Content-Length: 0\r\n", "an empty one" },
		{ "Content-Length: 0042\r\n", "Content-Length: 42\r\n", "a length" },
		{ "Content-Length: 18446744073709551\r\n", "Content-Length: 18446744073709551\r\n",
		  "a long one" },
		{ "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\n", "chunks" },
		{ "Transfer-Encoding: CHUNKED\r\nTrailer: X\r\n", "Transfer-Encoding: chunked\r\n",
		  "chunks, in capitals" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char request[512], expected[1024];

		snprintf(request, sizeof(request), "POST / HTTP/1.1\r\nHost: api.example\r\n%s\r\n",
			 rows[i].fields);
		snprintf(expected, sizeof(expected),
			 "POST / HTTP/1.1\r\nHost: api.example\r\n%s" FORWARDED END,
			 rows[i].framing);
		check(&plain, request, expected, rows[i].why);
	}
	check(&plain,
	      "PUT / HTTP/1.1\r\nHost: api.example\r\nContent-Length: 5\r\n"
	      "Expect: 100-continue\r\n\r\n",
	      "PUT / HTTP/1.1\r\nHost: api.example\r\nContent-Length: 5\r\n" FORWARDED
	      "Expect: 100-continue\r\n" END,
	      "an expectation goes on, once");
}

static void responses_lose_hop_by_hop_fields_and_ours(void **state)
{
	static const struct {
		const char *fields, *open, *limited; /* on an open and on a limited route */
	} rows[] = {
		{ "", "", "" },
		{ "Server: x\r\nDate: now\r\nSet-Cookie: a\r\nset-cookie: b\r\n",
		  "Server: x\r\nDate: now\r\nSet-Cookie: a\r\nset-cookie: b\r\n",
		  "Server: x\r\nDate: now\r\nSet-Cookie: a\r\nset-cookie: b\r\n" },
		{ "Content-Length: 5\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\n",
		  "X-End: 2\r\n", "X-End: 2\r\n" },
		{ "Transfer-Encoding: chunked\r\nTrailer: X\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\n",
		  "", "" },
		{ "RateLimit: \"a\";r=1\r\nRateLimit-Policy: \"a\";q=1\r\n",
		  "RateLimit: \"a\";r=1\r\nRateLimit-Policy: \"a\";q=1\r\n", "" },
		{ "X-Request-Id: theirs\r\nRetry-After: 5\r\n", "Retry-After: 5\r\n",
		  "Retry-After: 5\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows) * 2; i++) {
		struct h1_parser *parser = h1_parser_new(H1_RESPONSES, 65536);
		const char *passed = i % 2 ? rows[i / 2].limited : rows[i / 2].open;
		char answer[512], expected[512];
		struct buf fields;

		snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\n%s\r\n", rows[i / 2].fields);
		snprintf(expected, sizeof(expected), "%sX-Request-Id: id1\r\n", passed);
		buf_init(&fields, 4096);
		h1_parser_expect(parser, TEXT("GET"));
		assert_int_equal(relay_write_answer(parse(parser, answer), i % 2, "id1", &fields),
				 0);
		if (!text_is(buf_text(&fields), expected))
			fail_msg("row %zu:\n%.*s", i, TEXT_ARG(buf_text(&fields)));
		buf_done(&fields);
		h1_parser_free(parser);
	}
}

static void a_head_that_does_not_fit_is_an_error(void **state)
{
	struct h1_parser *parser = h1_parser_new(H1_REQUESTS, 65536);
	struct client client = { .address = "192.0.2.1" };
	struct route route = { 0 };
	struct relay_request r = { .client = &client, .route = &route, .request_id = "id1" };
	struct buf head;
	int err = -1;

	(void)state;
	r.message = parse(parser, "GET / HTTP/1.1\r\nHost: api.example\r\nA: b\r\n\r\n");
	for (size_t max = 1; err && max < 1000; max++) {
		buf_init(&head, max);
		err = relay_write_request(&r, &head);
		if (err && err != -EMSGSIZE)
			fail_msg("%zu bytes: %d", max, err);
		if (!err)
			assert_int_equal(buf_len(&head), max); /* the first size that fits */
		buf_done(&head);
	}
	assert_int_equal(err, 0);
	h1_parser_free(parser);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(end_to_end_fields_pass_as_they_are),
		cmocka_unit_test(hop_by_hop_fields_are_dropped),
		cmocka_unit_test(clients_cannot_send_fields_that_tollgate_sets),
		cmocka_unit_test(fields_of_tollgate_are_set),
		cmocka_unit_test(fields_of_a_trusted_proxy_are_extended),
		cmocka_unit_test(targets_and_hosts_take_the_upstreams_form),
		cmocka_unit_test(bodies_keep_their_framing),
		cmocka_unit_test(responses_lose_hop_by_hop_fields_and_ours),
		cmocka_unit_test(a_head_that_does_not_fit_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
