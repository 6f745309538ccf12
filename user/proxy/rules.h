/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rules: the part of the configuration that decides about requests, immutable and counted by
 * reference.
 *
 * A reload makes new rules and gives them to every worker. Old rules live until the last request
 * that started under them has ended.
 */
#ifndef PROXY_RULES_H
#define PROXY_RULES_H

#include "base/atomic.h"
#include "base/cidr.h"
#include "config/route.h"
#include "proxy/upstream.h"

struct rules {
	uint64_t serial;	     /* different for each set of rules; from 1 */
	const struct routes *routes; /* borrowed from the configuration, like all pointers here */
	const struct upstream_config *upstreams;
	unsigned upstream_count;
	const struct cidr *trusted_proxies;
	unsigned trusted_proxy_count;
	const struct text *own_paths; /* tollgate answers these, and all paths below them, itself */
	unsigned own_path_count;
	unsigned count_below; /* responses with a status below this count as usage */
	unsigned tolerance;   /* refusals per second before a penalty */
	unsigned users;	      /* atomic: references */
	void (*release)(
		struct rules *rules); /* called when the last reference is gone; any thread */
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
