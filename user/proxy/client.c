/* SPDX-License-Identifier: BSD-2-Clause */
/* client: what the proxy knows about a client's connection, and reports to the fast path. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "base/atomic.h"
#include "base/cidr.h"
#include "base/clock.h"
#include "net/conn.h"
#include "proxy/proxy_private.h"

#define ENTITLED_EVERY_NS (10 * NS_PER_SECOND)

static void format_address(const struct sockaddr_storage *peer, char *ret_text, size_t size)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)peer;
	const struct sockaddr_in *in = (const struct sockaddr_in *)peer;

	ret_text[0] = '\0';
	if (peer->ss_family == AF_INET)
		inet_ntop(AF_INET, &in->sin_addr, ret_text, (socklen_t)size);
	else if (peer->ss_family == AF_INET6)
		inet_ntop(AF_INET6, &in6->sin6_addr, ret_text, (socklen_t)size);
}

static void look_up_trust(struct client *client, const struct rules *rules)
{
	client->trusted_serial = rules->serial;
	client->is_trusted = false;
	for (unsigned i = 0; i < rules->trusted_proxy_count; i++)
		client->is_trusted |= cidr_contains(&rules->trusted_proxies[i], &client->peer);
}

struct client *client_of(struct http_stream *s, const struct proxy_port *port,
			 const struct rules *rules)
{
	struct client *client = http_stream_connection_context(s);

	if (!client) {
		client = calloc(1, sizeof(*client));
		if (!client)
			return NULL;
		client->peer = *conn_peer(http_stream_conn(s));
		client->port = port;
		client->conn = http_stream_conn(s);
		client->conn_index = CLIENT_NOT_ENROLLED;
		format_address(&client->peer, client->address, sizeof(client->address));
		http_stream_set_connection_context(s, client);
	}
	if (client->trusted_serial != rules->serial)
		look_up_trust(client, rules);
	return client;
}

static struct fastpath *fastpath_of(const struct client *client)
{
	return client->port->has_fastpath ? client->port->proxy->shared.fastpath : NULL;
}

void client_closed(void *context)
{
	struct client *client = context;

	if (!client)
		return;
	if (client->conn_index != CLIENT_NOT_ENROLLED)
		fastpath_forget(fastpath_of(client), client->conn_index);
	free(client);
}

void client_settled(void *context, uint32_t received)
{
	struct client *client = context;

	/*
	 * Only after the kernel has the last byte of the response, because XDP relies on this word.
	 */
	if (client && client->conn_index != CLIENT_NOT_ENROLLED)
		atomic_write_release(
			&fastpath_conn(fastpath_of(client), client->conn_index)->answered,
			received);
}

/*
 * Whether the connection may be closed. A response that XDP sent is activity that the server has
 * not seen. And as long as the client has not acknowledged that response or all of ours, a FIN must
 * wait: TCP might retransmit it in one segment with bytes from before XDP's response, and no single
 * offset is right for both parts of such a segment.
 */
bool client_is_idle(void *context, uint64_t idle_ms)
{
	struct client *client = context;
	struct fastpath *fastpath;

	if (!client || client->conn_index == CLIENT_NOT_ENROLLED)
		return true;
	fastpath = fastpath_of(client);
	if (!fastpath_claim(fastpath, client->conn_index,
			    idle_ms ? clock_mono_ns() - idle_ms * NS_PER_MS : UINT64_MAX))
		return false;
	if (!fastpath_has_pending(fastpath, client->conn_index) ||
	    !conn_is_unacknowledged(client->conn))
		return true;
	fastpath_unclaim(fastpath, client->conn_index);
	return false;
}

void client_unbind(struct client *client)
{
	client->is_first_seen = true;
	client->is_bound = false;
	if (client->conn_index != CLIENT_NOT_ENROLLED)
		atomic_fetch_and(&fastpath_conn(fastpath_of(client), client->conn_index)->flags,
				 ~TOLLGATE_CONN_BOUND);
}

/*
 * The connection stays bound as long as all its keys belong to one account. Requests that cost
 * nothing are allowed even without credit, so a connection with such requests must not be dropped.
 */
static void bind_account(struct client *client, const struct gate_result *result)
{
	bool same = result->has_account && result->cost;

	if (client->is_first_seen)
		same = same && client->is_bound && client->slot == result->slot &&
		       client->generation == result->generation;
	if (!same)
		client_unbind(client);
	client->is_first_seen = true;
	client->is_bound = same;
	client->slot = result->slot;
	client->generation = result->generation;
}

static void enrol(struct client *client, struct http_stream *s)
{
	struct proxy_counters *counters = &client->port->proxy->counters;
	struct fastpath *fastpath = fastpath_of(client);
	struct conn *conn = http_stream_conn(s);
	/*
	 * This request is not answered yet, so `answered` is less; client_settled() will raise it.
	 */
	struct fastpath_enrolment enrolment = {
		.client = &client->peer,
		.local = conn_local(conn),
		.slot = client->slot,
		.slot_generation = client->generation,
		.answered = conn_received(conn) - 1,
		.flags = (client->is_bound ? TOLLGATE_CONN_BOUND : 0) |
			 (client->port->is_tls ? TOLLGATE_CONN_POISONED : 0),
	};

	if (!fastpath || client->conn_index != CLIENT_NOT_ENROLLED)
		return;
	if (conn_window_scales(conn, &enrolment.rcv_wscale, &enrolment.snd_wscale) ||
	    fastpath_enrol(fastpath, &enrolment, &client->conn_index)) {
		client->conn_index = CLIENT_NOT_ENROLLED;
		count(&counters->enrol_failures);
		return;
	}
	count(&counters->enrolled);
}

static void offended(struct client *client, const struct rules *rules, uint32_t slot,
		     uint64_t now_ns)
{
	if (!client->is_trusted)
		penalty_source_offended(client->port->proxy->shared.penalty, &client->peer, slot,
					rules->tolerance, now_ns);
}

static void entitled(struct client *client, uint64_t now_ns)
{
	if (client->entitled_ns && now_ns - client->entitled_ns < ENTITLED_EVERY_NS)
		return;
	client->entitled_ns = now_ns;
	penalty_source_entitled(client->port->proxy->shared.penalty, &client->peer, client->slot,
				now_ns);
}

/* Let XDP refuse requests with this key on this connection. */
static void tell_xdp(struct client *client, struct http_stream *s,
		     const struct gate_request *request, const struct gate_result *result)
{
	struct proxy *proxy = client->port->proxy;

	enrol(client, s);
	if (!client->port->is_tls)
		fastpath_know_key(fastpath_of(client), proxy->shared.gate->mirror, request->key,
				  result->key_hash, request->wall_ms);
}

void client_note_verdict(struct client *client, struct http_stream *s, const struct rules *rules,
			 const struct gate_request *request, const struct gate_result *result)
{
	struct proxy *proxy = client->port->proxy;
	bool is_first = !client->is_first_seen, in_penalty;

	if (!fastpath_of(client))
		return;
	bind_account(client, result);
	switch (result->verdict) {
	case TOLLGATE_ALLOW:
		entitled(client, request->now_ns);
		break;
	case TOLLGATE_OVER_RATE:
	case TOLLGATE_OVER_QUOTA:
		in_penalty =
			penalty_account_refused(&proxy->shared.gate->slots->list[result->slot],
						rules->tolerance, result->wait_ns, request->now_ns);
		tell_xdp(client, s, request, result);
		if (in_penalty && is_first)
			offended(client, rules, result->slot, request->now_ns);
		break;
	case TOLLGATE_INACTIVE:
	case TOLLGATE_REVOKED_KEY:
		tell_xdp(client, s, request, result);
		break;
	case TOLLGATE_BAD_KEY:
	case TOLLGATE_UNKNOWN_KEY:
		offended(client, rules, TOLLGATE_NO_SLOT, request->now_ns);
		break;
	default:
		break;
	}
}
