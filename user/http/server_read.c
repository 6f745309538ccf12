/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server_read: the read side of a stream: heads, bodies and tunnels.
 *
 *   state         event                      next     action
 *   ------------  -------------------------  -------  ---------------------------------------
 *   IDLE          part of a head             HEAD
 *   IDLE          deadline idle_ms           IDLE     close, unless on_idle objects
 *   HEAD          deadline head_ms           -        408, linger
 *   IDLE, HEAD    head without a body        DONE     on_request
 *   IDLE, HEAD    head with a body           BODY     on_request
 *   IDLE, HEAD    ... and with Expect        EXPECT   on_request
 *   IDLE, HEAD    invalid head               -        400, 413, 417 or 431, linger
 *   IDLE, HEAD    end of stream              -        linger
 *   EXPECT        100 Continue sent          BODY
 *   EXPECT, BODY  piece of the body          BODY     on_body
 *   EXPECT, BODY  end of the body            DONE     on_body_end
 *   EXPECT, BODY  more than body_bytes       -        413, on_abort(-EMSGSIZE), linger
 *   EXPECT, BODY  invalid chunk              -        400, on_abort(-EBADMSG), linger
 *   EXPECT, BODY  end of stream              -        on_abort(-ECONNRESET), close
 *   BODY          deadline body_ms           -        408, on_abort(-ETIMEDOUT), linger
 *   BODY          answer complete            DISCARD  linger if too much of the body is left
 *   EXPECT        answer complete            -        linger: the body may follow or not
 *   DISCARD       piece of the body          DISCARD  drop it; linger if it was too much
 *   DISCARD       end of the body            IDLE     linger if the server drains
 *   DISCARD       end of stream              -        linger
 *   DISCARD       deadline, invalid chunk    -        close
 *   DONE          bytes, end of stream       DONE     keep them for later
 *   DONE          answer complete            IDLE     linger if it was the last one
 *   DONE          http_stream_tunnel()       TUNNEL
 *   TUNNEL        bytes                      TUNNEL   on_body
 *   TUNNEL        end of stream              DONE     on_body_end
 *
 * "-": the connection leaves HTTP_OPEN, and the read side no longer matters. A refusal with a
 * status is sent only while no answer has begun; after that the connection is reset. While the
 * handler has paused the stream, nothing is taken and no deadline runs, and the end of the stream
 * waits too. Too much of an unwanted body is more than HTTP_DRAIN_BYTES.
 *
 * Bytes are taken in a loop (take()) as far as these states allow. A handler that answers at once
 * returns into that loop, so a thousand pipelined requests need no deeper stack than one. Bytes
 * that may not be taken yet wait in `pending`.
 */
#include <errno.h>

#include "base/log.h"
#include "http/server_impl.h"

/* ---- the state ---- */

static uint64_t limit_ms(const struct http_connection *c, enum read_state state)
{
	const struct http_limits *limits = &c->server->limits;

	switch (state) {
	case READ_IDLE:
		return limits->idle_ms;
	case READ_HEAD:
		return limits->head_ms;
	case READ_BODY:
	case READ_DISCARD:
		return c->stream.is_paused ? 0 : limits->body_ms;
	default: /* EXPECT, DONE, TUNNEL: the client may be silent for as long as it likes */
		return 0;
	}
}

void read_enter(struct http_connection *c, enum read_state state)
{
	uint64_t ms = limit_ms(c, state);

	c->stream.read = state;
	if (ms)
		connection_expect(c, ms);
	else
		c->read_deadline_ms = 0;
}

uint64_t read_body_left(const struct http_connection *c)
{
	const struct http_message *m;

	if (!read_has_body(&c->stream))
		return 0;
	m = h1_parser_message(c->parser);
	return m->body == HTTP_BODY_LENGTH ? m->content_length - c->stream.body_seen : 0;
}

bool read_is_between(const struct http_connection *c)
{
	return connection_is_open(c) && c->stream.read == READ_IDLE && !buf_len(&c->pending);
}

static bool may_take(const struct http_connection *c)
{
	return connection_is_open(c) && !c->stream.is_paused && c->stream.read != READ_DONE;
}

/* ---- heads and bodies ---- */

static void next_message(struct http_connection *c)
{
	h1_parser_rest(c->parser);
	c->stream.is_bodiless = false; /* a refusal of the next head has a body */
	read_enter(c, READ_IDLE);
	if (c->server->is_draining || (c->is_ended && !buf_len(&c->pending)))
		connection_linger(c);
}

static enum read_state state_after_head(const struct http_message *m)
{
	if (m->body != HTTP_BODY_CHUNKED && !m->content_length)
		return READ_DONE;
	return m->expects_continue ? READ_EXPECT : READ_BODY;
}

static void on_head(struct http_connection *c)
{
	const struct http_message *m = h1_parser_message(c->parser);
	struct http_stream *s = &c->stream;
	struct text ignored;
	size_t none;

	*s = (struct http_stream){ .handler = c->server->handler,
				   .write = WRITE_HEAD,
				   .is_bodiless = m->is_head };
	c->request_count++;
	c->dropped_bytes = 0;
	read_enter(c, state_after_head(m));
	if (s->read == READ_DONE)
		h1_parser_feed(c->parser, NULL, 0, &none, &ignored); /* its H1_END */
	if (m->expects_unknown) {
		connection_refuse(c, 417, "Expect other than 100-continue");
	} else if (m->content_length > c->server->limits.body_bytes) {
		connection_refuse(c, 413, "the announced body is too large");
	} else {
		bool has_empty_body = m->body == HTTP_BODY_LENGTH && s->read == READ_DONE;

		s->handler->on_request(s);
		if (has_empty_body && stream_is_active(s) && c->phase == HTTP_OPEN)
			s->handler->on_body_end(s);
	}
}

static void on_piece(struct http_connection *c, struct text piece)
{
	struct http_stream *s = &c->stream;

	s->body_seen += piece.len;
	if (s->read == READ_DISCARD) {
		c->dropped_bytes += piece.len;
		if (c->dropped_bytes > HTTP_DRAIN_BYTES)
			connection_linger(c);
	} else if (s->body_seen > c->server->limits.body_bytes) {
		connection_abort(c, -EMSGSIZE, 413);
	} else {
		if (s->read == READ_EXPECT)
			read_enter(c, READ_BODY);
		s->handler->on_body(s, piece.ptr, piece.len);
	}
}

static void on_end(struct http_connection *c)
{
	if (c->stream.read == READ_DISCARD) {
		next_message(c);
		return;
	}
	read_enter(c, READ_DONE);
	c->stream.handler->on_body_end(&c->stream);
}

static void on_malformed(struct http_connection *c, int err)
{
	bool is_body = read_has_body(&c->stream);

	if (is_body && c->stream.read != READ_DISCARD) {
		log_debug("http: 400: %s", h1_parser_error(c->parser));
		connection_abort(c, -EBADMSG, 400);
	} else if (is_body || err == -ENOMEM) {
		connection_close(c, true);
	} else {
		connection_refuse(c, err == -EMSGSIZE ? 431 : 400, h1_parser_error(c->parser));
	}
}

static void on_need_more(struct http_connection *c)
{
	enum read_state state = c->stream.read;

	if (c->is_ended && (state == READ_EXPECT || state == READ_BODY))
		connection_abort(c, -ECONNRESET, 0);
	else if (c->is_ended)
		connection_linger(c);
	else if (state == READ_BODY || state == READ_DISCARD)
		read_enter(c, state); /* with a new deadline */
	else if (state == READ_IDLE && !h1_parser_is_idle(c->parser))
		read_enter(c, READ_HEAD);
}

static void end_tunnel(struct http_connection *c)
{
	read_enter(c, READ_DONE);
	c->stream.handler->on_body_end(&c->stream);
}

/* The stream may have ended before the tunnel began; then its end follows these bytes. */
static void take_tunnel(struct http_connection *c, const char *data, size_t len)
{
	if (len)
		c->stream.handler->on_body(&c->stream, data, len);
	if (c->is_ended && may_take(c))
		end_tunnel(c);
}

/* Take bytes as far as the state allows. Returns how many; the rest must wait. */
static size_t take(struct http_connection *c, const char *data, size_t len)
{
	size_t at = 0;
	int event = H1_HEAD;

	c->is_running = true;
	while (event > H1_NEED_MORE && may_take(c)) {
		struct text piece;
		size_t used = len - at;

		if (c->stream.read == READ_TUNNEL) {
			take_tunnel(c, data + at, used);
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

/* ---- what the connection reports ---- */

static void update_reading(struct http_connection *c)
{
	if (!connection_is_open(c))
		return;
	if (c->stream.is_paused || buf_len(&c->pending) >= HTTP_PENDING_BYTES)
		conn_pause(c->conn);
	else
		conn_resume(c->conn);
}

void read_run(struct http_connection *c)
{
	if (c->is_running || !connection_is_open(c))
		return;
	/*
	 * Also without bytes: the end of the body or of the stream may not have been handled yet.
	 */
	if (buf_len(&c->pending) || c->is_ended || read_has_body(&c->stream)) {
		struct text bytes = buf_len(&c->pending) ? buf_text(&c->pending) : TEXT("");

		buf_consume(&c->pending, take(c, bytes.ptr, bytes.len));
	}
	if (!buf_len(&c->pending) || !connection_is_open(c))
		buf_done(&c->pending);
	connection_arm(c);
	update_reading(c);
	connection_settle(c);
}

void read_bytes(struct http_connection *c, const char *data, size_t len)
{
	size_t used = 0;

	if (!buf_len(&c->pending))
		used = take(c, data, len);
	if (!connection_is_open(c))
		return;
	if (used < len && buf_append(&c->pending, data + used, len - used)) {
		if (stream_is_active(&c->stream))
			connection_abort(c, -ENOMEM, 0);
		else
			connection_close(c, true);
		return;
	}
	if (used == 0 && len && may_take(c))
		read_run(c);
	connection_arm(c);
	update_reading(c);
	connection_settle(c);
}

void read_eof(struct http_connection *c)
{
	struct http_stream *s = &c->stream;

	switch (s->read) {
	case READ_IDLE:
	case READ_HEAD:
	case READ_DISCARD:
		connection_linger(c);
		break;
	case READ_EXPECT:
	case READ_BODY:
		if (!s->is_paused) /* else on_need_more() will notice */
			connection_abort(c, -ECONNRESET, 0);
		break;
	case READ_TUNNEL:
		if (!s->is_paused) /* else take_tunnel() will notice */
			end_tunnel(c);
		break;
	case READ_DONE: /* only its half is closed: what it requested is answered first */
		break;
	}
}

void read_late(struct http_connection *c)
{
	uint64_t idle_ms = c->server->limits.idle_ms;

	switch (c->stream.read) {
	case READ_BODY:
		connection_abort(c, -ETIMEDOUT, 408);
		break;
	case READ_HEAD:
		connection_refuse(c, 408, "the head was not complete in time");
		break;
	case READ_IDLE:
		if (c->server->is_draining)
			connection_drain(c);
		else if (idle_ms && !connection_is_idle(c, idle_ms))
			read_enter(c, READ_IDLE);
		else
			connection_close(c, false);
		break;
	default:
		connection_close(c, false);
	}
}

void read_finish(struct http_connection *c)
{
	if (read_has_body(&c->stream))
		read_enter(c, READ_DISCARD);
	else
		next_message(c);
}
