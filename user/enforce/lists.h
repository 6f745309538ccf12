/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lists: blocks of addresses from which operators take no connection, or which are never penalized.
 *
 * The most specific block that holds an address decides. The agent's copy is what workers ask; XDP has
 * its own (fastpath_list_*), which is kept like this one. Changes are made by one thread at a time.
 */
#ifndef ENFORCE_LISTS_H
#define ENFORCE_LISTS_H

#include "enforce/xdp_plane.h"
#include "store/store.h"
#include "tollgate/lists.h"

struct lists;

#define LISTS_MAX TOLLGATE_LISTS_MAX /* entries */

enum lists_verdict { LISTS_NONE, LISTS_DENIED, LISTS_ALLOWED };

/* @fastpath, borrowed, may be NULL. NULL when memory is short. */
struct lists *lists_new(struct xdp_plane *xdp);
void lists_free(struct lists *lists); /* accepts NULL */

/* Forget everything. */
void lists_clear(struct lists *lists);

/*
 * Enter @entry, in place of the one with its block; one that has ended is left out. 0, -ENOSPC
 * (LISTS_MAX are there), -ENOMEM, or XDP's error, and then the agent alone goes by it.
 */
int lists_put(struct lists *lists, const struct store_entry *entry, uint64_t wall_ms,
	      uint64_t mono_ns);

/* Take the entry of @block away, if there is one. */
void lists_remove(struct lists *lists, const struct cidr *block);

/* Take away what has ended; how many entries that were. */
size_t lists_expire(struct lists *lists, uint64_t wall_ms);

/* Any thread. */
enum lists_verdict lists_look_up(struct lists *lists, const struct sockaddr_storage *address,
				 uint64_t wall_ms);

/* The entries, the narrowest blocks first; for the thread that makes the changes, until the next one. */
const struct store_entry *lists_entries(const struct lists *lists, size_t *ret_count);

/* The entry of exactly that block, or NULL; likewise. */
const struct store_entry *lists_find(const struct lists *lists, const struct cidr *block);

#endif
