// SPDX-License-Identifier: BSD-2-Clause
/*
 * plane: implements enforce/xdp_plane.h: keys to forget, the operators' lists, penalized sources.
 *
 * Map `lists` is never adopted from an earlier agent. It is empty until the agent has loaded its
 * store.
 */
#include "fastpath/private.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include <urcu/compiler.h>

#include "base/atomic.h"
#include "bpf/edge.skel.h"

static struct fastpath *fastpath_of(struct xdp_plane *plane)
{
	return caa_container_of(plane, struct fastpath, plane);
}

static void forget_key(struct xdp_plane *plane, const uint8_t hash[32])
{
	fastpath_keys_forget(fastpath_of(plane), hash);
}

static void forget_keys_of(struct xdp_plane *plane, uint32_t slot)
{
	fastpath_keys_forget_slot(fastpath_of(plane), slot);
}

/* ---- the operators' lists ---- */

static struct tollgate_list_key list_key(const struct cidr *block)
{
	struct tollgate_list_key key = { .prefix_bits = block->prefix_bits };

	memcpy(key.addr_be32, block->address, sizeof(key.addr_be32));
	return key;
}

static int list_put(struct xdp_plane *plane, const struct cidr *block, bool is_allowed,
		    uint64_t until_ns)
{
	struct fastpath *fp = fastpath_of(plane);
	struct tollgate_list_entry entry = {
		.verdict = is_allowed ? TOLLGATE_LIST_ALLOW : TOLLGATE_LIST_DENY,
		.prefix_bits = block->prefix_bits,
		.until_ns = until_ns,
	};
	struct tollgate_list_key key = list_key(block);

	return bpf_map_update_elem(bpf_map__fd(fp->skel->maps.lists), &key, &entry, BPF_ANY);
}

static void list_remove(struct xdp_plane *plane, const struct cidr *block)
{
	struct fastpath *fp = fastpath_of(plane);
	struct tollgate_list_key key = list_key(block);

	bpf_map_delete_elem(bpf_map__fd(fp->skel->maps.lists), &key);
}

static void set_list_count(struct xdp_plane *plane, uint32_t count)
{
	atomic_write_release(&fastpath_of(plane)->settings->lists_count, count);
}

/* ---- penalized sources, whose SYNs XDP drops for a while ---- */

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

/* After this time XDP does not look sources up, so raise it once the entry is in the map. */
static void raise_sources_until(struct tollgate_settings *set, uint64_t until_ns)
{
	__u64 seen_ns = atomic_read(&set->sources_until_ns);

	while (seen_ns < until_ns &&
	       !atomic_compare_exchange(&set->sources_until_ns, &seen_ns, until_ns))
		;
}

static int penalize_source(struct xdp_plane *plane, const struct sockaddr_storage *client,
			   uint64_t until_ns)
{
	struct fastpath *fp = fastpath_of(plane);
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

static void forgive_source(struct xdp_plane *plane, const struct sockaddr_storage *client)
{
	struct fastpath *fp = fastpath_of(plane);
	struct tollgate_source_key key;

	if (source_key(client, &key))
		bpf_map_delete_elem(bpf_map__fd(fp->skel->maps.sources), &key);
}

static const struct xdp_plane_ops plane_ops = {
	.forget_key = forget_key,
	.forget_keys_of = forget_keys_of,
	.list_put = list_put,
	.list_remove = list_remove,
	.set_list_count = set_list_count,
	.penalize_source = penalize_source,
	.forgive_source = forgive_source,
};

void fastpath_plane_init(struct fastpath *fp)
{
	fp->plane.ops = &plane_ops;
}

struct xdp_plane *fastpath_plane(struct fastpath *fp)
{
	return fp ? &fp->plane : NULL;
}
