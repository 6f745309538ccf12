// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/*
 * The key scan alone, as XDP programs. The bytes after the Ethernet header are a request's head.
 *
 * Each program does one step more than the one before, so the difference of their times is the cost
 * of that step. The last one also reports what it found.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_helpers.h>

#include "tollgate/keyscan.h"

#define HEAD_MAX 1460

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct scratch {
	struct tollgate_scan scan;
	__u8 room[TOLLGATE_SCAN_ROOM_SIZE];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

enum step { COPY, SCAN, FINGERPRINT, TELL };

__u64 secret[2];
struct tollgate_scan found;
__u64 found_hash[2];
__u32 found_result;

static __always_inline int run(struct xdp_md *ctx, enum step last)
{
	__u32 zero = 0, len = ctx->data_end - ctx->data - ETH_HLEN;
	struct scratch *s = bpf_map_lookup_elem(&scratches, &zero);
	enum tollgate_scan_result result;
	__u64 hash[2] = { 0 };

	if (!s || !len || len > HEAD_MAX)
		return XDP_ABORTED;
	/* Linux 6.1's verifier does not learn from a comparison that a length is not 0. */
	len--;
	asm volatile("" : "+r"(len));
	len = (len & (TOLLGATE_SCAN_ROOM - 1)) + 1;
	if (bpf_xdp_load_bytes(ctx, ETH_HLEN, s->room, len))
		return XDP_ABORTED;
	if (last == COPY)
		return XDP_PASS;
	result = tollgate_scan_head(&s->scan, s->room, len);
	if (last == SCAN)
		return result == TOLLGATE_SCAN_KEY ? XDP_DROP : XDP_PASS;
	if (result == TOLLGATE_SCAN_KEY &&
	    tollgate_fingerprint(secret, s->room, s->scan.key_at, s->scan.key_len, hash))
		return XDP_ABORTED;
	if (last == FINGERPRINT)
		return hash[0] & hash[1] & 1 ? XDP_DROP : XDP_PASS;
	found = s->scan;
	found_hash[0] = hash[0];
	found_hash[1] = hash[1];
	found_result = result;
	return XDP_PASS;
}

SEC("xdp")
int copy(struct xdp_md *ctx)
{
	return run(ctx, COPY);
}

SEC("xdp")
int scan(struct xdp_md *ctx)
{
	return run(ctx, SCAN);
}

SEC("xdp")
int fingerprint(struct xdp_md *ctx)
{
	return run(ctx, FINGERPRINT);
}

SEC("xdp")
int tell(struct xdp_md *ctx)
{
	return run(ctx, TELL);
}
