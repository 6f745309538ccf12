/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server_connection: one connection of a server: phases, deadlines, and the events of its conn.
 *
 *   phase      event                           next       action
 *   ---------  ------------------------------  ---------  -------------------------------------
 *   HANDSHAKE  first bytes                     OPEN       idle_ms from now
 *   HANDSHAKE  deadline, handshake complete    OPEN       idle_ms from now
 *   HANDSHAKE  deadline head_ms                CLOSED
 *   OPEN       bytes, end of stream, deadline  OPEN       see the read side in server_read.c
 *   OPEN       last answer, refusal            LINGERING  FIN after the queued bytes
 *   OPEN       ... after the client's end      CLOSED     unless bytes are queued
 *   OPEN       answer broken off               CLOSED     RST, so that the client notices
 *   LINGERING  bytes                           LINGERING  drop them; close above HTTP_LINGER_BYTES
 *   LINGERING  queue empty                     LINGERING  HTTP_LINGER_MS from now
 *   LINGERING  end of stream, queue empty      CLOSED
 *   LINGERING  deadline HTTP_LINGER_MS         CLOSED
 *   any        write error                     CLOSED     on_abort(-ECONNRESET)
 *   any        nothing sent for write_ms       CLOSED     on_abort(-ETIMEDOUT)
 *
 * on_abort is called if a stream is active.
 *
 * There are two deadlines, one for reading and one for writing, and one timer. Setting a later
 * deadline only stores it; when the timer fires it finds out what is due.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "http/server_impl.h"

static void on_timer(uv_timer_t *timer);

/* ---- deadlines ---- */

void connection_arm(struct http_connection *c)
{
	uint64_t at_ms = c->read_deadline_ms;
	uint64_t now_ms;

	if (c->write_deadline_ms && (!at_ms || c->write_deadline_ms < at_ms))
		at_ms = c->write_deadline_ms;
	if (!at_ms || c->phase == HTTP_CLOSED || (c->armed_ms && c->armed_ms <= at_ms))
		return;
	c->armed_ms = at_ms;
	now_ms = uv_now(c->server->loop);
	uv_timer_start(&c->timer, on_timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
}

void connection_expect(struct http_connection *c, uint64_t ms)
{
	c->read_deadline_ms = ms ? uv_now(c->server->loop) + ms : 0;
	connection_arm(c);
}

void connection_kick(struct http_connection *c)
{
	if (c->phase == HTTP_CLOSED)
		return;
	c->is_kicked = true;
	c->armed_ms = uv_now(c->server->loop);
	uv_timer_start(&c->timer, on_timer, 0, 0);
}

void connection_watch_writing(struct http_connection *c)
{
	if (!conn_queued(c->conn) || c->write_deadline_ms || !c->server->limits.write_ms)
		return;
	c->sent_mark = conn_sent(c->conn);
	c->write_deadline_ms = uv_now(c->server->loop) + c->server->limits.write_ms;
	connection_arm(c);
}

/* ---- ends ---- */

void connection_close(struct http_connection *c, bool reset)
{
	if (c->phase == HTTP_CLOSED)
		return;
	c->phase = HTTP_CLOSED;
	conn_close(c->conn, reset);
}

/*
 * Everything is written: send FIN, and wait until the client closes. Closing at once could reset
 * the connection before the client has read the answer, if more of its bytes arrive.
 */
void connection_linger(struct http_connection *c)
{
	if (!connection_is_open(c))
		return;
	if (c->is_broken || (c->is_ended && !conn_queued(c->conn))) {
		connection_close(c, false);
		return;
	}
	c->phase = HTTP_LINGERING;
	c->dropped_bytes = 0;
	if (!c->is_running) /* else a handler may still be looking at it */
		buf_done(&c->pending);
	conn_shutdown(c->conn);
	conn_resume(c->conn);
	/* While bytes are queued, the write deadline applies instead. */
	connection_expect(c, conn_queued(c->conn) ? 0 : HTTP_LINGER_MS);
	connection_watch_writing(c);
}

void connection_abort(struct http_connection *c, int err, unsigned status)
{
	struct http_stream *s = &c->stream;
	bool has_begun = s->write == WRITE_BODY;
	bool is_refused = status && !has_begun && c->phase == HTTP_OPEN;

	s->write = WRITE_DONE;
	if (is_refused && stream_refuse(c, status) == 0)
		connection_linger(c);
	else
		connection_close(c, has_begun || is_refused);
	s->handler->on_abort(s, err);
}

void connection_refuse(struct http_connection *c, unsigned status, const char *why)
{
	const struct http_handler *handler = c->server->handler;

	log_debug("http: %u: %s", status, why);
	c->stream.write = WRITE_DONE;
	if (stream_refuse(c, status) == 0)
		connection_linger(c);
	else
		connection_close(c, false);
	if (handler->on_refused)
		handler->on_refused(c->server, status, why);
}

bool connection_is_idle(struct http_connection *c, uint64_t idle_ms)
{
	const struct http_handler *handler = c->server->handler;

	return !handler->on_idle || handler->on_idle(c->context, idle_ms);
}

void connection_drain(struct http_connection *c)
{
	if (!read_is_between(c))
		return; /* next_message() closes it later */
	if (!connection_is_idle(c, 0))
		connection_expect(c, HTTP_DRAIN_AGAIN_MS);
	else if (conn_queued(c->conn))
		connection_linger(c);
	else
		connection_close(c, false);
}

void connection_finish_stream(struct http_connection *c)
{
	struct http_stream *s = &c->stream;

	s->write = WRITE_DONE;
	s->is_paused = false;
	if (read_body_left(c) > HTTP_DRAIN_BYTES)
		s->must_close = true;
	if (s->must_close || c->is_broken)
		connection_linger(c);
	else
		read_finish(c);
	read_run(c);
}

void connection_settle(struct http_connection *c)
{
	const struct http_handler *handler = c->server->handler;

	if (c->stream.write != WRITE_DONE || c->is_running || !read_is_between(c) ||
	    conn_queued(c->conn) || !conn_is_settled(c->conn))
		return;
	c->stream.write = WRITE_NONE;
	if (handler->on_settled)
		handler->on_settled(c->context, conn_received(c->conn));
}

/* ---- events of the conn ---- */

static void open_up(struct http_connection *c)
{
	c->phase = HTTP_OPEN;
	read_enter(c, READ_IDLE);
}

static void on_data(struct conn *conn, const char *data, size_t len)
{
	struct http_connection *c = conn_owner(conn);

	if (c->phase == HTTP_LINGERING) {
		c->dropped_bytes += len;
		if (c->dropped_bytes > HTTP_LINGER_BYTES)
			connection_close(c, false);
		return;
	}
	if (c->phase == HTTP_HANDSHAKE)
		open_up(c);
	read_bytes(c, data, len);
}

static void on_eof(struct conn *conn)
{
	struct http_connection *c = conn_owner(conn);

	c->is_ended = true;
	if (connection_is_open(c))
		read_eof(c);
	else if (!conn_queued(conn))
		connection_close(c, false);
}

static void on_conn_drain(struct conn *conn)
{
	struct http_connection *c = conn_owner(conn);
	struct http_stream *s = &c->stream;

	c->write_deadline_ms = 0;
	if (c->phase == HTTP_LINGERING) {
		if (c->is_ended)
			connection_close(c, false);
		else
			connection_expect(c, HTTP_LINGER_MS);
	} else if (stream_is_active(s) && s->is_high) {
		s->is_high = false;
		s->handler->on_drain(s);
	} else {
		connection_settle(c);
	}
}

static void lose(struct http_connection *c, int err)
{
	if (stream_is_active(&c->stream))
		connection_abort(c, err, 0);
	else
		connection_close(c, false);
}

static void on_error(struct conn *conn, int err)
{
	struct http_connection *c = conn_owner(conn);

	(void)err; /* whatever it was, the client is gone */
	c->is_broken = true;
	lose(c, -ECONNRESET);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct http_connection *c = handle->data;
	struct http_server *server = c->server;
	void (*on_closed)(void *) = server->handler->on_connection_closed;
	void (*on_drained)(void *) = NULL;
	void *context = c->context;

	LIST_REMOVE(c, entry);
	server->connection_count--;
	h1_parser_free(c->parser);
	buf_done(&c->pending);
	free(c);
	if (on_closed)
		on_closed(context);
	if (LIST_EMPTY(&server->connections) && server->is_draining) {
		on_drained = server->on_drained;
		server->on_drained = NULL;
	}
	if (on_drained)
		on_drained(server->drained_arg);
}

static void on_conn_closed(struct conn *conn)
{
	struct http_connection *c = conn_owner(conn);

	c->phase = HTTP_CLOSED;
	uv_close((uv_handle_t *)&c->timer, on_timer_closed);
	if (stream_is_active(&c->stream)) /* the conn was closed by its handler */
		connection_abort(c, -ECONNRESET, 0);
}

static const struct conn_events events = {
	.on_data = on_data,
	.on_eof = on_eof,
	.on_drain = on_conn_drain,
	.on_error = on_error,
	.on_closed = on_conn_closed,
};

/* ---- the timer ---- */

static void on_late(struct http_connection *c)
{
	c->read_deadline_ms = 0;
	if (c->phase == HTTP_LINGERING)
		connection_close(c, false);
	else if (c->phase == HTTP_HANDSHAKE && conn_is_up(c->conn))
		open_up(c);
	else
		read_late(c);
}

static void on_timer(uv_timer_t *timer)
{
	struct http_connection *c = timer->data;
	uint64_t now_ms = uv_now(c->server->loop);
	bool is_stuck = c->write_deadline_ms && c->write_deadline_ms <= now_ms;

	c->armed_ms = 0;
	if (c->phase == HTTP_CLOSED)
		return;
	if (c->is_broken || (is_stuck && conn_sent(c->conn) == c->sent_mark)) {
		lose(c, c->is_broken ? -ECONNRESET : -ETIMEDOUT);
		return;
	}
	if (is_stuck) { /* some bytes were sent in time */
		c->write_deadline_ms = 0;
		connection_watch_writing(c);
	}
	if (c->read_deadline_ms && c->read_deadline_ms <= now_ms)
		on_late(c);
	if (c->is_kicked) {
		c->is_kicked = false;
		read_run(c);
	}
	connection_arm(c);
}

/* ---- accepting ---- */

int connection_accept(struct http_server *server, uv_stream_t *stream, struct tls_context *tls)
{
	struct http_connection *c = calloc(1, sizeof(*c));
	int err = -ENOMEM;

	if (!c)
		return -ENOMEM;
	c->server = server;
	buf_init(&c->pending, HTTP_PENDING_BYTES + 64 * 1024); /* plus one read */
	c->parser = h1_parser_new(H1_REQUESTS, server->limits.head_bytes);
	if (c->parser)
		err = conn_accept(stream, tls, &events, c, &c->conn);
	if (err) {
		h1_parser_free(c->parser);
		free(c);
		return err;
	}
	uv_timer_init(server->loop, &c->timer);
	c->timer.data = c;
	LIST_INSERT_HEAD(&server->connections, c, entry);
	server->connection_count++;
	if (tls)
		connection_expect(c, server->limits.head_ms); /* in HTTP_HANDSHAKE */
	else
		open_up(c);
	return 0;
}
