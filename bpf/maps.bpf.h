/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The maps of the fast path, counting, and events.
 *
 * Where max_entries is 1, the agent sets the real size before loading, except for `settings`. abi.h
 * says who writes which record.
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
 * Whether @length is from 1 to @max, in a form that the verifier understands when @length is passed
 * to a helper. It learns the lower bound from the addition, not from a comparison with 0. The asm
 * hides from the compiler that n + 1 is the old value.
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

/*
 * The heartbeat comes every second. Without an agent nobody would lift a penalty, so none applies.
 */
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
 * Whether to send an event for this refusal: on average for one in `event_every`. The mixed bits of
 * the clock decide, since a random number would cost a helper call each time.
 */
static __always_inline bool is_sampled(__u64 now_ns)
{
	const struct tollgate_settings *set = find_settings();
	__u64 mixed = (__u32)now_ns * 0x9e3779b1u, every = set ? READ_ONCE(set->event_every) : 0;

	return every && !(mixed * every >> 32);
}

/* The agent polls the ring buffer, so do not wake it up. */
static __always_inline void send_event(const struct tollgate_event *event)
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
