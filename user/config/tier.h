/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tier: what an account bought: limits, features and a meter. Tiers exist only in the
 * configuration.
 *
 * A set of tiers is immutable once in use; a reload creates a new one.
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
	char **prices; /* owned: Stripe price IDs, lookup keys or products */
	unsigned price_count;
	char **extra_prices; /* owned: sold together with any of `prices`; they select no tier */
	unsigned extra_price_count;
	uint32_t trial_days;  /* for a customer's first subscription; 0: no trial */
	uint64_t interval_ns; /* time per unit; 0: no rate limit */
	uint64_t burst;	      /* units at once after idle time; not 0 if there is a rate limit */
	uint64_t limit_ns;    /* burst * interval_ns */
	uint64_t quota;	      /* units per period; 0: no quota */
	enum tollgate_period period;
	uint32_t concurrency;	/* concurrent requests; 0: no limit */
	uint64_t features;	/* one bit per feature */
	bool is_self_service;	/* visitors with a confirmed mail address may take it */
	bool is_per_seat;	/* rate, burst, quota and concurrency are for each seat */
	bool is_shared;		/* limits hold for all hosts together, not for each host */
	bool uses_entitlements; /* the customer's Stripe entitlements are features too */
	uint64_t grace_ms;	/* access after a payment fails */
	char *meter;		/* owned; NULL: usage is not reported */
	uint32_t answers;	/* set of answer templates, see fastpath.h; set by the agent */
};

struct tiers {
	struct tier *list; /* owned */
	unsigned count;
	char *features[TIER_MAX_FEATURES]; /* owned: names of the bits */
	unsigned feature_count;
};

/* The tier with this name, or NULL. */
const struct tier *tiers_find(const struct tiers *tiers, const char *name);

/* The tier's price number @i, from 0: first its prices, then its extra prices. NULL: no more. */
const char *tier_price(const struct tier *tier, unsigned i);

/*
 * Copy @tier to @ret with the limits of an account that has bought @seats (0 counts as 1). If the
 * tier is sold per seat, its rate, burst, quota and concurrency are multiplied, up to the largest
 * values that the configuration allows. XDP's prepared answers state the limits of one seat, so the
 * copy has none for more seats, and the agent sends the refusals. The texts still belong to @tier.
 * Pure.
 */
void tier_for_seats(const struct tier *tier, uint32_t seats, struct tier *ret);

/* The bit of the feature @name, assigned on first use. -ENOSPC if no bit is left; -ENOMEM. */
int tiers_feature(struct tiers *tiers, struct text name);

/*
 * Renumber the features of @fresh so that each feature of @old keeps its bit and new features get
 * unused ones. @ret_bits maps the old bits of @fresh to the new ones. A reload needs this, because
 * slots and routes change one after the other and must agree on the bits all the time. 0; -ENOSPC
 * if both sets together have more than 64 features; -ENOMEM. After an error @fresh is unchanged.
 */
int tiers_keep_features(struct tiers *fresh, const struct tiers *old,
			int ret_bits[TIER_MAX_FEATURES]);

/* Free what the set owns. Accepts NULL and half-built sets. */
void tiers_done(struct tiers *tiers);

#endif
