// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/*
 * An XDP program that passes everything.
 *
 * The peer of a veth pair needs one, or what XDP sends back is lost without a trace; and it is the
 * zero that benchmarks are measured against.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}
