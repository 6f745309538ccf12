/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The shift of a connection that XDP has answered on: how the client's sequence numbers translate
 * into the server's socket's, and back.
 *
 * XDP swallows a request and inserts an answer. The socket knows of neither, so from there on its
 * numbers differ from the client's, as with nf_conntrack's seqadj. Each direction has a position
 * and two deltas, "before" and "after": numbers before the position take the first, numbers from it
 * on the second.
 *
 * in, client to server. in_pos is a client's number: the start of the swallowed requests that only
 * the second delta includes. socket's number = client's number - delta.
 *
 *            earlier data        swallowed        pending      later data
 *   client  --------------|==================|############|-------------->
 *                       in_pos             border    border + pending_len
 *
 *   socket  --------------|-------------->
 *             c - before    c - after - pending_len
 *
 *   c: the client's number; border = in_pos + after - before
 *
 * out, server to client. out_pos is a socket's number: the answers that only the second delta
 * includes were inserted there. client's number = socket's number + delta.
 *
 *            earlier data    later data
 *   socket  --------------|-------------->
 *                      out_pos
 *
 *   client  --------------|++++++++++++++++++|-------------->
 *             s + before        answers         s + after
 *
 *   s: the socket's number
 *
 * An answer is pending until the client has acknowledged it. Until then `after` of direction in
 * does not include its request. So the socket's ACKs, translated, do not acknowledge the request,
 * and the client sends it again if the answer is lost. edge.bpf.c says what XDP does with data in
 * the meantime.
 *
 * All arithmetic is modulo 2^32: a is before b if the signed difference a - b is negative.
 */
#ifndef TOLLGATE_SHIFT_H
#define TOLLGATE_SHIFT_H

#include <linux/types.h>

/*
 * Part of a record in `conns`. XDP writes it while it holds the claim; egress reads it without one.
 *
 * Both deltas of a direction share a word, so that nobody sees half a change. XDP writes the
 * position first and then the deltas; a reader reads the deltas first and then the position. So the
 * only mix that a reader can see is old deltas with a new position. It can only make a translated
 * number too low, so that it refers to bytes that were acknowledged before; the client ignores it.
 */
struct tollgate_shift {
	__u64 out_deltas; /* before << 32 | after */
	__u64 in_deltas;  /* before << 32 | after */
	__u32 out_pos;	  /* socket's number */
	__u32 in_pos;	  /* client's number */
	__u32 in_end; /* highest end of the data that was passed or swallowed; client's number */
	__u32 pending_len;    /* bytes of the request whose answer is pending; 0: no answer is */
	__u32 answer_len;     /* bytes of the last answer */
	__u32 template_index; /* its template */
	__u32 seconds;	      /* the number of seconds in it */
	__u32 state;	      /* TOLLGATE_SHIFT_* */
	__u32 window;	      /* the window that it announced, scaled */
	__u32 reserved[3];
};
_Static_assert(sizeof(struct tollgate_shift) == 64, "map layout is ABI");

#define TOLLGATE_SHIFT_ORDERED (1u << 0) /* in_end is valid */
#define TOLLGATE_SHIFT_SHIFTED (1u << 1) /* XDP has answered on this connection */

/* A snapshot of one direction. */
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

/*
 * The end of the swallowed requests whose answers were acknowledged; a pending request starts
 * there.
 */
static inline __u32 tollgate_in_border(const struct tollgate_deltas *in)
{
	return in->pos + (in->after - in->before);
}

/*
 * The client's sequence number @seq in the socket's numbers. @pending: pending_len. The start of a
 * pending request, and everything in it, maps at or before the socket's next byte.
 */
static inline __u32 tollgate_seq_to_socket(const struct tollgate_deltas *in, __u32 pending,
					   __u32 seq)
{
	if (tollgate_is_before(seq, in->pos))
		return seq - in->before;
	if (pending && tollgate_is_before(tollgate_in_border(in), seq))
		return seq - in->after - pending;
	return seq - in->after;
}

/* The socket's acknowledgement in the client's numbers; never acknowledges a pending request. */
static inline __u32 tollgate_ack_to_client(const struct tollgate_deltas *in, __u32 ack)
{
	return ack + (tollgate_is_before(ack, in->pos - in->before) ? in->before : in->after);
}

/*
 * The client's acknowledgement in the socket's numbers. An ACK that falls among inserted bytes
 * becomes out_pos: it acknowledges everything that the socket sent before them.
 *
 *   client  ------|+++ answers +++|------      an ACK anywhere from | to | ...
 *   socket  ------|------                      ... becomes out_pos
 */
static inline __u32 tollgate_ack_to_socket(const struct tollgate_deltas *out, __u32 ack)
{
	__u32 after = ack - out->after, before = ack - out->before;

	if (!tollgate_is_before(after, out->pos))
		return after;
	return tollgate_is_before(out->pos, before) ? out->pos : before;
}

/*
 * The delta for a segment from the socket, [@seq, @end). Its end decides: if it reaches past the
 * position, it takes the delta "after". If such a segment starts before the position (a
 * retransmission that the kernel merged with new data), its first part lands on numbers that the
 * client has already acknowledged, and the client discards it. A segment without data takes the
 * delta of its own number.
 */
static inline __u32 tollgate_seq_shift(const struct tollgate_deltas *out, __u32 seq, __u32 end)
{
	int is_after =
		seq == end ? !tollgate_is_before(seq, out->pos) : tollgate_is_before(out->pos, end);

	return is_after ? out->after : out->before;
}

/*
 * Sequence numbers wrap after 4 GiB, so a position far behind the current numbers would soon seem
 * to lie ahead of them. Beyond this distance the position is dropped: both deltas become the new
 * one.
 */
#define TOLLGATE_SHIFT_FAR (1u << 30)

/*
 * Whether @number, received or acknowledged, is so far past the position that the position must be
 * dropped.
 */
static inline int tollgate_is_far(const struct tollgate_deltas *deltas, __u32 number)
{
	return deltas->before != deltas->after && !tollgate_is_before(number, deltas->pos) &&
	       number - deltas->pos > TOLLGATE_SHIFT_FAR;
}

/*
 * Whether an answer may be inserted at @snd_nxt. There is one position only, so a new one may be
 * opened only when the client has acknowledged everything before the old one (@snd_una).
 */
static inline int tollgate_out_can_open(const struct tollgate_deltas *out, __u32 snd_nxt,
					__u32 snd_una)
{
	return out->before == out->after || snd_nxt == out->pos ||
	       !tollgate_is_before(snd_una, out->pos);
}

/*
 * Insert an answer of @len bytes into direction out, at @snd_nxt; returns the new deltas. If the
 * socket has sent nothing since the last answer, the position stays and only "after" grows.
 */
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

/*
 * Prepare direction in for swallowing a request at the client's number @seq; returns the new
 * deltas. If @seq is the border, the request follows swallowed ones directly, and the position
 * stays.
 */
static inline struct tollgate_deltas tollgate_in_open(struct tollgate_deltas in, __u32 seq)
{
	if (seq != tollgate_in_border(&in)) {
		in.before = in.after;
		in.pos = seq;
	}
	return in;
}

#endif
