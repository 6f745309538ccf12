/* SPDX-License-Identifier: BSD-2-Clause */
/* registry_subscription_test: how states of a subscription from Stripe change its account. */
#include "unit/enforce/registry_subscription.h"

#include <sqlite3.h>

static void a_new_subscription_creates_an_account(void **state)
{
	struct registry_subscription s = make_subscription();
	char tier[] = "basic", email[] = "a@example.com";
	uint64_t began_ms = clock_wall_ms();
	struct world *w = *state;
	const struct answer *a;

	s.tier = tier;
	s.email = email;
	s.features = "export";
	s.status = STORE_TRIALING;
	s.trial_end_s = AS_OF_S + 500;
	s.cancel_at_s = AS_OF_S + 900;
	registry_subscription_apply(w->registry, &s, on_answer, w);
	memset(tier, 'x', sizeof(tier)); /* strings were copied */
	memset(email, 'x', sizeof(email));
	memset(&s, 'x', sizeof(s));
	a = wait_for(w);
	assert_int_equal(a->err, 0);
	assert_true(a->is_changed);
	assert_false(a->has_before);
	assert_int_not_equal(a->account.id, 0);
	assert_true(a->account.created_ms >= began_ms);
	assert_int_equal(a->account.status, STORE_TRIALING);
	assert_int_equal(a->account.period_start_s, AS_OF_S - 1000);
	assert_int_equal(a->account.period_end_s, AS_OF_S + 1000);
	assert_int_equal(a->account.trial_end_s, AS_OF_S + 500);
	assert_int_equal(a->account.cancel_at_s, AS_OF_S + 900);
	assert_int_equal(a->account.as_of_s, AS_OF_S);
	assert_string_equal(a->account.subscription, "sub_1");
	assert_string_equal(a->account.customer, "cus_1");
	assert_string_equal(a->account.email, "a@example.com");
	assert_string_equal(a->account.tier, "basic");
	assert_string_equal(a->account.price, "price_1");
	assert_string_equal(a->account.features, "export");
	assert_string_equal(a->account.label, "a label");
	assert_int_equal(known(w, "sub_1").id, a->account.id);
	assert_int_equal(slot_of_account(w->f, a->account.id)->state, TOLLGATE_SLOT_OPEN);
}

static void stripes_fields_change_and_the_operators_stay(void **state)
{
	struct registry_subscription s = make_subscription();
	struct registry_change change = no_change();
	struct world *w = *state;
	const struct answer *a;
	uint64_t id, created_ms;

	s.features = "export";
	a = apply(w, &s);
	id = a->account.id;
	created_ms = a->account.created_ms;
	change.is_held = 1;
	change.label = "a good customer";
	registry_account_set(w->registry, id, &change, on_answer, w);
	a = wait_for(w);
	assert_int_equal(a->account.as_of_s, AS_OF_S);
	assert_true(a->has_before && a->is_changed);
	s = make_subscription();
	s.tier = "slow";
	s.price = "price_2";
	s.customer = "cus_2";
	s.email = NULL;
	s.period_end_s += 1000;
	s.as_of_s++;
	a = apply(w, &s);
	assert_int_equal(a->err, 0);
	assert_true(a->is_changed && a->has_before);
	assert_string_equal(a->before.tier, "basic");
	assert_string_equal(a->before.customer, "cus_1");
	assert_int_equal(a->account.id, id);
	assert_int_equal(a->account.created_ms, created_ms);
	assert_string_equal(a->account.tier, "slow");
	assert_string_equal(a->account.price, "price_2");
	assert_string_equal(a->account.customer, "cus_2");
	assert_string_equal(a->account.email, "a@example.com");
	assert_string_equal(a->account.features, "export");
	assert_string_equal(a->account.label, "a good customer");
	assert_int_equal(a->account.period_end_s, AS_OF_S + 2000);
	assert_true(a->account.is_held);
	assert_int_equal(slot_of_account(w->f, id)->state, TOLLGATE_SLOT_INACTIVE);
	assert_int_equal(mirror_accounts(w->f->mirror), 1);
}

/* A number that changes when another connection has written to the file. */
static int64_t data_version(sqlite3 *db)
{
	sqlite3_stmt *stmt;
	int64_t version;

	assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA data_version", -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	version = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return version;
}

static void without_a_change_nothing_is_written(void **state)
{
	struct registry_subscription s = make_subscription();
	struct world *w = *state;
	const struct answer *a;
	int64_t before;
	sqlite3 *db;

	apply(w, &s);
	assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
	before = data_version(db);
	s.as_of_s += 100;
	a = apply(w, &s);
	assert_int_equal(a->err, 0);
	assert_false(a->is_changed);
	assert_true(a->has_account && a->has_before);
	assert_int_equal(data_version(db), before);
	/* But the later time is known, so an older state is outdated. */
	s.as_of_s -= 50;
	s.tier = "slow";
	assert_false(apply(w, &s)->is_changed);
	assert_string_equal(known(w, "sub_1").tier, "basic");
	s.as_of_s += 51;
	assert_true(apply(w, &s)->is_changed);
	assert_int_equal(data_version(db), before + 1);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void only_newer_states_are_applied(void **state)
{
	enum what { NOTHING, STATUS, ALL };
	static const struct {
		int known;
		int received;
		int seconds; /* how much later than the known state */
		bool is_snapshot;
		enum what taken;
		const char *why;
	} rows[] = {
		{ STORE_ACTIVE, STORE_PAST_DUE, 1, false, ALL, "fetched later" },
		{ STORE_ACTIVE, STORE_PAST_DUE, 0, false, ALL, "fetched in the same second" },
		{ STORE_ACTIVE, STORE_PAST_DUE, -1, false, NOTHING,
		  "fetched, but a later state came first" },
		{ STORE_ACTIVE, STORE_CANCELED, -1, false, NOTHING, "the same for a cancellation" },
		{ STORE_CANCELED, STORE_ACTIVE, 1, false, ALL, "fetched after an end" },
		{ STORE_ACTIVE, STORE_PAST_DUE, 1, true, ALL, "a later snapshot" },
		{ STORE_ACTIVE, STORE_PAST_DUE, 0, true, NOTHING, "one of the same second" },
		{ STORE_ACTIVE, STORE_PAST_DUE, -1, true, NOTHING, "an older one" },
		{ STORE_ACTIVE, STORE_CANCELED, 1, true, ALL, "a later end" },
		{ STORE_ACTIVE, STORE_CANCELED, 0, true, STATUS, "an end in the same second" },
		{ STORE_ACTIVE, STORE_CANCELED, -99, true, STATUS, "an older end" },
		{ STORE_PAST_DUE, STORE_INCOMPLETE_EXPIRED, -1, true, NOTHING, "another end" },
		{ STORE_CANCELED, STORE_ACTIVE, 99, true, NOTHING, "canceled is final" },
		{ STORE_CANCELED, STORE_CANCELED, 99, true, NOTHING, "canceled twice" },
		{ STORE_INCOMPLETE_EXPIRED, STORE_ACTIVE, 99, true, NOTHING, "expired is final" },
		{ STORE_PAUSED, STORE_ACTIVE, 1, true, ALL, "paused is not final" },
	};
	struct world *w = *state;

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct registry_subscription s = make_subscription();
		struct store_account now;
		const struct answer *a;
		char id[16];

		snprintf(id, sizeof(id), "sub_%zu", i);
		s.subscription = s.customer = id;
		s.as_of_s--;
		assert_int_equal(apply(w, &s)->err, 0);
		s.as_of_s++;
		s.status = rows[i].known;
		assert_int_equal(apply(w, &s)->err, 0);
		s.status = rows[i].received;
		s.as_of_s += (uint64_t)rows[i].seconds;
		s.is_snapshot = rows[i].is_snapshot;
		s.tier = "slow";
		a = apply(w, &s);
		now = known(w, id);
		if (a->err || a->is_changed != (rows[i].taken != NOTHING) || !a->has_before ||
		    (int)now.status !=
			    (rows[i].taken != NOTHING ? rows[i].received : rows[i].known) ||
		    strcmp(now.tier, rows[i].taken == ALL ? "slow" : "basic") ||
		    now.as_of_s != (rows[i].taken == ALL ? s.as_of_s : AS_OF_S))
			fail_msg("%s", rows[i].why);
	}
}

/* A list may have been made before the known state of the same second was fetched, or after it. */
static void a_list_does_not_replace_a_state_of_the_same_second(void **state)
{
	static const struct {
		int received;
		int seconds; /* how much later than the known state */
		bool is_in_doubt, is_taken;
	} rows[] = {
		{ STORE_ACTIVE, 0, false, false },
		{ STORE_PAST_DUE, 0, true, false },
		{ STORE_PAST_DUE, -1, false, false },
		{ STORE_PAST_DUE, 1, false, true },
	};
	struct world *w = *state;

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct registry_subscription s = make_subscription();
		const struct answer *a;
		char id[16];

		snprintf(id, sizeof(id), "sub_%zu", i);
		s.subscription = s.customer = id;
		assert_int_equal(apply(w, &s)->err, 0);
		s.status = rows[i].received;
		s.as_of_s += (uint64_t)rows[i].seconds;
		s.is_listed = true;
		a = apply(w, &s);
		assert_int_equal(a->err, 0);
		assert_int_equal(a->is_in_doubt, rows[i].is_in_doubt);
		assert_int_equal(a->is_changed, rows[i].is_taken);
		assert_int_equal(a->account.status,
				 rows[i].is_taken ? rows[i].received : STORE_ACTIVE);
		assert_int_equal(known(w, id).status, a->account.status);
	}
}

/* Events of test clocks are dated by simulated time. */
static void no_state_is_later_than_stripes_own_clock(void **state)
{
	enum { YEAR = 365 * 86400 };
	static const struct {
		int64_t as_of, now; /* seconds after AS_OF_S */
		bool is_snapshot, is_taken;
		int64_t stored;
		const char *why;
	} rows[] = {
		{ YEAR, 10, true, true, 10, "a snapshot from the future counts as of now" },
		{ 11, 11, false, true, 11, "what is fetched after it is newer" },
		{ YEAR + 50, 12, true, true, 12, "another one" },
		{ YEAR + 40, 12, true, true, 12, "an older one is not recognized, and fetched" },
		{ 13, 13, false, true, 13, "the fetch" },
		{ 12, 14, false, false, 13, "an older fetch" },
		{ 5, 15, true, false, 13, "an older snapshot" },
	};
	struct registry_subscription s = make_subscription();
	struct world *w = *state;

	apply(w, &s);
	for (size_t i = 0; i < COUNT(rows); i++) {
		bool is_taken;

		s.status = i % 2 ? STORE_ACTIVE : STORE_PAST_DUE;
		s.period_end_s++;
		s.is_snapshot = rows[i].is_snapshot;
		s.as_of_s = AS_OF_S + (uint64_t)rows[i].as_of;
		s.now_s = AS_OF_S + (uint64_t)rows[i].now;
		is_taken = apply(w, &s)->is_changed;
		if (is_taken != rows[i].is_taken ||
		    known(w, "sub_1").as_of_s != AS_OF_S + (uint64_t)rows[i].stored)
			fail_msg("%s: as of %lld", rows[i].why,
				 (long long)(known(w, "sub_1").as_of_s - AS_OF_S));
	}
}

/* Older versions stored such times. */
static void a_known_state_from_the_future_is_replaced(void **state)
{
	struct registry_subscription s = make_subscription();
	struct world *w = *state;

	s.as_of_s = s.now_s = AS_OF_S + 99999;
	apply(w, &s);
	s.as_of_s = s.now_s = AS_OF_S;
	s.tier = "slow";
	assert_true(apply(w, &s)->is_changed);
	assert_int_equal(known(w, "sub_1").as_of_s, AS_OF_S);
	assert_string_equal(known(w, "sub_1").tier, "slow");
}

static bool withholds(void *arg, uint64_t unused)
{
	(void)unused;
	struct world *w = arg;
	struct store_account account;
	uint32_t slot;

	/* It sees the change that was made just before. */
	return mirror_account_by_subscription(w->f->mirror, "sub_1", &account, &slot) &&
	       account.status == STORE_ACTIVE;
}

static void the_tier_may_be_withheld_when_the_change_is_made(void **state)
{
	struct registry_subscription s = make_subscription();
	struct world *w = *state;

	registry_subscription_apply(w->registry, &s, on_answer, w);
	s.subscription = "sub_2";
	s.withholds_tier = withholds;
	registry_subscription_apply(w->registry, &s, on_answer, w);
	run(w);
	w->taken = w->answer_count;
	assert_string_equal(known(w, "sub_1").tier, "basic");
	assert_string_equal(known(w, "sub_2").tier, "");
	s.subscription = "sub_1";
	s.withholds_tier = NULL;
	s.status = STORE_CANCELED;
	apply(w, &s);
	s.subscription = "sub_2";
	s.withholds_tier = withholds;
	s.status = STORE_ACTIVE;
	apply(w, &s);
	assert_string_equal(known(w, "sub_2").tier, "basic");
}

static void mode_and_usage_period_are_stripes(void **state)
{
	struct registry_subscription s = make_subscription();
	struct world *w = *state;

	s.mode = STORE_MODE_TEST;
	s.usage_start_s = AS_OF_S - 10;
	s.usage_end_s = AS_OF_S + 10;
	apply(w, &s);
	assert_int_equal(known(w, "sub_1").mode, STORE_MODE_TEST);
	assert_int_equal(known(w, "sub_1").usage_start_s, AS_OF_S - 10);
	assert_int_equal(known(w, "sub_1").usage_end_s, AS_OF_S + 10);
	s.usage_start_s = s.usage_end_s = 0;
	s.as_of_s++;
	apply(w, &s);
	assert_int_equal(known(w, "sub_1").usage_end_s, 0);
}

static void a_deleted_account_is_gone_with_its_keys(void **state)
{
	struct registry_subscription s = make_subscription();
	struct world *w = *state;
	struct store_account account;
	struct store_key key;
	uint64_t id, key_id;
	uint32_t slot;

	apply(w, &s);
	id = known(w, "sub_1").id;
	key_id = create_key(w, id)->key.id;
	assert_true(mirror_key_by_id(w->f->mirror, key_id, &key));
	registry_account_delete(w->registry, id, false, on_answer, w);
	assert_int_equal(wait_for(w)->err, 0);
	assert_false(mirror_account(w->f->mirror, id, &account, &slot));
	assert_false(mirror_key_by_id(w->f->mirror, key_id, &key));
	registry_account_delete(w->registry, id, false, on_answer, w);
	assert_int_equal(wait_for(w)->err, -ENOENT);
	apply(w, &s); /* the subscription may come back */
	assert_int_not_equal(known(w, "sub_1").id, id);
}

static void grace_starts_at_the_first_failure_and_is_not_restarted(void **state)
{
	static const struct {
		int status;
		int64_t since; /* ms after `base`; 0: not given */
		int64_t begun; /* expected, in ms after `base`; 0: no grace; 1: now */
		const char *why;
	} rows[] = {
		{ STORE_PAST_DUE, -50000, -50000, "as Stripe's invoice says" },
		{ STORE_PAST_DUE, -40000, -50000, "a later failure" },
		{ STORE_UNPAID, 0, -50000, "it got worse" },
		{ STORE_PAST_DUE, -30000, -50000, "and a little better" },
		{ STORE_ACTIVE, -20000, 0, "paid" },
		{ STORE_PAST_DUE, 0, 1, "without a time" },
		{ STORE_TRIALING, 0, 0, "a trial" },
		{ STORE_PAST_DUE, 9999999, 1, "in the future: by a clock that is ahead" },
	};
	uint64_t base = clock_wall_ms();
	struct world *w = *state;

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct registry_subscription s = make_subscription();
		uint64_t before_ms = clock_wall_ms(), begun_ms;

		s.status = rows[i].status;
		s.as_of_s += i;
		s.past_due_since_ms = rows[i].since ? base + (uint64_t)rows[i].since : 0;
		begun_ms = apply(w, &s)->account.past_due_ms;
		if (rows[i].begun == 1
			    ? begun_ms < before_ms || begun_ms > clock_wall_ms()
			    : begun_ms != (rows[i].begun ? base + (uint64_t)rows[i].begun : 0))
			fail_msg("%s", rows[i].why);
	}
}

static void an_unknown_status_leaves_access_unchanged(void **state)
{
	struct registry_subscription s = make_subscription();
	struct world *w = *state;
	const struct answer *a;

	apply(w, &s);
	s.status = -1;
	s.tier = "slow";
	s.as_of_s++;
	a = apply(w, &s);
	assert_int_equal(a->account.status, STORE_ACTIVE);
	assert_string_equal(a->account.tier, "slow");
	s.subscription = "sub_2";
	a = apply(w, &s); /* a new account gets no access */
	assert_int_equal(a->account.status, STORE_INCOMPLETE);
	assert_int_equal(slot_of_account(w->f, a->account.id)->state, TOLLGATE_SLOT_INACTIVE);
}

static void a_price_without_a_tier_gives_no_access(void **state)
{
	struct registry_subscription s = make_subscription();
	struct world *w = *state;
	const struct answer *a;

	s.tier = "";
	a = apply(w, &s);
	assert_int_equal(a->err, 0);
	assert_false(a->has_account || a->is_changed);
	s.tier = "basic";
	a = apply(w, &s);
	assert_int_equal(slot_of_account(w->f, a->account.id)->state, TOLLGATE_SLOT_OPEN);
	s.tier = "";
	s.as_of_s++;
	a = apply(w, &s);
	assert_int_equal(slot_of_account(w->f, a->account.id)->state, TOLLGATE_SLOT_INACTIVE);
}

/* The copy in an old event makes an account; the fetch that follows it says that it has ended. */
static void an_end_right_after_an_old_snapshot_is_not_lost(void **state)
{
	struct registry_subscription old = make_subscription(), now = make_subscription();
	struct world *w = *state;

	old.is_snapshot = true;
	now.status = STORE_CANCELED;
	now.as_of_s++;
	registry_subscription_apply(w->registry, &now, on_answer, w);
	registry_subscription_apply(w->registry, &old, on_answer, w);
	registry_subscription_apply(w->registry, &now, on_answer, w);
	run(w);
	w->taken = w->answer_count;
	assert_int_equal(known(w, "sub_1").status, STORE_CANCELED);
}

static void two_concurrent_states_create_one_account(void **state)
{
	struct registry_subscription s = make_subscription();
	struct world *w = *state;

	registry_subscription_apply(w->registry, &s, on_answer, w);
	registry_subscription_apply(w->registry, &s, on_answer, w);
	s.tier = "slow";
	registry_subscription_apply(w->registry, &s, on_answer, w);
	run(w);
	assert_int_equal(w->answer_count, 3);
	w->taken = 3;
	assert_true(w->answers[0].is_changed && !w->answers[0].has_before);
	assert_false(w->answers[1].is_changed);
	assert_true(w->answers[2].is_changed && w->answers[2].has_before);
	assert_int_equal(w->answers[2].account.id, w->answers[0].account.id);
	assert_int_equal(mirror_accounts(w->f->mirror), 1);
}

static void without_a_free_slot_no_account_is_created(void **state)
{
	struct registry_subscription s = make_subscription();
	struct world *w = *state;
	char id[16];

	for (unsigned i = 0; i < SLOTS; i++) {
		snprintf(id, sizeof(id), "sub_%u", i);
		s.subscription = id;
		assert_int_equal(apply(w, &s)->err, 0);
	}
	s.subscription = "one_more";
	assert_int_equal(apply(w, &s)->err, -ENOSPC);
	s.subscription = "sub_0";
	s.tier = "slow";
	assert_int_equal(apply(w, &s)->err, 0); /* a change needs no free slot */
}

static void a_change_that_the_store_refuses_is_undone(void **state)
{
	struct registry_subscription s = make_subscription();
	struct world *w = *state;
	const struct answer *a;
	sqlite3 *db;

	apply(w, &s);
	assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db,
				      "CREATE TRIGGER t BEFORE UPDATE ON accounts "
				      "BEGIN SELECT RAISE(ABORT, 'no'); END",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	s.tier = "slow";
	s.as_of_s++;
	a = apply(w, &s);
	assert_int_not_equal(a->err, 0);
	assert_false(a->has_account || a->has_before || a->is_changed);
	assert_string_equal(known(w, "sub_1").tier, "basic");
	assert_int_equal(known(w, "sub_1").as_of_s, AS_OF_S); /* the refused state is still news */
	assert_int_equal(sqlite3_exec(db, "DROP TRIGGER t", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_true(apply(w, &s)->is_changed);
}

static void times_beyond_32_bits_become_the_maximum(void **state)
{
	struct registry_subscription s = make_subscription();
	struct world *w = *state;

	s.cancel_at_s = 1ULL << 40;
	assert_int_equal(apply(w, &s)->account.cancel_at_s, UINT32_MAX);
	assert_false(apply(w, &s)->is_changed); /* the second time it is not a change */
}

static void entitlements_apply_to_all_accounts_of_the_customer(void **state)
{
	static const char *const customers[] = { "cus_1", "cus_2", "cus_1", "" };
	struct registry_subscription s = make_subscription();
	struct world *w = *state;
	const struct answer *a;

	for (unsigned i = 0; i < COUNT(customers); i++) {
		char id[16];

		snprintf(id, sizeof(id), "sub_%u", i);
		s.subscription = id;
		s.customer = customers[i];
		assert_int_equal(apply(w, &s)->err, 0);
	}
	registry_account_entitle(w->registry, "cus_1", "export audit", on_answer, w);
	a = wait_for(w);
	assert_int_equal(a->err, 0);
	assert_int_equal(a->changed, 2);
	assert_true(a->is_changed && a->has_account);
	assert_string_equal(known(w, "sub_0").features, "export audit");
	assert_string_equal(known(w, "sub_1").features, "");
	assert_string_equal(known(w, "sub_2").features, "export audit");
	registry_account_entitle(w->registry, "cus_1", "export audit", on_answer, w);
	a = wait_for(w);
	assert_int_equal(a->err, 0);
	assert_int_equal(a->changed, 0);
	assert_false(a->is_changed);
	registry_account_entitle(w->registry, "cus_1", "", on_answer, w);
	assert_int_equal(wait_for(w)->changed, 2);
	assert_string_equal(known(w, "sub_2").features, "");
	registry_account_entitle(w->registry, "cus_3", "export", on_answer, w);
	assert_int_equal(wait_for(w)->err, -ENOENT);
	registry_account_entitle(w->registry, "", "export", on_answer, w);
	assert_int_equal(wait_for(w)->err, -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD(a_new_subscription_creates_an_account),
		WORLD(stripes_fields_change_and_the_operators_stay),
		WORLD(without_a_change_nothing_is_written),
		WORLD(only_newer_states_are_applied),
		WORLD(a_list_does_not_replace_a_state_of_the_same_second),
		WORLD(no_state_is_later_than_stripes_own_clock),
		WORLD(a_known_state_from_the_future_is_replaced),
		WORLD(the_tier_may_be_withheld_when_the_change_is_made),
		WORLD(mode_and_usage_period_are_stripes),
		WORLD(a_deleted_account_is_gone_with_its_keys),
		WORLD(grace_starts_at_the_first_failure_and_is_not_restarted),
		WORLD(an_unknown_status_leaves_access_unchanged),
		WORLD(a_price_without_a_tier_gives_no_access),
		WORLD(an_end_right_after_an_old_snapshot_is_not_lost),
		WORLD(two_concurrent_states_create_one_account),
		WORLD(without_a_free_slot_no_account_is_created),
		WORLD(a_change_that_the_store_refuses_is_undone),
		WORLD(times_beyond_32_bits_become_the_maximum),
		WORLD(entitlements_apply_to_all_accounts_of_the_customer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
