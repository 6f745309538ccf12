/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * upstream: the servers behind a route, and one worker's connections to them.
 *
 * A link owns a connection and its parser, and lives as long as the connection. A link that is not
 * closing is on exactly one list: while it serves a request, it has an owner and is on the set's
 * busy list; otherwise it is on its server's idle list.
 */
#include "proxy/upstream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/backoff.h"
#include "base/log.h"
#include "http/h1.h"
#include "net/conn.h"
#include "net/listener.h"

#define SWEEP_MS	100
#define ANSWER_HEAD_MAX (64 * 1024)

static const struct backoff failing_ms = { .first = 1000, .most = 30000 };

LIST_HEAD(link_list, upstream_link);

struct upstream_server {
	const struct sockaddr_storage *address; /* borrowed from the configuration */
	struct link_list idle;
	unsigned idle_count, connection_count;
	uint64_t failing_until_ms; /* loop time */
	unsigned failures;	   /* in a row; 0: healthy */
};

struct upstream {
	const struct upstream_config *config; /* borrowed */
	struct upstream_server *servers;      /* owned */
	unsigned next;			      /* round robin: the server to start from */
};

struct upstreams {
	uv_loop_t *loop;
	struct upstream *list; /* owned */
	unsigned count;
	struct link_list busy;
	unsigned link_count; /* links that are not freed yet */
	bool is_closing;
	bool is_timer_closed;
	void (*on_gone)(void *arg);
	void *gone_arg;
	uv_timer_t sweep;
};

struct upstream_link {
	struct upstreams *set;		/* borrowed; it outlives its links */
	struct upstream *upstream;	/* borrowed from the set */
	struct upstream_server *server; /* borrowed from the set */
	struct conn *conn;		/* owned */
	struct h1_parser *parser;	/* owned */
	const struct upstream_events *events;
	void *owner;			 /* borrowed; NULL when idle or abandoned */
	LIST_ENTRY(upstream_link) entry; /* of `busy` or `idle`, until it closes */
	uint64_t deadline_ms;		 /* loop time */
	bool is_ready, is_reused, has_answered, is_head_done, is_sent, keep_alive, is_closing;
	bool is_paused;
};

static uint64_t now_ms(const struct upstreams *set)
{
	return uv_now(set->loop);
}

static void set_free_if_done(struct upstreams *set)
{
	void (*on_gone)(void *arg) = set->on_gone;
	void *arg = set->gone_arg;

	if (!set->is_closing || set->link_count || !set->is_timer_closed)
		return;
	for (unsigned i = 0; i < set->count; i++)
		free(set->list[i].servers);
	free(set->list);
	free(set);
	if (on_gone)
		on_gone(arg);
}

static void server_failed(struct upstream_link *l, int err)
{
	struct upstream_server *server = l->server;
	uint64_t rest_ms = backoff_plain(&failing_ms, ++server->failures);
	char address[64];

	server->failing_until_ms = now_ms(l->set) + rest_ms;
	listener_format_address(server->address, address, sizeof(address));
	log_warn("upstream %s: server %s failed (%s), not used for %llu ms",
		 l->upstream->config->name, address, strerror(-err), (unsigned long long)rest_ms);
}

static void server_works(struct upstream_link *l)
{
	if (!l->server->failures)
		return;
	l->server->failures = 0;
	l->server->failing_until_ms = 0;
	log_info("upstream %s: a server works again", l->upstream->config->name);
}

static void close_link(struct upstream_link *l)
{
	if (l->is_closing)
		return;
	l->is_closing = true;
	l->owner = NULL;
	LIST_REMOVE(l, entry);
	conn_close(l->conn, false);
}

static void close_idle(struct upstream_link *l)
{
	l->server->idle_count--;
	close_link(l);
}

/* Close a link that failed; its owner's callback comes last. */
static void fail_link(struct upstream_link *l, int err)
{
	const struct upstream_events *events = l->events;
	void *owner = l->owner;
	bool was_ready = l->is_ready;

	/*
	 * If a kept connection turns out to be closed, the server was probably restarted: drop the
	 * rest.
	 */
	while (l->is_reused && !l->has_answered && err != -ETIMEDOUT &&
	       !LIST_EMPTY(&l->server->idle))
		close_idle(LIST_FIRST(&l->server->idle));
	close_link(l);
	if (!owner)
		return;
	if (was_ready)
		events->on_error(owner, err);
	else
		events->on_ready(owner, err);
}

static void on_closed(struct conn *c)
{
	struct upstream_link *l = conn_owner(c);
	struct upstreams *set = l->set;

	l->server->connection_count--;
	set->link_count--;
	h1_parser_free(l->parser);
	free(l);
	set_free_if_done(set);
}

static void on_connected(struct conn *c, int err)
{
	struct upstream_link *l = conn_owner(c);

	if (err) {
		server_failed(l, err);
		fail_link(l, err);
		return;
	}
	server_works(l);
	l->is_ready = true;
	l->deadline_ms = now_ms(l->set) + l->upstream->config->answer_ms;
	l->events->on_ready(l->owner, 0);
}

/* The response is complete: keep the connection if it can serve another request. */
static void retire(struct upstream_link *l)
{
	const struct upstream_config *config = l->upstream->config;

	l->owner = NULL;
	if (l->set->is_closing || !l->keep_alive || !l->is_sent ||
	    l->server->idle_count >= config->max_idle) {
		close_link(l);
		return;
	}
	upstream_resume(l);
	l->deadline_ms = now_ms(l->set) + config->idle_ms;
	l->server->idle_count++;
	LIST_REMOVE(l, entry);
	LIST_INSERT_HEAD(&l->server->idle, l, entry);
}

static void end_answer(struct upstream_link *l)
{
	const struct upstream_events *events = l->events;
	void *owner = l->owner;

	retire(l);
	if (owner)
		events->on_end(owner);
}

static bool take_head(struct upstream_link *l)
{
	const struct http_message *head = h1_parser_message(l->parser);

	l->is_head_done = head->status >= 200;
	l->keep_alive = head->keep_alive && head->body != HTTP_BODY_UNTIL_CLOSE;
	l->deadline_ms = now_ms(l->set) + (l->is_head_done ? l->upstream->config->body_ms
							   : l->upstream->config->answer_ms);
	l->events->on_head(l->owner, head);
	return l->owner;
}

/* Each callback may abandon the link, so the loop checks it again. */
static void feed(struct upstream_link *l, const char *data, size_t len)
{
	while (l->owner && !l->is_closing) {
		struct text piece;
		size_t used;
		int event = h1_parser_feed(l->parser, data, len, &used, &piece);

		if (event == H1_NEED_MORE) {
			l->events->on_pause(l->owner);
			return;
		}
		if (event < 0) {
			log_warn("upstream %s: invalid response: %s", l->upstream->config->name,
				 h1_parser_error(l->parser));
			fail_link(l, event);
			return;
		}
		data += used;
		len -= used;
		if (event == H1_HEAD && !take_head(l))
			return;
		if (event == H1_BODY)
			l->events->on_body(l->owner, piece.ptr, piece.len);
		if (event == H1_END && l->is_head_done) {
			l->keep_alive = l->keep_alive && !len; /* it sent more than the response */
			end_answer(l);
			return;
		}
	}
}

static void on_data(struct conn *c, const char *data, size_t len)
{
	struct upstream_link *l = conn_owner(c);

	if (!l->owner) { /* data without a request */
		if (!l->is_closing)
			close_idle(l);
		return;
	}
	l->has_answered = true;
	if (l->is_head_done)
		l->deadline_ms = now_ms(l->set) + l->upstream->config->body_ms;
	feed(l, data, len);
}

static void on_eof(struct conn *c)
{
	struct upstream_link *l = conn_owner(c);
	int event;

	if (!l->owner) {
		if (!l->is_closing)
			close_idle(l);
		return;
	}
	event = h1_parser_eof(l->parser);
	l->keep_alive = false;
	if (event == H1_END && l->is_head_done)
		end_answer(l);
	else
		fail_link(l, event < 0 ? event : -ECONNRESET);
}

static void on_error(struct conn *c, int err)
{
	struct upstream_link *l = conn_owner(c);

	if (l->owner || l->is_closing)
		fail_link(l, err);
	else
		close_idle(l);
}

static void on_drain(struct conn *c)
{
	struct upstream_link *l = conn_owner(c);

	if (l->owner)
		l->events->on_drain(l->owner);
}

static const struct conn_events conn_events = {
	.on_connected = on_connected,
	.on_data = on_data,
	.on_eof = on_eof,
	.on_drain = on_drain,
	.on_error = on_error,
	.on_closed = on_closed,
};

static void sweep_busy(struct upstreams *set)
{
	struct upstream_link *l = LIST_FIRST(&set->busy);

	while (l) {
		struct upstream_link *next = LIST_NEXT(l, entry);

		if (now_ms(set) >= l->deadline_ms && !(l->is_paused && l->is_head_done)) {
			if (!l->is_ready)
				server_failed(l, -ETIMEDOUT);
			fail_link(l, -ETIMEDOUT);
			/* The owner may have closed other links, so start again. */
			next = LIST_FIRST(&set->busy);
		}
		l = next;
	}
}

static void sweep_idle(struct upstreams *set, bool all)
{
	for (unsigned i = 0; i < set->count; i++) {
		for (unsigned j = 0; j < set->list[i].config->server_count; j++) {
			struct upstream_link *l = LIST_FIRST(&set->list[i].servers[j].idle), *next;

			for (; l; l = next) {
				next = LIST_NEXT(l, entry);
				if (all || now_ms(set) >= l->deadline_ms)
					close_idle(l);
			}
		}
	}
}

static void on_sweep(uv_timer_t *timer)
{
	struct upstreams *set = timer->data;

	sweep_idle(set, false);
	sweep_busy(set);
}

static void on_timer_closed(uv_handle_t *timer)
{
	struct upstreams *set = timer->data;

	set->is_timer_closed = true;
	set_free_if_done(set);
}

struct upstreams *upstreams_new(uv_loop_t *loop, const struct upstream_config *configs,
				unsigned count)
{
	struct upstreams *set = calloc(1, sizeof(*set));

	if (!set)
		return NULL;
	set->loop = loop;
	set->list = calloc(count ? count : 1, sizeof(*set->list));
	if (!set->list)
		goto fail;
	for (unsigned i = 0; i < count; i++) {
		struct upstream *u = &set->list[i];

		u->config = &configs[i];
		u->servers = calloc(configs[i].server_count, sizeof(*u->servers));
		if (!u->servers)
			goto fail;
		set->count = i + 1;
		for (unsigned j = 0; j < configs[i].server_count; j++)
			u->servers[j].address = &configs[i].servers[j];
	}
	if (uv_timer_init(loop, &set->sweep))
		goto fail;
	set->sweep.data = set;
	uv_timer_start(&set->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	uv_unref((uv_handle_t *)&set->sweep);
	return set;
fail:
	for (unsigned i = 0; i < set->count; i++)
		free(set->list[i].servers);
	free(set->list);
	free(set);
	return NULL;
}

void upstreams_free(struct upstreams *set, void (*on_gone)(void *arg), void *arg)
{
	if (!set)
		return;
	set->is_closing = true;
	set->on_gone = on_gone;
	set->gone_arg = arg;
	sweep_idle(set, true);
	uv_close((uv_handle_t *)&set->sweep, on_timer_closed);
}

/* The next server in turn, healthy ones first; NULL with an error if all were tried or are full. */
static struct upstream_server *choose(struct upstreams *set, struct upstream *u,
				      const struct upstream_tried *tried, int *ret_err)
{
	struct upstream_server *spare = NULL;
	unsigned count = u->config->server_count, spare_at = 0;

	*ret_err = -EHOSTUNREACH;
	for (unsigned i = 0; i < count; i++) {
		unsigned at = (u->next + i) % count;
		struct upstream_server *server = &u->servers[at];

		if (tried->words[at / 64] & 1ULL << at % 64)
			continue;
		if (LIST_EMPTY(&server->idle) &&
		    server->connection_count >= u->config->max_connections) {
			*ret_err = -EBUSY;
			continue;
		}
		if (now_ms(set) >= server->failing_until_ms) {
			u->next = at + 1;
			return server;
		}
		if (!spare) {
			spare = server;
			spare_at = at;
		}
	}
	if (spare)
		u->next = spare_at + 1;
	return spare;
}

static int connect_link(struct upstreams *set, struct upstream *u, struct upstream_server *server,
			struct upstream_link **ret_link)
{
	struct upstream_link *l = calloc(1, sizeof(*l));
	int err = -ENOMEM;

	if (!l)
		return err;
	l->set = set;
	l->upstream = u;
	l->server = server;
	l->parser = h1_parser_new(H1_RESPONSES, ANSWER_HEAD_MAX);
	if (!l->parser)
		goto fail;
	err = conn_connect(set->loop, (const struct sockaddr *)server->address, NULL, NULL,
			   &conn_events, l, &l->conn);
	if (err)
		goto fail;
	l->deadline_ms = now_ms(set) + u->config->connect_ms;
	server->connection_count++;
	set->link_count++;
	*ret_link = l;
	return 0;
fail:
	h1_parser_free(l->parser);
	free(l);
	return err;
}

static void mark_tried(struct upstream_tried *tried, size_t server)
{
	tried->words[server / 64] |= 1ULL << server % 64;
}

int upstream_open(struct upstreams *set, unsigned index, struct upstream_tried *tried,
		  const struct upstream_events *events, void *owner,
		  struct upstream_link **ret_link)
{
	struct upstream *u = &set->list[index];
	struct upstream_server *server;
	struct upstream_link *l;
	int err;

	server = choose(set, u, tried, &err);
	if (!server)
		return err;
	l = LIST_FIRST(&server->idle);
	if (l) {
		LIST_REMOVE(l, entry);
		server->idle_count--;
		l->deadline_ms = now_ms(set) + u->config->answer_ms;
		l->is_reused = true;
	} else {
		err = connect_link(set, u, server, &l);
		if (err)
			return err;
	}
	l->events = events;
	l->owner = owner;
	l->has_answered = l->is_head_done = l->is_sent = l->keep_alive = false;
	LIST_INSERT_HEAD(&set->busy, l, entry);
	mark_tried(tried, (size_t)(server - u->servers));
	*ret_link = l;
	return 0;
}

bool upstream_is_ready(const struct upstream_link *l)
{
	return l->is_ready;
}

bool upstream_is_reused(const struct upstream_link *l)
{
	return l->is_reused;
}

bool upstream_has_answered(const struct upstream_link *l)
{
	return l->has_answered;
}

int upstream_send_head(struct upstream_link *l, struct text method, struct text head)
{
	uv_buf_t part = uv_buf_init((char *)head.ptr, (unsigned)head.len);

	h1_parser_expect(l->parser, method);
	return conn_write(l->conn, &part, 1);
}

int upstream_send(struct upstream_link *l, const uv_buf_t *parts, unsigned count)
{
	/* While the server receives the body, the deadline for its response has not started. */
	l->deadline_ms = now_ms(l->set) + l->upstream->config->answer_ms;
	return conn_write(l->conn, parts, count);
}

size_t upstream_queued(const struct upstream_link *l)
{
	return conn_queued(l->conn);
}

void upstream_sent_all(struct upstream_link *l)
{
	l->is_sent = true;
}

void upstream_pause(struct upstream_link *l)
{
	l->is_paused = true;
	conn_pause(l->conn);
}

void upstream_resume(struct upstream_link *l)
{
	if (!l->is_paused)
		return;
	l->is_paused = false;
	l->deadline_ms = now_ms(l->set) + (l->is_head_done ? l->upstream->config->body_ms
							   : l->upstream->config->answer_ms);
	conn_resume(l->conn);
}

void upstream_abandon(struct upstream_link *l)
{
	close_link(l);
}

bool upstream_is_failing(const struct upstreams *set, unsigned index, unsigned server)
{
	return now_ms(set) < set->list[index].servers[server].failing_until_ms;
}
