/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The operators' lists as the agent and the kernel's program share them: blocks of addresses, of which
 * the most specific one that holds a client's address decides about its SYN.
 *
 * A change of these records raises TOLLGATE_ABI, as one of those in abi.h does.
 */
#ifndef TOLLGATE_LISTS_H
#define TOLLGATE_LISTS_H

#include <linux/types.h>

#define TOLLGATE_LISTS_MAX 16384

/* Key of map `lists`, a trie: network byte order, IPv4 mapped, zeros behind the prefix. */
struct tollgate_list_key {
	__u32 prefix_bits; /* 0 to 128; an IPv4 block's own plus 96 */
	__u32 addr_be32[4];
};
_Static_assert(sizeof(struct tollgate_list_key) == 20, "map layout is ABI");

enum tollgate_list_verdict {
	TOLLGATE_LIST_NONE = 0,
	TOLLGATE_LIST_DENY = 1,
	TOLLGATE_LIST_ALLOW = 2, /* no penalty of a source holds */
};

/* Value of map `lists`. Written by the agent alone. */
struct tollgate_list_entry {
	__u32 verdict;	   /* enum tollgate_list_verdict */
	__u32 prefix_bits; /* the key's, so that a wider block is found behind one that has ended */
	__u64 until_ns;	   /* no entry any more from then on; 0: for ever */
};
_Static_assert(sizeof(struct tollgate_list_entry) == 16, "map layout is ABI");

#endif
