/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The operators' allow and deny lists, shared by the agent and XDP. An entry is a block of
 * addresses. The most specific block that contains a client's address decides about the client's
 * SYNs.
 *
 * To change these records, raise TOLLGATE_ABI, as for those in abi.h.
 */
#ifndef TOLLGATE_LISTS_H
#define TOLLGATE_LISTS_H

#include <linux/types.h>

#define TOLLGATE_LISTS_MAX 16384

/* Key of map `lists`, a trie: network byte order, IPv4 mapped, zeros after the prefix. */
struct tollgate_list_key {
	__u32 prefix_bits; /* 0 to 128; an IPv4 block's own plus 96 */
	__u32 addr_be32[4];
};
_Static_assert(sizeof(struct tollgate_list_key) == 20, "map layout is ABI");

enum tollgate_list_verdict {
	TOLLGATE_LIST_NONE = 0,
	TOLLGATE_LIST_DENY = 1,
	TOLLGATE_LIST_ALLOW = 2, /* the source is exempt from penalties */
};

/* Value of map `lists`. Written by the agent alone. */
struct tollgate_list_entry {
	__u32 verdict;	   /* enum tollgate_list_verdict */
	__u32 prefix_bits; /* the key's; to find the next wider block if this one has expired */
	__u64 until_ns;	   /* when the entry expires; 0: never */
};
_Static_assert(sizeof(struct tollgate_list_entry) == 16, "map layout is ABI");

#endif
