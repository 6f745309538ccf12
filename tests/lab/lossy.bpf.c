/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A lossy line, on the client's end of the lab's veth pair: TCP segments are lost, repeated and
 * delayed at random, in both directions.
 *
 *   veth0 egress   `outbound`    what the client sends
 *   veth0 ingress  `inbound`     what the edge sends, including answers of its XDP program
 *   hold0 ingress  `released`    delayed frames, on their way to the client
 *
 * A program cannot hold a packet back. So delayed frames are sent to hold0, and lossy.py reads them
 * from its other end. The mark says that a frame's fate has been decided.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>

#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define FATED 1 /* the mark; SO_MARK in lossy.py */

enum direction { OUTBOUND, INBOUND };
enum fate { PASSED, LOST, REPEATED, REPEATED_LATE, LATE, FATES };

/* Written before the programs are attached. Chances are out of 65536. */
struct line {
	__u64 seed;
	__u32 chance[FATES]; /* unused for PASSED, which gets the rest */
	__u32 veth, hold;    /* interfaces */
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct line);
} lines SEC(".maps");

/* How many segments had which fate: FATES elements for each direction. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * FATES);
	__type(key, __u32);
	__type(value, __u64);
} fates SEC(".maps");

/*
 * Segments so far in each direction. With the same seed, the n-th has the same fate in every run.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} turns SEC(".maps");

static __always_inline __u64 mix(__u64 x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static __always_inline bool is_tcp(struct __sk_buff *skb)
{
	bool is_ip6 = skb->protocol == bpf_htons(ETH_P_IPV6);
	__u8 protocol;

	if (!is_ip6 && skb->protocol != bpf_htons(ETH_P_IP))
		return false;
	return !bpf_skb_load_bytes(skb, ETH_HLEN + (is_ip6 ? 6 : 9), &protocol, 1) &&
	       protocol == IPPROTO_TCP;
}

static __always_inline enum fate draw(const struct line *line, __u32 direction)
{
	__u64 *turn = bpf_map_lookup_elem(&turns, &direction);
	__u32 number, fate;

	if (!turn)
		return PASSED;
	number = mix(line->seed + direction + (__sync_fetch_and_add(turn, 1) << 1)) & 0xffff;
	for (fate = LOST; fate < FATES; fate++) {
		if (number < line->chance[fate])
			return fate;
		number -= line->chance[fate];
	}
	return PASSED;
}

static __always_inline void note(__u32 direction, enum fate fate)
{
	__u32 index = direction * FATES + fate;
	__u64 *count = bpf_map_lookup_elem(&fates, &index);

	if (count)
		__sync_fetch_and_add(count, 1);
}

static __always_inline int decide(struct __sk_buff *skb, __u32 direction)
{
	__u32 zero = 0;
	const struct line *line = bpf_map_lookup_elem(&lines, &zero);
	enum fate fate;

	if (!line || skb->mark == FATED || !is_tcp(skb))
		return TC_ACT_OK;
	skb->mark = FATED;
	fate = draw(line, direction);
	note(direction, fate);
	switch (fate) {
	case LOST:
		return TC_ACT_SHOT;
	case LATE:
		return bpf_redirect(line->hold, 0);
	case REPEATED:
		bpf_clone_redirect(skb, line->veth, direction == INBOUND ? BPF_F_INGRESS : 0);
		return TC_ACT_OK;
	case REPEATED_LATE:
		bpf_clone_redirect(skb, line->hold, 0);
		return TC_ACT_OK;
	default:
		return TC_ACT_OK;
	}
}

SEC("tc")
int outbound(struct __sk_buff *skb)
{
	return decide(skb, OUTBOUND);
}

SEC("tc")
int inbound(struct __sk_buff *skb)
{
	return decide(skb, INBOUND);
}

SEC("tc")
int released(struct __sk_buff *skb)
{
	__u32 zero = 0;
	const struct line *line = bpf_map_lookup_elem(&lines, &zero);

	if (!line || !is_tcp(skb))
		return TC_ACT_SHOT;
	skb->mark = FATED;
	return bpf_redirect(line->veth, BPF_F_INGRESS);
}
