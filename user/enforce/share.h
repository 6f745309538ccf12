/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * share: limits that all hosts of a fleet hold together, for accounts whose tier says so.
 *
 * Workers never ask anyone: they take from words in memory. The control loop exchanges what was used
 * for what may be used next with the store, a few times a second and for all active accounts at once.
 *
 * Rate. `used` counts the units allowed here, `paid` how many of them the account's bucket in the store
 * has given so far. Below `paid` a request passes while the lease lasts. Beyond it, and without a
 * lease, it passes by this host's share, a bucket of rate R/H and burst ceil(B/H) for H hosts, unless
 * the store said that there is nothing (`dry`); the next exchange pays for it. Without the store the
 * share alone is left.
 *
 * Quota. This host may charge up to a ceiling of its own in the period, which the store moves up as
 * long as there is something left. Concurrency: the store grants places, for a few seconds at a time.
 *
 * What all hosts together allow in any time T is at most B + R*T + O units, with
 * O = H * max(ceil(B/H), the largest cost) + B * H/(H+1) + 2 * R * (SHARE_EVERY_NS + a round trip):
 * shares that are used at once, what is lent and used only when the bucket is full again, and what is
 * not told yet; tests/model/share.pml holds it. On top come, for each start of an agent, its share's
 * burst, twice, and for each host that Redis does not hear while others do, R/H for that long. Hosts that
 * had not asked for some time may pass a quota by SHARE_QUOTA_COLD units (or one request) each, and
 * without the store each has its part, left/H, once; they may pass a concurrency by max(1, C/H) each.
 */
#ifndef ENFORCE_SHARE_H
#define ENFORCE_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "enforce/slot.h"
#include "store/store.h"

#define SHARE_EVERY_NS	 200000000ULL  /* between exchanges of an account in use */
#define SHARE_QUOTA_COLD 10	       /* units of a quota before the store has said anything */
#define SHARE_LEASE_NS	 1000000000ULL /* that a lease lasts from when it was asked for */
#define SHARE_QUOTA_KEPT_NS \
	1500000000ULL /* that a quota's ceiling outlives it: less than the store keeps it */

/* What is known of one slot. Words are atomic. */
struct share {
	uint64_t interval_ns, limit_ns; /* of the account's tier; 0: without a shared rate */
	uint64_t used, paid, low;	/* below `low` there is no need to ask for more */
	uint64_t until_ns;		/* the lease's end: of `paid`, `places` and `left` */
	uint64_t dry_until_ns;		/* the store has nothing until then */
	uint64_t tat_ns;		/* of this host's share of the rate */
	uint64_t left;			/* units that were left in the store */
	uint64_t wanted;		/* units refused for want of a lease */
	uint64_t
		quota_cap; /* period << TOLLGATE_QUOTA_SHIFT | own units that may be charged in it */
	uint64_t quota_left; /* units that nobody has, as the store said last */
	uint32_t places;     /* requests that may run at once */
	uint32_t need;	     /* the largest cost that was asked for */
	uint32_t next;	     /* in the list of active ones: index + 1 */
	bool is_shared, is_active;
	bool is_extended; /* the quota's ceiling was raised since the store was heard of */

	/* The control loop's; workers read the times. */
	uint64_t seq, told_used, told_quota, told_ns;
	uint64_t
		asking_ns; /* since when the store has been asked without an answer; 0: it has answered */
};

struct shares {
	struct share *list; /* owned; one a slot */
	uint32_t count;
	uint32_t active;   /* atomic: head of the list of slots that need an exchange: index + 1 */
	uint32_t hosts;	   /* atomic: H */
	uint64_t instance; /* random: this run of this agent */
	void (*wake)(void *arg); /* an account should not wait for the next exchange. Any thread */
	void *wake_arg;
};

/* For @count slots. 0, -ENOMEM, or why there are no random bytes. */
int shares_init(struct shares *shares, uint32_t count);
void shares_done(struct shares *shares); /* accepts a zeroed struct */

/* How many hosts share the limits from now on; at least 1. The control loop. */
void shares_set_hosts(struct shares *shares, uint32_t hosts);

/*
 * The account in slot @index has @tier from now on (NULL: none). @is_new: it is another account than
 * before. The control loop.
 */
void share_set_tier(struct shares *shares, uint32_t index, const struct tier *tier, bool is_new);

/* The record of a slot whose limits are shared, or NULL. Any thread, as all that follow. */
struct share *share_of(const struct shares *shares, uint32_t index);

/*
 * Whether @cost may pass at @now_ns: 0, or the nanoseconds until it may be worth another try. share_peek()
 * changes nothing; share_take() takes it, and asks for more when that is needed.
 */
uint64_t share_peek(const struct shares *shares, const struct share *share, uint64_t cost,
		    uint64_t now_ns);
uint64_t share_take(struct shares *shares, struct share *share, uint64_t cost, uint64_t now_ns);

/* What was taken is not to be charged after all. */
void share_give_back(struct share *share, uint64_t cost);

/* Units that may be used, as far as this host knows. */
uint64_t share_left(const struct shares *shares, const struct share *share, uint64_t now_ns);

/*
 * Own units that may be charged against the quota in @period at @now_ns: @own were, and @left are
 * nobody's.
 */
uint64_t share_quota_cap(const struct shares *shares, struct share *share, uint32_t period,
			 uint64_t own, uint64_t left, uint64_t now_ns);

/* How many requests may run here at once; @limit is the account's. */
uint32_t share_places(const struct shares *shares, const struct share *share, uint32_t limit,
		      uint64_t now_ns);

/* A request of @cost was refused by share_peek(): the next exchange should bring enough for it. */
void share_want_more(struct shares *shares, struct share *share, uint32_t cost, uint64_t now_ns);

/* Whether the store said that there is nothing yet. */
bool share_is_dry(const struct share *share, uint64_t now_ns);

/*
 * Let the next exchange have this account. @is_urgent: it should come at once, unless the last one is too
 * recent for that.
 */
void share_activate(struct shares *shares, struct share *share, bool is_urgent, uint64_t now_ns);

/*
 * Take up to @max accounts that need an exchange, and say what they used and want. The control loop.
 * With @is_last nothing more is wanted: leases are given back.
 */
size_t share_collect(struct shares *shares, const struct slots *slots, uint64_t wall_ms,
		     uint64_t now_ns, bool is_last, struct store_share_want *ret_wants, size_t max);

/* Enter what the store answered to @wants, which were made at @asked_ns. The control loop. */
void share_apply(struct shares *shares, const struct slots *slots,
		 const struct store_share_want *wants, const struct store_share_grant *grants,
		 size_t count, uint64_t asked_ns);

/* There was no answer: they are to be asked for again. */
void share_retry(struct shares *shares, const struct store_share_want *wants, size_t count);

#endif
