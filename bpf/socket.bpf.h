/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * Looking up the server's socket and reading the fields that XDP needs.
 */
#ifndef SOCKET_BPF_H
#define SOCKET_BPF_H

#include "parse.bpf.h"

/* Only the fields we read. The loader finds their offsets in the kernel's BTF (CO-RE). */
struct rb_root {
	void *rb_node;
} __attribute__((preserve_access_index));

struct tcp_sock {
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u32 rcv_wup;
	__u32 rcv_wnd;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 snd_wnd;
	__u32 write_seq;
	__u32 mss_cache;
	__u64 bytes_received;
	struct rb_root out_of_order_queue;
} __attribute__((preserve_access_index));

struct socket_view {
	__u32 rcv_nxt, copied_seq, snd_nxt, snd_una, write_seq;
	__u32 bytes_received; /* low 32 bits */
	__u32 mss;
	__u32 window;  /* bytes that the socket would announce now */
	__u32 snd_wnd; /* bytes that the client has announced */
	bool has_out_of_order;
};

static __always_inline struct bpf_sock *
find_socket(struct xdp_md *ctx, const struct tollgate_flow_key *key, bool is_ip6)
{
	struct bpf_sock_tuple tuple = {};

	if (is_ip6) {
		__builtin_memcpy(tuple.ipv6.saddr, key->client_be32, 16);
		__builtin_memcpy(tuple.ipv6.daddr, key->local_be32, 16);
		tuple.ipv6.sport = key->client_port_be16;
		tuple.ipv6.dport = key->local_port_be16;
		return bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	tuple.ipv4.saddr = key->client_be32[3];
	tuple.ipv4.daddr = key->local_be32[3];
	tuple.ipv4.sport = key->client_port_be16;
	tuple.ipv4.dport = key->local_port_be16;
	return bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
}

/* Fill @view. False: the connection has no established socket. */
static __always_inline bool look_at_socket(struct xdp_md *ctx, const struct tollgate_flow_key *key,
					   bool is_ip6, struct socket_view *view)
{
	struct bpf_sock *sk = find_socket(ctx, key, is_ip6);
	struct tcp_sock *tp;

	if (!sk)
		return false;
	tp = sk->state == BPF_TCP_ESTABLISHED ? bpf_skc_to_tcp_sock(sk) : NULL;
	if (tp) {
		view->rcv_nxt = tp->rcv_nxt;
		view->copied_seq = tp->copied_seq;
		view->snd_nxt = tp->snd_nxt;
		view->snd_una = tp->snd_una;
		view->write_seq = tp->write_seq;
		view->bytes_received = tp->bytes_received;
		view->mss = tp->mss_cache;
		view->snd_wnd = tp->snd_wnd;
		view->window = tp->rcv_wup + tp->rcv_wnd - tp->rcv_nxt;
		view->has_out_of_order = tp->out_of_order_queue.rb_node;
	}
	bpf_sk_release(sk);
	return tp;
}

/* Whether the connection has a socket. A listener on its port or TIME_WAIT does not count. */
static __always_inline bool has_live_socket(struct xdp_md *ctx, const struct tollgate_flow_key *key,
					    bool is_ip6)
{
	struct bpf_sock *sk = find_socket(ctx, key, is_ip6);
	__u32 state;

	if (!sk)
		return false;
	state = sk->state;
	bpf_sk_release(sk);
	return state != BPF_TCP_LISTEN && state != BPF_TCP_TIME_WAIT;
}

#endif
