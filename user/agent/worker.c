/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * worker: one thread with a loop of its own, its listeners, its connections and its proxy.
 *
 * Orders reach the worker through a mailbox on its loop; acknowledgements return through a mailbox
 * on the control loop.
 */
#include "agent/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <urcu/compiler.h>

#include "base/clock.h"
#include "base/log.h"
#include "enforce/mirror.h"
#include "net/listener.h"
#include "net/mailbox.h"

#define OWN_BODY_MAX \
	(1 << 20) /* for requests on tollgate's own paths; Stripe's events are smaller */

enum order_kind {
	ORDER_RULES,
	ORDER_SWEEP,
	ORDER_DRAIN,
	ORDER_STOP,
};

struct order {
	struct mailbox_message message;
	enum order_kind kind;
	struct ruleset *rules; /* one reference, for ORDER_RULES */
	worker_done done;
	void *arg;
	int err;
};

struct worker_port {
	struct proxy_port port; /* first: the HTTP server's owner */
	struct worker *worker;	/* borrowed */
	struct http_server *server;
	struct listener *listener; /* NULL once it is closed */
	unsigned index;		   /* of the listener in the configuration */
};

struct worker {
	uv_loop_t loop;
	uv_thread_t thread;
	bool is_started;
	struct mailbox *orders;		  /* owned; on the worker's loop */
	struct mailbox *acknowledgements; /* owned; on the control loop */
	struct proxy *proxy;		  /* owned */
	struct lists *lists;		  /* borrowed */
	struct handoff_sender *sender;	  /* owned */
	struct ruleset *rules;		  /* one reference: current */
	struct worker_port *ports;	  /* owned */
	unsigned port_count;
	unsigned draining;   /* servers not drained yet */
	struct order *drain; /* acknowledged when all are */
	struct order *stop;
};

static struct order *order_of(struct mailbox_message *message)
{
	return caa_container_of(message, struct order, message);
}

static void acknowledge(struct worker *worker, struct order *order, int err)
{
	order->err = err;
	mailbox_post(worker->acknowledgements, &order->message);
}

/* On the control loop. The last acknowledgement may free the worker. */
static void on_acknowledgement(void *arg, struct mailbox_message *message)
{
	struct order *order = order_of(message);

	(void)arg;
	order->done(order->arg, order->err);
	free(order);
}

/* ---- on the worker's loop ---- */

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
		log_debug("a connection could not be accepted: %s", strerror(-err));
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

static void close_mailboxes(struct worker *worker)
{
	handoff_sender_close(worker->sender);
	worker->sender = NULL;
	mailbox_close(worker->orders, NULL);
	worker->orders = NULL;
}

/* Close everything on the loop. The loop ends when the last handle is closed. */
static void stop(struct worker *worker, struct order *order)
{
	worker->stop = order;
	close_listeners(worker);
	for (unsigned i = 0; i < worker->port_count; i++)
		http_server_close(worker->ports[i].server);
	proxy_stop(worker->proxy);
	close_mailboxes(worker);
}

static void on_order(void *arg, struct mailbox_message *message)
{
	struct order *order = order_of(message);
	struct worker *worker = arg;

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
}

static void run_loop(struct worker *worker)
{
	uv_run(&worker->loop, UV_RUN_DEFAULT);
	/* All connections are closed: free what they used. */
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

	handoff_take(worker->sender, s, OWN_BODY_MAX);
}

/* ---- on the control loop ---- */

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
	err = uv_loop_init(&worker->loop);
	if (err) {
		free(worker);
		return err;
	}
	worker->rules = ruleset_ref(rules);
	worker->lists = shared->lists;
	worker->proxy = proxy_new(&worker->loop, &shared->proxy, &rules->rules);
	worker->ports = calloc(config->listener_count, sizeof(*worker->ports));
	worker->sender = handoff_sender_new(&worker->loop, shared->responder);
	err = worker->proxy && worker->ports && worker->sender ? 0 : -ENOMEM;
	if (!err)
		err = mailbox_open(&worker->loop, on_order, worker, &worker->orders);
	if (!err)
		err = mailbox_open(control, on_acknowledgement, worker, &worker->acknowledgements);
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
	mailbox_post(worker->orders, &order->message);
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

void worker_free(struct worker *worker)
{
	if (!worker)
		return;
	if (worker->is_started) {
		uv_thread_join(&worker->thread);
	} else {
		close_listeners(worker);
		close_mailboxes(worker);
		run_loop(worker);
	}
	uv_loop_close(&worker->loop);
	mailbox_close(worker->acknowledgements, NULL);
	free(worker->ports);
	free(worker);
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
