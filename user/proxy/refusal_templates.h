/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * refusal_templates: every refusal that XDP may send, written with the agent's own code.
 *
 * The refusals of a tier differ only in one number of seconds. There is a template for each number
 * of digits that it can have: see tollgate/abi.h. Control loop only.
 */
#ifndef PROXY_REFUSAL_TEMPLATES_H
#define PROXY_REFUSAL_TEMPLATES_H

#include "fastpath/fastpath.h"
#include "config/tier.h"

/* Write set 0, the refusals that depend on no tier, before XDP answers anything. 0 or -ENOMEM. */
int refusal_templates_write_common(struct fastpath *fp);

/* Write the refusals of @tier to @set. Must be called before the set is used. 0 or -ENOMEM. */
int refusal_templates_write_tier(struct fastpath *fp, uint32_t set, const struct tier *tier);

#endif
