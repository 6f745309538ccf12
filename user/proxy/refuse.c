/* SPDX-License-Identifier: BSD-2-Clause */
/* refuse: the answers that tollgate gives itself, and the fields that tell of limits. */
#include "proxy/refuse.h"

#include <errno.h>

#include "base/clock.h"
#include "enforce/usage.h"
#include "http/problem.h"

static const struct {
	unsigned status;
	const char *detail;
} verdicts[] = {
#define X(name, label, status, detail) { status, detail },
	TOLLGATE_VERDICTS(X)
#undef X
};

unsigned refuse_status(enum tollgate_verdict verdict)
{
	return verdicts[verdict].status;
}

static uint64_t seconds_up(uint64_t amount, uint64_t per_second)
{
	uint64_t seconds = amount / per_second + (amount % per_second != 0);

	return seconds ? seconds : 1;
}

/* Text first, numbers in between: no error of these few appends can go unseen. */
static int put(struct buf *b, int err, const char *text)
{
	return err ? err : buf_append_str(b, text);
}

static int put_number(struct buf *b, int err, const char *before, uint64_t number)
{
	err = put(b, err, before);
	return err ? err : buf_append_u64(b, number);
}

static uint64_t period_seconds(const struct gate_result *result)
{
	/* A policy is for ever, so a month in it is 31 days; RateLimit tells the time that is left. */
	return result->limits.quota_period == TOLLGATE_PERIOD_DAY ? 86400 : 31 * 86400;
}

static int put_rate_policy(struct buf *b, int err, const struct gate_result *result)
{
	err = put_number(b, err,
			 "\"rate\";q=", result->limits.limit_ns / result->limits.interval_ns);
	return put_number(b, err, ";w=", seconds_up(result->limits.limit_ns, NS_PER_SECOND));
}

static int put_quota_policy(struct buf *b, int err, const struct gate_result *result)
{
	err = put_number(b, err, "\"quota\";q=", result->limits.quota_limit);
	return put_number(b, err, ";w=", period_seconds(result));
}

static int put_rate_left(struct buf *b, int err, const struct gate_result *result)
{
	err = put_number(b, err, "\"rate\";r=", result->rate_left);
	return put_number(b, err, ";t=", seconds_up(result->rate_more_ns, NS_PER_SECOND));
}

static int put_quota_left(struct buf *b, int err, const struct gate_result *result)
{
	err = put_number(b, err, "\"quota\";r=", result->quota_left);
	return put_number(b, err, ";t=", seconds_up(result->quota_more_ms, 1000));
}

static int write_limits(struct buf *b, const struct gate_result *result, bool rate, bool quota)
{
	int err = 0;

	rate = rate && result->limits.interval_ns;
	quota = quota && result->limits.quota_limit;
	if (!rate && !quota)
		return 0;
	err = put(b, err, "RateLimit-Policy: ");
	if (rate)
		err = put_rate_policy(b, err, result);
	err = put(b, err, rate && quota ? ", " : "");
	if (quota)
		err = put_quota_policy(b, err, result);
	err = put(b, err, "\r\nRateLimit: ");
	if (rate)
		err = put_rate_left(b, err, result);
	err = put(b, err, rate && quota ? ", " : "");
	if (quota)
		err = put_quota_left(b, err, result);
	return put(b, err, "\r\n");
}

int refuse_write_limits(const struct gate_result *result, struct buf *fields)
{
	return write_limits(fields, result, true, true);
}

static int write_problem(unsigned status, const char *detail, const char *policy,
			 struct buf *fields, struct buf *body)
{
	int err = buf_append_str(fields, "Content-Type: application/problem+json\r\n");

	return err ? err : problem_write_body(body, status, detail, policy);
}

int refuse_write_failure(unsigned status, const char *detail, struct buf *fields, struct buf *body)
{
	return write_problem(status, detail, NULL, fields, body);
}

/* The rate's t, as its Retry-After, is for this request's cost; a unit's would come too early. */
static struct gate_result until_it_passes(const struct gate_result *result)
{
	struct gate_result until = *result;

	if (until.rate_more_ns < until.wait_ns)
		until.rate_more_ns = until.wait_ns;
	return until;
}

static int write_over_rate(const struct gate_result *result, struct buf *fields, struct buf *body)
{
	struct gate_result until = until_it_passes(result);
	int err = write_problem(429, verdicts[TOLLGATE_OVER_RATE].detail, "rate", fields, body);

	err = put_number(fields, err, "Retry-After: ", seconds_up(result->wait_ns, NS_PER_SECOND));
	err = put(fields, err, "\r\n");
	return err ? err : write_limits(fields, &until, true, false);
}

static int write_over_quota(const struct gate_result *result, struct buf *fields, struct buf *body)
{
	int err = write_problem(429, verdicts[TOLLGATE_OVER_QUOTA].detail, "quota", fields, body);

	err = put_number(fields, err, "Retry-After: ", seconds_up(result->quota_more_ms, 1000));
	err = put(fields, err, "\r\n");
	return err ? err : write_limits(fields, result, false, true);
}

int refuse_write(enum tollgate_verdict verdict, const struct gate_result *result,
		 struct buf *fields, struct buf *body)
{
	unsigned status = verdicts[verdict].status;
	const char *detail = verdicts[verdict].detail;
	int err;

	switch (verdict) {
	case TOLLGATE_OVER_RATE:
		return write_over_rate(result, fields, body);
	case TOLLGATE_OVER_QUOTA:
		return write_over_quota(result, fields, body);
	case TOLLGATE_OVER_CONCURRENCY:
		err = write_problem(status, detail, "concurrency", fields, body);
		err = put(fields, err, "Retry-After: 1\r\n");
		return err ? err : write_limits(fields, result, true, false);
	case TOLLGATE_NO_FEATURE:
		err = write_problem(status, detail, NULL, fields, body);
		return err ? err : write_limits(fields, result, true, false);
	case TOLLGATE_UNAVAILABLE:
		err = write_problem(status, detail, NULL, fields, body);
		return put(fields, err, "Retry-After: 1\r\n");
	case TOLLGATE_NO_KEY:
	case TOLLGATE_BAD_KEY:
	case TOLLGATE_UNKNOWN_KEY:
	case TOLLGATE_REVOKED_KEY:
		err = write_problem(status, detail, NULL, fields, body);
		return put(fields, err, "WWW-Authenticate: Bearer\r\n");
	default:
		return write_problem(status, detail, NULL, fields, body);
	}
}
