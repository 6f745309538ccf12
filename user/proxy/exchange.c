/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * exchange: one request, as a list of steps in the order in which they happen.
 *
 * route -> gate -> connect -> send -> (the upstream's head) answer -> relay -> done, with retry and
 * fail beside. A completion notes what happened and calls exchange_run() with the step that follows;
 * that function alone stores the step. Bodies flow past the steps, from one side's event to the other
 * side's write. An exchange ends exactly once, in step_done, which gives back what the gate lent.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "enforce/account.h"
#include "http/h1.h"
#include "net/conn.h"
#include "proxy/exchange.h"
#include "proxy/proxy_private.h"
#include "proxy/refuse.h"

#define HEAD_MAX     (128 * 1024)
#define MAX_ATTEMPTS 3
#define SPARE_MAX    256

enum step {
	STEP_ROUTE,   /* malformed, no route, public, preflight */
	STEP_GATE,    /* the verdict */
	STEP_CONNECT, /* a connection to one of the upstream's servers */
	STEP_SEND,    /* the head, and let the client's body flow */
	STEP_RETRY,   /* that server failed; another one, if that is safe */
	STEP_FAIL,    /* no answer is to be had: 502, 504, or break off */
	STEP_DONE,    /* give everything back */
	STEP_WAIT,    /* a completion goes on */
	STEP_FREED,
};

struct exchange {
	struct proxy *proxy;	    /* borrowed */
	struct rules_hold *rules;   /* one use */
	struct http_stream *stream; /* borrowed; NULL once it is over */
	struct client *client;	    /* borrowed from the connection */
	const struct proxy_port *port;
	const struct route *route;  /* borrowed from the rules */
	struct upstream_link *link; /* NULL: none, or gone */
	struct exchange *next_spare;
	struct gate_result gate;
	struct text key_field; /* value of the field that carries the key */
	bool key_in_authorization;
	bool is_charged;      /* holds a place of the account's concurrency */
	bool is_answered;     /* the answer's head has been given to the client */
	bool is_head_pending; /* the upstream's head has come, and waits for a first piece of body */
	bool is_body_complete; /* the client's body has come completely */
	bool is_body_begun;    /* a piece of it has been sent upstream */
	bool is_chunked;       /* towards the upstream */
	bool is_flowing;       /* the client's body may be sent */
	uint64_t tried;	       /* servers, a bit each */
	unsigned attempts;
	int err;
	enum step step;
	unsigned status; /* of the pending head */
	uint64_t length; /* of the pending answer's body */
	bool add_date;
	struct buf head;   /* the request as it goes upstream, kept for another attempt */
	struct buf fields; /* of the answer */
	struct buf body;   /* of a refusal */
	char request_id[REQUEST_ID_SIZE];
};

static void exchange_run(struct exchange *x, enum step step);

static struct exchange *exchange_new(struct proxy *proxy)
{
	struct exchange *x = proxy->spare;

	if (x) {
		proxy->spare = x->next_spare;
		proxy->spare_count--;
		return x;
	}
	x = calloc(1, sizeof(*x));
	if (!x)
		return NULL;
	buf_init(&x->head, HEAD_MAX);
	buf_init(&x->fields, HEAD_MAX);
	buf_init(&x->body, HEAD_MAX);
	return x;
}

void exchange_free_spares(struct proxy *proxy)
{
	while (proxy->spare) {
		struct exchange *x = proxy->spare;

		proxy->spare = x->next_spare;
		buf_done(&x->head);
		buf_done(&x->fields);
		buf_done(&x->body);
		free(x);
	}
}

/* Keep the buffers that this worker's requests need anyway, not those of a giant. */
static void exchange_free(struct exchange *x)
{
	struct proxy *proxy = x->proxy;
	struct buf head = x->head, fields = x->fields, body = x->body;

	if (proxy->spare_count >= SPARE_MAX || head.size + fields.size > 16384) {
		buf_done(&head);
		buf_done(&fields);
	}
	buf_clear(&head);
	buf_clear(&fields);
	buf_clear(&body);
	*x = (struct exchange){
		.next_spare = proxy->spare, .head = head, .fields = fields, .body = body
	};
	proxy->spare = x;
	proxy->spare_count++;
}

/* xoroshiro128+ (Blackman, Vigna): ids need to be distinct, not secret. */
static uint64_t next_random(uint64_t state[2])
{
	uint64_t a = state[0], b = state[1], sum = a + b;

	b ^= a;
	state[0] = (a << 24 | a >> 40) ^ b ^ (b << 16);
	state[1] = b << 37 | b >> 27;
	return sum;
}

static void make_request_id(struct exchange *x)
{
	uint64_t id[2] = { next_random(x->proxy->id_state), next_random(x->proxy->id_state) };

	text_hex(id, sizeof(id), x->request_id);
}

/* What the gate lent goes back before the client learns that its request is over. */
static void give_back(struct exchange *x)
{
	if (x->is_charged)
		gate_release(x->proxy->shared.gate, &x->gate);
	x->is_charged = false;
}

static bool is_limited(const struct exchange *x)
{
	return x->gate.has_account;
}

/* The stream's last call is next: nothing that it leads to may find the exchange any more. */
static struct http_stream *leave_stream(struct exchange *x)
{
	struct http_stream *stream = x->stream;

	give_back(x);
	http_stream_set_context(stream, NULL);
	x->stream = NULL;
	return stream;
}

/* Give the client a whole answer of ours, and end. */
static enum step answer_whole(struct exchange *x, unsigned status, bool close)
{
	struct http_answer answer = {
		.status = status,
		.fields = buf_text(&x->fields),
		.length = buf_len(&x->body),
		.first_piece = buf_text(&x->body),
		.is_last = true,
		.close = close,
	};
	struct http_stream *stream = leave_stream(x);
	int err;

	x->is_answered = true;
	count(&x->proxy->counters.answers[status / 100 < 6 ? status / 100 : 0]);
	err = http_stream_answer(stream, &answer);
	if (err && err != -EPIPE)
		http_stream_break(stream);
	return STEP_DONE;
}

static enum step refuse(struct exchange *x, enum tollgate_verdict verdict)
{
	const struct gate_result *result = x->gate.has_account ? &x->gate : NULL;

	count(&x->proxy->counters.verdicts[verdict]);
	if (refuse_write(verdict, result, &x->fields, &x->body)) {
		x->err = -ENOMEM;
		return STEP_FAIL;
	}
	return answer_whole(x, refuse_status(verdict), false);
}

static enum step answer_preflight(struct exchange *x)
{
	const struct http_message *m = http_stream_request(x->stream);
	const struct http_header *headers = http_find(m, HTTP_ACCESS_CONTROL_REQUEST_HEADERS);
	struct text method = http_find(m, HTTP_ACCESS_CONTROL_REQUEST_METHOD)->value;
	int err = buf_append_str(&x->fields, "Access-Control-Allow-Origin: *\r\n");

	if (!err)
		err = h1_write_header(&x->fields, TEXT("Access-Control-Allow-Methods"), method);
	if (!err && headers)
		err = h1_write_header(&x->fields, TEXT("Access-Control-Allow-Headers"),
				      headers->value);
	if (!err)
		err = buf_append_str(&x->fields, "Access-Control-Max-Age: 600\r\n");
	if (err) {
		x->err = err;
		return STEP_FAIL;
	}
	count(&x->proxy->counters.verdicts[TOLLGATE_PUBLIC]);
	return answer_whole(x, 204, false);
}

static bool is_preflight(const struct http_message *m)
{
	return text_is(m->method, "OPTIONS") && http_has(m, HTTP_ORIGIN) &&
	       http_has(m, HTTP_ACCESS_CONTROL_REQUEST_METHOD);
}

static bool is_malformed(const struct http_message *m)
{
	/* "*" asks about the server itself, which has no routes to offer. */
	return http_count(m, HTTP_X_API_KEY) > 1 || http_count(m, HTTP_AUTHORIZATION) > 1 ||
	       !route_path_is_plain(m->path);
}

static enum step step_route(struct exchange *x)
{
	const struct http_message *m = http_stream_request(x->stream);

	if (is_malformed(m))
		return refuse(x, TOLLGATE_MALFORMED);
	x->route = routes_find(x->rules->rules->routes, m->path);
	if (!x->route)
		return refuse(x, TOLLGATE_NO_ROUTE);
	if (x->route->cors && is_preflight(m))
		return answer_preflight(x);
	if (!x->route->is_public)
		return STEP_GATE;
	count(&x->proxy->counters.verdicts[TOLLGATE_PUBLIC]);
	return STEP_CONNECT;
}

/* RFC 6750: the scheme's name has no case, and one or more blanks follow it. */
static struct text bearer_token(struct text value)
{
	const struct text none = { NULL, 0 };

	if (value.len < 7 || !text_equal_nocase((struct text){ value.ptr, 6 }, TEXT("Bearer")) ||
	    value.ptr[6] != ' ')
		return none;
	return text_trim((struct text){ value.ptr + 6, value.len - 6 });
}

static struct text find_key(struct exchange *x)
{
	const struct http_message *m = http_stream_request(x->stream);
	struct text key = { NULL, 0 };

	if (http_has(m, HTTP_X_API_KEY)) {
		key = http_find(m, HTTP_X_API_KEY)->value;
	} else if (http_has(m, HTTP_AUTHORIZATION)) {
		key = bearer_token(http_find(m, HTTP_AUTHORIZATION)->value);
		x->key_in_authorization = key.ptr;
	}
	return key;
}

static enum step step_gate(struct exchange *x)
{
	struct gate_request request = {
		.key = find_key(x),
		.cost = x->route->cost,
		.feature = x->route->feature,
		.now_ns = clock_mono_ns(),
		.wall_ms = clock_wall_ms(),
	};

	gate_check(x->proxy->shared.gate, &request, &x->gate);
	client_note_verdict(x->client, x->stream, x->rules->rules, &x->gate, request.now_ns);
	if (x->gate.verdict != TOLLGATE_ALLOW)
		return refuse(x, x->gate.verdict);
	x->is_charged = true;
	count(&x->proxy->counters.verdicts[TOLLGATE_ALLOW]);
	return STEP_CONNECT;
}

static int write_head(struct exchange *x)
{
	char account[ACCOUNT_ID_SIZE];
	struct relay_request request = {
		.message = http_stream_request(x->stream),
		.client = x->client,
		.route = x->route,
		.strip_authorization = x->key_in_authorization,
		.is_tls = x->port->is_tls,
		.request_id = x->request_id,
	};

	make_request_id(x);
	if (is_limited(x)) {
		account_format_id(x->gate.account_id, account);
		request.account = account;
		request.tier = mirror_tier_name(x->proxy->shared.gate->mirror, x->gate.limits.tier);
	}
	x->is_chunked = request.message->body == HTTP_BODY_CHUNKED;
	x->is_body_complete = request.message->body == HTTP_BODY_NONE;
	return relay_write_request(&request, &x->head);
}

static const struct upstream_events upstream_events;

static enum step step_connect(struct exchange *x)
{
	if (!buf_len(&x->head)) {
		x->err = write_head(x);
		if (x->err)
			return STEP_FAIL;
	}
	x->err = upstream_open(x->rules->upstreams, x->route->upstream, x->tried, &upstream_events,
			       x, &x->link);
	if (x->err)
		return STEP_FAIL;
	x->attempts++;
	x->tried |= upstream_server_bit(x->link);
	if (upstream_is_ready(x->link))
		return STEP_SEND;
	/* Bytes of the body have nowhere to go yet. */
	if (!x->is_body_complete)
		http_stream_pause(x->stream);
	return STEP_WAIT;
}

static enum step step_send(struct exchange *x)
{
	x->err = upstream_send_head(x->link, http_stream_request(x->stream)->method,
				    buf_text(&x->head));
	if (x->err)
		return STEP_RETRY;
	x->is_flowing = true;
	if (x->is_body_complete)
		upstream_sent_all(x->link);
	else
		http_stream_resume(x->stream);
	return STEP_WAIT;
}

/*
 * Another server may have the request if this one surely did not act on it: it was never reached, or
 * an idle connection turned out to be closed, and the request is safe to repeat (RFC 9110, 9.2.2) or
 * was not sent at all. A body that has begun to flow is gone.
 */
static bool may_retry(const struct exchange *x, bool was_sent)
{
	const struct http_message *m = http_stream_request(x->stream);

	if (x->is_body_begun || x->attempts >= MAX_ATTEMPTS)
		return false;
	if (!was_sent)
		return true;
	return text_is(m->method, "GET") || text_is(m->method, "HEAD") ||
	       text_is(m->method, "OPTIONS") || text_is(m->method, "PUT") ||
	       text_is(m->method, "DELETE");
}

static enum step step_retry(struct exchange *x)
{
	bool was_sent = x->is_flowing, was_reused = false;

	if (x->link) {
		was_reused = upstream_is_reused(x->link);
		upstream_abandon(x->link);
		x->link = NULL;
	}
	count(&x->proxy->counters.upstream_failures);
	if (x->is_answered || x->is_head_pending || !may_retry(x, was_sent))
		return STEP_FAIL;
	/* A connection that had only been idle too long says nothing against its server. */
	if (was_reused || (was_sent && x->err == -ECONNRESET))
		x->tried = 0;
	x->is_flowing = false;
	count(&x->proxy->counters.upstream_retries);
	return STEP_CONNECT;
}

static unsigned failure_status(int err, const char **ret_detail)
{
	switch (err) {
	case -ETIMEDOUT:
		*ret_detail = "Upstream did not answer in time";
		return 504;
	case -EBUSY:
		*ret_detail = "Upstream is busy";
		return 503;
	default:
		*ret_detail = "Upstream cannot be reached";
		return 502;
	}
}

static enum step step_fail(struct exchange *x)
{
	const char *detail;
	unsigned status;

	if (!x->stream)
		return STEP_DONE;
	if (x->is_answered) {
		http_stream_break(leave_stream(x));
		return STEP_DONE;
	}
	status = failure_status(x->err, &detail);
	buf_clear(&x->fields);
	buf_clear(&x->body);
	if (is_limited(x) && refuse_write_limits(&x->gate, &x->fields))
		buf_clear(&x->fields);
	if (refuse_write_failure(status, detail, &x->fields, &x->body))
		buf_clear(&x->body);
	return answer_whole(x, status, false);
}

static enum step step_done(struct exchange *x)
{
	give_back(x);
	if (x->link)
		upstream_abandon(x->link);
	rules_hold_release(x->rules);
	exchange_free(x);
	return STEP_FREED;
}

static enum step (*const steps[])(struct exchange *x) = {
	[STEP_ROUTE] = step_route, [STEP_GATE] = step_gate,   [STEP_CONNECT] = step_connect,
	[STEP_SEND] = step_send,   [STEP_RETRY] = step_retry, [STEP_FAIL] = step_fail,
	[STEP_DONE] = step_done,
};

static void exchange_run(struct exchange *x, enum step step)
{
	while (step < STEP_WAIT) {
		x->step = step;
		step = steps[step](x);
	}
}

/* The upstream's side. */

static void on_ready(void *owner, int err)
{
	struct exchange *x = owner;

	x->err = err;
	if (err)
		x->link = NULL;
	exchange_run(x, err ? STEP_RETRY : STEP_SEND);
}

static void relay_interim(struct exchange *x, const struct http_message *head)
{
	/* 101 was not asked for: Upgrade is never passed on. HTTP/1.0 knows no interim answers. */
	if (head->status == 101 || !http_stream_request(x->stream)->minor)
		return;
	buf_clear(&x->fields);
	if (!relay_write_answer(head, false, x->request_id, &x->fields))
		http_stream_inform(x->stream, head->status, buf_text(&x->fields));
}

static uint64_t answer_length(const struct http_message *head)
{
	switch (head->body) {
	case HTTP_BODY_LENGTH:
		return head->content_length;
	case HTTP_BODY_NONE:
		/* To HEAD the field tells what GET would get; absent, nothing is known. */
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
	err = relay_write_answer(head, is_limited(x), x->request_id, &x->fields);
	if (!err && is_limited(x))
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

/* The request is counted before the first byte of its answer is sent: see usage.h. */
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
	if (is_limited(x) && x->status < 500)
		gate_count(x->proxy->shared.gate, &x->gate, clock_wall_ms());
	count(&x->proxy->counters.answers[x->status / 100]);
	if (is_last)
		leave_stream(x);
	return http_stream_answer(stream, &answer);
}

static void throttle_upstream(struct exchange *x)
{
	if (x->stream && x->link && http_stream_queued(x->stream) > CONN_HIGH_BYTES)
		upstream_pause(x->link);
}

static void on_body(void *owner, const char *data, size_t len)
{
	struct exchange *x = owner;
	struct text piece = { data, len };
	int err;

	if (!x->stream) /* it has all that was announced */
		return;
	if (x->is_head_pending)
		err = send_head(x, piece, x->length == len);
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
		http_stream_end(leave_stream(x));
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

static const struct upstream_events upstream_events = {
	.on_ready = on_ready,
	.on_head = on_head,
	.on_body = on_body,
	.on_pause = on_pause,
	.on_end = on_end,
	.on_error = on_upstream_error,
	.on_drain = on_upstream_drain,
};

/* The client's side. */

void exchange_start(struct http_stream *s)
{
	const struct proxy_port *port = http_server_owner(http_stream_server(s));
	struct proxy *proxy = port->proxy;
	struct exchange *x = exchange_new(proxy);

	if (!x) {
		http_stream_break(s);
		return;
	}
	x->proxy = proxy;
	x->port = port;
	x->rules = rules_hold_use(proxy->rules);
	x->stream = s;
	x->client = client_of(s, port, x->rules->rules);
	http_stream_set_context(s, x);
	if (!x->client) {
		x->stream = NULL;
		http_stream_break(s);
		exchange_run(x, STEP_DONE);
		return;
	}
	exchange_run(x, STEP_ROUTE);
}

static void send_body(struct exchange *x, const uv_buf_t *parts, unsigned count_of_parts)
{
	int err = upstream_send(x->link, parts, count_of_parts);

	x->is_body_begun = true;
	if (err) {
		/* The upstream may have answered before it closed: its event tells. */
		log_debug("upstream does not take the body: %s", uv_strerror(err));
		return;
	}
	if (upstream_queued(x->link) > CONN_HIGH_BYTES)
		http_stream_pause(x->stream);
}

void exchange_body(struct http_stream *s, const char *data, size_t len)
{
	struct exchange *x = http_stream_context(s);
	char head[H1_CHUNK_HEAD_MAX];
	uv_buf_t parts[3];

	if (!x || !x->link || !x->is_flowing)
		return;
	if (!x->is_chunked) {
		parts[0] = uv_buf_init((char *)data, (unsigned)len);
		send_body(x, parts, 1);
		return;
	}
	parts[0] = uv_buf_init(head, (unsigned)h1_format_chunk_head(head, len));
	parts[1] = uv_buf_init((char *)data, (unsigned)len);
	parts[2] = uv_buf_init("\r\n", 2);
	send_body(x, parts, 3);
}

void exchange_body_end(struct http_stream *s)
{
	struct exchange *x = http_stream_context(s);
	uv_buf_t last = uv_buf_init("0\r\n\r\n", 5);

	if (!x)
		return;
	x->is_body_complete = true;
	if (!x->link || !x->is_flowing)
		return;
	if (x->is_chunked)
		send_body(x, &last, 1);
	upstream_sent_all(x->link);
}

void exchange_drain(struct http_stream *s)
{
	struct exchange *x = http_stream_context(s);

	if (x && x->link)
		upstream_resume(x->link);
}

void exchange_abort(struct http_stream *s, int err)
{
	struct exchange *x = http_stream_context(s);

	if (!x)
		return;
	x->stream = NULL;
	x->err = err;
	exchange_run(x, STEP_DONE);
}
