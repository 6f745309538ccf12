// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/*
 * An XDP program that passes everything.
 *
 * The peer of a veth pair needs an XDP program, or the kernel silently loses what XDP_TX sends to
 * it. Benchmarks use this program as the baseline.
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
