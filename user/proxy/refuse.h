/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * refuse: tollgate's own responses, and the header fields that describe limits.
 *
 * A refusal has at most 300 bytes, head and body, so that XDP can send the same bytes. Therefore it
 * names only the policy that was violated, has neither Date (RFC 9110, section 6.6.1 requires it
 * only of origin servers) nor a request id, and no time in it is longer than 31 years. A Connection
 * field that the server adds is not included.
 */
#ifndef PROXY_REFUSE_H
#define PROXY_REFUSE_H

#include "base/buf.h"
#include "enforce/gate.h"
#include "tollgate/verdict.h"

#define REFUSE_MAX_BYTES 300

/*
 * Append the field lines of a refusal to @fields (Content-Type and, where they apply, Retry-After,
 * RateLimit-Policy, RateLimit and WWW-Authenticate), and its body to @body. @result is the gate's;
 * NULL if the gate was not asked or found no account. 0 or an error of buf_append().
 */
int refuse_write(enum tollgate_verdict verdict, const struct gate_result *result,
		 struct buf *fields, struct buf *body);

/* The same for a failure: 502, 503 or 504. */
int refuse_write_failure(unsigned status, const char *detail, struct buf *fields, struct buf *body);

/*
 * Append RateLimit-Policy and RateLimit as in draft-ietf-httpapi-ratelimit-headers. In the policy
 * "rate", q is the burst and w the seconds in which it refills; in "quota", w is the period. r is
 * what may be used at once. t is the number of seconds until there is more, rounded up, so that a
 * client that waits that long is not too early. 0 or an error of buf_append().
 */
int refuse_write_limits(const struct gate_result *result, struct buf *fields);

/* The HTTP status of a verdict. Pure. */
unsigned refuse_status(enum tollgate_verdict verdict);

#endif
