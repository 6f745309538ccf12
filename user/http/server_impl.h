/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server_impl: what the files of the server share; private to them.
 *
 *   server.c             the server: its connections as a set
 *   server_connection.c  one connection: phases, deadlines, the events of its conn
 *   server_read.c        the read side of a stream: heads and bodies of requests
 *   server_stream.c      the write side of a stream: what the handler answers
 *
 * A stream's state is two enums, one for each direction; a connection's state is its phase. Each
 * enum has its transition table at the top of the file that implements it.
 */
#ifndef HTTP_SERVER_IMPL_H
#define HTTP_SERVER_IMPL_H

#include <sys/queue.h>

#include "http/h1.h"
#include "http/server.h"

#define HTTP_DATE_BYTES	    29		 /* "Sun, 06 Nov 1994 08:49:37 GMT" */
#define HTTP_DRAIN_BYTES    (64 * 1024)	 /* of an unwanted body, read to keep the connection */
#define HTTP_PENDING_BYTES  (64 * 1024)	 /* of pipelined requests; above this, reading pauses */
#define HTTP_LINGER_BYTES   (256 * 1024) /* read and dropped while a connection lingers */
#define HTTP_LINGER_MS	    2000	 /* how long a connection lingers at most */
#define HTTP_DRAIN_AGAIN_MS 50		 /* until a busy connection is asked again to drain */
#define HTTP_JOIN_BYTES	    1024	 /* of a body, copied after its head, into one write */

LIST_HEAD(connection_list, http_connection);

struct http_server {
	uv_loop_t *loop;		    /* borrowed */
	const struct http_handler *handler; /* borrowed */
	void *owner;			    /* borrowed */
	struct http_limits limits;
	struct connection_list connections; /* newest first; each frees itself */
	unsigned connection_count;
	bool is_draining;
	void (*on_drained)(void *arg);
	void *drained_arg;
	bool (*is_welcome)(void *arg, const struct sockaddr_storage *peer); /* NULL: all are */
	void *welcome_arg;
	struct buf head; /* a response head, only while it is being written */
	uint64_t date_s; /* Unix time of `date` */
	char date[HTTP_DATE_BYTES + 1];
};

/* What the client sends; table in server_read.c. */
enum read_state {
	READ_IDLE,    /* between requests: nothing of the next one has arrived */
	READ_HEAD,    /* part of a head has arrived */
	READ_EXPECT,  /* the client waits for 100 Continue before it sends the body */
	READ_BODY,    /* the body goes to the handler */
	READ_DISCARD, /* the answer is complete; the rest of the body is dropped */
	READ_DONE,    /* the request is complete, its answer is not; further requests wait */
	READ_TUNNEL,  /* bytes go to the handler as they are */
};

/* What the handler answers; table in server_stream.c. */
enum write_state {
	WRITE_NONE, /* no answer is due, and all earlier ones are settled (see on_settled) */
	WRITE_HEAD, /* the handler has the request; the head of its answer is due */
	WRITE_BODY, /* the head is out, the body or the tunnel is not finished */
	WRITE_DONE, /* the answer is complete or given up; it is not settled yet */
};

struct http_stream {
	const struct http_handler *handler; /* borrowed: of this request */
	void *context;			    /* borrowed from the handler */
	uint64_t body_seen;		    /* bytes of the request body so far */
	uint64_t left; /* bytes of the response body still due, or HTTP_UNKNOWN_LENGTH */
	enum read_state read;
	enum write_state write;
	/* Properties of the answer. */
	bool is_chunked;
	bool is_bodiless; /* HEAD, 204, 304: body bytes are not sent */
	bool must_close;  /* the connection closes after it */
	/* Flow control. */
	bool is_paused; /* the handler wants no on_body */
	bool is_high;	/* on_drain is due */
};

/* The connection as a whole; table in server_connection.c. */
enum http_phase {
	HTTP_HANDSHAKE, /* TLS: no data has arrived yet */
	HTTP_OPEN,
	HTTP_LINGERING, /* everything is written; input is dropped, to avoid an RST */
	HTTP_CLOSED,	/* waits for libuv to close the handles */
};

struct http_connection {
	struct http_stream stream;  /* HTTP/1.1 has one at a time; first, see connection_of() */
	struct http_server *server; /* borrowed */
	struct conn *conn;	    /* owned */
	struct h1_parser *parser;   /* owned */
	LIST_ENTRY(http_connection) entry;
	void *context;		    /* borrowed from the handler */
	uv_timer_t timer;	    /* fires at armed_ms, then checks which deadline has passed */
	uint64_t armed_ms;	    /* loop time; 0: not armed */
	uint64_t read_deadline_ms;  /* loop time; 0: none */
	uint64_t write_deadline_ms; /* loop time; 0: nothing is queued */
	uint64_t sent_mark;	    /* conn_sent() when write_deadline_ms was set */
	struct buf pending;	    /* received, but not to be parsed yet */
	size_t dropped_bytes;	    /* of an unwanted body, or while lingering */
	unsigned request_count;
	enum http_phase phase;
	/* What is known about the transport. */
	bool is_ended;	/* the client will send nothing more */
	bool is_broken; /* a write failed */
	/* Scheduling. */
	bool is_running; /* read_take() is further up the stack */
	bool is_kicked;	 /* the timer is to call read_run() */
};

static inline struct http_connection *connection_of(const struct http_stream *s)
{
	return (struct http_connection *)s;
}

/* Whether the handler has this stream: between on_request and the end of the answer. */
static inline bool stream_is_active(const struct http_stream *s)
{
	return s->write == WRITE_HEAD || s->write == WRITE_BODY;
}

/* Whether part of the request body is still to come. */
static inline bool read_has_body(const struct http_stream *s)
{
	return s->read == READ_EXPECT || s->read == READ_BODY || s->read == READ_DISCARD;
}

/* Whether requests are still read from this connection. */
static inline bool connection_is_open(const struct http_connection *c)
{
	return c->phase == HTTP_OPEN || c->phase == HTTP_HANDSHAKE;
}

/* ---- server_connection.c ---- */

int connection_accept(struct http_server *server, uv_stream_t *stream, struct tls_context *tls);

/* Enter HTTP_CLOSED. Calls no handler from within. */
void connection_close(struct http_connection *c, bool reset);

/* Enter HTTP_LINGERING, or close at once if there is no reason to linger. */
void connection_linger(struct http_connection *c);

/* End the stream with on_abort; @status, if not 0, is sent if no answer has begun. */
void connection_abort(struct http_connection *c, int err, unsigned status);

/* Refuse a head that the handler does not get to see, with @status; @why is for the log. */
void connection_refuse(struct http_connection *c, unsigned status, const char *why);

/* The handler has completed its answer. */
void connection_finish_stream(struct http_connection *c);

/* The server drains: close unless a request is under way. */
void connection_drain(struct http_connection *c);

/* Run the connection from the loop, in its next turn. */
void connection_kick(struct http_connection *c);

/* Report on_settled if it is due. */
void connection_settle(struct http_connection *c);

/* Set the read deadline to @ms from now; 0: none. */
void connection_expect(struct http_connection *c, uint64_t ms);

/* Make sure that the timer fires for both deadlines. */
void connection_arm(struct http_connection *c);

/* After a write: queued bytes must move within write_ms. */
void connection_watch_writing(struct http_connection *c);

/* Whether the handler agrees that the connection has been idle for @idle_ms; see on_idle. */
bool connection_is_idle(struct http_connection *c, uint64_t idle_ms);

/* ---- server_read.c ---- */

/* The only way to change the read side: enter @state and set the deadline that belongs to it. */
void read_enter(struct http_connection *c, enum read_state state);

/* Bytes of the request body that are known to be still to come. */
uint64_t read_body_left(const struct http_connection *c);

/* Whether no request is under way, although an answer may still be on its way out. */
bool read_is_between(const struct http_connection *c);

/* The connection's events for the read side: bytes, the end of the stream, a passed deadline. */
void read_bytes(struct http_connection *c, const char *data, size_t len);
void read_eof(struct http_connection *c);
void read_late(struct http_connection *c);

/* The answer is complete and the connection stays open: go on with the rest of this request. */
void read_finish(struct http_connection *c);

/* Take what is pending, and do what follows from it. */
void read_run(struct http_connection *c);

/* ---- server_stream.c ---- */

/* Write the server's own refusal. No answer may have begun. 0 or a negative errno. */
int stream_refuse(struct http_connection *c, unsigned status);

#endif
