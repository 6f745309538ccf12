/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * New connections: drop a SYN whose source is in penalty or on the operators' deny list, but only
 * to an address where we listen. A source on the allow list is exempt from penalties.
 */
#ifndef SOURCE_BPF_H
#define SOURCE_BPF_H

#include "lists.bpf.h"
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

enum source_state { SOURCE_WELCOME, SOURCE_IN_PENALTY, SOURCE_DENIED };

static __always_inline enum source_state source_state(const struct segment *s,
						      const struct tollgate_settings *set,
						      const struct tollgate_flow_key *flow,
						      __u64 now_ns)
{
	__u32 listed = lists_verdict(set, flow, now_ns);

	if (listed == TOLLGATE_LIST_DENY)
		return SOURCE_DENIED;
	if (listed == TOLLGATE_LIST_ALLOW || READ_ONCE(set->sources_until_ns) <= now_ns)
		return SOURCE_WELCOME;
	return source_drop_until_ns(s, flow) > now_ns ? SOURCE_IN_PENALTY : SOURCE_WELCOME;
}

static __always_inline int judge_syn(const struct xdp_md *ctx, const struct segment *s,
				     const struct tollgate_settings *set, __u32 action)
{
	struct tollgate_event event = { .slot = TOLLGATE_NO_SLOT, .action = action };
	struct tollgate_flow_key flow;
	enum source_state state;
	__u64 now_ns = bpf_ktime_get_ns();

	if (READ_ONCE(set->sources_until_ns) <= now_ns && !READ_ONCE(set->lists_count))
		return pass(TOLLGATE_COUNTER_PASS_SYN);
	segment_flow_key(s, &flow);
	state = source_state(s, set, &flow, now_ns);
	if (state == SOURCE_WELCOME || !listener_has(&flow, ctx->ingress_ifindex))
		return pass(TOLLGATE_COUNTER_PASS_SYN);
	if (agent_is_gone(now_ns))
		return pass(TOLLGATE_COUNTER_PASS_STALE);

	event.verdict = state == SOURCE_DENIED ? TOLLGATE_DENIED : TOLLGATE_PENALTY_SOURCE;
	event.at_ns = now_ns;
	__builtin_memcpy(event.client_be32, flow.client_be32, sizeof(event.client_be32));
	event.client_port_be16 = flow.client_port_be16;
	event.local_port_be16 = flow.local_port_be16;
	if (is_sampled(now_ns))
		send_event(&event);
	if (action == TOLLGATE_ACTION_OBSERVE)
		return pass(state == SOURCE_DENIED ? TOLLGATE_COUNTER_OBSERVE_DENIED
						   : TOLLGATE_COUNTER_OBSERVE_SOURCE);
	count(state == SOURCE_DENIED ? TOLLGATE_COUNTER_DROP_DENIED : TOLLGATE_COUNTER_DROP_SOURCE);
	return XDP_DROP;
}

#endif
