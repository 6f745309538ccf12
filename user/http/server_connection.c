/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server_connection: one connection of a server: bytes in, deadlines, and the way to its end.
 *
 * Bytes are taken in a loop (take()) as far as the handler's progress allows; a handler that answers
 * at once comes back into that loop, so a thousand pipelined requests need no deeper stack than one.
 * What may not be taken yet waits in `pending`. One timer a connection: setting a later deadline only
 * stores it, and the timer, when it fires, finds out what is due.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "http/server_impl.h"

static void on_timer(uv_timer_t *timer);

/* ---- deadlines ---- */

static void arm(struct http_connection *c)
{
	uint64_t now_ms = uv_now(c->server->loop);
	uint64_t at_ms = c->read_deadline_ms;

	if (c->write_deadline_ms && (!at_ms || c->write_deadline_ms < at_ms))
		at_ms = c->write_deadline_ms;
	if (!at_ms || c->phase == HTTP_CLOSED || (c->armed_ms && c->armed_ms <= at_ms))
		return;
	c->armed_ms = at_ms;
	uv_timer_start(&c->timer, on_timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
}

void connection_expect(struct http_connection *c, uint64_t ms)
{
	c->read_deadline_ms = ms ? uv_now(c->server->loop) + ms : 0;
	arm(c);
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
	arm(c);
}

/* ---- ends ---- */

void connection_close(struct http_connection *c, bool reset)
{
	if (c->phase == HTTP_CLOSED)
		return;
	c->phase = HTTP_CLOSED;
	conn_close(c->conn, reset);
}

/* Everything is written: tell the client, and close when it has read it, or after a while. */
static void close_nicely(struct http_connection *c)
{
	if (c->phase != HTTP_OPEN)
		return;
	if (c->is_broken || (c->is_ended && !conn_queued(c->conn))) {
		connection_close(c, false);
		return;
	}
	c->phase = HTTP_LINGERS;
	c->dropped_bytes = 0;
	if (!c->is_running) /* else a handler may still be looking at it */
		buf_done(&c->pending);
	conn_shutdown(c->conn);
	conn_resume(c->conn);
	/* While bytes are queued the write deadline watches over them. */
	connection_expect(c, conn_queued(c->conn) ? 0 : HTTP_LINGER_MS);
	connection_watch_writing(c);
}

void connection_abort(struct http_connection *c, int err, unsigned status)
{
	struct http_stream *s = &c->stream;
	bool is_refused = status && !s->is_begun && c->phase == HTTP_OPEN;

	s->is_active = false;
	if (is_refused && stream_refuse(c, status) == 0)
		close_nicely(c);
	else
		connection_close(c, s->is_begun);
	s->handler->on_abort(s, err);
}

/* A head that is not to be given to the handler. */
static void refuse(struct http_connection *c, unsigned status, const char *why)
{
	const struct http_handler *handler = c->server->handler;

	log_debug("http: %u: %s", status, why);
	c->stream.is_active = false;
	if (stream_refuse(c, status) == 0)
		close_nicely(c);
	else
		connection_close(c, false);
	if (handler->on_refused)
		handler->on_refused(c->server, status, why);
}

/* Whether no request is under way, though an answer may still be on its way out. */
static bool is_between(const struct http_connection *c)
{
	return c->phase == HTTP_OPEN && !c->stream.is_active && !c->is_receiving &&
	       !buf_len(&c->pending) && h1_parser_is_idle(c->parser);
}

static bool is_idle(struct http_connection *c, uint64_t idle_ms)
{
	const struct http_handler *handler = c->server->handler;

	return !handler->on_idle || handler->on_idle(c->context, idle_ms);
}

void connection_drain(struct http_connection *c)
{
	if (!is_between(c))
		return; /* next_message() will see that the server drains */
	if (!is_idle(c, 0))
		connection_expect(c, HTTP_DRAIN_AGAIN_MS);
	else if (conn_queued(c->conn))
		close_nicely(c);
	else
		connection_close(c, false);
}

/* ---- bytes in ---- */

static void next_message(struct http_connection *c)
{
	h1_parser_rest(c->parser);
	connection_expect(c, c->server->limits.idle_ms);
	c->is_head_timed = false;
	if (c->server->is_draining || (c->is_ended && !buf_len(&c->pending)))
		close_nicely(c);
}

static void on_head(struct http_connection *c)
{
	const struct http_message *m = h1_parser_message(c->parser);
	struct http_stream *s = &c->stream;
	struct text ignored;
	size_t none;

	*s = (struct http_stream){ .handler = c->server->handler,
				   .is_active = true,
				   .is_bodiless = m->is_head };
	c->is_greeting = false;
	c->request_count++;
	c->is_head_timed = false;
	c->dropped_bytes = 0;
	c->read_deadline_ms = 0;
	c->is_receiving = m->body == HTTP_BODY_CHUNKED || m->content_length;
	if (!c->is_receiving)
		h1_parser_feed(c->parser, NULL, 0, &none, &ignored); /* its H1_END */
	if (m->expects_unknown) {
		refuse(c, 417, "Expect other than 100-continue");
	} else if (m->content_length > c->server->limits.body_bytes) {
		refuse(c, 413, "announced body is too large");
	} else {
		bool has_empty_body = m->body == HTTP_BODY_LENGTH && !c->is_receiving;

		s->handler->on_request(s);
		if (has_empty_body && s->is_active && c->phase == HTTP_OPEN)
			s->handler->on_body_end(s);
	}
}

static void on_piece(struct http_connection *c, struct text piece)
{
	struct http_stream *s = &c->stream;

	s->body_seen += piece.len;
	if (s->is_active && s->body_seen > c->server->limits.body_bytes) {
		connection_abort(c, -EMSGSIZE, 413);
	} else if (s->is_active) {
		s->handler->on_body(s, piece.ptr, piece.len);
	} else {
		c->dropped_bytes += piece.len;
		if (c->dropped_bytes > HTTP_DRAIN_BYTES)
			close_nicely(c);
	}
}

static void on_end(struct http_connection *c)
{
	c->is_receiving = false;
	c->read_deadline_ms = 0;
	if (c->stream.is_active)
		c->stream.handler->on_body_end(&c->stream);
	else
		next_message(c);
}

static void on_malformed(struct http_connection *c, int err)
{
	if (c->is_receiving && c->stream.is_active) {
		log_debug("http: 400: %s", h1_parser_error(c->parser));
		connection_abort(c, -EBADMSG, 400);
	} else if (c->is_receiving || err == -ENOMEM) {
		connection_close(c, true);
	} else {
		c->stream = (struct http_stream){ 0 };
		refuse(c, err == -EMSGSIZE ? 431 : 400, h1_parser_error(c->parser));
	}
}

static void on_need_more(struct http_connection *c)
{
	const struct http_limits *limits = &c->server->limits;

	if (c->is_ended && c->is_receiving && c->stream.is_active) {
		connection_abort(c, -ECONNRESET, 0);
	} else if (c->is_ended) {
		close_nicely(c);
	} else if (c->is_receiving) {
		const struct http_message *m = h1_parser_message(c->parser);

		/* Until the handler has said 100 the client may rightly wait. */
		if (!m->expects_continue || c->stream.has_continued || c->stream.body_seen)
			connection_expect(c, limits->body_ms);
	} else if (!h1_parser_is_idle(c->parser) && !c->is_head_timed) {
		c->is_head_timed = true;
		connection_expect(c, limits->head_ms);
	}
}

static bool may_take(const struct http_connection *c)
{
	const struct http_stream *s = &c->stream;

	return c->phase == HTTP_OPEN && !s->is_paused &&
	       (!s->is_active || c->is_receiving || s->is_tunnel);
}

/* How many of these bytes were used up; the rest is for later. */
static size_t take(struct http_connection *c, const char *data, size_t len)
{
	size_t at = 0;
	int event = H1_HEAD;

	c->is_running = true;
	while (event > H1_NEED_MORE && may_take(c)) {
		struct text piece;
		size_t used = len - at;

		if (c->stream.is_tunnel) {
			if (used)
				c->stream.handler->on_body(&c->stream, data + at, used);
			at = len;
			break;
		}
		event = h1_parser_feed(c->parser, data + at, len - at, &used, &piece);
		at += used;
		if (event == H1_HEAD)
			on_head(c);
		else if (event == H1_BODY)
			on_piece(c, piece);
		else if (event == H1_END)
			on_end(c);
		else if (event == H1_NEED_MORE)
			on_need_more(c);
		else
			on_malformed(c, event);
	}
	c->is_running = false;
	return at;
}

static void update_reading(struct http_connection *c)
{
	if (c->phase != HTTP_OPEN)
		return;
	if (c->stream.is_paused || buf_len(&c->pending) >= HTTP_PENDING_BYTES)
		conn_pause(c->conn);
	else
		conn_resume(c->conn);
}

static void settle(struct http_connection *c)
{
	const struct http_handler *handler = c->server->handler;

	if (!c->is_unsettled || c->is_running || !is_between(c) || conn_queued(c->conn) ||
	    !conn_is_settled(c->conn))
		return;
	c->is_unsettled = false;
	if (handler->on_settled)
		handler->on_settled(c->context, conn_received(c->conn));
}

/* Go on with what is pending, and see to what follows from it. */
static void run(struct http_connection *c)
{
	if (c->is_running || c->phase != HTTP_OPEN)
		return;
	/* Also without bytes: the end of a body, or of the stream, may be what is due. */
	if (buf_len(&c->pending) || c->is_ended || c->is_receiving) {
		struct text bytes = buf_len(&c->pending) ? buf_text(&c->pending) : TEXT("");

		buf_consume(&c->pending, take(c, bytes.ptr, bytes.len));
	}
	if (!buf_len(&c->pending) || c->phase != HTTP_OPEN)
		buf_done(&c->pending);
	arm(c);
	update_reading(c);
	settle(c);
}

void connection_finish_stream(struct http_connection *c)
{
	struct http_stream *s = &c->stream;
	const struct http_message *m = h1_parser_message(c->parser);

	s->is_active = false;
	s->is_paused = false;
	c->is_unsettled = true;
	/* A client that was never told to go on may send its body or not: nobody can know. */
	if (c->is_receiving && ((m->expects_continue && !s->has_continued && !s->body_seen) ||
				stream_body_left(c) > HTTP_DRAIN_BYTES))
		s->must_close = true;
	if (s->must_close || c->is_broken)
		close_nicely(c);
	else if (c->is_receiving)
		connection_expect(c, c->server->limits.body_ms);
	else
		next_message(c);
	run(c);
}

/* ---- events of the conn ---- */

static void on_data(struct conn *conn, const char *data, size_t len)
{
	struct http_connection *c = conn_owner(conn);
	size_t used = 0;

	if (c->phase == HTTP_LINGERS) {
		c->dropped_bytes += len;
		if (c->dropped_bytes > HTTP_LINGER_BYTES)
			connection_close(c, false);
		return;
	}
	if (!buf_len(&c->pending))
		used = take(c, data, len);
	if (c->phase != HTTP_OPEN)
		return;
	if (used < len && buf_append(&c->pending, data + used, len - used)) {
		if (c->stream.is_active)
			connection_abort(c, -ENOMEM, 0);
		else
			connection_close(c, true);
		return;
	}
	if (used == 0 && len && may_take(c))
		run(c);
	arm(c);
	update_reading(c);
	settle(c);
}

static void on_eof(struct conn *conn)
{
	struct http_connection *c = conn_owner(conn);
	struct http_stream *s = &c->stream;

	c->is_ended = true;
	if (c->phase == HTTP_LINGERS) {
		if (!conn_queued(conn))
			connection_close(c, false);
	} else if (s->is_active && s->is_tunnel) {
		s->handler->on_body_end(s);
	} else if (s->is_active && c->is_receiving && !s->is_paused) {
		connection_abort(c, -ECONNRESET, 0);
	} else if (!s->is_active) {
		close_nicely(c);
	}
	/* Else the client has only closed its half: what it asked is answered, then run() sees it. */
}

static void on_conn_drain(struct conn *conn)
{
	struct http_connection *c = conn_owner(conn);
	struct http_stream *s = &c->stream;

	c->write_deadline_ms = 0;
	if (c->phase == HTTP_LINGERS) {
		if (c->is_ended)
			connection_close(c, false);
		else
			connection_expect(c, HTTP_LINGER_MS);
	} else if (s->is_active && s->is_high) {
		s->is_high = false;
		s->handler->on_drain(s);
	} else {
		settle(c);
	}
}

static void lose(struct http_connection *c, int err)
{
	if (c->stream.is_active)
		connection_abort(c, err, 0);
	else
		connection_close(c, false);
}

static void on_error(struct conn *conn, int err)
{
	struct http_connection *c = conn_owner(conn);

	(void)err; /* to the handler it is all one: the client is gone */
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

	*c->slot = c->next;
	if (c->next)
		c->next->slot = c->slot;
	server->connection_count--;
	h1_parser_free(c->parser);
	buf_done(&c->pending);
	free(c);
	if (on_closed)
		on_closed(context);
	if (!server->connections && server->is_draining) {
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
	if (c->stream.is_active) /* someone else has closed the conn */
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
	const struct http_limits *limits = &c->server->limits;

	c->read_deadline_ms = 0;
	if (c->is_greeting && conn_is_up(c->conn)) { /* only the handshake had so little time */
		c->is_greeting = false;
		connection_expect(c, limits->idle_ms);
	} else if (c->phase == HTTP_OPEN && c->stream.is_active && c->is_receiving) {
		connection_abort(c, -ETIMEDOUT, 408);
	} else if (c->phase == HTTP_OPEN && c->is_head_timed) {
		refuse(c, 408, "head is late");
	} else if (is_between(c) && c->server->is_draining) {
		connection_drain(c);
	} else if (is_between(c) && limits->idle_ms && !is_idle(c, limits->idle_ms)) {
		connection_expect(c, limits->idle_ms);
	} else {
		connection_close(c, false);
	}
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
	if (is_stuck) { /* it has moved, after all */
		c->write_deadline_ms = 0;
		connection_watch_writing(c);
	}
	if (c->read_deadline_ms && c->read_deadline_ms <= now_ms)
		on_late(c);
	if (c->is_kicked) {
		c->is_kicked = false;
		run(c);
	}
	arm(c);
}

/* ---- the beginning ---- */

int connection_accept(struct http_server *server, uv_stream_t *stream, struct tls_context *tls)
{
	struct http_connection *c = calloc(1, sizeof(*c));
	int err = -ENOMEM;

	if (!c)
		return -ENOMEM;
	c->server = server;
	buf_init(&c->pending, HTTP_PENDING_BYTES + 64 * 1024); /* one read more */
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
	c->next = server->connections;
	c->slot = &server->connections;
	server->connections = c;
	if (c->next)
		c->next->slot = &c->next;
	server->connection_count++;
	c->is_greeting = tls;
	/* A TLS handshake has as long as a head. */
	connection_expect(c, tls ? server->limits.head_ms : server->limits.idle_ms);
	return 0;
}
