/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * errand: a whole request, carried from the loop that received it to another one, and its answer back.
 *
 * A desk belongs to the loop that answers; each loop that receives has a messenger of its own. The
 * messenger reads the request to its end, within a limit, and hands a copy to the desk; the answer comes
 * back to whoever still waits for it. What the desk cannot take is refused by the messenger: 413 for a
 * body above the limit, 503 when too many errands are under way.
 */
#ifndef HTTP_ERRAND_H
#define HTTP_ERRAND_H

#include <sys/socket.h>

#include "base/buf.h"
#include "http/server.h"

struct errand_desk;
struct messenger;

/* A request as the desk has it: a copy that lives until errand_answer(). */
struct errand {
	struct text method, path, query; /* the query without its '?' */
	struct text authority;		 /* Host */
	struct text fields;		 /* of the head: lines "Name: value\r\n" */
	struct text body;
	struct sockaddr_storage peer; /* of the connection; a proxy's, if there is one */
	void *context;		      /* the desk's user's */
};

/* An errand has come. It must be answered, now or later, on the same thread. */
typedef void (*errand_handler)(void *arg, struct errand *errand);

/* A desk on @loop for at most @max_errands at once. It does not keep the loop alive. NULL: no memory. */
struct errand_desk *errand_desk_new(uv_loop_t *loop, unsigned max_errands, errand_handler handler,
				    void *arg);

/*
 * Take no more errands. Those that came and were not answered must still be answered; those on
 * their way are refused. Freed with the last messenger. Accepts NULL.
 */
void errand_desk_close(struct errand_desk *desk);

/*
 * Answer with these field lines (as in struct http_answer; Date is added) and this body, and free the
 * errand. Copies both. The desk's thread. When memory is short the client's connection breaks.
 */
void errand_answer(struct errand *errand, unsigned status, struct text fields, struct text body);

/* The value of the request's only field of that name, whatever its case. False: none, or several. */
bool errand_field(const struct errand *errand, const char *name, struct text *ret_value);

/* How many fields of that name there are. */
unsigned errand_count(const struct errand *errand, const char *name);

/* A messenger on @loop to @desk (borrowed until it is closed). NULL when memory is short. */
struct messenger *messenger_new(uv_loop_t *loop, struct errand_desk *desk);

/*
 * Take over stream @s, whose request has just come: its handler hears no more of it. The request's
 * body may have at most @max_body bytes.
 */
void messenger_take(struct messenger *messenger, struct http_stream *s, size_t max_body);

/*
 * The loop ends. Streams that wait must have been aborted (http_server_close()); answers that still
 * come go nowhere. The loop must turn once more. Accepts NULL.
 */
void messenger_close(struct messenger *messenger);

#endif
