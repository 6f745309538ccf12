/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The operators' allow and deny lists. A look-up in the trie costs more than everything else done
 * for a packet, so only SYNs are looked up, and only while there are entries.
 */
#ifndef LISTS_BPF_H
#define LISTS_BPF_H

#include "maps.bpf.h"
#include "tollgate/lists.h"

#define LISTS_NESTED_MAX 4 /* so many blocks that contain each other are examined */

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, TOLLGATE_LISTS_MAX);
	__type(key, struct tollgate_list_key);
	__type(value, struct tollgate_list_entry);
} lists SEC(".maps");

/*
 * The verdict of the most specific block that has not expired. The agent removes expired blocks
 * within a second. If more than LISTS_NESTED_MAX expired blocks are nested, returns NONE, and the
 * agent decides.
 */
static __always_inline __u32 lists_verdict(const struct tollgate_settings *set,
					   const struct tollgate_flow_key *flow, __u64 now_ns)
{
	struct tollgate_list_key key = { .prefix_bits = 128 };

	if (!READ_ONCE(set->lists_count))
		return TOLLGATE_LIST_NONE;
	__builtin_memcpy(key.addr_be32, flow->client_be32, sizeof(key.addr_be32));
	for (int i = 0; i < LISTS_NESTED_MAX; i++) {
		const struct tollgate_list_entry *entry = bpf_map_lookup_elem(&lists, &key);
		__u64 until_ns;

		if (!entry)
			return TOLLGATE_LIST_NONE;
		until_ns = READ_ONCE(entry->until_ns);
		if (!until_ns || until_ns > now_ns)
			return entry->verdict;
		if (!entry->prefix_bits)
			return TOLLGATE_LIST_NONE;
		key.prefix_bits = entry->prefix_bits - 1;
	}
	return TOLLGATE_LIST_NONE;
}

#endif
