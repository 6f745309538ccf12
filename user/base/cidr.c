/* SPDX-License-Identifier: BSD-2-Clause */
/* cidr: blocks of addresses. */
#include "base/cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#define MAPPED_BITS 96 /* of ::ffff:0:0/96 */

static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff };

static void map_ipv4(const void *address, uint8_t ret_mapped[16])
{
	memcpy(ret_mapped, mapped_prefix, sizeof(mapped_prefix));
	memcpy(ret_mapped + sizeof(mapped_prefix), address, 4);
}

/* Parse an address. @ret_bits is its longest prefix as people write it: 32 or 128. 0 or -EINVAL. */
static int parse_address(struct text t, uint8_t ret_address[16], unsigned *ret_bits)
{
	char name[INET6_ADDRSTRLEN];
	struct in_addr ipv4;

	if (!t.len || t.len >= sizeof(name) || memchr(t.ptr, '\0', t.len))
		return -EINVAL;
	memcpy(name, t.ptr, t.len);
	name[t.len] = '\0';
	if (inet_pton(AF_INET, name, &ipv4) == 1) {
		map_ipv4(&ipv4, ret_address);
		*ret_bits = 32;
		return 0;
	}
	*ret_bits = 128;
	return inet_pton(AF_INET6, name, ret_address) == 1 ? 0 : -EINVAL;
}

/* Whether @a and @b agree in their first @bits bits. */
static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	if (memcmp(a, b, bytes))
		return false;
	return !rest || !((a[bytes] ^ b[bytes]) >> (8 - rest));
}

static bool has_host_bits(const struct cidr *cidr)
{
	for (unsigned bit = cidr->prefix_bits; bit < 128; bit++) {
		if (cidr->address[bit / 8] & 0x80 >> bit % 8)
			return true;
	}
	return false;
}

int cidr_parse(struct text t, struct cidr *ret_cidr)
{
	const char *slash = t.len ? memchr(t.ptr, '/', t.len) : NULL;
	size_t address_len = slash ? (size_t)(slash - t.ptr) : t.len;
	struct cidr cidr;
	uint64_t bits;
	unsigned max_bits;

	if (parse_address((struct text){ t.ptr, address_len }, cidr.address, &max_bits))
		return -EINVAL;
	bits = max_bits;
	if (slash &&
	    text_parse_u64((struct text){ slash + 1, t.len - address_len - 1 }, max_bits, &bits))
		return -EINVAL;
	cidr.prefix_bits = (uint8_t)(max_bits == 32 ? bits + MAPPED_BITS : bits);
	if (has_host_bits(&cidr))
		return -EINVAL;
	*ret_cidr = cidr;
	return 0;
}

void cidr_format(const struct cidr *cidr, char ret_text[CIDR_TEXT_SIZE])
{
	bool is_ipv4 = cidr_is_ipv4(cidr);
	unsigned bits = cidr->prefix_bits - (is_ipv4 ? MAPPED_BITS : 0);
	char address[INET6_ADDRSTRLEN];

	inet_ntop(is_ipv4 ? AF_INET : AF_INET6,
		  cidr->address + (is_ipv4 ? sizeof(mapped_prefix) : 0), address, sizeof(address));
	if (cidr->prefix_bits == 128)
		snprintf(ret_text, CIDR_TEXT_SIZE, "%s", address);
	else
		snprintf(ret_text, CIDR_TEXT_SIZE, "%s/%u", address, bits);
}

bool cidr_is_ipv4(const struct cidr *cidr)
{
	return cidr->prefix_bits >= MAPPED_BITS &&
	       !memcmp(cidr->address, mapped_prefix, sizeof(mapped_prefix));
}

bool cidr_overlap(const struct cidr *a, const struct cidr *b)
{
	return same_prefix(a->address, b->address,
			   a->prefix_bits < b->prefix_bits ? a->prefix_bits : b->prefix_bits);
}

bool cidr_of_address(const struct sockaddr_storage *address, struct cidr *ret_cidr)
{
	switch (address->ss_family) {
	case AF_INET:
		map_ipv4(&((const struct sockaddr_in *)address)->sin_addr, ret_cidr->address);
		break;
	case AF_INET6:
		memcpy(ret_cidr->address, &((const struct sockaddr_in6 *)address)->sin6_addr,
		       sizeof(ret_cidr->address));
		break;
	default:
		return false;
	}
	ret_cidr->prefix_bits = 128;
	return true;
}

bool cidr_contains(const struct cidr *cidr, const struct sockaddr_storage *address)
{
	struct cidr one;

	return cidr_of_address(address, &one) &&
	       same_prefix(cidr->address, one.address, cidr->prefix_bits);
}
