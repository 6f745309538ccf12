/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * xdp_plane: what the verdicts' state tells the XDP plane.
 *
 * The mirror, the lists and the penalties keep XDP's copies of their data up to date through this
 * table of calls, so that enforce/ needs nothing from fastpath/, which implements it. Every call
 * takes effect before it returns, may come from any thread, and accepts a NULL plane (the agent
 * enforces alone): then it does nothing.
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

/* Embedded in whatever implements it. */
struct xdp_plane {
	const struct xdp_plane_ops *ops; /* borrowed: static */
};

/* The meaning of one key, or of all keys of the account in @slot, has changed: XDP must ask again. */
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
 * Put @block into XDP's copy of the operators' lists until @until_ns (monotonic; 0: for good). 0, or a
 * negative errno when XDP has no room for it.
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

/* XDP looks at the lists only while @count is not 0. */
static inline void xdp_set_list_count(struct xdp_plane *plane, uint32_t count)
{
	if (plane)
		plane->ops->set_list_count(plane, count);
}

/*
 * Drop SYNs from @client (an IPv6 address stands for its /64) until @until_ns (monotonic). 0, -ENOSPC
 * when XDP has no room, -ENOTSUP without XDP.
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
