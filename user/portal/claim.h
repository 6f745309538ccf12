/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * claim: a customer who has just paid collects the API key.
 *
 * The checkout session's ID is in a URL and so ends up in browser histories and logs. It is
 * therefore not enough to get the key: the browser that started the checkout must also present its
 * cookie.
 */
#ifndef PORTAL_CLAIM_H
#define PORTAL_CLAIM_H

#include "base/buf.h"

struct visit;

/*
 * Append the Set-Cookie field that binds the visitor's browser to the checkout session with ID
 * @session. 0 or the error of buf_append().
 */
int claim_write_cookie(struct buf *fields, const struct visit *visit, const char *session);

#endif
