/* SPDX-License-Identifier: BSD-2-Clause */
/* registry_order_test: imports, many changes at once, and a store that fails. */
#include "unit/enforce/registry_fixture.h"

#include <signal.h>
#include <sys/resource.h>

/* ---- imports ---- */

#define A      0 /* accounts, in the order of their creation */
#define B      1
#define NOBODY 2

static void imports_add_all_keys_or_none(void **state)
{
	static const struct {
		struct {
			unsigned account;
			const char *key;
		} list[5];
		int err;
		size_t added, present, failed_at;
		const char *why;
	} rows[] = {
		{ { { 0 } }, 0, 0, 0, SIZE_MAX, "nothing" },
		{ { { A, "imported-key-0001" }, { B, "imported-key-0002" } },
		  0,
		  2,
		  0,
		  SIZE_MAX,
		  "two" },
		{ { { A, "imported-key-0001" }, { B, "imported-key-0002" } },
		  0,
		  0,
		  2,
		  SIZE_MAX,
		  "the same again" },
		{ { { A, "imported-key-0001" }, { A, "imported-key-0003" } },
		  0,
		  1,
		  1,
		  SIZE_MAX,
		  "one of them" },
		{ { { A, "imported-key-0004" }, { B, "imported-key-0001" } },
		  -EEXIST,
		  0,
		  0,
		  1,
		  "another account's" },
		{ { { A, "imported-key-0004" }, { NOBODY, "imported-key-0005" } },
		  -ENOENT,
		  0,
		  0,
		  1,
		  "for an unknown account" },
		{ { { B, "imported-key-0004" },
		    { B, "imported-key-0005" },
		    { B, "imported-key-0004" } },
		  0,
		  2,
		  1,
		  SIZE_MAX,
		  "one that comes twice, and none that failed above was added" },
		{ { { A, "imported-key-0006" }, { B, "imported-key-0006" } },
		  -EEXIST,
		  0,
		  0,
		  1,
		  "one for two accounts" },
	};
	struct world *w = *state;
	uint64_t accounts[3] = { create_account(w, "sub_1"), create_account(w, "sub_2"), 99 };

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct registry_import imports[5];
		const struct answer *a;
		char keys[5][32];
		size_t count = 0;

		for (; rows[i].list[count].key; count++) {
			strcpy(keys[count], rows[i].list[count].key);
			imports[count] =
				(struct registry_import){ accounts[rows[i].list[count].account],
							  text_of(keys[count]), TEXT("moved") };
		}
		registry_keys_import(w->registry, imports, count, on_answer, w);
		memset(keys, 'x', sizeof(keys)); /* everything was copied */
		a = wait_for(w);
		if (a->err != rows[i].err || a->added != rows[i].added ||
		    a->present != rows[i].present || a->failed_at != rows[i].failed_at)
			fail_msg("%s: %d, %zu added, %zu present, failed at %zd", rows[i].why,
				 a->err, a->added, a->present, (ssize_t)a->failed_at);
	}
	assert_int_equal(mirror_keys(w->f->mirror), 5);
	assert_int_equal(verdict(w, "imported-key-0001"), TOLLGATE_ALLOW);
	assert_int_equal(verdict(w, "imported-key-0006"), TOLLGATE_UNKNOWN_KEY);
}

static void a_large_import_is_added_completely(void **state)
{
	enum { MANY = 3000 };
	struct registry_import *imports = calloc(MANY, sizeof(*imports));
	char(*keys)[32] = calloc(MANY, sizeof(*keys));
	struct world *w = *state;
	uint64_t account = create_account(w, "sub_1");
	const struct answer *a;

	for (unsigned i = 0; i < MANY; i++) {
		snprintf(keys[i], sizeof(keys[i]), "imported-key-%06u", i % 2000);
		imports[i] = (struct registry_import){ account, text_of(keys[i]), { "", 0 } };
	}
	registry_keys_import(w->registry, imports, MANY, on_answer, w);
	a = wait_for(w);
	assert_int_equal(a->err, 0);
	assert_int_equal(a->added, 2000);
	assert_int_equal(a->present, 1000);
	free(imports);
	free(keys);
}

/* ---- many changes at once ---- */

static void changes_are_made_in_the_order_of_the_calls(void **state)
{
	struct world *w = *state;
	uint64_t account = create_account(w, "sub_1");
	struct registry_change change;
	struct store_account now;
	uint32_t slot;

	/* Each names another field. A change based on an outdated record would lose a field. */
	for (unsigned i = 0; i < 40; i++) {
		char label[16];

		change = no_change();
		snprintf(label, sizeof(label), "label %u", i);
		if (i % 4 == 0)
			change.label = label;
		else if (i % 4 == 1)
			change.tier = i % 8 == 1 ? "slow" : "basic";
		else if (i % 4 == 2)
			change.is_held = i % 8 == 2;
		else
			change.customer = label;
		registry_account_set(w->registry, account, &change, on_answer, w);
	}
	assert_int_equal(w->answer_count, 1); /* none before the store has committed */
	run(w);
	assert_int_equal(w->answer_count, 41);
	assert_true(mirror_account(w->f->mirror, account, &now, &slot));
	assert_string_equal(now.label, "label 36");
	assert_string_equal(now.tier, "basic");
	assert_false(now.is_held);
	assert_string_equal(now.customer, "label 39");
	assert_string_equal(now.subscription, "sub_1");
	for (unsigned i = 0; i < 40; i++) {
		const struct store_account *a = &w->answers[i + 1].account;
		char label[16];

		snprintf(label, sizeof(label), "label %u", i);
		if (i % 4 == 0)
			assert_string_equal(a->label, label);
		if (i % 4 == 3)
			assert_string_equal(a->customer, label);
		assert_int_equal(a->is_held, i >= 2 && (i - 2) / 4 % 2 == 0);
	}
	w->taken = 41;
}

static void each_change_sees_the_result_of_the_one_before(void **state)
{
	struct world *w = *state;
	uint64_t account = create_account(w, "sub_1");
	const struct answer *key = create_key(w, account);
	const struct registry_import import = { account, TEXT("imported-key-0001"), { "", 0 } };
	const struct answer *a = &w->answers[2];

	registry_key_revoke(w->registry, key->key.id, 0, on_answer, w);
	registry_key_rotate(w->registry, key->key.id, 60000, on_answer, w);
	registry_keys_import(w->registry, &import, 1, on_answer, w);
	registry_keys_import(w->registry, &import, 1, on_answer, w);
	registry_key_create(w->registry, 99, NULL, on_answer, w);
	registry_key_create(w->registry, account, NULL, on_answer, w);
	run(w);
	w->taken = w->answer_count;
	assert_int_equal(w->answer_count, 8);
	assert_int_equal(a[0].err, 0);
	assert_int_equal(a[1].err, -EKEYREVOKED);
	assert_int_equal(a[2].added, 1);
	assert_int_equal(a[3].present, 1);
	assert_int_equal(a[4].err, -ENOENT); /* fails at once, but not before its turn */
	assert_int_equal(a[5].err, 0);
	assert_true(a[5].has_text);
}

static void ask_again(void *arg, const struct registry_result *result)
{
	struct world *w = arg;

	on_answer(w, result);
	if (w->answer_count < 6)
		registry_key_create(w->registry, 99, NULL, ask_again, w);
}

static void a_callback_may_request_the_next_change(void **state)
{
	struct world *w = *state;
	uint64_t account = create_account(w, "sub_1");

	registry_key_create(w->registry, account, NULL, ask_again, w);
	run(w);
	w->taken = w->answer_count;
	assert_int_equal(w->answer_count, 6);
	assert_int_equal(w->answers[1].err, 0);
	assert_int_equal(w->answers[5].err, -ENOENT);
}

struct tally {
	unsigned done, refused;
};

static void tally(void *arg, const struct registry_result *result)
{
	struct tally *t = arg;

	t->done += !result->err;
	t->refused += result->err == -ENOBUFS;
}

static void waiting_changes_are_bounded(void **state)
{
	struct world *w = *state;
	uint64_t account = create_account(w, "sub_1");
	struct registry_change change = no_change();
	struct tally t = { 0 };

	change.status = STORE_ACTIVE; /* as before: the mirror and the store stay the same */
	for (unsigned i = 0; i < 10005; i++)
		registry_account_set(w->registry, account, &change, tally, &t);
	assert_int_equal(t.refused, 5);
	assert_int_equal(t.done, 0);
	registry_free(w->registry); /* drops them without callbacks */
	close_store(w);
	w->registry = NULL;
	assert_int_equal(t.done, 0);
	open_store(w);
}

/* ---- a store that fails ---- */

static void a_change_that_the_store_refuses_is_not_in_the_mirror(void **state)
{
	struct world *w = *state;
	struct store_account again = { .status = STORE_ACTIVE,
				       .tier = "basic",
				       .subscription = "sub_1" };
	uint64_t account, other;
	struct registry_change change = no_change();
	const struct answer *a;

	account = create_account(w, "sub_1");
	other = create_account(w, "sub_2");
	registry_account_create(w->registry, &again, on_answer, w);
	a = wait_for(w);
	assert_int_equal(a->err, -EEXIST);
	assert_false(a->has_account || a->has_key || a->has_text || a->added || a->present);
	change.subscription = "sub_1";
	change.label = "never seen";
	registry_account_set(w->registry, other, &change, on_answer, w);
	assert_int_equal(wait_for(w)->err, -EEXIST);
	assert_int_equal(mirror_accounts(w->f->mirror), 2);
	(void)account; /* the teardown compares every record */
}

static void fill_disk(rlim_t bytes)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = bytes ? bytes : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_changes_nothing(void **state)
{
	struct world *w = *state;
	uint64_t account = create_account(w, "sub_1");
	const struct answer *key = create_key(w, account);
	struct registry_change change = no_change();
	const struct registry_import import = { account, TEXT("imported-key-0001"), { "", 0 } };
	struct store_account other = { .status = STORE_ACTIVE, .tier = "basic" };

	change.is_held = 1;
	fill_disk(1);
	registry_key_create(w->registry, account, NULL, on_answer, w);
	registry_key_revoke(w->registry, key->key.id, 0, on_answer, w);
	registry_key_rotate(w->registry, key->key.id, 0, on_answer, w);
	registry_keys_import(w->registry, &import, 1, on_answer, w);
	registry_account_set(w->registry, account, &change, on_answer, w);
	registry_account_create(w->registry, &other, on_answer, w);
	run(w);
	fill_disk(0);
	assert_int_equal(w->answer_count, 8);
	for (unsigned i = 2; i < 8; i++) {
		const struct answer *a = &w->answers[i];

		if (a->err >= 0 || a->has_text || a->has_key || a->added)
			fail_msg("answer %u: %d", i, a->err);
	}
	w->taken = w->answer_count;
	assert_int_equal(mirror_keys(w->f->mirror), 1);
	assert_int_equal(mirror_accounts(w->f->mirror), 1);
	assert_int_equal(verdict(w, key->text), TOLLGATE_ALLOW);
	registry_key_revoke(w->registry, key->key.id, 0, on_answer, w); /* there is room again */
	assert_int_equal(wait_for(w)->err, 0);
	assert_int_equal(verdict(w, key->text), TOLLGATE_REVOKED_KEY);
}

static void without_a_free_slot_the_store_gets_no_account(void **state)
{
	struct world *w = *state;
	struct store_account account = { .status = STORE_ACTIVE, .tier = "basic" };
	struct tally t = { 0 };

	for (unsigned i = 0; i < SLOTS; i++)
		registry_account_create(w->registry, &account, tally, &t);
	run(w);
	assert_int_equal(t.done, SLOTS);
	registry_account_create(w->registry, &account, on_answer, w);
	assert_int_equal(wait_for(w)->err, -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD(imports_add_all_keys_or_none),
		WORLD(a_large_import_is_added_completely),
		WORLD(changes_are_made_in_the_order_of_the_calls),
		WORLD(each_change_sees_the_result_of_the_one_before),
		WORLD(a_callback_may_request_the_next_change),
		WORLD(waiting_changes_are_bounded),
		WORLD(a_change_that_the_store_refuses_is_not_in_the_mirror),
		WORLD(a_full_disk_changes_nothing),
		WORLD(without_a_free_slot_the_store_gets_no_account),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
