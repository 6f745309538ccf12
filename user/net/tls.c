/* SPDX-License-Identifier: BSD-2-Clause */
/* tls: OpenSSL contexts. conn_tls.c uses them for connections. */
#include "net/tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/atomic.h"
#include "net/conn_impl.h"

struct tls_context {
	unsigned references; /* atomic */
	SSL_CTX *ctx;	     /* owned */
};

static const unsigned char protocols[] = "\x08http/1.1";

/* A client that offers ALPN without http/1.1 gets the alert no_application_protocol (RFC 7301). */
static int on_select_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
			      const unsigned char *in, unsigned in_len, void *arg)
{
	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto((unsigned char **)out, out_len, protocols, sizeof(protocols) - 1,
				  in, in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	return SSL_TLSEXT_ERR_OK;
}

static struct tls_context *make(const SSL_METHOD *method)
{
	struct tls_context *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->references = 1;
	t->ctx = SSL_CTX_new(method);
	if (!t->ctx) {
		tls_context_unref(t);
		return NULL;
	}
	SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(t->ctx, SSL_MODE_RELEASE_BUFFERS);
	/*
	 * Sessions are resumed by tickets; a cache would only make the threads wait for its lock.
	 */
	SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
	return t;
}

/* Write to @ret_why why @file is unusable, and return a negative errno for it. */
static int explain(const char *file, const char *what, char *ret_why, size_t why_size)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = ERR_reason_error_string(code);
	int err = -EINVAL;

	if (access(file, R_OK)) {
		err = -errno;
		reason = strerror(errno);
	}
	snprintf(ret_why, why_size, "%s: %s: %s", file, what, reason ? reason : "unknown error");
	ERR_clear_error();
	return err;
}

int tls_context_new_server(const char *certificate_file, const char *private_key_file,
			   struct tls_context **ret_context, char *ret_why, size_t why_size)
{
	static const unsigned char id[] = "tollgate";
	struct tls_context *t = make(TLS_server_method());
	int err;

	if (!t) {
		snprintf(ret_why, why_size, "out of memory");
		return -ENOMEM;
	}
	ERR_clear_error();
	SSL_CTX_set_session_id_context(t->ctx, id, sizeof(id) - 1);
	SSL_CTX_set_alpn_select_cb(t->ctx, on_select_protocol, NULL);
	if (SSL_CTX_use_certificate_chain_file(t->ctx, certificate_file) != 1)
		err = explain(certificate_file, "does not contain a usable certificate", ret_why,
			      why_size);
	else if (SSL_CTX_use_PrivateKey_file(t->ctx, private_key_file, SSL_FILETYPE_PEM) != 1)
		err = explain(private_key_file, "does not contain a usable private key", ret_why,
			      why_size);
	else if (SSL_CTX_check_private_key(t->ctx) != 1)
		err = explain(private_key_file, "does not match the certificate", ret_why,
			      why_size);
	else
		err = 0;
	if (err) {
		tls_context_unref(t);
		return err;
	}
	*ret_context = t;
	return 0;
}

int tls_context_new_client(const char *ca_file, struct tls_context **ret_context, char *ret_why,
			   size_t why_size)
{
	struct tls_context *t = make(TLS_client_method());
	int err = 0;

	if (!t) {
		snprintf(ret_why, why_size, "out of memory");
		return -ENOMEM;
	}
	ERR_clear_error();
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_alpn_protos(t->ctx, protocols, sizeof(protocols) - 1);
	if (!ca_file)
		SSL_CTX_set_default_verify_paths(t->ctx);
	else if (SSL_CTX_load_verify_locations(t->ctx, ca_file, NULL) != 1)
		err = explain(ca_file, "does not contain usable certificates", ret_why, why_size);
	if (err) {
		tls_context_unref(t);
		return err;
	}
	*ret_context = t;
	return 0;
}

SSL *tls_context_new_ssl(struct tls_context *context)
{
	return SSL_new(context->ctx);
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
	atomic_add(&context->references, 1u);
	return context;
}

void tls_context_unref(struct tls_context *context)
{
	if (!context || atomic_sub_return(&context->references, 1u))
		return;
	SSL_CTX_free(context->ctx);
	free(context);
}
