/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * exchange: one request, as a list of steps in the order in which they happen.
 *
 *     route -> gate -> connect -> send -> (response.c relays the response) -> done
 *                         ^---- retry       any failure: fail -> done
 *
 * A completion notes its result and calls exchange_run() with the next step; only that function
 * stores the step. Bodies do not pass through the steps: an event on one side writes to the other.
 * An exchange ends exactly once, in step_done(), which gives back the concurrency slot.
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
#include "proxy/credential.h"
#include "proxy/exchange_private.h"
#include "proxy/refuse.h"

#define HEAD_MAX     (128 * 1024)
#define MAX_ATTEMPTS 3
#define SPARE_MAX    256

static struct exchange *exchange_new(struct proxy *proxy)
{
	struct exchange *x = SLIST_FIRST(&proxy->spares);

	if (x) {
		SLIST_REMOVE_HEAD(&proxy->spares, spare);
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
	struct exchange *x;

	while ((x = SLIST_FIRST(&proxy->spares))) {
		SLIST_REMOVE_HEAD(&proxy->spares, spare);
		buf_done(&x->head);
		buf_done(&x->fields);
		buf_done(&x->body);
		free(x);
	}
}

/* Keep the buffers for the next request, unless a large request made them large. */
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
	*x = (struct exchange){ .head = head, .fields = fields, .body = body };
	SLIST_INSERT_HEAD(&proxy->spares, x, spare);
	proxy->spare_count++;
}

/* xoroshiro128+ (Blackman, Vigna). Ids must be distinct; they need not be secret. */
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

void exchange_give_back(struct exchange *x)
{
	if (x->is_charged)
		gate_release(x->proxy->shared.gate, &x->gate);
	x->is_charged = false;
}

struct http_stream *exchange_leave_stream(struct exchange *x)
{
	struct http_stream *stream = x->stream;

	exchange_give_back(x);
	http_stream_set_context(stream, NULL);
	x->stream = NULL;
	return stream;
}

/* Send a complete response of our own and end the exchange. */
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
	struct http_stream *stream = exchange_leave_stream(x);
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
	/* The target "*" has no path, so it never matches a route. */
	return credential_is_ambiguous(m) || !route_path_is_plain(m->path);
}

/* Whether tollgate answers @path itself: it is one of the rules' own paths or below one. */
static bool is_own_path(const struct exchange *x, struct text path)
{
	const struct rules *rules = x->rules->rules;

	for (unsigned i = 0; x->proxy->divert && i < rules->own_path_count; i++) {
		struct text own = rules->own_paths[i];

		if (text_starts(path, own) && (path.len == own.len || path.ptr[own.len] == '/'))
			return true;
	}
	return false;
}

static enum step divert(struct exchange *x)
{
	struct proxy *proxy = x->proxy;

	client_unbind(x->client);
	count(&proxy->counters.verdicts[TOLLGATE_PUBLIC]);
	proxy->divert(proxy->divert_arg, exchange_leave_stream(x));
	return STEP_DONE;
}

static enum step step_route(struct exchange *x)
{
	const struct http_message *m = http_stream_request(x->stream);
	bool is_bad = is_malformed(m), asks_preflight;

	if (!is_bad && is_own_path(x, m->path))
		return divert(x);
	x->route = is_bad ? NULL : routes_find(x->rules->rules->routes, m->path);
	asks_preflight = x->route && x->route->cors && is_preflight(m);
	if (x->route && !x->route->is_public && !asks_preflight)
		return STEP_GATE;
	client_unbind(x->client);
	if (!x->route)
		return refuse(x, is_bad ? TOLLGATE_MALFORMED : TOLLGATE_NO_ROUTE);
	if (asks_preflight)
		return answer_preflight(x);
	count(&x->proxy->counters.verdicts[TOLLGATE_PUBLIC]);
	return STEP_CONNECT;
}

static enum step step_gate(struct exchange *x)
{
	struct gate_request request = {
		.key = credential_find(http_stream_request(x->stream), &x->key_in_authorization),
		.cost = x->route->cost,
		.feature = x->route->feature,
		.now_ns = clock_mono_ns(),
		.wall_ms = clock_steady_ms(),
	};

	gate_check(x->proxy->shared.gate, &request, &x->gate);
	client_note_verdict(x->client, x->stream, x->rules->rules, &request, &x->gate);
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
	if (exchange_is_limited(x)) {
		account_format_id(x->gate.account_id, account);
		request.account = account;
		request.tier = mirror_tier_name(x->proxy->shared.gate->mirror, x->gate.limits.tier);
	}
	x->is_chunked = request.message->body == HTTP_BODY_CHUNKED;
	x->is_body_complete = request.message->body == HTTP_BODY_NONE;
	return relay_write_request(&request, &x->head);
}

static enum step step_connect(struct exchange *x)
{
	int err;

	if (!buf_len(&x->head)) {
		x->err = write_head(x);
		if (x->err)
			return STEP_FAIL;
	}
	err = upstream_open(x->rules->upstreams, x->route->upstream, &x->tried,
			    &exchange_upstream_events, x, &x->link);
	if (err) {
		/* If no server is left, the error of the last one says more. */
		if (err != -EHOSTUNREACH || !x->attempts)
			x->err = err;
		return STEP_FAIL;
	}
	x->attempts++;
	if (upstream_is_ready(x->link))
		return STEP_SEND;
	/* There is no connection yet for the bytes of the body. */
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
 * Whether another server may get the request: if it was not sent to this one, or if its method is
 * idempotent (RFC 9110, section 9.2.2) and the connection was closed before any response. Bytes of
 * a body that were sent are gone.
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
	/* If the connection had only been idle too long, the same server may be tried again. */
	if (was_reused || (was_sent && x->err == -ECONNRESET))
		x->tried = (struct upstream_tried){ 0 };
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
		http_stream_break(exchange_leave_stream(x));
		return STEP_DONE;
	}
	status = failure_status(x->err, &detail);
	buf_clear(&x->fields);
	buf_clear(&x->body);
	if (exchange_is_limited(x) && refuse_write_limits(&x->gate, &x->fields))
		buf_clear(&x->fields);
	if (refuse_write_failure(status, detail, &x->fields, &x->body))
		buf_clear(&x->body);
	return answer_whole(x, status, false);
}

static enum step step_done(struct exchange *x)
{
	exchange_give_back(x);
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

void exchange_run(struct exchange *x, enum step step)
{
	while (step < STEP_WAIT) {
		x->step = step;
		step = steps[step](x);
	}
}

/* ---- events of the client's stream ---- */

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
		/* The upstream may have responded before it closed; its own event will tell. */
		log_debug("the request body cannot be sent to the upstream: %s", uv_strerror(err));
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
