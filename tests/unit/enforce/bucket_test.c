/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bucket_test: the token bucket, compared with its definition.
 *
 * The reference does not use a theoretical arrival time. A charge may pass at t if, since each
 * earlier charge, no more was charged than the limit plus the time that has passed. It takes
 * quadratic time, in 128 bits.
 */
#include "unit/enforce/enforce_fixture.h"

#include "tollgate/bucket.h"

#define MAX_CHARGES 4096

struct reference {
	uint64_t at_ns[MAX_CHARGES], charge_ns[MAX_CHARGES];
	unsigned count;
};

static bool reference_allows(const struct reference *r, uint64_t limit_ns, uint64_t charge_ns,
			     uint64_t now_ns)
{
	unsigned __int128 sum = charge_ns;

	if (sum > limit_ns)
		return false;
	for (unsigned i = r->count; i-- > 0;) {
		sum += r->charge_ns[i];
		if (sum > (unsigned __int128)limit_ns + (now_ns - r->at_ns[i]))
			return false;
	}
	return true;
}

static void reference_charge(struct reference *r, uint64_t charge_ns, uint64_t now_ns)
{
	r->at_ns[r->count] = now_ns;
	r->charge_ns[r->count++] = charge_ns;
}

struct schedule {
	uint64_t seed, interval_ns, burst, start_ns;
};

static uint64_t next_gap_ns(struct schedule *s)
{
	switch (draw(&s->seed) % 5) {
	case 0:
		return 0;
	case 1:
		return draw(&s->seed) % (s->interval_ns * s->burst * 2 + 2);
	case 2:
		return s->interval_ns;
	default:
		return draw(&s->seed) % (s->interval_ns + 2);
	}
}

/* One step: the same result as the reference, and an exact wait. */
static void step(struct schedule *s, struct reference *r, struct tollgate_slot *slot,
		 uint64_t now_ns, const char *what)
{
	uint64_t limit_ns = s->interval_ns * s->burst, before_ns = slot->tat_ns;
	uint64_t charge_ns = s->interval_ns * (draw(&s->seed) % 4 ? 1 : draw(&s->seed) % s->burst);
	bool allowed = reference_allows(r, limit_ns, charge_ns, now_ns);
	uint64_t wait_ns = gate_bucket_charge(slot, limit_ns, charge_ns, now_ns);

	if (!wait_ns != allowed)
		fail_msg("%s, charge %u: waits %llu, but the reference %s", what, r->count,
			 (unsigned long long)wait_ns, allowed ? "allows" : "refuses");
	if (!wait_ns) {
		reference_charge(r, charge_ns, now_ns);
		return;
	}
	if (slot->tat_ns != before_ns)
		fail_msg("%s, charge %u: a refusal charged", what, r->count);
	if (!reference_allows(r, limit_ns, charge_ns, now_ns + wait_ns) ||
	    reference_allows(r, limit_ns, charge_ns, now_ns + wait_ns - 1))
		fail_msg("%s, charge %u: a wait of %llu is not exact", what, r->count,
			 (unsigned long long)wait_ns);
}

static void it_does_what_the_definition_says(void **state)
{
	static const struct schedule rows[] = {
		{ 1, 10000000, 5, NOW_NS },
		{ 2, 1, 1, 1 },
		{ 3, 1, 1000000000, NOW_NS },
		{ 4, 333333333, 3, NOW_NS },
		{ 5, 3600000000000, 1, NOW_NS },
		{ 6, 3600000000000, 1000000, NOW_NS },
		{ 7, 7, 13, TOLLGATE_BUCKET_MAX_NS },
		{ 8, 3600000000000, 1281023, TOLLGATE_BUCKET_MAX_NS }, /* the limit is near 2^62 */
		{ 9, 100, 2, 0 },
	};
	struct reference *r = malloc(sizeof(*r));

	(void)state;
	for (size_t i = 0; i < COUNT(rows) * 4; i++) {
		struct schedule s = rows[i % COUNT(rows)];
		struct tollgate_slot slot = { 0 };
		uint64_t now_ns = s.start_ns;
		char what[64];

		s.seed = (s.seed + 100 * (i / COUNT(rows))) * 0x9e3779b97f4a7c15ULL;
		snprintf(what, sizeof(what), "row %zu, seed %#llx", i % COUNT(rows),
			 (unsigned long long)s.seed);
		r->count = 0;
		for (unsigned n = 0; n < 1500; n++) {
			step(&s, r, &slot, now_ns, what);
			now_ns += next_gap_ns(&s) % (TOLLGATE_BUCKET_MAX_NS / 1500);
		}
	}
	free(r);
}

static void from_idle_exactly_the_burst_passes_at_once(void **state)
{
	static const uint64_t bursts[] = { 1, 2, 3, 20, 1000 };

	(void)state;
	for (size_t i = 0; i < COUNT(bursts); i++) {
		struct tollgate_slot slot = { 0 };
		uint64_t passed = 0, limit_ns = bursts[i] * 12345;

		while (!gate_bucket_charge(&slot, limit_ns, 12345, NOW_NS) && passed < 2000)
			passed++;
		if (passed != bursts[i])
			fail_msg("burst %llu: %llu passed", (unsigned long long)bursts[i],
				 (unsigned long long)passed);
		/* After one interval, exactly one more. */
		assert_int_equal(gate_bucket_charge(&slot, limit_ns, 12345, NOW_NS + 12344), 1);
		assert_int_equal(gate_bucket_charge(&slot, limit_ns, 12345, NOW_NS + 12345), 0);
		assert_int_equal(gate_bucket_charge(&slot, limit_ns, 12345, NOW_NS + 12345), 12345);
	}
}

static void waits_are_exact_at_every_edge(void **state)
{
	static const struct {
		uint64_t tat_ns, limit_ns, charge_ns, now_ns, wait_ns;
		const char *why;
	} rows[] = {
		{ 0, 100, 100, 0, 0, "a charge of the whole limit, from idle" },
		{ 0, 100, 101, 0, 1, "one more than the limit" },
		{ 50, 100, 50, 0, 0, "exactly what is left" },
		{ 51, 100, 50, 0, 1, "one less than that is left" },
		{ 51, 100, 50, 1, 0, "a nanosecond later" },
		{ 1000, 100, 0, 900, 0, "nothing is charged: passes with a full debt" },
		{ 1000, 100, 1, 900, 1, "full debt" },
		{ 1000, 100, 100, 2000, 0, "the debt is long paid" },
		{ 1000, 100, 100, 1000, 0, "the debt is just paid" },
		{ 0, 0, 0, 5, 0, "no rate limit" },
		{ 1ULL << 63, 1ULL << 62, 1, 1ULL << 62, 1, "2^62 of debt" },
		{ 1ULL << 62, 1ULL << 62, 1ULL << 62, 0, 1ULL << 62, "all of them 2^62" },
		{ 0, (1ULL << 62) - 1, (1ULL << 62) - 1, 1ULL << 62, 0, "far from boot" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t wait_ns = tollgate_bucket_wait(rows[i].tat_ns, rows[i].limit_ns,
							rows[i].charge_ns, rows[i].now_ns);

		if (wait_ns != rows[i].wait_ns)
			fail_msg("%s: %llu", rows[i].why, (unsigned long long)wait_ns);
	}
}

static void a_charge_begins_at_now_or_at_the_debts_end(void **state)
{
	(void)state;
	assert_int_equal(tollgate_bucket_charged(0, 10, 100), 110);
	assert_int_equal(tollgate_bucket_charged(100, 10, 100), 110);
	assert_int_equal(tollgate_bucket_charged(150, 10, 100), 160);
	assert_int_equal(tollgate_bucket_debt(150, 100), 50);
	assert_int_equal(tollgate_bucket_debt(100, 150), 0);
}

static void a_clock_that_lags_behind_another_workers_lets_no_more_through(void **state)
{
	struct tollgate_slot slot = { 0 };
	uint64_t passed = 0;

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		passed += !gate_bucket_charge(&slot, 1000, 100, NOW_NS - (i % 7) * 10);
	assert_int_equal(passed, 10);
}

/* Threads. */

#define THREADS	     4
#define EACH	     200000
#define SHARED_BURST 100003

struct race {
	struct tollgate_slot slot;
	uint64_t passed[THREADS], charged_ns[THREADS];
};

static void charge_all(void *arg, unsigned index)
{
	struct race *race = arg;
	uint64_t seed = index + 1;

	for (unsigned i = 0; i < EACH; i++) {
		uint64_t charge_ns = index ? 10 : 10 * (draw(&seed) % 3);

		if (gate_bucket_charge(&race->slot, SHARED_BURST * 10, charge_ns, NOW_NS))
			continue;
		race->passed[index] += charge_ns / 10;
		race->charged_ns[index] += charge_ns;
	}
}

static void threads_together_charge_exactly_the_burst(void **state)
{
	struct race race = { 0 };
	uint64_t passed = 0, charged_ns = 0;

	(void)state;
	run_crew(THREADS, charge_all, &race);
	for (unsigned i = 0; i < THREADS; i++) {
		passed += race.passed[i];
		charged_ns += race.charged_ns[i];
	}
	assert_int_equal(passed, SHARED_BURST);
	assert_int_equal(race.slot.tat_ns, NOW_NS + charged_ns);
}

/*
 * A client that never uses more than @n units in any @period_ns, but sends in the worst pattern for
 * that: all it may at once, now and then after a random pause.
 */
static void send_conforming(unsigned n, uint64_t period_ns, uint64_t seed)
{
	uint64_t interval_ns = period_ns / n, limit_ns = n * interval_ns, tat_ns = 0;
	uint64_t now_ns = NOW_NS, sent_ns[64] = { 0 };

	for (unsigned sent = 0; sent < 20 * n; sent++) {
		uint64_t oldest_ns = sent_ns[sent % n];

		if (draw(&seed) % 7 == 0)
			now_ns += draw(&seed) % period_ns;
		if (oldest_ns && now_ns < oldest_ns + period_ns)
			now_ns = oldest_ns + period_ns;
		if (tollgate_bucket_wait(tat_ns, limit_ns, interval_ns, now_ns))
			fail_msg("%u per %llu ns: refused number %u", n,
				 (unsigned long long)period_ns, sent);
		tat_ns = tollgate_bucket_charged(tat_ns, interval_ns, now_ns);
		sent_ns[sent % n] = now_ns;
	}
}

static void with_the_default_burst_a_client_within_its_rate_is_never_refused(void **state)
{
	static const uint64_t periods_ns[] = { NS_PER_SECOND, 60 * NS_PER_SECOND,
					       3600 * NS_PER_SECOND };

	(void)state;
	for (unsigned n = 1; n <= 64; n++) {
		for (size_t i = 0; i < 3; i++)
			send_conforming(n, periods_ns[i], n * 3 + i + 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_does_what_the_definition_says),
		cmocka_unit_test(with_the_default_burst_a_client_within_its_rate_is_never_refused),
		cmocka_unit_test(from_idle_exactly_the_burst_passes_at_once),
		cmocka_unit_test(waits_are_exact_at_every_edge),
		cmocka_unit_test(a_charge_begins_at_now_or_at_the_debts_end),
		cmocka_unit_test(a_clock_that_lags_behind_another_workers_lets_no_more_through),
		cmocka_unit_test(threads_together_charge_exactly_the_burst),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
