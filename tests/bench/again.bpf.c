// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/*
 * The `edge` program for running in a loop: after each run it restores the frame and the
 * connection's record, so that an answer in place can be repeated. The cost of restoring is
 * measured separately and subtracted.
 */
#include "edge.bpf.c"

#define FRAME_MAX 512

__u8 frame_before[FRAME_MAX];
__u32 frame_len;
struct tollgate_conn conn_before;
__u32 conn_index;

static __always_inline int restore(struct xdp_md *ctx)
{
	__u32 index = conn_index, len = frame_len;
	struct tollgate_conn *conn = bpf_map_lookup_elem(&conns, &index);
	long grown = (long)ctx->data_end - (long)ctx->data;

	/* Otherwise clang subtracts in 32 bits, which the verifier does not allow for pointers. */
	asm volatile("" : "+r"(grown));
	grown -= len;
	/* Undo resize() of answer.bpf.h. */
	if (grown > 0)
		bpf_xdp_adjust_head(ctx, grown);
	else if (grown < 0)
		bpf_xdp_adjust_tail(ctx, -grown);
	if (!conn || !is_length(&len, FRAME_MAX))
		return XDP_ABORTED;
	*conn = conn_before;
	return bpf_xdp_store_bytes(ctx, 0, frame_before, len) ? XDP_ABORTED : XDP_PASS;
}

SEC("xdp")
int edge_again(struct xdp_md *ctx)
{
	int verdict = on_frame(ctx, true);

	return restore(ctx) == XDP_ABORTED ? XDP_ABORTED : verdict;
}

SEC("xdp")
int restore_alone(struct xdp_md *ctx)
{
	return restore(ctx);
}
