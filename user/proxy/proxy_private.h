/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of proxy/ know of each other. */
#ifndef PROXY_PRIVATE_H
#define PROXY_PRIVATE_H

#include <sys/queue.h>

#include "base/atomic.h"
#include "base/buf.h"
#include "proxy/proxy.h"

#define REQUEST_ID_SIZE 33

/* Rules in use by this worker: its requests count here, without touching what all workers share. */
struct rules_hold {
	struct rules *rules;	     /* one reference */
	struct upstreams *upstreams; /* owned: connections under these rules */
	unsigned users;		     /* requests, and the proxy while they are current */
};

struct proxy {
	uv_loop_t *loop;
	struct proxy_shared shared;
	struct rules_hold *rules;			  /* current */
	void (*divert)(void *arg, struct http_stream *s); /* may be NULL */
	void *divert_arg;
	SLIST_HEAD(, exchange) spares; /* owned: ended ones, kept for later requests */
	unsigned spare_count;
	uint64_t id_state[2]; /* random numbers for request ids */
	struct proxy_counters counters;
};

struct rules_hold *rules_hold_use(struct rules_hold *hold);
void rules_hold_release(struct rules_hold *hold);

static inline void count(uint64_t *counter)
{
	atomic_write(counter, *counter + 1);
}

/*
 * client: what is known of a client's connection: its address, which account it is bound to, and its
 * record on the fast path. NULL-safe destructor; lives as long as the connection.
 */
struct client {
	char address[48];  /* without the port */
	struct conn *conn; /* borrowed; lives as long */
	struct sockaddr_storage peer;
	const struct proxy_port *port; /* borrowed */
	uint32_t conn_index;	       /* on the fast path, or CLIENT_NOT_ENROLLED */
	uint32_t slot, generation;     /* of the first key */
	bool is_bound;		       /* every request so far bore one account's key */
	bool is_first_seen;	       /* the first request has been dealt with */
	bool is_trusted;	       /* a trusted proxy */
	uint64_t trusted_serial;       /* of the rules that is_trusted was looked up in */
	uint64_t entitled_ns;	       /* when its source was last marked as entitled */
};
#define CLIENT_NOT_ENROLLED 0xffffffffu

struct client *client_of(struct http_stream *s, const struct proxy_port *port,
			 const struct rules *rules);
void client_closed(void *client);
void client_settled(void *client, uint32_t received);
bool client_is_idle(void *client, uint64_t idle_ms);

/* A request came that asked for no key: others than one account's requests come on this connection. */
void client_unbind(struct client *client);

/* A verdict was given on one of its requests: bind, enrol, mark, penalize as fits. */
void client_note_verdict(struct client *client, struct http_stream *s, const struct rules *rules,
			 const struct gate_request *request, const struct gate_result *result);

/* relay: heads for the other side. All errors are those of buf_append(). */
struct relay_request {
	const struct http_message *message;
	const struct client *client;
	const struct route *route;
	bool strip_authorization;
	bool is_tls;
	const char *request_id;
	const char *account, *tier; /* NULL: none */
};
int relay_write_request(const struct relay_request *request, struct buf *head);

/* Field lines of the upstream's answer that go to the client; @limited: RateLimit fields are ours. */
int relay_write_answer(const struct http_message *head, bool limited, const char *request_id,
		       struct buf *fields);

#endif
