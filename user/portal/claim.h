/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * claim: the key of whoever has just paid.
 *
 * A session's id travels in a URL, through histories and logs, so it is not enough: the browser that
 * began the checkout has a cookie that says so.
 */
#ifndef PORTAL_CLAIM_H
#define PORTAL_CLAIM_H

#include "base/buf.h"

struct visit;

/* Append the cookie that binds the visitor's browser to @session. 0 or the error of buf_append(). */
int claim_write_cookie(struct buf *fields, const struct visit *visit, const char *session);

#endif
