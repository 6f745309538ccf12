/* SPDX-License-Identifier: BSD-2-Clause */
/* tls: what OpenSSL needs to know before a connection: certificate, key, versions, ALPN. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stddef.h>

struct tls_context;

/*
 * A context for a listener: TLS 1.2 and 1.3, ALPN http/1.1. The files are PEM, the certificate's
 * with its chain. On failure a negative errno, and @ret_why (of @why_size bytes) says which file
 * and what is wrong. Reference counted: connections hold it, so it may be released while they live.
 * Any thread may take and release references.
 */
int tls_context_new_server(const char *certificate_file, const char *private_key_file,
			   struct tls_context **ret_context, char *ret_why, size_t why_size);

/*
 * A context for outgoing connections, which checks the peer's certificate against @ca_file (PEM),
 * or against the system's authorities if that is NULL. Otherwise as above.
 */
int tls_context_new_client(const char *ca_file, struct tls_context **ret_context, char *ret_why,
			   size_t why_size);

struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context); /* accepts NULL */

#endif
