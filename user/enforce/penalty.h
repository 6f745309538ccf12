/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * penalty: who goes on although refused, and is therefore dropped by XDP for a while.
 *
 * An account that is refused more than `tolerance` times in a second gets a penalty until there is
 * credit again, at least 50 ms, at most 5 s; XDP then drops what its bound connections send. A source
 * that keeps opening connections for accounts in penalty, or sprays keys that nobody has, gets its
 * SYNs dropped, for a second at first, twice as long each time, at most 60 s. A source from which
 * another account's entitled key was used lately is never dropped: others share the address.
 *
 * Any worker.
 */
#ifndef ENFORCE_PENALTY_H
#define ENFORCE_PENALTY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "enforce/xdp_plane.h"
#include "enforce/lists.h"
#include "enforce/slot.h"

struct penalty;

/*
 * @xdp may be NULL: then sources are not followed. Those that @lists allows never get a penalty;
 * it may be NULL too. Both are borrowed. NULL when memory is short.
 */
struct penalty *penalty_new(struct xdp_plane *xdp, struct lists *lists);
void penalty_free(struct penalty *penalty);

/*
 * An account was refused for its rate or quota, with @wait_ns until it could pass. Sets the penalty
 * if that was once too often; returns whether the account is in penalty now.
 */
bool penalty_account_refused(struct tollgate_slot *slot, unsigned tolerance, uint64_t wait_ns,
			     uint64_t now_ns);

/*
 * An entitled key of the account in @slot was used from @source: for ten minutes nobody else's
 * offences make a penalty, and one that others brought about is forgiven.
 */
void penalty_source_entitled(struct penalty *penalty, const struct sockaddr_storage *source,
			     uint32_t slot, uint64_t now_ns);

/*
 * @source opened a connection for the account in @slot, which is in penalty, or sent a key that nobody
 * has (TOLLGATE_NO_SLOT). More than @tolerance of these in a second make a penalty.
 */
void penalty_source_offended(struct penalty *penalty, const struct sockaddr_storage *source,
			     uint32_t slot, unsigned tolerance, uint64_t now_ns);

#endif
