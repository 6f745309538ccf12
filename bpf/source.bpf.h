/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * New connections: a SYN is refused while its source is in penalty, and only where we listen.
 */
#ifndef SOURCE_BPF_H
#define SOURCE_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "tollgate/verdict.h"

static __always_inline bool listener_has(const struct tollgate_flow_key *flow, __u32 ifindex)
{
	struct tollgate_listener_key key = { .port_be16 = flow->local_port_be16,
					     .ifindex = ifindex };

	if (bpf_map_lookup_elem(&listeners, &key))
		return true;
	__builtin_memcpy(key.local_be32, flow->local_be32, sizeof(key.local_be32));
	return bpf_map_lookup_elem(&listeners, &key);
}

static __always_inline __u64 source_drop_until_ns(const struct segment *s,
						  const struct tollgate_flow_key *flow)
{
	struct tollgate_source_key key;
	struct tollgate_source *source;

	__builtin_memcpy(&key, flow->client_be32, sizeof(key));
	if (s->is_ip6)
		key.addr_be32[2] = key.addr_be32[3] = 0;
	source = bpf_map_lookup_elem(&sources, &key);
	return source ? READ_ONCE(source->drop_until_ns) : 0;
}

static __always_inline int judge_syn(const struct xdp_md *ctx, const struct segment *s,
				     const struct tollgate_settings *set, __u32 action)
{
	struct tollgate_event event = { .verdict = TOLLGATE_PENALTY_SOURCE,
					.slot = TOLLGATE_NO_SLOT,
					.action = action };
	struct tollgate_flow_key flow;
	__u64 now_ns = bpf_ktime_get_ns();

	if (READ_ONCE(set->sources_until_ns) <= now_ns)
		return pass(TOLLGATE_COUNTER_PASS_SYN);
	segment_flow_key(s, &flow);
	if (source_drop_until_ns(s, &flow) <= now_ns || !listener_has(&flow, ctx->ingress_ifindex))
		return pass(TOLLGATE_COUNTER_PASS_SYN);
	if (agent_is_gone(set, now_ns))
		return pass(TOLLGATE_COUNTER_PASS_STALE);

	event.at_ns = now_ns;
	__builtin_memcpy(event.client_be32, flow.client_be32, sizeof(event.client_be32));
	event.client_port_be16 = flow.client_port_be16;
	event.local_port_be16 = flow.local_port_be16;
	tell(set, &event);
	if (action == TOLLGATE_ACTION_OBSERVE)
		return pass(TOLLGATE_COUNTER_OBSERVE_SOURCE);
	count(TOLLGATE_COUNTER_DROP_SOURCE);
	return XDP_DROP;
}

#endif
