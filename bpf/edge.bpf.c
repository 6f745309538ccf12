// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/*
 * The programs: they refuse what accounts and sources over their limits keep sending, by answering
 * on the connection where that is possible, else by dropping. They translate the connections that
 * they have answered on.
 *
 * XDP only reads buckets, quotas and penalties, and refuses nothing that the agent would allow:
 * when in doubt it passes the packet and the agent decides. In reading order: parse (the parts of a
 * frame), flow (a connection's record), head (what a request asks for), answer (whether and how to
 * answer in place), penalty (drops), source (SYNs), icmp (errors), egress (outgoing packets).
 */
#include <linux/bpf.h>

#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "answer.bpf.h"
#include "egress.bpf.h"
#include "flow.bpf.h"
#include "icmp.bpf.h"
#include "maps.bpf.h"
#include "parse.bpf.h"
#include "penalty.bpf.h"
#include "source.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

__noinline int send_flow_event(struct scratch *scratch, __u32 verdict, __u32 slot)
{
	if (!scratch)
		return 0;

	const struct tollgate_flow_key *key = &scratch->key;
	struct tollgate_event event = { .at_ns = scratch->now_ns,
					.client_port_be16 = key->client_port_be16,
					.local_port_be16 = key->local_port_be16,
					.verdict = verdict,
					.slot = slot,
					.action = scratch->action };

	__builtin_memcpy(event.client_be32, key->client_be32, sizeof(event.client_be32));
	send_event(&event);
	return 0;
}

static __always_inline void sample_event(struct scratch *scratch, __u32 verdict, __u32 slot)
{
	if (scratch->action != TOLLGATE_ACTION_CHECK && is_sampled(scratch->now_ns))
		send_flow_event(scratch, verdict, slot);
}

static __always_inline void count_for(const struct scratch *scratch, enum tollgate_counter counter)
{
	if (scratch->action != TOLLGATE_ACTION_CHECK)
		count(counter);
}

static __always_inline bool is_check(const struct tollgate_flow_key *key)
{
	const struct tollgate_settings *set = find_settings();

	return set && READ_ONCE(set->check_port_be16) == key->local_port_be16;
}

/* ---- translation ---- */

static __always_inline void translate_sack(struct xdp_md *ctx, struct scratch *s,
					   struct tcphdr *tcp, const struct tollgate_deltas *out)
{
	const struct arrival *a = &s->arrival;
	__u32 bytes = a->payload_at - a->tcp_at - sizeof(*tcp);
	__u32 check = (__u16)~tcp->check;

	__builtin_memcpy(s->translated, s->options, sizeof(s->translated));
	for (__u32 i = 0; i < 8; i++) {
		__u32 at = a->sack_at + i * 4;

		if (i * 4 + 4 > a->sack_bytes)
			break;
		write_be32(s->translated, at,
			   tollgate_ack_to_socket(out, read_be32(s->options, at)));
	}
	check = bpf_csum_diff((__be32 *)s->options, OPTIONS_MAX, (__be32 *)s->translated,
			      OPTIONS_MAX, check);
	tcp->check = ~fold_sum(check);
	if (is_length(&bytes, OPTIONS_MAX))
		bpf_xdp_store_bytes(ctx, a->tcp_at + sizeof(*tcp), s->translated, bytes);
}

/* Pass the segment, translated into the socket's numbers. */
__noinline int pass_translated(struct xdp_md *ctx, struct tollgate_conn *conn,
			       struct scratch *scratch)
{
	if (!conn || !scratch || !is_shifted(conn))
		return XDP_PASS;

	const struct arrival *a = &scratch->arrival;
	struct tollgate_shift *shift = &conn->shift;
	struct tcphdr *tcp = (void *)(long)ctx->data + (a->tcp_at & 127);
	struct tollgate_deltas in, out;
	__be32 seq_be32, ack_be32;

	if ((void *)(tcp + 1) > (void *)(long)ctx->data_end)
		return XDP_PASS;
	in = read_deltas(&shift->in_deltas, &shift->in_pos);
	seq_be32 = bpf_htonl(tollgate_seq_to_socket(&in, READ_ONCE(shift->pending_len), a->seq));
	tcp->check = update_check(tcp->check, tcp->seq, seq_be32);
	tcp->seq = seq_be32;
	if (!(a->flags & TCP_ACK))
		return XDP_PASS;
	out = read_deltas(&shift->out_deltas, &shift->out_pos);
	ack_be32 = bpf_htonl(tollgate_ack_to_socket(&out, a->ack));
	tcp->check = update_check(tcp->check, tcp->ack_seq, ack_be32);
	tcp->ack_seq = ack_be32;
	if (a->sack_at)
		translate_sack(ctx, scratch, tcp, &out);
	return XDP_PASS;
}

/* Once the client acknowledges the pending answer, the delta "after" includes its request. */
static __always_inline void note_arrival(struct tollgate_conn *conn, const struct scratch *scratch)
{
	const struct arrival *a = &scratch->arrival;
	struct tollgate_shift *shift = &conn->shift;
	struct tollgate_deltas in = tollgate_deltas_of(shift->in_deltas, shift->in_pos);
	__u32 answer_end = shift->out_pos + (__u32)shift->out_deltas;

	if (!shift->pending_len || !(a->flags & TCP_ACK) || tollgate_is_before(a->ack, answer_end))
		return;
	in.after += shift->pending_len;
	write_deltas(&shift->in_deltas, &shift->in_pos, in);
	WRITE_ONCE(shift->pending_len, 0);
	count_for(scratch, TOLLGATE_COUNTER_ANSWER_ARRIVED);
}

/* Drop positions that are far behind the current numbers, see TOLLGATE_SHIFT_FAR. */
static __always_inline void forget_positions(struct tollgate_conn *conn, const struct arrival *a)
{
	struct tollgate_shift *shift = &conn->shift;
	struct tollgate_deltas in = tollgate_deltas_of(shift->in_deltas, shift->in_pos);
	struct tollgate_deltas out = tollgate_deltas_of(shift->out_deltas, shift->out_pos);

	if (shift->pending_len)
		return;
	if (tollgate_is_far(&in, a->seq))
		write_deltas(&shift->in_deltas, &shift->in_pos,
			     (struct tollgate_deltas){ in.after, in.after, in.pos });
	if (a->flags & TCP_ACK && tollgate_is_far(&out, a->ack - out.after))
		write_deltas(&shift->out_deltas, &shift->out_pos,
			     (struct tollgate_deltas){ out.after, out.after, out.pos });
}

static __always_inline bool wants_claim(const struct tollgate_conn *conn, const struct arrival *a)
{
	const struct tollgate_shift *shift = &conn->shift;
	struct tollgate_deltas in = tollgate_deltas_of(READ_ONCE(shift->in_deltas), shift->in_pos);
	struct tollgate_deltas out =
		tollgate_deltas_of(READ_ONCE(shift->out_deltas), shift->out_pos);

	return READ_ONCE(shift->pending_len) || tollgate_is_far(&in, a->seq) ||
	       tollgate_is_far(&out, a->ack - out.after);
}

/* Whether a bare ACK has news for the socket. One that only acknowledges XDP's answer has not. */
static __always_inline bool is_news(struct xdp_md *ctx, struct tollgate_conn *conn,
				    struct scratch *scratch)
{
	const struct arrival *a = &scratch->arrival;
	struct socket_view *view = &scratch->socket;
	struct tollgate_deltas in = read_deltas(&conn->shift.in_deltas, &conn->shift.in_pos);
	struct tollgate_deltas out = read_deltas(&conn->shift.out_deltas, &conn->shift.out_pos);

	if (a->flags != TCP_ACK || a->has_options || READ_ONCE(conn->shift.pending_len) ||
	    !look_at_socket(ctx, &scratch->key, a->is_ip6, view))
		return true;
	return view->snd_una != view->write_seq ||
	       view->snd_wnd != (__u64)a->window << (conn->snd_wscale & 15) ||
	       tollgate_ack_to_socket(&out, a->ack) != view->snd_una ||
	       tollgate_seq_to_socket(&in, 0, a->seq) != view->rcv_nxt;
}

/* A segment without data on a shifted flow: ACK, RST, probe. */
__noinline int on_bare_segment(struct xdp_md *ctx, struct tollgate_conn *conn,
			       struct scratch *scratch)
{
	if (!conn || !scratch)
		return XDP_PASS;

	const struct arrival *a = &scratch->arrival;

	if (!(a->flags & TCP_RST)) {
		if (wants_claim(conn, a) && claim(conn)) {
			note_arrival(conn, scratch);
			forget_positions(conn, a);
			unclaim(conn);
		}
		if (!is_news(ctx, conn, scratch)) {
			count(TOLLGATE_COUNTER_HELD_ACK);
			return XDP_DROP;
		}
	}
	return pass_translated(ctx, conn, scratch);
}

/* ---- data ---- */

static __always_inline bool is_answer(enum tollgate_counter counter)
{
	return counter >= TOLLGATE_COUNTER_ANSWER_RATE &&
	       counter <= TOLLGATE_COUNTER_ANSWER_REVOKED;
}

/* All requests so far came from one account, and it has credit: the next one is for the agent. */
static __always_inline bool has_bound_credit(const struct tollgate_conn *conn, __u64 now_ns)
{
	const struct tollgate_slot *slot = find_slot(conn);

	return slot && READ_ONCE(slot->state) == TOLLGATE_SLOT_OPEN &&
	       READ_ONCE(slot->closed_until_ns) <= now_ns &&
	       slot_credit(slot, now_ns) == CREDIT_SOME;
}

/* Why the request must not even be read, or COUNT. */
static __always_inline enum tollgate_counter refuse_to_read(const struct tollgate_conn *conn,
							    const struct arrival *a, __u64 now_ns)
{
	const struct tollgate_shift *shift = &conn->shift;

	if (READ_ONCE(conn->claim) & TOLLGATE_CLAIM_AGENT)
		return TOLLGATE_COUNTER_PASS_CLAIMED;
	if (now_ns < conn->answer_from_ns)
		return TOLLGATE_COUNTER_PASS_NEW;
	if (agent_is_gone(now_ns))
		return TOLLGATE_COUNTER_PASS_STALE;
	if (!a->is_plain || a->payload_bytes > SEGMENT_MAX || !a->payload_bytes)
		return TOLLGATE_COUNTER_PASS_PACKET;
	if (has_bound_credit(conn, now_ns))
		return TOLLGATE_COUNTER_PASS_CREDIT;
	if (!(shift->state & TOLLGATE_SHIFT_ORDERED) || shift->in_end != a->seq)
		return TOLLGATE_COUNTER_PASS_ORDER;
	return TOLLGATE_COUNTER_COUNT;
}

static __always_inline void count_refusal(const struct scratch *scratch)
{
	const struct ruling *ruling = &scratch->ruling;
	__u32 index = ruling->slot;
	struct tollgate_slot *slot = bpf_map_lookup_elem(&slots, &index);

	if (slot)
		__sync_fetch_and_add(&slot->xdp_refused, 1);
	count_for(scratch, ruling->counter);
}

/* Turn the request's frame into the answer. XDP_PASS, with no change, if it cannot be resized. */
static __always_inline int answer(struct xdp_md *ctx, struct tollgate_conn *conn,
				  struct scratch *scratch, struct tollgate_template *t)
{
	struct reply *reply = &scratch->reply;

	reply->seq = scratch->arrival.ack;
	reply->ack = scratch->arrival.end;
	reply->window = scratch->socket.window >> (conn->rcv_wscale & 15);
	if (reply->window > 65535)
		reply->window = 65535;
	reply->seconds = scratch->ruling.seconds;
	reply->answer_len = t->len;
	if (!save_headers(ctx, scratch, &scratch->arrival) ||
	    !resize(ctx, &scratch->arrival, reply->answer_len))
		return XDP_PASS;
	shift_connection(conn, scratch);
	count_refusal(scratch);
	return send_reply(ctx, scratch, t);
}

/*
 * Answer the request in this segment if possible. Returns XDP_TX (or XDP_DROP, if the frame could
 * not be written) if answered; else XDP_PASS, with the reason in the ruling and nothing changed.
 */
static __always_inline int try_answer(struct xdp_md *ctx, struct tollgate_conn *conn,
				      struct scratch *scratch)
{
	const struct arrival *a = &scratch->arrival;
	struct ruling *ruling = &scratch->ruling;
	__u32 bytes = a->payload_bytes, index;
	struct tollgate_template *t;

	scratch->now_ns = bpf_ktime_get_ns();
	ruling->counter = refuse_to_read(conn, a, scratch->now_ns);
	if (ruling->counter != TOLLGATE_COUNTER_COUNT)
		return XDP_PASS;
	ruling->counter = TOLLGATE_COUNTER_PASS_HEAD;
	if (!is_length(&bytes, SEGMENT_MAX) ||
	    bpf_xdp_load_bytes(ctx, a->payload_at, scratch->head, bytes))
		return XDP_PASS;
	judge_request(scratch, bytes);
	if (!is_answer(ruling->counter))
		return XDP_PASS;
	index = ruling->template_index;
	t = bpf_map_lookup_elem(&templates, &index);
	if (!t || !t->len || t->len > TOLLGATE_ANSWER_MAX) {
		ruling->counter = TOLLGATE_COUNTER_PASS_LIMITS;
		return XDP_PASS;
	}
	index = check_connection(ctx, conn, scratch, t->len);
	if (index != TOLLGATE_COUNTER_COUNT) {
		ruling->counter = index;
		return XDP_PASS;
	}
	sample_event(scratch, ruling->verdict, ruling->slot);
	if (scratch->action == TOLLGATE_ACTION_OBSERVE) {
		ruling->counter = TOLLGATE_COUNTER_OBSERVE_ANSWER;
		return XDP_PASS;
	}
	index = answer(ctx, conn, scratch, t);
	if (index == XDP_PASS)
		ruling->counter = TOLLGATE_COUNTER_PASS_PACKET;
	return index;
}

/* Drop the segment for now: the client will send it again. */
static __always_inline int hold(void)
{
	count(TOLLGATE_COUNTER_HELD_DATA);
	return XDP_DROP;
}

/*
 * Data while an answer is pending. Pass a segment that ends at or before `start`; answer one that
 * contains `start` again; hold one that begins after it.
 *
 *   client  --- passed before ---|### pending request ###|--- not passed yet -->
 *                              start
 */
static __always_inline int on_data_while_pending(struct xdp_md *ctx, struct tollgate_conn *conn,
						 struct scratch *scratch)
{
	const struct tollgate_shift *shift = &conn->shift;
	struct tollgate_deltas in = tollgate_deltas_of(shift->in_deltas, shift->in_pos);
	__u32 start = tollgate_in_border(&in);

	if (!tollgate_is_before(start, scratch->arrival.end))
		return pass_translated(ctx, conn, scratch);
	if (tollgate_is_before(start, scratch->arrival.seq))
		return hold();
	return repeat_answer(ctx, conn, scratch);
}

/*
 * The segment straddles the start of the swallowed range, so no single offset is right for both
 * parts:  ----[seq----|in.pos====end]==== swallowed ====|----
 */
static __always_inline bool straddles_swallowed(const struct tollgate_conn *conn,
						const struct arrival *a)
{
	const struct tollgate_shift *shift = &conn->shift;
	struct tollgate_deltas in = tollgate_deltas_of(shift->in_deltas, shift->in_pos);

	return in.before != in.after && tollgate_is_before(a->seq, in.pos) &&
	       tollgate_is_before(in.pos, a->end);
}

static __always_inline void note_data(struct tollgate_conn *conn, const struct arrival *a)
{
	struct tollgate_shift *shift = &conn->shift;

	if (!(shift->state & TOLLGATE_SHIFT_ORDERED) || tollgate_is_before(shift->in_end, a->end))
		shift->in_end = a->end;
	if (!(shift->state & TOLLGATE_SHIFT_ORDERED))
		WRITE_ONCE(shift->state, shift->state | TOLLGATE_SHIFT_ORDERED);
}

/* Refuse by dropping, if allowed; else XDP_PASS, with the reason counted. */
static __always_inline int try_drop(struct xdp_md *ctx, struct tollgate_conn *conn,
				    struct scratch *scratch)
{
	enum tollgate_counter why = judge_penalty(ctx, conn, scratch);

	if (why != TOLLGATE_COUNTER_DROP_FLOW)
		return pass(why);
	sample_event(scratch, TOLLGATE_PENALTY_FLOW, READ_ONCE(conn->slot));
	if (scratch->action == TOLLGATE_ACTION_OBSERVE)
		return pass(TOLLGATE_COUNTER_OBSERVE_FLOW);
	count_drop(conn);
	count(why);
	return XDP_DROP;
}

/* Whether XDP answers in place (or counts what it would answer) rather than drops. */
static __always_inline bool is_answering(const struct scratch *scratch)
{
	const struct tollgate_settings *set = find_settings();

	if (scratch->action == TOLLGATE_ACTION_CHECK)
		return true;
	return set && READ_ONCE(set->is_answering) &&
	       (scratch->action == TOLLGATE_ACTION_ANSWER ||
		scratch->action == TOLLGATE_ACTION_OBSERVE);
}

/* Refuse the data by an answer or a drop, if allowed; else XDP_PASS. */
static __always_inline int judge_data(struct xdp_md *ctx, struct tollgate_conn *conn,
				      struct scratch *scratch, bool is_native)
{
	int verdict;

	if (!scratch->arrival.payload_bytes || scratch->action == TOLLGATE_ACTION_OFF)
		return XDP_PASS;
	if (!is_native || !is_answering(scratch))
		return try_drop(ctx, conn, scratch);
	verdict = try_answer(ctx, conn, scratch);
	if (verdict == XDP_PASS)
		count_for(scratch, scratch->ruling.counter);
	return verdict;
}

/* Data or a FIN. The claim is held. */
static __always_inline int on_claimed_data(struct xdp_md *ctx, struct tollgate_conn *conn,
					   struct scratch *scratch, bool is_native)
{
	int verdict;

	if (is_shifted(conn)) {
		note_arrival(conn, scratch);
		forget_positions(conn, &scratch->arrival);
		if (conn->shift.pending_len)
			return on_data_while_pending(ctx, conn, scratch);
		if (straddles_swallowed(conn, &scratch->arrival))
			return hold();
	}
	verdict = judge_data(ctx, conn, scratch, is_native);
	if (verdict != XDP_PASS)
		return verdict;
	note_data(conn, &scratch->arrival);
	return pass_translated(ctx, conn, scratch);
}

static __always_inline int handle_data(struct xdp_md *ctx, struct tollgate_conn *conn,
				       struct scratch *scratch, bool is_native)
{
	int verdict;

	if (!claim(conn))
		return hold();
	verdict = on_claimed_data(ctx, conn, scratch, is_native);
	unclaim(conn);
	return verdict;
}

__noinline int on_native_data(struct xdp_md *ctx, struct tollgate_conn *conn,
			      struct scratch *scratch)
{
	return conn && scratch ? handle_data(ctx, conn, scratch, true) : XDP_PASS;
}

/* Contains no code that answers, so that the verifier need not check that code twice. */
__noinline int on_generic_data(struct xdp_md *ctx, struct tollgate_conn *conn,
			       struct scratch *scratch)
{
	return conn && scratch ? handle_data(ctx, conn, scratch, false) : XDP_PASS;
}

/* A segment of an enrolled flow. */
static __always_inline int on_segment(struct xdp_md *ctx, const struct segment *s,
				      struct tollgate_conn *conn, struct scratch *scratch,
				      bool is_native)
{
	struct arrival *a = &scratch->arrival;

	read_segment(ctx, s, a);
	if (a->flags & TCP_RST && !is_shifted(conn))
		return XDP_PASS;
	if (READ_ONCE(conn->flags) & TOLLGATE_CONN_POISONED)
		return a->payload_bytes && scratch->action != TOLLGATE_ACTION_OFF
			       ? try_drop(ctx, conn, scratch)
			       : XDP_PASS;
	if (!(a->payload_bytes || a->flags & TCP_FIN) && !is_shifted(conn))
		return XDP_PASS;
	if (!read_arrival_options(ctx, scratch, a))
		return pass(TOLLGATE_COUNTER_PASS_ODD);
	if (a->flags & TCP_RST || !(a->payload_bytes || a->flags & TCP_FIN))
		return on_bare_segment(ctx, conn, scratch);
	return is_native ? on_native_data(ctx, conn, scratch) : on_generic_data(ctx, conn, scratch);
}

/*
 * A SYN opens a new connection, perhaps on the addresses of an old one. The old record must not
 * translate it. If no socket is left there, mark the record dead; the agent frees it later.
 */
static __always_inline void forget_dead(struct xdp_md *ctx, const struct segment *s)
{
	struct tollgate_flow_key key;
	struct tollgate_conn *conn;

	segment_flow_key(s, &key);
	if (!is_hinted(&key))
		return;
	conn = find_conn(&key);
	if (conn && !has_live_socket(ctx, &key, s->is_ip6))
		__sync_fetch_and_or(&conn->flags, TOLLGATE_CONN_DEAD);
}

/* Not inlined, so that its stack does not add to that of the path for data. */
static __noinline int on_syn(struct xdp_md *ctx, const struct segment *s,
			     const struct tollgate_settings *set, __u32 action)
{
	int verdict = action == TOLLGATE_ACTION_OFF ? XDP_PASS : judge_syn(ctx, s, set, action);

	if (verdict == XDP_PASS)
		forget_dead(ctx, s);
	return verdict;
}

static __always_inline int on_enrolled(struct xdp_md *ctx, const struct segment *s,
				       const struct cursor *cursor,
				       const struct tollgate_flow_key *key, __u32 action,
				       bool is_native)
{
	struct tollgate_conn *conn = find_conn(key);
	struct scratch *scratch = find_scratch();
	int payload_bytes = segment_payload_bytes(s);

	if (!conn || !scratch)
		return payload_bytes > 0 ? pass(TOLLGATE_COUNTER_PASS_NOT_ENROLLED) : XDP_PASS;
	if (payload_bytes < 0)
		return XDP_PASS;
	if (segment_is_cut(s, cursor))
		return pass(TOLLGATE_COUNTER_PASS_ODD);
	scratch->key = *key;
	scratch->action = is_check(key) ? TOLLGATE_ACTION_CHECK : action;
	return on_segment(ctx, s, conn, scratch, is_native);
}

/*
 * Odd segments cannot be translated: on a shifted connection the socket would misplace the bytes.
 */
static __noinline int on_odd(const struct tollgate_flow_key *key)
{
	struct tollgate_conn *conn = is_hinted(key) ? find_conn(key) : NULL;

	if (!conn || !is_shifted(conn))
		return pass(TOLLGATE_COUNTER_PASS_ODD);
	count(TOLLGATE_COUNTER_DROP_ODD);
	return XDP_DROP;
}

static __always_inline int on_other(enum parsed parsed, const struct segment *s,
				    const struct cursor *c)
{
	struct tollgate_flow_key key;

	if (parsed == PARSED_ICMP)
		return on_icmp(c->pos, c->end, s->is_ip6);
	if (parsed != PARSED_ODD_TCP)
		return parsed == PARSED_ODD ? pass(TOLLGATE_COUNTER_PASS_ODD) : XDP_PASS;
	segment_flow_key(s, &key);
	return on_odd(&key);
}

static __always_inline int on_frame(struct xdp_md *ctx, bool is_native)
{
	struct cursor cursor = { (void *)(long)ctx->data, (void *)(long)ctx->data_end };
	const struct tollgate_settings *set;
	struct tollgate_flow_key key;
	struct segment s = {};
	enum parsed parsed = parse_frame(&cursor, &s);
	__u32 action;
	__u8 flags;

	if (parsed != PARSED_TCP)
		return on_other(parsed, &s, &cursor);
	set = find_settings();
	if (!set || !port_is_ours(set, bpf_ntohs(s.tcp->dest)))
		return XDP_PASS;
	flags = segment_flags(&s);
	action = READ_ONCE(set->action);
	if (flags & TCP_SYN)
		return flags & (TCP_ACK | TCP_RST) ? XDP_PASS : on_syn(ctx, &s, set, action);
	segment_flow_key(&s, &key);
	if (is_hinted(&key))
		return on_enrolled(ctx, &s, &cursor, &key, action, is_native);
	return segment_payload_bytes(&s) > 0 && action != TOLLGATE_ACTION_OFF
		       ? pass(TOLLGATE_COUNTER_PASS_NOT_ENROLLED)
		       : XDP_PASS;
}

/* Native mode. */
SEC("xdp")
int edge(struct xdp_md *ctx)
{
	return on_frame(ctx, true);
}

/* Generic mode sees merged frames (GRO) with partial checksums, so it answers nothing in place. */
SEC("xdp")
int edge_generic(struct xdp_md *ctx)
{
	return on_frame(ctx, false);
}
