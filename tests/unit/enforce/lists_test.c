/* SPDX-License-Identifier: BSD-2-Clause */
/* lists_test: which entry decides and until when, and that XDP's copy matches the agent's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include "base/clock.h"
#include "enforce/lists.h"

/* A double for XDP's copy: the number of entries, and the last call. */
static struct {
	struct xdp_plane plane;
	int entries, err;
	uint32_t told_count;
	uint64_t until_ns;
} fake;

static int fake_list_put(struct xdp_plane *plane, const struct cidr *block, bool is_allowed,
			 uint64_t until_ns)
{
	(void)plane;
	(void)block;
	(void)is_allowed;
	fake.until_ns = until_ns;
	fake.entries += !fake.err;
	return fake.err;
}

static void fake_list_remove(struct xdp_plane *plane, const struct cidr *block)
{
	(void)plane;
	(void)block;
	fake.entries--;
}

static void fake_set_list_count(struct xdp_plane *plane, uint32_t count)
{
	(void)plane;
	fake.told_count = count;
}

static const struct xdp_plane_ops fake_ops = {
	.list_put = fake_list_put,
	.list_remove = fake_list_remove,
	.set_list_count = fake_set_list_count,
};

#define WALL_MS 1800000000000ULL
#define MONO_NS (77 * NS_PER_SECOND)

static int set_up(void **state)
{
	memset(&fake, 0, sizeof(fake));
	fake.plane.ops = &fake_ops;
	*state = lists_new(&fake.plane);
	return *state ? 0 : -1;
}

static int tear_down(void **state)
{
	lists_free(*state);
	return 0;
}

static struct store_entry entry(const char *block, enum store_list list, uint64_t until_ms)
{
	struct store_entry made = { .list = list, .until_ms = until_ms };

	assert_int_equal(cidr_parse(text_of(block), &made.block), 0);
	return made;
}

static void put(struct lists *lists, const char *block, enum store_list list, uint64_t until_ms)
{
	struct store_entry made = entry(block, list, until_ms);

	assert_int_equal(lists_put(lists, &made, WALL_MS, MONO_NS), 0);
}

static enum lists_verdict ask(struct lists *lists, const char *text, uint64_t wall_ms)
{
	struct sockaddr_storage address = { .ss_family = strchr(text, ':') ? AF_INET6 : AF_INET };
	void *bytes = address.ss_family == AF_INET
			      ? (void *)&((struct sockaddr_in *)&address)->sin_addr
			      : (void *)&((struct sockaddr_in6 *)&address)->sin6_addr;

	assert_int_equal(inet_pton(address.ss_family, text, bytes), 1);
	return lists_look_up(lists, &address, wall_ms);
}

static void the_most_specific_entry_decides(void **state)
{
	static const struct {
		const char *address;
		enum lists_verdict verdict;
		const char *why;
	} rows[] = {
		{ "10.1.2.3", LISTS_DENIED, "in the widest block" },
		{ "10.2.3.4", LISTS_ALLOWED, "in an allowed one within it" },
		{ "10.2.9.1", LISTS_DENIED, "in a denied one within that" },
		{ "10.2.9.7", LISTS_ALLOWED, "an allowed address within that" },
		{ "::ffff:10.2.9.7", LISTS_ALLOWED, "the same over an IPv6 socket" },
		{ "11.0.0.0", LISTS_NONE, "the first one above" },
		{ "9.255.255.255", LISTS_NONE, "the last one below" },
		{ "2001:db8:1::1", LISTS_DENIED, "IPv6" },
		{ "2001:db8:8000::1", LISTS_NONE, "its other half" },
		{ "2001:db9::1", LISTS_NONE, "beside it" },
	};
	struct lists *lists = *state;

	put(lists, "10.2.9.0/24", STORE_DENY, 0);
	put(lists, "10.0.0.0/8", STORE_DENY, 0);
	put(lists, "2001:db8::/33", STORE_DENY, 0);
	put(lists, "10.2.9.7", STORE_ALLOW, 0);
	put(lists, "10.2.0.0/16", STORE_ALLOW, 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (ask(lists, rows[i].address, WALL_MS) != rows[i].verdict)
			fail_msg("%s: %s", rows[i].address, rows[i].why);
	}
	assert_int_equal(fake.entries, 5);
	assert_int_equal(fake.told_count, 5);
}

static void a_later_entry_of_a_block_replaces_the_earlier(void **state)
{
	struct lists *lists = *state;
	size_t count;

	put(lists, "10.0.0.0/8", STORE_DENY, 0);
	put(lists, "10.0.0.0/8", STORE_ALLOW, 0);
	assert_int_equal(ask(lists, "10.1.1.1", WALL_MS), LISTS_ALLOWED);
	lists_entries(lists, &count);
	assert_int_equal(count, 1);
	assert_int_equal(fake.told_count, 1);
}

static void ended_entries_do_not_count(void **state)
{
	struct lists *lists = *state;
	size_t count;

	put(lists, "10.0.0.0/8", STORE_DENY, 0);
	put(lists, "10.1.0.0/16", STORE_ALLOW, WALL_MS + 1000);
	assert_int_equal(fake.until_ns, MONO_NS + NS_PER_SECOND);
	assert_int_equal(ask(lists, "10.1.1.1", WALL_MS + 999), LISTS_ALLOWED);
	assert_int_equal(ask(lists, "10.1.1.1", WALL_MS + 1000), LISTS_DENIED);
	assert_int_equal(lists_expire(lists, WALL_MS + 999), 0);
	assert_int_equal(lists_expire(lists, WALL_MS + 1000), 1);
	lists_entries(lists, &count);
	assert_int_equal(count, 1);
	assert_int_equal(fake.entries, 1);
	put(lists, "10.0.0.0/8", STORE_DENY, WALL_MS);
	assert_int_equal(fake.entries, 0);
	assert_int_equal(ask(lists, "10.1.1.1", 0), LISTS_NONE);
}

static void removing_takes_one_block(void **state)
{
	struct lists *lists = *state;
	struct store_entry wide = entry("10.0.0.0/8", STORE_DENY, 0);
	struct store_entry other = entry("12.0.0.0/8", STORE_DENY, 0);

	put(lists, "10.0.0.0/8", STORE_DENY, 0);
	put(lists, "11.0.0.0/8", STORE_DENY, 0);
	put(lists, "10.1.0.0/16", STORE_DENY, 0);
	lists_remove(lists, &other.block);
	lists_remove(lists, &wide.block);
	assert_int_equal(ask(lists, "10.2.0.0", WALL_MS), LISTS_NONE);
	assert_int_equal(ask(lists, "10.1.0.0", WALL_MS), LISTS_DENIED);
	assert_int_equal(ask(lists, "11.0.0.0", WALL_MS), LISTS_DENIED);
	assert_int_equal(fake.entries, 2);
	lists_clear(lists);
	assert_int_equal(fake.entries, 0);
	assert_int_equal(fake.told_count, 0);
	assert_int_equal(ask(lists, "11.0.0.0", WALL_MS), LISTS_NONE);
}

static void there_is_room_for_lists_max_entries(void **state)
{
	struct lists *lists = *state;
	struct store_entry one = entry("10.0.0.0", STORE_DENY, 0);

	for (unsigned i = 0; i < LISTS_MAX; i++) {
		one.block.address[13] = (uint8_t)(i >> 8);
		one.block.address[14] = (uint8_t)i;
		assert_int_equal(lists_put(lists, &one, WALL_MS, MONO_NS), 0);
	}
	one.list = STORE_ALLOW;
	assert_int_equal(lists_put(lists, &one, WALL_MS, MONO_NS), 0);
	assert_int_equal(ask(lists, "10.63.255.0", WALL_MS), LISTS_ALLOWED);
	one = entry("192.0.2.0/24", STORE_DENY, 0);
	assert_int_equal(lists_put(lists, &one, WALL_MS, MONO_NS), -ENOSPC);
	assert_int_equal(ask(lists, "10.0.1.0", WALL_MS), LISTS_DENIED);
}

static void the_agent_uses_entries_that_xdp_refuses(void **state)
{
	struct store_entry one = entry("10.0.0.0/8", STORE_DENY, 0);
	struct lists *lists = *state;

	fake.err = -ENOMEM;
	assert_int_equal(lists_put(lists, &one, WALL_MS, MONO_NS), -ENOMEM);
	assert_int_equal(ask(lists, "10.0.0.1", WALL_MS), LISTS_DENIED);
	assert_non_null(lists_find(lists, &one.block));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_most_specific_entry_decides),
		TEST(a_later_entry_of_a_block_replaces_the_earlier),
		TEST(ended_entries_do_not_count),
		TEST(removing_takes_one_block),
		TEST(there_is_room_for_lists_max_entries),
		TEST(the_agent_uses_entries_that_xdp_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
