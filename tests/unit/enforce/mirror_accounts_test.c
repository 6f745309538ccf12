/* SPDX-License-Identifier: BSD-2-Clause */
/* mirror_accounts_test: accounts in the mirror, their indexes, and what is written to slots. */
#include "unit/enforce/enforce_fixture.h"

#include "enforce/period.h"

static const struct store_account full = { .id = 7,
					   .status = STORE_PAST_DUE,
					   .is_held = true,
					   .created_ms = 1700000000123,
					   .past_due_ms = 1700000009999,
					   .period_start_s = 1700000001,
					   .period_end_s = 1700000002,
					   .trial_end_s = 1700000003,
					   .cancel_at_s = 1700000004,
					   .mode = STORE_MODE_LIVE,
					   .usage_start_s = 1700000006,
					   .usage_end_s = 1700000007,
					   .disputes = "ch_1 ch_2",
					   .seats = 7,
					   .reference = "order-1",
					   .metadata = "{\"team\":\"a\"}",
					   .as_of_s = 1700000005,
					   .price = "price_1",
					   .email = "a@example.com",
					   .features = "export audit",
					   .tier = "basic",
					   .customer = "cus_1",
					   .subscription = "sub_1",
					   .label = "a label" };

static void put(struct fixture *f, const struct store_account *account)
{
	assert_int_equal(mirror_put_account(f->mirror, account, WALL_MS, NOW_NS), 0);
}

static void put_names(struct fixture *f, uint64_t id, const char *customer,
		      const char *subscription)
{
	struct store_account account = { .id = id, .tier = "basic" };

	strcpy(account.customer, customer);
	strcpy(account.subscription, subscription);
	put(f, &account);
}

static void an_account_comes_back_as_it_was_put(void **state)
{
	struct fixture *f = *state;
	struct store_account found, longest = full;
	uint32_t slot;

	put(f, &full);
	assert_true(mirror_account(f->mirror, 7, &found, &slot));
	assert_memory_equal(&found, &full, sizeof(full));
	memset(longest.price, 'p', sizeof(longest.price) - 1);
	memset(longest.email, 'e', sizeof(longest.email) - 1);
	memset(longest.features, 'f', sizeof(longest.features) - 1);
	memset(longest.customer, 'c', sizeof(longest.customer) - 1);
	memset(longest.subscription, 's', sizeof(longest.subscription) - 1);
	memset(longest.label, 'l', sizeof(longest.label) - 1);
	put(f, &longest);
	assert_true(mirror_account(f->mirror, 7, &found, &slot));
	assert_memory_equal(&found, &longest, sizeof(longest));
}

static uint64_t id_of(struct fixture *f, const char *subscription)
{
	struct store_account found;
	uint32_t slot;

	if (!mirror_account_by_subscription(f->mirror, subscription, &found, &slot))
		return 0;
	assert_string_equal(found.subscription, subscription);
	assert_int_equal(f->list[slot].account_id, found.id);
	return found.id;
}

static void an_account_is_found_by_its_present_subscription(void **state)
{
	struct fixture *f = *state;

	put_names(f, 7, "cus_1", "sub_1");
	put_names(f, 8, "cus_1", "");
	assert_int_equal(id_of(f, "sub_1"), 7);
	assert_int_equal(id_of(f, ""), 0); /* "" is not a subscription */
	assert_int_equal(id_of(f, "sub_"), 0);
	put_names(f, 7, "cus_1", "sub_2");
	assert_int_equal(id_of(f, "sub_1"), 0);
	assert_int_equal(id_of(f, "sub_2"), 7);
	put_names(f, 8, "cus_1", "sub_1");
	assert_int_equal(id_of(f, "sub_1"), 8);
	put_names(f, 7, "cus_1", "");
	assert_int_equal(id_of(f, "sub_2"), 0);
	assert_int_equal(id_of(f, "sub_1"), 8);
}

static void expect_accounts(struct fixture *f, const char *customer, uint64_t ids)
{
	uint64_t found[8] = { 0 }, bits = 0;
	unsigned count = mirror_accounts_of_customer(f->mirror, customer, found, 8);

	for (unsigned i = 0; i < count; i++)
		bits |= 1ULL << found[i];
	if (bits != ids || count != (unsigned)__builtin_popcountll(ids))
		fail_msg("%s has accounts %llx and not %llx", customer, (unsigned long long)bits,
			 (unsigned long long)ids);
}

static void all_accounts_of_a_customer_are_found(void **state)
{
	struct fixture *f = *state;
	uint64_t found[2] = { 0 };

	put_names(f, 1, "cus_1", "sub_1");
	put_names(f, 2, "cus_2", "sub_2");
	put_names(f, 3, "cus_1", "");
	put_names(f, 4, "", "sub_4");
	expect_accounts(f, "cus_1", 1 << 1 | 1 << 3);
	expect_accounts(f, "cus_2", 1 << 2);
	expect_accounts(f, "cus_3", 0);
	expect_accounts(f, "", 0);
	put_names(f, 3, "cus_2", "");
	put_names(f, 4, "cus_2", "sub_4");
	expect_accounts(f, "cus_1", 1 << 1);
	expect_accounts(f, "cus_2", 1 << 2 | 1 << 3 | 1 << 4);
	put_names(f, 2, "", "sub_2");
	expect_accounts(f, "cus_2", 1 << 3 | 1 << 4);
	put_names(f, 2, "cus_2", "sub_2");
	/* All are counted; only as many are returned as there is room for. */
	assert_int_equal(mirror_accounts_of_customer(f->mirror, "cus_2", found, 1), 3);
	assert_int_not_equal(found[0], 0);
	assert_int_equal(found[1], 0);
}

static void all_accounts_of_a_customer_are_listed(void **state)
{
	struct fixture *f = *state;
	unsigned count = 1;
	uint64_t *ids, sum = 0;

	for (uint64_t id = 1; id <= SLOTS; id++)
		put_names(f, id, "cus_1", "");
	assert_int_equal(mirror_list_of_customer(f->mirror, "cus_1", &ids, &count), 0);
	assert_int_equal(count, SLOTS);
	for (unsigned i = 0; i < count; i++)
		sum += ids[i];
	assert_int_equal(sum, SLOTS * (SLOTS + 1) / 2);
	free(ids);
	assert_int_equal(mirror_list_of_customer(f->mirror, "cus_2", &ids, &count), 0);
	assert_int_equal(count, 0);
	assert_null(ids);
}

static bool is_open(struct fixture *f, uint64_t id)
{
	return slot_of_account(f, id)->state == TOLLGATE_SLOT_OPEN;
}

static void each_tier_has_its_own_grace(void **state)
{
	struct fixture *f = *state;

	f->tier_list[2].grace_ms = 1000; /* slow */
	f->tier_list[3].grace_ms = 0;	 /* daily */
	assert_int_equal(mirror_set_tiers(f->mirror, &f->tiers, WALL_MS, NOW_NS), 0);
	put_account(f, 1, "basic", STORE_PAST_DUE);
	put_account(f, 2, "slow", STORE_PAST_DUE);
	put_account(f, 3, "daily", STORE_PAST_DUE);
	put_account(f, 4, "a tier nobody has heard of", STORE_PAST_DUE);
	assert_true(is_open(f, 1) && is_open(f, 2));
	assert_false(is_open(f, 3) || is_open(f, 4));
	mirror_pass_time(f->mirror, WALL_MS + 999, NOW_NS);
	assert_true(is_open(f, 2));
	mirror_pass_time(f->mirror, WALL_MS + 1000, NOW_NS);
	assert_true(is_open(f, 1));
	assert_false(is_open(f, 2));
}

/* Features of the tiers: bit 0 is "export", 1 is "audit". */
static void entitlements_are_features_where_the_tier_says_so(void **state)
{
	static const struct {
		const char *tier, *features;
		uint64_t bits;
		const char *why;
	} rows[] = {
		{ "slow", "", 0, "no entitlement" },
		{ "slow", "audit", 2, "one" },
		{ "slow", "audit export", 3, "two" },
		{ "slow", "  export  ", 1, "blanks around" },
		{ "slow", "exports expor nothing", 0, "other names" },
		{ "basic", "audit", 1ULL << EXPORT | 1ULL << ADMIN | 2, "on top of the tier's" },
		{ "free", "audit export", 0, "a tier that does not look at them" },
	};
	struct fixture *f = *state;

	f->tiers.features[0] = (char *)"export";
	f->tiers.features[1] = (char *)"audit";
	f->tiers.feature_count = 2;
	f->tier_list[0].uses_entitlements = f->tier_list[2].uses_entitlements = true;
	assert_int_equal(mirror_set_tiers(f->mirror, &f->tiers, WALL_MS, NOW_NS), 0);
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct store_account account = { .id = 7 };

		strcpy(account.tier, rows[i].tier);
		strcpy(account.features, rows[i].features);
		put(f, &account);
		if (slot_of_account(f, 7)->features != rows[i].bits)
			fail_msg("%s", rows[i].why);
	}
	/* A reload may remove the names or give them other bits. */
	put_account(f, 7, "slow", STORE_ACTIVE);
	put(f, &(struct store_account){ .id = 7, .tier = "slow", .features = "export" });
	f->tiers.features[0] = (char *)"audit";
	f->tiers.features[1] = (char *)"export";
	assert_int_equal(mirror_set_tiers(f->mirror, &f->tiers, WALL_MS, NOW_NS), 0);
	assert_int_equal(slot_of_account(f, 7)->features, 2);
	assert_int_equal(f->tier_list[2].features, 0); /* the tier itself is unchanged */
}

#define DAY_S 86400ULL
#define NOW_S (WALL_MS / 1000)

static void a_monthly_quota_follows_the_billing_period(void **state)
{
	const uint64_t start_s = NOW_S - 10 * DAY_S, end_s = start_s + 30 * DAY_S;
	const uint64_t billing = PERIOD_SPAN(start_s, end_s);
	struct store_account account = {
		.id = 7, .tier = "basic", .period_start_s = start_s, .period_end_s = end_s
	};
	struct fixture *f = *state;

	put(f, &account);
	put_account(f, 8, "basic", STORE_ACTIVE);
	assert_int_equal(slot_of_account(f, 7)->billing, billing);
	assert_int_equal(slot_of_account(f, 7)->quota_span, billing);
	assert_int_equal(slot_of_account(f, 8)->billing, 0);
	assert_int_equal(slot_of_account(f, 8)->quota_span, 0);
	mirror_pass_time(f->mirror, end_s * 1000 - 1, NOW_NS);
	assert_int_equal(slot_of_account(f, 7)->quota_span, billing);
	/* The next period is assumed to be as long, until Stripe reports it. */
	for (unsigned i = 1; i < 4; i++) {
		mirror_pass_time(f->mirror, (end_s + (i - 1) * 30 * DAY_S) * 1000, NOW_NS);
		assert_int_equal(slot_of_account(f, 7)->quota_span,
				 PERIOD_SPAN(start_s + i * 30 * DAY_S, end_s + i * 30 * DAY_S));
		assert_int_equal(slot_of_account(f, 7)->billing, billing);
	}
	strcpy(account.tier, "daily");
	put(f, &account);
	assert_int_equal(slot_of_account(f, 7)->billing, billing); /* windows still end with it */
	assert_int_equal(slot_of_account(f, 7)->quota_span, 0);
	mirror_pass_time(f->mirror, end_s * 2000, NOW_NS);
	assert_int_equal(slot_of_account(f, 7)->quota_span, 0);
}

static void the_first_of_many_periods_to_end_is_not_missed(void **state)
{
	struct fixture *f = *state;

	for (uint64_t i = 0; i < 10; i++) {
		uint64_t start_s = NOW_S - (i * 7 % 10 + 1) * 3600; /* no order */

		put(f, &(struct store_account){ .id = i + 1,
						.tier = "basic",
						.period_start_s = start_s,
						.period_end_s = start_s + 30 * DAY_S });
	}
	for (uint64_t hour = 1; hour <= 10; hour++) {
		uint64_t at_s = NOW_S + 30 * DAY_S - (11 - hour) * 3600;
		unsigned moved = 0;

		mirror_pass_time(f->mirror, at_s * 1000, NOW_NS);
		for (uint64_t i = 1; i <= 10; i++)
			moved += PERIOD_START_S(slot_of_account(f, i)->quota_span) > NOW_S;
		assert_int_equal(moved, hour);
	}
}

static void what_was_charged_in_a_billing_period_is_found_again(void **state)
{
	const uint64_t start_s = NOW_S - 20 * DAY_S, end_s = start_s + 30 * DAY_S;
	const uint32_t period = clock_day(start_s * 1000);
	const struct store_quota quotas[] = {
		{ 7, 9, TOLLGATE_PERIOD_MONTH, period - 30, 100 },
		{ 7, 9, TOLLGATE_PERIOD_MONTH, period, 40 },
		{ 8, 9, TOLLGATE_PERIOD_MONTH, period - 30, 200 },
	};
	struct fixture *f = *state;

	for (uint64_t id = 7; id <= 8; id++)
		put(f, &(struct store_account){ .id = id,
						.tier = "basic",
						.period_start_s = start_s,
						.period_end_s = end_s });
	for (size_t i = 0; i < COUNT(quotas); i++)
		mirror_put_quota(f->mirror, &quotas[i], WALL_MS);
	for (uint64_t id = 7; id <= 8; id++) {
		const struct tollgate_slot *slot = slot_of_account(f, id);
		uint64_t end_ms;
		uint32_t now = usage_quota_period(TOLLGATE_PERIOD_MONTH, slot->quota_span, WALL_MS,
						  &end_ms);

		assert_int_equal(now, period);
		assert_int_equal(usage_quota_used(slot->quota_word, now), id == 7 ? 40 : 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_account_comes_back_as_it_was_put),
		TEST(an_account_is_found_by_its_present_subscription),
		TEST(all_accounts_of_a_customer_are_found),
		TEST(all_accounts_of_a_customer_are_listed),
		TEST(each_tier_has_its_own_grace),
		TEST(entitlements_are_features_where_the_tier_says_so),
		TEST(a_monthly_quota_follows_the_billing_period),
		TEST(the_first_of_many_periods_to_end_is_not_missed),
		TEST(what_was_charged_in_a_billing_period_is_found_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
