/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn: one byte stream to a peer, plain or TLS; nothing above can tell the two apart.
 *
 * A conn lives on one libuv loop and is touched by that loop's thread only. The owner gets events
 * and must be ready for conn_close() inside any of them; calling an event is the last thing that
 * conn does in a turn. Writes never block and are never partial: what the kernel does not take at
 * once is queued, and the owner watches conn_queued() to stop producing (back-pressure).
 *
 * The process must ignore SIGPIPE: libuv writes without MSG_NOSIGNAL.
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
	/* An outgoing connection is up (TLS included), or failed with a negative errno. */
	void (*on_connected)(struct conn *c, int err);
	/* Bytes came; they are gone when this returns. Never called while reading is paused. */
	void (*on_data)(struct conn *c, const char *data, size_t len);
	/* The peer will send no more (FIN, close_notify). Writing may go on. */
	void (*on_eof)(struct conn *c);
	/*
	 * The write queue had bytes in it and is empty again. Comes once for each time that the
	 * queue was filled: an owner that stopped above CONN_HIGH_BYTES gets it exactly once.
	 */
	void (*on_drain)(struct conn *c);
	/* The stream broke: -ECONNRESET, -EPIPE, -EPROTO (TLS). Only conn_close() is useful now. */
	void (*on_error)(struct conn *c, int err);
	/* The last event, after conn_close(); @c is freed when it returns. */
	void (*on_closed)(struct conn *c);
};

#define CONN_HIGH_BYTES (256 * 1024) /* owners stop producing above this */

/*
 * Accept the next connection of @server (a listening stream whose connection callback runs).
 * @tls, borrowed until the conn is closed, makes it TLS: events begin after the handshake.
 * @events NULL: nobody listens, for a connection that is to be closed at once.
 * 0, or a negative errno and then nothing was made.
 */
int conn_accept(uv_stream_t *server, struct tls_context *tls, const struct conn_events *events,
		void *owner, struct conn **ret_conn);

/*
 * Open a TCP connection to @address. on_connected always follows, later, unless conn_close() comes
 * first. @tls NULL: plain. @server_name (borrowed for the call) is the TLS name to check, or NULL.
 * 0, or a negative errno at once (no route, no descriptors), and then no event follows.
 */
int conn_connect(uv_loop_t *loop, const struct sockaddr *address, struct tls_context *tls,
		 const char *server_name, const struct conn_events *events, void *owner,
		 struct conn **ret_conn);

/*
 * Send these bytes after all before them; they are copied where they cannot be sent at once.
 * 0, -EPIPE after conn_shutdown() or an error, -ENOMEM.
 */
int conn_write(struct conn *c, const uv_buf_t *parts, unsigned count);

/* Bytes that wait for the kernel to take them (as ciphertext, for TLS). */
size_t conn_queued(const struct conn *c);

/* Bytes that the kernel has taken since the beginning; tells a slow peer from a stuck one. */
uint64_t conn_sent(const struct conn *c);

/* Stop and restart on_data. Restarting never calls on_data from within. Idempotent. */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);

/* Send all that is queued, then FIN (TLS: close_notify first). Reading goes on. */
void conn_shutdown(struct conn *c);

/*
 * Give the connection up: queued bytes are dropped, no event but on_closed follows. Idempotent.
 * With @reset the peer gets RST instead of FIN.
 */
void conn_close(struct conn *c, bool reset);

/* The owner given at birth, and a new one (an idle upstream connection changes hands). */
void *conn_owner(const struct conn *c);
void conn_set_owner(struct conn *c, const struct conn_events *events, void *owner);

/* Addresses as the kernel reports them. Valid as long as @c. */
const struct sockaddr_storage *conn_peer(const struct conn *c);
const struct sockaddr_storage *conn_local(const struct conn *c);
bool conn_is_tls(const struct conn *c);

/* Connected, and the TLS handshake, if any, is over. */
bool conn_is_up(const struct conn *c);

/*
 * Bytes received from the kernel (ciphertext, for TLS) since the beginning, low 32 bits as in
 * tcp_info's tcpi_bytes_received. conn_is_settled() tells whether all of them have been handed to
 * the owner: no partial TLS record is held back.
 */
uint32_t conn_received(const struct conn *c);
bool conn_is_settled(const struct conn *c);

/*
 * Whether the peer has not acknowledged all that the kernel took; true too when that cannot be
 * told.
 */
bool conn_is_unacknowledged(const struct conn *c);

/* How both sides scale their windows (RFC 7323). 0 or a negative errno. */
int conn_window_scales(const struct conn *c, uint8_t *ret_rcv, uint8_t *ret_snd);

#endif
