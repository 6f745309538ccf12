/* SPDX-License-Identifier: BSD-2-Clause */
/* slot_limits_test: readers see all limits change at once, and debt keeps its value in units. */
#include "base/atomic.h"
#include "unit/enforce/enforce_fixture.h"

#include <sched.h>

#include "tollgate/bucket.h"

static void limits_are_those_of_the_tier(void **state)
{
	struct tier tier = make_tier("pro", 10, 200);
	struct tollgate_slot slot = { 0 };
	struct slot_limits limits;

	(void)state;
	tier.quota = 1000;
	tier.period = TOLLGATE_PERIOD_DAY;
	tier.concurrency = 4;
	tier.features = 1ULL << 63 | 1;
	slot_set_limits(&slot, &tier, 3, true, NOW_NS);
	slot_read_limits(&slot, &limits);
	assert_int_equal(limits.interval_ns, 10);
	assert_int_equal(limits.limit_ns, 2000);
	assert_int_equal(limits.features, 1ULL << 63 | 1);
	assert_int_equal(limits.quota_limit, 1000);
	assert_int_equal(limits.quota_period, TOLLGATE_PERIOD_DAY);
	assert_int_equal(limits.concurrency_limit, 4);
	assert_int_equal(limits.tier, 3);
	assert_int_equal(limits.state, TOLLGATE_SLOT_OPEN);
	assert_int_equal(slot.limits_seq, 2);
	slot_set_limits(&slot, &tier, 3, false, NOW_NS);
	slot_read_limits(&slot, &limits);
	assert_int_equal(limits.state, TOLLGATE_SLOT_INACTIVE);
	slot_set_limits(&slot, NULL, 5, true, NOW_NS);
	slot_read_limits(&slot, &limits);
	assert_int_equal(limits.state, TOLLGATE_SLOT_INACTIVE);
	assert_int_equal(limits.interval_ns + limits.limit_ns + limits.features, 0);
	assert_int_equal(limits.quota_limit + limits.concurrency_limit + limits.quota_period, 0);
	assert_int_equal(limits.tier, 5);
}

static void debt_keeps_its_value_in_units(void **state)
{
	static const struct {
		uint64_t old_ns, old_burst, debt_ns, new_ns, new_burst, fresh_ns;
		const char *why;
	} rows[] = {
		{ 1000, 10, 5000, 100, 10, 500, "five units at a tenth" },
		{ 100, 10, 500, 1000, 10, 5000, "five units at ten times as much" },
		{ 1000, 10, 5000, 1000, 5, 5000, "the burst alone" },
		{ 1000, 10, 9000, 1000, 5, 5000, "no more debt than the burst" },
		{ 1000, 10, 10000, 100, 3, 300, "a full debt in a smaller bucket" },
		{ 1000, 10, 5500, 100, 10, 550, "half a unit" },
		{ 1000, 10, 0, 100, 10, 0, "no debt" },
		{ 0, 0, 0, 100, 10, 0, "no limit before" },
		{ 0, 0, 5000, 100, 10, 0, "no limit before, and a stray word" },
		{ 1000, 10, 5000, 0, 0, 0, "no limit any more" },
		{ 1000, 10, 5000, 1000, 10, 5000, "the same again" },
		{ 1, 1000000000, 1000000000, 3600000000000, 1000000, 3600000000000000000,
		  "near 2^62" },
		{ 3600000000000, 1281023, 4611682800000000000, 1, 1281023, 1281023,
		  "and from there" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct tier old = make_tier("old", rows[i].old_ns, rows[i].old_burst);
		struct tier new = make_tier("new", rows[i].new_ns, rows[i].new_burst);
		struct tollgate_slot slot = { 0 };
		uint64_t debt_ns;

		slot_set_limits(&slot, &old, 0, true, NOW_NS);
		slot.tat_ns = NOW_NS + rows[i].debt_ns;
		slot_set_limits(&slot, &new, 0, true, NOW_NS);
		debt_ns = tollgate_bucket_debt(slot.tat_ns, NOW_NS);
		if (debt_ns != rows[i].fresh_ns)
			fail_msg("%s: %llu", rows[i].why, (unsigned long long)debt_ns);
	}
}

static void an_idle_bucket_stays_full(void **state)
{
	struct tier old = make_tier("old", 1000, 10), new = make_tier("new", 10, 3);
	struct tollgate_slot slot = { .tat_ns = NOW_NS - 12345 };

	(void)state;
	slot_set_limits(&slot, &old, 0, true, NOW_NS);
	slot_set_limits(&slot, &new, 0, true, NOW_NS);
	assert_true(slot.tat_ns <= NOW_NS);
}

/* Threads: the numbers of one tier belong together, so a reader can detect a mixture. */

#define READERS 3
#define READS	300000

struct race {
	struct tollgate_slot slot;
	struct tier tiers[2];
	unsigned over; /* readers that are done */
	uint64_t torn;
};

static void make_limits(struct tier *tier, uint64_t n)
{
	*tier = make_tier("tier", n, n);
	tier->features = n;
	tier->quota = n;
	tier->period = n & 1 ? TOLLGATE_PERIOD_DAY : TOLLGATE_PERIOD_MONTH;
	tier->concurrency = (uint32_t)n;
}

static bool is_mixture(const struct slot_limits *l)
{
	uint64_t n = l->interval_ns;

	return l->limit_ns != n * n || l->features != n || l->quota_limit != n ||
	       l->concurrency_limit != n || l->tier != n ||
	       l->quota_period != (n & 1 ? TOLLGATE_PERIOD_DAY : TOLLGATE_PERIOD_MONTH) ||
	       l->state != (n & 1 ? TOLLGATE_SLOT_INACTIVE : TOLLGATE_SLOT_OPEN);
}

static void read_or_write(void *arg, unsigned index)
{
	struct race *race = arg;

	for (unsigned i = 0; !index && atomic_read_acquire(&race->over) < READERS; i++)
		slot_set_limits(&race->slot, &race->tiers[i & 1], 1000 + (i & 1), !(i & 1), NOW_NS);
	if (!index)
		return;
	for (unsigned i = 0; i < READS; i++) {
		struct slot_limits limits;

		slot_read_limits(&race->slot, &limits);
		if (is_mixture(&limits))
			atomic_add(&race->torn, 1);
	}
	atomic_add_release(&race->over, 1);
}

static void readers_never_see_a_mixture(void **state)
{
	struct race race = { 0 };

	(void)state;
	make_limits(&race.tiers[0], 1000);
	make_limits(&race.tiers[1], 1001);
	slot_set_limits(&race.slot, &race.tiers[0], 1000, true, NOW_NS);
	run_crew(1 + READERS, read_or_write, &race);
	if (race.torn)
		fail_msg("%llu of %u reads were torn", (unsigned long long)race.torn,
			 READERS * READS);
}

static void read_or_finish(void *arg, unsigned index)
{
	struct race *race = arg;
	struct slot_limits limits;

	if (index) {
		atomic_write_release(&race->over, 1);
		slot_read_limits(&race->slot, &limits);
		race->torn = is_mixture(&limits);
		atomic_write_release(&race->over, 2);
		return;
	}
	while (!atomic_read_acquire(&race->over))
		;
	for (unsigned i = 0; i < 100; i++) /* enough time for a reader that does not wait */
		sched_yield();
	atomic_write(&race->slot.interval_ns, 1000);
	atomic_write_release(&race->slot.limits_seq, 4);
}

static void a_reader_waits_for_a_writer_in_the_middle(void **state)
{
	struct race race = { 0 };

	(void)state;
	make_limits(&race.tiers[0], 1000);
	slot_set_limits(&race.slot, &race.tiers[0], 1000, true, NOW_NS);
	race.slot.limits_seq = 3;
	race.slot.interval_ns = 1001;
	run_crew(2, read_or_finish, &race);
	assert_int_equal(race.torn, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits_are_those_of_the_tier),
		cmocka_unit_test(debt_keeps_its_value_in_units),
		cmocka_unit_test(an_idle_bucket_stays_full),
		cmocka_unit_test(readers_never_see_a_mixture),
		cmocka_unit_test(a_reader_waits_for_a_writer_in_the_middle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
