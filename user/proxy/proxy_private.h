/* SPDX-License-Identifier: BSD-2-Clause */
/* proxy_private: what the files of proxy/ share. */
#ifndef PROXY_PRIVATE_H
#define PROXY_PRIVATE_H

#include <sys/queue.h>

#include "base/atomic.h"
#include "base/buf.h"
#include "proxy/proxy.h"

#define REQUEST_ID_SIZE 33

/*
 * Rules in use by this worker. Requests are counted here, not in the counter that all workers
 * share.
 */
struct rules_hold {
	struct rules *rules;	     /* holds one reference */
	struct upstreams *upstreams; /* owned: the connections under these rules */
	unsigned users;		     /* requests, plus the proxy while the rules are current */
};

struct proxy {
	uv_loop_t *loop;
	struct proxy_shared shared;
	struct rules_hold *rules;			  /* the current ones */
	void (*divert)(void *arg, struct http_stream *s); /* may be NULL */
	void *divert_arg;
	SLIST_HEAD(, exchange) spares; /* owned: ended ones, kept for later requests */
	unsigned spare_count;
	uint64_t id_state[2]; /* of the random generator for request ids */
	struct proxy_counters counters;
};

struct rules_hold *rules_hold_use(struct rules_hold *hold);
void rules_hold_release(struct rules_hold *hold);

/* Add 1 to a counter that only this worker writes. */
static inline void count(uint64_t *counter)
{
	atomic_write(counter, *counter + 1);
}

/*
 * client: what the proxy knows about a client's connection: its address, the account it is bound
 * to, and its record on the fast path. It lives as long as the connection.
 */
struct client {
	char address[48];  /* text, without the port */
	struct conn *conn; /* borrowed */
	struct sockaddr_storage peer;
	const struct proxy_port *port; /* borrowed */
	uint32_t conn_index;	       /* of the fast path's record, or CLIENT_NOT_ENROLLED */
	uint32_t slot, generation;     /* of the account of the last key */
	bool is_bound;		       /* all requests so far had keys of one account */
	bool is_first_seen;	       /* the first request was handled */
	bool is_trusted;	       /* the client is a trusted proxy */
	uint64_t trusted_serial;       /* of the rules by which is_trusted was decided */
	uint64_t entitled_ns;	       /* when the source was last marked as entitled */
};
#define CLIENT_NOT_ENROLLED 0xffffffffu

/* The client of a stream's connection, made on first use. NULL if memory is short. */
struct client *client_of(struct http_stream *s, const struct proxy_port *port,
			 const struct rules *rules);

/* Events of the connection; see struct http_handler. All accept NULL. */
void client_closed(void *client);
void client_settled(void *client, uint32_t received);
bool client_is_idle(void *client, uint64_t idle_ms);

/* A request needed no key: the connection no longer carries requests of a single account. */
void client_unbind(struct client *client);

/* A request got its verdict: bind the connection, report it to the fast path, update penalties. */
void client_note_verdict(struct client *client, struct http_stream *s, const struct rules *rules,
			 const struct gate_request *request, const struct gate_result *result);

/* relay: heads for the other side. What the request is relayed with; all pointers are borrowed. */
struct relay_request {
	const struct http_message *message;
	const struct client *client;
	const struct route *route;
	bool strip_authorization;
	bool is_tls;
	const char *request_id;
	const char *account, *tier; /* NULL: none */
};

/* Write the head for the upstream. 0 or an error of buf_append(). */
int relay_write_request(const struct relay_request *request, struct buf *head);

/*
 * Write the field lines of the upstream's response that go to the client. @limited: drop RateLimit
 * fields, since tollgate sends its own. 0 or an error of buf_append().
 */
int relay_write_answer(const struct http_message *head, bool limited, const char *request_id,
		       struct buf *fields);

#endif
