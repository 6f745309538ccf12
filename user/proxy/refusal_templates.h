/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * answers: every refusal that XDP may give, written with the agent's own code.
 *
 * A tier's refusals differ from one answer to the next in one number of seconds alone; there is a
 * template for each count of its digits, see tollgate/abi.h.
 */
#ifndef PROXY_REFUSAL_TEMPLATES_H
#define PROXY_REFUSAL_TEMPLATES_H

#include "fastpath/fastpath.h"
#include "config/tier.h"

/* Fill the set 0: what depends on no tier. 0 or -ENOMEM. Control loop, before anything is answered. */
int refusal_templates_write_common(struct fastpath *fp);

/* Fill @set with the refusals of @tier. 0 or -ENOMEM. Control loop, before the set is used. */
int refusal_templates_write_tier(struct fastpath *fp, uint32_t set, const struct tier *tier);

#endif
