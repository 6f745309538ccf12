// SPDX-License-Identifier: BSD-2-Clause
/*
 * XDP's copy of the operators' lists. The map is every agent's own, empty until it has loaded its store,
 * so that nothing of a predecessor is left in it.
 */
#include "enforce/fastpath_private.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "bpf/edge.skel.h"

static struct tollgate_list_key key_of(const struct cidr *block)
{
	struct tollgate_list_key key = { .prefix_bits = block->prefix_bits };

	memcpy(key.addr_be32, block->address, sizeof(key.addr_be32));
	return key;
}

int fastpath_list_put(struct fastpath *fp, const struct cidr *block, bool is_allowed,
		      uint64_t until_ns)
{
	struct tollgate_list_entry entry = {
		.verdict = is_allowed ? TOLLGATE_LIST_ALLOW : TOLLGATE_LIST_DENY,
		.prefix_bits = block->prefix_bits,
		.until_ns = until_ns,
	};
	struct tollgate_list_key key = key_of(block);

	return bpf_map_update_elem(bpf_map__fd(fp->skel->maps.lists), &key, &entry, BPF_ANY);
}

void fastpath_list_remove(struct fastpath *fp, const struct cidr *block)
{
	struct tollgate_list_key key = key_of(block);

	bpf_map_delete_elem(bpf_map__fd(fp->skel->maps.lists), &key);
}

void fastpath_set_list_count(struct fastpath *fp, uint32_t count)
{
	__atomic_store_n(&fp->settings->lists_count, count, __ATOMIC_RELEASE);
}
