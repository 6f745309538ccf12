/* SPDX-License-Identifier: BSD-2-Clause */
/* server_impl: what server.c, server_connection.c and server_stream.c share; for nobody else. */
#ifndef HTTP_SERVER_IMPL_H
#define HTTP_SERVER_IMPL_H

#include "http/h1.h"
#include "http/server.h"

#define HTTP_DATE_BYTES	    29		/* "Sun, 06 Nov 1994 08:49:37 GMT" */
#define HTTP_DRAIN_BYTES    (64 * 1024) /* of an unwanted body, read so as to keep the connection */
#define HTTP_PENDING_BYTES  (64 * 1024) /* of pipelined requests; then reading pauses */
#define HTTP_LINGER_BYTES   (256 * 1024) /* read and dropped after the last answer, */
#define HTTP_DRAIN_AGAIN_MS 50		 /* a connection that could not be closed is tried again */
#define HTTP_LINGER_MS	    2000	 /* for at most so long */
#define HTTP_JOIN_BYTES	    1024	 /* of a body that are copied behind its head */

struct http_server {
	uv_loop_t *loop;		    /* borrowed */
	const struct http_handler *handler; /* borrowed */
	void *owner;			    /* borrowed */
	struct http_limits limits;
	struct http_connection *connections; /* a list; each frees itself */
	unsigned connection_count;
	bool is_draining;
	void (*on_drained)(void *arg);
	void *drained_arg;
	bool (*is_welcome)(void *arg, const struct sockaddr_storage *peer); /* NULL: all are */
	void *welcome_arg;
	struct buf head; /* an answer's head while it is written */
	uint64_t date_s; /* Unix time of @date */
	char date[HTTP_DATE_BYTES + 1];
};

struct http_stream {
	const struct http_handler *handler; /* borrowed: of this request */
	void *context;			    /* borrowed from the handler */
	uint64_t body_seen;		    /* bytes of the request's body */
	uint64_t left;	/* bytes of the answer's body to come, or HTTP_UNKNOWN_LENGTH */
	bool is_active; /* between on_request and the end of the answer */
	bool is_begun;	/* the answer's head is out */
	bool is_chunked;
	bool is_bodiless; /* HEAD, 204, 304: what is written goes nowhere */
	bool is_paused;
	bool is_high; /* on_drain is due */
	bool is_tunnel;
	bool has_continued; /* 100 is out */
	bool must_close;
};

enum http_phase {
	HTTP_OPEN,
	HTTP_LINGERS, /* everything is written; what still comes is dropped, so that no RST goes out */
	HTTP_CLOSED,
};

struct http_connection {
	struct http_stream stream;  /* the one at a time; first, see connection_of() */
	struct http_server *server; /* borrowed */
	struct conn *conn;	    /* owned */
	struct h1_parser *parser;   /* owned */
	struct http_connection *next;
	struct http_connection **slot; /* what points to us */
	void *context;		       /* the handler's */
	uv_timer_t timer;	       /* fires at armed_ms or earlier; looks what is due, then */
	uint64_t armed_ms;	       /* loop time; 0: not armed */
	uint64_t read_deadline_ms;     /* 0: none */
	uint64_t write_deadline_ms;    /* 0: nothing queued */
	uint64_t sent_mark;	       /* conn_sent() when that was set */
	struct buf pending;	       /* came, but is not for now */
	size_t dropped_bytes;	       /* of an unwanted body, or while lingering */
	unsigned request_count;
	enum http_phase phase;
	bool is_receiving;  /* head seen, body not over */
	bool is_head_timed; /* read_deadline_ms is for a head */
	bool is_running;    /* in take(), further up the stack */
	bool is_kicked;	    /* the timer is to run us */
	bool is_ended;	    /* the client will send no more */
	bool is_broken;	    /* a write failed */
	bool is_greeting;   /* read_deadline_ms is for the TLS handshake */
	bool is_unsettled;  /* on_settled is due */
};

static inline struct http_connection *connection_of(const struct http_stream *s)
{
	return (struct http_connection *)s;
}

/* server_connection.c */
int connection_accept(struct http_server *server, uv_stream_t *stream, struct tls_context *tls);

/* Close now. No callback from within. */
void connection_close(struct http_connection *c, bool reset);

/* The stream's answer is complete: what comes after it. */
void connection_finish_stream(struct http_connection *c);

/* End the stream with on_abort, after the fitting answer if @status and none has begun. */
void connection_abort(struct http_connection *c, int err, unsigned status);

/* The server drains: close if nothing is under way. */
void connection_drain(struct http_connection *c);

/* Look after the connection from the loop, soon. */
void connection_kick(struct http_connection *c);

/* Set (0: clear) the time until which the client must have sent something. */
void connection_expect(struct http_connection *c, uint64_t ms);

/* After a write: bytes may be queued that must go on moving. */
void connection_watch_writing(struct http_connection *c);

/* server_stream.c: the server's own refusal, where no answer has begun. */
int stream_refuse(struct http_connection *c, unsigned status);

/* How much of the request's body is known to be still to come. */
uint64_t stream_body_left(const struct http_connection *c);

#endif
