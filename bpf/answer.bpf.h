/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * Answers in place: when XDP may answer a request on its connection, and the frame that does it.
 *
 * A request is answered only if the server's socket is at rest and would take exactly this request
 * next; then nobody can tell that it never arrived. All that can fail comes before the first change
 * of state. See shift.h for what the answer does to the connection's numbers.
 */
#ifndef ANSWER_BPF_H
#define ANSWER_BPF_H

#include "flow.bpf.h"
#include "head.bpf.h"
#include "socket.bpf.h"
#include "translate.bpf.h"

#define TCP_PSH		0x08
#define IP_ECN_MASK	3
#define IP_ECN_CE	3
#define ANSWER_TTL	64
#define IP4_DF		0x4000
#define SEGMENT_MAX	1460
#define HEADERS_MAX	(14 + 4 + 40 + 20 + 12)
#define HEADERS_WORDS	12 /* and no more than the shortest request with a key fills */
#define TIMESTAMP_BYTES 12

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

/* What the parsed segment says, but for its options. */
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

static __always_inline void swap_bytes(__u8 *a, __u8 *b, __u32 count)
{
	for (__u32 i = 0; i < count; i += 2) {
		__u16 was = *(__u16 *)(a + i);

		*(__u16 *)(a + i) = *(__u16 *)(b + i);
		*(__u16 *)(b + i) = was;
	}
}

/* Summed up here: to call a helper costs more. @words is known to the compiler. */
static __always_inline __u64 sum_words(const void *at, __u32 words)
{
	const __u32 *word = at;
	__u64 sum = 0;

	for (__u32 i = 0; i < words; i++)
		sum += word[i];
	return sum;
}

/* The IP header of an answer with @tcp_bytes behind it; returns the addresses' part of the sum. */
static __always_inline __u64 write_ip(__u8 *at, bool is_ip6, __u32 tcp_bytes)
{
	if (is_ip6) {
		struct ipv6hdr *ip = (struct ipv6hdr *)at;

		*(__be32 *)ip = bpf_htonl(0x60000000);
		ip->payload_len = bpf_htons(tcp_bytes);
		ip->hop_limit = ANSWER_TTL;
		swap_bytes((__u8 *)&ip->saddr, (__u8 *)&ip->daddr, 16);
		return sum_words(&ip->saddr, 8);
	}
	struct iphdr *ip = (struct iphdr *)at;

	ip->tos = 0;
	ip->tot_len = bpf_htons(tcp_bytes + sizeof(*ip));
	ip->id = 0;
	ip->frag_off = bpf_htons(IP4_DF);
	ip->ttl = ANSWER_TTL;
	ip->check = 0;
	swap_bytes((__u8 *)&ip->saddr, (__u8 *)&ip->daddr, 4);
	ip->check = ~fold_sum(sum_words(ip, sizeof(*ip) / 4));
	return (__u64)ip->saddr + ip->daddr;
}

/*
 * Write the number of seconds over the zeros of an answer whose headers end at @headers; returns what
 * its digits add to the sum. Summed up in memory: the verifier would follow every sum that there can
 * be.
 */
static __always_inline __u64 write_digits(struct scratch *scratch,
					  const struct tollgate_template *t, __u32 headers)
{
	__u32 seconds = scratch->reply.seconds, at[2] = { t->at[0], t->at[1] };

	scratch->sum = 0;
	for (__u32 i = 0; i < TOLLGATE_DIGITS_MAX && seconds; i++) {
		__u32 tenth = seconds * 0xcccccccdULL >> 35; /* a tenth of any 32 bits */
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
	struct tcphdr *tcp = (struct tcphdr *)at;
	__be16 source = tcp->source;

	tcp->source = tcp->dest;
	tcp->dest = source;
	tcp->seq = bpf_htonl(reply->seq);
	tcp->ack_seq = bpf_htonl(reply->ack);
	at[12] = header_bytes / 4 << 4;
	at[13] = TCP_ACK | TCP_PSH;
	tcp->window = bpf_htons(reply->window);
	tcp->check = 0;
	tcp->urg_ptr = 0;
	sum += sum_words(at, sizeof(*tcp) / 4);
	if (a->has_timestamp) {
		__be32 *option = (__be32 *)(at + sizeof(*tcp));

		option[0] = bpf_htonl(TIMESTAMP_ALONE);
		option[1] = a->tsecr_be32;
		option[2] = a->tsval_be32;
		sum += sum_words(option, TIMESTAMP_BYTES / 4);
	}
	sum += bpf_htons(header_bytes + reply->answer_len) + bpf_htons(IPPROTO_TCP);
	tcp->check = ~fold_sum(sum);
}

static __always_inline __u32 answer_headers_bytes(const struct arrival *a)
{
	return a->tcp_at + sizeof(struct tcphdr) + (a->has_timestamp ? TIMESTAMP_BYTES : 0);
}

/* Make the frame as long as the answer needs it. False: it cannot be, and is as it was. */
static __always_inline bool resize(struct xdp_md *ctx, const struct arrival *a, __u32 answer_len)
{
	long bytes = (long)ctx->data_end - (long)ctx->data;
	int more;

	/* Else clang subtracts in 32 bits, which the verifier does not allow for pointers. */
	asm volatile("" : "+r"(bytes));
	more = answer_headers_bytes(a) + answer_len - bytes;
	if (more <= 0)
		return !bpf_xdp_adjust_tail(ctx, more);
	/* Room at the head is there nearly always; at the tail drivers differ. */
	return !bpf_xdp_adjust_head(ctx, -more) || !bpf_xdp_adjust_tail(ctx, more);
}

/*
 * Copy the headers of the request, which the answer turns around. Nearly every frame is as long as
 * they can be, so that no helper is needed.
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

/* All of the template, since to stop at its end costs more. */
static __always_inline void write_template(struct scratch *scratch,
					   const struct tollgate_template *t, __u32 headers)
{
	const __u64 *from = (const __u64 *)t->bytes;
	__u64 *to = (__u64 *)(scratch->frame + (headers & 127));

	for (__u32 i = 0; i < sizeof(t->bytes) / sizeof(*from); i++)
		to[i] = from[i];
}

/* Fill the resized frame, whose old headers were saved. */
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
	swap_bytes(scratch->frame, scratch->frame + 6, 6);
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
 * Everything that must hold of the connection for the request to be answered with @len bytes: COUNT,
 * or what does not. `answered` is read before the socket, and by an atomic operation: were it read
 * after, an answer given in between could hide a request just received.
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
	/* In the client's numbers: an old ACK among inserted bytes would translate to a right one. */
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

/* The connection is shifted by this answer, which is pending from now on. */
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

/* The pending answer again, in place of a request that came again. */
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
	/* Another template there by now would be other bytes; then the client waits in vain. */
	if (!t || t->len != reply->answer_len || !save_headers(ctx, scratch, &scratch->arrival) ||
	    !resize(ctx, &scratch->arrival, reply->answer_len))
		return XDP_DROP;
	count(TOLLGATE_COUNTER_ANSWER_REPEATED);
	return send_reply(ctx, scratch, t);
}

#endif
