/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rules: what of a configuration decides over requests, as one immutable whole.
 *
 * A reload makes new rules and hands them to every worker; the old ones live until the last request
 * that began under them has ended.
 */
#ifndef PROXY_RULES_H
#define PROXY_RULES_H

#include "base/atomic.h"
#include "base/cidr.h"
#include "config/route.h"
#include "proxy/upstream.h"

struct rules {
	uint64_t serial;	     /* another one for each set of rules, from 1 */
	const struct routes *routes; /* borrowed from the configuration, as all here */
	const struct upstream_config *upstreams;
	unsigned upstream_count;
	const struct cidr *trusted_proxies;
	unsigned trusted_proxy_count;
	const struct text *own_paths; /* tollgate answers these itself, and all below them */
	unsigned own_path_count;
	unsigned count_below; /* answers with a status below this count as usage */
	unsigned tolerance;   /* refusals a second before a penalty */
	unsigned users;	      /* atomic: workers and whoever else holds on to the rules */
	void (*release)(struct rules *rules); /* called when the last user lets go */
};

static inline struct rules *rules_ref(struct rules *rules)
{
	atomic_add(&rules->users, 1);
	return rules;
}

static inline void rules_unref(struct rules *rules)
{
	if (atomic_sub_return(&rules->users, 1) == 0)
		rules->release(rules);
}

#endif
