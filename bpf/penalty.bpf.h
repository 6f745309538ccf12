/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * Dropping data of flows bound to an account in penalty, where XDP cannot or may not answer.
 *
 * TCP retransmits what is dropped, so a drop is a delay. A request that the agent would allow, or
 * one that it is already processing, is never dropped.
 */
#ifndef PENALTY_BPF_H
#define PENALTY_BPF_H

#include "flow.bpf.h"
#include "head.bpf.h"
#include "socket.bpf.h"
#include "tollgate/verdict.h"

/* The slot of the account to which all keys seen on this flow belong, or NULL. */
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

/*
 * DROP_FLOW, or why the segment must pass: the socket already has some of its bytes, or the agent
 * owes an answer (to a request in flight, half a request, or a running upload).
 *
 * `answered` must be read before the socket, and by an atomic operation, so that no later load
 * moves ahead of it: see check_connection() in answer.bpf.h.
 */
static __always_inline enum tollgate_counter
socket_verdict(struct xdp_md *ctx, struct tollgate_conn *conn, struct scratch *scratch)
{
	__u32 answered = __sync_fetch_and_add(&conn->answered, 0);
	struct tollgate_deltas in = read_deltas(&conn->shift.in_deltas, &conn->shift.in_pos);
	__u32 seq = tollgate_seq_to_socket(&in, 0, scratch->arrival.seq);
	struct socket_view *view = &scratch->socket;

	if (!look_at_socket(ctx, &scratch->key, scratch->arrival.is_ip6, view) ||
	    tollgate_is_before(seq, view->rcv_nxt))
		return TOLLGATE_COUNTER_PASS_SOCKET;
	return answered == view->bytes_received ? TOLLGATE_COUNTER_DROP_FLOW
						: TOLLGATE_COUNTER_PASS_OWED;
}

/* DROP_FLOW, or why the segment passes. */
__noinline int judge_penalty(struct xdp_md *ctx, struct tollgate_conn *conn,
			     struct scratch *scratch)
{
	if (!conn || !scratch)
		return TOLLGATE_COUNTER_PASS_NOT_BOUND;

	const struct tollgate_slot *slot = find_slot(conn);
	__u64 until_ns;
	enum credit credit;

	if (!slot)
		return TOLLGATE_COUNTER_PASS_NOT_BOUND;
	until_ns = READ_ONCE(slot->drop_until_ns);
	scratch->now_ns = until_ns ? bpf_ktime_get_ns() : 0;
	if (until_ns <= scratch->now_ns)
		return TOLLGATE_COUNTER_PASS_NO_PENALTY;
	if (agent_is_gone(scratch->now_ns))
		return TOLLGATE_COUNTER_PASS_STALE;
	credit = slot_credit(slot, scratch->now_ns);
	if (credit != CREDIT_NONE)
		return credit == CREDIT_BUSY ? TOLLGATE_COUNTER_PASS_BUSY
					     : TOLLGATE_COUNTER_PASS_CREDIT;
	return socket_verdict(ctx, conn, scratch);
}

static __always_inline void count_drop(struct tollgate_conn *conn)
{
	struct tollgate_slot *slot = find_slot(conn);

	if (slot)
		__sync_fetch_and_add(&slot->xdp_dropped, 1);
	__sync_fetch_and_add(&conn->dropped, 1);
}

#endif
