/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * share: limits that all hosts of a fleet share, for accounts whose tier says so.
 *
 * Workers read and write memory only. A few times a second, the control loop reports to the store
 * what all active accounts used, and receives leases for what they may use next.
 *
 * Rate. `used` counts the units allowed on this host; `paid` counts the units that the account's
 * bucket in the store has granted. While the lease is valid, requests pass as long as `used` stays
 * within `paid`. Otherwise they pass by this host's own share, a bucket of rate R/H and burst
 * ceil(B/H) for H hosts, and the next exchange pays for them; unless the store said that it is
 * empty (`dry_until_ns`). If the store is unreachable, only the own share is left.
 *
 * Quota. Each host has a ceiling for what it may charge in the period. The store raises it while
 * some of the quota is left. Concurrency. The store grants places, valid as long as the lease.
 *
 * In any time T, all hosts together allow at most B + R*T + O units, where
 *
 *     O =   H * max(ceil(B/H), the largest cost)         own shares, used all at once
 *         + B * H/(H+1)                                  leases used when the bucket is full again
 *         + 2 * R * (SHARE_EVERY_NS + a round trip)      use that is not reported yet
 *
 * tests/model/share.pml checks this bound. In addition, each start of an agent adds twice the burst
 * of its share, and each host that cannot reach Redis while others can adds R/H for that time. A
 * host that has not asked for some time may exceed a quota by SHARE_QUOTA_COLD units or one
 * request. Without the store, each host may use left/H of the quota, once, and max(1, C/H)
 * concurrent requests.
 */
#ifndef ENFORCE_SHARE_H
#define ENFORCE_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "enforce/slot.h"
#include "store/store.h"

#define SHARE_EVERY_NS	 200000000ULL  /* between exchanges for an account in use */
#define SHARE_QUOTA_COLD 10	       /* units of a quota before the first grant of a period */
#define SHARE_LEASE_NS	 1000000000ULL /* how long a lease is valid after it was asked for */
/* How long a quota's ceiling is valid after the lease ended. The store reserves it for longer. */
#define SHARE_QUOTA_KEPT_NS 1500000000ULL

/* The shared limits of the account in one slot. All members but those at the end are atomic. */
struct share {
	uint64_t interval_ns, limit_ns; /* of the account's tier; 0: without a rate limit */
	uint64_t used, paid;		/* units, since the account got the slot */
	uint64_t low;			/* when `used` reaches this, ask for more */
	uint64_t until_ns;		/* end of the lease: of `paid`, `places` and `left` */
	uint64_t dry_until_ns;		/* the store is empty until then */
	uint64_t tat_ns;		/* bucket of this host's own share of the rate */
	uint64_t left;			/* units left in the store at the last exchange */
	uint64_t wanted;		/* units refused because the lease was used up */
	uint64_t quota_cap;  /* period << TOLLGATE_QUOTA_SHIFT | this host's ceiling in it */
	uint64_t quota_left; /* units that no host has reserved, at the last exchange */
	uint32_t places;     /* concurrent requests that the lease allows on this host */
	uint32_t need;	     /* the largest cost since the last exchange */
	uint32_t next;	     /* in the list of active slots: index + 1 */
	bool is_shared, is_active;
	bool is_extended; /* the ceiling was raised without the store, since its last answer */

	/* Written by the control loop; workers read the times. */
	uint64_t seq;			/* of the last exchange */
	uint64_t told_used, told_quota; /* what the store was told */
	uint64_t told_ns;		/* when */
	uint64_t asking_ns;		/* since when the store has not answered; 0: it has */
};

struct shares {
	struct share *list; /* owned; one for each slot */
	uint32_t count;
	uint32_t active; /* atomic: first of the slots that need an exchange: index + 1; 0: none */
	uint32_t hosts;	 /* atomic: H */
	uint64_t instance;	 /* random, for this run of the agent */
	void (*wake)(void *arg); /* exchange soon; called by any thread; may be NULL */
	void *wake_arg;
};

/* Initialize for @count slots. 0, -ENOMEM, or the error of crypto_random(). */
int shares_init(struct shares *shares, uint32_t count);
void shares_done(struct shares *shares); /* accepts a zeroed struct */

/* Set the number of hosts that share the limits; 0 counts as 1. Control loop only. */
void shares_set_hosts(struct shares *shares, uint32_t hosts);

/*
 * Set the tier of the account in slot @index (NULL: none). @is_new: the slot has another account
 * than before. Control loop only.
 */
void share_set_tier(struct shares *shares, uint32_t index, const struct tier *tier, bool is_new);

/*
 * The share of slot @index; NULL if its limits are not shared. Any thread, like all functions below
 * that do not say otherwise.
 */
struct share *share_of(const struct shares *shares, uint32_t index);

/*
 * Whether @cost units may pass at @now_ns. Returns 0, or the nanoseconds after which a retry may
 * succeed. share_peek() changes nothing; share_take() takes the units, and asks for more if needed.
 */
uint64_t share_peek(const struct shares *shares, const struct share *share, uint64_t cost,
		    uint64_t now_ns);
uint64_t share_take(struct shares *shares, struct share *share, uint64_t cost, uint64_t now_ns);

/* Return units that were taken but not used. */
void share_give_back(struct share *share, uint64_t cost);

/* The units that may be used at once, as far as this host knows. */
uint64_t share_left(const struct shares *shares, const struct share *share, uint64_t now_ns);

/*
 * The ceiling of this host's units in @period of the quota at @now_ns. It has charged @own units so
 * far;
 * @left units of the quota are unused.
 */
uint64_t share_quota_cap(const struct shares *shares, struct share *share, uint32_t period,
			 uint64_t own, uint64_t left, uint64_t now_ns);

/* How many requests may run at once on this host. @limit is the account's; 0: no limit. */
uint32_t share_places(const struct shares *shares, const struct share *share, uint32_t limit,
		      uint64_t now_ns);

/* share_peek() refused a request of @cost: the next exchange should ask for enough. */
void share_want_more(struct shares *shares, struct share *share, uint32_t cost, uint64_t now_ns);

/* Whether the store said that it is empty at @now_ns. */
bool share_is_dry(const struct share *share, uint64_t now_ns);

/*
 * Include the account in the next exchange. @is_urgent: exchange at once, unless the last exchange
 * was too recent.
 */
void share_activate(struct shares *shares, struct share *share, bool is_urgent, uint64_t now_ns);

/*
 * Take up to @max accounts that need an exchange and write what they used and want to @ret_wants.
 * Returns how many. @is_last: want nothing and give leases back. Control loop only.
 */
size_t share_collect(struct shares *shares, const struct slots *slots, uint64_t wall_ms,
		     uint64_t now_ns, bool is_last, struct store_share_want *ret_wants, size_t max);

/* Apply the store's answer to @wants, which were collected at @asked_ns. Control loop only. */
void share_apply(struct shares *shares, const struct slots *slots,
		 const struct store_share_want *wants, const struct store_share_grant *grants,
		 size_t count, uint64_t asked_ns);

/* The store did not answer: collect these accounts again. Control loop only. */
void share_retry(struct shares *shares, const struct store_share_want *wants, size_t count);

#endif
