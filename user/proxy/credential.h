/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * credential: finds the key of a request.
 *
 * The key is in X-API-Key or, if there is none, in Authorization: Bearer. If both are present, the
 * Authorization field is meant for the upstream. XDP's key scan (tollgate/keyscan.h) decides the
 * same.
 */
#ifndef PROXY_CREDENTIAL_H
#define PROXY_CREDENTIAL_H

#include <stdbool.h>

#include "http/message.h"

/* Whether one of the fields occurs twice, so that the key is ambiguous (400). */
bool credential_is_ambiguous(const struct http_message *request);

/* The key as it was sent, borrowed from the request; a NULL pointer if there is none. */
struct text credential_find(const struct http_message *request, bool *ret_in_authorization);

#endif
