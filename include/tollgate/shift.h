/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The shift of a connection on which XDP has answered: how the client's sequence numbers and the
 * socket's translate into each other.
 *
 * A swallowed request of L bytes and an inserted answer of P bytes are unknown to the server's
 * socket, so from there on its numbers differ from the client's, as with nf_conntrack's seqadj. Each
 * direction has a position: numbers before it take the old delta, numbers from it on the new one.
 *
 *   client to server   in:  socket's number = client's - delta; `in_pos` is a client's number, the
 *                           start of the swallowed requests that count in the new delta alone
 *   server to client   out: client's number = socket's + delta; `out_pos` is a socket's number,
 *                           behind which the answers that count in the new delta alone stand
 *
 * An answer is pending until the client has acknowledged it. Until then its request is not yet in the
 * new delta, so that the server's ACKs do not acknowledge it: the client keeps the request, and
 * whatever is lost, repeats it. What XDP does with data meanwhile is in answer.bpf.h.
 *
 * All arithmetic is modulo 2^32; a number is before another if their signed difference is negative.
 */
#ifndef TOLLGATE_SHIFT_H
#define TOLLGATE_SHIFT_H

#include <linux/types.h>

/*
 * Part of a record in `conns`. Written by XDP while it holds the claim. Both deltas of a direction
 * share a word, so that nobody reads half a change. Egress reads deltas first and the position after
 * them, while XDP moves the position first: the one mixture that can be seen shifts numbers that the
 * client has acknowledged long ago.
 */
struct tollgate_shift {
	__u64 out_deltas; /* old << 32 | new */
	__u64 in_deltas;
	__u32 out_pos;
	__u32 in_pos;
	__u32 in_end;	      /* highest end of client data that was passed or swallowed */
	__u32 pending_len;    /* bytes of the request whose answer is pending; 0: none is */
	__u32 answer_len;     /* bytes of the last answer */
	__u32 template_index; /* what it was made of */
	__u32 seconds;	      /* the number in it */
	__u32 state;	      /* TOLLGATE_SHIFT_* */
	__u32 window;	      /* that the answer told */
	__u32 reserved[3];
};
_Static_assert(sizeof(struct tollgate_shift) == 64, "map layout is ABI");

#define TOLLGATE_SHIFT_ORDERED (1u << 0) /* in_end is known */
#define TOLLGATE_SHIFT_SHIFTED (1u << 1) /* XDP has answered on this connection */

/* One direction, read at one moment. */
struct tollgate_deltas {
	__u32 before;
	__u32 after;
	__u32 pos;
};

static inline __u64 tollgate_deltas_word(__u32 before, __u32 after)
{
	return (__u64)before << 32 | after;
}

static inline struct tollgate_deltas tollgate_deltas_of(__u64 word, __u32 pos)
{
	return (struct tollgate_deltas){ .before = (__u32)(word >> 32),
					 .after = (__u32)word,
					 .pos = pos };
}

static inline int tollgate_is_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

/* Where the swallowed requests end that have been acknowledged: the start of the pending one. */
static inline __u32 tollgate_in_border(const struct tollgate_deltas *in)
{
	return in->pos + (in->after - in->before);
}

/* The client's number @seq as the socket counts; @pending: bytes of a pending request, or 0. */
static inline __u32 tollgate_seq_to_socket(const struct tollgate_deltas *in, __u32 pending,
					   __u32 seq)
{
	if (tollgate_is_before(seq, in->pos))
		return seq - in->before;
	if (pending && tollgate_is_before(tollgate_in_border(in), seq))
		return seq - in->after - pending;
	return seq - in->after;
}

/* What the socket acknowledges, as the client counts: nothing of a pending request. */
static inline __u32 tollgate_ack_to_client(const struct tollgate_deltas *in, __u32 ack)
{
	return ack + (tollgate_is_before(ack, in->pos - in->before) ? in->before : in->after);
}

/*
 * The client's acknowledgement as the socket counts. One among inserted bytes acknowledges all that
 * the socket has sent before them.
 */
static inline __u32 tollgate_ack_to_socket(const struct tollgate_deltas *out, __u32 ack)
{
	__u32 after = ack - out->after, before = ack - out->before;

	if (!tollgate_is_before(after, out->pos))
		return after;
	return tollgate_is_before(out->pos, before) ? out->pos : before;
}

/*
 * By how much a segment of the socket moves. Its end decides: one that reaches past the position is
 * new to the client from there on, and what lies before has been acknowledged. A segment without
 * data stands at its own number.
 */
static inline __u32 tollgate_seq_shift(const struct tollgate_deltas *out, __u32 seq, __u32 end)
{
	int is_after =
		seq == end ? !tollgate_is_before(seq, out->pos) : tollgate_is_before(out->pos, end);

	return is_after ? out->after : out->before;
}

/*
 * Numbers wrap after 4 GiB, so a position that lies further back than this says nothing any more:
 * before and after it the same delta must hold from then on.
 */
#define TOLLGATE_SHIFT_FAR (1u << 30)

/* The same direction without a position, if @number, acknowledged or received, is far behind it. */
static inline int tollgate_is_far(const struct tollgate_deltas *deltas, __u32 number)
{
	return deltas->before != deltas->after && !tollgate_is_before(number, deltas->pos) &&
	       number - deltas->pos > TOLLGATE_SHIFT_FAR;
}

/* Whether an answer may be inserted behind @snd_nxt, given what the client has acknowledged. */
static inline int tollgate_out_can_open(const struct tollgate_deltas *out, __u32 snd_nxt,
					__u32 snd_una)
{
	return out->before == out->after || snd_nxt == out->pos ||
	       !tollgate_is_before(snd_una, out->pos);
}

/* The same direction with an answer of @len bytes behind @snd_nxt. */
static inline struct tollgate_deltas tollgate_out_insert(struct tollgate_deltas out, __u32 snd_nxt,
							 __u32 len)
{
	if (snd_nxt != out.pos || out.before == out.after) {
		out.before = out.after;
		out.pos = snd_nxt;
	}
	out.after += len;
	return out;
}

/* The direction to the server, made ready for a request at @seq to be swallowed. */
static inline struct tollgate_deltas tollgate_in_open(struct tollgate_deltas in, __u32 seq)
{
	if (seq != tollgate_in_border(&in)) {
		in.before = in.after;
		in.pos = seq;
	}
	return in;
}

#endif
