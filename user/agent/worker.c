/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * worker: one thread with a loop of its own, its listeners, its connections and its proxy.
 *
 * Orders go one way through a locked list and a uv_async, acknowledgements come back the same way.
 */
#include "agent/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "enforce/mirror.h"
#include "net/listener.h"

#define OWN_BODY_MAX \
	(1 << 20) /* of a request that tollgate answers itself; Stripe's events are smaller */

enum order_kind {
	ORDER_RULES,
	ORDER_SWEEP,
	ORDER_DRAIN,
	ORDER_STOP,
};

struct order {
	struct order *next;
	enum order_kind kind;
	struct ruleset *rules; /* one reference, for ORDER_RULES */
	worker_done done;
	void *arg;
	int err;
};

struct order_list {
	struct order *first, **last;
};

struct worker_port {
	struct proxy_port port; /* first: it is the HTTP server's owner */
	struct worker *worker;	/* borrowed */
	struct http_server *server;
	struct listener *listener; /* NULL once it is closed */
	unsigned index;		   /* of the listener in the configuration */
};

struct worker {
	uv_loop_t loop;
	uv_thread_t thread;
	bool is_started;
	uv_async_t orders_async;  /* on the worker's loop */
	uv_async_t answers_async; /* on the control loop */
	pthread_mutex_t lock;	  /* of both lists */
	struct order_list orders, answers;
	struct proxy *proxy;	     /* owned */
	struct lists *lists;	     /* borrowed */
	struct messenger *messenger; /* owned */
	struct ruleset *rules;	     /* one reference: current */
	struct worker_port *ports;   /* owned */
	unsigned port_count;
	unsigned draining;   /* servers that are not drained yet */
	struct order *drain; /* waits for them */
	struct order *stop;
};

static void list_init(struct order_list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static void list_push(struct worker *worker, struct order_list *list, struct order *order)
{
	pthread_mutex_lock(&worker->lock);
	order->next = NULL;
	*list->last = order;
	list->last = &order->next;
	pthread_mutex_unlock(&worker->lock);
}

static struct order *list_take_all(struct worker *worker, struct order_list *list)
{
	struct order *first;

	pthread_mutex_lock(&worker->lock);
	first = list->first;
	list_init(list);
	pthread_mutex_unlock(&worker->lock);
	return first;
}

static void acknowledge(struct worker *worker, struct order *order, int err)
{
	order->err = err;
	list_push(worker, &worker->answers, order);
	uv_async_send(&worker->answers_async);
}

/* On the control loop. The last acknowledgement may free the worker, so it is not touched after. */
static void on_answers(uv_async_t *async)
{
	struct worker *worker = async->data;
	struct order *order = list_take_all(worker, &worker->answers);

	while (order) {
		struct order *next = order->next;

		order->done(order->arg, order->err);
		free(order);
		order = next;
	}
}

/* On the worker's loop. */

static bool is_welcome(void *arg, const struct sockaddr_storage *peer)
{
	struct worker *worker = arg;

	return lists_look_up(worker->lists, peer, clock_wall_ms()) != LISTS_DENIED;
}

static void on_connection(struct listener *l)
{
	struct worker_port *port = listener_owner(l);
	struct worker *worker = port->worker;
	int err = http_server_accept(port->server, listener_stream(l),
				     worker->rules->tls[port->index]);

	if (err == -EACCES)
		proxy_count_denied(worker->proxy);
	else if (err && err != -EAGAIN)
		log_debug("a connection could not be taken: %s", strerror(-err));
}

static void set_rules(struct worker *worker, struct order *order)
{
	int err = proxy_set_rules(worker->proxy, &order->rules->rules);

	if (err) {
		ruleset_unref(order->rules);
	} else {
		ruleset_unref(worker->rules);
		worker->rules = order->rules;
	}
	acknowledge(worker, order, err);
}

static void sweep(struct worker *worker, struct order *order)
{
	for (unsigned i = 0; i < worker->port_count; i++)
		http_server_close_unwelcome(worker->ports[i].server);
	acknowledge(worker, order, 0);
}

static void close_listeners(struct worker *worker)
{
	for (unsigned i = 0; i < worker->port_count; i++) {
		if (worker->ports[i].listener)
			listener_close(worker->ports[i].listener);
		worker->ports[i].listener = NULL;
	}
}

static void on_drained(void *arg)
{
	struct worker *worker = arg;
	struct order *order = worker->drain;

	if (--worker->draining || !order)
		return;
	worker->drain = NULL;
	acknowledge(worker, order, 0);
}

static void drain(struct worker *worker, struct order *order)
{
	close_listeners(worker);
	worker->drain = order;
	worker->draining = worker->port_count + 1; /* one for this loop itself */
	for (unsigned i = 0; i < worker->port_count; i++)
		http_server_drain(worker->ports[i].server, on_drained, worker);
	on_drained(worker);
}

static void close_messenger(struct worker *worker)
{
	messenger_close(worker->messenger);
	worker->messenger = NULL;
}

/* Everything on the loop is closed or told to close; it ends when the last handle has. */
static void stop(struct worker *worker, struct order *order)
{
	worker->stop = order;
	close_listeners(worker);
	for (unsigned i = 0; i < worker->port_count; i++)
		http_server_close(worker->ports[i].server);
	proxy_stop(worker->proxy);
	close_messenger(worker);
	uv_close((uv_handle_t *)&worker->orders_async, NULL);
}

static void on_orders(uv_async_t *async)
{
	struct worker *worker = async->data;
	struct order *order = list_take_all(worker, &worker->orders);

	while (order) {
		struct order *next = order->next;

		switch (order->kind) {
		case ORDER_RULES:
			set_rules(worker, order);
			break;
		case ORDER_SWEEP:
			sweep(worker, order);
			break;
		case ORDER_DRAIN:
			drain(worker, order);
			break;
		case ORDER_STOP:
			stop(worker, order);
			break;
		}
		order = next;
	}
}

static void run_loop(struct worker *worker)
{
	uv_run(&worker->loop, UV_RUN_DEFAULT);
	/* Connections are closed: what they held on to may go. */
	for (unsigned i = 0; i < worker->port_count; i++)
		http_server_free(worker->ports[i].server);
	proxy_free(worker->proxy);
	worker->proxy = NULL;
	ruleset_unref(worker->rules);
	worker->rules = NULL;
	uv_run(&worker->loop, UV_RUN_DEFAULT);
}

static void thread_main(void *arg)
{
	struct worker *worker = arg;
	struct order *order;

	mirror_register_thread();
	run_loop(worker);
	mirror_unregister_thread();
	order = worker->drain;
	if (order)
		acknowledge(worker, order, -ECANCELED);
	acknowledge(worker, worker->stop, 0);
}

/* A request on one of tollgate's own paths. */
static void divert(void *arg, struct http_stream *s)
{
	struct worker *worker = arg;

	messenger_take(worker->messenger, s, OWN_BODY_MAX);
}

/* On the control loop again. */

static int open_port(struct worker *worker, const struct config *config, unsigned i, char *ret_why,
		     size_t why_size)
{
	const struct config_listener *listener = &config->listeners[i];
	struct worker_port *port = &worker->ports[i];
	int err;

	port->worker = worker;
	port->index = i;
	port->port = (struct proxy_port){
		.proxy = worker->proxy,
		.has_fastpath = listener->interface_count > 0,
		.is_tls = listener->certificate != NULL,
	};
	port->server = http_server_new(&worker->loop, &proxy_handler, &port->port, &config->limits);
	err = port->server ? 0 : -ENOMEM;
	if (!err)
		http_server_set_door(port->server, is_welcome, worker);
	if (!err)
		err = listener_open_tcp(&worker->loop, &listener->address, on_connection, port,
					&port->listener);
	if (err) {
		char address[64];

		listener_format_address(&listener->address, address, sizeof(address));
		snprintf(ret_why, why_size, "listener %s: %s: %s", listener->name, address,
			 strerror(-err));
	}
	return err;
}

int worker_new(uv_loop_t *control, const struct config *config, const struct worker_shared *shared,
	       struct ruleset *rules, struct worker **ret_worker, char *ret_why, size_t why_size)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int err;

	snprintf(ret_why, why_size, "out of memory");
	if (!worker)
		return -ENOMEM;
	pthread_mutex_init(&worker->lock, NULL);
	list_init(&worker->orders);
	list_init(&worker->answers);
	err = uv_loop_init(&worker->loop);
	if (err) {
		free(worker);
		return err;
	}
	uv_async_init(&worker->loop, &worker->orders_async, on_orders);
	uv_async_init(control, &worker->answers_async, on_answers);
	worker->orders_async.data = worker->answers_async.data = worker;
	worker->rules = ruleset_ref(rules);
	worker->lists = shared->lists;
	worker->proxy = proxy_new(&worker->loop, &shared->proxy, &rules->rules);
	worker->ports = calloc(config->listener_count, sizeof(*worker->ports));
	worker->messenger = messenger_new(&worker->loop, shared->desk);
	err = worker->proxy && worker->ports && worker->messenger ? 0 : -ENOMEM;
	if (!err)
		proxy_set_divert(worker->proxy, divert, worker);
	for (unsigned i = 0; !err && i < config->listener_count; i++) {
		worker->port_count = i + 1;
		err = open_port(worker, config, i, ret_why, why_size);
	}
	if (err)
		worker_free(worker);
	else
		*ret_worker = worker;
	return err;
}

int worker_start(struct worker *worker)
{
	int err = uv_thread_create(&worker->thread, thread_main, worker);

	worker->is_started = !err;
	return err;
}

static void give(struct worker *worker, enum order_kind kind, struct ruleset *rules,
		 worker_done done, void *arg)
{
	struct order *order = calloc(1, sizeof(*order));

	if (!order) {
		done(arg, -ENOMEM);
		return;
	}
	order->kind = kind;
	order->rules = rules ? ruleset_ref(rules) : NULL;
	order->done = done;
	order->arg = arg;
	list_push(worker, &worker->orders, order);
	uv_async_send(&worker->orders_async);
}

void worker_set_rules(struct worker *worker, struct ruleset *rules, worker_done done, void *arg)
{
	give(worker, ORDER_RULES, rules, done, arg);
}

void worker_sweep(struct worker *worker, worker_done done, void *arg)
{
	give(worker, ORDER_SWEEP, NULL, done, arg);
}

void worker_drain(struct worker *worker, worker_done done, void *arg)
{
	give(worker, ORDER_DRAIN, NULL, done, arg);
}

void worker_stop(struct worker *worker, worker_done done, void *arg)
{
	give(worker, ORDER_STOP, NULL, done, arg);
}

static void on_answers_closed(uv_handle_t *handle)
{
	struct worker *worker = handle->data;

	pthread_mutex_destroy(&worker->lock);
	free(worker->ports);
	free(worker);
}

void worker_free(struct worker *worker)
{
	if (!worker)
		return;
	if (worker->is_started) {
		uv_thread_join(&worker->thread);
	} else {
		close_listeners(worker);
		close_messenger(worker);
		uv_close((uv_handle_t *)&worker->orders_async, NULL);
		run_loop(worker);
	}
	uv_loop_close(&worker->loop);
	uv_close((uv_handle_t *)&worker->answers_async, on_answers_closed);
}

const struct proxy_counters *worker_counters(const struct worker *worker)
{
	return proxy_counters(worker->proxy);
}

unsigned worker_connections(const struct worker *worker)
{
	unsigned connections = 0;

	for (unsigned i = 0; i < worker->port_count; i++)
		connections += http_server_connections(worker->ports[i].server);
	return connections;
}
