/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * credential: where a request carries its key.
 *
 * In X-API-Key, or, only where that is absent, in Authorization: Bearer. Beside an X-API-Key an
 * Authorization is the upstream's. The kernel's key scan (tollgate/keyscan.h) chooses alike.
 */
#ifndef PROXY_CREDENTIAL_H
#define PROXY_CREDENTIAL_H

#include <stdbool.h>

#include "http/message.h"

/* Either field occurs twice: nobody can say which one counts (400). */
bool credential_is_ambiguous(const struct http_message *request);

/* The key as it was sent; a NULL pointer when there is none. It is borrowed from the request. */
struct text credential_find(const struct http_message *request, bool *ret_in_authorization);

#endif
