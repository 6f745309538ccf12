/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listener: a listening socket of one worker.
 *
 * Each worker binds a socket of its own to the same address with SO_REUSEPORT, and the kernel
 * spreads new connections over them; a Unix socket has only one listener. When the process is about
 * to run out of file descriptors, the listener drops new connections, so that a few descriptors
 * remain for the store and for files. It logs that at most once a second, and goes on.
 *
 * All functions and callbacks run on the thread of the listener's loop.
 */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <uv.h>

struct listener;
struct conn;
struct conn_events;
struct tls_context;

/* Parse "127.0.0.1:80", "[::1]:80" or "0.0.0.0:80"; names are not resolved. 0 or -EINVAL. */
int listener_parse_address(const char *text, struct sockaddr_storage *ret_address);

/* Write "address:port" as in the configuration; 64 bytes always suffice. */
void listener_format_address(const struct sockaddr_storage *address, char *ret_text, size_t size);

/*
 * Check that no other process listens on @address: SO_REUSEPORT would let the two share it
 * silently. To be called before the first listener is opened. 0, -EADDRINUSE or another errno of
 * bind(2).
 */
int listener_check_free(const struct sockaddr_storage *address);

/*
 * Bind to @address and listen. @on_connection is called for each new connection and passes
 * listener_stream() to conn_accept(). @owner is borrowed.
 *
 * 0; -ENOMEM; -EADDRINUSE, -EACCES, -EADDRNOTAVAIL or another errno of bind(2).
 */
int listener_open_tcp(uv_loop_t *loop, const struct sockaddr_storage *address,
		      void (*on_connection)(struct listener *l), void *owner,
		      struct listener **ret_listener);

/*
 * The same on a Unix socket with mode 0600. A socket file without a listener is replaced; a live
 * one, or a file of another kind, is -EADDRINUSE; -ENAMETOOLONG.
 */
int listener_open_unix(uv_loop_t *loop, const char *path, void (*on_connection)(struct listener *l),
		       void *owner, struct listener **ret_listener);

/* What conn_accept() takes. */
uv_stream_t *listener_stream(struct listener *l);
void *listener_owner(const struct listener *l);

/* The port that the socket is bound to; 0 for a Unix socket. */
unsigned listener_port(const struct listener *l);

/*
 * Stop accepting and free @l. The loop must run once more; no callback follows. A Unix socket's
 * file is removed.
 */
void listener_close(struct listener *l);

#endif
