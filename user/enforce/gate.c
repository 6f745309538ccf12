/* SPDX-License-Identifier: BSD-2-Clause */
/* gate: the verdict on one request, from memory alone. */
#include "enforce/gate.h"

#include "base/atomic.h"
#include "base/clock.h"
#include "enforce/key.h"
#include "enforce/share.h"
#include "enforce/usage.h"
#include "tollgate/bucket.h"

#define CLOCKS_APART_NS NS_PER_SECOND
#define CLOSED_NS	NS_PER_SECOND

uint64_t gate_bucket_charge(struct tollgate_slot *slot, uint64_t limit_ns, uint64_t charge_ns,
			    uint64_t now_ns)
{
	__u64 tat_ns = atomic_read_acquire(&slot->tat_ns);
	uint64_t wait_ns;

	do {
		wait_ns = tollgate_bucket_wait(tat_ns, limit_ns, charge_ns, now_ns);
		if (wait_ns)
			return wait_ns;
	} while (!atomic_compare_exchange(&slot->tat_ns, &tat_ns,
					  tollgate_bucket_charged(tat_ns, charge_ns, now_ns)));
	return 0;
}

uint32_t gate_note_refusal(struct tollgate_slot *slot, uint64_t now_ns)
{
	uint64_t second = now_ns / NS_PER_SECOND, fresh;
	__u64 word = atomic_read_acquire(&slot->refused_window);

	do {
		fresh = (word >> 32) == (second & 0xffffffff) ? word + 1 : second << 32 | 1;
	} while (!atomic_compare_exchange(&slot->refused_window, &word, fresh));
	return (uint32_t)fresh;
}

static bool concurrency_take(struct tollgate_slot *slot, uint32_t limit)
{
	__u64 held = atomic_read_acquire(&slot->concurrency);

	do {
		if (limit && held >= limit)
			return false;
	} while (!atomic_compare_exchange(&slot->concurrency, &held, held + 1));
	return true;
}

/*
 * The count stops at 0. It is reset when slots are adopted, and requests of an older agent may
 * still end after that.
 */
static void concurrency_give_back(struct tollgate_slot *slot)
{
	__u64 held = atomic_read_acquire(&slot->concurrency);

	while (held && !atomic_compare_exchange(&slot->concurrency, &held, held - 1))
		;
}

/*
 * Find the account that sent the request: ALLOW with its slot and generation, or why there is none.
 */
static enum tollgate_verdict find_account(const struct gate *gate,
					  const struct gate_request *request,
					  struct gate_result *result)
{
	uint8_t *hash = result->key_hash;
	struct mirror_key key;

	if (!request->key.ptr)
		return TOLLGATE_NO_KEY;
	if (!key_is_plausible(gate->key_prefix, request->key))
		return TOLLGATE_BAD_KEY;
	if (!atomic_read_acquire(&gate->is_loaded))
		return TOLLGATE_UNAVAILABLE;
	crypto_hmac_sha256(gate->pepper, request->key.ptr, request->key.len, hash);
	if (!mirror_find(gate->mirror, hash, &key))
		return atomic_read(&gate->is_current) ? TOLLGATE_UNKNOWN_KEY : TOLLGATE_UNAVAILABLE;
	if (key.revoked_ms && key.revoked_ms <= request->wall_ms)
		return TOLLGATE_REVOKED_KEY;
	if (atomic_read(&gate->is_refusing))
		return TOLLGATE_UNAVAILABLE;
	result->slot = key.slot;
	result->generation = key.generation;
	result->has_account = true;
	return TOLLGATE_ALLOW;
}

static struct tollgate_slot *slot_of(const struct gate *gate, const struct gate_result *result)
{
	return &gate->slots->list[result->slot];
}

/* Note what is left of the quota. Returns whether the request's cost fits in it. */
static bool quota_fits(const struct tollgate_slot *slot, const struct gate_request *request,
		       struct gate_result *result, uint32_t period, uint64_t end_ms)
{
	const struct slot_limits *limits = &result->limits;
	uint64_t used;

	if (!limits->quota_limit)
		return true;
	used = usage_quota_used(atomic_read_acquire(&slot->quota_word), period);
	result->quota_left = used < limits->quota_limit ? limits->quota_limit - used : 0;
	result->quota_more_ms = end_ms > request->wall_ms ? end_ms - request->wall_ms : 0;
	return request->cost <= result->quota_left;
}

/*
 * Read the bucket's word. A debt beyond the limit was charged by a worker that still used the
 * limits from before a change. The excess is forgiven, or it could lock the account out for as long
 * as the old limits allow. A small excess is normal, since workers read the clock at different
 * moments.
 */
static uint64_t read_bucket(struct tollgate_slot *slot, uint64_t limit_ns, uint64_t now_ns)
{
	__u64 tat_ns = atomic_read_acquire(&slot->tat_ns);
	uint64_t fresh_ns = now_ns + limit_ns;

	if (tollgate_bucket_debt(tat_ns, now_ns) <= limit_ns + CLOCKS_APART_NS)
		return tat_ns;
	if (atomic_compare_exchange(&slot->tat_ns, &tat_ns, fresh_ns))
		return fresh_ns;
	return tat_ns;
}

/* Describe what is left in the bucket, for the response's headers. */
static void describe_rate(struct gate_result *result, uint64_t tat_ns, uint64_t now_ns)
{
	const struct slot_limits *limits = &result->limits;
	uint64_t debt_ns, free_ns;

	if (!limits->interval_ns)
		return;
	debt_ns = tollgate_bucket_debt(tat_ns, now_ns);
	free_ns = debt_ns < limits->limit_ns ? limits->limit_ns - debt_ns : 0;
	result->rate_left = free_ns / limits->interval_ns;
	result->rate_more_ns =
		debt_ns ? (result->rate_left + 1) * limits->interval_ns - free_ns : 0;
	if (debt_ns > limits->limit_ns)
		result->rate_more_ns += debt_ns - limits->limit_ns;
}

/* The same for a bucket that all hosts share. */
static void describe_share(const struct gate *gate, struct gate_result *result, uint64_t now_ns)
{
	const struct slot_limits *limits = &result->limits;
	uint64_t burst;

	if (!limits->interval_ns)
		return;
	burst = limits->limit_ns / limits->interval_ns;
	result->rate_left = share_left(gate->shares, result->share, now_ns);
	if (result->rate_left > burst)
		result->rate_left = burst;
	result->rate_more_ns = result->rate_left < burst ? limits->interval_ns : 0;
}

/*
 * Describe what is left of the rate, and return how long until @request fits in it; 0 if it does.
 */
static uint64_t rate_wait(const struct gate *gate, struct tollgate_slot *slot,
			  const struct gate_request *request, struct gate_result *result)
{
	const struct slot_limits *limits = &result->limits;
	uint64_t charge_ns = request->cost * limits->interval_ns, tat_ns;

	if (result->share) {
		describe_share(gate, result, request->now_ns);
		return share_peek(gate->shares, result->share, request->cost, request->now_ns);
	}
	tat_ns = read_bucket(slot, limits->limit_ns, request->now_ns);
	describe_rate(result, tat_ns, request->now_ns);
	/* A request without cost, or without a rate limit, passes whatever the bucket holds. */
	return charge_ns
		       ? tollgate_bucket_wait(tat_ns, limits->limit_ns, charge_ns, request->now_ns)
		       : 0;
}

static uint64_t charge_rate(const struct gate *gate, struct tollgate_slot *slot,
			    const struct gate_request *request, struct gate_result *result)
{
	const struct slot_limits *limits = &result->limits;
	uint64_t charge_ns = request->cost * limits->interval_ns;

	if (result->share)
		return share_take(gate->shares, result->share, request->cost, request->now_ns);
	return charge_ns ? gate_bucket_charge(slot, limits->limit_ns, charge_ns, request->now_ns)
			 : 0;
}

static void refund_rate(struct tollgate_slot *slot, const struct gate_request *request,
			const struct gate_result *result)
{
	if (result->share)
		share_give_back(result->share, request->cost);
	else
		atomic_sub_return(&slot->tat_ns, request->cost * result->limits.interval_ns);
}

/* Up to which total of all hosts this host may charge the quota now. */
static uint64_t quota_ceiling(const struct gate *gate, const struct tollgate_slot *slot,
			      const struct gate_result *result, uint32_t period, uint64_t now_ns)
{
	uint64_t limit = result->limits.quota_limit, used, own, cap;

	if (!result->share)
		return limit;
	used = usage_quota_used(atomic_read_acquire(&slot->quota_word), period);
	own = usage_quota_own(slot, period);
	cap = share_quota_cap(gate->shares, result->share, period, own,
			      used < limit ? limit - used : 0, now_ns) +
	      (used - own);
	return cap < limit ? cap : limit;
}

/*
 * Charge the bucket and the quota. Another worker may have taken the last credit since the checks,
 * so both can still refuse. If the quota refuses, the bucket gets its credit back.
 */
static enum tollgate_verdict charge(const struct gate *gate, struct tollgate_slot *slot,
				    const struct gate_request *request, struct gate_result *result,
				    uint32_t period)
{
	const struct slot_limits *limits = &result->limits;

	result->wait_ns = charge_rate(gate, slot, request, result);
	if (result->wait_ns)
		return TOLLGATE_OVER_RATE;
	if (!limits->quota_limit)
		return TOLLGATE_ALLOW;
	if (usage_quota_charge(slot, period, request->cost,
			       quota_ceiling(gate, slot, result, period, request->now_ns))) {
		result->quota_left -= request->cost;
		return TOLLGATE_ALLOW;
	}
	refund_rate(slot, request, result);
	if (result->share && result->quota_left >= request->cost) {
		/* Some of the quota is left, but not leased to this host yet. */
		share_activate(gate->shares, result->share, true, request->now_ns);
		result->wait_ns = NS_PER_MS;
		return TOLLGATE_OVER_RATE;
	}
	result->quota_left = 0;
	result->wait_ns = result->quota_more_ms * NS_PER_MS;
	return TOLLGATE_OVER_QUOTA;
}

static bool take_place(const struct gate *gate, struct tollgate_slot *slot,
		       const struct gate_request *request, const struct gate_result *result)
{
	uint32_t limit = result->limits.concurrency_limit;

	if (!result->share || !limit)
		return concurrency_take(slot, limit);
	if (atomic_read_acquire(&slot->concurrency) <
		    share_places(gate->shares, result->share, limit, request->now_ns) &&
	    concurrency_take(slot, limit))
		return true;
	share_activate(gate->shares, result->share, true, request->now_ns);
	return false;
}

static enum tollgate_verdict check_limits(const struct gate *gate, struct tollgate_slot *slot,
					  const struct gate_request *request,
					  struct gate_result *result)
{
	const struct slot_limits *limits = &result->limits;
	uint64_t period_end_ms;
	uint32_t period = usage_quota_period(limits->quota_period, limits->quota_span,
					     request->wall_ms, &period_end_ms);
	enum tollgate_verdict verdict;

	if (limits->state != TOLLGATE_SLOT_OPEN)
		return TOLLGATE_INACTIVE;
	result->wait_ns = rate_wait(gate, slot, request, result);
	if (!quota_fits(slot, request, result, period, period_end_ms)) {
		result->wait_ns = result->quota_more_ms * NS_PER_MS;
		return TOLLGATE_OVER_QUOTA;
	}
	if (result->wait_ns) {
		/* The next exchange asks for enough for this request, so a retry may pass. */
		if (result->share)
			share_want_more(gate->shares, result->share, request->cost,
					request->now_ns);
		return TOLLGATE_OVER_RATE;
	}
	if (request->feature >= 0 && !(limits->features & 1ULL << request->feature))
		return TOLLGATE_NO_FEATURE;
	if (!take_place(gate, slot, request, result))
		return TOLLGATE_OVER_CONCURRENCY;
	verdict = charge(gate, slot, request, result, period);
	if (verdict != TOLLGATE_ALLOW)
		concurrency_give_back(slot);
	/* Others may have charged meanwhile; never report more than what is left. */
	if (result->share)
		describe_share(gate, result, request->now_ns);
	else
		describe_rate(result, atomic_read_acquire(&slot->tat_ns), request->now_ns);
	return verdict;
}

/*
 * Let XDP refuse in the agent's place: the quota is used up, or both the lease of a shared rate and
 * the store are empty. For at most a second, because XDP does not know wall time, periods or
 * leases; then the agent decides again. If the limits changed meanwhile (@seq), or a new lease
 * came, undo it.
 */
static void close_slot(struct tollgate_slot *slot, const struct gate_request *request,
		       const struct gate_result *result, uint32_t seq)
{
	uint64_t left_ns = result->wait_ns;
	uint64_t until_ns = request->now_ns + (left_ns < CLOSED_NS ? left_ns : CLOSED_NS);

	atomic_write(&slot->closed_reason, result->verdict);
	atomic_write(&slot->closed_end_ns, request->now_ns + left_ns);
	atomic_write_seq_cst(&slot->closed_until_ns, until_ns);
	if (seq & 1 || atomic_read_seq_cst(&slot->limits_seq) != seq ||
	    (result->share && result->verdict == TOLLGATE_OVER_RATE &&
	     !share_is_dry(result->share, request->now_ns)))
		atomic_write_release(&slot->closed_until_ns, 0);
}

static bool is_closed(const struct gate_request *request, const struct gate_result *result)
{
	if (result->verdict == TOLLGATE_OVER_QUOTA)
		return !result->quota_left;
	return result->verdict == TOLLGATE_OVER_RATE && result->share &&
	       share_is_dry(result->share, request->now_ns);
}

void gate_check(const struct gate *gate, const struct gate_request *request,
		struct gate_result *ret_result)
{
	struct tollgate_slot *slot;
	uint32_t seq;

	*ret_result = (struct gate_result){ .slot = TOLLGATE_NO_SLOT, .cost = request->cost };
	ret_result->verdict = find_account(gate, request, ret_result);
	if (ret_result->verdict != TOLLGATE_ALLOW)
		return;
	slot = slot_of(gate, ret_result);
	ret_result->account_id = atomic_read_acquire(&slot->account_id);
	seq = atomic_read_acquire(&slot->limits_seq);
	slot_read_limits(slot, &ret_result->limits);
	ret_result->share = share_of(gate->shares, ret_result->slot);
	if (ret_result->share) {
		ret_result->limits.interval_ns =
			atomic_read_acquire(&ret_result->share->interval_ns);
		ret_result->limits.limit_ns = atomic_read_acquire(&ret_result->share->limit_ns);
	}
	ret_result->verdict = check_limits(gate, slot, request, ret_result);
	if (is_closed(request, ret_result))
		close_slot(slot, request, ret_result, seq);
	if (ret_result->verdict != TOLLGATE_ALLOW)
		atomic_add(&slot->refused, 1);
}

void gate_release(const struct gate *gate, const struct gate_result *result)
{
	struct tollgate_slot *slot = slot_of(gate, result);

	if (atomic_read_acquire(&slot->generation) == result->generation)
		concurrency_give_back(slot);
}

void gate_count(const struct gate *gate, const struct gate_result *result, struct clock_wall now)
{
	struct tollgate_slot *slot = slot_of(gate, result);

	if (atomic_read_acquire(&slot->generation) == result->generation)
		usage_count(gate->slots, slot, result->cost, now);
}
