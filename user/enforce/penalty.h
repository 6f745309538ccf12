/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * penalty: clients that keep sending refused requests, so that XDP drops their packets for a while.
 *
 * An account that is refused more than `tolerance` times in a second gets a penalty until it has
 * credit again, for at least 50 ms and at most 5 s. XDP then drops packets on connections that
 * carry only this account's requests. A source that keeps opening connections for such accounts, or
 * keeps sending unknown keys, has its SYNs dropped: for one second at first, then twice as long
 * each time, up to 60 s. A source from which another account's entitled key was used recently is
 * never dropped, because several customers may share the address.
 *
 * Any worker may call these functions at any time.
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
 * @xdp is borrowed; NULL: sources are not tracked. @lists is borrowed and may be NULL; sources that
 * it allows never get a penalty. Returns NULL if memory is short or there are no random bytes.
 */
struct penalty *penalty_new(struct xdp_plane *xdp, struct lists *lists);
void penalty_free(struct penalty *penalty); /* accepts NULL */

/*
 * Count a refusal of the account for its rate or quota; it could pass in @wait_ns. Sets the penalty
 * if there were more than @tolerance refusals in this second. Returns whether the account is in
 * penalty.
 */
bool penalty_account_refused(struct tollgate_slot *slot, unsigned tolerance, uint64_t wait_ns,
			     uint64_t now_ns);

/*
 * An entitled key of the account in @slot was used from @source. For ten minutes, offences of other
 * accounts cause no penalty for @source; a penalty that they caused earlier is lifted.
 */
void penalty_source_entitled(struct penalty *penalty, const struct sockaddr_storage *source,
			     uint32_t slot, uint64_t now_ns);

/*
 * Count an offence of @source: it opened a connection for the account in @slot, which is in
 * penalty, or sent an unknown key (TOLLGATE_NO_SLOT). More than @tolerance of these in a second
 * cause a penalty.
 */
void penalty_source_offended(struct penalty *penalty, const struct sockaddr_storage *source,
			     uint32_t slot, unsigned tolerance, uint64_t now_ns);

#endif
