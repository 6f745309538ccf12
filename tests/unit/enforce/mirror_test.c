/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror_test: accounts and keys are found as they were put, and keep their slots over a restart.
 */
#include "base/atomic.h"
#include "unit/enforce/enforce_fixture.h"

static struct store_key make_key(uint64_t id, uint64_t account)
{
	struct store_key key = { .id = id, .account = account, .created_ms = 5 };

	memcpy(key.hash, &id, sizeof(id));
	memset(key.hash + 8, 0xaa, sizeof(key.hash) - 8);
	return key;
}

static struct store_account make_account(uint64_t id, const char *tier)
{
	struct store_account account = { .id = id, .status = STORE_ACTIVE, .created_ms = 5 };

	snprintf(account.tier, sizeof(account.tier), "%s", tier);
	return account;
}

static int put(struct fixture *f, const struct store_account *account)
{
	return mirror_put_account(f->mirror, account, WALL_MS, NOW_NS);
}

static void accounts_are_found_as_they_were_put(void **state)
{
	struct fixture *f = *state;
	struct store_account account = make_account(0xfedcba9876543210, "basic"), found;
	uint32_t slot;

	account.is_held = true;
	account.past_due_ms = 9;
	strcpy(account.customer, "cus_1");
	strcpy(account.label, "K\xc3\xb6nig");
	memset(account.subscription, 's',
	       sizeof(account.subscription) - 1); /* the longest possible */
	assert_int_equal(put(f, &account), 0);
	assert_true(mirror_account(f->mirror, account.id, &found, &slot));
	assert_memory_equal(&found, &account, sizeof(account));
	assert_int_equal(f->list[slot].account_id, account.id);

	account.status = STORE_CANCELED;
	account.is_held = false;
	memset(account.tier, 0, sizeof(account.tier));
	strcpy(account.tier, "slow");
	memset(account.label, 0, sizeof(account.label));
	assert_int_equal(put(f, &account), 0);
	assert_true(mirror_account(f->mirror, account.id, &found, &slot));
	assert_memory_equal(&found, &account, sizeof(account));
	assert_int_equal(mirror_accounts(f->mirror), 1);
	assert_false(mirror_account(f->mirror, 1, &found, &slot));
}

static void keys_are_found_by_the_whole_hash(void **state)
{
	struct fixture *f = *state;
	struct store_key key = make_key(70, 7), found;
	struct mirror_key known;

	put_account(f, 7, "basic", STORE_ACTIVE);
	assert_int_equal(mirror_put_key(f->mirror, &key), 0);
	assert_true(mirror_find(f->mirror, key.hash, &known));
	assert_int_equal(f->list[known.slot].account_id, 7);
	assert_int_equal(known.generation, f->list[known.slot].generation);
	assert_int_equal(known.revoked_ms, 0);
	for (unsigned i = 0; i < STORE_HASH_BYTES; i++) {
		key.hash[i] ^= 1;
		if (mirror_find(f->mirror, key.hash, &known))
			fail_msg("found though byte %u differs", i);
		key.hash[i] ^= 1;
	}
	assert_true(mirror_key_by_id(f->mirror, 70, &found));
	assert_memory_equal(&found, &key, sizeof(key));
	assert_false(mirror_key_by_id(f->mirror, 71, &found));
	assert_int_equal(mirror_keys(f->mirror), 1);
}

static void a_key_put_again_changes_its_end_alone(void **state)
{
	struct fixture *f = *state;
	struct store_key key = make_key(70, 7), found;
	struct mirror_key known;
	uint8_t hash[STORE_HASH_BYTES];

	put_account(f, 7, "basic", STORE_ACTIVE);
	put_account(f, 8, "basic", STORE_ACTIVE);
	assert_int_equal(mirror_put_key(f->mirror, &key), 0);
	memcpy(hash, key.hash, sizeof(hash));
	key.revoked_ms = 1234;
	key.account = 8;
	key.hash[0] ^= 1;
	assert_int_equal(mirror_put_key(f->mirror, &key), 0);
	assert_true(mirror_find(f->mirror, hash, &known));
	assert_int_equal(known.revoked_ms, 1234);
	assert_int_equal(f->list[known.slot].account_id, 7);
	assert_true(mirror_key_by_id(f->mirror, 70, &found));
	assert_int_equal(found.account, 7);
	assert_int_equal(mirror_keys(f->mirror), 1);
	key = make_key(71, 99);
	assert_int_equal(mirror_put_key(f->mirror, &key), -ENOENT);
	assert_false(mirror_find(f->mirror, key.hash, &known));
}

static void hashes_that_collide_in_the_table_are_told_apart(void **state)
{
	struct fixture *f = *state;
	struct store_key keys[100];
	struct mirror_key known;

	put_account(f, 7, "basic", STORE_ACTIVE);
	put_account(f, 8, "basic", STORE_ACTIVE);
	for (unsigned i = 0; i < 100; i++) {
		keys[i] = make_key(i + 1, 7 + i % 2);
		memset(keys[i].hash, 0, 8); /* what the table hashes by */
		keys[i].hash[20] = (uint8_t)i;
		assert_int_equal(mirror_put_key(f->mirror, &keys[i]), 0);
	}
	for (unsigned i = 0; i < 100; i++) {
		assert_true(mirror_find(f->mirror, keys[i].hash, &known));
		assert_int_equal(f->list[known.slot].account_id, 7 + i % 2);
	}
}

static void ids_that_collide_in_the_table_are_told_apart(void **state)
{
	struct fixture *f = *state;
	uint64_t inverse = 1, step; /* of the constant by which ids are spread */

	for (unsigned i = 0; i < 6; i++)
		inverse *= 2 - 0x9e3779b97f4a7c15ULL * inverse;
	for (step = 0; step < 8; step++) { /* products that differ in their last bits only */
		struct store_account account = make_account((1 << 20 | step) * inverse, "basic");
		struct store_key key = make_key(account.id, account.id), found;

		assert_int_equal(put(f, &account), 0);
		assert_int_equal(mirror_put_key(f->mirror, &key), 0);
		assert_int_equal(slot_of_account(f, account.id)->account_id, account.id);
		assert_true(mirror_key_by_id(f->mirror, key.id, &found));
		assert_int_equal(found.account, account.id);
	}
	assert_int_equal(mirror_accounts(f->mirror), 8);
	assert_int_equal(mirror_keys(f->mirror), 8);
}

static void tiers_keep_their_ids(void **state)
{
	struct fixture *f = *state;
	struct tier fewer[2] = { make_tier("new", 5, 5), make_tier("basic", 20, 3) };
	const struct tiers tiers = { .list = fewer, .count = 2 };
	struct slot_limits limits;
	int basic = mirror_tier_id(f->mirror, "basic"), slow = mirror_tier_id(f->mirror, "slow");
	unsigned known = mirror_tier_count(f->mirror);

	assert_int_equal(known, 4);
	put_account(f, 7, "basic", STORE_ACTIVE);
	put_account(f, 8, "slow", STORE_ACTIVE);
	put_account(f, 9, "of an older configuration", STORE_ACTIVE);
	assert_int_equal(mirror_set_tiers(f->mirror, &tiers, WALL_MS, NOW_NS), 0);
	assert_int_equal(mirror_tier_id(f->mirror, "basic"), basic);
	assert_int_equal(mirror_tier_id(f->mirror, "slow"), slow);
	assert_int_equal(mirror_tier_id(f->mirror, "new"), known + 1);
	assert_int_equal(mirror_tier_count(f->mirror), known + 2);
	assert_string_equal(mirror_tier_name(f->mirror, (unsigned)slow), "slow");
	assert_string_equal(mirror_tier_name(f->mirror, known), "of an older configuration");
	assert_string_equal(mirror_tier_name(f->mirror, known + 2), "");

	slot_read_limits(slot_of_account(f, 7), &limits);
	assert_int_equal(limits.interval_ns, 20);
	assert_int_equal(limits.tier, basic);
	assert_int_equal(limits.state, TOLLGATE_SLOT_OPEN);
	slot_read_limits(slot_of_account(f, 8), &limits);
	assert_int_equal(limits.state, TOLLGATE_SLOT_INACTIVE); /* its tier is gone */
	assert_int_equal(limits.tier, slow);
	/* When the tier comes back, so does the account. */
	assert_int_equal(mirror_set_tiers(f->mirror, &f->tiers, WALL_MS, NOW_NS), 0);
	slot_read_limits(slot_of_account(f, 8), &limits);
	assert_int_equal(limits.state, TOLLGATE_SLOT_OPEN);
}

static bool is_open(struct fixture *f, uint64_t account)
{
	struct slot_limits limits;

	slot_read_limits(slot_of_account(f, account), &limits);
	return limits.state == TOLLGATE_SLOT_OPEN;
}

static void grace_ends_at_its_time(void **state)
{
	static const struct {
		uint64_t wall_ms;
		bool is_open;
	} rows[] = {
		{ WALL_MS, true },
		{ WALL_MS + GRACE_MS - 1, true },
		{ WALL_MS + GRACE_MS, false },
		{ WALL_MS + GRACE_MS * 2, false },
	};
	struct fixture *f = *state;

	put_account(f, 7, "basic", STORE_PAST_DUE);
	put_account(f, 8, "basic", STORE_ACTIVE);
	for (size_t i = 0; i < COUNT(rows); i++) {
		mirror_pass_time(f->mirror, rows[i].wall_ms, NOW_NS);
		if (is_open(f, 7) != rows[i].is_open)
			fail_msg("row %zu", i);
		assert_true(is_open(f, 8));
	}
	/* A reload with a longer grace opens it again; paying opens it for good. */
	f->tier_list[0].grace_ms = GRACE_MS * 3;
	assert_int_equal(mirror_set_tiers(f->mirror, &f->tiers, WALL_MS + GRACE_MS * 2, NOW_NS), 0);
	assert_true(is_open(f, 7));
	put_account(f, 7, "basic", STORE_ACTIVE);
	mirror_pass_time(f->mirror, WALL_MS + GRACE_MS * 9, NOW_NS);
	assert_true(is_open(f, 7));
}

static void accounts_are_still_watched_after_some_have_paid(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 1; i <= 3; i++)
		put_account(f, i, "basic", STORE_PAST_DUE);
	put_account(f, 1, "basic", STORE_ACTIVE);
	put_account(f, 1, "basic", STORE_ACTIVE);
	put_account(f, 2, "basic", STORE_PAST_DUE);
	put_account(f, 3, "basic", STORE_CANCELED);
	mirror_pass_time(f->mirror, WALL_MS + GRACE_MS, NOW_NS);
	assert_true(is_open(f, 1));
	assert_false(is_open(f, 2));
	assert_false(is_open(f, 3));
}

static void when_all_slots_are_taken_nothing_changes(void **state)
{
	struct fixture *f = *state;
	struct store_account account = make_account(100, "a tier nobody has heard of"), found;
	uint32_t slot;

	for (unsigned i = 0; i < SLOTS; i++) {
		assert_int_equal(mirror_can_add(f->mirror), 0);
		put_account(f, i + 1, "basic", STORE_ACTIVE);
	}
	assert_int_equal(mirror_can_add(f->mirror), -ENOSPC);
	assert_int_equal(put(f, &account), -ENOSPC);
	assert_false(mirror_account(f->mirror, 100, &found, &slot));
	assert_int_equal(mirror_accounts(f->mirror), SLOTS);
	put_account(f, 5, "slow", STORE_ACTIVE); /* a change needs no slot */
}

static void remake(struct fixture *f)
{
	mirror_free(f->mirror);
	assert_int_equal(fixture_adopt(f), SLOTS_SAME_BOOT);
	f->mirror = mirror_new(&f->slots);
	assert_int_equal(mirror_set_tiers(f->mirror, &f->tiers, WALL_MS, NOW_NS), 0);
}

static void after_a_restart_accounts_have_the_same_slots(void **state)
{
	struct fixture *f = *state;
	uint32_t before[SLOTS], slot;
	struct store_account found;

	for (unsigned i = 0; i < 40; i++) {
		put_account(f, 1000 + i * 977, "basic", STORE_ACTIVE);
		assert_true(mirror_account(f->mirror, 1000 + i * 977, &found, &before[i]));
		f->list[before[i]].tat_ns = NOW_NS + i;
	}
	remake(f);
	for (unsigned i = 40; i-- > 0;) { /* in another order */
		if (i != 10 && i != 20)
			put_account(f, 1000 + i * 977, "basic", STORE_ACTIVE);
		if (i == 30)
			put_account(f, 5, "basic", STORE_ACTIVE); /* new: gets a free slot */
	}
	for (unsigned i = 0; i < 40; i++) {
		if (i == 10 || i == 20)
			continue;
		assert_true(mirror_account(f->mirror, 1000 + i * 977, &found, &slot));
		assert_int_equal(slot, before[i]);
		assert_int_equal(f->list[slot].tat_ns, NOW_NS + i);
	}
	/* The slots of the two that the store no longer has are free. */
	assert_int_equal(f->list[before[10]].account_id, 1000 + 10 * 977);
	mirror_drop_strays(f->mirror);
	assert_int_equal(f->list[before[10]].account_id, 0);
	assert_int_equal(f->list[before[20]].account_id, 0);
	assert_int_equal(f->slots.free_count, 2);
	mirror_drop_strays(f->mirror);
	assert_int_equal(f->slots.free_count, 2);
	put_account(f, 6, "basic", STORE_ACTIVE);
	assert_int_equal(f->slots.free_count, 1);
}

static void visit(void *arg, const struct store_account *account, uint32_t slot)
{
	struct fixture *f = arg;

	assert_int_equal(f->list[slot].account_id, account->id);
	f->list[slot].reserved++;
}

static void each_account_is_visited_once(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 50; i++)
		put_account(f, i + 1, "basic", STORE_ACTIVE);
	mirror_each_account(f->mirror, visit, f);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(slot_of_account(f, i + 1)->reserved, 1);
}

static void half_built_mirrors_can_be_freed(void **state)
{
	(void)state;
	mirror_free(NULL);
}

/* Threads look up keys that were put before, while more are put. */

#define KEYS 20000

struct race {
	struct fixture *f;
	uint64_t put; /* keys with ids up to this one are there */
	uint64_t missed, looked;
};

static void put_or_look(void *arg, unsigned index)
{
	struct race *race = arg;
	uint64_t seed = index + 1, missed = 0, looked = 0, there = 0;

	for (uint64_t id = 1; !index && id <= KEYS; id++) {
		struct store_key key = make_key(id, 7);

		memcpy(key.hash, &(uint64_t){ id * 0x9e3779b97f4a7c15ULL }, 8);
		mirror_put_key(race->f->mirror, &key);
		atomic_write_release(&race->put, id);
	}
	while (index && there < KEYS) {
		struct store_key key;
		struct mirror_key known;

		there = atomic_read_acquire(&race->put);
		if (!there)
			continue;
		key = make_key(1 + draw(&seed) % there, 7);
		memcpy(key.hash, &(uint64_t){ key.id * 0x9e3779b97f4a7c15ULL }, 8);
		missed += !mirror_find(race->f->mirror, key.hash, &known);
		looked++;
	}
	atomic_add(&race->missed, missed);
	atomic_add(&race->looked, looked);
}

static void workers_miss_no_key_that_was_put(void **state)
{
	struct race race = { .f = *state };

	put_account(race.f, 7, "basic", STORE_ACTIVE);
	run_crew(4, put_or_look, &race);
	assert_int_equal(race.missed, 0);
	assert_int_not_equal(race.looked, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(accounts_are_found_as_they_were_put),
		TEST(keys_are_found_by_the_whole_hash),
		TEST(a_key_put_again_changes_its_end_alone),
		TEST(hashes_that_collide_in_the_table_are_told_apart),
		TEST(ids_that_collide_in_the_table_are_told_apart),
		TEST(tiers_keep_their_ids),
		TEST(grace_ends_at_its_time),
		TEST(accounts_are_still_watched_after_some_have_paid),
		TEST(when_all_slots_are_taken_nothing_changes),
		TEST(after_a_restart_accounts_have_the_same_slots),
		TEST(each_account_is_visited_once),
		TEST(workers_miss_no_key_that_was_put),
		cmocka_unit_test(half_built_mirrors_can_be_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
