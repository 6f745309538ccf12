/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server: HTTP/1.1 requests on accepted connections, as streams for a handler.
 *
 * A stream is one request and its answer. On a connection there is one at a time: pipelined requests
 * wait, unparsed and bounded, until the answer before them is complete, so answers are in order by
 * construction. The server does what belongs to every answer: framing, Date, Connection, HEAD and 204
 * without a body, deadlines (408 before a request's head is complete, silent close when idle), 400,
 * 413 and 431 of its own, and draining what is left of a body that the handler did not want.
 *
 * One thread: that of the connection's loop. Inside any callback the handler may use any function
 * here; each callback is the last thing that the server does in a turn.
 */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include "http/message.h"
#include "net/conn.h"

struct http_server;
struct http_stream;

struct http_limits {
	uint64_t head_bytes;   /* 431 above; default 16 KiB */
	uint64_t body_bytes;   /* 413 above; default 1 GiB */
	uint64_t head_ms;      /* from the first byte of a head to its last; 408; default 10 s */
	uint64_t body_ms;      /* between two pieces of a body; default 30 s */
	uint64_t idle_ms;      /* without a request; default 75 s */
	uint64_t write_ms;     /* without progress in sending; default 30 s */
	unsigned max_requests; /* on one connection; 0: no limit */
	unsigned
		max_connections; /* of this server; accepting more closes them at once; 0: no limit */
};

/* The defaults above. */
extern const struct http_limits http_default_limits;

struct http_handler {
	/*
	 * A request's head is complete. The message is valid until the stream has ended. The handler
	 * must answer, now or later. If a body is announced, on_body and on_body_end follow.
	 */
	void (*on_request)(struct http_stream *s);
	void (*on_body)(struct http_stream *s, const char *data, size_t len);
	void (*on_body_end)(struct http_stream *s);
	/* What was written has gone down after http_stream_queued() was high. */
	void (*on_drain)(struct http_stream *s);
	/*
	 * The stream is over before its answer was complete: the client is gone (-ECONNRESET), its
	 * body is malformed (-EBADMSG), too large (-EMSGSIZE) or late (-ETIMEDOUT), or the server is
	 * closed (-ECANCELED). If no answer had begun the server gives the fitting one itself. The
	 * stream must not be used any more.
	 */
	void (*on_abort)(struct http_stream *s, int err);
	/* The server has answered a head with 400, 408, 413, 417 or 431 itself; for metrics. May be NULL. */
	void (*on_refused)(struct http_server *server, unsigned status, const char *why);
	/* A connection was closed; its context is the handler's to free. May be NULL. */
	void (*on_connection_closed)(void *connection_context);
	/*
	 * Everything received so far (@received, low 32 bits, see conn_received) has been answered
	 * and the kernel has taken the last byte of the last answer. May be NULL.
	 */
	void (*on_settled)(void *connection_context, uint32_t received);
	/*
	 * The server is about to close a connection unasked, since it has been idle for @idle_ms (0:
	 * since the server drains). False: it was not idle, or must not be closed just now, the
	 * handler knows better; it gets as long again (a little longer if the server drains). May
	 * be NULL.
	 */
	bool (*on_idle)(void *connection_context, uint64_t idle_ms);
};

/*
 * A server that answers on @loop with @handler, both borrowed until http_server_free(). @limits NULL:
 * the defaults; they are copied, and a time of 0 is no limit. NULL when memory is short.
 */
struct http_server *http_server_new(uv_loop_t *loop, const struct http_handler *handler,
				    void *owner, const struct http_limits *limits);
void *http_server_owner(const struct http_server *server);

/* Take the connection that waits at @stream; @tls as in conn_accept(). 0 or a negative errno. */
int http_server_accept(struct http_server *server, uv_stream_t *stream, struct tls_context *tls);

/*
 * Take connections only from where @is_welcome says so; others are reset as soon as they are accepted,
 * and http_server_accept() then returns -EACCES. Before the first connection.
 */
void http_server_set_door(struct http_server *server,
			  bool (*is_welcome)(void *arg, const struct sockaddr_storage *peer),
			  void *arg);

/* Reset all connections that would not be taken any more; their streams get on_abort. */
void http_server_close_unwelcome(struct http_server *server);

/*
 * Let every running answer end, then close its connection (Connection: close where the head is not
 * out yet); idle connections close at once. @on_drained is called once when none is left.
 */
void http_server_drain(struct http_server *server, void (*on_drained)(void *arg), void *arg);

/* Close all connections now; their streams get on_abort. */
void http_server_close(struct http_server *server);
unsigned http_server_connections(const struct http_server *server);

/* Free the server; allowed once no connection is left. Accepts NULL. */
void http_server_free(struct http_server *server);

const struct http_message *http_stream_request(const struct http_stream *s);
struct http_server *http_stream_server(const struct http_stream *s);
struct conn *http_stream_conn(const struct http_stream *s);

/*
 * From now on @handler (borrowed) has what follows on this stream: on_body, on_body_end, on_drain and
 * on_abort. The next request on the connection goes to the server's handler again.
 */
void http_stream_set_handler(struct http_stream *s, const struct http_handler *handler);

/* The handler's own pointer for this stream, NULL at first. */
void http_stream_set_context(struct http_stream *s, void *context);
void *http_stream_context(const struct http_stream *s);

/* The handler's own pointer for the connection, NULL at first; see on_connection_closed. */
void http_stream_set_connection_context(struct http_stream *s, void *context);
void *http_stream_connection_context(const struct http_stream *s);

#define HTTP_UNKNOWN_LENGTH UINT64_MAX /* chunked for HTTP/1.1, until close for 1.0 */

/*
 * Begin the answer: status line, @fields (complete lines "Name: value\r\n", already checked, none of
 * Content-Length, Transfer-Encoding, Connection), then the framing for @length, then @first_piece of
 * the body if any, in one write. The server adds Date when @fields has none and @add_date.
 *
 * 0; -EINVAL (a second answer, a status below 200), -EMSGSIZE (more than @length, or a head above 64
 * KiB), -ENOMEM, and then nothing was sent; -EPIPE: the client is gone, and on_abort follows.
 */
struct http_answer {
	unsigned status;
	struct text fields;
	uint64_t length;
	struct text first_piece;
	bool add_date;
	bool is_last; /* first_piece is the whole body: the stream ends with this call */
	bool close;   /* close the connection after this answer */
};
int http_stream_answer(struct http_stream *s, const struct http_answer *answer);

/* An interim answer (100, 103) with these field lines, sent before http_stream_answer(). */
int http_stream_inform(struct http_stream *s, unsigned status, struct text fields);

/*
 * Answer 101 with these field lines (Upgrade and Connection among them), to a request without a body.
 * From then on the stream is a tunnel: on_body has what the client sends, http_stream_write() sends
 * bytes as they are, on_body_end says that the client has ended, http_stream_end() ends the tunnel.
 * Errors as in http_stream_answer().
 */
int http_stream_tunnel(struct http_stream *s, struct text fields);

/* A further piece of the body. 0 or the errors of conn_write(); more than announced is -EMSGSIZE. */
int http_stream_write(struct http_stream *s, const char *data, size_t len);

/* The body is complete; the stream is over and must not be used any more. */
void http_stream_end(struct http_stream *s);

/* The answer cannot be completed: the connection is closed so that the client notices. Over. */
void http_stream_break(struct http_stream *s);

/* Stop and restart on_body. */
void http_stream_pause(struct http_stream *s);
void http_stream_resume(struct http_stream *s);

/* Bytes written that the kernel did not take yet. */
size_t http_stream_queued(const struct http_stream *s);

#endif
