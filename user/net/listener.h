/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listener: a listening socket of one worker.
 *
 * Every worker binds its own socket to the same address with SO_REUSEPORT, so the kernel spreads
 * new connections; a Unix socket has one listener only. When the process is about to run out of
 * file descriptors the listener drops waiting connections, so that the last few stay for the store
 * and for files, says so at most once a second, and goes on.
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

/* "127.0.0.1:80", "[::1]:80", "0.0.0.0:80". 0 or -EINVAL. No names. */
int listener_parse_address(const char *text, struct sockaddr_storage *ret_address);

/* "address:port" as people write it, for logs. @size of 64 always suffices. */
void listener_format_address(const struct sockaddr_storage *address, char *ret_text, size_t size);

/*
 * Whether @address is free: SO_REUSEPORT lets a stranger of the same user share it in silence, so
 * that is to be asked before the first listener is opened. 0, -EADDRINUSE or another errno of
 * bind(2).
 */
int listener_check_free(const struct sockaddr_storage *address);

/*
 * Bind and listen on @address; @on_connection is called for each waiting connection, with
 * listener_stream() to hand to conn_accept(). -EADDRINUSE, -EACCES, -EADDRNOTAVAIL and others as
 * bind(2) has them.
 */
int listener_open_tcp(uv_loop_t *loop, const struct sockaddr_storage *address,
		      void (*on_connection)(struct listener *l), void *owner,
		      struct listener **ret_listener);

/*
 * The same on a Unix socket, mode 0600. A stale socket file is replaced, a live one is -EADDRINUSE.
 */
int listener_open_unix(uv_loop_t *loop, const char *path, void (*on_connection)(struct listener *l),
		       void *owner, struct listener **ret_listener);

uv_stream_t *listener_stream(struct listener *l);
void *listener_owner(const struct listener *l);

/* The port the socket is bound to (useful after binding to port 0); 0 for a Unix socket. */
unsigned listener_port(const struct listener *l);

/* Stop accepting and free @l; asynchronous, no callback follows. */
void listener_close(struct listener *l);

#endif
