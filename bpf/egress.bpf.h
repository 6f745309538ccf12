/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * Egress: translating what the server's sockets send on enrolled connections.
 *
 * Every outgoing segment passes here before it is queued. A super-frame of segmentation offload
 * passes as one frame, and it is enough to translate its one header. XDP answers only if the
 * socket's last segment was seen here, so a connection whose packets leave by another interface is
 * never answered on.
 */
#ifndef EGRESS_BPF_H
#define EGRESS_BPF_H

#include <linux/pkt_cls.h>

#include "flow.bpf.h"
#include "translate.bpf.h"

#define HOP_BY_HOP_BYTES 8 /* the jumbogram header of an IPv6 super-frame above 64 KiB */

/*
 * An outgoing segment. Offsets, not pointers, since every write to the frame invalidates pointers.
 */
struct departure {
	struct tollgate_flow_key key; /* from the viewpoint of incoming packets */
	__u32 vlan;
	__u32 tcp_at;
	__u32 tcp_bytes; /* of the header */
	__u32 seq, ack, end;
	bool is_syn;
};

static __always_inline bool read_tcp(struct __sk_buff *skb, void *pos, struct departure *d)
{
	void *end = (void *)(long)skb->data_end;
	struct tcphdr *tcp = pos;
	__u8 flags;

	if ((void *)(tcp + 1) > end)
		return false;
	flags = ((__u8 *)tcp)[13];
	d->key.client_port_be16 = tcp->dest;
	d->key.local_port_be16 = tcp->source;
	d->tcp_at = pos - (void *)(long)skb->data;
	d->tcp_bytes = (((__u8 *)tcp)[12] >> 4) * 4;
	d->seq = bpf_ntohl(tcp->seq);
	d->ack = bpf_ntohl(tcp->ack_seq);
	/* From the buffer's length: a large super-frame's does not fit into the IP header. */
	d->end = d->seq + (skb->len - d->tcp_at - d->tcp_bytes) + !!(flags & TCP_FIN);
	d->is_syn = flags & TCP_SYN;
	return d->tcp_bytes >= sizeof(*tcp);
}

static __always_inline bool read_ip4(struct __sk_buff *skb, void *pos, struct departure *d)
{
	struct iphdr *ip = pos;

	if ((void *)(ip + 1) > (void *)(long)skb->data_end || ip->protocol != IPPROTO_TCP ||
	    *(__u8 *)ip != IP4_VERSION_NO_OPTIONS)
		return false;
	map_ip4(d->key.client_be32, ip->daddr);
	map_ip4(d->key.local_be32, ip->saddr);
	return read_tcp(skb, ip + 1, d);
}

static __always_inline bool read_ip6(struct __sk_buff *skb, void *pos, struct departure *d)
{
	struct ipv6hdr *ip = pos;

	if ((void *)(ip + 1) > (void *)(long)skb->data_end)
		return false;
	__builtin_memcpy(d->key.client_be32, &ip->daddr, 16);
	__builtin_memcpy(d->key.local_be32, &ip->saddr, 16);
	if (ip->nexthdr == IPPROTO_TCP)
		return read_tcp(skb, ip + 1, d);
	pos = (void *)(ip + 1) + HOP_BY_HOP_BYTES;
	if (ip->nexthdr != IPPROTO_HOPOPTS || pos > (void *)(long)skb->data_end ||
	    ((__u8 *)(ip + 1))[0] != IPPROTO_TCP || ((__u8 *)(ip + 1))[1])
		return false;
	return read_tcp(skb, pos, d);
}

static __always_inline bool read_departure(struct __sk_buff *skb, struct departure *d)
{
	struct cursor c = { (void *)(long)skb->data, (void *)(long)skb->data_end };
	struct ethhdr *eth = c.pos;
	__be16 proto;

	if ((void *)(eth + 1) > c.end)
		return false;
	proto = *(__be16 *)((void *)eth + offsetof(struct ethhdr, h_proto));
	c.pos = eth + 1;
	if (skb->vlan_present)
		d->vlan = TOLLGATE_VLAN_TAGGED | (skb->vlan_tci & TOLLGATE_VLAN_MASK);
	if (is_vlan(proto)) {
		struct vlan_tag *tag = c.pos;

		if (skb->vlan_present || !parse_vlan(&c, &proto) || is_vlan(proto))
			return false;
		d->vlan = TOLLGATE_VLAN_TAGGED | (bpf_ntohs(tag->tci) & TOLLGATE_VLAN_MASK);
	}
	if (proto == bpf_htons(ETH_P_IP))
		return read_ip4(skb, c.pos, d);
	return proto == bpf_htons(ETH_P_IPV6) && read_ip6(skb, c.pos, d);
}

/* Record what XDP must know before it may answer. Write egress_end after vlan. */
static __always_inline void note_departure(struct tollgate_conn *conn, const struct departure *d)
{
	bool is_known = READ_ONCE(conn->flags) & TOLLGATE_CONN_EGRESS;

	if (conn->vlan != d->vlan)
		WRITE_ONCE(conn->vlan, d->vlan);
	if (!is_known || tollgate_is_before(conn->egress_end, d->end))
		WRITE_ONCE(conn->egress_end, d->end);
	if (!is_known)
		__sync_fetch_and_or(&conn->flags, TOLLGATE_CONN_EGRESS);
}

/* Replace a header field and update the checksum; the kernel's helper handles partial checksums. */
static __always_inline void replace(struct __sk_buff *skb, const struct departure *d, __u32 at,
				    __u32 old, __u32 fresh)
{
	__be32 old_be32 = bpf_htonl(old), fresh_be32 = bpf_htonl(fresh);

	bpf_l4_csum_replace(skb, d->tcp_at + offsetof(struct tcphdr, check), old_be32, fresh_be32,
			    sizeof(fresh_be32));
	bpf_skb_store_bytes(skb, d->tcp_at + at, &fresh_be32, sizeof(fresh_be32), 0);
}

/* The kernel aligns its options to four bytes, so each edge can be replaced like a header field. */
static __always_inline void translate_departing_sack(struct __sk_buff *skb,
						     const struct departure *d,
						     const struct tollgate_deltas *in)
{
	struct scratch *s = find_scratch();
	__u32 bytes = d->tcp_bytes - sizeof(struct tcphdr);
	struct options opts = {};

	if (!s || !is_length(&bytes, OPTIONS_MAX))
		return;
	__builtin_memset(s->options, 0, sizeof(s->options));
	if (bpf_skb_load_bytes(skb, d->tcp_at + sizeof(struct tcphdr), s->options, bytes))
		return;
	if (bytes == TIMESTAMP_BYTES && *(__u32 *)s->options == bpf_htonl(TIMESTAMP_ALONE))
		return;
	walk_options(s, &opts);
	if (!opts.sack_at)
		return;
	for (__u32 i = 0; i < 8; i++) {
		__u32 at = opts.sack_at + i * 4, edge;

		if (i * 4 + 4 > opts.sack_bytes)
			break;
		edge = read_be32(s->options, at);
		replace(skb, d, sizeof(struct tcphdr) + at, edge, tollgate_ack_to_client(in, edge));
	}
}

static __always_inline void translate_departure(struct __sk_buff *skb, struct tollgate_conn *conn,
						const struct departure *d)
{
	struct tollgate_deltas out = read_deltas(&conn->shift.out_deltas, &conn->shift.out_pos);
	struct tollgate_deltas in = read_deltas(&conn->shift.in_deltas, &conn->shift.in_pos);

	replace(skb, d, offsetof(struct tcphdr, seq), d->seq,
		d->seq + tollgate_seq_shift(&out, d->seq, d->end));
	replace(skb, d, offsetof(struct tcphdr, ack_seq), d->ack,
		tollgate_ack_to_client(&in, d->ack));
	if (d->tcp_bytes >= sizeof(struct tcphdr) + SACK_ALONE_BYTES)
		translate_departing_sack(skb, d, &in);
}

SEC("tc")
int edge_egress(struct __sk_buff *skb)
{
	const struct tollgate_settings *set;
	struct departure d = {};
	struct tollgate_conn *conn;
	__u32 zero = 0;

	if (!read_departure(skb, &d))
		return TC_ACT_UNSPEC;
	set = bpf_map_lookup_elem(&settings, &zero);
	if (!set || !port_is_ours(set, bpf_ntohs(d.key.local_port_be16)) || d.is_syn ||
	    !is_hinted(&d.key))
		return TC_ACT_UNSPEC;
	conn = find_conn(&d.key);
	if (!conn || READ_ONCE(conn->flags) & TOLLGATE_CONN_POISONED)
		return TC_ACT_UNSPEC;
	note_departure(conn, &d);
	if (READ_ONCE(conn->shift.state) & TOLLGATE_SHIFT_SHIFTED)
		translate_departure(skb, conn, &d);
	return TC_ACT_UNSPEC;
}

#endif
