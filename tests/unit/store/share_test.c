/* SPDX-License-Identifier: BSD-2-Clause */
/* Redis lends units of shared limits: never more than there are, and no unit twice. */
#include "unit/store/store_fixture.h"

#include "tollgate/abi.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, share_setup, fixture_teardown)

#define BURST  100
#define SLOWLY 3600000000000ULL /* a unit per hour: the bucket does not refill during a test */
#define PERIOD 20000
#define A_HOST 11
#define B_HOST 12

static struct store_share_grant granted;
static uint64_t next_seq;

static int share_setup(void **state)
{
	int err = fixture_setup(state);

	next_seq = 0;
	if (!err)
		fixture_open(*state);
	return err;
}

static void on_granted(void *arg, int err, const struct store_share_grant *grants, size_t count)
{
	if (!err && count)
		granted = grants[0];
	fixture_done(arg, err);
}

static struct store_share_want wants_of(uint64_t used, uint64_t want)
{
	return (struct store_share_want){ .account = 7,
					  .epoch = 1,
					  .seq = ++next_seq,
					  .used = used,
					  .want = want,
					  .need = 1,
					  .interval_ns = SLOWLY,
					  .burst = BURST };
}

static struct store_share_grant ask(struct fixture *f, uint64_t host,
				    const struct store_share_want *want)
{
	memset(&granted, 0xff, sizeof(granted));
	store_share_exchange(f->store, host, 2, want, 1, on_granted, f);
	assert_int_equal(fixture_wait(f), 0);
	return granted;
}

static struct store_share_grant borrow(struct fixture *f, uint64_t host, uint64_t used,
				       uint64_t want_units)
{
	struct store_share_want want = wants_of(used, want_units);

	return ask(f, host, &want);
}

static void borrowed_units_are_gone_until_they_are_given_back(void **state)
{
	struct fixture *f = *state;
	struct store_share_grant a = borrow(f, A_HOST, 0, 30), b;

	assert_int_equal(a.paid, 30);
	assert_int_equal(a.left, BURST - 30);
	b = borrow(f, B_HOST, 0, 1000);
	assert_true(b.paid <= BURST - 30);
	assert_int_equal(b.left, BURST - 30 - b.paid);
	a = borrow(f, A_HOST, 10, 0); /* it has used 10 of 30 */
	assert_int_equal(a.paid, 10);
	assert_int_equal(a.left, BURST - 10 - b.paid);
}

static void no_unit_is_lent_twice(void **state)
{
	struct fixture *f = *state;
	uint64_t a = 0, b = 0;

	/* Both use all units they get, and ask for more, until none are left. */
	for (unsigned i = 0; i < 40; i++) {
		a = borrow(f, A_HOST, a, 50).paid;
		b = borrow(f, B_HOST, b, 50).paid;
	}
	assert_int_equal(a + b, BURST);
	assert_true(granted.wait_ns > SLOWLY - 60000000000ULL && granted.wait_ns <= SLOWLY);
	assert_int_equal(granted.left, 0);
}

static void units_used_without_a_grant_are_charged_afterwards(void **state)
{
	struct fixture *f = *state;
	struct store_share_grant grant = borrow(f, A_HOST, BURST + 20, 10);

	assert_int_equal(grant.paid, BURST + 20);
	assert_true(grant.wait_ns > 20 * SLOWLY && grant.wait_ns <= 21 * SLOWLY);
	assert_int_equal(borrow(f, B_HOST, 0, 1).paid, 0);
}

static void a_repeated_or_late_exchange_changes_nothing(void **state)
{
	struct store_share_want first = wants_of(0, 30), second = wants_of(5, 30);
	struct fixture *f = *state;

	assert_int_equal(ask(f, A_HOST, &first).paid, 30);
	assert_int_equal(ask(f, A_HOST, &second).paid, 35);
	assert_false(ask(f, A_HOST, &first).is_known);
	assert_false(ask(f, A_HOST, &second).is_known);
	assert_int_equal(borrow(f, A_HOST, 35, 0).left, BURST - 35);
}

static void a_dead_host_has_spent_what_it_borrowed(void **state)
{
	struct fixture *f = *state;
	uint64_t b = 0;

	assert_int_equal(borrow(f, A_HOST, 0, 40).paid, 40);
	for (unsigned i = 0; i < 40; i++)
		b = borrow(f, B_HOST, b, 50).paid;
	assert_int_equal(b, BURST - 40);
	/* Its next run starts from 0, and owes nothing for the last one. */
	assert_int_equal(borrow(f, A_HOST + 100, 0, 1).paid, 0);
}

static void a_run_that_redis_forgot_is_not_charged_twice(void **state)
{
	struct fixture *f = *state;
	struct store_share_want want = wants_of(100000, 10);

	want.paid = 99995; /* from its last grant; it has used 5 more since */
	assert_int_equal(ask(f, A_HOST, &want).paid, 100000 + 10);
	assert_int_equal(granted.left, BURST - 5 - 10);
}

static void units_allowed_without_redis_are_a_bounded_debt(void **state)
{
	struct fixture *f = *state;

	borrow(f, A_HOST, 0, 1);
	borrow(f, B_HOST, 0, 1);
	borrow(f, A_HOST, 100000, 1);
	/*
	 * The debt is bounded by the burst and one unit per host; the next request needs one more.
	 */
	assert_true(borrow(f, B_HOST, 100000, 1).wait_ns <= (BURST + 2 + 1) * SLOWLY);
	assert_true(granted.wait_ns > BURST * SLOWLY);
}

static void totals_restart_when_an_account_gets_another_slot(void **state)
{
	struct store_share_want want;
	struct fixture *f = *state;

	borrow(f, A_HOST, 0, 30);
	borrow(f, A_HOST, 20, 0);
	next_seq = 0;
	want = wants_of(0, 10);
	want.generation = 2;
	assert_int_equal(ask(f, A_HOST, &want).paid, 10);
	assert_int_equal(granted.left, BURST - 20 - 10); /* used units do not come back */
}

static void time_fills_the_bucket_up_to_its_burst(void **state)
{
	struct fixture *f = *state;
	struct store_share_want want = wants_of(0, 50);
	struct store_share_grant grant;

	want.interval_ns = 1000; /* a thousand units per millisecond */
	grant = ask(f, A_HOST, &want);
	assert_int_equal(grant.paid, 50);
	want = wants_of(50, 0);
	want.interval_ns = 1000;
	do {
		want.seq = ++next_seq;
		grant = ask(f, A_HOST, &want);
		assert_true(grant.left <= BURST);
	} while (grant.left < BURST);
}

static void no_grant_is_smaller_than_the_need(void **state)
{
	struct store_share_want want = wants_of(0, 1000);
	struct fixture *f = *state;

	borrow(f, B_HOST, BURST - 3, 0);
	want.need = 5;
	assert_int_equal(ask(f, A_HOST, &want).paid, 0);
	assert_true(granted.wait_ns > SLOWLY && granted.wait_ns <= 2 * SLOWLY);
	want = wants_of(0, 1000);
	want.need = 3;
	assert_int_equal(ask(f, A_HOST, &want).paid, 3);
	/* A need above the burst can never be met, so the burst is enough. */
	want = wants_of(0, 1000);
	want.account++;
	want.need = 2 * BURST;
	assert_int_equal(ask(f, A_HOST, &want).paid, BURST);
}

static struct store_share_want quota_want(uint64_t epoch, uint64_t used, uint64_t want)
{
	return (struct store_share_want){ .account = 7,
					  .epoch = epoch,
					  .seq = ++next_seq,
					  .need = 1,
					  .quota_limit = BURST,
					  .quota_kind = TOLLGATE_PERIOD_DAY,
					  .quota_period = PERIOD,
					  .quota_used = used,
					  .quota_want = want };
}

static void a_quota_is_used_up_exactly(void **state)
{
	struct fixture *f = *state;
	uint64_t a = 0, b = 0;

	for (unsigned i = 0; i < 60; i++) {
		struct store_share_want want = quota_want(1, a, 30);

		a = ask(f, A_HOST, &want).quota_cap;
		assert_true(granted.quota_others <= b); /* as far as B has reported */
		want = quota_want(2, b, 30);
		b = ask(f, B_HOST, &want).quota_cap;
		assert_true(granted.quota_others <= a);
		assert_true(a + b <= BURST);
	}
	assert_int_equal(a + b, BURST);
	assert_int_equal(granted.quota_left, 0);
}

static void quotas_written_by_other_calls_count(void **state)
{
	struct store_quota quota = { .account = 7,
				     .epoch = 3,
				     .period_kind = TOLLGATE_PERIOD_DAY,
				     .period = PERIOD,
				     .units = BURST - 4 };
	struct store_share_want want = quota_want(1, 0, 30);
	struct fixture *f = *state;

	usage_put(f, NULL, 0, &quota, 1);
	usage_put(f, NULL, 0, &quota, 1);
	assert_int_equal(ask(f, A_HOST, &want).quota_others, BURST - 4);
	assert_true(granted.quota_cap <= 4);
}

static void no_place_is_granted_twice(void **state)
{
	struct fixture *f = *state;
	struct store_share_want want = { .account = 7, .concurrency = 6, .places_want = 4 };

	want.seq = ++next_seq;
	assert_int_equal(ask(f, A_HOST, &want).places, 4);
	assert_int_equal(ask(f, B_HOST, &want).places, 2);
	want.places_want = 0;
	want.seq = ++next_seq;
	assert_int_equal(ask(f, A_HOST, &want).places, 0);
	want.places_want = 9;
	want.seq = ++next_seq;
	assert_int_equal(ask(f, B_HOST, &want).places, 6);
}

static void a_host_without_a_place_gets_a_free_one(void **state)
{
	struct store_share_want want = {
		.account = 7, .concurrency = 6, .places_want = 6, .held = 2
	};
	struct fixture *f = *state;

	want.seq = ++next_seq;
	assert_int_equal(ask(f, A_HOST, &want).places, 6);
	want.seq = ++next_seq;
	want.held = 0;
	want.places_want = 2;
	assert_int_equal(ask(f, B_HOST, &want).places, 0);
	want.seq = ++next_seq;
	want.held = 2;
	want.places_want = 6;
	assert_int_equal(ask(f, A_HOST, &want).places, 5);
	want.seq = ++next_seq;
	assert_int_equal(ask(f, B_HOST, &want).places, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(borrowed_units_are_gone_until_they_are_given_back),
		TEST(no_unit_is_lent_twice),
		TEST(units_used_without_a_grant_are_charged_afterwards),
		TEST(a_repeated_or_late_exchange_changes_nothing),
		TEST(a_dead_host_has_spent_what_it_borrowed),
		TEST(a_run_that_redis_forgot_is_not_charged_twice),
		TEST(units_allowed_without_redis_are_a_bounded_debt),
		TEST(totals_restart_when_an_account_gets_another_slot),
		TEST(time_fills_the_bucket_up_to_its_burst),
		TEST(no_grant_is_smaller_than_the_need),
		TEST(a_quota_is_used_up_exactly),
		TEST(quotas_written_by_other_calls_count),
		TEST(no_place_is_granted_twice),
		TEST(a_host_without_a_place_gets_a_free_one),
	};

	return RUN_REDIS_TESTS("share", tests);
}
