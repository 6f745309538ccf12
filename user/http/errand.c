/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * errand: a whole request, carried to another loop, and its answer back.
 *
 * A parcel is the request's copy, then the answer's. It is in one place at a time: with the messenger
 * while the body comes, in the desk's list, with the desk's user, in the messenger's list. `stream` is
 * the messenger's alone: it tells whether anybody still waits. A messenger outlives its loop until
 * the desk has given back all that it was handed.
 */
#include "http/errand.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "http/problem.h"

#define MAX_FIELDS_BYTES (128 * 1024)
#define MAX_ANSWER_BYTES (4 << 20)

struct parcel {
	struct errand errand; /* first: what the desk's user holds */
	struct parcel *next;
	struct messenger *messenger; /* one reference */
	struct http_stream *stream;  /* borrowed; the messenger's loop only. NULL: nobody waits */
	struct buf head, body;	     /* owned: what `errand` points into */
	bool is_handed_over;	     /* the desk has it, or had it */
	struct buf fields, page;     /* owned: the answer */
	unsigned status;
};

struct parcel_list {
	struct parcel *first, **last;
};

struct errand_desk {
	uv_async_t wake;
	errand_handler handler;
	void *arg;
	pthread_mutex_t lock; /* of the rest */
	struct parcel_list waiting;
	unsigned under_way, max_errands;
	unsigned users; /* messengers, and the desk's own handle */
	bool is_closed;
};

struct messenger {
	uv_async_t wake;
	struct errand_desk *desk; /* one use */
	pthread_mutex_t lock;	  /* of the rest */
	struct parcel_list back;
	unsigned users; /* parcels, and the handle */
	bool is_closed; /* its loop is gone: nothing is sent back */
};

static void list_init(struct parcel_list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static void list_push(struct parcel_list *list, struct parcel *parcel)
{
	parcel->next = NULL;
	*list->last = parcel;
	list->last = &parcel->next;
}

static struct parcel *list_take_all(struct parcel_list *list)
{
	struct parcel *first = list->first;

	list_init(list);
	return first;
}

static void desk_leave(struct errand_desk *desk)
{
	bool is_last;

	pthread_mutex_lock(&desk->lock);
	is_last = --desk->users == 0;
	pthread_mutex_unlock(&desk->lock);
	if (!is_last)
		return;
	pthread_mutex_destroy(&desk->lock);
	free(desk);
}

static void messenger_leave(struct messenger *messenger)
{
	bool is_last;

	pthread_mutex_lock(&messenger->lock);
	is_last = --messenger->users == 0;
	pthread_mutex_unlock(&messenger->lock);
	if (!is_last)
		return;
	desk_leave(messenger->desk);
	pthread_mutex_destroy(&messenger->lock);
	free(messenger);
}

static void parcel_free(struct parcel *parcel)
{
	struct messenger *messenger = parcel->messenger;

	buf_done(&parcel->head);
	buf_done(&parcel->body);
	buf_done(&parcel->fields);
	buf_done(&parcel->page);
	free(parcel);
	messenger_leave(messenger);
}

/* ---- the desk's side ---- */

static void on_desk_wake(uv_async_t *wake)
{
	struct errand_desk *desk = wake->data;
	struct parcel *parcel;

	pthread_mutex_lock(&desk->lock);
	parcel = list_take_all(&desk->waiting);
	pthread_mutex_unlock(&desk->lock);
	while (parcel) {
		struct parcel *next = parcel->next;

		desk->handler(desk->arg, &parcel->errand);
		parcel = next;
	}
}

struct errand_desk *errand_desk_new(uv_loop_t *loop, unsigned max_errands, errand_handler handler,
				    void *arg)
{
	struct errand_desk *desk = calloc(1, sizeof(*desk));

	if (!desk)
		return NULL;
	if (uv_async_init(loop, &desk->wake, on_desk_wake)) {
		free(desk);
		return NULL;
	}
	uv_unref((uv_handle_t *)&desk->wake);
	desk->wake.data = desk;
	desk->handler = handler;
	desk->arg = arg;
	desk->max_errands = max_errands;
	desk->users = 1;
	list_init(&desk->waiting);
	pthread_mutex_init(&desk->lock, NULL);
	return desk;
}

static void on_desk_closed(uv_handle_t *wake)
{
	desk_leave(wake->data);
}

void errand_desk_close(struct errand_desk *desk)
{
	struct parcel *parcel;

	if (!desk)
		return;
	pthread_mutex_lock(&desk->lock);
	desk->is_closed = true;
	parcel = list_take_all(&desk->waiting);
	pthread_mutex_unlock(&desk->lock);
	while (parcel) {
		struct parcel *next = parcel->next;

		errand_answer(&parcel->errand, 503, TEXT(""), TEXT(""));
		parcel = next;
	}
	uv_close((uv_handle_t *)&desk->wake, on_desk_closed);
}

void errand_answer(struct errand *errand, unsigned status, struct text fields, struct text body)
{
	struct parcel *parcel = (struct parcel *)errand;
	struct messenger *messenger = parcel->messenger;
	struct errand_desk *desk = messenger->desk;
	bool is_closed;

	parcel->status = status;
	if (buf_append_text(&parcel->fields, fields) || buf_append_text(&parcel->page, body))
		parcel->status = 0;
	pthread_mutex_lock(&desk->lock);
	desk->under_way--;
	pthread_mutex_unlock(&desk->lock);
	pthread_mutex_lock(&messenger->lock);
	is_closed = messenger->is_closed;
	if (!is_closed) {
		list_push(&messenger->back, parcel);
		uv_async_send(&messenger->wake);
	}
	pthread_mutex_unlock(&messenger->lock);
	if (is_closed)
		parcel_free(parcel);
}

/* The next line of @fields that is of that name, from *@at on. */
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

unsigned errand_count(const struct errand *errand, const char *name)
{
	struct text value;
	unsigned count = 0;

	for (size_t at = 0; next_field(errand->fields, &at, text_of(name), &value);)
		count++;
	return count;
}

bool errand_field(const struct errand *errand, const char *name, struct text *ret_value)
{
	size_t at = 0;

	return errand_count(errand, name) == 1 &&
	       next_field(errand->fields, &at, text_of(name), ret_value);
}

/* ---- the messenger's side ---- */

/* Nobody will ask for this stream's parcel any more. */
static void leave_stream(struct parcel *parcel)
{
	http_stream_set_context(parcel->stream, NULL);
	parcel->stream = NULL;
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

/* A refusal of our own; the parcel is gone after it. */
static void refuse(struct parcel *parcel, unsigned status, const char *detail)
{
	struct http_stream *s = parcel->stream;

	buf_clear(&parcel->page);
	if (problem_write_body(&parcel->page, status, detail, NULL))
		status = 0;
	leave_stream(parcel);
	answer_stream(s, status, TEXT(PROBLEM_FIELD "Retry-After: 1\r\n"), buf_text(&parcel->page));
	parcel_free(parcel);
}

static void point(struct parcel *parcel, struct text *part, size_t *at)
{
	part->ptr = buf_head(&parcel->head) + *at;
	*at += part->len;
}

/* The request is complete: `errand` gets its pointers, and the desk the parcel. */
static void hand_over(struct parcel *parcel)
{
	struct errand_desk *desk = parcel->messenger->desk;
	struct errand *e = &parcel->errand;
	struct text *parts[] = { &e->method, &e->path, &e->query, &e->authority, &e->fields };
	bool is_taken;
	size_t at = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		point(parcel, parts[i], &at);
	e->body = buf_text(&parcel->body);
	parcel->is_handed_over = true;
	pthread_mutex_lock(&desk->lock);
	is_taken = !desk->is_closed && desk->under_way < desk->max_errands;
	if (is_taken) {
		desk->under_way++;
		list_push(&desk->waiting, parcel);
		uv_async_send(&desk->wake);
	}
	pthread_mutex_unlock(&desk->lock);
	if (!is_taken)
		refuse(parcel, 503, "Too many requests are under way");
}

static void on_body(struct http_stream *s, const char *data, size_t len)
{
	struct parcel *parcel = http_stream_context(s);

	if (parcel && buf_append(&parcel->body, data, len))
		refuse(parcel, 413, "Request body too large");
}

static void on_body_end(struct http_stream *s)
{
	struct parcel *parcel = http_stream_context(s);

	if (parcel)
		hand_over(parcel);
}

/* If the parcel is with the desk the answer will find that nobody waits. */
static void on_abort(struct http_stream *s, int err)
{
	struct parcel *parcel = http_stream_context(s);

	(void)err;
	if (!parcel)
		return;
	parcel->stream = NULL;
	if (!parcel->is_handed_over)
		parcel_free(parcel);
}

static void on_drain(struct http_stream *s)
{
	(void)s;
}

static const struct http_handler messenger_handler = {
	.on_body = on_body,
	.on_body_end = on_body_end,
	.on_drain = on_drain,
	.on_abort = on_abort,
};

static void on_back(uv_async_t *wake)
{
	struct messenger *messenger = wake->data;
	struct parcel *parcel;

	pthread_mutex_lock(&messenger->lock);
	parcel = list_take_all(&messenger->back);
	pthread_mutex_unlock(&messenger->lock);
	while (parcel) {
		struct parcel *next = parcel->next;
		struct http_stream *s = parcel->stream;

		if (s) {
			leave_stream(parcel);
			answer_stream(s, parcel->status, buf_text(&parcel->fields),
				      buf_text(&parcel->page));
		}
		parcel_free(parcel);
		parcel = next;
	}
}

struct messenger *messenger_new(uv_loop_t *loop, struct errand_desk *desk)
{
	struct messenger *messenger = calloc(1, sizeof(*messenger));

	if (!messenger)
		return NULL;
	if (uv_async_init(loop, &messenger->wake, on_back)) {
		free(messenger);
		return NULL;
	}
	messenger->wake.data = messenger;
	messenger->desk = desk;
	messenger->users = 1;
	list_init(&messenger->back);
	pthread_mutex_init(&messenger->lock, NULL);
	pthread_mutex_lock(&desk->lock);
	desk->users++;
	pthread_mutex_unlock(&desk->lock);
	return messenger;
}

/* Copy the head; lengths are noted, pointers follow when nothing moves any more. */
static int copy_head(struct parcel *parcel, const struct http_message *m)
{
	struct errand *e = &parcel->errand;
	const char *query = memchr(m->target.ptr, '?', m->target.len);
	size_t skipped = query ? (size_t)(query + 1 - m->target.ptr) : 0, start;
	int err;

	e->method.len = m->method.len;
	e->path.len = m->path.len;
	e->query.len = query ? m->target.len - skipped : 0;
	e->authority.len = m->authority.len;
	err = buf_append_text(&parcel->head, m->method);
	if (!err)
		err = buf_append_text(&parcel->head, m->path);
	if (!err && query)
		err = buf_append(&parcel->head, query + 1, e->query.len);
	if (!err)
		err = buf_append_text(&parcel->head, m->authority);
	start = buf_len(&parcel->head);
	http_for_each_header (h, m) {
		if (!err)
			err = buf_printf(&parcel->head, "%.*s: %.*s\r\n", TEXT_ARG(h->name),
					 TEXT_ARG(h->value));
	}
	e->fields.len = buf_len(&parcel->head) - start;
	return err;
}

void messenger_take(struct messenger *messenger, struct http_stream *s, size_t max_body)
{
	const struct http_message *m = http_stream_request(s);
	struct parcel *parcel = calloc(1, sizeof(*parcel));

	if (!parcel) {
		http_stream_break(s);
		return;
	}
	pthread_mutex_lock(&messenger->lock);
	messenger->users++;
	pthread_mutex_unlock(&messenger->lock);
	parcel->messenger = messenger;
	parcel->stream = s;
	parcel->errand.peer = *conn_peer(http_stream_conn(s));
	buf_init(&parcel->head, MAX_FIELDS_BYTES);
	buf_init(&parcel->body, max_body);
	buf_init(&parcel->fields, MAX_FIELDS_BYTES);
	buf_init(&parcel->page, MAX_ANSWER_BYTES);
	http_stream_set_context(s, parcel);
	http_stream_set_handler(s, &messenger_handler);
	if (m->body == HTTP_BODY_LENGTH && m->content_length > max_body)
		refuse(parcel, 413, "Request body too large");
	else if (copy_head(parcel, m))
		refuse(parcel, 503, "Out of memory");
	else if (m->body == HTTP_BODY_NONE)
		hand_over(parcel);
	else if (m->expects_continue)
		http_stream_inform(s, 100, TEXT(""));
}

static void on_messenger_closed(uv_handle_t *wake)
{
	messenger_leave(wake->data);
}

void messenger_close(struct messenger *messenger)
{
	struct parcel *parcel;

	if (!messenger)
		return;
	pthread_mutex_lock(&messenger->lock);
	messenger->is_closed = true;
	parcel = list_take_all(&messenger->back);
	pthread_mutex_unlock(&messenger->lock);
	while (parcel) {
		struct parcel *next = parcel->next;

		parcel_free(parcel);
		parcel = next;
	}
	uv_close((uv_handle_t *)&messenger->wake, on_messenger_closed);
}
