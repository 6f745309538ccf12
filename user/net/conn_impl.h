/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_impl: what conn.c and conn_tls.c share; private to them. */
#ifndef NET_CONN_IMPL_H
#define NET_CONN_IMPL_H

#include <openssl/ssl.h>

#include "net/conn.h"

struct conn_tls;

enum conn_phase {
	CONN_OPENING, /* connecting, or in the TLS handshake */
	CONN_UP,
	CONN_CLOSING, /* conn_close() was called: no event but on_closed follows */
};

enum conn_reading {
	CONN_READ_STOPPED, /* libuv does not read: not connected, or paused */
	CONN_READ_STARTED, /* libuv reads; while paused, it is stopped when bytes arrive */
	/*
	 * The peer ended the stream, or it broke: the owner gets nothing more. After close_notify
	 * libuv goes on reading, to notice a reset.
	 */
	CONN_READ_ENDED,
};

enum conn_writing {
	CONN_WRITE_OPEN,
	CONN_WRITE_SHUT,   /* conn_shutdown() was called */
	CONN_WRITE_BROKEN, /* a write failed, or reading found the stream broken */
};

struct conn {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} io;
	union {
		uv_connect_t connect;
		uv_shutdown_t shutdown; /* used only after `connect` has ended */
	} request;
	const struct conn_events *events; /* borrowed; NULL: none */
	void *owner;			  /* borrowed */
	struct conn_tls *tls;		  /* owned; NULL for plain */
	uint64_t taken; /* bytes given to conn_raw_write(), including queued ones */
	uint32_t received;
	enum conn_phase phase : 8;
	enum conn_reading reading : 8;
	enum conn_writing writing : 8;
	bool is_paused;	   /* the owner wants no data */
	bool is_drain_due; /* bytes were queued since the last on_drain */
	struct sockaddr_storage peer;
	struct sockaddr_storage local;
};

/* Send bytes without TLS. The errors are those of conn_write(). */
int conn_raw_write(struct conn *c, const uv_buf_t *parts, unsigned count);

/* Change the state and call the event, unless the conn is closing. */
void conn_report_connected(struct conn *c, int err);
void conn_report_eof(struct conn *c);
void conn_report_error(struct conn *c, int err);

/*
 * conn_tls.c. @server_name NULL: an accepted connection, or a peer with any name. 0, -ENOMEM,
 * -EINVAL.
 */
int conn_tls_new(struct conn *c, struct tls_context *context, const char *server_name,
		 struct conn_tls **ret_tls);
void conn_tls_free(struct conn_tls *t); /* accepts NULL */
void conn_tls_start(struct conn_tls *t);
void conn_tls_receive(struct conn_tls *t, const char *data, size_t len);
void conn_tls_receive_eof(struct conn_tls *t);
void conn_tls_resume(struct conn_tls *t);
int conn_tls_write(struct conn_tls *t, const uv_buf_t *parts, unsigned count);
void conn_tls_shutdown(struct conn_tls *t);
bool conn_tls_is_settled(const struct conn_tls *t);

/* Close the libuv handle of @t, then call @on_closed. */
void conn_tls_close(struct conn_tls *t, void (*on_closed)(struct conn *c));

/* tls.c */
SSL *tls_context_new_ssl(struct tls_context *context);

#endif
