/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server_stream: the write side of a stream: what the handler answers.
 *
 *   state       event                                  next  action
 *   ----------  -------------------------------------  ----  --------------------------------------
 *   NONE, DONE  head of a request                      HEAD  on_request
 *   HEAD        http_stream_inform()                   HEAD  interim answer
 *   HEAD        http_stream_answer()                   BODY  head and first piece
 *   HEAD        http_stream_tunnel()                   BODY  101; the read side enters TUNNEL
 *   HEAD        http_stream_write()                    HEAD  -EINVAL
 *   HEAD        refusal by the server, or abort        DONE  the refusal, if any; on_abort
 *   BODY        http_stream_write()                    BODY  a piece
 *   BODY        http_stream_inform(), _answer()        BODY  -EINVAL
 *   BODY        http_stream_end()                      DONE  last chunk; the read side goes on
 *   BODY        abort                                  DONE  RST, on_abort
 *   HEAD, BODY  http_stream_break(), or _end() of an   DONE  RST
 *               answer that is not complete
 *   DONE        the kernel has taken the last byte     NONE  on_settled
 *
 * The stream belongs to the handler in HEAD and BODY, see stream_is_active(). The deadline for
 * writing belongs to the connection's queue, not to these states: it runs while bytes are queued.
 */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "http/problem.h"
#include "http/server_impl.h"

/* The part of a head that depends on the request and the connection. */
struct framing {
	unsigned minor;
	uint64_t length;
	bool is_chunked;
	bool has_length;
	bool close;
};

/* ---- heads ---- */

static struct text date_of(struct http_server *server)
{
	static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	uint64_t now_s = clock_wall_ms() / 1000;
	time_t seconds = (time_t)now_s;
	char text[64];
	struct tm tm;

	if (server->date_s != now_s && gmtime_r(&seconds, &tm)) {
		snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT",
			 days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900,
			 tm.tm_hour, tm.tm_min, tm.tm_sec);
		memcpy(server->date, text, sizeof(server->date));
		server->date_s = now_s;
	}
	return (struct text){ server->date, HTTP_DATE_BYTES };
}

/* Whether @fields contain Date. */
static bool has_date(struct text fields)
{
	while (fields.len) {
		const char *lf = memchr(fields.ptr, '\n', fields.len);
		size_t line = lf ? (size_t)(lf - fields.ptr) + 1 : fields.len;

		if (line >= 5 && text_equal_nocase((struct text){ fields.ptr, 5 }, TEXT("Date:")))
			return true;
		fields.ptr += line;
		fields.len -= line;
	}
	return false;
}

static int build_head(struct http_server *server, const struct http_answer *a,
		      const struct framing *f)
{
	struct buf *b = &server->head;
	int err;

	buf_clear(b);
	err = h1_write_status_line(b, a->status);
	if (!err)
		err = buf_append_text(b, a->fields);
	if (!err && a->add_date && !has_date(a->fields))
		err = h1_write_header(b, TEXT("Date"), date_of(server));
	if (!err && f->is_chunked)
		err = buf_append_str(b, "Transfer-Encoding: chunked\r\n");
	else if (!err && f->has_length)
		err = h1_write_header_u64(b, TEXT("Content-Length"), f->length);
	if (!err && f->close)
		err = buf_append_str(b, "Connection: close\r\n");
	else if (!err && f->minor == 0)
		err = buf_append_str(b, "Connection: keep-alive\r\n");
	return err ? err : h1_write_end_of_head(b);
}

/* ---- writing ---- */

static int send_parts(struct http_connection *c, const uv_buf_t *parts, unsigned count)
{
	int err = conn_write(c->conn, parts, count);

	if (err) {
		c->is_broken = true;
		connection_kick(c); /* on_abort follows, but not from within this call */
		return err;
	}
	connection_watch_writing(c);
	c->stream.is_high = conn_queued(c->conn) > CONN_HIGH_BYTES;
	return 0;
}

/* Copy a short body into the head buffer: the kernel sends one part at less cost than two. */
static bool joins_head(struct http_connection *c, struct text piece)
{
	return piece.len && piece.len <= HTTP_JOIN_BYTES && !c->stream.is_chunked &&
	       !c->stream.is_bodiless && !buf_append_text(&c->server->head, piece);
}

/* Send the head in server->head, if @has_head, then @piece in the framing of the answer. */
static int send_piece(struct http_connection *c, bool has_head, struct text piece, bool is_last)
{
	struct http_stream *s = &c->stream;
	char chunk_head[H1_CHUNK_HEAD_MAX];
	uv_buf_t parts[4];
	unsigned count = 0;

	if (has_head && joins_head(c, piece))
		piece.len = 0;
	if (has_head)
		parts[count++] = uv_buf_init(buf_head(&c->server->head), buf_len(&c->server->head));
	if (!s->is_bodiless && piece.len) {
		if (s->is_chunked)
			parts[count++] = uv_buf_init(chunk_head,
						     h1_format_chunk_head(chunk_head, piece.len));
		parts[count++] = uv_buf_init((char *)piece.ptr, piece.len);
	}
	if (!s->is_bodiless && s->is_chunked) {
		if (piece.len)
			parts[count++] =
				is_last ? uv_buf_init("\r\n0\r\n\r\n", 7) : uv_buf_init("\r\n", 2);
		else if (is_last)
			parts[count++] = uv_buf_init("0\r\n\r\n", 5);
	}
	return count ? send_parts(c, parts, count) : 0;
}

static bool must_close(const struct http_connection *c, const struct http_message *m,
		       const struct http_answer *a)
{
	unsigned most = c->server->limits.max_requests;

	if (a->close || !m->keep_alive || c->server->is_draining ||
	    (most && c->request_count >= most))
		return true;
	if (c->is_ended && !buf_len(&c->pending))
		return true;
	/* No 100 follows a final answer, so it is unknown whether the client sends the body. */
	if (c->stream.read == READ_EXPECT)
		return true;
	return a->is_last && read_body_left(c) > HTTP_DRAIN_BYTES;
}

int http_stream_answer(struct http_stream *s, const struct http_answer *a)
{
	struct http_connection *c = connection_of(s);
	const struct http_message *m = h1_parser_message(c->parser);
	struct framing f = { .minor = m->minor, .length = a->length };
	bool has_no_body = a->status == 204 || a->status == 304;
	int err;

	if (s->write != WRITE_HEAD || a->status < 200)
		return -EINVAL;
	if (a->is_last && a->length == HTTP_UNKNOWN_LENGTH && !m->is_head)
		f.length = a->first_piece.len;
	if (!has_no_body && !m->is_head && a->first_piece.len > f.length)
		return -EMSGSIZE;
	f.has_length = !has_no_body && f.length != HTTP_UNKNOWN_LENGTH;
	f.is_chunked = !has_no_body && !f.has_length && m->minor == 1;
	f.close = must_close(c, m, a) ||
		  (!has_no_body && !f.has_length && !f.is_chunked && !m->is_head);
	err = build_head(c->server, a, &f);
	if (err)
		return err;
	s->write = WRITE_BODY;
	s->is_bodiless = has_no_body || m->is_head;
	s->is_chunked = f.is_chunked;
	s->must_close = f.close;
	s->left = f.length;
	if (f.has_length && !s->is_bodiless)
		s->left -= a->first_piece.len;
	err = send_piece(c, true, a->first_piece, a->is_last);
	if (!err && a->is_last) {
		s->is_chunked = false; /* the last chunk was sent with the piece */
		http_stream_end(s);
	}
	return err;
}

int http_stream_inform(struct http_stream *s, unsigned status, struct text fields)
{
	struct http_connection *c = connection_of(s);
	struct buf *b = &c->server->head;
	uv_buf_t part;
	int err;

	if (s->write != WRITE_HEAD || status < 100 || status > 199 || status == 101)
		return -EINVAL;
	if (h1_parser_message(c->parser)->minor == 0) /* RFC 9110, 15.2: HTTP/1.0 has no 1xx */
		return 0;
	buf_clear(b);
	err = h1_write_status_line(b, status);
	if (!err)
		err = buf_append_text(b, fields);
	if (!err)
		err = h1_write_end_of_head(b);
	if (err)
		return err;
	if (status == 100 && read_has_body(s))
		read_enter(c, READ_BODY);
	part = uv_buf_init(buf_head(b), buf_len(b));
	return send_parts(c, &part, 1);
}

int http_stream_tunnel(struct http_stream *s, struct text fields)
{
	struct http_connection *c = connection_of(s);
	struct buf *b = &c->server->head;
	uv_buf_t part;
	int err;

	if (s->write != WRITE_HEAD || s->read != READ_DONE)
		return -EINVAL;
	buf_clear(b);
	err = h1_write_status_line(b, 101);
	if (!err)
		err = buf_append_text(b, fields);
	if (!err)
		err = h1_write_end_of_head(b);
	if (err)
		return err;
	s->write = WRITE_BODY;
	s->must_close = true;
	read_enter(c, READ_TUNNEL);
	s->left = HTTP_UNKNOWN_LENGTH;
	connection_kick(c); /* for bytes that have arrived already */
	part = uv_buf_init(buf_head(b), buf_len(b));
	return send_parts(c, &part, 1);
}

int http_stream_write(struct http_stream *s, const char *data, size_t len)
{
	if (s->write != WRITE_BODY)
		return -EINVAL;
	if (s->is_bodiless || !len)
		return 0;
	if (s->left != HTTP_UNKNOWN_LENGTH) {
		if (len > s->left)
			return -EMSGSIZE;
		s->left -= len;
	}
	return send_piece(connection_of(s), false, (struct text){ data, len }, false);
}

void http_stream_end(struct http_stream *s)
{
	struct http_connection *c = connection_of(s);
	bool is_short = !s->is_bodiless && s->left != HTTP_UNKNOWN_LENGTH && s->left;

	if (!stream_is_active(s))
		return;
	if (s->write == WRITE_HEAD || is_short) {
		http_stream_break(s);
		return;
	}
	send_piece(c, false, (struct text){ NULL, 0 }, true);
	connection_finish_stream(c);
}

void http_stream_break(struct http_stream *s)
{
	s->write = WRITE_DONE;
	connection_close(connection_of(s), true);
}

void http_stream_pause(struct http_stream *s)
{
	struct http_connection *c = connection_of(s);

	s->is_paused = true;
	/* It is not the client that is slow: read_enter() takes the deadline away. */
	if (read_has_body(s))
		read_enter(c, s->read);
	conn_pause(c->conn);
}

void http_stream_resume(struct http_stream *s)
{
	if (!s->is_paused)
		return;
	s->is_paused = false;
	connection_kick(connection_of(s)); /* read_run() also starts reading again */
}

size_t http_stream_queued(const struct http_stream *s)
{
	return conn_queued(connection_of(s)->conn);
}

/* ---- refusals by the server ---- */

static const char *detail_of(unsigned status)
{
	switch (status) {
	case 408:
		return "Request timeout";
	case 413:
		return "Request body too large";
	case 417:
		return "Expectation failed";
	case 431:
		return "Request header fields too large";
	default:
		return "Bad request";
	}
}

int stream_refuse(struct http_connection *c, unsigned status)
{
	struct http_answer a = {
		.status = status,
		.fields = TEXT(PROBLEM_FIELD),
		.add_date = true,
	};
	struct framing f = { .minor = 1, .has_length = true, .close = true };
	struct buf body;
	int err;

	buf_init(&body, 256);
	err = problem_write_body(&body, status, detail_of(status), NULL);
	f.length = buf_len(&body);
	if (!err)
		err = build_head(c->server, &a, &f);
	c->stream.is_chunked = false;
	if (!err)
		err = send_piece(c, true, buf_text(&body), true);
	buf_done(&body);
	return err;
}

/* ---- accessors ---- */

const struct http_message *http_stream_request(const struct http_stream *s)
{
	return h1_parser_message(connection_of(s)->parser);
}

struct http_server *http_stream_server(const struct http_stream *s)
{
	return connection_of(s)->server;
}

struct conn *http_stream_conn(const struct http_stream *s)
{
	return connection_of(s)->conn;
}

void http_stream_set_handler(struct http_stream *s, const struct http_handler *handler)
{
	s->handler = handler;
}

void http_stream_set_context(struct http_stream *s, void *context)
{
	s->context = context;
}

void *http_stream_context(const struct http_stream *s)
{
	return s->context;
}

void http_stream_set_connection_context(struct http_stream *s, void *context)
{
	connection_of(s)->context = context;
}

void *http_stream_connection_context(const struct http_stream *s)
{
	return connection_of(s)->context;
}
