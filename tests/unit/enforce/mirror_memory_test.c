/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror_memory_test: a million keys of a hundred thousand accounts, in memory that an operator
 * has.
 *
 * The time is printed and not judged: it is the machine's. Under a sanitizer there are fewer, and
 * the memory, which is then not ours alone, is printed only.
 */
#include "unit/enforce/enforce_fixture.h"

#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
#define IS_SANITIZED 1
#elif defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif

#define ACCOUNTS      (IS_SANITIZED ? 10000U : 100000U)
#define KEYS	      (ACCOUNTS * 10)
#define MAX_KEY_BYTES 400

/* An account's share without its slot: its texts here are 130 bytes. */
#define MAX_ACCOUNT_BYTES 400

static uint64_t resident_bytes(void)
{
	unsigned long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_int_equal(fscanf(f, "%lu %lu", &size, &resident), 2);
	fclose(f);
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void hash_of(uint64_t id, uint8_t ret_hash[STORE_HASH_BYTES])
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t word = (id * 4 + i + 1) * 0x9e3779b97f4a7c15ULL;

		word = (word ^ word >> 31) * 0xbf58476d1ce4e5b9ULL;
		memcpy(ret_hash + 8 * i, &word, 8);
	}
}

static void fill_accounts(struct mirror *mirror)
{
	struct store_account account = { .status = STORE_ACTIVE,
					 .tier = "basic",
					 .price = "price_1MoBy5LkdIwHu7ixZhnattbh",
					 .email = "accounts@customer.example",
					 .label = "ops@customer.example",
					 .period_start_s = WALL_MS / 1000,
					 .period_end_s = WALL_MS / 1000 + 2592000 };

	for (uint64_t i = 1; i <= ACCOUNTS; i++) {
		account.id = i * 0x9e3779b97f4a7c15ULL;
		snprintf(account.customer, sizeof(account.customer), "cus_NffrFeUf%06u",
			 (unsigned)i / 2);
		snprintf(account.subscription, sizeof(account.subscription),
			 "sub_1MowQVLkdIwHu7ixRe%06u", (unsigned)i);
		assert_int_equal(mirror_put_account(mirror, &account, WALL_MS, NOW_NS), 0);
	}
}

static void fill_keys(struct mirror *mirror)
{
	for (uint64_t i = 1; i <= KEYS; i++) {
		struct store_key key = { .id = i * 0xbf58476d1ce4e5b9ULL };

		key.account = (i % ACCOUNTS + 1) * 0x9e3779b97f4a7c15ULL;
		hash_of(i, key.hash);
		assert_int_equal(mirror_put_key(mirror, &key), 0);
	}
}

/* By subscription, and by customer, of whom each has two but the first. */
static void find_all_accounts(const struct mirror *mirror)
{
	for (unsigned i = 1; i <= ACCOUNTS; i++) {
		char subscription[32], customer[32];
		struct store_account account;
		uint64_t ids[2];
		uint32_t slot;

		snprintf(subscription, sizeof(subscription), "sub_1MowQVLkdIwHu7ixRe%06u", i);
		if (!mirror_account_by_subscription(mirror, subscription, &account, &slot) ||
		    account.id != i * 0x9e3779b97f4a7c15ULL)
			fail_msg("%s is not found", subscription);
		snprintf(customer, sizeof(customer), "cus_NffrFeUf%06u", i / 2);
		if (mirror_accounts_of_customer(mirror, customer, ids, 2) !=
			    (i == 1 || i == ACCOUNTS ? 1 : 2) ||
		    (ids[0] != account.id && ids[1] != account.id))
			fail_msg("%s is not found", customer);
	}
}

static void look_all_up(const struct mirror *mirror)
{
	struct mirror_key known;
	uint8_t hash[STORE_HASH_BYTES];

	for (uint64_t i = 1; i <= KEYS; i++) {
		hash_of(i, hash);
		if (!mirror_find(mirror, hash, &known))
			fail_msg("key %llu is not found", (unsigned long long)i);
	}
}

static void a_million_keys_cost_at_most_400_bytes_each(void **state)
{
	struct tollgate_slots_head *head = calloc(1, sizeof(*head));
	size_t slot_bytes = ACCOUNTS * sizeof(struct tollgate_slot);
	struct tier tier = make_tier("basic", 10, 10);
	const struct tiers tiers = { .list = &tier, .count = 1 };
	const uint8_t id[16] = { 1 };
	uint64_t before, after, accounts, began_ns, loaded_ns, found_ns;
	struct mirror *mirror;
	struct slots slots;
	void *memory;

	(void)state;
	mirror_register_thread();
	before = resident_bytes();
	memory = mmap(NULL, slot_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	assert_int_equal(slots_use_map(&slots, memory, head, ACCOUNTS), 0);
	assert_int_equal(slots_adopt(&slots, id, id, 3600), SLOTS_NEW);
	mirror = mirror_new(&slots);
	assert_int_equal(mirror_set_tiers(mirror, &tiers, WALL_MS, NOW_NS), 0);
	began_ns = clock_mono_ns();
	fill_accounts(mirror);
	accounts = (resident_bytes() - before) / ACCOUNTS - sizeof(struct tollgate_slot);
	fill_keys(mirror);
	loaded_ns = clock_mono_ns();
	look_all_up(mirror);
	found_ns = clock_mono_ns();
	after = resident_bytes();
	find_all_accounts(mirror);
	print_message("%llu bytes an account beside its slot\n", (unsigned long long)accounts);
	print_message("%u keys of %u accounts: %llu bytes a key with its share of slots, "
		      "loaded in %llu ms, found in %llu ns each\n",
		      KEYS, ACCOUNTS, (unsigned long long)((after - before) / KEYS),
		      (unsigned long long)((loaded_ns - began_ns) / NS_PER_MS),
		      (unsigned long long)((found_ns - loaded_ns) / KEYS));
	assert_int_equal(mirror_keys(mirror), KEYS);
	if (!IS_SANITIZED) {
		assert_in_range(accounts, 1, MAX_ACCOUNT_BYTES);
		assert_in_range((after - before) / KEYS, 1, MAX_KEY_BYTES);
	}
	mirror_free(mirror); /* at once: the tables may still be growing */
	mirror_unregister_thread();
	slots_done(&slots);
	munmap(memory, slot_bytes);
	free(head);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_million_keys_cost_at_most_400_bytes_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
