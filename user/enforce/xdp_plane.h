/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * xdp_plane: how enforce/ keeps XDP's copies of its data up to date.
 *
 * The mirror, the lists and the penalties call these functions; fastpath/ implements them, so
 * enforce/ does not depend on it. Each call takes effect before it returns. Any thread may call. If
 * the plane is NULL (the agent enforces alone), calls do nothing.
 */
#ifndef ENFORCE_XDP_PLANE_H
#define ENFORCE_XDP_PLANE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/cidr.h"

struct xdp_plane;

struct xdp_plane_ops {
	void (*forget_key)(struct xdp_plane *plane, const uint8_t hash[32]);
	void (*forget_keys_of)(struct xdp_plane *plane, uint32_t slot);
	int (*list_put)(struct xdp_plane *plane, const struct cidr *block, bool is_allowed,
			uint64_t until_ns);
	void (*list_remove)(struct xdp_plane *plane, const struct cidr *block);
	void (*set_list_count)(struct xdp_plane *plane, uint32_t count);
	int (*penalize_source)(struct xdp_plane *plane, const struct sockaddr_storage *client,
			       uint64_t until_ns);
	void (*forgive_source)(struct xdp_plane *plane, const struct sockaddr_storage *client);
};

/* The base of an implementation, which embeds it. */
struct xdp_plane {
	const struct xdp_plane_ops *ops; /* borrowed: static */
};

/* The state of one key, or of all keys of the account in @slot, has changed: XDP must ask again. */
static inline void xdp_forget_key(struct xdp_plane *plane, const uint8_t hash[32])
{
	if (plane)
		plane->ops->forget_key(plane, hash);
}

static inline void xdp_forget_keys_of(struct xdp_plane *plane, uint32_t slot)
{
	if (plane)
		plane->ops->forget_keys_of(plane, slot);
}

/*
 * Add @block to XDP's copy of the operator's lists until @until_ns (CLOCK_MONOTONIC; 0: without
 * end). 0, or a negative errno if XDP has no room.
 */
static inline int xdp_list_put(struct xdp_plane *plane, const struct cidr *block, bool is_allowed,
			       uint64_t until_ns)
{
	return plane ? plane->ops->list_put(plane, block, is_allowed, until_ns) : 0;
}

static inline void xdp_list_remove(struct xdp_plane *plane, const struct cidr *block)
{
	if (plane)
		plane->ops->list_remove(plane, block);
}

/* Set the number of entries in the lists. XDP ignores the lists while it is 0. */
static inline void xdp_set_list_count(struct xdp_plane *plane, uint32_t count)
{
	if (plane)
		plane->ops->set_list_count(plane, count);
}

/*
 * Drop SYNs from @client (for IPv6, from its /64) until @until_ns (CLOCK_MONOTONIC). 0, -ENOSPC if
 * XDP has no room, or -ENOTSUP without XDP.
 */
static inline int xdp_penalize_source(struct xdp_plane *plane,
				      const struct sockaddr_storage *client, uint64_t until_ns)
{
	return plane ? plane->ops->penalize_source(plane, client, until_ns) : -ENOTSUP;
}

static inline void xdp_forgive_source(struct xdp_plane *plane,
				      const struct sockaddr_storage *client)
{
	if (plane)
		plane->ops->forgive_source(plane, client);
}

#endif
