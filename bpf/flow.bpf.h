/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * Finding the record of a packet's connection, and reading, writing and claiming it.
 */
#ifndef FLOW_BPF_H
#define FLOW_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "tollgate/shift.h"

static __always_inline bool port_is_ours(const struct tollgate_settings *set, __u16 port)
{
	return READ_ONCE(set->ports[port / 64]) >> (port % 64) & 1;
}

/* False: the flow is certainly not enrolled. True: it may be. */
static __always_inline bool is_hinted(const struct tollgate_flow_key *key)
{
	__u32 hint = tollgate_hint(key->client_be32, key->client_port_be16);
	const __u64 *flows_count = bpf_map_lookup_elem(&hints, &hint);

	return flows_count && READ_ONCE(*flows_count);
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
	if (!(generation & 1) || generation != flow->generation)
		return NULL;
	return READ_ONCE(conn->flags) & TOLLGATE_CONN_DEAD ? NULL : conn;
}

static __always_inline bool is_shifted(const struct tollgate_conn *conn)
{
	return READ_ONCE(conn->shift.state) & TOLLGATE_SHIFT_SHIFTED;
}

/*
 * Read the deltas atomically, so that the CPU does not read the position before them: see shift.h.
 */
static __always_inline struct tollgate_deltas read_deltas(__u64 *deltas, const __u32 *pos)
{
	__u64 word = __sync_fetch_and_add(deltas, 0);

	return tollgate_deltas_of(word, READ_ONCE(*pos));
}

/* Write the position before the deltas. The caller holds the claim. */
static __always_inline void write_deltas(__u64 *deltas, __u32 *pos, struct tollgate_deltas fresh)
{
	WRITE_ONCE(*pos, fresh.pos);
	__sync_lock_test_and_set(deltas, tollgate_deltas_word(fresh.before, fresh.after));
}

/*
 * Take XDP's claim for the time of one packet. False: another CPU has it, or the word just changed.
 */
static __always_inline bool claim(struct tollgate_conn *conn)
{
	__u32 seen = READ_ONCE(conn->claim);

	return !(seen & TOLLGATE_CLAIM_XDP) &&
	       __sync_val_compare_and_swap(&conn->claim, seen, seen | TOLLGATE_CLAIM_XDP) == seen;
}

static __always_inline void unclaim(struct tollgate_conn *conn)
{
	__sync_fetch_and_and(&conn->claim, ~TOLLGATE_CLAIM_XDP);
}

#endif
