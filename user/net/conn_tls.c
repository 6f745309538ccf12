/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_tls: TLS between conn.c and the owner of a connection.
 *
 * OpenSSL does not see the socket. It reads the ciphertext that conn.c has just received; what it
 * writes is collected in a buffer of the thread and sent at the end of the call. A connection
 * stores ciphertext of its own only while its owner has paused it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>

#include "base/buf.h"
#include "net/conn_impl.h"
#include "net/tls.h"

#define RECORD_BYTES (16 * 1024)
#define REPLY_BYTES  (64 * 1024) /* limit for queued replies to key updates and the like */

struct conn_tls {
	struct conn *conn;	     /* borrowed: it owns this */
	struct tls_context *context; /* owned reference */
	SSL *ssl;		     /* owned */
	uv_idle_t wake;		     /* resumes with `kept` after a pause */
	struct text in;	    /* borrowed: received ciphertext that OpenSSL has not read yet */
	struct buf kept;    /* ciphertext that arrived before a pause */
	size_t reply_bytes; /* queued replies, which reading caused */
	bool is_client;
	bool is_handshaken;
	bool has_failed;
	void (*on_closed)(struct conn *c);
};

static _Thread_local char outgoing[4 * (RECORD_BYTES + 512)];
static _Thread_local size_t outgoing_len;
static _Thread_local char plain[RECORD_BYTES];

static BIO_METHOD *bio_method; /* created once, never freed */
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static int flush(struct conn_tls *t)
{
	uv_buf_t part = uv_buf_init(outgoing, (unsigned)outgoing_len);

	if (!outgoing_len)
		return 0;
	outgoing_len = 0;
	return conn_raw_write(t->conn, &part, 1);
}

static int bio_read(BIO *bio, char *data, int len)
{
	struct conn_tls *t = BIO_get_data(bio);
	size_t count = t->in.len < (size_t)len ? t->in.len : (size_t)len;

	BIO_clear_retry_flags(bio);
	if (!count) {
		BIO_set_retry_read(bio);
		return -1;
	}
	memcpy(data, t->in.ptr, count);
	t->in.ptr += count;
	t->in.len -= count;
	return (int)count;
}

static int bio_write(BIO *bio, const char *data, int len)
{
	struct conn_tls *t = BIO_get_data(bio);
	size_t room = sizeof(outgoing) - outgoing_len;

	BIO_clear_retry_flags(bio);
	if (room < (size_t)len) {
		flush(t); /* a failure shows in conn->writing */
		room = sizeof(outgoing);
	}
	if (room < (size_t)len)
		len = (int)room;
	memcpy(outgoing + outgoing_len, data, len);
	outgoing_len += len;
	return len;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH;
}

static void make_bio_method(void)
{
	bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "conn");
	if (!bio_method)
		return;
	BIO_meth_set_read(bio_method, bio_read);
	BIO_meth_set_write(bio_method, bio_write);
	BIO_meth_set_ctrl(bio_method, bio_ctrl);
}

static int prepare(struct conn_tls *t, const char *server_name)
{
	BIO *bio;

	pthread_once(&bio_once, make_bio_method);
	bio = bio_method ? BIO_new(bio_method) : NULL;
	if (!bio || !t->ssl) {
		BIO_free(bio);
		return -ENOMEM;
	}
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->ssl, bio, bio);
	if (server_name && (SSL_set_tlsext_host_name(t->ssl, server_name) != 1 ||
			    SSL_set1_host(t->ssl, server_name) != 1))
		return -EINVAL;
	return 0;
}

int conn_tls_new(struct conn *c, struct tls_context *context, const char *server_name,
		 struct conn_tls **ret_tls)
{
	struct conn_tls *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	t->conn = c;
	t->context = tls_context_ref(context);
	t->ssl = tls_context_new_ssl(context);
	buf_init(&t->kept, 256 * 1024);
	err = prepare(t, server_name);
	if (err) {
		ERR_clear_error();
		conn_tls_free(t);
		return err;
	}
	SSL_set_accept_state(t->ssl);
	uv_idle_init(c->io.handle.loop, &t->wake);
	t->wake.data = t;
	*ret_tls = t;
	return 0;
}

void conn_tls_free(struct conn_tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	tls_context_unref(t->context);
	buf_done(&t->kept);
	free(t);
}

static void fail(struct conn_tls *t)
{
	bool is_first = !t->has_failed;

	ERR_clear_error();
	t->has_failed = true;
	flush(t); /* the alert */
	if (!is_first)
		return;
	if (t->is_client && !t->is_handshaken)
		conn_report_connected(t->conn, -EPROTO);
	else
		conn_report_error(t->conn, -EPROTO);
}

/* Go on with the handshake. False unless it is complete. */
static bool shake_hands(struct conn_tls *t)
{
	int result = SSL_do_handshake(t->ssl);

	if (result != 1) {
		if (SSL_get_error(t->ssl, result) != SSL_ERROR_WANT_READ)
			fail(t);
		else
			flush(t);
		return false;
	}
	flush(t);
	t->is_handshaken = true;
	if (t->is_client)
		conn_report_connected(t->conn, 0);
	else
		t->conn->phase = CONN_UP;
	return true;
}

/*
 * Send what OpenSSL wrote while it was reading. False if too many replies are queued because the
 * peer requests them without reading.
 */
static bool flush_replies(struct conn_tls *t)
{
	t->reply_bytes = conn_queued(t->conn) ? t->reply_bytes + outgoing_len : 0;
	flush(t);
	return t->reply_bytes <= REPLY_BYTES;
}

static bool may_deliver(const struct conn_tls *t)
{
	const struct conn *c = t->conn;

	return c->phase != CONN_CLOSING && !c->is_paused && c->reading != CONN_READ_ENDED &&
	       !t->has_failed;
}

/* Decrypt and deliver until no whole record is left or the owner pauses. */
static void deliver(struct conn_tls *t)
{
	ERR_clear_error();
	if (!t->is_handshaken && !shake_hands(t))
		return;
	while (may_deliver(t)) {
		int len = SSL_read(t->ssl, plain, sizeof(plain));
		int why = len > 0 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, len);

		if (!flush_replies(t))
			why = SSL_ERROR_SSL;
		if (why == SSL_ERROR_NONE && t->conn->events)
			t->conn->events->on_data(t->conn, plain, len);
		else if (why == SSL_ERROR_ZERO_RETURN)
			conn_report_eof(t->conn);
		else if (why != SSL_ERROR_NONE && why != SSL_ERROR_WANT_READ)
			fail(t);
		if (why != SSL_ERROR_NONE)
			break;
	}
}

static void on_wake(uv_idle_t *wake)
{
	struct conn_tls *t = wake->data;

	uv_idle_stop(wake);
	conn_tls_receive(t, NULL, 0);
}

void conn_tls_start(struct conn_tls *t)
{
	t->is_client = true;
	SSL_set_connect_state(t->ssl);
	deliver(t);
}

void conn_tls_receive(struct conn_tls *t, const char *data, size_t len)
{
	bool was_kept = buf_len(&t->kept) > 0;

	if (t->conn->phase == CONN_CLOSING || t->has_failed)
		return;
	if (was_kept && len && buf_append(&t->kept, data, len)) {
		conn_report_error(t->conn, -ENOBUFS);
		return;
	}
	t->in = was_kept ? buf_text(&t->kept) : (struct text){ data, len };
	deliver(t);
	if (was_kept)
		buf_consume(&t->kept, buf_len(&t->kept) - t->in.len);
	else if (t->in.len && t->conn->is_paused && t->conn->reading != CONN_READ_ENDED)
		buf_append(&t->kept, t->in.ptr, t->in.len);
	t->in = (struct text){ NULL, 0 };
	if (!buf_len(&t->kept))
		buf_done(&t->kept);
}

void conn_tls_receive_eof(struct conn_tls *t)
{
	if (t->conn->reading == CONN_READ_ENDED || t->has_failed)
		return;
	fail(t); /* without close_notify, the stream may have been truncated by an attacker */
}

void conn_tls_resume(struct conn_tls *t)
{
	if (buf_len(&t->kept) || SSL_pending(t->ssl))
		uv_idle_start(&t->wake, on_wake);
}

/* Small parts are collected into records of up to RECORD_BYTES before they are encrypted. */
int conn_tls_write(struct conn_tls *t, const uv_buf_t *parts, unsigned count)
{
	static _Thread_local char gathered[RECORD_BYTES];
	size_t len = 0;

	if (t->has_failed || t->conn->writing == CONN_WRITE_BROKEN ||
	    t->conn->phase == CONN_CLOSING)
		return -EPIPE;
	ERR_clear_error();
	for (unsigned i = 0; i < count; i++) {
		for (size_t at = 0, step; at < parts[i].len; at += step) {
			step = parts[i].len - at;
			step = step < sizeof(gathered) - len ? step : sizeof(gathered) - len;
			memcpy(gathered + len, parts[i].base + at, step);
			len += step;
			if (len < sizeof(gathered))
				continue;
			if (SSL_write(t->ssl, gathered, (int)len) <= 0)
				return -EPIPE;
			len = 0;
		}
	}
	if (len && SSL_write(t->ssl, gathered, (int)len) <= 0)
		return -EPIPE;
	flush(t);
	return t->conn->writing == CONN_WRITE_BROKEN ? -EPIPE : 0;
}

void conn_tls_shutdown(struct conn_tls *t)
{
	if (t->has_failed || !t->is_handshaken)
		return;
	ERR_clear_error();
	SSL_shutdown(t->ssl);
	ERR_clear_error();
	flush(t);
}

bool conn_tls_is_settled(const struct conn_tls *t)
{
	/* "RH": OpenSSL waits for a record's header, so it holds no part of a record. */
	return t->is_handshaken && !buf_len(&t->kept) && !SSL_has_pending(t->ssl) &&
	       strcmp(SSL_rstate_string(t->ssl), "RH") == 0;
}

static void on_wake_closed(uv_handle_t *handle)
{
	struct conn_tls *t = handle->data;

	t->on_closed(t->conn);
}

void conn_tls_close(struct conn_tls *t, void (*on_closed)(struct conn *c))
{
	t->on_closed = on_closed;
	uv_close((uv_handle_t *)&t->wake, on_wake_closed);
}
