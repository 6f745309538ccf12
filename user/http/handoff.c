/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handoff: copies requests to another loop, and answers back.
 *
 * A transit holds the copy of a request, and later its answer. One side owns it at a time: the
 * sender while the body arrives, then the responder's mailbox and user, then the sender's mailbox.
 * Only the sender uses `stream`, which is NULL once the client is gone. A sender is freed when it
 * is closed and all of its transits are back, which may be after its loop has ended.
 */
#include "http/handoff.h"

#include <errno.h>
#include <stdlib.h>

#include <urcu/compiler.h>

#include "base/atomic.h"
#include "http/problem.h"
#include "net/mailbox.h"

#define MAX_FIELDS_BYTES (128 * 1024)
#define MAX_ANSWER_BYTES (4 << 20)

struct transit {
	struct handoff handoff; /* first: what the responder's user gets */
	struct mailbox_message message;
	struct handoff_sender *sender; /* counted in its `users` */
	struct http_stream *stream;    /* borrowed; NULL: the client is gone */
	struct buf head, body;	       /* owned: what `handoff` points into */
	bool is_handed_over;	       /* the responder has or had it */
	struct buf fields, page;       /* owned: the answer */
	unsigned status;
};

struct handoff_responder {
	struct mailbox *mailbox; /* owned; requests */
	handoff_handler handler;
	void *arg;
	unsigned max_handoffs;
	unsigned under_way; /* atomic */
	unsigned users;	    /* atomic; the senders, and the creator until it closes */
};

struct handoff_sender {
	struct mailbox *mailbox;	     /* owned; answers */
	struct handoff_responder *responder; /* counted in its `users` */
	unsigned users;			     /* atomic; transits, and the creator until it closes */
};

static struct transit *transit_of(struct mailbox_message *message)
{
	return caa_container_of(message, struct transit, message);
}

static void responder_leave(struct handoff_responder *responder)
{
	if (atomic_sub_return(&responder->users, 1u))
		return;
	mailbox_unref(responder->mailbox);
	free(responder);
}

static void sender_leave(struct handoff_sender *sender)
{
	if (atomic_sub_return(&sender->users, 1u))
		return;
	responder_leave(sender->responder);
	mailbox_unref(sender->mailbox);
	free(sender);
}

static void transit_free(struct transit *transit)
{
	struct handoff_sender *sender = transit->sender;

	buf_done(&transit->head);
	buf_done(&transit->body);
	buf_done(&transit->fields);
	buf_done(&transit->page);
	free(transit);
	sender_leave(sender);
}

/* ---- the responder's side ---- */

static void on_request(void *arg, struct mailbox_message *message)
{
	struct handoff_responder *responder = arg;

	responder->handler(responder->arg, &transit_of(message)->handoff);
}

struct handoff_responder *handoff_responder_new(uv_loop_t *loop, unsigned max_handoffs,
						handoff_handler handler, void *arg)
{
	struct handoff_responder *responder = calloc(1, sizeof(*responder));

	if (!responder)
		return NULL;
	if (mailbox_open(loop, on_request, responder, &responder->mailbox)) {
		free(responder);
		return NULL;
	}
	mailbox_keep_alive(responder->mailbox, false);
	mailbox_ref(responder->mailbox);
	responder->handler = handler;
	responder->arg = arg;
	responder->max_handoffs = max_handoffs;
	responder->users = 1;
	return responder;
}

static void on_undelivered_request(void *arg, struct mailbox_message *message)
{
	(void)arg;
	handoff_answer(&transit_of(message)->handoff, 503, TEXT(""), TEXT(""));
}

void handoff_responder_close(struct handoff_responder *responder)
{
	if (!responder)
		return;
	mailbox_close(responder->mailbox, on_undelivered_request);
	responder_leave(responder);
}

void handoff_answer(struct handoff *handoff, unsigned status, struct text fields, struct text body)
{
	struct transit *transit = (struct transit *)handoff;
	struct handoff_sender *sender = transit->sender;

	transit->status = status;
	if (buf_append_text(&transit->fields, fields) || buf_append_text(&transit->page, body))
		transit->status = 0;
	atomic_sub(&sender->responder->under_way, 1u);
	if (!mailbox_post(sender->mailbox, &transit->message))
		transit_free(transit); /* the sender is closed */
}

/* Find the next field @name in @fields, from *@at on. */
static bool next_field(struct text fields, size_t *at, struct text name, struct text *ret_value)
{
	while (*at < fields.len) {
		const char *line = fields.ptr + *at;
		const char *end = memchr(line, '\n', fields.len - *at);
		size_t len = end ? (size_t)(end - line) : fields.len - *at;

		*at += len + 1;
		if (len > name.len && line[name.len] == ':' &&
		    text_equal_nocase((struct text){ line, name.len }, name)) {
			*ret_value =
				text_trim((struct text){ line + name.len + 1, len - name.len - 1 });
			if (ret_value->len && ret_value->ptr[ret_value->len - 1] == '\r')
				ret_value->len--;
			return true;
		}
	}
	return false;
}

unsigned handoff_field_count(const struct handoff *handoff, const char *name)
{
	struct text value;
	unsigned count = 0;

	for (size_t at = 0; next_field(handoff->fields, &at, text_of(name), &value);)
		count++;
	return count;
}

bool handoff_field(const struct handoff *handoff, const char *name, struct text *ret_value)
{
	size_t at = 0;

	return handoff_field_count(handoff, name) == 1 &&
	       next_field(handoff->fields, &at, text_of(name), ret_value);
}

/* ---- the sender's side ---- */

/* Separate the stream from its transit: it is about to be answered. */
static void leave_stream(struct transit *transit)
{
	http_stream_set_context(transit->stream, NULL);
	transit->stream = NULL;
}

static void answer_stream(struct http_stream *s, unsigned status, struct text fields,
			  struct text body)
{
	const struct http_answer answer = {
		.status = status,
		.fields = fields,
		.length = body.len,
		.first_piece = body,
		.add_date = true,
		.is_last = true,
	};
	int err = status ? http_stream_answer(s, &answer) : -ENOMEM;

	if (err && err != -EPIPE)
		http_stream_break(s);
}

/* Refuse the request here, and free the transit. */
static void refuse(struct transit *transit, unsigned status, const char *detail)
{
	struct http_stream *s = transit->stream;

	buf_clear(&transit->page);
	if (problem_write_body(&transit->page, status, detail, NULL))
		status = 0;
	leave_stream(transit);
	answer_stream(s, status, TEXT(PROBLEM_FIELD "Retry-After: 1\r\n"),
		      buf_text(&transit->page));
	transit_free(transit);
}

static void point(struct transit *transit, struct text *part, size_t *at)
{
	part->ptr = buf_head(&transit->head) + *at;
	*at += part->len;
}

/* The request is complete: set the pointers in `handoff`, and post the transit. */
static void hand_over(struct transit *transit)
{
	struct handoff_responder *responder = transit->sender->responder;
	struct handoff *e = &transit->handoff;
	struct text *parts[] = { &e->method, &e->path, &e->query, &e->authority, &e->fields };
	size_t at = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		point(transit, parts[i], &at);
	e->body = buf_text(&transit->body);
	transit->is_handed_over = true;
	if (atomic_add_return(&responder->under_way, 1u) <= responder->max_handoffs &&
	    mailbox_post(responder->mailbox, &transit->message))
		return;
	atomic_sub(&responder->under_way, 1u);
	refuse(transit, 503, "Too many requests are under way");
}

static void on_body(struct http_stream *s, const char *data, size_t len)
{
	struct transit *transit = http_stream_context(s);

	if (transit && buf_append(&transit->body, data, len))
		refuse(transit, 413, "Request body too large");
}

static void on_body_end(struct http_stream *s)
{
	struct transit *transit = http_stream_context(s);

	if (transit)
		hand_over(transit);
}

/* If the responder has the transit, on_answer() will find that the client is gone. */
static void on_abort(struct http_stream *s, int err)
{
	struct transit *transit = http_stream_context(s);

	(void)err;
	if (!transit)
		return;
	transit->stream = NULL;
	if (!transit->is_handed_over)
		transit_free(transit);
}

static void on_drain(struct http_stream *s)
{
	(void)s;
}

static const struct http_handler sender_handler = {
	.on_body = on_body,
	.on_body_end = on_body_end,
	.on_drain = on_drain,
	.on_abort = on_abort,
};

static void on_answer(void *arg, struct mailbox_message *message)
{
	struct transit *transit = transit_of(message);
	struct http_stream *s = transit->stream;

	(void)arg;
	if (s) {
		leave_stream(transit);
		answer_stream(s, transit->status, buf_text(&transit->fields),
			      buf_text(&transit->page));
	}
	transit_free(transit);
}

struct handoff_sender *handoff_sender_new(uv_loop_t *loop, struct handoff_responder *responder)
{
	struct handoff_sender *sender = calloc(1, sizeof(*sender));

	if (!sender)
		return NULL;
	if (mailbox_open(loop, on_answer, sender, &sender->mailbox)) {
		free(sender);
		return NULL;
	}
	mailbox_ref(sender->mailbox);
	sender->responder = responder;
	sender->users = 1;
	atomic_add(&responder->users, 1u);
	return sender;
}

/*
 * Copy the head and note the lengths. hand_over() sets the pointers, when the buffer no longer
 * moves.
 */
static int copy_head(struct transit *transit, const struct http_message *m)
{
	struct handoff *e = &transit->handoff;
	const char *query = memchr(m->target.ptr, '?', m->target.len);
	size_t skipped = query ? (size_t)(query + 1 - m->target.ptr) : 0, start;
	int err;

	e->method.len = m->method.len;
	e->path.len = m->path.len;
	e->query.len = query ? m->target.len - skipped : 0;
	e->authority.len = m->authority.len;
	err = buf_append_text(&transit->head, m->method);
	if (!err)
		err = buf_append_text(&transit->head, m->path);
	if (!err && query)
		err = buf_append(&transit->head, query + 1, e->query.len);
	if (!err)
		err = buf_append_text(&transit->head, m->authority);
	start = buf_len(&transit->head);
	http_for_each_header (h, m) {
		if (!err)
			err = buf_printf(&transit->head, "%.*s: %.*s\r\n", TEXT_ARG(h->name),
					 TEXT_ARG(h->value));
	}
	e->fields.len = buf_len(&transit->head) - start;
	return err;
}

void handoff_take(struct handoff_sender *sender, struct http_stream *s, size_t max_body)
{
	const struct http_message *m = http_stream_request(s);
	struct transit *transit = calloc(1, sizeof(*transit));

	if (!transit) {
		http_stream_break(s);
		return;
	}
	atomic_add(&sender->users, 1u);
	transit->sender = sender;
	transit->stream = s;
	transit->handoff.peer = *conn_peer(http_stream_conn(s));
	buf_init(&transit->head, MAX_FIELDS_BYTES);
	buf_init(&transit->body, max_body);
	buf_init(&transit->fields, MAX_FIELDS_BYTES);
	buf_init(&transit->page, MAX_ANSWER_BYTES);
	http_stream_set_context(s, transit);
	http_stream_set_handler(s, &sender_handler);
	if (m->body == HTTP_BODY_LENGTH && m->content_length > max_body)
		refuse(transit, 413, "Request body too large");
	else if (copy_head(transit, m))
		refuse(transit, 503, "Out of memory");
	else if (m->body == HTTP_BODY_NONE)
		hand_over(transit);
	else if (m->expects_continue)
		http_stream_inform(s, 100, TEXT(""));
}

static void on_undelivered_answer(void *arg, struct mailbox_message *message)
{
	(void)arg;
	transit_free(transit_of(message));
}

void handoff_sender_close(struct handoff_sender *sender)
{
	if (!sender)
		return;
	mailbox_close(sender->mailbox, on_undelivered_answer);
	sender_leave(sender);
}
