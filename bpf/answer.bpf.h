/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * Answers in place: when XDP may answer a request on its connection, and building the frame.
 *
 * A request is answered only if the server's socket is idle and would receive exactly this request
 * next. Then neither side can tell that the socket never saw it. Everything that can fail comes
 * before the first change of state. See shift.h for the effect on the connection's sequence
 * numbers.
 */
#ifndef ANSWER_BPF_H
#define ANSWER_BPF_H

#include "flow.bpf.h"
#include "head.bpf.h"
#include "socket.bpf.h"
#include "translate.bpf.h"

#define TCP_PSH	      0x08
#define IP_ECN_MASK   3
#define IP_ECN_CE     3
#define ANSWER_TTL    64
#define IP4_DF	      0x4000
#define SEGMENT_MAX   1460
#define HEADERS_MAX   (14 + 4 + 40 + 20 + 12)
#define HEADERS_WORDS 12 /* at least HEADERS_MAX, and less than any frame with a whole request */

static __always_inline void read_timestamp(const struct scratch *scratch,
					   const struct options *opts, struct arrival *a)
{
	if (!opts->timestamp_at)
		return;
	a->has_timestamp = true;
	a->tsval_be32 = bpf_htonl(read_be32(scratch->options, opts->timestamp_at));
	a->tsecr_be32 = bpf_htonl(read_be32(scratch->options, opts->timestamp_at + 4));
}

static __always_inline bool read_arrival_options(struct xdp_md *ctx, struct scratch *scratch,
						 struct arrival *a)
{
	__u32 bytes = a->payload_at - a->tcp_at - sizeof(struct tcphdr);
	const __be32 *lone = (void *)(long)ctx->data + (a->tcp_at & 127) + sizeof(struct tcphdr);
	struct options opts = {};

	if (!bytes)
		return true;
	if (bytes == TIMESTAMP_BYTES && (void *)(lone + 3) <= (void *)(long)ctx->data_end &&
	    lone[0] == bpf_htonl(TIMESTAMP_ALONE)) {
		a->has_timestamp = true;
		a->tsval_be32 = lone[1];
		a->tsecr_be32 = lone[2];
		return true;
	}
	if (!is_length(&bytes, OPTIONS_MAX))
		return false;
	__builtin_memset(scratch->options, 0, sizeof(scratch->options));
	if (bpf_xdp_load_bytes(ctx, a->tcp_at + sizeof(struct tcphdr), scratch->options, bytes))
		return false;
	walk_options(scratch, &opts);
	a->has_options = true;
	a->is_plain = a->is_plain && !opts.is_odd;
	a->sack_at = opts.sack_at;
	a->sack_bytes = opts.sack_bytes;
	read_timestamp(scratch, &opts, a);
	return true;
}

/* Fill @a from the parsed segment, except for the options. */
static __always_inline void read_segment(struct xdp_md *ctx, const struct segment *s,
					 struct arrival *a)
{
	const __u8 *bytes = (const __u8 *)s->tcp;
	__u8 ecn = s->is_ip6 ? bpf_ntohs(*(__be16 *)s->ip6) >> 4 : s->ip4->tos;

	__builtin_memset(a, 0, sizeof(*a));
	a->flags = bytes[13];
	a->is_ip6 = s->is_ip6;
	a->tcp_at = (void *)s->tcp - (void *)(long)ctx->data;
	a->payload_at = a->tcp_at + (bytes[12] >> 4) * 4;
	a->payload_bytes = segment_payload_bytes(s);
	a->seq = bpf_ntohl(s->tcp->seq);
	a->ack = bpf_ntohl(s->tcp->ack_seq);
	a->end = a->seq + a->payload_bytes + !!(a->flags & TCP_FIN);
	a->window = bpf_ntohs(s->tcp->window);
	a->vlan = s->vlan;
	a->is_plain = (a->flags & ~TCP_PSH) == TCP_ACK && !(bytes[12] & 0xf) &&
		      (ecn & IP_ECN_MASK) != IP_ECN_CE;
}

/* ---- the frame ---- */

/*
 * The write functions compute the checksum from the values in registers. Reading the bytes back in
 * pieces of other sizes than written, or calling a helper, would cost more.
 */
static __always_inline __u64 sum_halves(__u64 word)
{
	return (__u32)word + (word >> 32);
}

static __always_inline void swap_macs(__u8 *eth)
{
	__u32 to_high = *(__u32 *)eth, from_high = *(__u32 *)(eth + 6);
	__u16 to_low = *(__u16 *)(eth + 4), from_low = *(__u16 *)(eth + 10);

	*(__u32 *)eth = from_high;
	*(__u16 *)(eth + 4) = from_low;
	*(__u32 *)(eth + 6) = to_high;
	*(__u16 *)(eth + 10) = to_low;
}

static __always_inline __u64 write_ip6(__u8 *at, __u32 tcp_bytes)
{
	__u64 *address = (__u64 *)(at + 8);
	__u64 from[2] = { address[0], address[1] }, to[2] = { address[2], address[3] };

	*(__be32 *)at = bpf_htonl(0x60000000);
	*(__be32 *)(at + 4) = bpf_htonl(tcp_bytes << 16 | IPPROTO_TCP << 8 | ANSWER_TTL);
	address[0] = to[0];
	address[1] = to[1];
	address[2] = from[0];
	address[3] = from[1];
	return sum_halves(from[0]) + sum_halves(from[1]) + sum_halves(to[0]) + sum_halves(to[1]);
}

static __always_inline __u64 write_ip4(__u8 *at, __u32 tcp_bytes)
{
	__be32 *word = (__be32 *)at, from = word[3], to = word[4];
	__be32 length = bpf_htonl(0x45000000 | (tcp_bytes + sizeof(struct iphdr)));
	__be32 ttl = bpf_htonl(ANSWER_TTL << 24 | IPPROTO_TCP << 16);
	__u64 addresses = (__u64)from + to;

	word[0] = length;
	word[1] = bpf_htonl(IP4_DF);
	word[2] = ttl | (__u32)(__u16)~fold_sum(addresses + length + bpf_htonl(IP4_DF) + ttl) << 16;
	word[3] = to;
	word[4] = from;
	return addresses;
}

/* Write the IP header for @tcp_bytes of TCP. Returns the addresses' part of the TCP checksum. */
static __always_inline __u64 write_ip(__u8 *at, bool is_ip6, __u32 tcp_bytes)
{
	return is_ip6 ? write_ip6(at, tcp_bytes) : write_ip4(at, tcp_bytes);
}

/*
 * Write the number of seconds over the '0' digits of the answer, which starts at offset @headers.
 * Returns what the digits add to the checksum. The sum is kept in the map, because in a register
 * the verifier would track every possible value.
 */
static __always_inline __u64 write_digits(struct scratch *scratch,
					  const struct tollgate_template *t, __u32 headers)
{
	__u32 seconds = scratch->reply.seconds, at[2] = { t->at[0], t->at[1] };

	scratch->sum = 0;
	for (__u32 i = 0; i < TOLLGATE_DIGITS_MAX && seconds; i++) {
		__u32 tenth = seconds * 0xcccccccdULL >> 35; /* seconds / 10, for any 32 bits */
		__u64 digit = seconds - tenth * 10;

		if (at[0]) {
			scratch->frame[(headers + at[0] - i) & (FRAME_ROOM - 1)] = '0' + digit;
			scratch->sum += digit << 8 * ((at[0] - i) & 1);
		}
		if (at[1]) {
			scratch->frame[(headers + at[1] - i) & (FRAME_ROOM - 1)] = '0' + digit;
			scratch->sum += digit << 8 * ((at[1] - i) & 1);
		}
		seconds = tenth;
	}
	return scratch->sum;
}

static __always_inline void write_tcp(__u8 *at, const struct arrival *a, const struct reply *reply,
				      __u32 header_bytes, __u64 sum)
{
	__be32 *word = (__be32 *)at, ports = word[0] << 16 | word[0] >> 16;
	__be32 seq = bpf_htonl(reply->seq), ack = bpf_htonl(reply->ack);
	__be32 flags = bpf_htonl(header_bytes / 4 << 28 | (TCP_ACK | TCP_PSH) << 16 |
				 (reply->window & 0xffff));

	sum += (__u64)ports + seq + ack + flags;
	sum += bpf_htons(header_bytes + reply->answer_len) + bpf_htons(IPPROTO_TCP);
	if (a->has_timestamp) {
		word[5] = bpf_htonl(TIMESTAMP_ALONE);
		word[6] = a->tsecr_be32;
		word[7] = a->tsval_be32;
		sum += (__u64)bpf_htonl(TIMESTAMP_ALONE) + a->tsecr_be32 + a->tsval_be32;
	}
	word[0] = ports;
	word[1] = seq;
	word[2] = ack;
	word[3] = flags;
	word[4] = (__u16)~fold_sum(sum); /* no urgent pointer */
}

static __always_inline __u32 answer_headers_bytes(const struct arrival *a)
{
	return a->tcp_at + sizeof(struct tcphdr) + (a->has_timestamp ? TIMESTAMP_BYTES : 0);
}

/* Resize the frame for the answer. False: impossible, and the frame is unchanged. */
static __always_inline bool resize(struct xdp_md *ctx, const struct arrival *a, __u32 answer_len)
{
	long bytes = (long)ctx->data_end - (long)ctx->data;
	int more;

	/* Otherwise clang subtracts in 32 bits, which the verifier does not allow for pointers. */
	asm volatile("" : "+r"(bytes));
	more = answer_headers_bytes(a) + answer_len - bytes;
	if (more <= 0)
		return !bpf_xdp_adjust_tail(ctx, more);
	/*
	 * There is nearly always room at the head; whether there is any at the tail depends on the
	 * driver.
	 */
	return !bpf_xdp_adjust_head(ctx, -more) || !bpf_xdp_adjust_tail(ctx, more);
}

/*
 * Copy the request's headers, from which the answer's are made. Nearly every frame has
 * HEADERS_WORDS words, so the copy rarely needs a helper.
 */
static __always_inline bool save_headers(struct xdp_md *ctx, struct scratch *scratch,
					 const struct arrival *a)
{
	const __u64 *from = (void *)(long)ctx->data;
	__u64 *to = (__u64 *)scratch->frame;
	__u32 bytes = a->tcp_at + sizeof(struct tcphdr);

	if ((void *)(from + HEADERS_WORDS) > (void *)(long)ctx->data_end)
		return is_length(&bytes, HEADERS_MAX) &&
		       !bpf_xdp_load_bytes(ctx, 0, scratch->frame, bytes);
	for (__u32 i = 0; i < HEADERS_WORDS; i++)
		to[i] = from[i];
	return bytes <= HEADERS_MAX;
}

/* Copy all of the template: a variable length would cost more. */
static __always_inline void write_template(struct scratch *scratch,
					   const struct tollgate_template *t, __u32 headers)
{
	__builtin_memcpy(scratch->frame + (headers & 127), t->bytes, sizeof(t->bytes));
}

/* Fill the resized frame with the answer. save_headers() has saved the request's headers. */
__noinline int send_reply(struct xdp_md *ctx, struct scratch *scratch, struct tollgate_template *t)
{
	if (!scratch || !t)
		return XDP_DROP;

	const struct arrival *a = &scratch->arrival;
	const struct reply *reply = &scratch->reply;
	__u32 ip_at = a->vlan ? 18 : 14, headers = answer_headers_bytes(a);
	__u32 tcp_at = ip_at + (a->is_ip6 ? 40 : 20), tcp_bytes = headers - tcp_at;
	__u32 len = headers + reply->answer_len;
	__u64 sum;

	write_template(scratch, t, headers);
	swap_macs(scratch->frame);
	sum = write_ip(scratch->frame + ip_at, a->is_ip6, tcp_bytes + reply->answer_len);
	sum += t->sum + write_digits(scratch, t, headers);
	write_tcp(scratch->frame + tcp_at, a, reply, tcp_bytes, sum);
	if (headers > HEADERS_MAX || !is_length(&len, FRAME_ROOM) ||
	    bpf_xdp_store_bytes(ctx, 0, scratch->frame, len))
		return XDP_DROP;
	return XDP_TX;
}

/* ---- may it be answered ---- */

/*
 * Whether the connection is in a state in which the request may be answered with @len bytes.
 * Returns COUNT if so, else the reason why not.
 *
 * `answered` must be read before the socket, and by an atomic operation, which orders the two.
 * Otherwise the agent could answer in between: `answered` would match, and the view of the socket
 * would still be the one from before that answer.
 */
static __always_inline enum tollgate_counter
check_connection(struct xdp_md *ctx, struct tollgate_conn *conn, struct scratch *scratch, __u32 len)
{
	const struct tollgate_shift *shift = &conn->shift;
	const struct arrival *a = &scratch->arrival;
	struct socket_view *view = &scratch->socket;
	struct tollgate_deltas in = tollgate_deltas_of(shift->in_deltas, shift->in_pos);
	struct tollgate_deltas out = tollgate_deltas_of(shift->out_deltas, shift->out_pos);
	__u32 answered = __sync_fetch_and_add(&conn->answered, 0);

	if (!look_at_socket(ctx, &scratch->key, a->is_ip6, view))
		return TOLLGATE_COUNTER_PASS_SOCKET;
	if (view->rcv_nxt != tollgate_seq_to_socket(&in, 0, a->seq) || view->has_out_of_order)
		return TOLLGATE_COUNTER_PASS_ORDER;
	if (view->bytes_received != answered || view->copied_seq != view->rcv_nxt)
		return TOLLGATE_COUNTER_PASS_OWED;
	/*
	 * Compare in the client's numbers: an old ACK among inserted bytes would translate to
	 * snd_nxt.
	 */
	if (view->snd_nxt != view->write_seq ||
	    a->ack != view->snd_nxt + tollgate_seq_shift(&out, view->snd_nxt, view->snd_nxt) ||
	    !tollgate_out_can_open(&out, view->snd_nxt, view->snd_una))
		return TOLLGATE_COUNTER_PASS_SENDING;
	if (!(READ_ONCE(conn->flags) & TOLLGATE_CONN_EGRESS) ||
	    READ_ONCE(conn->egress_end) != view->snd_nxt)
		return TOLLGATE_COUNTER_PASS_EGRESS;
	if (a->vlan != READ_ONCE(conn->vlan) || len > view->mss ||
	    len > (__u64)a->window << (conn->snd_wscale & 15))
		return TOLLGATE_COUNTER_PASS_PACKET;
	return TOLLGATE_COUNTER_COUNT;
}

/* Record the shift that this answer causes. The answer is pending from now on. */
static __always_inline void shift_connection(struct tollgate_conn *conn,
					     const struct scratch *scratch)
{
	const struct reply *reply = &scratch->reply;
	struct tollgate_shift *shift = &conn->shift;
	struct tollgate_deltas in = tollgate_deltas_of(shift->in_deltas, shift->in_pos);
	struct tollgate_deltas out = tollgate_deltas_of(shift->out_deltas, shift->out_pos);

	WRITE_ONCE(shift->pending_len, scratch->arrival.payload_bytes);
	shift->answer_len = reply->answer_len;
	shift->template_index = scratch->ruling.template_index;
	shift->seconds = reply->seconds;
	shift->window = reply->window;
	shift->in_end = scratch->arrival.end;
	WRITE_ONCE(shift->state, TOLLGATE_SHIFT_ORDERED | TOLLGATE_SHIFT_SHIFTED);
	write_deltas(&shift->in_deltas, &shift->in_pos, tollgate_in_open(in, scratch->arrival.seq));
	write_deltas(&shift->out_deltas, &shift->out_pos,
		     tollgate_out_insert(out, scratch->socket.snd_nxt, reply->answer_len));
	WRITE_ONCE(conn->active_ns, scratch->now_ns);
}

/* Send the pending answer again, because its request was sent again. */
__noinline int repeat_answer(struct xdp_md *ctx, struct tollgate_conn *conn,
			     struct scratch *scratch)
{
	if (!conn || !scratch)
		return XDP_DROP;

	const struct tollgate_shift *shift = &conn->shift;
	struct tollgate_deltas in = tollgate_deltas_of(shift->in_deltas, shift->in_pos);
	__u32 index = shift->template_index;
	struct tollgate_template *t = bpf_map_lookup_elem(&templates, &index);
	struct reply *reply = &scratch->reply;

	reply->seq = shift->out_pos + (__u32)shift->out_deltas - shift->answer_len;
	reply->ack = tollgate_in_border(&in) + shift->pending_len;
	reply->window = shift->window;
	reply->seconds = shift->seconds;
	reply->answer_len = shift->answer_len;
	/* If the template was replaced, its bytes differ. Then the answer is lost for good. */
	if (!t || t->len != reply->answer_len || !save_headers(ctx, scratch, &scratch->arrival) ||
	    !resize(ctx, &scratch->arrival, reply->answer_len))
		return XDP_DROP;
	count(TOLLGATE_COUNTER_ANSWER_REPEATED);
	return send_reply(ctx, scratch, t);
}

#endif
