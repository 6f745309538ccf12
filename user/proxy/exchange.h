/* SPDX-License-Identifier: BSD-2-Clause */
/* exchange: one request, as a list of steps; these are the events of an HTTP server's handler. */
#ifndef PROXY_EXCHANGE_H
#define PROXY_EXCHANGE_H

#include "http/server.h"

struct proxy;

/* Events of a stream whose server's owner is a struct proxy_port. See struct http_handler. */
void exchange_start(struct http_stream *s);
void exchange_body(struct http_stream *s, const char *data, size_t len);
void exchange_body_end(struct http_stream *s);
void exchange_drain(struct http_stream *s);
void exchange_abort(struct http_stream *s, int err);

/* Free the exchanges that are kept for later requests. */
void exchange_free_spares(struct proxy *proxy);

#endif
