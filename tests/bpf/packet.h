/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Building frames for tests: TCP over IPv4 or IPv6 with correct checksums, and any odd headers.
 *
 * A zeroed spec is a plain ACK from the default client to the default server. Each field that is
 * not 0 changes one thing.
 */
#ifndef TESTS_BPF_PACKET_H
#define TESTS_BPF_PACKET_H

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#define PACKET_CLIENT4	   "10.9.0.1"
#define PACKET_LOCAL4	   "10.9.0.2"
#define PACKET_CLIENT6	   "fd09::1:2:3:4"
#define PACKET_LOCAL6	   "fd09::2"
#define PACKET_CLIENT_PORT 40000
#define PACKET_LOCAL_PORT  8443

#define PACKET_HOP_BY_HOP 0x100 /* stands for header type 0, since 0 in a spec means none */

#define PACKET_FIN 0x01
#define PACKET_SYN 0x02
#define PACKET_RST 0x04
#define PACKET_PSH 0x08
#define PACKET_ACK 0x10

struct packet_spec {
	int family;	     /* AF_INET unless AF_INET6 */
	unsigned vlan_tags;  /* of two or more, the outermost is 802.1ad */
	unsigned ether_type; /* instead of the right one */
	uint8_t protocol;    /* instead of TCP */
	uint16_t extension;  /* IPv6: an extension header of this type before TCP */
	unsigned ip_option_words;
	uint16_t fragment; /* IPv4: flags and offset */
	const char *client;
	const char *local;
	uint16_t client_port;
	uint16_t local_port;
	uint32_t seq;
	uint32_t ack;	 /* instead of 1 */
	uint16_t window; /* instead of 65535 */
	uint8_t tos;	 /* or traffic class */
	uint8_t flags;	 /* instead of ACK */
	unsigned tcp_option_words;
	const uint8_t *tcp_options; /* instead of NOPs */
	const char *payload;
	unsigned padding; /* bytes of Ethernet padding at the end */
	int length_lie;	  /* added to the length in the IP header */
};

struct packet {
	uint8_t data[2048];
	size_t len;
};

static inline void packet_put(struct packet *p, const void *bytes, size_t len)
{
	if (len)
		memcpy(p->data + p->len, bytes, len);
	p->len += len;
}

static inline void packet_put16(struct packet *p, uint16_t value)
{
	packet_put(p, &(uint16_t){ htons(value) }, 2);
}

static inline void packet_put32(struct packet *p, uint32_t value)
{
	packet_put(p, &(uint32_t){ htonl(value) }, 4);
}

static inline uint32_t packet_sum(const uint8_t *bytes, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? bytes[i] : bytes[i] << 8;
	return sum;
}

static inline uint16_t packet_fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static inline void packet_put_address(struct packet *p, int family, const char *text,
				      const char *otherwise)
{
	uint8_t bytes[16];

	inet_pton(family, text ? text : otherwise, bytes);
	packet_put(p, bytes, family == AF_INET6 ? 16 : 4);
}

static inline void packet_put_ether(struct packet *p, const struct packet_spec *s)
{
	static const uint8_t macs[12] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1 };

	packet_put(p, macs, sizeof(macs));
	for (unsigned i = 0; i < s->vlan_tags; i++) {
		packet_put16(p, s->vlan_tags > 1 && i == 0 ? ETH_P_8021AD : ETH_P_8021Q);
		packet_put16(p, 100 + i);
	}
	if (s->ether_type)
		packet_put16(p, s->ether_type);
	else
		packet_put16(p, s->family == AF_INET6 ? ETH_P_IPV6 : ETH_P_IP);
}

static inline void packet_put_ip4(struct packet *p, const struct packet_spec *s, size_t tcp_len)
{
	size_t at = p->len, words = 5 + s->ip_option_words;
	uint16_t check;

	packet_put16(p, 0x4000 | words << 8 | s->tos);
	packet_put16(p, words * 4 + tcp_len + s->length_lie);
	packet_put16(p, 1);
	packet_put16(p, s->fragment);
	packet_put16(p, 64 << 8 | (s->protocol ? s->protocol : IPPROTO_TCP));
	packet_put16(p, 0);
	packet_put_address(p, AF_INET, s->client, PACKET_CLIENT4);
	packet_put_address(p, AF_INET, s->local, PACKET_LOCAL4);
	for (unsigned i = 0; i < s->ip_option_words; i++)
		packet_put32(p, 0x01010101);
	check = htons(packet_fold(packet_sum(p->data + at, words * 4, 0)));
	memcpy(p->data + at + 10, &check, 2);
}

static inline void packet_put_ip6(struct packet *p, const struct packet_spec *s, size_t tcp_len)
{
	uint8_t protocol = s->protocol ? s->protocol : IPPROTO_TCP;

	packet_put32(p, 0x60000000 | (uint32_t)s->tos << 20);
	packet_put16(p, tcp_len + (s->extension ? 8 : 0) + s->length_lie);
	packet_put16(p, (s->extension ? s->extension : protocol) << 8 | 64);
	packet_put_address(p, AF_INET6, s->client, PACKET_CLIENT6);
	packet_put_address(p, AF_INET6, s->local, PACKET_LOCAL6);
	if (s->extension) {
		packet_put32(p, (uint32_t)protocol << 24);
		packet_put32(p, 0);
	}
}

static inline void packet_put_tcp(struct packet *p, const struct packet_spec *s, size_t payload_len)
{
	unsigned words = 5 + s->tcp_option_words;

	packet_put16(p, s->client_port ? s->client_port : PACKET_CLIENT_PORT);
	packet_put16(p, s->local_port ? s->local_port : PACKET_LOCAL_PORT);
	packet_put32(p, s->seq);
	packet_put32(p, s->ack ? s->ack : 1);
	packet_put16(p, words << 12 | (s->flags ? s->flags : PACKET_ACK));
	packet_put16(p, s->window ? s->window : 65535);
	packet_put32(p, 0);
	if (s->tcp_options)
		packet_put(p, s->tcp_options, s->tcp_option_words * 4);
	for (unsigned i = 0; i < s->tcp_option_words && !s->tcp_options; i++)
		packet_put32(p, 0x01010101);
	packet_put(p, s->payload, payload_len);
}

/* @addresses: source and destination, as in the IP header. */
static inline void packet_finish_tcp(uint8_t *tcp, size_t len, const uint8_t *addresses,
				     size_t addresses_len)
{
	uint32_t sum = packet_sum(addresses, addresses_len, IPPROTO_TCP + len);
	uint16_t check = htons(packet_fold(packet_sum(tcp, len, sum)));

	memcpy(tcp + 16, &check, 2);
}

static inline struct packet packet_build(const struct packet_spec *s)
{
	size_t payload_len = s->payload ? strlen(s->payload) : 0;
	size_t tcp_len = 20 + s->tcp_option_words * 4 + payload_len;
	struct packet p = { .len = 0 };
	size_t ip_at, tcp_at;

	packet_put_ether(&p, s);
	ip_at = p.len;
	if (s->family == AF_INET6)
		packet_put_ip6(&p, s, tcp_len);
	else
		packet_put_ip4(&p, s, tcp_len);
	tcp_at = p.len;
	packet_put_tcp(&p, s, payload_len);
	if (s->family == AF_INET6)
		packet_finish_tcp(p.data + tcp_at, tcp_len, p.data + ip_at + 8, 32);
	else
		packet_finish_tcp(p.data + tcp_at, tcp_len, p.data + ip_at + 12, 8);
	p.len += s->padding;
	return p;
}

#endif
