/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * refuse_test: what a refused client gets, byte for byte, and that it fits in 300 bytes.
 *
 * Responses are assembled as the server does it: status line, fields, Content-Length, body.
 */
#include "proxy/refuse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "http/h1.h"
#include "tollgate/bucket.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void write_answer(enum tollgate_verdict verdict, const struct gate_result *result,
			 struct buf *answer)
{
	struct buf fields, body;

	buf_init(&fields, 4096);
	buf_init(&body, 4096);
	assert_int_equal(refuse_write(verdict, result, &fields, &body), 0);
	assert_int_equal(h1_write_status_line(answer, refuse_status(verdict)), 0);
	assert_int_equal(buf_append_text(answer, buf_text(&fields)), 0);
	assert_int_equal(h1_write_header_u64(answer, TEXT("Content-Length"), buf_len(&body)), 0);
	assert_int_equal(h1_write_end_of_head(answer), 0);
	assert_int_equal(buf_append_text(answer, buf_text(&body)), 0);
	buf_done(&fields);
	buf_done(&body);
}

/* 10 per second, a burst of 5; 1000 per day; a request for 3 units when 1 is left. */
static struct gate_result example(void)
{
	return (struct gate_result){
		.wait_ns = 150 * NS_PER_MS,
		.has_account = true,
		.limits = { .interval_ns = 100 * NS_PER_MS,
			    .limit_ns = 500 * NS_PER_MS,
			    .quota_limit = 1000,
			    .quota_period = TOLLGATE_PERIOD_DAY },
		.rate_left = 1,
		.rate_more_ns = 50 * NS_PER_MS,
		.quota_left = 2,
		.quota_more_ms = 3599001,
		.cost = 3,
	};
}

#define PROBLEM "Content-Type: application/problem+json\r\n"

static void refusals_have_the_agreed_bytes(void **state)
{
	static const struct {
		enum tollgate_verdict verdict;
		const char *answer;
	} rows[] = {
		{ TOLLGATE_MALFORMED,
		  "HTTP/1.1 400 Bad Request\r\n" PROBLEM "Content-Length: 37\r\n\r\n"
		  "{\"status\":400,\"detail\":\"Bad request\"}" },
		{ TOLLGATE_NO_ROUTE,
		  "HTTP/1.1 404 Not Found\r\n" PROBLEM "Content-Length: 35\r\n\r\n"
		  "{\"status\":404,\"detail\":\"Not found\"}" },
		{ TOLLGATE_NO_KEY,
		  "HTTP/1.1 401 Unauthorized\r\n" PROBLEM "WWW-Authenticate: Bearer\r\n"
		  "Content-Length: 52\r\n\r\n"
		  "{\"status\":401,\"detail\":\"Invalid or expired API key\"}" },
		{ TOLLGATE_UNAVAILABLE,
		  "HTTP/1.1 503 Service Unavailable\r\n" PROBLEM "Retry-After: 1\r\n"
		  "Content-Length: 51\r\n\r\n"
		  "{\"status\":503,\"detail\":\"Cache service unavailable\"}" },
		{ TOLLGATE_INACTIVE,
		  "HTTP/1.1 403 Forbidden\r\n" PROBLEM "Content-Length: 59\r\n\r\n"
		  "{\"status\":403,\"detail\":\"Subscription inactive or past due\"}" },
		{ TOLLGATE_OVER_QUOTA,
		  "HTTP/1.1 429 Too Many Requests\r\n" PROBLEM "Retry-After: 3600\r\n"
		  "RateLimit-Policy: \"quota\";q=1000;w=86400\r\n"
		  "RateLimit: \"quota\";r=2;t=3600\r\n"
		  "Content-Length: 90\r\n\r\n"
		  "{\"status\":429,\"detail\":\"Quota exceeded. Upgrade your tier.\","
		  "\"violated-policies\":[\"quota\"]}" },
		{ TOLLGATE_OVER_RATE,
		  "HTTP/1.1 429 Too Many Requests\r\n" PROBLEM "Retry-After: 1\r\n"
		  "RateLimit-Policy: \"rate\";q=5;w=1\r\n"
		  "RateLimit: \"rate\";r=1;t=1\r\n"
		  "Content-Length: 94\r\n\r\n"
		  "{\"status\":429,\"detail\":\"Rate limit exceeded. Upgrade your tier.\","
		  "\"violated-policies\":[\"rate\"]}" },
		{ TOLLGATE_NO_FEATURE,
		  "HTTP/1.1 403 Forbidden\r\n" PROBLEM "RateLimit-Policy: \"rate\";q=5;w=1\r\n"
		  "RateLimit: \"rate\";r=1;t=1\r\n"
		  "Content-Length: 65\r\n\r\n"
		  "{\"status\":403,\"detail\":\"Your plan does not include this feature\"}" },
		{ TOLLGATE_OVER_CONCURRENCY,
		  "HTTP/1.1 429 Too Many Requests\r\n" PROBLEM "Retry-After: 1\r\n"
		  "RateLimit-Policy: \"rate\";q=5;w=1\r\n"
		  "RateLimit: \"rate\";r=1;t=1\r\n"
		  "Content-Length: 90\r\n\r\n"
		  "{\"status\":429,\"detail\":\"Too many concurrent requests\","
		  "\"violated-policies\":[\"concurrency\"]}" },
	};
	struct gate_result result = example();

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct buf answer;

		buf_init(&answer, 4096);
		write_answer(rows[i].verdict, &result, &answer);
		if (!text_is(buf_text(&answer), rows[i].answer))
			fail_msg("verdict %u:\n%.*s", rows[i].verdict, TEXT_ARG(buf_text(&answer)));
		buf_done(&answer);
	}
}

static void nobody_learns_whether_a_key_exists(void **state)
{
	static const enum tollgate_verdict same[] = { TOLLGATE_BAD_KEY, TOLLGATE_UNKNOWN_KEY,
						      TOLLGATE_REVOKED_KEY };
	struct buf first, other;

	(void)state;
	buf_init(&first, 4096);
	buf_init(&other, 4096);
	write_answer(TOLLGATE_NO_KEY, NULL, &first);
	for (size_t i = 0; i < COUNT(same); i++) {
		buf_clear(&other);
		write_answer(same[i], NULL, &other);
		assert_true(text_equal(buf_text(&first), buf_text(&other)));
	}
	buf_done(&first);
	buf_done(&other);
}

/* The largest numbers that a configuration can lead to; see config/tier_options.c. */
static struct gate_result worst(uint64_t interval_ns, uint64_t burst, uint32_t cost)
{
	uint64_t charge_ns = interval_ns * cost;

	return (struct gate_result){
		.wait_ns = charge_ns,
		.has_account = true,
		.limits = { .interval_ns = interval_ns,
			    .limit_ns = interval_ns * burst,
			    .quota_limit = TOLLGATE_QUOTA_MAX,
			    .quota_period = TOLLGATE_PERIOD_MONTH },
		.rate_left = cost - 1,
		.rate_more_ns = interval_ns,
		.quota_left = cost - 1,
		.quota_more_ms = 31 * 86400000ULL,
		.cost = cost,
	};
}

static void every_refusal_fits_in_300_bytes(void **state)
{
	const uint64_t hour_ns = 3600 * NS_PER_SECOND;
	const struct gate_result rows[] = {
		worst(1, 1000000000, 1000000),
		worst(NS_PER_SECOND, 1000000000, 1000000),
		worst(TOLLGATE_BUCKET_MAX_NS / 1000000001, 1000000000, 1000000),
		worst(hour_ns, TOLLGATE_BUCKET_MAX_NS / hour_ns - 1, 1000000),
	};
	size_t longest = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(rows) * TOLLGATE_PUBLIC; i++) {
		enum tollgate_verdict verdict = i % TOLLGATE_PUBLIC;
		struct gate_result result = rows[i / TOLLGATE_PUBLIC];
		struct buf answer;

		if (verdict == TOLLGATE_ALLOW)
			continue;
		if (verdict != TOLLGATE_OVER_RATE) /* nothing is used yet */
			result.rate_left = result.limits.limit_ns / result.limits.interval_ns;
		buf_init(&answer, 4096);
		write_answer(verdict, &result, &answer);
		if (longest < buf_len(&answer))
			longest = buf_len(&answer);
		if (buf_len(&answer) > REFUSE_MAX_BYTES)
			fail_msg("verdict %u, row %zu: %zu bytes\n%.*s", verdict,
				 i / TOLLGATE_PUBLIC, buf_len(&answer),
				 TEXT_ARG(buf_text(&answer)));
		buf_done(&answer);
	}
	print_message("the longest refusal has %zu bytes\n", longest);
}

/* The number after @name in the fields. */
static uint64_t number_after(struct text fields, const char *name)
{
	const char *at = memmem(fields.ptr, fields.len, name, strlen(name));

	if (!at)
		fail_msg("no '%s' in\n%.*s", name, TEXT_ARG(fields));
	return strtoull(at + strlen(name), NULL, 10);
}

static void no_client_is_told_to_retry_too_early(void **state)
{
	static const uint64_t waits_ns[] = { 1,
					     NS_PER_SECOND - 1,
					     NS_PER_SECOND,
					     NS_PER_SECOND + 1,
					     59 * NS_PER_SECOND + 1,
					     3600000 * NS_PER_SECOND };

	(void)state;
	for (size_t i = 0; i < COUNT(waits_ns); i++) {
		uint64_t wait_ns = waits_ns[i], seconds;
		struct gate_result result = example();
		struct buf fields, body;

		result.wait_ns = wait_ns;
		result.rate_more_ns = 1;
		result.quota_more_ms = (wait_ns + NS_PER_MS - 1) / NS_PER_MS;
		for (unsigned n = 0; n < 2; n++) {
			buf_init(&fields, 4096);
			buf_init(&body, 4096);
			refuse_write(n ? TOLLGATE_OVER_RATE : TOLLGATE_OVER_QUOTA, &result, &fields,
				     &body);
			seconds = number_after(buf_text(&fields), "Retry-After: ");
			if (!seconds || seconds * NS_PER_SECOND < wait_ns ||
			    (seconds - 1) * NS_PER_SECOND >=
				    (n ? wait_ns : result.quota_more_ms * NS_PER_MS))
				fail_msg("%llu ns: after %llu s", (unsigned long long)wait_ns,
					 (unsigned long long)seconds);
			/* Retry-After is never earlier than the reset of the violated policy. */
			assert_int_equal(number_after(buf_text(&fields), ";t="), seconds);
			buf_done(&fields);
			buf_done(&body);
		}
	}
}

static void limits_take_one_line_each(void **state)
{
	static const struct {
		uint64_t interval_ns, limit_ns, quota;
		enum tollgate_period period;
		uint64_t left, more_ns;
		const char *fields, *why;
	} rows[] = {
		{ 0, 0, 0, 0, 0, 0, "", "no limits" },
		{ 10000000, 2000000000, 0, 0, 137, 7000000,
		  "RateLimit-Policy: \"rate\";q=200;w=2\r\nRateLimit: \"rate\";r=137;t=1\r\n",
		  "a rate, as the design has it" },
		{ 10000000, 2000000001, 0, 0, 200, 0,
		  "RateLimit-Policy: \"rate\";q=200;w=3\r\nRateLimit: \"rate\";r=200;t=1\r\n",
		  "windows are rounded up, and a second at least" },
		{ 0, 0, 10000, TOLLGATE_PERIOD_DAY, 0, 0,
		  "RateLimit-Policy: \"quota\";q=10000;w=86400\r\n"
		  "RateLimit: \"quota\";r=9;t=60\r\n",
		  "a quota of a day" },
		{ 10000000, 2000000000, 10000, TOLLGATE_PERIOD_MONTH, 137, 1000000001,
		  "RateLimit-Policy: \"rate\";q=200;w=2, \"quota\";q=10000;w=2678400\r\n"
		  "RateLimit: \"rate\";r=137;t=2, \"quota\";r=9;t=60\r\n",
		  "both" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct gate_result result = {
			.limits = { .interval_ns = rows[i].interval_ns,
				    .limit_ns = rows[i].limit_ns,
				    .quota_limit = rows[i].quota,
				    .quota_period = rows[i].period },
			.wait_ns = 9 * NS_PER_SECOND, /* of another request: not reported here */
			.rate_left = rows[i].left,
			.rate_more_ns = rows[i].more_ns,
			.quota_left = 9,
			.quota_more_ms = 59001,
		};
		struct buf fields;

		buf_init(&fields, 4096);
		assert_int_equal(refuse_write_limits(&result, &fields), 0);
		if (!text_is(buf_text(&fields), rows[i].fields))
			fail_msg("%s:\n%.*s", rows[i].why, TEXT_ARG(buf_text(&fields)));
		buf_done(&fields);
	}
}

static void without_limits_a_refusal_has_no_limit_fields(void **state)
{
	struct gate_result result = { .has_account = true };
	struct buf answer;

	(void)state;
	buf_init(&answer, 4096);
	for (enum tollgate_verdict v = TOLLGATE_MALFORMED; v < TOLLGATE_PUBLIC; v++)
		write_answer(v, &result, &answer); /* and must not divide by 0 */
	assert_null(memmem(buf_head(&answer), buf_len(&answer), "RateLimit", 9));
	buf_done(&answer);
}

static void failures_have_a_detail_and_buffers_keep_their_limit(void **state)
{
	struct buf fields, body, small;
	struct gate_result result = example();

	(void)state;
	buf_init(&fields, 4096);
	buf_init(&body, 4096);
	buf_init(&small, 20);
	assert_int_equal(refuse_write_failure(502, "No \"answer\"", &fields, &body), 0);
	assert_true(text_is(buf_text(&fields), PROBLEM));
	assert_true(text_is(buf_text(&body), "{\"status\":502,\"detail\":\"No \\\"answer\\\"\"}"));
	assert_true(refuse_write(TOLLGATE_OVER_RATE, &result, &small, &body) < 0);
	assert_true(refuse_write(TOLLGATE_OVER_RATE, &result, &fields, &small) < 0);
	assert_true(refuse_write_limits(&result, &small) < 0);
	assert_true(buf_len(&small) <= 20);
	buf_done(&fields);
	buf_done(&body);
	buf_done(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refusals_have_the_agreed_bytes),
		cmocka_unit_test(nobody_learns_whether_a_key_exists),
		cmocka_unit_test(every_refusal_fits_in_300_bytes),
		cmocka_unit_test(no_client_is_told_to_retry_too_early),
		cmocka_unit_test(limits_take_one_line_each),
		cmocka_unit_test(without_limits_a_refusal_has_no_limit_fields),
		cmocka_unit_test(failures_have_a_detail_and_buffers_keep_their_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
