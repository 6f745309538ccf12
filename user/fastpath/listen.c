// SPDX-License-Identifier: BSD-2-Clause
/*
 * Which packets the programs look at: the listeners' addresses on each interface, and the TCP
 * ports.
 *
 * The programs ignore packets to other ports. So a port stays in the bitmap as long as there are
 * connections to it that XDP has answered on, even if no listener uses it any more.
 */
#include "fastpath/private.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "bpf/edge.skel.h"

#define PORT_WORDS (65536 / 64)

/* A listener's address as the map's key. False if it is not IP. */
static bool listener_key(const struct sockaddr_storage *address,
			 struct tollgate_listener_key *ret_key)
{
	struct tollgate_listener_key key = { 0 };

	if (address->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)address;

		if (in->sin_addr.s_addr) {
			key.local_be32[2] = htonl(0xffff);
			key.local_be32[3] = in->sin_addr.s_addr;
		}
		key.port_be16 = in->sin_port;
	} else if (address->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

		memcpy(key.local_be32, &in6->sin6_addr, sizeof(key.local_be32));
		key.port_be16 = in6->sin6_port;
	} else {
		return false;
	}
	*ret_key = key;
	return true;
}

int fastpath_listens_set(struct fastpath *fp, const struct fastpath_config *config)
{
	unsigned most = 0;

	fastpath_listens_done(fp);
	for (unsigned i = 0; i < config->listener_count; i++)
		most += config->listeners[i].interface_count;
	fp->listens = calloc(most + 1, sizeof(*fp->listens));
	if (!fp->listens)
		return -ENOMEM;
	for (unsigned i = 0; i < config->listener_count; i++) {
		const struct fastpath_listener *l = &config->listeners[i];
		struct tollgate_listener_key key;

		if (!listener_key(&l->address, &key))
			continue;
		for (unsigned j = 0; j < l->interface_count; j++) {
			struct fastpath_listen *listen = &fp->listens[fp->listen_count++];

			listen->key = key;
			snprintf(listen->name, sizeof(listen->name), "%s", l->interfaces[j]);
		}
	}
	return 0;
}

void fastpath_listens_done(struct fastpath *fp)
{
	free(fp->listens);
	fp->listens = NULL;
	fp->listen_count = 0;
}

static bool is_wanted(const struct fastpath *fp, const struct tollgate_listener_key *key)
{
	for (unsigned i = 0; i < fp->listen_count; i++)
		if (fp->listens[i].key.ifindex && !memcmp(&fp->listens[i].key, key, sizeof(*key)))
			return true;
	return false;
}

/* bpf_map_get_next_key() needs an existing key, so fetch the next key before deleting one. */
static void remove_old(const struct fastpath *fp, int fd)
{
	struct tollgate_listener_key key, next;
	bool more = bpf_map_get_next_key(fd, NULL, &next) == 0;

	while (more) {
		key = next;
		more = bpf_map_get_next_key(fd, &key, &next) == 0;
		if (!is_wanted(fp, &key))
			bpf_map_delete_elem(fd, &key);
	}
}

int fastpath_listens_enter(struct fastpath *fp)
{
	int fd = bpf_map__fd(fp->skel->maps.listeners);
	uint32_t present = 1;
	int err = 0;

	for (unsigned i = 0; i < fp->listen_count && !err; i++) {
		struct fastpath_listen *listen = &fp->listens[i];

		listen->key.ifindex = if_nametoindex(listen->name);
		if (listen->key.ifindex)
			err = bpf_map_update_elem(fd, &listen->key, &present, BPF_ANY);
	}
	remove_old(fp, fd);
	return err;
}

void fastpath_listens_enter_ports(struct fastpath *fp)
{
	uint64_t ports[PORT_WORDS] = { 0 };

	for (unsigned i = 0; i < fp->listen_count; i++) {
		uint16_t port = ntohs(fp->listens[i].key.port_be16);

		ports[port / 64] |= 1ULL << port % 64;
	}
	fp->has_old_ports = fastpath_flows_add_ports(fp, ports);
	for (size_t i = 0; i < PORT_WORDS; i++)
		atomic_write(&fp->settings->ports[i], ports[i]);
}
