/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * h1_parser: the messages of one direction of a connection.
 *
 * Two parsers read every byte: the strict check, which refuses everything outside the grammar, and
 * llhttp. A message is refused if they do not agree about it, because request smuggling needs two
 * parsers that read the same bytes differently.
 *
 * A head and its message live in a struct h1_work. An idle connection gives it back to a short list
 * of its thread, so each of ten thousand idle connections needs only a struct h1_parser.
 */
#include <errno.h>
#include <llhttp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "http/h1_check.h"
#include "http/h1_chars.h"
#include "http/h1_chunk.h"

#define SPARE_WORKS 32

struct h1_work {
	SLIST_ENTRY(h1_work) spare; /* in `spares` */
	struct buf head;
	struct http_message message;
};

enum state {
	STATE_HEAD,
	STATE_NO_BODY,
	STATE_LENGTH,
	STATE_CHUNKED,
	STATE_UNTIL_CLOSE,
	STATE_FAILED,
};

struct h1_parser {
	enum h1_side side;
	enum state state;
	int err;	  /* STATE_FAILED: what h1_parser_feed() returns */
	const char *rule; /* STATE_FAILED: the rule that was broken */
	size_t max_head_bytes;
	size_t line_bytes; /* bytes of the current line of the head so far */
	char last_byte;	   /* the last byte of the head so far */
	bool has_begun;	   /* at least one byte of the head has arrived */
	bool answers_head; /* responses: the request was HEAD */
	uint64_t left;	   /* STATE_LENGTH: bytes of the body that are still to come */
	struct h1_chunk chunk;
	struct h1_work *work;	      /* owned; NULL while resting */
	const struct h1_facts *facts; /* borrowed, while llhttp reads the head */
	llhttp_t second;	      /* the second parser */
	size_t second_body_bytes;     /* how many of these bytes it takes for body */
	bool is_second_done;	      /* it has seen the end of the message */
	bool has_second_head;	      /* it has seen the end of the head */
	bool is_value_open;	      /* it has reported part of the last field's value */
};

/* ---- memory ---- */

static _Thread_local SLIST_HEAD(, h1_work) spares;
static _Thread_local unsigned spare_count;
static pthread_key_t spares_key;
static pthread_once_t spares_once = PTHREAD_ONCE_INIT;

static void free_work(struct h1_work *w)
{
	buf_done(&w->head);
	free(w);
}

static void free_spares(void *unused)
{
	(void)unused;
	while (!SLIST_EMPTY(&spares)) {
		struct h1_work *w = SLIST_FIRST(&spares);

		SLIST_REMOVE_HEAD(&spares, spare);
		free_work(w);
	}
	spare_count = 0;
}

static void make_spares_key(void)
{
	pthread_key_create(&spares_key, free_spares);
}

static struct h1_work *take_work(size_t max_head_bytes)
{
	struct h1_work *w = SLIST_FIRST(&spares);

	if (w) {
		SLIST_REMOVE_HEAD(&spares, spare);
		spare_count--;
	} else {
		w = malloc(sizeof(*w));
		if (!w)
			return NULL;
		buf_init(&w->head, 0);
	}
	w->head.max = max_head_bytes;
	buf_clear(&w->head);
	return w;
}

static void give_work(struct h1_work *w)
{
	if (!w)
		return;
	if (spare_count >= SPARE_WORKS) {
		free_work(w);
		return;
	}
	if (!spare_count) {
		pthread_once(&spares_once, make_spares_key);
		pthread_setspecific(spares_key,
				    &spares); /* any value: the thread's end calls free_spares() */
	}
	SLIST_INSERT_HEAD(&spares, w, spare);
	spare_count++;
}

/* ---- llhttp ---- */

static int on_target(llhttp_t *second, const char *at, size_t len)
{
	struct h1_parser *p = second->data;
	struct text *target = &p->work->message.target;

	if (target->ptr && target->ptr + target->len != at)
		return -1;
	*target = (struct text){ target->ptr ? target->ptr : at, target->len + len };
	return 0;
}

static int on_field(llhttp_t *second, const char *at, size_t len)
{
	struct h1_parser *p = second->data;
	struct http_message *m = &p->work->message;
	struct http_header *h = m->headers + m->header_count;

	if (p->has_second_head) /* a trailer field */
		return 0;
	if (m->header_count && !p->is_value_open && h[-1].name.ptr + h[-1].name.len == at) {
		h[-1].name.len += len;
		return 0;
	}
	if (m->header_count >= p->facts->header_count)
		return -1;
	*h = (struct http_header){ .name = { at, len }, .value = { at + len, 0 } };
	h->id = p->facts->ids[m->header_count++];
	p->is_value_open = false;
	return 0;
}

static int on_value(llhttp_t *second, const char *at, size_t len)
{
	struct h1_parser *p = second->data;
	struct http_message *m = &p->work->message;
	struct http_header *h;

	if (p->has_second_head)
		return 0;
	if (!m->header_count)
		return -1;
	h = m->headers + m->header_count - 1;
	if (p->is_value_open && h->value.ptr + h->value.len != at)
		return -1;
	if (!p->is_value_open)
		h->value = (struct text){ at, 0 };
	h->value.len += len;
	p->is_value_open = true;
	return 0;
}

static int on_head(llhttp_t *second)
{
	struct h1_parser *p = second->data;
	const struct h1_facts *f = p->facts;
	const struct http_message *m = &p->work->message;

	if (!f || p->has_second_head || m->header_count != f->header_count)
		return -1;
	if (second->http_major != 1 || second->http_minor != f->minor)
		return -1;
	if (!!(second->flags & F_CHUNKED) != f->is_chunked ||
	    (f->has_length && second->content_length != f->content_length))
		return -1;
	if (p->side == H1_REQUESTS ? !text_equal(m->target, f->target)
				   : second->status_code != f->status)
		return -1;
	p->has_second_head = true;
	return p->side == H1_RESPONSES && m->body == HTTP_BODY_NONE; /* 1: expect no body */
}

static int on_body(llhttp_t *second, const char *at, size_t len)
{
	struct h1_parser *p = second->data;

	(void)at;
	p->second_body_bytes += len;
	return 0;
}

static int on_complete(llhttp_t *second)
{
	struct h1_parser *p = second->data;

	p->is_second_done = true;
	return 0;
}

static const llhttp_settings_t second_settings = {
	.on_url = on_target,
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_headers_complete = on_head,
	.on_body = on_body,
	.on_message_complete = on_complete,
};

/*
 * Whether llhttp accepts these bytes, finds @body_bytes of body in them, and agrees whether they
 * are the end of the message.
 */
static bool is_second_agreed(struct h1_parser *p, struct text bytes, size_t body_bytes, bool is_end)
{
	llhttp_errno_t err;

	p->second_body_bytes = 0;
	err = llhttp_execute(&p->second, bytes.ptr, bytes.len);
	if (err == HPE_PAUSED_UPGRADE) /* llhttp stops at the end of a head with Upgrade */
		err = p->is_second_done ? HPE_OK : err;
	return err == HPE_OK && p->has_second_head && p->is_second_done == is_end &&
	       p->second_body_bytes == body_bytes;
}

/* ---- the head ---- */

static int fail(struct h1_parser *p, int err, const char *rule)
{
	p->state = STATE_FAILED;
	p->err = err;
	p->rule = rule;
	return err;
}

/*
 * The number of bytes, at most @len, that belong to the head; @ret_is_end tells whether they
 * include its empty line. A bare LF is -EBADMSG at once.
 */
static ssize_t find_end(struct h1_parser *p, const char *data, size_t len, bool *ret_is_end)
{
	size_t start = 0; /* where the line starts */
	const char *lf;

	*ret_is_end = false;
	while (start < len && (lf = memchr(data + start, '\n', len - start))) {
		size_t at = lf - data;
		char before = at ? lf[-1] : p->last_byte;
		size_t line_bytes = p->line_bytes + at - start;

		if (before != '\r' || line_bytes == 0)
			return fail(p, -EBADMSG, "bare LF");
		start = at + 1;
		p->line_bytes = 0;
		if (line_bytes == 1) {
			*ret_is_end = true;
			return start;
		}
	}
	p->line_bytes += len - start;
	if (len)
		p->last_byte = data[len - 1];
	return len;
}

static void choose_body(struct h1_parser *p, const struct h1_facts *f, struct http_message *m)
{
	m->content_length = f->content_length;
	if (p->side == H1_RESPONSES &&
	    (p->answers_head || f->status < 200 || f->status == 204 || f->status == 304))
		m->body = HTTP_BODY_NONE;
	else if (f->is_chunked)
		m->body = HTTP_BODY_CHUNKED;
	else if (f->has_length)
		m->body = HTTP_BODY_LENGTH;
	else
		m->body = p->side == H1_REQUESTS ? HTTP_BODY_NONE : HTTP_BODY_UNTIL_CLOSE;
}

static void fill_message(struct h1_parser *p, const struct h1_facts *f)
{
	struct http_message *m = &p->work->message;

	memset(m, 0, offsetof(struct http_message, headers));
	m->method = f->method;
	m->authority = f->authority;
	m->path = f->path;
	m->status = f->status;
	m->minor = f->minor;
	m->expects_continue = f->expects_continue;
	m->expects_unknown = f->expects_unknown;
	m->known = f->known;
	m->lists_no_names = f->lists_no_names;
	m->is_head = p->side == H1_REQUESTS ? text_is(f->method, "HEAD") : p->answers_head;
	choose_body(p, f, m);
	m->keep_alive = f->keep_alive && m->body != HTTP_BODY_UNTIL_CLOSE;
}

static enum state state_for(const struct http_message *m)
{
	switch (m->body) {
	case HTTP_BODY_LENGTH:
		return m->content_length ? STATE_LENGTH : STATE_NO_BODY;
	case HTTP_BODY_CHUNKED:
		return STATE_CHUNKED;
	case HTTP_BODY_UNTIL_CLOSE:
		return STATE_UNTIL_CLOSE;
	default:
		return STATE_NO_BODY;
	}
}

static int finish_head(struct h1_parser *p)
{
	struct http_message *m = &p->work->message;
	struct text head = buf_text(&p->work->head);
	struct h1_facts facts;
	const char *rule = NULL;
	bool is_agreed;
	enum state next;
	int err = h1_examine(p->side, head, &facts, &rule);

	if (err)
		return fail(p, err, rule);
	fill_message(p, &facts);
	next = state_for(m);
	llhttp_reset(&p->second);
	p->has_second_head = p->is_second_done = p->is_value_open = false;
	p->facts = &facts;
	is_agreed = is_second_agreed(p, head, 0, next == STATE_NO_BODY);
	p->facts = NULL;
	if (!is_agreed)
		return fail(p, -EBADMSG, "llhttp reads the head differently");
	for (unsigned i = 0; i < m->header_count; i++)
		m->headers[i].value = text_trim(m->headers[i].value);
	p->state = next;
	p->left = m->body == HTTP_BODY_LENGTH ? m->content_length : 0;
	p->chunk = (struct h1_chunk){ 0 };
	return H1_HEAD;
}

static int feed_head(struct h1_parser *p, const char *data, size_t len, size_t *ret_used)
{
	struct buf *head;
	ssize_t count;
	size_t room;
	bool is_end;

	if (!len)
		return H1_NEED_MORE;
	if (!p->work && !(p->work = take_work(p->max_head_bytes)))
		return fail(p, -ENOMEM, "out of memory");
	head = &p->work->head;
	if (!p->has_begun) {
		p->has_begun = true;
		buf_clear(head); /* of the last message */
		if (p->side == H1_REQUESTS ? !h1_is(*data, H1_TOKEN) : *data != 'H')
			return fail(p, -EBADMSG, "a message cannot start with this byte");
	}
	room = p->max_head_bytes - buf_len(head);
	count = find_end(p, data, len < room ? len : room, &is_end);
	if (count < 0)
		return (int)count;
	if (buf_append(head, data, count))
		return fail(p, -ENOMEM, "out of memory");
	*ret_used = count;
	if (is_end)
		return finish_head(p);
	if (buf_len(head) >= p->max_head_bytes)
		return fail(p, -EMSGSIZE, "head is too large");
	return H1_NEED_MORE;
}

/* ---- the body ---- */

static int end_message(struct h1_parser *p)
{
	p->state = STATE_HEAD;
	p->has_begun = false;
	p->last_byte = '\0';
	p->line_bytes = 0;
	return H1_END;
}

/* Bytes that are all body; @is_end: the last ones. */
static int take_raw(struct h1_parser *p, struct text piece, bool is_end, size_t *ret_used,
		    struct text *ret_piece)
{
	if (!is_second_agreed(p, piece, piece.len, is_end))
		return fail(p, -EBADMSG, "llhttp reads the body differently");
	*ret_used = piece.len;
	*ret_piece = piece;
	return H1_BODY;
}

static int feed_length(struct h1_parser *p, struct text bytes, size_t *ret_used,
		       struct text *ret_piece)
{
	if (bytes.len > p->left)
		bytes.len = p->left;
	p->left -= bytes.len;
	if (!p->left)
		p->state = STATE_NO_BODY; /* the next call returns H1_END */
	return take_raw(p, bytes, !p->left, ret_used, ret_piece);
}

static int feed_chunked(struct h1_parser *p, struct text bytes, size_t *ret_used,
			struct text *ret_piece)
{
	const char *rule = NULL;
	size_t body_bytes;
	int event = h1_chunk_feed(&p->chunk, bytes, ret_used, ret_piece, &rule);

	if (event < 0)
		return fail(p, event, rule);
	body_bytes = event == H1_BODY ? ret_piece->len : 0;
	bytes.len = *ret_used;
	if (!is_second_agreed(p, bytes, body_bytes, event == H1_END))
		return fail(p, -EBADMSG, "llhttp reads the chunks differently");
	return event == H1_END ? end_message(p) : event;
}

int h1_parser_feed(struct h1_parser *p, const char *data, size_t len, size_t *ret_used,
		   struct text *ret_piece)
{
	struct text bytes = { data, len };

	*ret_used = 0;
	*ret_piece = (struct text){ NULL, 0 };
	if (p->state == STATE_HEAD)
		return feed_head(p, data, len, ret_used);
	if (p->state == STATE_NO_BODY)
		return end_message(p);
	if (p->state == STATE_FAILED)
		return p->err;
	if (!len)
		return H1_NEED_MORE;
	if (p->state == STATE_LENGTH)
		return feed_length(p, bytes, ret_used, ret_piece);
	if (p->state == STATE_CHUNKED)
		return feed_chunked(p, bytes, ret_used, ret_piece);
	return take_raw(p, bytes, false, ret_used, ret_piece);
}

int h1_parser_eof(struct h1_parser *p)
{
	if (p->state == STATE_UNTIL_CLOSE || p->state == STATE_NO_BODY)
		return end_message(p);
	if (p->state == STATE_FAILED)
		return p->err;
	return h1_parser_is_idle(p) ? 0 : fail(p, -EBADMSG, "the stream ended inside a message");
}

/* ---- life ---- */

struct h1_parser *h1_parser_new(enum h1_side side, size_t max_head_bytes)
{
	struct h1_parser *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->side = side;
	p->max_head_bytes = max_head_bytes;
	llhttp_init(&p->second, side == H1_REQUESTS ? HTTP_REQUEST : HTTP_RESPONSE,
		    &second_settings);
	p->second.data = p;
	return p;
}

void h1_parser_free(struct h1_parser *p)
{
	if (!p)
		return;
	give_work(p->work);
	free(p);
}

void h1_parser_expect(struct h1_parser *p, struct text method)
{
	p->answers_head = text_is(method, "HEAD");
}

void h1_parser_rest(struct h1_parser *p)
{
	if (!h1_parser_is_idle(p))
		return;
	give_work(p->work);
	p->work = NULL;
}

const struct http_message *h1_parser_message(const struct h1_parser *p)
{
	return p->work ? &p->work->message : NULL;
}

bool h1_parser_is_idle(const struct h1_parser *p)
{
	return p->state == STATE_HEAD && !p->has_begun;
}

const char *h1_parser_error(const struct h1_parser *p)
{
	return p->rule ? p->rule : "";
}
