/* SPDX-License-Identifier: BSD-2-Clause */
/* tls: OpenSSL contexts for connections: certificate, key, versions and ALPN. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stddef.h>

struct tls_context;

/*
 * A context for a listener: TLS 1.2 and 1.3, ALPN http/1.1. The files are PEM; the certificate's
 * contains its chain. 0; on failure a negative errno, with a sentence about which file is unusable
 * and why in @ret_why (of @why_size bytes).
 *
 * A context is reference counted. Each connection holds a reference, so the caller may release its
 * own one at any time. Any thread.
 */
int tls_context_new_server(const char *certificate_file, const char *private_key_file,
			   struct tls_context **ret_context, char *ret_why, size_t why_size);

/*
 * A context for outgoing connections, whose peers need a certificate from the authorities in
 * @ca_file (PEM); NULL: the system's. Otherwise as above.
 */
int tls_context_new_client(const char *ca_file, struct tls_context **ret_context, char *ret_why,
			   size_t why_size);

struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context); /* accepts NULL */

#endif
