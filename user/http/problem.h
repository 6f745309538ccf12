/* SPDX-License-Identifier: BSD-2-Clause */
/* problem: refusals as application/problem+json (RFC 9457), as short as possible. Pure. */
#ifndef HTTP_PROBLEM_H
#define HTTP_PROBLEM_H

#include "base/buf.h"

#define PROBLEM_FIELD "Content-Type: application/problem+json\r\n"

/*
 * Append {"status":429,"detail":"...","violated-policies":["rate"]} to @b; @violated_policy NULL
 * leaves out the last member. 0, or the error of buf_append(), and then nothing was appended.
 */
int problem_write_body(struct buf *b, unsigned status, const char *detail,
		       const char *violated_policy);

#endif
