/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lists: blocks of addresses that are denied, or that never get a penalty.
 *
 * The most specific block that holds an address decides. Workers use this copy; XDP has its own,
 * which is kept up to date through xdp_plane.h. One thread makes the changes; any thread may look
 * up.
 */
#ifndef ENFORCE_LISTS_H
#define ENFORCE_LISTS_H

#include "enforce/xdp_plane.h"
#include "store/store.h"
#include "tollgate/lists.h"

struct lists;

#define LISTS_MAX TOLLGATE_LISTS_MAX /* entries */

enum lists_verdict { LISTS_NONE, LISTS_DENIED, LISTS_ALLOWED };

/* @xdp is borrowed; NULL: the agent alone. Returns NULL if memory is short. */
struct lists *lists_new(struct xdp_plane *xdp);
void lists_free(struct lists *lists); /* accepts NULL */

/* Remove all entries. */
void lists_clear(struct lists *lists);

/*
 * Add @entry or replace the entry of the same block. An entry that has ended is removed instead. 0,
 * -ENOSPC if there are LISTS_MAX entries, -ENOMEM, or XDP's error; then only the agent has the
 * entry.
 */
int lists_put(struct lists *lists, const struct store_entry *entry, uint64_t wall_ms,
	      uint64_t mono_ns);

/* Remove the entry of @block, if there is one. */
void lists_remove(struct lists *lists, const struct cidr *block);

/* Remove the entries that have ended. Returns how many. */
size_t lists_expire(struct lists *lists, uint64_t wall_ms);

/* What the most specific block that holds @address says. Any thread. */
enum lists_verdict lists_look_up(struct lists *lists, const struct sockaddr_storage *address,
				 uint64_t wall_ms);

/*
 * The entries, the most specific first. Only for the thread that makes changes; valid until its
 * next change.
 */
const struct store_entry *lists_entries(const struct lists *lists, size_t *ret_count);

/* The entry of exactly @block, or NULL. Valid like lists_entries(). */
const struct store_entry *lists_find(const struct lists *lists, const struct cidr *block);

#endif
