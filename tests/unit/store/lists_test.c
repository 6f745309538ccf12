/* SPDX-License-Identifier: BSD-2-Clause */
/* lists_test: the operator's lists of addresses are durable. */
#include "unit/store/store_fixture.h"

static struct store_entry entry(const char *block, enum store_list list, uint64_t until_ms)
{
	struct store_entry made = { .list = list, .created_ms = 5, .until_ms = until_ms };

	assert_int_equal(cidr_parse(text_of(block), &made.block), 0);
	return made;
}

static bool has(struct fixture *f, const struct store_entry *wanted)
{
	for (size_t i = 0; i < f->entry_count; i++) {
		const struct store_entry *e = &f->entries[i];

		if (!memcmp(&e->block, &wanted->block, sizeof(e->block)) &&
		    e->list == wanted->list && e->until_ms == wanted->until_ms &&
		    e->created_ms == wanted->created_ms)
			return true;
	}
	return false;
}

static void entries_outlive_the_agent(void **state)
{
	const struct store_entry deny = entry("10.0.0.0/8", STORE_DENY, 0);
	const struct store_entry allow = entry("10.1.0.0/16", STORE_ALLOW, 7000);
	const struct store_entry six = entry("2001:db8::/32", STORE_DENY, 9000);
	struct fixture *f = *state;

	fixture_open(f);
	assert_int_equal(entry_put(f, &deny), 0);
	assert_int_equal(entry_put(f, &allow), 0);
	assert_int_equal(entry_put(f, &six), 0);
	fixture_reopen(f);
	fixture_load(f);
	assert_int_equal(f->entry_count, 3);
	assert_true(has(f, &deny) && has(f, &allow) && has(f, &six));
}

static void the_later_entry_of_a_block_replaces_the_one_before(void **state)
{
	const struct store_entry deny = entry("10.0.0.0/8", STORE_DENY, 0);
	const struct store_entry allow = entry("10.0.0.0/8", STORE_ALLOW, 8000);
	const struct store_entry narrower = entry("10.0.0.0/16", STORE_DENY, 0);
	struct fixture *f = *state;

	fixture_open(f);
	assert_int_equal(entry_put(f, &deny), 0);
	assert_int_equal(entry_put(f, &narrower), 0);
	assert_int_equal(entry_put(f, &allow), 0);
	fixture_load(f);
	assert_int_equal(f->entry_count, 2);
	assert_true(has(f, &allow) && has(f, &narrower));
}

static void removing_takes_one_block_and_reports_a_missing_one(void **state)
{
	const struct store_entry wide = entry("10.0.0.0/8", STORE_DENY, 0);
	const struct store_entry narrow = entry("10.0.0.0/16", STORE_DENY, 0);
	struct fixture *f = *state;

	fixture_open(f);
	assert_int_equal(entry_put(f, &wide), 0);
	assert_int_equal(entry_put(f, &narrow), 0);
	assert_int_equal(entry_remove(f, &wide.block), 0);
	assert_int_equal(entry_remove(f, &wide.block), -ENOENT);
	fixture_load(f);
	assert_int_equal(f->entry_count, 1);
	assert_true(has(f, &narrow));
}

static void only_expired_entries_are_pruned(void **state)
{
	const struct store_entry ended = entry("10.0.0.0/8", STORE_DENY, 1000);
	const struct store_entry later = entry("11.0.0.0/8", STORE_DENY, 1001);
	const struct store_entry for_ever = entry("12.0.0.0/8", STORE_DENY, 0);
	struct fixture *f = *state;

	fixture_open(f);
	assert_int_equal(entry_put(f, &ended), 0);
	assert_int_equal(entry_put(f, &later), 0);
	assert_int_equal(entry_put(f, &for_ever), 0);
	assert_int_equal(entries_prune(f, 1000), 0);
	fixture_load(f);
	assert_int_equal(f->entry_count, 2);
	assert_true(has(f, &later) && has(f, &for_ever));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(entries_outlive_the_agent),
		TEST(the_later_entry_of_a_block_replaces_the_one_before),
		TEST(removing_takes_one_block_and_reports_a_missing_one),
		TEST(only_expired_entries_are_pruned),
	};

	return RUN_TESTS("lists", tests);
}
