/* SPDX-License-Identifier: BSD-2-Clause */
/* share_test: what one host allows of limits that all hosts share, with a simulated clock. */
#include <pthread.h>

#include "enforce/share.h"
#include "unit/enforce/enforce_fixture.h"

#define S	    1000000000ULL
#define T0	    (100 * S)
#define INTERVAL_NS (S / 100) /* 100/s */
#define BURST	    30ULL

struct world {
	struct fixture *f;
	struct shares shares;
	struct share *share;
	struct tollgate_slot *slot;
	unsigned wakes;
};

static const struct tier tier = { .name = (char *)"t",
				  .interval_ns = INTERVAL_NS,
				  .burst = BURST,
				  .limit_ns = BURST * INTERVAL_NS,
				  .is_shared = true };

static void on_wake(void *arg)
{
	((struct world *)arg)->wakes++;
}

static struct world open_world(struct fixture *f, uint32_t hosts)
{
	struct world w = { .f = f };
	struct store_account account;
	uint32_t index;

	assert_int_equal(shares_init(&w.shares, f->slots.count), 0);
	shares_set_hosts(&w.shares, hosts);
	put_account(f, 7, "basic", STORE_ACTIVE);
	assert_true(mirror_account(f->mirror, 7, &account, &index));
	w.slot = &f->slots.list[index];
	share_set_tier(&w.shares, index, NULL, true);
	assert_null(share_of(&w.shares, index));
	share_set_tier(&w.shares, index, &tier, false);
	w.share = share_of(&w.shares, index);
	assert_non_null(w.share);
	return w;
}

/* Take units one by one until one is refused; returns how many passed. */
static unsigned take_all(struct world *w, uint64_t now_ns)
{
	unsigned taken = 0;

	while (!share_peek(&w->shares, w->share, 1, now_ns)) {
		assert_int_equal(share_take(&w->shares, w->share, 1, now_ns), 0);
		taken++;
	}
	assert_int_not_equal(share_take(&w->shares, w->share, 1, now_ns), 0);
	return taken;
}

/* One exchange: the store grants @lent units beyond those used, or is empty for @wait_ns. */
static struct store_share_want exchange(struct world *w, uint64_t now_ns, uint64_t lent,
					uint64_t wait_ns)
{
	struct store_share_want want;
	struct store_share_grant grant = { .is_known = true, .wait_ns = wait_ns };

	assert_int_equal(share_collect(&w->shares, &w->f->slots, 0, now_ns, false, &want, 1), 1);
	grant.paid = want.used + lent;
	share_apply(&w->shares, &w->f->slots, &want, &grant, 1, now_ns);
	return want;
}

static void before_the_first_lease_a_host_has_its_share(void **state)
{
	static const struct {
		uint32_t hosts;
		unsigned burst;
	} rows[] = { { 1, 30 }, { 3, 10 }, { 4, 8 }, { 100, 1 } };

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct world w = open_world(*state, rows[i].hosts);

		assert_int_equal(take_all(&w, T0), rows[i].burst);
		/*
		 * Its part of the rate: a unit comes back after as many intervals as there are
		 * hosts.
		 */
		assert_int_equal(take_all(&w, T0 + INTERVAL_NS * rows[i].hosts - 1), 0);
		assert_int_equal(take_all(&w, T0 + INTERVAL_NS * rows[i].hosts), 1);
		shares_done(&w.shares);
	}
}

static void the_lease_is_used_before_the_share(void **state)
{
	struct world w = open_world(*state, 3);

	assert_int_equal(take_all(&w, T0), 10);
	assert_int_equal(exchange(&w, T0, 20, 0).used, 10);
	assert_int_equal(take_all(&w, T0), 20);
	assert_int_equal(exchange(&w, T0 + S, 0, 0).used, 30);
	assert_int_equal(take_all(&w, T0 + S), 10); /* the share is full again */
	shares_done(&w.shares);
}

static void a_lease_ends(void **state)
{
	struct world w = open_world(*state, 3);

	assert_int_equal(take_all(&w, T0), 10);
	exchange(&w, T0, 20, 0);
	assert_int_equal(share_take(&w.shares, w.share, 15, T0 + SHARE_LEASE_NS - 1), 0);
	assert_int_equal(share_left(&w.shares, w.share, T0 + SHARE_LEASE_NS - 1), 5);
	assert_int_equal(take_all(&w, T0 + SHARE_LEASE_NS), 10);
	shares_done(&w.shares);
}

static void an_empty_store_closes_the_share_too(void **state)
{
	struct world w = open_world(*state, 3);

	assert_int_equal(share_take(&w.shares, w.share, 1, T0), 0);
	exchange(&w, T0, 0, 5 * INTERVAL_NS);
	assert_true(share_is_dry(w.share, T0));
	assert_int_equal(take_all(&w, T0), 0);
	assert_int_equal(share_peek(&w.shares, w.share, 1, T0 + INTERVAL_NS), 4 * INTERVAL_NS);
	assert_int_equal(share_left(&w.shares, w.share, T0), 0);
	assert_true(take_all(&w, T0 + 5 * INTERVAL_NS) > 0);
	shares_done(&w.shares);
}

static void more_is_asked_for_in_time_and_not_all_the_time(void **state)
{
	struct world w = open_world(*state, 1);
	struct store_share_want want;

	w.shares.wake = on_wake;
	w.shares.wake_arg = &w;
	assert_int_equal(share_take(&w.shares, w.share, 1, T0), 0);
	assert_int_equal(w.wakes, 1); /* it has no lease */
	exchange(&w, T0, 20, 0);
	assert_int_equal(share_take(&w.shares, w.share, 14, T0 + S / 5), 0);
	assert_int_equal(w.wakes, 1);
	assert_int_equal(share_take(&w.shares, w.share, 2, T0 + S / 5), 0);
	assert_int_equal(w.wakes, 2); /* three quarters are used */
	want = exchange(&w, T0 + S / 5, 0, 10 * S);
	assert_int_equal(want.used, 17);
	assert_true(want.want >= 16 && want.want <= BURST);
	for (unsigned i = 0; i < 100; i++)
		share_take(&w.shares, w.share, 5, T0 + S / 5 + i);
	assert_int_equal(w.wakes, 2); /* it knows that the store is empty */
	shares_done(&w.shares);
}

static void a_large_cost_is_asked_for_once(void **state)
{
	struct world w = open_world(*state, 1);
	struct store_share_want want;

	assert_int_equal(share_take(&w.shares, w.share, 9, T0), 0);
	assert_int_equal(share_collect(&w.shares, &w.f->slots, 0, T0, false, &want, 1), 1);
	assert_int_equal(want.need, 9);
	share_retry(&w.shares, &want, 1); /* no answer, so it is asked again */
	assert_int_equal(exchange(&w, T0, 5, 0).need, 9);
	assert_int_equal(share_take(&w.shares, w.share, 1, T0), 0);
	assert_int_equal(exchange(&w, T0, 5, 0).need, 1);
	shares_done(&w.shares);
}

static void places_are_asked_for_between_short_requests(void **state)
{
	struct world w = open_world(*state, 1);
	struct tier places = { .name = (char *)"p", .concurrency = 6, .is_shared = true };

	share_set_tier(&w.shares, (uint32_t)(w.slot - w.f->slots.list), &places, false);
	slot_set_limits(w.slot, &places, 1, true, T0);
	assert_int_equal(share_take(&w.shares, w.share, 1, T0),
			 0); /* the request has ended already */
	assert_true(exchange(&w, T0, 0, 0).places_want > 0);
	shares_done(&w.shares);
}

static void a_ceiling_of_a_quota_lasts_no_longer_than_the_store_keeps_it(void **state)
{
	struct world w = open_world(*state, 2);
	struct share *share = w.share;
	uint64_t end_ns = T0 + SHARE_LEASE_NS + SHARE_QUOTA_KEPT_NS;

	/* Before the first grant: a few units, and no more however often it asks. */
	assert_int_equal(share_quota_cap(&w.shares, share, 5, 0, 1000, T0), SHARE_QUOTA_COLD);
	assert_int_equal(share_quota_cap(&w.shares, share, 5, 8, 992, T0), SHARE_QUOTA_COLD);
	share->quota_cap = 5ULL << TOLLGATE_QUOTA_SHIFT | 100;
	share->until_ns = T0 + SHARE_LEASE_NS;
	share->quota_left = 900;
	assert_int_equal(share_quota_cap(&w.shares, share, 5, 20, 900, end_ns - 1), 100);
	assert_int_equal(share_quota_cap(&w.shares, share, 5, 20, 900, end_ns), 30);
	assert_int_equal(share_quota_cap(&w.shares, share, 5, 29, 900, end_ns + S), 30);
	/* The store does not answer: this host's half of what was left, once. */
	share->asking_ns = end_ns;
	assert_int_equal(share_quota_cap(&w.shares, share, 5, 30, 900, end_ns + 2 * S), 30 + 450);
	assert_int_equal(share_quota_cap(&w.shares, share, 5, 480, 900, end_ns + 9 * S), 30 + 450);
	shares_done(&w.shares);
}

static void unused_leases_are_given_back(void **state)
{
	struct world w = open_world(*state, 1);
	struct store_share_want want;

	assert_int_equal(share_take(&w.shares, w.share, 1, T0), 0);
	exchange(&w, T0, 20, 0);
	want = exchange(&w, T0 + S / 5, 0, 0); /* the next exchange, without use */
	assert_int_equal(want.want, 0);
	assert_int_equal(want.used, 1);
	assert_int_equal(share_collect(&w.shares, &w.f->slots, 0, T0 + S, false, &want, 1), 0);
	shares_done(&w.shares);
}

static void an_answer_for_the_slots_last_account_is_dropped(void **state)
{
	struct world w = open_world(*state, 3);
	struct store_share_grant grant = { .is_known = true, .paid = 1000 };
	struct store_share_want want;

	assert_int_equal(take_all(&w, T0), 10);
	assert_int_equal(share_collect(&w.shares, &w.f->slots, 0, T0, false, &want, 1), 1);
	w.slot->generation++;
	share_apply(&w.shares, &w.f->slots, &want, &grant, 1, T0);
	assert_int_equal(take_all(&w, T0), 0);
	shares_done(&w.shares);
}

#define THREADS 4

static void *take_many(void *arg)
{
	struct world *w = arg;
	uint64_t taken = 0;

	for (unsigned i = 0; i < 200000; i++)
		taken += !share_take(&w->shares, w->share, 1, T0);
	return (void *)(uintptr_t)taken;
}

static void workers_never_take_more_than_there_is(void **state)
{
	struct world w = open_world(*state, 3);
	pthread_t threads[THREADS];
	uint64_t taken = 0, lent = 0;
	void *result;

	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_many, &w), 0);
	for (unsigned i = 0; i < 2000; i++) {
		struct store_share_want want;
		struct store_share_grant grant = { .is_known = true };

		if (!share_collect(&w.shares, &w.f->slots, 0, T0, false, &want, 1))
			continue;
		grant.paid = want.used + 20;
		lent = grant.paid;
		share_apply(&w.shares, &w.f->slots, &want, &grant, 1, T0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &result);
		taken += (uintptr_t)result;
	}
	assert_int_equal(taken, w.share->used);
	assert_true(taken <= lent + 10);
	shares_done(&w.shares);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(before_the_first_lease_a_host_has_its_share),
		TEST(the_lease_is_used_before_the_share),
		TEST(a_lease_ends),
		TEST(an_empty_store_closes_the_share_too),
		TEST(more_is_asked_for_in_time_and_not_all_the_time),
		TEST(a_large_cost_is_asked_for_once),
		TEST(places_are_asked_for_between_short_requests),
		TEST(a_ceiling_of_a_quota_lasts_no_longer_than_the_store_keeps_it),
		TEST(unused_leases_are_given_back),
		TEST(an_answer_for_the_slots_last_account_is_dropped),
		TEST(workers_never_take_more_than_there_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
