/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * admin: the listeners, and the dispatch of requests to calls.
 *
 * One table lists every call: its method, its path and who may use it.
 */
#include "admin/admin.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "http/form.h"
#include "admin/admin_private.h"
#include "base/log.h"
#include "http/problem.h"
#include "net/listener.h"

#define BODY_MAX   (64 * 1024 * 1024)
#define ANSWER_MAX (512 * 1024 * 1024)

struct admin_port {
	struct admin *admin;
	bool is_local; /* the Unix socket */
};

struct admin {
	uv_loop_t *loop;
	struct admin_agent agent;
	struct http_server *servers[2]; /* Unix socket, TCP; NULL: none */
	struct listener *listeners[2];
	struct admin_port ports[2];
};

static void call_healthz(struct admin_request *r, const char *id)
{
	(void)id;
	admin_answer_text(r, 200, "text/plain", TEXT("ok\n"));
}

static void call_readyz(struct admin_request *r, const char *id)
{
	char line[320];
	const char *why = "";

	(void)id;
	if (r->agent->is_ready(r->agent->arg, &why)) {
		snprintf(line, sizeof(line), *why ? "ready, but %s\n" : "ready\n", why);
		admin_answer_text(r, 200, "text/plain", text_of(line));
		return;
	}
	snprintf(line, sizeof(line), "not ready: %s\n", why);
	admin_answer_text(r, 503, "text/plain", text_of(line));
}

static void call_metrics(struct admin_request *r, const char *id)
{
	struct buf out;

	(void)id;
	buf_init(&out, ANSWER_MAX);
	if (r->agent->write_metrics(r->agent->arg, &out))
		admin_fail(r, 500, "metrics could not be written");
	else
		admin_answer_text(r, 200, "text/plain; version=0.0.4; charset=utf-8",
				  buf_text(&out));
	buf_done(&out);
}

static void call_status(struct admin_request *r, const char *id)
{
	(void)id;
	admin_answer_json(r, 200, r->agent->status(r->agent->arg));
}

struct reload_call {
	struct admin_request *r; /* answered when the reload is done */
	struct buf messages;
	bool is_done, is_told;
};

/* Answer when both the workers are done and the result is known, in either order. */
static void answer_reload(struct reload_call *call)
{
	struct admin_request *r = call->r;
	struct buf messages = call->messages;

	free(call);
	admin_answer_json(r, 200,
			  json_pack("{s:s%}", "messages",
				    buf_len(&messages) ? buf_head(&messages) : "",
				    buf_len(&messages)));
	buf_done(&messages);
}

static void on_reloaded(void *arg)
{
	struct reload_call *call = arg;

	call->is_done = true;
	if (call->is_told)
		answer_reload(call);
}

static void call_reload(struct admin_request *r, const char *id)
{
	struct reload_call *call = calloc(1, sizeof(*call));
	int err;

	(void)id;
	if (!call) {
		admin_fail(r, 500, "out of memory");
		return;
	}
	call->r = r;
	buf_init(&call->messages, 65536);
	err = r->agent->reload(r->agent->arg, &call->messages, on_reloaded, call);
	call->is_told = true;
	if (err) {
		admin_fail(r, 422, "%.*s", TEXT_ARG(buf_text(&call->messages)));
		buf_done(&call->messages);
		free(call);
	} else if (call->is_done) {
		answer_reload(call);
	}
}

static const struct {
	const char *method, *path; /* "{}" stands for an id */
	bool is_open;		   /* on the TCP address too */
	bool needs_store;
	admin_call call;
} calls[] = {
	{ "GET", "/healthz", true, false, call_healthz },
	{ "GET", "/readyz", true, false, call_readyz },
	{ "GET", "/metrics", true, false, call_metrics },
	{ "GET", "/api/v1/status", false, false, call_status },
	{ "POST", "/api/v1/reload", false, false, call_reload },
	{ "GET", "/api/v1/tiers", false, false, admin_tiers_list },
	{ "GET", "/api/v1/accounts", false, true, admin_accounts_list },
	{ "POST", "/api/v1/accounts", false, true, admin_account_create },
	{ "GET", "/api/v1/accounts/{}", false, true, admin_account_show },
	{ "PATCH", "/api/v1/accounts/{}", false, true, admin_account_set },
	{ "DELETE", "/api/v1/accounts/{}", false, true, admin_account_delete },
	{ "POST", "/api/v1/accounts/{}/keys/revoke", false, true, admin_keys_revoke },
	{ "GET", "/api/v1/keys", false, true, admin_keys_list },
	{ "POST", "/api/v1/keys", false, true, admin_key_create },
	{ "POST", "/api/v1/keys/import", false, true, admin_keys_import },
	{ "POST", "/api/v1/keys/{}/revoke", false, true, admin_key_revoke },
	{ "POST", "/api/v1/keys/{}/rotate", false, true, admin_key_rotate },
	{ "POST", "/api/v1/claims", false, true, admin_claim_create },
	{ "GET", "/api/v1/usage", false, true, admin_usage_list },
	{ "GET", "/api/v1/usage/failed", false, true, admin_usage_failed },
	{ "POST", "/api/v1/usage/retry", false, true, admin_usage_retry },
	{ "GET", "/api/v1/drift", false, true, admin_drift },
	{ "POST", "/api/v1/sync", false, true, admin_sync },
	{ "GET", "/api/v1/lists", false, true, admin_lists_show },
	{ "POST", "/api/v1/lists", false, true, admin_list_put },
	{ "POST", "/api/v1/lists/remove", false, true, admin_list_remove },
	{ "GET", "/api/v1/fastpath", false, false, admin_fastpath_show },
	{ "POST", "/api/v1/fastpath", false, false, admin_fastpath_set },
	{ "GET", "/api/v1/events", false, false, admin_events },
};

/* Whether @path matches @pattern; the part at "{}" goes to @ret_id. */
static bool match(const char *pattern, const char *path, char *ret_id, size_t size)
{
	const char *hole = strstr(pattern, "{}"), *rest;
	size_t len;

	ret_id[0] = '\0';
	if (!hole)
		return !strcmp(pattern, path);
	if (strncmp(pattern, path, (size_t)(hole - pattern)) != 0)
		return false;
	path += hole - pattern;
	rest = strchr(path, '/');
	len = rest ? (size_t)(rest - path) : strlen(path);
	if (!len || len >= size || strcmp(hole + 2, path + len) != 0)
		return false;
	memcpy(ret_id, path, len);
	ret_id[len] = '\0';
	return true;
}

static void dispatch(struct admin_request *r, bool is_local)
{
	bool path_known = false;
	char id[64];

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (!is_local && !calls[i].is_open)
			continue;
		if (!match(calls[i].path, r->path, id, sizeof(id)))
			continue;
		path_known = true;
		if (strcmp(calls[i].method, r->method) != 0)
			continue;
		if (calls[i].needs_store && !*r->agent->registry)
			admin_fail(r, 503, "the store is not loaded");
		else
			calls[i].call(r, id);
		return;
	}
	admin_fail(r, path_known ? 405 : 404, path_known ? "Method not allowed" : "Not found");
}

static void request_free(struct admin_request *r)
{
	buf_done(&r->body);
	json_decref(r->json);
	free(r->work);
	free(r);
}

void admin_answer_text(struct admin_request *r, unsigned status, const char *type, struct text body)
{
	char fields[128];
	struct http_answer answer = {
		.status = status,
		.length = body.len,
		.first_piece = body,
		.add_date = true,
		.is_last = true,
	};
	struct http_stream *stream = r->stream;

	snprintf(fields, sizeof(fields), "Content-Type: %s\r\nCache-Control: no-store\r\n", type);
	answer.fields = text_of(fields);
	request_free(r);
	if (!stream)
		return;
	http_stream_set_context(stream, NULL);
	http_stream_answer(stream, &answer);
}

void admin_answer_json(struct admin_request *r, unsigned status, json_t *json)
{
	char *dump = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	if (!dump)
		admin_fail(r, 500, "out of memory");
	else
		admin_answer_text(r, status, "application/json", text_of(dump));
	free(dump);
}

void admin_fail(struct admin_request *r, unsigned status, const char *format, ...)
{
	char detail[2048];
	struct buf body;
	va_list args;

	va_start(args, format);
	vsnprintf(detail, sizeof(detail), format, args);
	va_end(args);
	buf_init(&body, 16384);
	problem_write_body(&body, status, detail, NULL);
	admin_answer_text(r, status, "application/problem+json", buf_text(&body));
	buf_done(&body);
}

void admin_fail_errno(struct admin_request *r, int err, const char *what)
{
	const struct admin_agent *agent = r->agent;

	switch (err) {
	case -ENOENT:
		admin_fail(r, 404, "the %s does not exist", what);
		return;
	case -EEXIST:
		admin_fail(r, 409, "the %s exists already", what);
		return;
	case -EKEYREVOKED:
		admin_fail(r, 409, "the key is revoked");
		return;
	case -ENOBUFS:
		admin_fail(r, 503, "too many changes are waiting; try again");
		return;
	case -ENOMEM:
		admin_fail(r, 500, "out of memory");
		return;
	default:
		if (err == -ENOSPC && mirror_can_add(*agent->mirror))
			admin_fail(
				r, 507,
				"all slots are in use: raise max_accounts and restart the agent");
		else
			admin_fail(r, err == -ENOSPC ? 507 : 503, "the store: %s",
				   store_error(*agent->store));
	}
}

bool admin_query(const struct admin_request *r, const char *name, char *ret, size_t size)
{
	return form_get(text_of(r->query), name, ret, size) != -ENOENT;
}

const char *admin_string(const struct admin_request *r, const char *name, size_t size,
			 const char **ret_bad)
{
	json_t *member = json_object_get(r->json, name);

	if (!member || json_is_null(member))
		return NULL;
	if (!json_is_string(member) || json_string_length(member) >= size ||
	    strlen(json_string_value(member)) != json_string_length(member)) {
		*ret_bad = name;
		return NULL;
	}
	return json_string_value(member);
}

json_t *admin_time(uint64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	char text[32];
	struct tm utc;

	if (!ms)
		return json_null();
	gmtime_r(&seconds, &utc);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
	return json_string(text);
}

static bool parse_body(struct admin_request *r)
{
	struct text body = buf_text(&r->body);

	if (!strcmp(r->path, "/api/v1/keys/import"))
		return true; /* plain lines, not JSON */
	r->json = body.len ? json_loadb(body.ptr, body.len, JSON_REJECT_DUPLICATES, NULL)
			   : json_object();
	return json_is_object(r->json);
}

static void begin(struct admin_request *r)
{
	const struct admin_port *port = http_server_owner(http_stream_server(r->stream));

	if (parse_body(r))
		dispatch(r, port->is_local);
	else
		admin_fail(r, 400, "the body is not a JSON object");
}

static bool copy(char *to, size_t size, struct text from)
{
	if (from.len >= size)
		return false;
	memcpy(to, from.ptr, from.len);
	to[from.len] = '\0';
	return true;
}

static void on_request(struct http_stream *s)
{
	const struct admin_port *port = http_server_owner(http_stream_server(s));
	const struct http_message *m = http_stream_request(s);
	struct admin_request *r = calloc(1, sizeof(*r));
	struct text query = { m->path.ptr + m->path.len, 0 };

	if (!r) {
		http_stream_break(s);
		return;
	}
	r->admin = port->admin;
	r->agent = &port->admin->agent;
	r->stream = s;
	buf_init(&r->body, BODY_MAX);
	http_stream_set_context(s, r);
	if (m->path.ptr >= m->target.ptr && m->path.ptr <= m->target.ptr + m->target.len &&
	    m->path.ptr + m->path.len < m->target.ptr + m->target.len)
		query = (struct text){ query.ptr + 1,
				       (size_t)(m->target.ptr + m->target.len - query.ptr - 1) };
	if (!copy(r->method, sizeof(r->method), m->method) ||
	    !copy(r->path, sizeof(r->path), m->path) || !copy(r->query, sizeof(r->query), query))
		admin_fail(r, 404, "Not found");
	else if (m->body == HTTP_BODY_NONE)
		begin(r);
}

static void on_body(struct http_stream *s, const char *data, size_t len)
{
	struct admin_request *r = http_stream_context(s);

	if (r && buf_append(&r->body, data, len))
		admin_fail(r, 413, "the body is too large");
}

static void on_body_end(struct http_stream *s)
{
	struct admin_request *r = http_stream_context(s);

	if (r)
		begin(r);
}

static void on_drain(struct http_stream *s)
{
	(void)s;
}

static void on_abort(struct http_stream *s, int err)
{
	struct admin_request *r = http_stream_context(s);

	(void)err;
	if (!r)
		return;
	/*
	 * A call under way will come back to the request and free it; one whose body is still read
	 * will not.
	 */
	r->stream = NULL;
	if (!r->json && !r->work)
		request_free(r);
}

static const struct http_handler handler = {
	.on_request = on_request,
	.on_body = on_body,
	.on_body_end = on_body_end,
	.on_drain = on_drain,
	.on_abort = on_abort,
};

static void on_connection(struct listener *l)
{
	struct admin_port *port = listener_owner(l);
	struct http_server *server = port->admin->servers[port->is_local ? 0 : 1];
	int err = http_server_accept(server, listener_stream(l), NULL);

	if (err)
		log_warn("admin: a connection could not be accepted: %s", strerror(-err));
}

struct admin *admin_new(uv_loop_t *loop, const struct admin_agent *agent)
{
	struct admin *admin = calloc(1, sizeof(*admin));

	if (!admin)
		return NULL;
	admin->loop = loop;
	admin->agent = *agent;
	for (unsigned i = 0; i < 2; i++)
		admin->ports[i] = (struct admin_port){ .admin = admin, .is_local = i == 0 };
	return admin;
}

static int make_server(struct admin *admin, unsigned i)
{
	struct http_limits limits = http_default_limits;

	limits.body_bytes = BODY_MAX;
	limits.max_connections = 256;
	admin->servers[i] = http_server_new(admin->loop, &handler, &admin->ports[i], &limits);
	return admin->servers[i] ? 0 : -ENOMEM;
}

int admin_listen_unix(struct admin *admin, const char *path)
{
	int err = make_server(admin, 0);

	return err ? err
		   : listener_open_unix(admin->loop, path, on_connection, &admin->ports[0],
					&admin->listeners[0]);
}

int admin_listen_tcp(struct admin *admin, const struct sockaddr_storage *address)
{
	int err = make_server(admin, 1);

	return err ? err
		   : listener_open_tcp(admin->loop, address, on_connection, &admin->ports[1],
				       &admin->listeners[1]);
}

void admin_stop(struct admin *admin)
{
	if (!admin)
		return;
	for (unsigned i = 0; i < 2; i++) {
		if (admin->listeners[i])
			listener_close(admin->listeners[i]);
		admin->listeners[i] = NULL;
		if (admin->servers[i])
			http_server_close(admin->servers[i]);
	}
}

void admin_free(struct admin *admin)
{
	if (!admin)
		return;
	for (unsigned i = 0; i < 2; i++)
		http_server_free(admin->servers[i]);
	free(admin);
}
