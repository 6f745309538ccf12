/* SPDX-License-Identifier: BSD-2-Clause */
/* refuse: tollgate's own responses, and the header fields that describe limits. */
#include "proxy/refuse.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "enforce/usage.h"
#include "http/problem.h"

/*
 * Refusals must be cheap: bodies are literals except for their end, and fields are assembled here.
 */
#define FIELDS_MAX 512 /* the literals below, at most 250 bytes, and ten numbers of 20 digits */

#define MAX_SECONDS 999999999

static const struct {
	unsigned status;
	struct text problem; /* the body that problem_write_body() makes, without its end */
} verdicts[] = {
#define PROBLEM(status, detail) "{\"status\":" #status ",\"detail\":\"" detail "\""
#define X(name, label, status, detail) \
	{ status, { PROBLEM(status, detail), sizeof(PROBLEM(status, detail)) - 1 } },
	TOLLGATE_VERDICTS(X)
#undef X
#undef PROBLEM
};

unsigned refuse_status(enum tollgate_verdict verdict)
{
	return verdicts[verdict].status;
}

/* At least one second and at most nine digits (31 years): then a refusal just fits. */
static uint64_t seconds_up(uint64_t amount, uint64_t per_second)
{
	uint64_t seconds = amount / per_second + (amount % per_second != 0);

	if (seconds > MAX_SECONDS)
		return MAX_SECONDS;
	return seconds ? seconds : 1;
}

static char *put(char *at, struct text text)
{
	memcpy(at, text.ptr, text.len);
	return at + text.len;
}

static char *put_number(char *at, struct text before, uint64_t number)
{
	char digits[20];
	size_t first = sizeof(digits);

	do {
		digits[--first] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	at = put(at, before);
	return put(at, (struct text){ digits + first, sizeof(digits) - first });
}

static uint64_t period_seconds(const struct gate_result *result)
{
	/*
	 * A policy is the same in every month, so use 31 days. RateLimit has the time that is left.
	 */
	return result->limits.quota_period == TOLLGATE_PERIOD_DAY ? 86400 : 31 * 86400;
}

static char *put_rate_policy(char *at, const struct gate_result *result)
{
	at = put_number(at, TEXT("\"rate\";q="),
			result->limits.limit_ns / result->limits.interval_ns);
	return put_number(at, TEXT(";w="), seconds_up(result->limits.limit_ns, NS_PER_SECOND));
}

static char *put_quota_policy(char *at, const struct gate_result *result)
{
	at = put_number(at, TEXT("\"quota\";q="), result->limits.quota_limit);
	return put_number(at, TEXT(";w="), period_seconds(result));
}

/*
 * After a refusal, t of the rate is until this request could pass; until the next unit is too
 * early.
 */
static char *put_rate_left(char *at, const struct gate_result *result, bool until_it_passes)
{
	uint64_t more_ns = result->rate_more_ns;

	if (until_it_passes && more_ns < result->wait_ns)
		more_ns = result->wait_ns;
	at = put_number(at, TEXT("\"rate\";r="), result->rate_left);
	return put_number(at, TEXT(";t="), seconds_up(more_ns, NS_PER_SECOND));
}

static char *put_quota_left(char *at, const struct gate_result *result)
{
	at = put_number(at, TEXT("\"quota\";r="), result->quota_left);
	return put_number(at, TEXT(";t="), seconds_up(result->quota_more_ms, 1000));
}

static char *put_rate(char *at, const struct gate_result *result, bool until_it_passes)
{
	if (!result->limits.interval_ns)
		return at;
	at = put_rate_policy(put(at, TEXT("RateLimit-Policy: ")), result);
	at = put_rate_left(put(at, TEXT("\r\nRateLimit: ")), result, until_it_passes);
	return put(at, TEXT("\r\n"));
}

static char *put_quota(char *at, const struct gate_result *result)
{
	if (!result->limits.quota_limit)
		return at;
	at = put_quota_policy(put(at, TEXT("RateLimit-Policy: ")), result);
	at = put_quota_left(put(at, TEXT("\r\nRateLimit: ")), result);
	return put(at, TEXT("\r\n"));
}

static char *put_both(char *at, const struct gate_result *result)
{
	at = put_rate_policy(put(at, TEXT("RateLimit-Policy: ")), result);
	at = put_quota_policy(put(at, TEXT(", ")), result);
	at = put_rate_left(put(at, TEXT("\r\nRateLimit: ")), result, false);
	at = put_quota_left(put(at, TEXT(", ")), result);
	return put(at, TEXT("\r\n"));
}

/* Write an IMF-fixdate, the format of Date (RFC 9110, section 5.6.7). */
static char *put_grace(char *at, uint32_t end_s)
{
	time_t end = end_s;
	struct tm tm;

	gmtime_r(&end, &tm);
	return at + strftime(at, 64, "Tollgate-Grace-Ends: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
}

int refuse_write_limits(const struct gate_result *result, struct buf *fields)
{
	char text[FIELDS_MAX], *end;

	if (result->limits.interval_ns && result->limits.quota_limit)
		end = put_both(text, result);
	else
		end = put_quota(put_rate(text, result, false), result);
	if (result->limits.grace_end_s)
		end = put_grace(end, result->limits.grace_end_s);
	return buf_append(fields, text, (size_t)(end - text));
}

int refuse_write_failure(unsigned status, const char *detail, struct buf *fields, struct buf *body)
{
	int err = buf_append_str(fields, PROBLEM_FIELD);

	return err ? err : problem_write_body(body, status, detail, NULL);
}

static char *put_retry_after(char *at, uint64_t seconds)
{
	return put(put_number(at, TEXT("Retry-After: "), seconds), TEXT("\r\n"));
}

/* Write the fields that depend on the verdict, and the end of its body if that is not just "}". */
static char *put_fields(char *at, enum tollgate_verdict verdict, const struct gate_result *result,
			struct text *ret_end)
{
	switch (verdict) {
	case TOLLGATE_OVER_RATE:
		*ret_end = TEXT(",\"violated-policies\":[\"rate\"]}");
		at = put_retry_after(at, seconds_up(result->wait_ns, NS_PER_SECOND));
		return put_rate(at, result, true);
	case TOLLGATE_OVER_QUOTA:
		*ret_end = TEXT(",\"violated-policies\":[\"quota\"]}");
		at = put_retry_after(at, seconds_up(result->quota_more_ms, 1000));
		return put_quota(at, result);
	case TOLLGATE_OVER_CONCURRENCY:
		*ret_end = TEXT(",\"violated-policies\":[\"concurrency\"]}");
		return put_rate(put_retry_after(at, 1), result, false);
	case TOLLGATE_NO_FEATURE:
		return put_rate(at, result, false);
	case TOLLGATE_UNAVAILABLE:
		return put_retry_after(at, 1);
	case TOLLGATE_NO_KEY:
	case TOLLGATE_BAD_KEY:
	case TOLLGATE_UNKNOWN_KEY:
	case TOLLGATE_REVOKED_KEY:
		return put(at, TEXT("WWW-Authenticate: Bearer\r\n"));
	/* No field to add; or nothing is ever written, since it is no refusal or XDP's alone. */
	case TOLLGATE_ALLOW:
	case TOLLGATE_MALFORMED:
	case TOLLGATE_NO_ROUTE:
	case TOLLGATE_INACTIVE:
	case TOLLGATE_PUBLIC:
	case TOLLGATE_PENALTY_FLOW:
	case TOLLGATE_PENALTY_SOURCE:
	case TOLLGATE_DENIED:
	case TOLLGATE_VERDICT_COUNT:
		break;
	}
	return at;
}

int refuse_write(enum tollgate_verdict verdict, const struct gate_result *result,
		 struct buf *fields, struct buf *body)
{
	char text[FIELDS_MAX], *end = put(text, TEXT(PROBLEM_FIELD));
	struct text body_end = TEXT("}");
	int err;

	end = put_fields(end, verdict, result, &body_end);
	err = buf_append(fields, text, (size_t)(end - text));
	if (!err)
		err = buf_append_text(body, verdicts[verdict].problem);
	return err ? err : buf_append_text(body, body_end);
}
