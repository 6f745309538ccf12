/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The maps of the fast path, and what each packet may do to them: count, and tell of a refusal.
 *
 * Sizes marked 1 are set by the agent before loading. Who writes which record is said in abi.h.
 */
#ifndef MAPS_BPF_H
#define MAPS_BPF_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "tollgate/abi.h"

#define READ_ONCE(x)	     (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile typeof(x) *)&(x) = (value))

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tollgate_settings);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tollgate_slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tollgate_conn);
} conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct tollgate_flow_key);
	__type(value, struct tollgate_flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, TOLLGATE_HINTS);
	__type(key, __u32);
	__type(value, __u64);
} hints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct tollgate_fingerprint);
	__type(value, struct tollgate_known_key);
} fingerprints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tollgate_template);
} templates SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct tollgate_routes);
} routes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct tollgate_source_key);
	__type(value, struct tollgate_source);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct tollgate_listener_key);
	__type(value, __u32);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TOLLGATE_COUNTER_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

/*
 * A length for a helper: at least 1, at most @max. The verifier learns the least one from a sum, not
 * from a comparison with 0; and the compiler must not know that it is the number from before.
 */
static __always_inline bool is_length(__u32 *length, __u32 max)
{
	__u32 n = *length - 1;

	asm volatile("" : "+r"(n));
	if (n >= max)
		return false;
	*length = n + 1;
	return true;
}

static __always_inline struct tollgate_settings *find_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

static __always_inline void count(enum tollgate_counter counter)
{
	__u32 key = counter;
	__u64 *value = bpf_map_lookup_elem(&counters, &key);

	if (value)
		++*value;
}

static __always_inline int pass(enum tollgate_counter why)
{
	count(why);
	return XDP_PASS;
}

/* The agent beats every second. Without an agent nobody lifts a penalty, so none holds. */
static __always_inline bool agent_is_gone(__u64 now_ns)
{
	const struct tollgate_settings *set = find_settings();
	__u64 heartbeat_ns;

	if (!set)
		return true;
	heartbeat_ns = READ_ONCE(set->heartbeat_ns);

	return now_ns > heartbeat_ns && now_ns - heartbeat_ns > READ_ONCE(set->stale_after_ns);
}

/*
 * Whether the agent is told of this refusal: of one in `event_every`. Which ones the clock decides, in
 * nanoseconds and mixed; a random number would cost a call for each.
 */
static __always_inline bool is_told(__u64 now_ns)
{
	const struct tollgate_settings *set = find_settings();
	__u64 mixed = (__u32)now_ns * 0x9e3779b1u, every = set ? READ_ONCE(set->event_every) : 0;

	return every && !(mixed * every >> 32);
}

/* It polls, so nobody is woken up. */
static __always_inline void tell(const struct tollgate_event *event)
{
	struct tollgate_event *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);

	if (!record) {
		count(TOLLGATE_COUNTER_EVENT_LOST);
		return;
	}
	*record = *event;
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
}

#endif
