/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cidr: blocks of addresses, "10.0.0.0/8" or "2001:db8::/32".
 *
 * IPv4 is kept as IPv4-mapped IPv6, so a client that reached an IPv6 socket over IPv4 is found in the
 * IPv4 block it belongs to.
 */
#ifndef BASE_CIDR_H
#define BASE_CIDR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/text.h"

struct cidr {
	uint8_t address[16]; /* network byte order; IPv4 as ::ffff:a.b.c.d */
	uint8_t prefix_bits; /* 0 to 128; an IPv4 block's own plus 96 */
};

/*
 * Read a block; an address alone is a block of one. 0, or -EINVAL for what is none, and for a block
 * whose address has bits behind the prefix, for then it is unclear what was meant.
 */
int cidr_parse(struct text t, struct cidr *ret_cidr);

/* As people write it: IPv4 as such, and one address alone without a prefix. */
#define CIDR_TEXT_SIZE 64
void cidr_format(const struct cidr *cidr, char ret_text[CIDR_TEXT_SIZE]);

/* Whether it is a block of IPv4 addresses; its own prefix is then 96 bits shorter. */
bool cidr_is_ipv4(const struct cidr *cidr);

/* Whether the blocks have addresses in common. */
bool cidr_overlap(const struct cidr *a, const struct cidr *b);

/* An address as a block of one. False for what is no IP address. */
bool cidr_of_address(const struct sockaddr_storage *address, struct cidr *ret_cidr);

/* Whether @address is in the block. False for what is no IP address. */
bool cidr_contains(const struct cidr *cidr, const struct sockaddr_storage *address);

#endif
