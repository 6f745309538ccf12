/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * refuse: the answers that tollgate gives itself, and the fields that tell of limits.
 *
 * A refusal is at most 300 bytes, head and body, so that the same bytes fit wherever XDP gives the
 * same answer. That is why refusals name only the policy that was violated, and carry neither Date
 * (RFC 9110, 6.6.1 demands it of origin servers only) nor a request id, and why no time in them is
 * longer than 31 years. A Connection field, where the server adds one, is not counted.
 */
#ifndef PROXY_REFUSE_H
#define PROXY_REFUSE_H

#include "base/buf.h"
#include "enforce/gate.h"
#include "tollgate/verdict.h"

#define REFUSE_MAX_BYTES 300

/*
 * Append the field lines of a refusal with that verdict (Content-Type and, where they apply,
 * Retry-After, RateLimit-Policy, RateLimit, WWW-Authenticate) to @fields, and its body to @body.
 * @result is what the gate said, or NULL if it was not asked. Errors as buf_append().
 */
int refuse_write(enum tollgate_verdict verdict, const struct gate_result *result,
		 struct buf *fields, struct buf *body);

/* The same for a failure of ours: 502, 503, 504, 404. */
int refuse_write_failure(unsigned status, const char *detail, struct buf *fields, struct buf *body);

/*
 * RateLimit-Policy and RateLimit of an answer on a limited route, in the form of
 * draft-ietf-httpapi-ratelimit-headers: "rate" with q the burst and w the seconds in which it comes
 * back, "quota" with the period. r is what may be used at once, and t the seconds until there is more
 * of it, rounded up, so that nobody who waits that long comes too early.
 */
int refuse_write_limits(const struct gate_result *result, struct buf *fields);

unsigned refuse_status(enum tollgate_verdict verdict);

#endif
