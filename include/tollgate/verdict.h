/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The verdicts: what happens to a request or a packet.
 *
 * This table is the only place that defines a verdict's name, its HTTP status and the text that a
 * client reads. The agent and XDP count by position, so append new rows at the end and never
 * reorder.
 */
#ifndef TOLLGATE_VERDICT_H
#define TOLLGATE_VERDICT_H

/* X(name, metric label, HTTP status, detail of the problem document) */
#define TOLLGATE_VERDICTS(X)                                                         \
	X(ALLOW, "allow", 200, "")                                                   \
	X(MALFORMED, "malformed", 400, "Bad request")                                \
	X(NO_ROUTE, "no_route", 404, "Not found")                                    \
	X(NO_KEY, "no_key", 401, "Invalid or expired API key")                       \
	X(BAD_KEY, "bad_key", 401, "Invalid or expired API key")                     \
	X(UNKNOWN_KEY, "unknown_key", 401, "Invalid or expired API key")             \
	X(REVOKED_KEY, "revoked_key", 401, "Invalid or expired API key")             \
	X(UNAVAILABLE, "unavailable", 503, "Cache service unavailable")              \
	X(INACTIVE, "inactive", 403, "Subscription inactive or past due")            \
	X(OVER_QUOTA, "over_quota", 429, "Quota exceeded. Upgrade your tier.")       \
	X(OVER_RATE, "over_rate", 429, "Rate limit exceeded. Upgrade your tier.")    \
	X(NO_FEATURE, "no_feature", 403, "Your plan does not include this feature")  \
	X(OVER_CONCURRENCY, "over_concurrency", 429, "Too many concurrent requests") \
	X(PUBLIC, "public", 200, "")                                                 \
	X(PENALTY_FLOW, "penalty_flow", 429, "")                                     \
	X(PENALTY_SOURCE, "penalty_source", 429, "")                                 \
	X(DENIED, "denied", 403, "")

enum tollgate_verdict {
#define X(name, label, status, detail) TOLLGATE_##name,
	TOLLGATE_VERDICTS(X)
#undef X
		TOLLGATE_VERDICT_COUNT
};

#endif
