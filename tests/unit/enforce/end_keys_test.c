/* SPDX-License-Identifier: BSD-2-Clause */
/* end_keys_test: all keys of an account end at once; keys made later do not. */
#include "base/atomic.h"
#include "unit/enforce/enforce_fixture.h"

#define AT_MS 5000ULL

static void put_key_at(struct fixture *f, uint64_t id, uint64_t account, uint64_t created_ms,
		       uint64_t revoked_ms)
{
	struct store_key key = {
		.id = id, .account = account, .created_ms = created_ms, .revoked_ms = revoked_ms
	};

	memcpy(key.hash, &id, sizeof(id));
	assert_int_equal(mirror_put_key(f->mirror, &key), 0);
}

/* When the key ends. Workers and the control loop must agree. */
static uint64_t end_of(struct fixture *f, uint64_t id)
{
	uint8_t hash[STORE_HASH_BYTES] = { 0 };
	struct mirror_key known;
	struct store_key key;

	memcpy(hash, &id, sizeof(id));
	assert_true(mirror_find(f->mirror, hash, &known));
	assert_true(mirror_key_by_id(f->mirror, id, &key));
	assert_int_equal(key.revoked_ms, known.revoked_ms);
	return known.revoked_ms;
}

static void each_key_ends_at_that_time_or_at_its_own_earlier_end(void **state)
{
	static const struct {
		uint64_t account, created_ms, revoked_ms, end_ms;
		const char *why;
	} rows[] = {
		{ 7, 1000, 0, AT_MS, "without an end" },
		{ 7, AT_MS, 0, AT_MS, "made in that millisecond" },
		{ 7, AT_MS + 99, 0, AT_MS, "made later, by a clock that was set back since" },
		{ 7, 1000, AT_MS + 1, AT_MS, "to end later" },
		{ 7, 1000, AT_MS - 1, AT_MS - 1, "over already" },
		{ 8, 1000, 0, 0, "another account's" },
	};
	struct fixture *f = *state;

	put_account(f, 7, "basic", STORE_ACTIVE);
	put_account(f, 8, "basic", STORE_ACTIVE);
	for (size_t i = 0; i < COUNT(rows); i++)
		put_key_at(f, i + 1, rows[i].account, rows[i].created_ms, rows[i].revoked_ms);
	assert_int_equal(mirror_end_keys(f->mirror, 7, 0, AT_MS), 4);
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (end_of(f, i + 1) != rows[i].end_ms)
			fail_msg("%s", rows[i].why);
	}
	assert_int_equal(mirror_end_keys(f->mirror, 9, 0, AT_MS), -ENOENT);
}

/*
 * A host that was cut off made the key before another host ended all keys of the account. The store
 * then moved the key's time behind that end, and reports it again.
 */
static void a_key_whose_time_the_store_moved_is_valid(void **state)
{
	struct fixture *f = *state;

	put_account(f, 7, "basic", STORE_ACTIVE);
	put_key_at(f, 1, 7, AT_MS - 10, 0);
	assert_int_equal(mirror_end_keys(f->mirror, 7, AT_MS + 1, AT_MS), 1);
	assert_int_equal(end_of(f, 1), AT_MS);
	put_key_at(f, 1, 7, AT_MS + 1, 0);
	assert_int_equal(end_of(f, 1), 0);
}

static void a_key_made_afterwards_is_valid(void **state)
{
	struct fixture *f = *state;
	uint64_t made_ms;

	put_account(f, 7, "basic", STORE_ACTIVE);
	assert_int_equal(mirror_key_time(f->mirror, 7, AT_MS), AT_MS);
	put_key_at(f, 1, 7, AT_MS, 0);
	assert_int_equal(mirror_end_keys(f->mirror, 7, 0, AT_MS), 1);
	made_ms = mirror_key_time(f->mirror, 7, AT_MS); /* the clock has not moved */
	assert_true(made_ms > AT_MS);
	put_key_at(f, 2, 7, made_ms, 0);
	assert_int_equal(end_of(f, 1), AT_MS);
	assert_int_equal(end_of(f, 2), 0);
	/* It can be ended too, within the same millisecond. */
	assert_int_equal(mirror_end_keys(f->mirror, 7, 0, AT_MS), 1);
	assert_int_equal(end_of(f, 2), AT_MS);
	put_key_at(f, 3, 7, mirror_key_time(f->mirror, 7, AT_MS), 0);
	assert_int_equal(end_of(f, 3), 0);
	assert_int_equal(mirror_end_keys(f->mirror, 7, 0, AT_MS + 50), 1);
	assert_int_equal(end_of(f, 1), AT_MS); /* an earlier end stays */
	assert_int_equal(end_of(f, 3), AT_MS + 50);
	assert_int_equal(mirror_key_time(f->mirror, 7, AT_MS * 9), AT_MS * 9);
	assert_int_equal(mirror_key_time(f->mirror, 9, AT_MS), AT_MS);
}

/*
 * Workers look at two keys, one after the other: if the first has ended, the second must have ended
 * too. The first is one of the newest, which a walk over the keys would reach first.
 */

#define ACCOUNTS 16
#define KEYS	 8000 /* of each */

struct race {
	struct fixture *f;
	uint64_t account; /* whose keys end now */
	uint64_t torn, seen;
};

static bool is_over(const struct fixture *f, uint64_t id)
{
	uint8_t hash[STORE_HASH_BYTES] = { 0 };
	struct mirror_key known = { 0 };

	memcpy(hash, &id, sizeof(id));
	return mirror_find(f->mirror, hash, &known) && known.revoked_ms;
}

static void end_or_look(void *arg, unsigned index)
{
	struct race *race = arg;
	uint64_t seed = index, account = 0, torn = 0, seen = 0;

	for (uint64_t i = 1; !index && i <= ACCOUNTS; i++) {
		atomic_write_release(&race->account, i);
		mirror_end_keys(race->f->mirror, i, 0, AT_MS);
	}
	while (index && account < ACCOUNTS) {
		uint64_t oldest;

		account = atomic_read_acquire(&race->account);
		oldest = account ? (account - 1) * KEYS + 1 : 1;
		for (unsigned i = 0; i < 100; i++) {
			seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
			if (!is_over(race->f, oldest + KEYS - 1 - (seed >> 33) % (KEYS / 2)))
				continue;
			seen++;
			torn += !is_over(race->f, oldest + (seed >> 13) % (KEYS / 2));
		}
	}
	atomic_add(&race->torn, torn);
	atomic_add(&race->seen, seen);
}

static void no_worker_sees_only_some_keys_ended(void **state)
{
	struct fixture *f = *state;
	struct race race = { .f = f };

	for (uint64_t account = 1; account <= ACCOUNTS; account++) {
		put_account(f, account, "basic", STORE_ACTIVE);
		for (uint64_t i = 0; i < KEYS; i++)
			put_key_at(f, (account - 1) * KEYS + i + 1, account, 1000, 0);
	}
	run_crew(3, end_or_look, &race);
	assert_int_equal(race.torn, 0);
	assert_true(race.seen > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_key_ends_at_that_time_or_at_its_own_earlier_end),
		TEST(a_key_whose_time_the_store_moved_is_valid),
		TEST(a_key_made_afterwards_is_valid),
		TEST(no_worker_sees_only_some_keys_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
