// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/*
 * The XDP program of an edge: refuses what an account or a source in penalty goes on sending.
 *
 * It only ever reads buckets and penalties, and drops nothing that the agent would allow: when in
 * doubt a packet is passed and the agent decides. What it drops, TCP repeats, so a drop is a delay.
 */
#include <linux/bpf.h>

#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "source.bpf.h"
#include "tollgate/bucket.h"
#include "tollgate/verdict.h"

/* What we read of the kernel's socket; the loader finds the offsets in its BTF. */
struct tcp_sock {
	__u32 rcv_nxt;
	__u64 bytes_received;
} __attribute__((preserve_access_index));

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline bool port_is_ours(const struct tollgate_settings *set, __u16 port)
{
	return set->ports[port / 64] >> (port % 64) & 1;
}

static __always_inline struct tollgate_conn *find_conn(const struct tollgate_flow_key *key)
{
	const struct tollgate_flow *flow = bpf_map_lookup_elem(&flows, key);
	struct tollgate_conn *conn;
	__u32 index, generation;

	if (!flow)
		return NULL;
	index = flow->conn_index;
	conn = bpf_map_lookup_elem(&conns, &index);
	if (!conn)
		return NULL;
	generation = READ_ONCE(conn->generation);
	return generation & 1 && generation == flow->generation ? conn : NULL;
}

static __always_inline struct tollgate_slot *find_slot(const struct tollgate_conn *conn)
{
	struct tollgate_slot *slot;
	__u32 index = READ_ONCE(conn->slot);

	if (!(READ_ONCE(conn->flags) & TOLLGATE_CONN_BOUND))
		return NULL;
	slot = bpf_map_lookup_elem(&slots, &index);
	if (!slot || READ_ONCE(slot->generation) != READ_ONCE(conn->slot_generation))
		return NULL;
	return slot;
}

enum credit { CREDIT_NONE, CREDIT_SOME, CREDIT_BUSY };

/* Would the agent allow even the cheapest request now? The limits are read as a seqlock asks. */
static __always_inline enum credit slot_credit(const struct tollgate_slot *slot, __u64 now_ns)
{
	__u32 seq = READ_ONCE(slot->limits_seq);
	__u64 interval_ns = READ_ONCE(slot->interval_ns);
	__u64 limit_ns = READ_ONCE(slot->limit_ns);
	__u64 tat_ns = READ_ONCE(slot->tat_ns);

	if (seq & 1 || READ_ONCE(slot->limits_seq) != seq)
		return CREDIT_BUSY;
	if (!interval_ns || !tollgate_bucket_wait(tat_ns, limit_ns, interval_ns, now_ns))
		return CREDIT_SOME;
	return CREDIT_NONE;
}

static __always_inline void fill_tuple(const struct segment *s, struct bpf_sock_tuple *tuple,
				       __u32 *ret_size)
{
	if (s->is_ip6) {
		__builtin_memcpy(tuple->ipv6.saddr, &s->ip6->saddr, 16);
		__builtin_memcpy(tuple->ipv6.daddr, &s->ip6->daddr, 16);
		tuple->ipv6.sport = s->tcp->source;
		tuple->ipv6.dport = s->tcp->dest;
		*ret_size = sizeof(tuple->ipv6);
	} else {
		tuple->ipv4.saddr = s->ip4->saddr;
		tuple->ipv4.daddr = s->ip4->daddr;
		tuple->ipv4.sport = s->tcp->source;
		tuple->ipv4.dport = s->tcp->dest;
		*ret_size = sizeof(tuple->ipv4);
	}
}

/*
 * Why the segment must pass: the socket has some of its bytes already, or the agent owes an answer
 * (a request under way, half a request, a running upload). DROP_FLOW when nothing speaks for it.
 *
 * `answered` is read before the socket, and by an atomic operation, so that no later load is done
 * first: were it read after, an answer given in between could hide a request just received.
 */
static __always_inline enum tollgate_counter
socket_verdict(struct xdp_md *ctx, const struct segment *s, struct tollgate_conn *conn)
{
	__u32 answered = __sync_fetch_and_add(&conn->answered, 0);
	enum tollgate_counter verdict = TOLLGATE_COUNTER_PASS_SOCKET;
	struct bpf_sock_tuple tuple = {};
	struct tcp_sock *tp;
	struct bpf_sock *sk;
	__u32 tuple_size;

	fill_tuple(s, &tuple, &tuple_size);
	sk = bpf_skc_lookup_tcp(ctx, &tuple, tuple_size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return verdict;
	tp = sk->state == BPF_TCP_ESTABLISHED ? bpf_skc_to_tcp_sock(sk) : NULL;
	if (tp && (__s32)(bpf_ntohl(s->tcp->seq) - tp->rcv_nxt) >= 0)
		verdict = answered == (__u32)tp->bytes_received ? TOLLGATE_COUNTER_DROP_FLOW
								: TOLLGATE_COUNTER_PASS_OWED;
	bpf_sk_release(sk);
	return verdict;
}

/* A segment with data: refused while its account is in penalty and has no credit. */
static __always_inline int judge_segment(struct xdp_md *ctx, const struct segment *s,
					 const struct tollgate_settings *set, __u32 action)
{
	struct tollgate_event event = { .verdict = TOLLGATE_PENALTY_FLOW, .action = action };
	struct tollgate_flow_key key;
	struct tollgate_conn *conn;
	struct tollgate_slot *slot;
	enum tollgate_counter verdict;
	enum credit credit;
	__u64 now_ns, until_ns;

	segment_flow_key(s, &key);
	conn = find_conn(&key);
	if (!conn)
		return pass(TOLLGATE_COUNTER_PASS_NOT_ENROLLED);
	slot = find_slot(conn);
	if (!slot)
		return pass(TOLLGATE_COUNTER_PASS_NOT_BOUND);
	until_ns = READ_ONCE(slot->drop_until_ns);
	now_ns = until_ns ? bpf_ktime_get_ns() : 0;
	if (until_ns <= now_ns)
		return pass(TOLLGATE_COUNTER_PASS_NO_PENALTY);
	if (agent_is_gone(set, now_ns))
		return pass(TOLLGATE_COUNTER_PASS_STALE);
	credit = slot_credit(slot, now_ns);
	if (credit != CREDIT_NONE)
		return pass(credit == CREDIT_BUSY ? TOLLGATE_COUNTER_PASS_BUSY
						  : TOLLGATE_COUNTER_PASS_CREDIT);
	verdict = socket_verdict(ctx, s, conn);
	if (verdict != TOLLGATE_COUNTER_DROP_FLOW)
		return pass(verdict);

	event.at_ns = now_ns;
	__builtin_memcpy(event.client_be32, key.client_be32, sizeof(event.client_be32));
	event.client_port_be16 = key.client_port_be16;
	event.local_port_be16 = key.local_port_be16;
	event.slot = READ_ONCE(conn->slot);
	tell(set, &event);
	if (action == TOLLGATE_ACTION_OBSERVE)
		return pass(TOLLGATE_COUNTER_OBSERVE_FLOW);
	__sync_fetch_and_add(&slot->xdp_dropped, 1);
	__sync_fetch_and_add(&conn->dropped, 1);
	count(TOLLGATE_COUNTER_DROP_FLOW);
	return XDP_DROP;
}

SEC("xdp")
int edge(struct xdp_md *ctx)
{
	struct cursor cursor = { (void *)(long)ctx->data, (void *)(long)ctx->data_end };
	const struct tollgate_settings *set;
	struct segment s = {};
	enum parsed parsed = parse_frame(&cursor, &s);
	__u32 zero = 0, action;
	__u8 flags;

	if (parsed != PARSED_TCP)
		return parsed == PARSED_ODD ? pass(TOLLGATE_COUNTER_PASS_ODD) : XDP_PASS;
	set = bpf_map_lookup_elem(&settings, &zero);
	if (!set || !port_is_ours(set, bpf_ntohs(s.tcp->dest)))
		return XDP_PASS;

	flags = segment_flags(&s);
	action = READ_ONCE(set->action);
	if (flags & TCP_RST || action == TOLLGATE_ACTION_OFF)
		return XDP_PASS;
	if (flags & TCP_SYN)
		return flags & TCP_ACK ? XDP_PASS : judge_syn(ctx, &s, set, action);
	if (segment_payload_bytes(&s) <= 0)
		return XDP_PASS;
	if (segment_is_cut(&s, &cursor))
		return pass(TOLLGATE_COUNTER_PASS_ODD);
	return judge_segment(ctx, &s, set, action);
}
