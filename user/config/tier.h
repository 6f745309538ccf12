/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tier: what an account bought. Tiers come from the configuration alone.
 *
 * A set of tiers is immutable once it is in use; a reload makes a new set.
 */
#ifndef CONFIG_TIER_H
#define CONFIG_TIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "tollgate/abi.h"

#define TIER_MAX_FEATURES 64

struct tier {
	char *name;    /* owned */
	char **prices; /* owned: Stripe price ids, lookup keys or products */
	unsigned price_count;
	uint64_t interval_ns; /* cost of one unit; 0: no rate limit */
	uint64_t burst;	      /* units from idle; 1 or more if there is a rate limit */
	uint64_t limit_ns;    /* burst * interval_ns */
	uint64_t quota;	      /* units a period; 0: no quota */
	enum tollgate_period period;
	uint32_t concurrency; /* requests at once; 0: no limit */
	uint64_t features;    /* one bit a feature */
	bool is_shared; /* rate, quota and concurrency hold for all hosts together, not for each */
	bool uses_entitlements; /* those that Stripe says the customer has come on top */
	uint64_t grace_ms;	/* access that is left when a payment fails */
	char *meter;		/* owned; NULL: usage is not reported */
	uint32_t answers;	/* its set of templates, see fastpath.h; the agent fills it in */
};

struct tiers {
	struct tier *list; /* owned */
	unsigned count;
	char *features[TIER_MAX_FEATURES]; /* owned: names of the bits */
	unsigned feature_count;
};

/* The tier of that name, or NULL. */
const struct tier *tiers_find(const struct tiers *tiers, const char *name);

/* The bit of that feature, made on first use. -ENOSPC when there are 64 others, -ENOMEM. */
int tiers_feature(struct tiers *tiers, struct text name);

/*
 * Renumber the features of @fresh so that every name that @old knows has the same bit there, and names
 * new to it get further ones. @ret_bits says what each bit of @fresh has become. A running agent needs
 * this at a reload, when slots and routes change one after the other. -ENOSPC when both together
 * have more than 64 names, -ENOMEM; then @fresh is as it was.
 */
int tiers_keep_features(struct tiers *fresh, const struct tiers *old,
			int ret_bits[TIER_MAX_FEATURES]);

/* Free what the set owns; accepts NULL and half-built sets. */
void tiers_done(struct tiers *tiers);

#endif
