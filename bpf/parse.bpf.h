/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * Parsing an Ethernet frame down to the TCP header.
 *
 * Every step checks that its header is in the frame and moves the cursor past it. TCP that is hard
 * to read (fragments, IP options, extension headers, a third VLAN tag) is "odd": we do not guess.
 */
#ifndef PARSE_BPF_H
#define PARSE_BPF_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "tollgate/abi.h"

#define IP4_VERSION_NO_OPTIONS 0x45
#define IP4_FRAGMENT	       0xbfff /* more fragments, offset, reserved bit: all but DF */
#define IP4_OFFSET	       0x1fff
#define IP6_OFFSET	       0xfff8

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

enum parsed {
	PARSED_OTHER, /* not TCP, as far as we can tell */
	PARSED_ODD,
	PARSED_ODD_TCP, /* odd, but with readable addresses and ports */
	PARSED_ICMP,	/* the cursor is after the IP header */
	PARSED_TCP,
};

struct cursor {
	void *pos;
	void *end;
};

struct vlan_tag {
	__be16 tci;
	__be16 proto;
};

/*
 * Pointers to a segment's headers in the frame. `is_ip6` selects the valid member of the union. A
 * NULL pointer could not, because the verifier cannot tell a packet pointer from NULL.
 */
struct segment {
	union {
		struct iphdr *ip4;
		struct ipv6hdr *ip6;
	};
	struct tcphdr *tcp;
	__u32 vlan; /* TOLLGATE_VLAN_*, or SEGMENT_TWO_TAGS */
	bool is_ip6;
};
#define SEGMENT_TWO_TAGS 0x20000

static __always_inline bool is_vlan(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD);
}

static __always_inline bool parse_vlan(struct cursor *c, __be16 *proto)
{
	struct vlan_tag *tag = c->pos;

	if ((void *)(tag + 1) > c->end)
		return false;
	*proto = tag->proto;
	c->pos = tag + 1;
	return true;
}

static __always_inline bool parse_tags(struct cursor *c, struct segment *s, __be16 *proto)
{
	const struct vlan_tag *tag = c->pos;

	if (!parse_vlan(c, proto))
		return false;
	s->vlan = TOLLGATE_VLAN_TAGGED | (bpf_ntohs(tag->tci) & TOLLGATE_VLAN_MASK);
	if (!is_vlan(*proto))
		return true;
	s->vlan = SEGMENT_TWO_TAGS;
	return parse_vlan(c, proto);
}

static __always_inline enum parsed parse_tcp(struct cursor *c, struct segment *s)
{
	struct tcphdr *tcp = c->pos;

	if ((void *)(tcp + 1) > c->end)
		return PARSED_ODD;
	s->tcp = tcp;
	return PARSED_TCP;
}

/* Find the TCP header of an odd segment, @skip bytes after the cursor, only to read its ports. */
static __always_inline enum parsed parse_odd(struct cursor *c, struct segment *s, __u32 skip)
{
	struct tcphdr *tcp = c->pos + (skip & 0x7fc);

	if ((void *)(tcp + 1) > c->end)
		return PARSED_ODD;
	s->tcp = tcp;
	return PARSED_ODD_TCP;
}

/* Skip one extension header before TCP. A fragment other than the first has no ports. */
static __always_inline enum parsed parse_extension(struct cursor *c, struct segment *s,
						   struct ipv6hdr *ip)
{
	const __u8 *extension = (const __u8 *)(ip + 1);

	if (extension + 8 > (const __u8 *)c->end || extension[0] != IPPROTO_TCP)
		return PARSED_ODD;
	s->ip6 = ip;
	s->is_ip6 = true;
	c->pos = ip + 1;
	if (ip->nexthdr != IPPROTO_FRAGMENT)
		return parse_odd(c, s, (extension[1] + 1) * 8);
	if (*(const __be16 *)(extension + 2) & bpf_htons(IP6_OFFSET))
		return PARSED_ODD;
	return parse_odd(c, s, 8);
}

static __always_inline enum parsed parse_ip4(struct cursor *c, struct segment *s)
{
	struct iphdr *ip = c->pos;

	if ((void *)(ip + 1) > c->end ||
	    (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_ICMP))
		return PARSED_OTHER;
	s->ip4 = ip;
	if (*(__u8 *)ip != IP4_VERSION_NO_OPTIONS || ip->frag_off & bpf_htons(IP4_FRAGMENT)) {
		if (ip->protocol != IPPROTO_TCP)
			return PARSED_OTHER;
		return ip->frag_off & bpf_htons(IP4_OFFSET)
			       ? PARSED_ODD
			       : parse_odd(c, s, (*(__u8 *)ip & 15) * 4);
	}
	c->pos = ip + 1;
	return ip->protocol == IPPROTO_TCP ? parse_tcp(c, s) : PARSED_ICMP;
}

static __always_inline enum parsed parse_ip6(struct cursor *c, struct segment *s)
{
	struct ipv6hdr *ip = c->pos;

	if ((void *)(ip + 1) > c->end || *(__u8 *)ip >> 4 != 6)
		return PARSED_OTHER;
	switch (ip->nexthdr) {
	case IPPROTO_TCP:
		break;
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_FRAGMENT:
	case IPPROTO_DSTOPTS:
		return parse_extension(c, s, ip);
	case IPPROTO_ICMPV6:
		break;
	default:
		return PARSED_OTHER;
	}
	s->ip6 = ip;
	s->is_ip6 = true;
	c->pos = ip + 1;
	return ip->nexthdr == IPPROTO_TCP ? parse_tcp(c, s) : PARSED_ICMP;
}

static __always_inline enum parsed parse_frame(struct cursor *c, struct segment *s)
{
	struct ethhdr *eth = c->pos;
	__be16 proto;

	if ((void *)(eth + 1) > c->end)
		return PARSED_OTHER;
	/*
	 * Read h_proto as one word: the struct is packed, so the compiler would read it byte by
	 * byte, and nearly every packet comes through here.
	 */
	proto = *(__be16 *)((void *)eth + offsetof(struct ethhdr, h_proto));
	c->pos = eth + 1;
	if (proto != bpf_htons(ETH_P_IP) && is_vlan(proto) && !parse_tags(c, s, &proto))
		return PARSED_OTHER;

	if (proto == bpf_htons(ETH_P_IP))
		return parse_ip4(c, s);
	if (proto == bpf_htons(ETH_P_IPV6))
		return parse_ip6(c, s);
	return is_vlan(proto) ? PARSED_ODD : PARSED_OTHER;
}

static __always_inline __u8 segment_flags(const struct segment *s)
{
	return ((const __u8 *)s->tcp)[13];
}

static __always_inline int segment_tcp_bytes(const struct segment *s)
{
	return s->is_ip6 ? bpf_ntohs(s->ip6->payload_len)
			 : bpf_ntohs(s->ip4->tot_len) - (int)sizeof(*s->ip4);
}

/*
 * From the IP header's length, since short frames are padded. Negative if the lengths are invalid.
 */
static __always_inline int segment_payload_bytes(const struct segment *s)
{
	return segment_tcp_bytes(s) - (((const __u8 *)s->tcp)[12] >> 4) * 4;
}

/* Whether the frame is shorter than the IP header says. */
static __always_inline bool segment_is_cut(const struct segment *s, const struct cursor *c)
{
	return c->end - (void *)s->tcp < segment_tcp_bytes(s);
}

static __always_inline void map_ip4(__u32 to_be32[4], __u32 addr_be32)
{
	to_be32[0] = 0;
	to_be32[1] = 0;
	to_be32[2] = bpf_htonl(0xffff);
	to_be32[3] = addr_be32;
}

static __always_inline void segment_flow_key(const struct segment *s, struct tollgate_flow_key *key)
{
	if (s->is_ip6) {
		__builtin_memcpy(key->client_be32, &s->ip6->saddr, 16);
		__builtin_memcpy(key->local_be32, &s->ip6->daddr, 16);
	} else {
		map_ip4(key->client_be32, s->ip4->saddr);
		map_ip4(key->local_be32, s->ip4->daddr);
	}
	key->client_port_be16 = s->tcp->source;
	key->local_port_be16 = s->tcp->dest;
	key->pad = 0;
}

#endif
