/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gate_test: the order of verdicts, and that a refused request is not charged and holds no place.
 *
 * There are 640 combinations of everything that can be wrong with a request. In each, the verdict
 * must be the first one that applies.
 */
#include "unit/enforce/enforce_fixture.h"

/* What can be wrong apart from the key, in the order of verdicts. */
enum {
	NOT_LOADED = 1 << 0,
	TOO_STALE = 1 << 1,
	NOT_ENTITLED = 1 << 2,
	QUOTA_GONE = 1 << 3,
	BUCKET_EMPTY = 1 << 4,
	LACKS_FEATURE = 1 << 5,
	ALL_BUSY = 1 << 6,
	WORLDS = 1 << 7,
};

enum key_kind { KEY_NONE, KEY_MALFORMED, KEY_UNKNOWN, KEY_REVOKED, KEY_GOOD, KEY_KINDS };

static enum tollgate_verdict expected(enum key_kind key, unsigned wrong)
{
	static const enum tollgate_verdict in_order[] = { TOLLGATE_INACTIVE, TOLLGATE_OVER_QUOTA,
							  TOLLGATE_OVER_RATE, TOLLGATE_NO_FEATURE,
							  TOLLGATE_OVER_CONCURRENCY };

	if (key == KEY_NONE)
		return TOLLGATE_NO_KEY;
	if (key == KEY_MALFORMED)
		return TOLLGATE_BAD_KEY;
	if (wrong & NOT_LOADED)
		return TOLLGATE_UNAVAILABLE;
	if (key == KEY_UNKNOWN)
		return TOLLGATE_UNKNOWN_KEY;
	if (key == KEY_REVOKED)
		return TOLLGATE_REVOKED_KEY;
	if (wrong & TOO_STALE)
		return TOLLGATE_UNAVAILABLE;
	for (unsigned i = 0; i < COUNT(in_order); i++) {
		if (wrong & NOT_ENTITLED << i)
			return in_order[i];
	}
	return TOLLGATE_ALLOW;
}

static struct gate_request make_world(struct fixture *f, enum key_kind key, unsigned wrong)
{
	static const struct text keys[] = {
		[KEY_NONE] = { NULL, 0 },
		[KEY_MALFORMED] = { "too short", 9 },
		[KEY_UNKNOWN] = { "nobody-has-this-key", 19 },
		[KEY_REVOKED] = { "a-key-that-was-revoked", 22 },
		[KEY_GOOD] = { PLAIN_KEY, sizeof(PLAIN_KEY) - 1 },
	};
	struct tollgate_slot *slot = slot_of_account(f, 7);
	struct gate_request request = make_request();

	put_account(f, 7, "basic", wrong & NOT_ENTITLED ? STORE_UNPAID : STORE_ACTIVE);
	f->gate.is_loaded = !(wrong & NOT_LOADED);
	f->gate.is_refusing = wrong & TOO_STALE;
	slot->quota_word = wrong & QUOTA_GONE ? ~0ULL : 0;
	slot->tat_ns = wrong & BUCKET_EMPTY ? NOW_NS + 50 * NS_PER_MS : 0;
	slot->concurrency = wrong & ALL_BUSY ? 8 : 0;
	slot->refused = 0;
	request.key = keys[key];
	request.feature = wrong & LACKS_FEATURE ? 5 : ADMIN;
	return request;
}

/* Whether XDP may refuse, for at most a second. */
static void expect_closed(struct tollgate_slot *before, const struct tollgate_slot *slot)
{
	assert_int_equal(slot->closed_reason, TOLLGATE_OVER_QUOTA);
	assert_in_range(slot->closed_until_ns, NOW_NS + 1, NOW_NS + NS_PER_SECOND);
	assert_true(slot->closed_end_ns >= slot->closed_until_ns);
	before->closed_reason = slot->closed_reason;
	before->closed_until_ns = slot->closed_until_ns;
	before->closed_end_ns = slot->closed_end_ns;
}

static void the_first_reason_in_order_is_the_verdict(void **state)
{
	struct fixture *f = *state;
	struct tollgate_slot *slot = put_customer(f, "basic");

	put_key(f, 71, 7, TEXT("a-key-that-was-revoked"), WALL_MS);
	for (unsigned i = 0; i < KEY_KINDS * WORLDS; i++) {
		enum key_kind key = i / WORLDS;
		unsigned wrong = i % WORLDS;
		struct gate_request request = make_world(f, key, wrong);
		enum tollgate_verdict verdict = expected(key, wrong);
		struct tollgate_slot before = *slot;
		struct gate_result result = check(f, &request);

		if (result.verdict != verdict)
			fail_msg("key %u, wrong %#x: verdict %u, not %u", key, wrong,
				 result.verdict, verdict);
		if (verdict == TOLLGATE_ALLOW)
			continue;
		before.refused += result.has_account;
		if (verdict == TOLLGATE_OVER_QUOTA)
			expect_closed(&before, slot);
		if (memcmp(&before, slot, sizeof(before)))
			fail_msg("key %u, wrong %#x: refused, and yet charged or held", key, wrong);
	}
}

static void an_allowed_request_is_charged_and_holds_a_place(void **state)
{
	struct fixture *f = *state;
	struct tollgate_slot *slot = put_customer(f, "basic");
	struct gate_request request = make_request();
	struct gate_result result;

	request.cost = 3;
	result = check(f, &request);
	assert_int_equal(result.verdict, TOLLGATE_ALLOW);
	assert_true(result.has_account);
	assert_int_equal(result.account_id, 7);
	assert_int_equal(result.cost, 3);
	assert_int_equal(slot->tat_ns, NOW_NS + 30 * NS_PER_MS);
	assert_int_equal(usage_quota_used(slot->quota_word, 0), 3);
	assert_int_equal(slot->concurrency, 1);
	assert_int_equal(slot->refused, 0);
	assert_int_equal(slot->usage[0].requests + slot->usage[1].requests, 0);
	gate_count(&f->gate, &result, (struct clock_wall){ WALL_MS, 0 });
	assert_int_equal(slot->usage[0].requests + slot->usage[1].requests, 1);
	assert_int_equal(slot->usage[0].units + slot->usage[1].units, 3);
	gate_release(&f->gate, &result);
	assert_int_equal(slot->concurrency, 0);
}

static void a_request_that_costs_nothing_is_checked_but_free(void **state)
{
	struct fixture *f = *state;
	struct tollgate_slot *slot = put_customer(f, "basic");
	struct gate_request request = make_request();

	request.cost = 0;
	slot->tat_ns = NOW_NS + 50 * NS_PER_MS; /* not one unit left */
	assert_int_equal(check(f, &request).verdict, TOLLGATE_ALLOW);
	assert_int_equal(slot->tat_ns, NOW_NS + 50 * NS_PER_MS);
	assert_int_equal(usage_quota_used(slot->quota_word, 0), 0);
	assert_int_equal(slot->concurrency, 1);
	put_account(f, 7, "basic", STORE_CANCELED);
	assert_int_equal(check(f, &request).verdict, TOLLGATE_INACTIVE);
}

static void a_request_passes_only_if_its_whole_cost_is_left(void **state)
{
	static const struct {
		uint32_t cost;
		uint64_t left, wait_ms;
		enum tollgate_verdict verdict;
		const char *why;
	} rows[] = {
		{ 3, 5, 0, TOLLGATE_ALLOW, "3 of 5" },
		{ 3, 2, 10, TOLLGATE_OVER_RATE, "3 of 2" },
		{ 2, 2, 0, TOLLGATE_ALLOW, "2 of 2" },
		{ 5, 0, 50, TOLLGATE_OVER_RATE, "5 of 0" },
		{ 1, 0, 10, TOLLGATE_OVER_RATE, "1 of 0" },
	};
	struct fixture *f = *state;
	struct gate_request request = make_request();

	put_customer(f, "basic");
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct gate_result result;

		request.cost = rows[i].cost;
		result = check(f, &request);
		if (result.verdict != rows[i].verdict ||
		    result.wait_ns != rows[i].wait_ms * NS_PER_MS)
			fail_msg("%s: verdict %u, wait %llu", rows[i].why, result.verdict,
				 (unsigned long long)result.wait_ns);
	}
}

static void keys_end_at_their_time(void **state)
{
	static const struct {
		uint64_t revoked_ms;
		enum tollgate_verdict verdict;
		const char *why;
	} rows[] = {
		{ 0, TOLLGATE_ALLOW, "never revoked" },
		{ 1, TOLLGATE_REVOKED_KEY, "long ago" },
		{ WALL_MS - 1, TOLLGATE_REVOKED_KEY, "just ended" },
		{ WALL_MS, TOLLGATE_REVOKED_KEY, "ends now" },
		{ WALL_MS + 1, TOLLGATE_ALLOW, "ends in a millisecond" },
	};
	struct fixture *f = *state;
	struct gate_request request = make_request();

	put_customer(f, "free");
	for (size_t i = 0; i < COUNT(rows); i++) {
		enum tollgate_verdict verdict;

		put_key(f, 70, 7, TEXT(PLAIN_KEY), rows[i].revoked_ms);
		verdict = check(f, &request).verdict;
		if (verdict != rows[i].verdict)
			fail_msg("%s: verdict %u", rows[i].why, verdict);
	}
}

static void keys_of_any_plausible_form_are_looked_up(void **state)
{
	struct fixture *f = *state;
	char own[KEY_TEXT_SIZE], wrong[KEY_TEXT_SIZE];
	const struct {
		struct text key;
		enum tollgate_verdict verdict;
		const char *why;
	} rows[] = {
		{ TEXT(PLAIN_KEY), TOLLGATE_ALLOW, "an imported key" },
		{ { own, 57 }, TOLLGATE_ALLOW, "a key of ours" },
		{ { wrong, 57 }, TOLLGATE_BAD_KEY, "its last digit mistyped" },
		{ { own, 56 }, TOLLGATE_BAD_KEY, "its last digit missing" },
		{ TEXT("an-imported-key-2"), TOLLGATE_UNKNOWN_KEY, "another last letter" },
		{ TEXT("an-imported-key-10"), TOLLGATE_UNKNOWN_KEY, "one letter more" },
		{ TEXT(""), TOLLGATE_BAD_KEY, "a field with nothing in it" },
		{ { NULL, 0 }, TOLLGATE_NO_KEY, "no field" },
	};
	struct gate_request request = make_request();

	assert_int_equal(key_generate(PREFIX, own), 0);
	assert_int_equal(strlen(own), 57);
	memcpy(wrong, own, sizeof(own));
	wrong[56] = wrong[56] == 'x' ? 'y' : 'x';
	put_customer(f, "free");
	put_key(f, 71, 7, text_of(own), 0);
	for (size_t i = 0; i < COUNT(rows); i++) {
		enum tollgate_verdict verdict;

		request.key = rows[i].key;
		verdict = check(f, &request).verdict;
		if (verdict != rows[i].verdict)
			fail_msg("%s: verdict %u", rows[i].why, verdict);
	}
}

static void a_mirror_that_is_behind_refuses_unknown_keys_only(void **state)
{
	struct fixture *f = *state;
	struct gate_request request = make_request();

	put_customer(f, "free");
	f->gate.is_current = false;
	assert_int_equal(check(f, &request).verdict, TOLLGATE_ALLOW);
	request.key = TEXT("nobody-has-this-key");
	assert_int_equal(check(f, &request).verdict, TOLLGATE_UNAVAILABLE);
	assert_false(check(f, &request).has_account);
}

static void every_status_has_its_verdict(void **state)
{
	static const struct {
		enum store_status status;
		enum tollgate_verdict verdict;
	} rows[] = {
		{ STORE_ACTIVE, TOLLGATE_ALLOW },
		{ STORE_TRIALING, TOLLGATE_ALLOW },
		{ STORE_PAST_DUE, TOLLGATE_ALLOW }, /* within grace */
		{ STORE_UNPAID, TOLLGATE_INACTIVE },
		{ STORE_CANCELED, TOLLGATE_INACTIVE },
		{ STORE_INCOMPLETE, TOLLGATE_INACTIVE },
		{ STORE_INCOMPLETE_EXPIRED, TOLLGATE_INACTIVE },
		{ STORE_PAUSED, TOLLGATE_INACTIVE },
	};
	struct fixture *f = *state;
	struct gate_request request = make_request();

	assert_int_equal(COUNT(rows), STORE_STATUS_COUNT);
	put_customer(f, "free");
	for (size_t i = 0; i < COUNT(rows); i++) {
		put_account(f, 7, "free", rows[i].status);
		if (check(f, &request).verdict != rows[i].verdict)
			fail_msg("%s", store_status_word(rows[i].status));
	}
	put_account(f, 7, "a tier that is not configured", STORE_ACTIVE);
	assert_int_equal(check(f, &request).verdict, TOLLGATE_INACTIVE);
}

static void features_are_bits_of_the_tier(void **state)
{
	static const struct {
		int feature;
		enum tollgate_verdict verdict;
	} rows[] = {
		{ -1, TOLLGATE_ALLOW },	     { EXPORT, TOLLGATE_ALLOW }, { 1, TOLLGATE_NO_FEATURE },
		{ 62, TOLLGATE_NO_FEATURE }, { ADMIN, TOLLGATE_ALLOW },
	};
	struct fixture *f = *state;
	struct gate_request request = make_request();

	put_customer(f, "basic");
	for (size_t i = 0; i < COUNT(rows); i++) {
		request.feature = rows[i].feature;
		if (check(f, &request).verdict != rows[i].verdict)
			fail_msg("feature %d", rows[i].feature);
	}
}

static void concurrency_is_held_until_it_is_given_back(void **state)
{
	struct fixture *f = *state;
	struct gate_request request = make_request();
	struct gate_result held[8];
	struct tollgate_slot *slot;

	f->tier_list[1].concurrency = 8;
	slot = put_customer(f, "free");
	for (unsigned i = 0; i < 8; i++) {
		held[i] = check(f, &request);
		assert_int_equal(held[i].verdict, TOLLGATE_ALLOW);
	}
	assert_int_equal(check(f, &request).verdict, TOLLGATE_OVER_CONCURRENCY);
	gate_release(&f->gate, &held[3]);
	held[3] = check(f, &request);
	assert_int_equal(held[3].verdict, TOLLGATE_ALLOW);
	assert_int_equal(check(f, &request).verdict, TOLLGATE_OVER_CONCURRENCY);
	for (unsigned i = 0; i < 8; i++)
		gate_release(&f->gate, &held[i]);
	assert_int_equal(slot->concurrency, 0);
}

static void a_place_given_back_too_often_changes_no_limit(void **state)
{
	struct fixture *f = *state;
	struct gate_request request = make_request();
	struct gate_result result;
	struct tollgate_slot *slot = put_customer(f, "basic");

	/*
	 * As after a crash: the count starts at 0, while an older process still gives places back.
	 */
	result = check(f, &request);
	slot->concurrency = 0;
	gate_release(&f->gate, &result);
	assert_int_equal(slot->concurrency, 0);
	assert_int_equal(check(f, &request).verdict, TOLLGATE_ALLOW);
}

static void a_request_that_outlives_its_slot_touches_no_other_account(void **state)
{
	struct fixture *f = *state;
	struct gate_request request = make_request();
	struct gate_result result;
	struct tollgate_slot *slot = put_customer(f, "basic");
	uint32_t index = (uint32_t)(slot - f->list);

	result = check(f, &request);
	slots_give_back(&f->slots, index);
	assert_int_equal(slots_take(&f->slots, 8), index);
	slot->concurrency = 5;
	gate_release(&f->gate, &result);
	gate_count(&f->gate, &result, (struct clock_wall){ WALL_MS, 0 });
	assert_int_equal(slot->concurrency, 5);
	assert_int_equal(slot->usage[0].requests + slot->usage[1].requests, 0);
}

static void refusals_are_counted_by_the_second(void **state)
{
	struct tollgate_slot slot = { 0 };
	static const struct {
		uint64_t at_ns;
		uint32_t count;
	} rows[] = {
		{ NOW_NS, 1 },
		{ NOW_NS, 2 },
		{ NOW_NS + NS_PER_SECOND - 1, 3 },
		{ NOW_NS + NS_PER_SECOND, 1 },
		{ NOW_NS + NS_PER_SECOND, 2 },
		{ NOW_NS + 3 * NS_PER_SECOND, 1 },
		{ (1ULL << 32) * NS_PER_SECOND + NOW_NS, 1 }, /* 136 years up */
		{ (1ULL << 32) * NS_PER_SECOND + NOW_NS, 2 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(gate_note_refusal(&slot, rows[i].at_ns), rows[i].count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_first_reason_in_order_is_the_verdict),
		TEST(an_allowed_request_is_charged_and_holds_a_place),
		TEST(a_request_that_costs_nothing_is_checked_but_free),
		TEST(a_request_passes_only_if_its_whole_cost_is_left),
		TEST(keys_end_at_their_time),
		TEST(keys_of_any_plausible_form_are_looked_up),
		TEST(a_mirror_that_is_behind_refuses_unknown_keys_only),
		TEST(every_status_has_its_verdict),
		TEST(features_are_bits_of_the_tier),
		TEST(concurrency_is_held_until_it_is_given_back),
		TEST(a_place_given_back_too_often_changes_no_limit),
		TEST(a_request_that_outlives_its_slot_touches_no_other_account),
		TEST(refusals_are_counted_by_the_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
