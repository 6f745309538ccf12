/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cidr: blocks of IP addresses, such as 10.0.0.0/8 and 2001:db8::/32.
 *
 * IPv4 is stored as IPv4-mapped IPv6, so an IPv4 client of an IPv6 socket matches the IPv4 block
 * that holds its address. All functions are pure.
 */
#ifndef BASE_CIDR_H
#define BASE_CIDR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/text.h"

struct cidr {
	uint8_t address[16]; /* network byte order; IPv4 as ::ffff:a.b.c.d */
	uint8_t prefix_bits; /* 0 to 128; for IPv4, the written length plus 96 */
};

/*
 * Parse a block. A bare address is a block of one. 0, or -EINVAL if @t is not a block or if its
 * address has bits set beyond the prefix: 10.0.0.1/8 could mean 10.0.0.1 or 10.0.0.0/8.
 */
int cidr_parse(struct text t, struct cidr *ret_cidr);

/* Write the block as people do: IPv4 in dotted form, a block of one without its prefix. */
#define CIDR_TEXT_SIZE 64
void cidr_format(const struct cidr *cidr, char ret_text[CIDR_TEXT_SIZE]);

/* Whether the block holds only IPv4 addresses. Its written prefix is then 96 bits shorter. */
bool cidr_is_ipv4(const struct cidr *cidr);

/* Whether the two blocks have an address in common. */
bool cidr_overlap(const struct cidr *a, const struct cidr *b);

/* Make a block of one from @address. False if it is not an IP address. */
bool cidr_of_address(const struct sockaddr_storage *address, struct cidr *ret_cidr);

/* Whether the block holds @address. False if it is not an IP address. */
bool cidr_contains(const struct cidr *cidr, const struct sockaddr_storage *address);

#endif
