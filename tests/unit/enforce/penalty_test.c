/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * penalty_test: which clients are dropped, for how long, and which never are.
 *
 * The XDP plane is a double that records the last call.
 */
#include "enforce/penalty.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "unit/enforce/enforce_fixture.h"

#define TOLERANCE 10

static struct {
	struct xdp_plane plane;
	unsigned penalized, forgiven;
	uint64_t until_ns;
	struct sockaddr_storage source;
	int err; /* to return */
} fake;

static int fake_penalize_source(struct xdp_plane *plane, const struct sockaddr_storage *client,
				uint64_t until_ns)
{
	(void)plane;
	fake.penalized++;
	fake.until_ns = until_ns;
	fake.source = *client;
	return fake.err;
}

static void fake_forgive_source(struct xdp_plane *plane, const struct sockaddr_storage *client)
{
	(void)plane;
	fake.forgiven++;
	fake.source = *client;
}

static const struct xdp_plane_ops fake_ops = {
	.penalize_source = fake_penalize_source,
	.forgive_source = fake_forgive_source,
};

static int setup(void **state)
{
	memset(&fake, 0, sizeof(fake));
	fake.plane.ops = &fake_ops;
	*state = penalty_new(&fake.plane, NULL);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	penalty_free(*state);
	return 0;
}

static struct sockaddr_storage address(const char *text)
{
	struct sockaddr_storage storage = { 0 };
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&storage;
	struct sockaddr_in *in = (struct sockaddr_in *)&storage;

	if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons(12345);
	} else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
	} else {
		storage.ss_family = AF_UNIX;
	}
	return storage;
}

static void offend(struct penalty *penalty, const char *source, uint32_t slot, unsigned times,
		   uint64_t now_ns)
{
	struct sockaddr_storage from = address(source);

	while (times--)
		penalty_source_offended(penalty, &from, slot, TOLERANCE, now_ns);
}

static void entitle(struct penalty *penalty, const char *source, uint32_t slot, uint64_t now_ns)
{
	struct sockaddr_storage from = address(source);

	penalty_source_entitled(penalty, &from, slot, now_ns);
}

static void an_account_is_dropped_until_it_has_credit(void **state)
{
	static const struct {
		uint64_t wait_ns, length_ns;
		const char *why;
	} rows[] = {
		{ 0, 50 * NS_PER_MS, "at least 50 ms" },
		{ 49 * NS_PER_MS, 50 * NS_PER_MS, "still too short" },
		{ 51 * NS_PER_MS, 51 * NS_PER_MS, "as long as the wait" },
		{ 4999 * NS_PER_MS, 4999 * NS_PER_MS, "nearly too long" },
		{ 5001 * NS_PER_MS, 5000 * NS_PER_MS, "at most 5 s" },
		{ 31 * 86400 * NS_PER_SECOND, 5000 * NS_PER_MS, "a quota's wait" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct tollgate_slot slot = { 0 };

		for (unsigned n = 0; n < TOLERANCE; n++)
			assert_false(
				penalty_account_refused(&slot, TOLERANCE, rows[i].wait_ns, NOW_NS));
		assert_int_equal(slot.drop_until_ns, 0);
		assert_true(penalty_account_refused(&slot, TOLERANCE, rows[i].wait_ns, NOW_NS));
		if (slot.drop_until_ns != NOW_NS + rows[i].length_ns)
			fail_msg("%s: %llu", rows[i].why,
				 (unsigned long long)(slot.drop_until_ns - NOW_NS));
	}
}

static void an_accounts_penalty_ends_and_is_never_cut_short(void **state)
{
	struct tollgate_slot slot = { 0 };
	uint64_t until_ns = NOW_NS + 2 * NS_PER_SECOND;

	(void)state;
	for (unsigned n = 0; n <= TOLERANCE; n++)
		penalty_account_refused(&slot, TOLERANCE, 2 * NS_PER_SECOND, NOW_NS);
	assert_true(penalty_account_refused(&slot, TOLERANCE, 0, NOW_NS + 1));
	assert_int_equal(slot.drop_until_ns, until_ns);
	/* One refusal in the next second: still in penalty, but no longer after its end. */
	assert_true(penalty_account_refused(&slot, TOLERANCE, 0, until_ns - 1));
	assert_false(penalty_account_refused(&slot, TOLERANCE, 0, until_ns));
	assert_int_equal(slot.drop_until_ns, until_ns);
}

static void a_source_is_tolerated_a_number_of_times_per_second(void **state)
{
	struct penalty *penalty = *state;

	for (unsigned second = 0; second < 5; second++)
		offend(penalty, "192.0.2.1", TOLLGATE_NO_SLOT, TOLERANCE,
		       NOW_NS + second * NS_PER_SECOND);
	assert_int_equal(fake.penalized, 0);
	offend(penalty, "192.0.2.1", TOLLGATE_NO_SLOT, 1, NOW_NS + 5 * NS_PER_SECOND - 1);
	assert_int_equal(fake.penalized, 1);
	assert_int_equal(fake.until_ns, NOW_NS + 6 * NS_PER_SECOND - 1);
	assert_int_equal(fake.source.ss_family, AF_INET);
	/* While it lasts, further offences cause no other. */
	offend(penalty, "192.0.2.1", TOLLGATE_NO_SLOT, 100, NOW_NS + 5 * NS_PER_SECOND);
	assert_int_equal(fake.penalized, 1);
}

static void penalties_double_up_to_a_minute(void **state)
{
	static const unsigned seconds[] = { 1, 2, 4, 8, 16, 32, 60, 60, 60 };
	struct penalty *penalty = *state;
	uint64_t now_ns = NOW_NS;

	for (size_t i = 0; i < COUNT(seconds); i++) {
		offend(penalty, "192.0.2.1", 5, TOLERANCE + 1, now_ns);
		assert_int_equal(fake.penalized, i + 1);
		if (fake.until_ns != now_ns + seconds[i] * NS_PER_SECOND)
			fail_msg("penalty %zu: %llu s", i,
				 (unsigned long long)((fake.until_ns - now_ns) / NS_PER_SECOND));
		now_ns = fake.until_ns + 60 * NS_PER_SECOND; /* almost forgotten */
	}
	now_ns++;
	offend(penalty, "192.0.2.1", 5, TOLERANCE + 1, now_ns);
	assert_int_equal(fake.until_ns,
			 now_ns + NS_PER_SECOND); /* a minute later it is forgotten */
}

static void a_shared_address_is_never_dropped_for_one_of_its_users(void **state)
{
	static const struct {
		uint32_t entitled[3]; /* slots, in this order; 0: none */
		uint32_t offender;
		uint64_t later_ns;
		bool is_penalized;
		const char *why;
	} rows[] = {
		{ { 0 }, 5, 0, true, "nobody else is known there" },
		{ { 6 }, 5, 0, false, "another account is" },
		{ { 5 }, 5, 0, true, "only itself" },
		{ { 5, 6 }, 5, 0, false, "itself and another" },
		{ { 6, 5 }, 5, 0, false, "another and itself" },
		{ { 6, 6, 5 }, 5, 0, false, "another twice, and itself" },
		{ { 6, 5, 5 }, 5, 0, false, "another, and then itself all the time" },
		{ { 6, 7, 8 }, 8, 0, false, "the last of three" },
		{ { 6, 7, 8 }, 6, 0, false, "the first of three" },
		{ { 6 }, TOLLGATE_NO_SLOT, 0, false, "keys that nobody has, beside an account" },
		{ { 6 }, 5, 600 * NS_PER_SECOND - 1, false, "nearly ten minutes ago" },
		{ { 6 }, 5, 600 * NS_PER_SECOND, true, "ten minutes ago" },
		{ { 6, 7 }, TOLLGATE_NO_SLOT, 600 * NS_PER_SECOND, true, "both ten minutes ago" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(setup(state), 0);
		for (unsigned n = 0; n < 3 && rows[i].entitled[n]; n++)
			entitle(*state, "192.0.2.1", rows[i].entitled[n], NOW_NS);
		offend(*state, "192.0.2.1", rows[i].offender, 3 * TOLERANCE,
		       NOW_NS + rows[i].later_ns);
		if (fake.penalized != rows[i].is_penalized)
			fail_msg("%s: %u penalties", rows[i].why, fake.penalized);
		teardown(state);
	}
}

static void being_seen_again_prolongs_the_ten_minutes(void **state)
{
	struct penalty *penalty = *state;

	entitle(penalty, "192.0.2.1", 6, NOW_NS);
	entitle(penalty, "192.0.2.1", 5, NOW_NS + 300 * NS_PER_SECOND);
	entitle(penalty, "192.0.2.1", 6, NOW_NS + 500 * NS_PER_SECOND);
	offend(penalty, "192.0.2.1", 5, 2 * TOLERANCE, NOW_NS + 1000 * NS_PER_SECOND);
	assert_int_equal(fake.penalized, 0);
}

static void a_penalty_caused_by_others_is_lifted(void **state)
{
	static const struct {
		uint32_t offender, entitled;
		uint64_t later_ns;
		bool is_forgiven;
		const char *why;
	} rows[] = {
		{ 5, 6, 1, true, "another account's" },
		{ 5, 5, 1, false, "its own" },
		{ TOLLGATE_NO_SLOT, 6, 1, true, "keys that nobody has" },
		{ 5, 6, NS_PER_SECOND, false, "it is over anyway" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(setup(state), 0);
		offend(*state, "192.0.2.1", rows[i].offender, TOLERANCE + 1, NOW_NS);
		assert_int_equal(fake.penalized, 1);
		entitle(*state, "192.0.2.1", rows[i].entitled, NOW_NS + rows[i].later_ns);
		if (fake.forgiven != rows[i].is_forgiven)
			fail_msg("%s", rows[i].why);
		teardown(state);
	}
}

static void after_that_penalties_start_with_a_second_again(void **state)
{
	struct penalty *penalty = *state;
	uint64_t now_ns = NOW_NS;

	for (unsigned i = 0; i < 3; i++) {
		offend(penalty, "192.0.2.1", 5, TOLERANCE + 1, now_ns);
		now_ns = fake.until_ns;
	}
	offend(penalty, "192.0.2.1", 5, TOLERANCE + 1, now_ns); /* eight seconds */
	entitle(penalty, "192.0.2.1", 6, now_ns + 1);
	assert_int_equal(fake.forgiven, 1);
	now_ns += 2;
	offend(penalty, "192.0.2.1", 6, TOLERANCE + 1,
	       now_ns); /* no other account is entitled there */
	assert_int_equal(fake.penalized, 5);
	assert_int_equal(fake.until_ns, now_ns + NS_PER_SECOND);
}

static void a_penalty_that_found_no_room_is_retried(void **state)
{
	struct penalty *penalty = *state;

	fake.err = -ENOSPC;
	offend(penalty, "192.0.2.1", 5, TOLERANCE + 2, NOW_NS);
	assert_int_equal(fake.penalized, 2);
	entitle(penalty, "192.0.2.1", 6, NOW_NS);
	assert_int_equal(fake.forgiven, 0); /* there was no penalty to lift */
}

static void sources_are_addresses_and_networks(void **state)
{
	static const struct {
		const char *first, *second;
		bool is_one;
		const char *why;
	} rows[] = {
		{ "192.0.2.1", "192.0.2.1", true, "itself" },
		{ "192.0.2.1", "192.0.2.2", false, "a neighbour" },
		{ "192.0.2.1", "::ffff:192.0.2.1", true, "over an IPv6 socket" },
		{ "::ffff:192.0.2.1", "::ffff:192.0.2.2", false, "mapped neighbours" },
		{ "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true, "one /64" },
		{ "2001:db8::1", "2001:db8:0:1::1", false, "the next /64" },
		{ "2001:db8::1", "2001:db9::1", false, "another network" },
		{ "unix", "unix", false, "no address at all" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(setup(state), 0);
		offend(*state, rows[i].first, 5, TOLERANCE, NOW_NS);
		offend(*state, rows[i].second, 5, 1, NOW_NS);
		if (fake.penalized != rows[i].is_one)
			fail_msg("%s", rows[i].why);
		teardown(state);
	}
}

/*
 * There are 65536 places, in buckets of eight that nobody can aim at. After 20,000 other sources,
 * hardly any bucket is full; after 300,000 all are, but a source that is still used has kept its
 * place.
 */
static void a_flood_of_sources_forgets_the_ones_used_longest_ago(void **state)
{
	static const unsigned floods[] = { 20000, 300000 };
	char text[32];

	for (size_t n = 0; n < COUNT(floods); n++) {
		unsigned protected = 0;

		assert_int_equal(setup(state), 0);
		for (unsigned i = 0; i < floods[n]; i++) {
			for (unsigned s = 0; i % 20000 == 0 && s < 20; s++) {
				snprintf(text, sizeof(text), "192.0.2.%u", s);
				entitle(*state, text, 6, NOW_NS + i);
			}
			snprintf(text, sizeof(text), "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
			offend(*state, text, TOLLGATE_NO_SLOT, 1, NOW_NS + i);
		}
		for (unsigned s = 0; s < 20; s++) {
			unsigned before = fake.penalized;

			snprintf(text, sizeof(text), "192.0.2.%u", s);
			offend(*state, text, 5, 3 * TOLERANCE, NOW_NS + floods[n]);
			protected += fake.penalized == before;
		}
		if (protected < 14)
			fail_msg("after %u strangers only %u of 20 are remembered", floods[n],
				 protected);
		teardown(state);
	}
}

static void without_a_fast_path_sources_are_not_tracked(void **state)
{
	struct penalty *penalty = penalty_new(NULL, NULL);

	(void)state;
	offend(penalty, "192.0.2.1", 5, 3 * TOLERANCE, NOW_NS);
	entitle(penalty, "192.0.2.1", 6, NOW_NS);
	penalty_free(penalty);
	penalty_free(NULL);
	assert_int_equal(fake.penalized + fake.forgiven, 0);
}

#define PENALTY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_account_is_dropped_until_it_has_credit),
		cmocka_unit_test(an_accounts_penalty_ends_and_is_never_cut_short),
		PENALTY(a_source_is_tolerated_a_number_of_times_per_second),
		PENALTY(penalties_double_up_to_a_minute),
		cmocka_unit_test(a_shared_address_is_never_dropped_for_one_of_its_users),
		PENALTY(being_seen_again_prolongs_the_ten_minutes),
		cmocka_unit_test(a_penalty_caused_by_others_is_lifted),
		PENALTY(after_that_penalties_start_with_a_second_again),
		PENALTY(a_penalty_that_found_no_room_is_retried),
		cmocka_unit_test(sources_are_addresses_and_networks),
		cmocka_unit_test(a_flood_of_sources_forgets_the_ones_used_longest_ago),
		PENALTY(without_a_fast_path_sources_are_not_tracked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
