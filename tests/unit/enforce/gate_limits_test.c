/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gate_limits_test: what the gate reports about rate and quota, also at the edges of periods and
 * with many threads at once.
 */
#include "base/atomic.h"
#include "unit/enforce/enforce_fixture.h"

#include "tollgate/bucket.h"

#define DEC_1_MS     1701388800000ULL /* 2023-12-01T00:00Z */
#define FEB_29_MS    1709164800000ULL /* 2024-02-29T00:00Z */
#define MAR_1_MS     1709251200000ULL
#define MS_PER_DAY   86400000ULL
#define PERIOD(word) ((uint32_t)((word) >> TOLLGATE_QUOTA_SHIFT))

/* The data for response headers: what is left after this request, and when there is more. */
static void the_rate_left_is_what_may_be_used_at_once(void **state)
{
	static const struct {
		uint64_t debt_ns; /* before the request */
		uint32_t cost;
		enum tollgate_verdict verdict;
		uint64_t left, more_ns;
		const char *why;
	} rows[] = {
		{ 0, 1, TOLLGATE_ALLOW, 4, 10000000, "the first of five" },
		{ 0, 0, TOLLGATE_ALLOW, 5, 0, "a full bucket has no more to come" },
		{ 1, 1, TOLLGATE_ALLOW, 3, 1, "a nanosecond of debt is less than five" },
		{ 10000000, 1, TOLLGATE_ALLOW, 3, 10000000, "the second" },
		{ 15000000, 1, TOLLGATE_ALLOW, 2, 5000000, "half a unit is none" },
		{ 40000000, 1, TOLLGATE_ALLOW, 0, 10000000, "the last" },
		{ 31000000, 1, TOLLGATE_ALLOW, 0, 1000000, "the last, and a bit" },
		{ 41000000, 1, TOLLGATE_OVER_RATE, 0, 1000000, "not quite one" },
		{ 50000000, 0, TOLLGATE_ALLOW, 0, 10000000, "none, for what costs nothing" },
		{ 51000000, 1, TOLLGATE_OVER_RATE, 0, 11000000, "by a clock that is ahead" },
	};
	struct fixture *f = *state;
	struct tollgate_slot *slot = put_customer(f, "basic");
	struct gate_request request = make_request();

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct gate_result result;

		slot->tat_ns = NOW_NS + rows[i].debt_ns;
		slot->concurrency = 0;
		request.cost = rows[i].cost;
		result = check(f, &request);
		if (result.verdict != rows[i].verdict || result.rate_left != rows[i].left ||
		    result.rate_more_ns != rows[i].more_ns)
			fail_msg("%s: verdict %u, %llu left, more in %llu", rows[i].why,
				 result.verdict, (unsigned long long)result.rate_left,
				 (unsigned long long)result.rate_more_ns);
	}
}

/* As many units as reported pass at once, and not one more; after the reported time, one more. */
static void the_reported_rate_holds(void **state)
{
	struct fixture *f = *state;
	struct tollgate_slot *slot = put_customer(f, "slow");
	struct gate_request request = make_request();
	uint64_t seed = 0x2545f4914f6cdd1d;

	for (unsigned i = 0; i < 3000; i++) {
		uint64_t debt_ns = draw(&seed) % (10 * NS_PER_SECOND + 1), limit_ns;
		struct tollgate_slot copy;
		struct gate_result told;

		slot->tat_ns = NOW_NS + debt_ns;
		request.cost = draw(&seed) % 11;
		told = check(f, &request);
		copy = *slot;
		limit_ns = slot->limit_ns;
		for (uint64_t n = 0; n < told.rate_left; n++)
			assert_int_equal(gate_bucket_charge(&copy, limit_ns, NS_PER_SECOND, NOW_NS),
					 0);
		if (!gate_bucket_charge(&copy, limit_ns, NS_PER_SECOND, NOW_NS))
			fail_msg("debt %llu, cost %u: more than %llu left",
				 (unsigned long long)debt_ns, request.cost,
				 (unsigned long long)told.rate_left);
		copy = *slot;
		if (!told.rate_more_ns) {
			assert_int_equal(told.rate_left, 10);
			continue;
		}
		request.now_ns = NOW_NS + told.rate_more_ns - 1;
		assert_int_equal(tollgate_bucket_wait(copy.tat_ns, limit_ns,
						      (told.rate_left + 1) * NS_PER_SECOND,
						      NOW_NS + told.rate_more_ns),
				 0);
		assert_int_equal(tollgate_bucket_wait(copy.tat_ns, limit_ns,
						      (told.rate_left + 1) * NS_PER_SECOND,
						      request.now_ns),
				 1);
		request.now_ns = NOW_NS;
	}
}

static void without_limits_nothing_is_reported(void **state)
{
	struct fixture *f = *state;
	struct gate_request request = make_request();
	struct gate_result result;

	put_customer(f, "free");
	for (unsigned i = 0; i < 100000; i++)
		result = check(f, &request);
	assert_int_equal(result.verdict, TOLLGATE_ALLOW);
	assert_int_equal(result.rate_left, 0);
	assert_int_equal(result.rate_more_ns, 0);
	assert_int_equal(result.quota_left, 0);
	assert_int_equal(result.limits.interval_ns, 0);
	assert_int_equal(result.limits.quota_limit, 0);
}

/*
 * A worker that read the old limits may charge after a change. That must not lock the account out.
 */
static void a_debt_beyond_the_limit_is_forgiven(void **state)
{
	static const struct {
		const char *tier;
		uint64_t debt_ns, wait_ns;
		enum tollgate_verdict verdict;
		const char *why;
	} rows[] = {
		{ "free", 3600 * NS_PER_SECOND, 0, TOLLGATE_ALLOW, "no rate limit: no debt" },
		{ "free", NS_PER_SECOND / 2, 0, TOLLGATE_ALLOW, "nor a little debt" },
		{ "basic", 3600 * NS_PER_SECOND, 10 * NS_PER_MS, TOLLGATE_OVER_RATE,
		  "at most a full debt" },
		{ "basic", 51 * NS_PER_MS, 11 * NS_PER_MS, TOLLGATE_OVER_RATE,
		  "another worker's clock is ahead by a little" },
	};
	struct fixture *f = *state;
	struct gate_request request = make_request();
	struct tollgate_slot *slot = put_customer(f, "free");

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct gate_result result;

		put_account(f, 7, rows[i].tier, STORE_ACTIVE);
		slot->tat_ns = NOW_NS + rows[i].debt_ns;
		result = check(f, &request);
		if (result.verdict != rows[i].verdict || result.wait_ns != rows[i].wait_ns)
			fail_msg("%s: verdict %u, wait %llu", rows[i].why, result.verdict,
				 (unsigned long long)result.wait_ns);
	}
}

static void quotas_start_again_with_their_period(void **state)
{
	static const struct {
		const char *tier;
		uint64_t used, at_ms, left, more_ms; /* of `tier`'s quota, one unit after `used` */
		enum tollgate_verdict verdict;
		const char *why;
	} rows[] = {
		{ "basic", 0, DEC_1_MS - 1, 999, 1, TOLLGATE_ALLOW, "a month's last moment" },
		{ "basic", 999, DEC_1_MS - 1, 0, 1, TOLLGATE_ALLOW, "its last unit" },
		{ "basic", 1000, DEC_1_MS - 1, 0, 1, TOLLGATE_OVER_QUOTA, "not one more" },
		{ "basic", 0, DEC_1_MS, 999, 31 * MS_PER_DAY, TOLLGATE_ALLOW, "a new month" },
		{ "basic", 0, FEB_29_MS, 999, MS_PER_DAY, TOLLGATE_ALLOW, "a leap year's day" },
		{ "daily", 9, FEB_29_MS, 0, MS_PER_DAY, TOLLGATE_ALLOW, "a day's last unit" },
		{ "daily", 10, MAR_1_MS - 1, 0, 1, TOLLGATE_OVER_QUOTA, "and not one more" },
		{ "daily", 0, MAR_1_MS, 9, MS_PER_DAY, TOLLGATE_ALLOW, "a new day" },
	};
	struct fixture *f = *state;
	struct gate_request request = make_request();
	struct tollgate_slot *slot = put_customer(f, "basic");

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct gate_result result;
		uint32_t period;

		put_account(f, 7, rows[i].tier, STORE_ACTIVE);
		request.wall_ms = rows[i].at_ms;
		period = usage_period(slot->quota_period, request.wall_ms);
		slot->quota_word = (uint64_t)period << TOLLGATE_QUOTA_SHIFT | rows[i].used;
		slot->tat_ns = slot->concurrency = 0;
		result = check(f, &request);
		if (result.verdict != rows[i].verdict || result.quota_left != rows[i].left ||
		    result.quota_more_ms != rows[i].more_ms)
			fail_msg("%s: verdict %u, %llu left, %llu ms", rows[i].why, result.verdict,
				 (unsigned long long)result.quota_left,
				 (unsigned long long)result.quota_more_ms);
		assert_int_equal(result.wait_ns, result.verdict == TOLLGATE_ALLOW
							 ? 0
							 : result.quota_more_ms * NS_PER_MS);
	}
}

static void a_full_quota_is_empty_again_in_the_next_period(void **state)
{
	struct fixture *f = *state;
	struct gate_request request = make_request();
	struct tollgate_slot *slot = put_customer(f, "daily");

	request.wall_ms = MAR_1_MS - 1;
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(check(f, &request).verdict, TOLLGATE_ALLOW);
	assert_int_equal(check(f, &request).verdict, TOLLGATE_OVER_QUOTA);
	request.wall_ms = MAR_1_MS;
	assert_int_equal(check(f, &request).verdict, TOLLGATE_ALLOW);
	assert_int_equal(usage_quota_used(slot->quota_word, PERIOD(slot->quota_word)), 1);
	/*
	 * A worker whose clock is slightly behind charges the new day and does not go back to the
	 * old.
	 */
	request.wall_ms = MAR_1_MS - 1;
	for (unsigned i = 0; i < 9; i++)
		assert_int_equal(check(f, &request).verdict, TOLLGATE_ALLOW);
	assert_int_equal(check(f, &request).verdict, TOLLGATE_OVER_QUOTA);
	request.wall_ms = MAR_1_MS;
	assert_int_equal(check(f, &request).verdict, TOLLGATE_OVER_QUOTA);
}

static void a_cost_above_what_is_left_of_the_quota_is_refused_whole(void **state)
{
	struct fixture *f = *state;
	struct gate_request request = make_request();
	struct gate_result result;

	put_customer(f, "daily");
	request.cost = 7;
	assert_int_equal(check(f, &request).verdict, TOLLGATE_ALLOW);
	result = check(f, &request);
	assert_int_equal(result.verdict, TOLLGATE_OVER_QUOTA);
	assert_int_equal(result.quota_left, 3);
	request.cost = 3;
	result = check(f, &request);
	assert_int_equal(result.verdict, TOLLGATE_ALLOW);
	assert_int_equal(result.quota_left, 0);
}

/* Threads. */

#define THREADS 4
#define EACH	60000

struct race {
	struct fixture *f;
	struct gate_request request;
	uint64_t counts[THREADS][TOLLGATE_VERDICT_COUNT];
	uint64_t over; /* how often more places were held than allowed */
	uint32_t limit;
	bool is_released_late;
};

static void ask(void *arg, unsigned index)
{
	struct race *race = arg;
	struct tollgate_slot *slot = slot_of_account(race->f, 7);
	struct gate_result held[4];
	unsigned held_count = 0, most = race->is_released_late ? 4 : 1;

	for (unsigned i = 0; i < EACH; i++) {
		struct gate_result result = check(race->f, &race->request);

		race->counts[index][result.verdict]++;
		if (race->limit && atomic_read(&slot->concurrency) > race->limit)
			atomic_add(&race->over, 1);
		if (result.verdict != TOLLGATE_ALLOW)
			continue;
		gate_count(&race->f->gate, &result, (struct clock_wall){ WALL_MS, 0 });
		held[held_count++] = result;
		while (held_count == most) {
			for (unsigned n = 0; n < most; n++)
				gate_release(&race->f->gate, &held[n]);
			held_count = 0;
		}
	}
	while (held_count)
		gate_release(&race->f->gate, &held[--held_count]);
}

static uint64_t sum(const struct race *race, enum tollgate_verdict verdict)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < THREADS; i++)
		total += race->counts[i][verdict];
	return total;
}

static void threads_together_never_exceed_a_limit_and_lose_nothing(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint64_t interval_ns, burst, quota;
		uint32_t concurrency, cost;
		enum tollgate_verdict refusal;
		uint64_t allowed; /* 0: cannot be known in advance */
		const char *why;
	} rows[] = {
		{ 1000, 70001, 0, 0, 1, TOLLGATE_OVER_RATE, 70001, "a bucket" },
		{ 1000, 70001, 0, 0, 3, TOLLGATE_OVER_RATE, 23333, "a bucket, at a cost" },
		{ 0, 0, 70001, 0, 1, TOLLGATE_OVER_QUOTA, 70001, "a quota" },
		{ 0, 0, 70001, 0, 3, TOLLGATE_OVER_QUOTA, 23333, "a quota, at a cost" },
		{ 1000, 100000, 70001, 0, 1, TOLLGATE_OVER_QUOTA, 70001, "a quota, in a bucket" },
		{ 1000, 70001, 100000, 0, 1, TOLLGATE_OVER_RATE, 70001, "a bucket, in a quota" },
		{ 0, 0, 0, 6, 1, TOLLGATE_OVER_CONCURRENCY, 0, "concurrency" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct race race = { .f = f, .request = make_request() };
		struct tollgate_slot *slot;
		uint64_t allowed;

		f->tier_list[1] = make_tier("free", rows[i].interval_ns, rows[i].burst);
		f->tier_list[1].quota = rows[i].quota;
		f->tier_list[1].period = TOLLGATE_PERIOD_MONTH;
		f->tier_list[1].concurrency = race.limit = rows[i].concurrency;
		race.is_released_late = rows[i].concurrency;
		race.request.cost = rows[i].cost;
		slot = put_customer(f, "free");
		slot->tat_ns = slot->quota_word = slot->refused = 0;
		memset(slot->usage, 0, sizeof(slot->usage));
		run_crew(THREADS, ask, &race);
		allowed = sum(&race, TOLLGATE_ALLOW);
		if ((rows[i].allowed && allowed != rows[i].allowed) || race.over ||
		    allowed + sum(&race, rows[i].refusal) != THREADS * EACH)
			fail_msg("%s: %llu passed, %llu over", rows[i].why,
				 (unsigned long long)allowed, (unsigned long long)race.over);
		assert_int_equal(slot->concurrency, 0);
		assert_int_equal(slot->refused, THREADS * EACH - allowed);
		assert_int_equal(slot->usage[0].requests + slot->usage[1].requests, allowed);
		assert_int_equal(slot->usage[0].units + slot->usage[1].units,
				 allowed * rows[i].cost);
		if (rows[i].quota)
			assert_int_equal(slot->quota_word & TOLLGATE_QUOTA_MAX,
					 allowed * rows[i].cost);
		assert_int_equal(slot->tat_ns,
				 rows[i].interval_ns
					 ? NOW_NS + allowed * rows[i].cost * rows[i].interval_ns
					 : 0);
	}
}

/* Both may see the last unit. The second gets back what it was charged before it is refused. */

#define ROUNDS 30000

struct duel {
	struct fixture *f;
	struct tollgate_slot *slot;
	unsigned arrived, wrong;
	uint64_t passed;
};

/* Spin instead of sleeping, so that the two meet within nanoseconds. */
static void meet(struct duel *duel, unsigned times)
{
	atomic_add_return(&duel->arrived, 1);
	while (atomic_read_acquire(&duel->arrived) < 2 * times)
		;
}

static void fight(void *arg, unsigned index)
{
	struct duel *duel = arg;
	struct tollgate_slot *slot = duel->slot;
	struct gate_request request = make_request();

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct gate_result result;

		if (!index) {
			slot->tat_ns = round % 2 ? NOW_NS + slot->limit_ns - slot->interval_ns : 0;
			slot->quota_word = round % 2 ? 0 : slot->quota_limit - 1;
			slot->quota_word |= (uint64_t)usage_period(slot->quota_period, WALL_MS)
					    << TOLLGATE_QUOTA_SHIFT;
		}
		meet(duel, 3 * round + 1);
		result = check(duel->f, &request);
		if (result.verdict == TOLLGATE_ALLOW) {
			atomic_add(&duel->passed, 1);
			gate_release(&duel->f->gate, &result);
		}
		meet(duel, 3 * round + 2);
		if (!index)
			duel->wrong += slot->concurrency ||
				       slot->tat_ns != NOW_NS + (round % 2 ? slot->limit_ns
									   : slot->interval_ns);
		meet(duel, 3 * round + 3);
	}
}

static void of_two_requests_for_the_last_unit_one_passes_and_one_pays_nothing(void **state)
{
	struct duel duel = { .f = *state, .slot = put_customer(*state, "basic") };

	run_crew(2, fight, &duel);
	assert_int_equal(duel.passed, ROUNDS);
	assert_int_equal(duel.wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_rate_left_is_what_may_be_used_at_once),
		TEST(the_reported_rate_holds),
		TEST(without_limits_nothing_is_reported),
		TEST(a_debt_beyond_the_limit_is_forgiven),
		TEST(quotas_start_again_with_their_period),
		TEST(a_full_quota_is_empty_again_in_the_next_period),
		TEST(a_cost_above_what_is_left_of_the_quota_is_refused_whole),
		TEST(threads_together_never_exceed_a_limit_and_lose_nothing),
		TEST(of_two_requests_for_the_last_unit_one_passes_and_one_pays_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
