/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server: creates and frees a server, and handles its connections as a set. server_impl.h tells
 * what the other files do.
 */
#include "http/server.h"

#include <errno.h>
#include <stdlib.h>

#include "http/server_impl.h"

const struct http_limits http_default_limits = {
	.head_bytes = 16 * 1024,
	.body_bytes = 1024 * 1024 * 1024,
	.head_ms = 10 * 1000,
	.body_ms = 30 * 1000,
	.idle_ms = 75 * 1000,
	.write_ms = 30 * 1000,
};

struct http_server *http_server_new(uv_loop_t *loop, const struct http_handler *handler,
				    void *owner, const struct http_limits *limits)
{
	struct http_server *server = calloc(1, sizeof(*server));

	if (!server)
		return NULL;
	server->loop = loop;
	server->handler = handler;
	server->owner = owner;
	server->limits = limits ? *limits : http_default_limits;
	buf_init(&server->head, 64 * 1024);
	return server;
}

void *http_server_owner(const struct http_server *server)
{
	return server->owner;
}

void http_server_set_door(struct http_server *server,
			  bool (*is_welcome)(void *arg, const struct sockaddr_storage *peer),
			  void *arg)
{
	server->is_welcome = is_welcome;
	server->welcome_arg = arg;
}

static bool is_unwelcome(const struct http_server *server, const struct http_connection *c)
{
	return server->is_welcome && !server->is_welcome(server->welcome_arg, conn_peer(c->conn));
}

static void reset(struct http_connection *c)
{
	connection_close(c, true);
	if (stream_is_active(&c->stream))
		connection_abort(c, -ECANCELED, 0);
}

int http_server_accept(struct http_server *server, uv_stream_t *stream, struct tls_context *tls)
{
	unsigned most = server->limits.max_connections;
	struct http_connection *newest;
	struct conn *unwanted;
	int err;

	if (!server->is_draining && (!most || server->connection_count < most)) {
		err = connection_accept(server, stream, tls);
		if (err)
			return err;
		newest = LIST_FIRST(&server->connections);
		if (!is_unwelcome(server, newest))
			return 0;
		reset(newest);
		return -EACCES;
	}
	err = conn_accept(stream, NULL, NULL, NULL, &unwanted);
	if (!err)
		conn_close(unwanted, true);
	return err;
}

void http_server_drain(struct http_server *server, void (*on_drained)(void *arg), void *arg)
{
	struct http_connection *c;

	server->is_draining = true;
	server->on_drained = on_drained;
	server->drained_arg = arg;
	LIST_FOREACH (c, &server->connections, entry)
		connection_drain(c);
	if (LIST_EMPTY(&server->connections) && on_drained) {
		server->on_drained = NULL;
		on_drained(arg);
	}
}

void http_server_close(struct http_server *server)
{
	struct http_connection *c;

	/*
	 * connection_close() does not change the list: libuv's loop removes the connection later.
	 */
	LIST_FOREACH (c, &server->connections, entry) {
		connection_close(c, false);
		if (stream_is_active(&c->stream))
			connection_abort(c, -ECANCELED, 0);
	}
}

void http_server_close_unwelcome(struct http_server *server)
{
	struct http_connection *c;

	LIST_FOREACH (c, &server->connections, entry) {
		if (is_unwelcome(server, c))
			reset(c);
	}
}

unsigned http_server_connections(const struct http_server *server)
{
	return server->connection_count;
}

void http_server_free(struct http_server *server)
{
	if (!server)
		return;
	buf_done(&server->head);
	free(server);
}
