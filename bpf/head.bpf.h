/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * Judging a request: its key, its route, and the verdict that the agent would give.
 *
 * Checks come in the agent's order (gate.c). Where XDP knows less than the agent, the request is
 * passed and the counter says why.
 */
#ifndef HEAD_BPF_H
#define HEAD_BPF_H

#include "maps.bpf.h"
#include "tollgate/bucket.h"
#include "tollgate/keyscan.h"
#include "tollgate/path.h"
#include "tollgate/verdict.h"
#include "translate.bpf.h"

#define SECOND_NS 1000000000ULL
/* See gate.c: the agent forgives debt this far over the limit. */
#define CLOCKS_APART_NS SECOND_NS

enum credit { CREDIT_NONE, CREDIT_SOME, CREDIT_BUSY };

static __always_inline bool limits_changed(const struct tollgate_slot *slot, __u32 seq)
{
	return seq & 1 || READ_ONCE(slot->limits_seq) != seq;
}

/*
 * Whether the agent would allow a request of cost 1 now. CREDIT_BUSY: the limits were being
 * written, so the values read may not belong together (limits_seq is a seqlock).
 */
static __always_inline enum credit slot_credit(const struct tollgate_slot *slot, __u64 now_ns)
{
	__u32 seq = READ_ONCE(slot->limits_seq);
	__u64 interval_ns = READ_ONCE(slot->interval_ns);
	__u64 limit_ns = READ_ONCE(slot->limit_ns);
	__u64 tat_ns = READ_ONCE(slot->tat_ns);

	if (limits_changed(slot, seq))
		return CREDIT_BUSY;
	if (!interval_ns || !tollgate_bucket_wait(tat_ns, limit_ns, interval_ns, now_ns))
		return CREDIT_SOME;
	return CREDIT_NONE;
}

static __always_inline __u32 seconds_up(__u64 ns)
{
	if (ns <= SECOND_NS)
		return 1;
	ns = (ns + SECOND_NS - 1) / SECOND_NS;
	return ns > 999999999 ? 999999999 : ns;
}

static __always_inline __u32 digits_of(__u32 seconds)
{
	__u32 digits = 1;

	for (__u32 bound = 10; digits < TOLLGATE_DIGITS_MAX && seconds >= bound; bound *= 10)
		digits++;
	return digits;
}

static __always_inline struct ruling passes(enum tollgate_counter why)
{
	return (struct ruling){ .counter = why, .slot = TOLLGATE_NO_SLOT };
}

/* The refusal of this @kind for the slot's tier, with the seconds to wait. */
static __always_inline struct ruling refuses(const struct tollgate_slot *slot, __u32 kind,
					     __u64 wait_ns)
{
	__u32 set = READ_ONCE(slot->answers);
	struct ruling r = { .seconds = seconds_up(wait_ns) };

	if (set == TOLLGATE_NO_ANSWERS)
		return passes(TOLLGATE_COUNTER_PASS_LIMITS);
	r.template_index = set * TOLLGATE_TEMPLATE_SET + kind + digits_of(r.seconds) - 1;
	r.counter = kind == TOLLGATE_TEMPLATE_RATE ? TOLLGATE_COUNTER_ANSWER_RATE
						   : TOLLGATE_COUNTER_ANSWER_QUOTA;
	r.verdict = kind == TOLLGATE_TEMPLATE_RATE ? TOLLGATE_OVER_RATE : TOLLGATE_OVER_QUOTA;
	return r;
}

static __always_inline struct ruling judge_rate(const struct tollgate_slot *slot, __u32 cost,
						__u64 now_ns)
{
	__u64 interval_ns = READ_ONCE(slot->interval_ns), limit_ns = READ_ONCE(slot->limit_ns);
	__u64 tat_ns = READ_ONCE(slot->tat_ns), charge_ns = cost * interval_ns;

	if (!interval_ns || !tollgate_bucket_wait(tat_ns, limit_ns, interval_ns, now_ns))
		return passes(TOLLGATE_COUNTER_PASS_CREDIT);
	if (charge_ns > limit_ns ||
	    tollgate_bucket_debt(tat_ns, now_ns) > limit_ns + CLOCKS_APART_NS)
		return passes(TOLLGATE_COUNTER_PASS_LIMITS);
	return refuses(slot, TOLLGATE_TEMPLATE_RATE,
		       tollgate_bucket_wait(tat_ns, limit_ns, charge_ns, now_ns));
}

/*
 * When the quota is used up, the agent closes the slot for one second at a time. If the slot is not
 * closed, XDP passes the request even if the quota looks used up: only the agent knows whether a
 * new period has begun.
 */
static __always_inline struct ruling judge_limits(const struct tollgate_slot *slot, __u32 cost,
						  __u64 now_ns)
{
	__u64 quota = READ_ONCE(slot->quota_limit);
	__u64 used = READ_ONCE(slot->quota_word) & TOLLGATE_QUOTA_MAX;
	__u32 state = READ_ONCE(slot->state);

	if (state == TOLLGATE_SLOT_INACTIVE)
		return (struct ruling){ .counter = TOLLGATE_COUNTER_ANSWER_INACTIVE,
					.verdict = TOLLGATE_INACTIVE,
					.template_index = TOLLGATE_TEMPLATE_INACTIVE };
	if (state != TOLLGATE_SLOT_OPEN)
		return passes(TOLLGATE_COUNTER_PASS_LIMITS);
	if (quota && used + cost > quota) {
		__u64 end_ns = READ_ONCE(slot->closed_end_ns);

		if (used < quota || READ_ONCE(slot->closed_until_ns) <= now_ns ||
		    READ_ONCE(slot->closed_reason) != TOLLGATE_OVER_QUOTA)
			return passes(TOLLGATE_COUNTER_PASS_LIMITS);
		return refuses(slot, TOLLGATE_TEMPLATE_QUOTA,
			       end_ns > now_ns ? end_ns - now_ns : 0);
	}
	/* A rate shared by several hosts has no bucket here; the agent closes the slot instead. */
	if (READ_ONCE(slot->closed_until_ns) > now_ns &&
	    READ_ONCE(slot->closed_reason) == TOLLGATE_OVER_RATE) {
		__u64 end_ns = READ_ONCE(slot->closed_end_ns);

		return refuses(slot, TOLLGATE_TEMPLATE_RATE, end_ns > now_ns ? end_ns - now_ns : 0);
	}
	return judge_rate(slot, cost, now_ns);
}

static __always_inline struct ruling judge_account(const struct tollgate_known_key *known,
						   __u32 cost, __u64 now_ns)
{
	__u32 index = known->slot, seq;
	struct tollgate_slot *slot = bpf_map_lookup_elem(&slots, &index);
	struct ruling r;

	if (!slot || READ_ONCE(slot->generation) != known->generation)
		return passes(TOLLGATE_COUNTER_PASS_KEY);
	if (known->is_revoked)
		return (struct ruling){ .counter = TOLLGATE_COUNTER_ANSWER_REVOKED,
					.verdict = TOLLGATE_REVOKED_KEY,
					.template_index = TOLLGATE_TEMPLATE_REVOKED,
					.slot = TOLLGATE_NO_SLOT };
	seq = READ_ONCE(slot->limits_seq);
	r = judge_limits(slot, cost, now_ns);
	if (limits_changed(slot, seq))
		return passes(TOLLGATE_COUNTER_PASS_BUSY);
	r.slot = index;
	return r;
}

/* The cost of a request for this path. 0: pass it to the agent. */
static __always_inline __u32 route_cost(const struct tollgate_settings *set,
					const struct scratch *scratch, __u32 path_at,
					__u32 path_len)
{
	__u32 at = READ_ONCE(set->routes_at), start = path_at & (TOLLGATE_SCAN_ROOM - 1);
	const struct tollgate_routes *routes_now = bpf_map_lookup_elem(&routes, &at);
	__u64 path[TOLLGATE_ROUTE_WORDS];

	if (!routes_now || start > TOLLGATE_SCAN_ROOM - sizeof(path))
		return 0;
	__builtin_memcpy(path, scratch->head + start, sizeof(path));
	for (__u32 i = 0; i < TOLLGATE_ROUTES; i++) {
		const struct tollgate_route *route = &routes_now->list[i];
		__u32 len = route->len;

		if (i >= routes_now->count)
			return 0;
		if (((path[0] ^ route->word[0]) & route->mask[0]) ||
		    ((path[1] ^ route->word[1]) & route->mask[1]) ||
		    ((path[2] ^ route->word[2]) & route->mask[2]) ||
		    ((path[3] ^ route->word[3]) & route->mask[3]))
			continue;
		if (len > path_len)
			continue;
		if (route->cost == TOLLGATE_ROUTE_CUT)
			return 0;
		if (len < path_len &&
		    !tollgate_path_ends_segment(
			    ((const char *)route->word)[(len - 1) & 31],
			    scratch->head[(start + len) & (TOLLGATE_SCAN_ROOM - 1)]))
			continue;
		return route->cost;
	}
	return 0;
}

static __always_inline struct ruling judge_head(const struct tollgate_settings *set,
						struct scratch *scratch, __u32 len)
{
	struct tollgate_scan *scan = &scratch->scan;
	const struct tollgate_known_key *known;
	struct tollgate_fingerprint print;
	__u64 secret[2] = { set->fingerprint[0], set->fingerprint[1] };
	__u32 cost;

	if (tollgate_scan_head(scan, scratch->head, len) != TOLLGATE_SCAN_KEY)
		return passes(TOLLGATE_COUNTER_PASS_HEAD);
	if (scan->head_len + scan->content_length != len)
		return passes(TOLLGATE_COUNTER_PASS_HEAD);
	cost = route_cost(set, scratch, scan->path_at, scan->path_len);
	if (!cost)
		return passes(TOLLGATE_COUNTER_PASS_ROUTE);
	if (tollgate_fingerprint(secret, scratch->head, scan->key_at, scan->key_len, print.hash))
		return passes(TOLLGATE_COUNTER_PASS_KEY);
	known = bpf_map_lookup_elem(&fingerprints, &print);
	if (!known)
		return passes(TOLLGATE_COUNTER_PASS_KEY);
	return judge_account(known, cost, scratch->now_ns);
}

/* Set scratch->ruling for the request of @len bytes in scratch->head. */
__noinline int judge_request(struct scratch *scratch, __u32 len)
{
	const struct tollgate_settings *set = find_settings();

	if (!scratch || !set)
		return 0;
	scratch->ruling = judge_head(set, scratch, len);
	return 0;
}

#endif
