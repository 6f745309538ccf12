/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server: gives the requests on accepted connections to a handler, as streams.
 *
 * A stream is one request and its answer. An HTTP/1.1 connection has one stream at a time:
 * pipelined requests wait, unparsed and bounded, until the answer before them is complete. The
 * server does what every answer needs: framing, Date and Connection, no body for HEAD and 204,
 * deadlines. It refuses invalid and too large requests itself, closes idle connections without an
 * answer, and reads on when the handler answers before the request body is complete.
 *
 * All functions and callbacks run on the thread of the server's loop. A callback may call any
 * function here; the server calls it as the last thing it does.
 *
 * The module http: requests and answers: parsing, checking and writing HTTP, the server's
 * connections, problem documents, handing a request to another loop. What becomes of a request
 * belongs to proxy, admin, stripe and portal, and none of them may depend on the version of HTTP.
 */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include "http/message.h"
#include "net/conn.h"

struct http_server;
struct http_stream;

struct http_limits {
	uint64_t head_bytes; /* of a head; 431 above; default 16 KiB */
	uint64_t body_bytes; /* of a request body; 413 above; default 1 GiB */
	/* Milliseconds; 0: no limit. */
	uint64_t head_ms;  /* from the first byte of a head to its last; then 408; default 10 s */
	uint64_t body_ms;  /* between two pieces of a body; then 408; default 30 s */
	uint64_t idle_ms;  /* between two requests; then the connection closes; default 75 s */
	uint64_t write_ms; /* without the client taking a byte; then it closes; default 30 s */
	/* 0: no limit. */
	unsigned max_requests;	  /* on one connection; the last answer closes it */
	unsigned max_connections; /* of this server; further ones are reset */
};

/* The defaults named above. */
extern const struct http_limits http_default_limits;

struct http_handler {
	/*
	 * The head of a request is complete; http_stream_request() is valid until the stream is
	 * over. The handler must answer, now or later. If there is a body, on_body and on_body_end
	 * follow.
	 */
	void (*on_request)(struct http_stream *s);
	/* A piece of the request body; @data is valid during the call. Not called while paused. */
	void (*on_body)(struct http_stream *s, const char *data, size_t len);
	/* The request body is complete. */
	void (*on_body_end)(struct http_stream *s);
	/*
	 * Written bytes exceeded CONN_HIGH_BYTES, and now all of them are sent. Once for each rise.
	 */
	void (*on_drain)(struct http_stream *s);
	/*
	 * The stream ended before its answer was complete, and must not be used any more. @err:
	 *   -ECONNRESET  the client is gone
	 *   -EBADMSG     the request body is invalid
	 *   -EMSGSIZE    the request body exceeds body_bytes
	 *   -ETIMEDOUT   the client sent nothing for body_ms, or took nothing for write_ms
	 *   -ECANCELED   the server is being closed, or the client is not welcome any more
	 *   -ENOMEM      out of memory
	 * If no answer had begun, the server sends 400, 413 or 408 where one applies.
	 */
	void (*on_abort)(struct http_stream *s, int err);
	/*
	 * The server refused a head with @status (400, 408, 413, 417 or 431), and the handler did
	 * not see it. @why names the rule that was broken (a literal). May be NULL.
	 */
	void (*on_refused)(struct http_server *server, unsigned status, const char *why);
	/* A connection is closed; the handler frees its context. May be NULL. */
	void (*on_connection_closed)(void *connection_context);
	/*
	 * Every request so far is answered, and the kernel has taken the last byte of the answers.
	 * @received: bytes received on the connection, low 32 bits; see conn_received(). May be
	 * NULL.
	 */
	void (*on_settled)(void *connection_context, uint32_t received);
	/*
	 * The server is about to close a connection that has been idle for @idle_ms, or because the
	 * server drains (@idle_ms 0). False keeps it open for another idle_ms, or, if the server
	 * drains, for a fraction of a second. May be NULL.
	 */
	bool (*on_idle)(void *connection_context, uint64_t idle_ms);
};

/*
 * A server on @loop whose requests go to @handler; both are borrowed until http_server_free().
 * @limits are copied; NULL: the defaults. NULL: out of memory.
 */
struct http_server *http_server_new(uv_loop_t *loop, const struct http_handler *handler,
				    void *owner, const struct http_limits *limits);

/* The @owner that was given to http_server_new(). */
void *http_server_owner(const struct http_server *server);

/*
 * Accept the connection that waits at @stream, a listening stream whose connection callback runs;
 * @tls as in conn_accept(). A connection above max_connections, or while the server drains, is
 * accepted and reset. 0; -EACCES if the client is not welcome; -ENOMEM or an errno of accept(2).
 */
int http_server_accept(struct http_server *server, uv_stream_t *stream, struct tls_context *tls);

/*
 * From now on, accept only clients for whom @is_welcome returns true; others are reset, and
 * http_server_accept() returns -EACCES. Must be called before the first connection.
 */
void http_server_set_door(struct http_server *server,
			  bool (*is_welcome)(void *arg, const struct sockaddr_storage *peer),
			  void *arg);

/* Reset all connections whose clients are not welcome any more; their streams get on_abort. */
void http_server_close_unwelcome(struct http_server *server);

/*
 * Finish the requests under way, then close their connections; answers whose head is not sent yet
 * say "Connection: close". Idle connections close at once. @on_drained (may be NULL) is called
 * once, when no connection is left, possibly before this function returns.
 */
void http_server_drain(struct http_server *server, void (*on_drained)(void *arg), void *arg);

/* Close all connections now; their streams get on_abort(-ECANCELED). */
void http_server_close(struct http_server *server);

/* The number of open connections, including those that are being closed. */
unsigned http_server_connections(const struct http_server *server);

/* Free the server, which must have no connection left. Accepts NULL. */
void http_server_free(struct http_server *server);

/* The request of this stream; valid until the stream is over. */
const struct http_message *http_stream_request(const struct http_stream *s);
struct http_server *http_stream_server(const struct http_stream *s);
struct conn *http_stream_conn(const struct http_stream *s);

/*
 * From now on this stream's on_body, on_body_end, on_drain and on_abort go to @handler, which is
 * borrowed until the stream is over. The next request goes to the server's handler again.
 */
void http_stream_set_handler(struct http_stream *s, const struct http_handler *handler);

/* A pointer of the handler's for this stream; NULL at first. */
void http_stream_set_context(struct http_stream *s, void *context);
void *http_stream_context(const struct http_stream *s);

/* A pointer of the handler's for the connection; NULL at first. See on_connection_closed. */
void http_stream_set_connection_context(struct http_stream *s, void *context);
void *http_stream_connection_context(const struct http_stream *s);

#define HTTP_UNKNOWN_LENGTH UINT64_MAX /* HTTP/1.1: chunked; HTTP/1.0: until close */

struct http_answer {
	unsigned status; /* 200 or above */
	/*
	 * Lines "Name: value\r\n", checked by the caller, without Content-Length, Transfer-Encoding
	 * and Connection.
	 */
	struct text fields;
	uint64_t length; /* of the body, or HTTP_UNKNOWN_LENGTH */
	struct text first_piece;
	bool add_date; /* add Date if `fields` has none */
	bool is_last;  /* first_piece is the whole body: the stream is over with this call */
	bool close;    /* close the connection after this answer */
};

/*
 * Start the answer: send its head and the first piece of its body in one write.
 *
 * 0; -EPIPE: the client is gone, and on_abort follows; and if nothing was sent, -EINVAL (there is
 * an answer already, or the status is below 200), -EMSGSIZE (first_piece is longer than `length`,
 * or the head than 64 KiB) or -ENOMEM.
 */
int http_stream_answer(struct http_stream *s, const struct http_answer *answer);

/*
 * Send an interim response (100, 102 to 199) with these field lines, before http_stream_answer().
 * An HTTP/1.0 client gets none. 0 or the errors of http_stream_answer().
 */
int http_stream_inform(struct http_stream *s, unsigned status, struct text fields);

/*
 * Answer 101 with these field lines, which include Upgrade and Connection, and turn the stream into
 * a tunnel: on_body gets what the client sends, on_body_end tells that the client has ended its
 * half, http_stream_write() sends bytes unchanged, http_stream_end() ends the tunnel. The request
 * must be complete. 0 or the errors of http_stream_answer().
 */
int http_stream_tunnel(struct http_stream *s, struct text fields);

/*
 * Send a further piece of the body; it is dropped if the answer has none, as for HEAD. 0; -EINVAL:
 * no answer has begun; -EMSGSIZE: more than its length; else the errors of conn_write().
 */
int http_stream_write(struct http_stream *s, const char *data, size_t len);

/*
 * The answer is complete. The stream is over and must not be used any more. An answer that has not
 * begun or is shorter than its length resets the connection.
 */
void http_stream_end(struct http_stream *s);

/*
 * The answer cannot be completed: reset the connection, so that the client notices. The stream is
 * over and must not be used any more.
 */
void http_stream_break(struct http_stream *s);

/* Stop and restart on_body. Restarting does not call it from within. */
void http_stream_pause(struct http_stream *s);
void http_stream_resume(struct http_stream *s);

/* Bytes that were written and not yet taken by the kernel; CONN_HIGH_BYTES is a good limit. */
size_t http_stream_queued(const struct http_stream *s);

#endif
