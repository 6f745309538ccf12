// SPDX-License-Identifier: BSD-2-Clause
/*
 * Penalized sources: whose SYNs XDP drops for a while.
 */
#include "enforce/fastpath_private.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "bpf/edge.skel.h"

static bool source_key(const struct sockaddr_storage *client, struct tollgate_source_key *ret_key)
{
	static const uint8_t mapped[12] = { [10] = 0xff, 0xff };
	uint16_t port_be16;

	if (!fastpath_map_address(client, ret_key->addr_be32, &port_be16))
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
