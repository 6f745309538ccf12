// SPDX-License-Identifier: BSD-2-Clause
/*
 * Enrolled connections and penalized sources.
 *
 * One lock covers the free records and the map's entries, since a 4-tuple can be enrolled anew by one
 * worker while another forgets its predecessor. XDP takes no lock: it trusts generations.
 */
#include "enforce/fastpath_private.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/edge.skel.h"

int fastpath_flows_init(struct fastpath_flows *flows, uint32_t max)
{
	flows->keys = calloc(max, sizeof(*flows->keys));
	flows->free = calloc(max, sizeof(*flows->free));
	if (!flows->keys || !flows->free) {
		fastpath_flows_done(flows);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < max; i++)
		flows->free[i] = max - 1 - i;
	flows->free_count = max;
	flows->max = max;
	return -pthread_mutex_init(&flows->lock, NULL);
}

void fastpath_flows_done(struct fastpath_flows *flows)
{
	if (flows->max)
		pthread_mutex_destroy(&flows->lock);
	free(flows->keys);
	free(flows->free);
	*flows = (struct fastpath_flows){ 0 };
}

/* An address as packets show it: IPv4 mapped. False when it is not IP. */
static bool map_address(const struct sockaddr_storage *from, uint32_t to_be32[4],
			uint16_t *ret_port_be16)
{
	if (from->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)from;

		to_be32[0] = to_be32[1] = 0;
		to_be32[2] = htonl(0xffff);
		to_be32[3] = in->sin_addr.s_addr;
		*ret_port_be16 = in->sin_port;
		return true;
	}
	if (from->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;

		memcpy(to_be32, &in6->sin6_addr, 16);
		*ret_port_be16 = in6->sin6_port;
		return true;
	}
	return false;
}

/* The generation turns odd last: until then XDP takes the record for free. */
static uint32_t conn_begin(struct tollgate_conn *conn)
{
	uint32_t generation = conn->generation + 1;

	memset((char *)conn + sizeof(conn->generation), 0,
	       sizeof(*conn) - sizeof(conn->generation));
	conn->slot = TOLLGATE_NO_SLOT;
	__atomic_store_n(&conn->generation, generation, __ATOMIC_RELEASE);
	return generation;
}

static void conn_end(struct tollgate_conn *conn)
{
	__atomic_store_n(&conn->generation, conn->generation + 1, __ATOMIC_RELEASE);
}

int fastpath_enrol(struct fastpath *fp, const struct sockaddr_storage *client,
		   const struct sockaddr_storage *local, uint32_t *ret_conn_index)
{
	struct fastpath_flows *flows = &fp->flows;
	struct tollgate_flow_key key = { 0 };
	struct tollgate_flow flow;
	int err = -ENOSPC;

	if (!map_address(client, key.client_be32, &key.client_port_be16) ||
	    !map_address(local, key.local_be32, &key.local_port_be16))
		return -ENOTSUP;
	pthread_mutex_lock(&flows->lock);
	if (flows->free_count) {
		flow.conn_index = flows->free[flows->free_count - 1];
		flow.generation = conn_begin(&fp->conns[flow.conn_index]);
		err = bpf_map_update_elem(bpf_map__fd(fp->skel->maps.flows), &key, &flow, BPF_ANY);
		if (err) {
			conn_end(&fp->conns[flow.conn_index]);
			err = err == -E2BIG ? -ENOSPC : err;
		} else {
			flows->free_count--;
			flows->keys[flow.conn_index] = key;
			*ret_conn_index = flow.conn_index;
		}
	}
	pthread_mutex_unlock(&flows->lock);
	return err;
}

struct tollgate_conn *fastpath_conn(struct fastpath *fp, uint32_t conn_index)
{
	return conn_index < fp->flows.max ? &fp->conns[conn_index] : NULL;
}

/* The entry goes unless a later connection with the same ports has taken it over. */
static void remove_flow(struct fastpath *fp, const struct tollgate_flow_key *key,
			uint32_t conn_index)
{
	int fd = bpf_map__fd(fp->skel->maps.flows);
	struct tollgate_flow flow;

	if (bpf_map_lookup_elem(fd, key, &flow) == 0 && flow.conn_index == conn_index)
		bpf_map_delete_elem(fd, key);
}

void fastpath_forget(struct fastpath *fp, uint32_t conn_index)
{
	struct fastpath_flows *flows = &fp->flows;

	if (conn_index >= flows->max)
		return;
	pthread_mutex_lock(&flows->lock);
	if (fp->conns[conn_index].generation & 1) {
		conn_end(&fp->conns[conn_index]);
		remove_flow(fp, &flows->keys[conn_index], conn_index);
		flows->free[flows->free_count++] = conn_index;
	}
	pthread_mutex_unlock(&flows->lock);
}

uint32_t fastpath_flow_count(struct fastpath *fp)
{
	uint32_t count;

	pthread_mutex_lock(&fp->flows.lock);
	count = fp->flows.max - fp->flows.free_count;
	pthread_mutex_unlock(&fp->flows.lock);
	return count;
}

static bool source_key(const struct sockaddr_storage *client, struct tollgate_source_key *ret_key)
{
	static const uint8_t mapped[12] = { [10] = 0xff, 0xff };
	uint16_t port_be16;

	if (!map_address(client, ret_key->addr_be32, &port_be16))
		return false;
	if (memcmp(ret_key->addr_be32, mapped, sizeof(mapped)) != 0)
		ret_key->addr_be32[2] = ret_key->addr_be32[3] = 0;
	return true;
}

/* XDP looks at no source after this moment, so it is raised after the entry is there. */
static void raise_sources_until(struct tollgate_settings *set, uint64_t until_ns)
{
	uint64_t seen_ns = __atomic_load_n(&set->sources_until_ns, __ATOMIC_RELAXED);

	while (seen_ns < until_ns &&
	       !__atomic_compare_exchange_n(&set->sources_until_ns, &seen_ns, until_ns, true,
					    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
}

int fastpath_penalize_source(struct fastpath *fp, const struct sockaddr_storage *client,
			     uint64_t until_ns)
{
	struct tollgate_source source = { .drop_until_ns = until_ns };
	struct tollgate_source_key key;
	int err;

	if (!source_key(client, &key))
		return -ENOTSUP;
	err = bpf_map_update_elem(bpf_map__fd(fp->skel->maps.sources), &key, &source, BPF_ANY);
	if (err)
		return err == -E2BIG || err == -ENOMEM ? -ENOSPC : err;
	raise_sources_until(fp->settings, until_ns);
	return 0;
}

void fastpath_forgive_source(struct fastpath *fp, const struct sockaddr_storage *client)
{
	struct tollgate_source_key key;

	if (source_key(client, &key))
		bpf_map_delete_elem(bpf_map__fd(fp->skel->maps.sources), &key);
}
