/* SPDX-License-Identifier: BSD-2-Clause */
/* registry_return_test: a customer whose subscription has ended subscribes again. */
#include "unit/enforce/registry_subscription.h"

/* Apply a subscription that ends @after_s seconds later with @status. Returns its account's ID. */
static uint64_t had(struct world *w, const char *id, int status, uint64_t after_s)
{
	struct registry_subscription s = make_subscription();
	const struct answer *a;

	s.subscription = id;
	s.mode = STORE_MODE_TEST;
	a = apply(w, &s);
	assert_int_equal(a->err, 0);
	s.status = status;
	s.as_of_s += after_s;
	a = apply(w, &s);
	assert_int_equal(a->err, 0);
	return a->account.id;
}

static struct registry_subscription later(const char *id)
{
	struct registry_subscription s = make_subscription();

	s.subscription = id;
	s.mode = STORE_MODE_TEST;
	s.as_of_s += 5000;
	return s;
}

static void an_ended_account_comes_back_with_its_keys(void **state)
{
	static const int ends[] = { STORE_CANCELED, STORE_INCOMPLETE_EXPIRED };
	struct world *w = *state;

	for (unsigned i = 0; i < COUNT(ends); i++) {
		struct registry_subscription s = later(i ? "sub_b2" : "sub_a2");
		char customer[8];
		uint64_t id;
		const struct answer *a;

		snprintf(customer, sizeof(customer), "cus_%u", i);
		id = had(w, i ? "sub_b" : "sub_a", ends[i], 10);
		registry_account_set(w->registry, id,
				     &(struct registry_change){ .customer = customer,
								.dispute = "ch_1",
								.status = -1,
								.is_held = -1,
								.mode = -1 },
				     on_answer, w);
		assert_int_equal(wait_for(w)->err, 0);
		registry_key_create(w->registry, id, "", on_answer, w);
		assert_int_equal(wait_for(w)->err, 0);
		s.customer = customer;
		s.tier = "slow";
		a = apply(w, &s);
		assert_int_equal(a->err, 0);
		assert_true(a->has_before);
		assert_int_equal(a->account.id, id);
		assert_string_equal(a->account.subscription, s.subscription);
		assert_string_equal(a->account.tier, "slow");
		assert_string_equal(a->account.disputes, "");
		assert_int_equal(slot_of_account(w->f, id)->state, TOLLGATE_SLOT_OPEN);
	}
}

/* The grace of the former subscription was used up; the new one has its own. */
static void grace_begins_anew_with_the_new_subscription(void **state)
{
	struct registry_subscription s = later("sub_2");
	struct world *w = *state;
	uint64_t id = had(w, "sub_1", STORE_PAST_DUE, 1);
	struct registry_subscription end = later("sub_1");

	end.status = STORE_CANCELED;
	apply(w, &end);
	assert_int_not_equal(known(w, "sub_1").past_due_ms, 0);
	s.as_of_s++;
	assert_int_equal(apply(w, &s)->account.id, id);
	assert_int_equal(known(w, "sub_2").past_due_ms, 0);
}

static void no_other_account_is_taken_over(void **state)
{
	static const struct {
		const char *why;
		int status;
		enum store_mode mode;
		const char *customer;
	} rows[] = {
		{ "it is active", STORE_ACTIVE, STORE_MODE_TEST, "cus_1" },
		{ "it may still be paid", STORE_UNPAID, STORE_MODE_TEST, "cus_1" },
		{ "it may be resumed", STORE_PAUSED, STORE_MODE_TEST, "cus_1" },
		{ "it is another customer's", STORE_CANCELED, STORE_MODE_TEST, "cus_9" },
		{ "it is of the other mode", STORE_CANCELED, STORE_MODE_LIVE, "cus_1" },
	};
	struct world *w = *state;

	for (unsigned i = 0; i < COUNT(rows); i++) {
		struct registry_subscription s = make_subscription(), fresh = later("sub_new");
		char id[16], fresh_id[16];
		uint64_t account;

		snprintf(id, sizeof(id), "sub_%u", i);
		snprintf(fresh_id, sizeof(fresh_id), "sub_new_%u", i);
		s.subscription = id;
		s.mode = rows[i].mode;
		s.customer = rows[i].customer;
		account = apply(w, &s)->account.id;
		s.status = rows[i].status;
		assert_int_equal(apply(w, &s)->account.id, account);
		fresh.subscription = fresh_id;
		if (apply(w, &fresh)->account.id == account)
			fail_msg("%s", rows[i].why);
		registry_account_delete(w->registry, account, true, on_answer, w);
		assert_int_equal(wait_for(w)->err, 0);
		registry_account_delete(w->registry, known(w, fresh_id).id, true, on_answer, w);
		assert_int_equal(wait_for(w)->err, 0);
	}
}

static void the_last_account_to_end_comes_back(void **state)
{
	struct registry_subscription s = later("sub_3"), end = make_subscription();
	struct world *w = *state;
	uint64_t first = had(w, "sub_1", STORE_ACTIVE, 0), last;

	/* The second one begins while the first is active, so it has an account of its own. */
	last = had(w, "sub_2", STORE_CANCELED, 20);
	end.mode = STORE_MODE_TEST;
	end.status = STORE_CANCELED;
	end.as_of_s += 10;
	apply(w, &end);
	assert_int_not_equal(first, last);
	assert_int_equal(apply(w, &s)->account.id, last);
}

static void the_account_that_a_subscription_is_meant_for_is_used(void **state)
{
	const struct store_account free_account = { .status = STORE_ACTIVE, .tier = "basic" };
	struct registry_subscription s = later("sub_2"), again = later("sub_3");
	struct world *w = *state;
	uint64_t ended = had(w, "sub_1", STORE_CANCELED, 10), own;

	registry_account_create(w->registry, &free_account, on_answer, w);
	own = wait_for(w)->account.id;
	s.account = own;
	s.customer = "cus_2";
	assert_int_equal(apply(w, &s)->account.id, own);
	assert_string_equal(known(w, "sub_2").customer, "cus_2");
	/* It is not free any more, so the customer's ended one is used, or else a new one. */
	again.account = own;
	assert_int_equal(apply(w, &again)->account.id, ended);
	again.subscription = "sub_4";
	again.account = 12345;
	assert_int_not_equal(apply(w, &again)->account.id, own);
}

/* It may be old: the subscription may have ended since. */
static void a_snapshot_takes_over_no_account_and_adds_none(void **state)
{
	struct registry_subscription s = later("sub_2");
	struct world *w = *state;
	const struct answer *a;

	had(w, "sub_1", STORE_CANCELED, 10);
	s.is_snapshot = true;
	a = apply(w, &s);
	assert_int_equal(a->err, 0);
	assert_false(a->has_account || a->is_changed);
	assert_int_equal(mirror_accounts(w->f->mirror), 1);
	s.customer = "cus_2";
	assert_true(apply(w, &s)->has_account);
}

/* A free account is not lost to a purchase that is not paid; once it is, it is upgraded. */
static void a_purchase_that_waits_for_payment_takes_no_access_away(void **state)
{
	const struct store_account free_account = { .status = STORE_ACTIVE, .tier = "basic" };
	struct registry_subscription s = later("sub_2");
	struct world *w = *state;
	const struct answer *a;
	uint64_t own;

	registry_account_create(w->registry, &free_account, on_answer, w);
	own = wait_for(w)->account.id;
	s.account = own;
	s.tier = "slow";
	s.status = STORE_INCOMPLETE;
	a = apply(w, &s);
	assert_int_equal(a->err, 0);
	assert_false(a->has_account);
	assert_int_equal(slot_of_account(w->f, own)->state, TOLLGATE_SLOT_OPEN);
	s.status = STORE_ACTIVE;
	s.as_of_s++;
	assert_int_equal(apply(w, &s)->account.id, own);
	assert_string_equal(known(w, "sub_2").tier, "slow");
}

/* Withhold the tier from all accounts but that of "sub_1". */
static bool withholds_from_others(void *arg, uint64_t account)
{
	return account != known(arg, "sub_1").id;
}

static void the_account_is_known_when_its_tier_is_chosen(void **state)
{
	struct registry_subscription s = later("sub_2");
	struct world *w = *state;

	had(w, "sub_1", STORE_CANCELED, 10);
	s.withholds_tier = withholds_from_others;
	assert_string_equal(apply(w, &s)->account.tier, "basic");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD(an_ended_account_comes_back_with_its_keys),
		WORLD(grace_begins_anew_with_the_new_subscription),
		WORLD(no_other_account_is_taken_over),
		WORLD(the_last_account_to_end_comes_back),
		WORLD(the_account_that_a_subscription_is_meant_for_is_used),
		WORLD(a_snapshot_takes_over_no_account_and_adds_none),
		WORLD(a_purchase_that_waits_for_payment_takes_no_access_away),
		WORLD(the_account_is_known_when_its_tier_is_chosen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
