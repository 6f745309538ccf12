/* SPDX-License-Identifier: BSD-2-Clause */
/* share: limits that all hosts of a fleet share. */
#include "enforce/share.h"

#include <errno.h>
#include <stdlib.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "enforce/gate.h"
#include "enforce/usage.h"
#include "tollgate/bucket.h"

#define SPACING_MIN_NS (20 * NS_PER_MS)
#define QUOTA_AHEAD    100 /* units of a quota to ask for in addition to recent use */

int shares_init(struct shares *shares, uint32_t count)
{
	int err;

	*shares = (struct shares){ .count = count, .hosts = 1 };
	err = crypto_random(&shares->instance, sizeof(shares->instance));
	if (err)
		return err;
	shares->list = calloc(count, sizeof(*shares->list));
	return shares->list ? 0 : -ENOMEM;
}

void shares_done(struct shares *shares)
{
	free(shares->list);
	*shares = (struct shares){ 0 };
}

void shares_set_hosts(struct shares *shares, uint32_t hosts)
{
	atomic_write_release(&shares->hosts, hosts ? hosts : 1);
}

void share_set_tier(struct shares *shares, uint32_t index, const struct tier *tier, bool is_new)
{
	struct share *share = &shares->list[index];

	if (is_new || !tier || !tier->is_shared)
		atomic_write_release(&share->is_shared, false);
	if (is_new) {
		/* The leases of the last account in this slot are void. */
		share->used = share->paid = share->low = share->until_ns = share->dry_until_ns = 0;
		share->tat_ns = share->left = share->wanted = 0;
		share->quota_cap = share->quota_left = 0;
		share->places = share->need = 0;
		share->told_used = share->told_quota = share->told_ns = share->asking_ns = 0;
		share->is_extended = false;
	}
	if (!tier || !tier->is_shared)
		return;
	atomic_write_release(&share->interval_ns, tier->interval_ns);
	atomic_write_release(&share->limit_ns, tier->limit_ns);
	atomic_write_release(&share->is_shared, true);
}

struct share *share_of(const struct shares *shares, uint32_t index)
{
	struct share *share = shares && shares->list ? &shares->list[index] : NULL;

	return share && atomic_read_acquire(&share->is_shared) ? share : NULL;
}

/*
 * The shortest time between two exchanges of an account: a third of the time that its bucket takes
 * to fill. With longer pauses, a full bucket in the store would waste credit.
 */
static uint64_t spacing(const struct share *share)
{
	uint64_t third_ns = atomic_read_acquire(&share->limit_ns) / 3;

	if (!third_ns || third_ns > SHARE_EVERY_NS)
		return SHARE_EVERY_NS;
	return third_ns < SPACING_MIN_NS ? SPACING_MIN_NS : third_ns;
}

void share_activate(struct shares *shares, struct share *share, bool is_urgent, uint64_t now_ns)
{
	uint32_t head;

	if (!atomic_exchange(&share->is_active, true)) {
		head = atomic_read_acquire(&shares->active);
		do {
			share->next = head;
		} while (!atomic_compare_exchange(&shares->active, &head,
						  (uint32_t)(share - shares->list) + 1));
	}
	if (is_urgent && shares->wake &&
	    now_ns >= atomic_read_acquire(&share->told_ns) + spacing(share))
		shares->wake(shares->wake_arg);
}

/* ---- rate ---- */

/*
 * This host's own share: a unit costs H times as much, and the bucket holds ceil(B/H) units, or one
 * request if that is more.
 */
struct bucket {
	uint64_t charge_ns, limit_ns;
};

static struct bucket own_bucket(const struct shares *shares, const struct share *share,
				uint64_t cost)
{
	uint64_t hosts = atomic_read_acquire(&shares->hosts);
	uint64_t interval_ns = atomic_read_acquire(&share->interval_ns);
	uint64_t burst = interval_ns ? atomic_read_acquire(&share->limit_ns) / interval_ns : 0;
	uint64_t units = (burst + hosts - 1) / hosts;

	if (units < cost)
		units = cost;
	return (struct bucket){ .charge_ns = cost * interval_ns * hosts,
				.limit_ns = units * interval_ns * hosts };
}

/* How much longer the store is empty; 0 if it may not be. */
static uint64_t dry_wait(const struct share *share, uint64_t now_ns)
{
	uint64_t dry_ns = atomic_read_acquire(&share->dry_until_ns);

	return dry_ns > now_ns ? dry_ns - now_ns : 0;
}

static bool has_lease(const struct share *share, uint64_t used, uint64_t cost, uint64_t now_ns)
{
	return atomic_read_acquire(&share->until_ns) > now_ns &&
	       used + cost <= atomic_read_acquire(&share->paid);
}

uint64_t share_peek(const struct shares *shares, const struct share *share, uint64_t cost,
		    uint64_t now_ns)
{
	struct bucket own = own_bucket(shares, share, cost);
	uint64_t wait_ns;

	if (!cost || !atomic_read_acquire(&share->interval_ns) ||
	    has_lease(share, atomic_read_acquire(&share->used), cost, now_ns))
		return 0;
	wait_ns = dry_wait(share, now_ns);
	return wait_ns ? wait_ns
		       : tollgate_bucket_wait(atomic_read_acquire(&share->tat_ns), own.limit_ns,
					      own.charge_ns, now_ns);
}

static void raise_need(struct share *share, uint64_t cost)
{
	uint32_t need = atomic_read_acquire(&share->need);

	while (need < cost && !atomic_compare_exchange(&share->need, &need, (uint32_t)cost))
		;
}

/* Take @cost units from the lease, if it has them. */
static bool take_lease(struct share *share, uint64_t cost, uint64_t now_ns)
{
	uint64_t used = atomic_read_acquire(&share->used);

	do {
		if (!has_lease(share, used, cost, now_ns))
			return false;
	} while (!atomic_compare_exchange(&share->used, &used, used + cost));
	return true;
}

static uint64_t take_own(const struct shares *shares, struct share *share, uint64_t cost,
			 uint64_t now_ns)
{
	struct bucket own = own_bucket(shares, share, cost);
	uint64_t tat_ns = atomic_read_acquire(&share->tat_ns), wait_ns;

	do {
		wait_ns = tollgate_bucket_wait(tat_ns, own.limit_ns, own.charge_ns, now_ns);
		if (wait_ns)
			return wait_ns;
	} while (!atomic_compare_exchange(&share->tat_ns, &tat_ns,
					  tollgate_bucket_charged(tat_ns, own.charge_ns, now_ns)));
	atomic_add_return(&share->used, cost);
	return 0;
}

uint64_t share_take(struct shares *shares, struct share *share, uint64_t cost, uint64_t now_ns)
{
	uint64_t wait_ns = 0;

	raise_need(share, cost);
	if (!cost || !atomic_read_acquire(&share->interval_ns)) {
		share_activate(shares, share, false, now_ns);
		return 0;
	}
	if (take_lease(share, cost, now_ns)) {
		uint64_t used = atomic_read_acquire(&share->used);
		uint64_t low = atomic_read_acquire(&share->low);

		share_activate(shares, share, used >= low, now_ns);
		return 0;
	}
	wait_ns = dry_wait(share, now_ns);
	if (!wait_ns)
		wait_ns = take_own(shares, share, cost, now_ns);
	if (wait_ns)
		share_want_more(shares, share, (uint32_t)cost, now_ns);
	else /* without a lease: ask for one */
		share_activate(shares, share, true, now_ns);
	return wait_ns;
}

void share_want_more(struct shares *shares, struct share *share, uint32_t cost, uint64_t now_ns)
{
	raise_need(share, cost);
	atomic_add(&share->wanted, cost);
	/* If the store is known to be empty, there is no hurry. */
	share_activate(shares, share, !dry_wait(share, now_ns), now_ns);
}

bool share_is_dry(const struct share *share, uint64_t now_ns)
{
	return dry_wait(share, now_ns) != 0;
}

void share_give_back(struct share *share, uint64_t cost)
{
	if (cost)
		atomic_sub_return(&share->used, cost);
}

uint64_t share_left(const struct shares *shares, const struct share *share, uint64_t now_ns)
{
	uint64_t used = atomic_read_acquire(&share->used);
	uint64_t paid = atomic_read_acquire(&share->paid);
	struct bucket own = own_bucket(shares, share, 1);
	uint64_t tat_ns, debt_ns;

	if (atomic_read_acquire(&share->until_ns) > now_ns)
		return (paid > used ? paid - used : 0) + atomic_read_acquire(&share->left);
	if (dry_wait(share, now_ns) || !own.charge_ns)
		return 0;
	tat_ns = atomic_read_acquire(&share->tat_ns);
	debt_ns = tollgate_bucket_debt(tat_ns, now_ns);
	return debt_ns < own.limit_ns ? (own.limit_ns - debt_ns) / own.charge_ns : 0;
}

/* ---- quota and concurrency ---- */

#define WORD(period, units) ((uint64_t)(period) << TOLLGATE_QUOTA_SHIFT | (units))

/* Whether the store was asked but has not answered for longer than a lease. */
static bool is_away(const struct share *share, uint64_t now_ns)
{
	uint64_t asking_ns = atomic_read_acquire(&share->asking_ns);

	return asking_ns && asking_ns + SHARE_LEASE_NS < now_ns &&
	       atomic_read_acquire(&share->until_ns) + SHARE_LEASE_NS < now_ns;
}

uint64_t share_quota_cap(const struct shares *shares, struct share *share, uint32_t period,
			 uint64_t own, uint64_t left, uint64_t now_ns)
{
	uint64_t hosts = atomic_read_acquire(&shares->hosts), part = (left + hosts - 1) / hosts;
	uint64_t cap = atomic_read_acquire(&share->quota_cap), cold, known, fresh;

	/* Before the first grant of a period: enough to last until it comes. */
	cold = atomic_read_acquire(&share->need) + SHARE_QUOTA_COLD;
	while (cap >> TOLLGATE_QUOTA_SHIFT != period) {
		fresh = WORD(period, own + (cold < part ? cold : part));
		if (atomic_compare_exchange(&share->quota_cap, &cap, fresh)) {
			cap = fresh;
			atomic_write_release(&share->quota_left, UINT64_MAX);
			atomic_write_release(&share->is_extended, false);
		}
	}
	/* Without the store: this host's part of what was left, once. */
	known = atomic_read_acquire(&share->quota_left);
	if (known < left)
		part = (known + hosts - 1) / hosts;
	if (is_away(share, now_ns) && !atomic_exchange(&share->is_extended, true))
		cap = atomic_add_return(&share->quota_cap, part);
	/* The store reserves the ceiling only for this long; then other hosts may use it. */
	fresh = WORD(period, own + (cold < part ? cold : part));
	if (atomic_read_acquire(&share->until_ns) + SHARE_QUOTA_KEPT_NS <= now_ns &&
	    !atomic_read_acquire(&share->is_extended) && fresh < cap &&
	    atomic_compare_exchange(&share->quota_cap, &cap, fresh))
		cap = fresh;
	return cap & TOLLGATE_QUOTA_MAX;
}

uint32_t share_places(const struct shares *shares, const struct share *share, uint32_t limit,
		      uint64_t now_ns)
{
	uint32_t hosts = atomic_read_acquire(&shares->hosts);
	uint32_t own = limit / hosts ? limit / hosts : 1;

	if (!limit)
		return 0;
	return atomic_read_acquire(&share->until_ns) > now_ns ? atomic_read_acquire(&share->places)
							      : own;
}

/* ---- exchanges ---- */

/* Estimate the units needed until the next exchange from those used since the last. */
static uint64_t forecast(uint64_t recent, uint64_t elapsed_ns)
{
	if (elapsed_ns < SHARE_EVERY_NS / 20)
		elapsed_ns = SHARE_EVERY_NS / 20;
	return (uint64_t)((double)recent * 1.5 * (double)SHARE_EVERY_NS / (double)elapsed_ns) + 1;
}

static void want_rate(struct share *share, struct store_share_want *want, uint64_t now_ns)
{
	uint64_t refused = atomic_exchange(&share->wanted, 0);
	uint64_t recent = want->used - share->told_used;

	want->interval_ns = atomic_read_acquire(&share->interval_ns);
	want->burst =
		want->interval_ns ? atomic_read_acquire(&share->limit_ns) / want->interval_ns : 0;
	if (recent || refused)
		want->want = forecast(recent, now_ns - share->told_ns) + refused;
	if (want->want > want->burst)
		want->want = want->burst;
}

static void want_quota(const struct tollgate_slot *slot, const struct slot_limits *limits,
		       struct share *share, struct store_share_want *want, uint64_t wall_ms)
{
	uint64_t end_ms;

	want->quota_limit = limits->quota_limit;
	want->quota_kind = limits->quota_period;
	if (!limits->quota_limit)
		return;
	want->quota_period =
		usage_quota_period(limits->quota_period, limits->quota_span, wall_ms, &end_ms);
	want->quota_used = usage_quota_own(slot, want->quota_period);
	if (want->quota_used > share->told_quota)
		want->quota_want = 2 * (want->quota_used - share->told_quota);
	want->quota_want += QUOTA_AHEAD;
}

static void fill_want(const struct slots *slots, struct share *share, uint32_t index,
		      uint64_t wall_ms, uint64_t now_ns, struct store_share_want *want)
{
	const struct tollgate_slot *slot = &slots->list[index];
	struct slot_limits limits;

	slot_read_limits(slot, &limits);
	*want = (struct store_share_want){
		.account = atomic_read_acquire(&slot->account_id),
		.epoch = slots->head->epoch,
		.slot = index,
		.generation = atomic_read_acquire(&slot->generation),
		.seq = ++share->seq,
		.used = atomic_read_acquire(&share->used),
		.paid = atomic_read_acquire(&share->paid),
		.need = atomic_exchange(&share->need, 0),
		.concurrency = limits.concurrency_limit,
		.held = (uint32_t)atomic_read_acquire(&slot->concurrency),
	};
	want_rate(share, want, now_ns);
	want_quota(slot, &limits, share, want, wall_ms);
	if (want->concurrency)
		want->places_want = 2 * want->held + 2;
}

size_t share_collect(struct shares *shares, const struct slots *slots, uint64_t wall_ms,
		     uint64_t now_ns, bool is_last, struct store_share_want *ret_wants, size_t max)
{
	uint32_t at = atomic_exchange(&shares->active, 0), next;
	size_t count = 0;

	for (; at; at = next) {
		struct share *share = &shares->list[at - 1];
		struct store_share_want *want = &ret_wants[count];

		next = share->next;
		atomic_write_release(&share->is_active, false);
		if (!atomic_read_acquire(&share->is_shared) ||
		    !atomic_read_acquire(&slots->list[at - 1].account_id))
			continue;
		if (count == max) {
			share_activate(shares, share, false, now_ns);
			continue;
		}
		fill_want(slots, share, at - 1, wall_ms, now_ns, want);
		share->told_used = want->used;
		share->told_quota = want->quota_used;
		atomic_write_release(&share->told_ns, now_ns);
		if (!share->asking_ns)
			atomic_write_release(&share->asking_ns, now_ns);
		if (is_last)
			want->want = want->quota_want = want->places_want = want->need = 0;
		count++;
	}
	return count;
}

static void reopen(struct tollgate_slot *slot)
{
	if (atomic_read_acquire(&slot->closed_reason) == TOLLGATE_OVER_RATE)
		atomic_write_release(&slot->closed_until_ns, 0);
}

static void apply_one(struct shares *shares, const struct slots *slots,
		      const struct store_share_want *want, const struct store_share_grant *grant,
		      uint64_t asked_ns)
{
	struct tollgate_slot *slot = &slots->list[want->slot];
	struct share *share = &shares->list[want->slot];
	uint64_t lent = grant->paid > want->used ? grant->paid - want->used : 0;

	if (!grant->is_known || atomic_read_acquire(&slot->account_id) != want->account ||
	    atomic_read_acquire(&slot->generation) != want->generation)
		return;
	atomic_write_release(&share->left, grant->left);
	atomic_write_release(&share->places, grant->places);
	atomic_write_release(&share->low, grant->paid - lent / 4);
	atomic_write_release(&share->paid, grant->paid);
	atomic_write_release(&share->dry_until_ns, grant->wait_ns ? asked_ns + grant->wait_ns : 0);
	atomic_write_release(&share->until_ns, asked_ns + SHARE_LEASE_NS);
	atomic_write_release(&share->asking_ns, 0);
	atomic_write_release(&share->is_extended, false);
	if (lent)
		reopen(slot);
	if (want->quota_limit) {
		atomic_write_release(&share->quota_left, grant->quota_left);
		atomic_write_release(&share->quota_cap, WORD(want->quota_period, grant->quota_cap));
		usage_set_others(slot, want->quota_period, grant->quota_others);
	}
	/* Keep reporting while this host has a lease or holds concurrency places. */
	if (lent || want->held || atomic_read_acquire(&share->used) != want->used)
		share_activate(shares, share, false, asked_ns);
}

void share_apply(struct shares *shares, const struct slots *slots,
		 const struct store_share_want *wants, const struct store_share_grant *grants,
		 size_t count, uint64_t asked_ns)
{
	for (size_t i = 0; i < count; i++)
		apply_one(shares, slots, &wants[i], &grants[i], asked_ns);
}

void share_retry(struct shares *shares, const struct store_share_want *wants, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct share *share = &shares->list[wants[i].slot];

		raise_need(share, wants[i].need);
		share_activate(shares, share, false, 0);
	}
}
