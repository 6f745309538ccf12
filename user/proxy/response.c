/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * response: relays an upstream's response to the client.
 *
 * The head waits for the first piece of the body, so that a small response is a single write. The
 * request is counted as usage just before the first byte of its response is sent.
 */
#include <errno.h>

#include "base/clock.h"
#include "net/conn.h"
#include "proxy/exchange_private.h"
#include "proxy/refuse.h"

static void on_ready(void *owner, int err)
{
	struct exchange *x = owner;

	x->err = err;
	if (err)
		x->link = NULL;
	exchange_run(x, err ? STEP_RETRY : STEP_SEND);
}

static void throttle_upstream(struct exchange *x)
{
	if (x->stream && x->link && http_stream_queued(x->stream) > CONN_HIGH_BYTES)
		upstream_pause(x->link);
}

static void relay_interim(struct exchange *x, const struct http_message *head)
{
	/* Upgrade is never relayed, so 101 was not asked for. HTTP/1.0 has no interim responses. */
	if (head->status == 101 || !http_stream_request(x->stream)->minor)
		return;
	buf_clear(&x->fields);
	if (!relay_write_answer(head, false, x->request_id, &x->fields))
		http_stream_inform(x->stream, head->status, buf_text(&x->fields));
	throttle_upstream(x);
}

static uint64_t answer_length(const struct http_message *head)
{
	switch (head->body) {
	case HTTP_BODY_LENGTH:
		return head->content_length;
	case HTTP_BODY_NONE:
		/* After HEAD, the field has the length that GET would get; it may be absent. */
		return head->is_head && !http_has(head, HTTP_CONTENT_LENGTH) ? HTTP_UNKNOWN_LENGTH
									     : head->content_length;
	default:
		return HTTP_UNKNOWN_LENGTH;
	}
}

static void on_head(void *owner, const struct http_message *head)
{
	struct exchange *x = owner;
	int err;

	if (head->status < 200) {
		relay_interim(x, head);
		return;
	}
	buf_clear(&x->fields);
	err = relay_write_answer(head, exchange_is_limited(x), x->request_id, &x->fields);
	if (!err && exchange_is_limited(x))
		err = refuse_write_limits(&x->gate, &x->fields);
	if (err) {
		x->err = err;
		exchange_run(x, STEP_FAIL);
		return;
	}
	x->status = head->status;
	x->length = answer_length(head);
	x->add_date = !http_has(head, HTTP_DATE);
	x->is_head_pending = true;
}

/* Count the request, then send the head. In this order, a crash in between cannot lose usage. */
static int send_head(struct exchange *x, struct text piece, bool is_last)
{
	struct http_answer answer = {
		.status = x->status,
		.fields = buf_text(&x->fields),
		.length = x->length,
		.first_piece = piece,
		.add_date = x->add_date,
		.is_last = is_last,
	};
	struct http_stream *stream = x->stream;

	x->is_head_pending = false;
	x->is_answered = true;
	if (exchange_is_limited(x) && x->status < x->rules->rules->count_below)
		gate_count(x->proxy->shared.gate, &x->gate, clock_wall());
	count(&x->proxy->counters.answers[x->status / 100]);
	if (is_last)
		exchange_leave_stream(x);
	return http_stream_answer(stream, &answer);
}

static void on_body(void *owner, const char *data, size_t len)
{
	struct exchange *x = owner;
	struct text piece = { data, len };
	int err;

	if (!x->stream) /* the client already has the announced length */
		return;
	x->passed += len;
	/*
	 * With the last byte, the client may send its next request: its concurrency slot must be
	 * free.
	 */
	if (x->passed == x->length)
		exchange_give_back(x);
	if (x->is_head_pending)
		err = send_head(x, piece, x->passed == x->length);
	else
		err = http_stream_write(x->stream, data, len);
	if (err && x->stream) {
		x->err = err;
		exchange_run(x, STEP_FAIL);
		return;
	}
	throttle_upstream(x);
}

static void on_pause(void *owner)
{
	struct exchange *x = owner;

	if (x->is_head_pending)
		send_head(x, (struct text){ NULL, 0 }, false);
}

static void on_end(void *owner)
{
	struct exchange *x = owner;

	x->link = NULL;
	if (x->is_head_pending)
		send_head(x, (struct text){ NULL, 0 }, true);
	if (x->stream)
		http_stream_end(exchange_leave_stream(x));
	exchange_run(x, STEP_DONE);
}

static void on_upstream_error(void *owner, int err)
{
	struct exchange *x = owner;

	x->link = NULL;
	x->err = err;
	if (!x->stream || x->is_answered)
		exchange_run(x, STEP_FAIL);
	else
		exchange_run(x, err == -ECONNRESET || err == -EPIPE ? STEP_RETRY : STEP_FAIL);
}

static void on_upstream_drain(void *owner)
{
	struct exchange *x = owner;

	if (x->stream && !x->is_body_complete)
		http_stream_resume(x->stream);
}

const struct upstream_events exchange_upstream_events = {
	.on_ready = on_ready,
	.on_head = on_head,
	.on_body = on_body,
	.on_pause = on_pause,
	.on_end = on_end,
	.on_error = on_upstream_error,
	.on_drain = on_upstream_drain,
};
