/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror_refresh_test: after a refresh, a mirror in use has what the store has, and nothing else.
 */
#include <pthread.h>

#include "base/atomic.h"
#include "unit/enforce/enforce_fixture.h"

static int put_key_of(struct fixture *f, uint64_t id, uint64_t account, uint64_t revoked_ms)
{
	struct store_key key = {
		.id = id, .account = account, .created_ms = 1000, .revoked_ms = revoked_ms
	};

	memcpy(key.hash, &id, sizeof(id));
	return mirror_put_key(f->mirror, &key);
}

static bool find(const struct fixture *f, uint64_t id, struct mirror_key *ret_key)
{
	uint8_t hash[STORE_HASH_BYTES] = { 0 };

	memcpy(hash, &id, sizeof(id));
	return mirror_find(f->mirror, hash, ret_key);
}

static void what_was_not_loaded_is_dropped_and_the_rest_stays(void **state)
{
	struct fixture *f = *state;
	struct store_account account;
	struct mirror_key before, after;
	uint32_t slot, gone_slot;

	put_account(f, 7, "basic", STORE_ACTIVE);
	put_account(f, 8, "basic", STORE_ACTIVE);
	for (uint64_t id = 1; id <= 3; id++)
		assert_int_equal(put_key_of(f, id, 7, 0), 0);
	assert_int_equal(put_key_of(f, 4, 8, 0), 0);
	assert_true(find(f, 1, &before));
	assert_true(mirror_account(f->mirror, 8, &account, &gone_slot));

	assert_int_equal(mirror_refresh_begin(f->mirror), 0);
	put_account(f, 7, "basic", STORE_CANCELED);
	put_account(f, 9, "basic", STORE_ACTIVE);
	assert_int_equal(put_key_of(f, 1, 7, 0), 0);
	assert_int_equal(put_key_of(f, 3, 7, 55), 0);
	assert_int_equal(put_key_of(f, 5, 9, 0), 0);
	assert_true(find(f, 4, &after)); /* nothing is dropped before the end */
	mirror_refresh_end(f->mirror);

	assert_true(find(f, 1, &after));
	assert_int_equal(after.slot, before.slot);
	assert_int_equal(after.generation, before.generation);
	assert_false(find(f, 2, &after));
	assert_true(find(f, 3, &after));
	assert_int_equal(after.revoked_ms, 55);
	assert_false(find(f, 4, &after));
	assert_true(find(f, 5, &after));
	assert_true(mirror_account(f->mirror, 7, &account, &slot));
	assert_int_equal(account.status, STORE_CANCELED);
	assert_false(mirror_account(f->mirror, 8, &account, &slot));
	assert_int_equal(f->slots.list[gone_slot].account_id, 0);
	assert_int_equal(mirror_accounts(f->mirror), 2);
	assert_int_equal(mirror_keys(f->mirror), 3);
}

static void an_end_of_all_keys_that_the_store_does_not_know_is_undone(void **state)
{
	struct fixture *f = *state;
	struct mirror_key key;

	put_account(f, 7, "basic", STORE_ACTIVE);
	assert_int_equal(put_key_of(f, 1, 7, 0), 0);
	mirror_end_keys(f->mirror, 7, 0, 2000);
	assert_int_equal(mirror_refresh_begin(f->mirror), 0);
	put_account(f, 7, "basic", STORE_ACTIVE);
	assert_int_equal(put_key_of(f, 1, 7, 0), 0);
	mirror_refresh_end(f->mirror);
	assert_true(find(f, 1, &key));
	assert_int_equal(key.revoked_ms, 0);
}

static void a_failed_load_can_be_restarted(void **state)
{
	struct fixture *f = *state;
	struct mirror_key key;

	put_account(f, 7, "basic", STORE_ACTIVE);
	assert_int_equal(put_key_of(f, 1, 7, 0), 0);
	assert_int_equal(put_key_of(f, 2, 7, 0), 0);
	assert_int_equal(mirror_refresh_begin(f->mirror), 0);
	put_account(f, 7, "basic", STORE_ACTIVE);
	assert_int_equal(put_key_of(f, 1, 7, 0), 0);
	assert_int_equal(mirror_refresh_begin(f->mirror), 0);
	put_account(f, 7, "basic", STORE_ACTIVE);
	assert_int_equal(put_key_of(f, 2, 7, 0), 0);
	mirror_refresh_end(f->mirror);
	assert_false(find(f, 1, &key));
	assert_true(find(f, 2, &key));
}

#define MANY 5000

struct reader {
	struct fixture *f;
	bool is_over; /* atomic */
	uint64_t missed;
};

/* Key 1 is always in the store: a worker must always find it. */
static void *look(void *arg)
{
	struct reader *reader = arg;
	struct mirror_key key;

	mirror_register_thread();
	while (!atomic_read_acquire(&reader->is_over))
		reader->missed += !find(reader->f, 1, &key);
	mirror_unregister_thread();
	return NULL;
}

static void workers_see_only_its_result(void **state)
{
	struct reader reader = { .f = *state };
	pthread_t thread;

	put_account(reader.f, 7, "basic", STORE_ACTIVE);
	for (uint64_t id = 1; id <= MANY; id++)
		assert_int_equal(put_key_of(reader.f, id, 7, 0), 0);
	assert_int_equal(pthread_create(&thread, NULL, look, &reader), 0);
	for (unsigned round = 0; round < 10; round++) {
		assert_int_equal(mirror_refresh_begin(reader.f->mirror), 0);
		put_account(reader.f, 7, "basic", STORE_ACTIVE);
		for (uint64_t id = 1; id <= MANY; id += 1 + round % 2)
			assert_int_equal(put_key_of(reader.f, id, 7, 0), 0);
		mirror_refresh_end(reader.f->mirror);
		assert_int_equal(mirror_keys(reader.f->mirror), MANY / (1 + round % 2));
	}
	atomic_write_release(&reader.is_over, true);
	pthread_join(thread, NULL);
	assert_int_equal(reader.missed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_not_loaded_is_dropped_and_the_rest_stays),
		TEST(an_end_of_all_keys_that_the_store_does_not_know_is_undone),
		TEST(a_failed_load_can_be_restarted),
		TEST(workers_see_only_its_result),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
