/* SPDX-License-Identifier: BSD-2-Clause */
/* cidr_test: which texts are blocks of addresses, and which addresses a block holds. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cidr.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static struct sockaddr_storage address_of(const char *name)
{
	struct sockaddr_storage address = { .ss_family = strchr(name, ':') ? AF_INET6 : AF_INET };
	void *at = address.ss_family == AF_INET
			   ? (void *)&((struct sockaddr_in *)&address)->sin_addr
			   : (void *)&((struct sockaddr_in6 *)&address)->sin6_addr;

	assert_int_equal(inet_pton(address.ss_family, name, at), 1);
	return address;
}

static void only_whole_blocks_are_read(void **state)
{
	static const struct {
		const char *text;
		int err;
		unsigned bits;
		const char *why;
	} rows[] = {
		{ "10.0.0.0/8", 0, 104, "IPv4, mapped" },
		{ "10.1.2.3", 0, 128, "an address alone" },
		{ "0.0.0.0/0", 0, 96, "all of IPv4" },
		{ "::/0", 0, 0, "everything" },
		{ "2001:db8::/32", 0, 32, "IPv6" },
		{ "::1", 0, 128, "an IPv6 address alone" },
		{ "255.255.255.255/32", 0, 128, "the longest" },
		{ "10.0.0.1/8", -EINVAL, 0, "bits behind the prefix" },
		{ "10.0.0.128/24", -EINVAL, 0, "the first bit behind it" },
		{ "2001:db8::1/127", -EINVAL, 0, "the last bit" },
		{ "10.0.0.0/33", -EINVAL, 0, "too long" },
		{ "::/129", -EINVAL, 0, "too long" },
		{ "10.0.0.0/", -EINVAL, 0, "no length" },
		{ "10.0.0.0/ 8", -EINVAL, 0, "a blank" },
		{ "10.0.0.0/+8", -EINVAL, 0, "a sign" },
		{ "10.0.0/8", -EINVAL, 0, "three numbers" },
		{ "010.0.0.0/8", -EINVAL, 0, "octal or not" },
		{ "localhost", -EINVAL, 0, "a name" },
		{ "", -EINVAL, 0, "nothing" },
		{ "/8", -EINVAL, 0, "no address" },
		{ "[::1]", -EINVAL, 0, "brackets" },
		{ "1111:2222:3333:4444:5555:6666:7777:8888:9999:1111", -EINVAL, 0, "far too long" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct cidr cidr = { .prefix_bits = 77 };

		if (cidr_parse(text_of(rows[i].text), &cidr) != rows[i].err)
			fail_msg("'%s': %s", rows[i].text, rows[i].why);
		assert_int_equal(cidr.prefix_bits, rows[i].err ? 77 : rows[i].bits);
	}
}

static void a_text_is_not_read_past_its_end(void **state)
{
	struct cidr cidr;

	(void)state;
	assert_int_equal(cidr_parse((struct text){ "10.0.0.0/16", 10 }, &cidr), -EINVAL); /* /1 */
	assert_int_equal(cidr_parse((struct text){ "0.0.0.0/16", 9 }, &cidr), 0);
	assert_int_equal(cidr.prefix_bits, 97);
	assert_int_equal(cidr_parse((struct text){ "1.2.3.4\0x", 9 }, &cidr), -EINVAL);
}

static void an_address_is_found_in_its_block(void **state)
{
	static const struct {
		const char *cidr, *address;
		bool is_in;
		const char *why;
	} rows[] = {
		{ "10.0.0.0/8", "10.255.1.2", true, "inside" },
		{ "10.0.0.0/8", "11.0.0.0", false, "the first one above" },
		{ "10.0.0.0/8", "9.255.255.255", false, "the last one below" },
		{ "10.0.0.0/9", "10.128.0.0", false, "a prefix within a byte" },
		{ "10.128.0.0/9", "10.255.0.0", true, "and its other half" },
		{ "10.0.0.0/8", "::ffff:10.1.2.3", true, "IPv4 that came over an IPv6 socket" },
		{ "::ffff:10.0.0.0/104", "10.1.2.3", true, "a block written as mapped" },
		{ "10.0.0.0/8", "a00::", false, "IPv6 with the same first byte" },
		{ "0.0.0.0/0", "255.1.1.1", true, "all of IPv4" },
		{ "0.0.0.0/0", "::1", false, "but no IPv6" },
		{ "::1", "::1", true, "one address" },
		{ "::1", "::2", false, "and no other" },
		{ "2001:db8::/33", "2001:db8:8000::", false, "bit 33" },
		{ "10.1.2.3", "10.1.2.2", false, "the last bit" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sockaddr_storage address = address_of(rows[i].address);
		struct cidr cidr;

		assert_int_equal(cidr_parse(text_of(rows[i].cidr), &cidr), 0);
		if (cidr_contains(&cidr, &address) != rows[i].is_in)
			fail_msg("%s in %s: %s", rows[i].address, rows[i].cidr, rows[i].why);
	}
}

static void other_addresses_are_in_no_block(void **state)
{
	struct sockaddr_storage address = { .ss_family = AF_UNIX };
	struct cidr all;

	(void)state;
	assert_int_equal(cidr_parse(TEXT("::/0"), &all), 0);
	assert_false(cidr_contains(&all, &address));
}

static void a_block_is_written_as_people_write_it(void **state)
{
	static const struct {
		const char *cidr, *text;
		bool is_ipv4;
	} rows[] = {
		{ "10.0.0.0/8", "10.0.0.0/8", true },
		{ "10.1.2.3/32", "10.1.2.3", true },
		{ "0.0.0.0/0", "0.0.0.0/0", true },
		{ "::ffff:10.0.0.0/104", "10.0.0.0/8", true },
		{ "2001:DB8:0::/32", "2001:db8::/32", false },
		{ "::1", "::1", false },
		{ "::/0", "::/0", false },
		{ "::/95", "::/95", false },
	};
	char text[CIDR_TEXT_SIZE];
	struct cidr cidr;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(cidr_parse(text_of(rows[i].cidr), &cidr), 0);
		cidr_format(&cidr, text);
		assert_string_equal(text, rows[i].text);
		assert_int_equal(cidr_is_ipv4(&cidr), rows[i].is_ipv4);
	}
}

static void blocks_overlap_if_one_holds_the_other(void **state)
{
	static const struct {
		const char *a, *b;
		bool overlap;
	} rows[] = {
		{ "10.0.0.0/8", "10.1.0.0/16", true },	 { "10.1.0.0/16", "10.0.0.0/8", true },
		{ "10.0.0.0/8", "10.0.0.0/8", true },	 { "10.0.0.0/9", "10.128.0.0/9", false },
		{ "0.0.0.0/0", "2001:db8::/32", false }, { "::/0", "10.0.0.1", true },
	};
	struct cidr a, b;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(cidr_parse(text_of(rows[i].a), &a), 0);
		assert_int_equal(cidr_parse(text_of(rows[i].b), &b), 0);
		if (cidr_overlap(&a, &b) != rows[i].overlap)
			fail_msg("%s and %s", rows[i].a, rows[i].b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_whole_blocks_are_read),
		cmocka_unit_test(a_text_is_not_read_past_its_end),
		cmocka_unit_test(an_address_is_found_in_its_block),
		cmocka_unit_test(other_addresses_are_in_no_block),
		cmocka_unit_test(a_block_is_written_as_people_write_it),
		cmocka_unit_test(blocks_overlap_if_one_holds_the_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
