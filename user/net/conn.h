/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn: a byte stream to a peer, plain or TLS; its owner cannot tell the two apart.
 *
 * A conn belongs to one libuv loop, and all functions and events run on that loop's thread. The
 * owner may call conn_close() inside any event; conn calls events as the last thing it does. Writes
 * do not block and are never partial: bytes that the kernel does not take at once are queued. An
 * owner that produces much watches conn_queued(), stops above CONN_HIGH_BYTES, and goes on at
 * on_drain.
 *
 * The process must ignore SIGPIPE: libuv writes without MSG_NOSIGNAL.
 *
 * The module net: moving bytes: streams, TLS, listeners, messages between threads, transfers with
 * curl. Nothing here knows what the bytes mean; protocols on top of a stream belong to http.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

struct conn;
struct tls_context;

struct conn_events {
	/*
	 * conn_connect() has succeeded (@err 0), handshake included, or failed (a negative errno).
	 */
	void (*on_connected)(struct conn *c, int err);
	/* Bytes have arrived; @data is valid during the call. Not called while paused. */
	void (*on_data)(struct conn *c, const char *data, size_t len);
	/* The peer has ended its half (FIN, or close_notify with TLS). Writing may go on. */
	void (*on_eof)(struct conn *c);
	/*
	 * The write queue had bytes in it and is empty again. Comes once for each time that the
	 * queue was filled, so an owner that stopped above CONN_HIGH_BYTES gets it exactly once.
	 * May be NULL.
	 */
	void (*on_drain)(struct conn *c);
	/* The stream is broken (-ECONNRESET, -EPIPE, -EPROTO for TLS); close it. */
	void (*on_error)(struct conn *c, int err);
	/* conn_close() has taken effect. The last event: @c is freed when it returns. */
	void (*on_closed)(struct conn *c);
};

#define CONN_HIGH_BYTES (256 * 1024) /* owners stop producing above this */

/*
 * Accept the next connection of @server, a listening stream whose connection callback runs. @events
 * and @owner are borrowed until the conn is closed; @events NULL: no events, for a connection that
 * is closed at once. @tls (NULL: plain) is referenced; events then begin after the handshake.
 *
 * 0; -ENOMEM or an errno of accept(2), and then there is no conn.
 */
int conn_accept(uv_stream_t *server, struct tls_context *tls, const struct conn_events *events,
		void *owner, struct conn **ret_conn);

/*
 * Open a TCP connection to @address. on_connected follows, never from within, unless conn_close()
 * comes first. @tls (NULL: plain) is referenced. @server_name is the name that the certificate must
 * have, copied; NULL: any. @events and @owner as above.
 *
 * 0; -ENOMEM, -EINVAL for a bad @server_name, or an errno of socket(2) or connect(2) that is known
 * at once; then there is no conn and no event follows.
 */
int conn_connect(uv_loop_t *loop, const struct sockaddr *address, struct tls_context *tls,
		 const char *server_name, const struct conn_events *events, void *owner,
		 struct conn **ret_conn);

/*
 * Send these bytes after all earlier ones; what cannot be sent at once is copied. 0; -EPIPE if the
 * conn is not up, was shut down, or is broken; -ENOMEM, and then it is broken, too.
 */
int conn_write(struct conn *c, const uv_buf_t *parts, unsigned count);

/* Bytes that the kernel has not taken yet (ciphertext, for TLS). */
size_t conn_queued(const struct conn *c);

/* Bytes that the kernel has taken so far; tells a slow peer from one that is stuck. */
uint64_t conn_sent(const struct conn *c);

/*
 * Stop and restart on_data. Restarting does not call it from within. Calling either twice is
 * harmless.
 */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);

/*
 * Send what is queued, then FIN (with TLS, close_notify first). Reading goes on. Has no effect
 * before the conn is up.
 */
void conn_shutdown(struct conn *c);

/*
 * Close: queued bytes are dropped, and no event but on_closed follows. With @reset the peer gets
 * RST instead of FIN. Calling it again is harmless.
 */
void conn_close(struct conn *c, bool reset);

/* The owner; and another one with its events, borrowed (an idle upstream connection is reused). */
void *conn_owner(const struct conn *c);
void conn_set_owner(struct conn *c, const struct conn_events *events, void *owner);

/* Addresses as the kernel reports them; all zero for a Unix socket. Valid as long as @c. */
const struct sockaddr_storage *conn_peer(const struct conn *c);
const struct sockaddr_storage *conn_local(const struct conn *c);
bool conn_is_tls(const struct conn *c);

/* Whether the conn is connected, its TLS handshake is complete, and it is not closed. */
bool conn_is_up(const struct conn *c);

/*
 * Bytes received from the kernel so far (ciphertext, for TLS): the low 32 bits, as in tcp_info's
 * tcpi_bytes_received. conn_is_settled() tells whether all of them were handed to the owner, with
 * no part of a TLS record left over.
 */
uint32_t conn_received(const struct conn *c);
bool conn_is_settled(const struct conn *c);

/* Whether bytes are not acknowledged by the peer yet; also true if that cannot be determined. */
bool conn_is_unacknowledged(const struct conn *c);

/* The window scales of both sides (RFC 7323). 0 or a negative errno. */
int conn_window_scales(const struct conn *c, uint8_t *ret_rcv, uint8_t *ret_snd);

#endif
