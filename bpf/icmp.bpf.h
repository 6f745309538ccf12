/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * ICMP errors about packets that a shifted connection sent. They quote a sequence number (RFC 792,
 * RFC 4443), and the kernel ignores an error whose number the socket has not sent. Without
 * translation, path MTU discovery would fail.
 */
#ifndef ICMP_BPF_H
#define ICMP_BPF_H

#include "flow.bpf.h"
#include "translate.bpf.h"

#define ICMP_HEADER_BYTES 8

/* Types of errors. */
#define ICMP4_UNREACHABLE   3
#define ICMP4_TIME_EXCEEDED 11
#define ICMP4_PARAMETER	    12
#define ICMP6_FIRST	    1 /* unreachable, too big, time exceeded */
#define ICMP6_LAST	    4 /* parameter problem */

/* An ICMP error quotes at least these bytes of the TCP header. */
struct quoted_tcp {
	__be16 source, dest;
	__be32 seq_be32;
};

static __always_inline bool is_icmp_error(const __u8 *icmp, bool is_ip6)
{
	if (is_ip6)
		return icmp[0] >= ICMP6_FIRST && icmp[0] <= ICMP6_LAST;
	return icmp[0] == ICMP4_UNREACHABLE || icmp[0] == ICMP4_TIME_EXCEEDED ||
	       icmp[0] == ICMP4_PARAMETER;
}

/* We sent the quoted segment, so its source is the local side. NULL: not plain TCP. */
static __always_inline struct quoted_tcp *read_quote(void *pos, void *end, bool is_ip6,
						     struct tollgate_flow_key *ret_key)
{
	struct quoted_tcp *tcp;

	if (is_ip6) {
		struct ipv6hdr *ip = pos;

		tcp = (void *)(ip + 1);
		if ((void *)(tcp + 1) > end || ip->nexthdr != IPPROTO_TCP)
			return NULL;
		__builtin_memcpy(ret_key->client_be32, &ip->daddr, 16);
		__builtin_memcpy(ret_key->local_be32, &ip->saddr, 16);
	} else {
		struct iphdr *ip = pos;

		tcp = (void *)(ip + 1);
		if ((void *)(tcp + 1) > end || ip->protocol != IPPROTO_TCP ||
		    *(__u8 *)ip != IP4_VERSION_NO_OPTIONS)
			return NULL;
		map_ip4(ret_key->client_be32, ip->daddr);
		map_ip4(ret_key->local_be32, ip->saddr);
	}
	ret_key->client_port_be16 = tcp->dest;
	ret_key->local_port_be16 = tcp->source;
	ret_key->pad = 0;
	return tcp;
}

/* @pos: the ICMP message, after the IP header. */
static __noinline int on_icmp(void *pos, void *end, bool is_ip6)
{
	struct tollgate_flow_key key;
	struct tollgate_deltas out;
	struct quoted_tcp *tcp;
	struct tollgate_conn *conn;
	__be16 *check = pos + 2;
	__be32 seq_be32;

	if (pos + ICMP_HEADER_BYTES > end || !is_icmp_error(pos, is_ip6))
		return XDP_PASS;
	tcp = read_quote(pos + ICMP_HEADER_BYTES, end, is_ip6, &key);
	if (!tcp || !is_hinted(&key))
		return XDP_PASS;
	conn = find_conn(&key);
	if (!conn || !is_shifted(conn))
		return XDP_PASS;
	out = read_deltas(&conn->shift.out_deltas, &conn->shift.out_pos);
	seq_be32 = bpf_htonl(tollgate_ack_to_socket(&out, bpf_ntohl(tcp->seq_be32)));
	*check = update_check(*check, tcp->seq_be32, seq_be32);
	tcp->seq_be32 = seq_be32;
	return XDP_PASS;
}

#endif
