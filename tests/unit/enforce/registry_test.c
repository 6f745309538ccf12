/* SPDX-License-Identifier: BSD-2-Clause */
/* registry_test: when a change's callback runs, the change is durable and in the mirror. */
#include "unit/enforce/registry_fixture.h"

static void a_new_key_is_accepted_when_its_callback_runs(void **state)
{
	struct world *w = *state;
	uint64_t account = create_account(w, "sub_1"), began_ms = clock_wall_ms();
	const struct answer *a;

	assert_int_not_equal(account, 0);
	registry_key_create(w->registry, account, "laptop", on_answer, w);
	a = wait_for(w);
	assert_int_equal(a->err, 0);
	assert_true(a->has_key && a->has_text);
	assert_true(key_is_plausible(PREFIX, text_of(a->text)));
	assert_string_equal(a->key.label, "laptop");
	assert_int_equal(a->key.account, account);
	assert_true(a->key.created_ms >= began_ms);
	assert_memory_equal(a->key.hint, a->text, 7);
	assert_string_equal(a->key.hint + 10, a->text + strlen(a->text) - 4);
	assert_int_equal(verdict(w, a->text), TOLLGATE_ALLOW);
	registry_key_create(w->registry, 99, NULL, on_answer, w);
	a = wait_for(w);
	assert_int_equal(a->err, -ENOENT);
	assert_false(a->has_text || a->has_key);
}

static void a_change_affects_only_the_fields_it_names(void **state)
{
	struct world *w = *state;
	uint64_t account = create_account(w, "sub_1");
	struct registry_change change = no_change();
	char label[16] = "a label";
	const struct answer *a;

	change.label = label;
	registry_account_set(w->registry, account, &change, on_answer, w);
	memset(label, 'x', sizeof(label)); /* the string was copied */
	a = wait_for(w);
	assert_int_equal(a->err, 0);
	assert_string_equal(a->account.label, "a label");
	assert_string_equal(a->account.tier, "basic");
	assert_string_equal(a->account.subscription, "sub_1");
	assert_int_equal(a->account.status, STORE_ACTIVE);
	change = no_change();
	change.is_held = 1;
	change.tier = "slow";
	change.customer = "cus_1";
	change.label = "";
	registry_account_set(w->registry, account, &change, on_answer, w);
	a = wait_for(w);
	assert_true(a->account.is_held);
	assert_string_equal(a->account.tier, "slow");
	assert_string_equal(a->account.customer, "cus_1");
	assert_string_equal(a->account.label, "");
	assert_int_equal(slot_of_account(w->f, account)->state, TOLLGATE_SLOT_INACTIVE);
	change = no_change();
	change.is_held = 0;
	registry_account_set(w->registry, account, &change, on_answer, w);
	wait_for(w);
	assert_int_equal(slot_of_account(w->f, account)->state, TOLLGATE_SLOT_OPEN);
	registry_account_set(w->registry, 99, &change, on_answer, w);
	assert_int_equal(wait_for(w)->err, -ENOENT);
}

static void grace_starts_at_the_first_failure(void **state)
{
	struct world *w = *state;
	uint64_t account = create_account(w, "sub_1"), first_ms;
	struct registry_change change = no_change();
	const struct answer *a;

	change.status = STORE_PAST_DUE;
	registry_account_set(w->registry, account, &change, on_answer, w);
	first_ms = wait_for(w)->account.past_due_ms;
	assert_true(first_ms > 0 && first_ms <= clock_wall_ms());
	while (clock_wall_ms() == first_ms)
		;
	registry_account_set(w->registry, account, &change, on_answer, w);
	assert_int_equal(wait_for(w)->account.past_due_ms, first_ms);
	change = no_change();
	change.label = "a change of something else";
	registry_account_set(w->registry, account, &change, on_answer, w);
	assert_int_equal(wait_for(w)->account.past_due_ms, first_ms);
	change.status = STORE_ACTIVE;
	registry_account_set(w->registry, account, &change, on_answer, w);
	assert_int_equal(wait_for(w)->account.past_due_ms, 0);
	change.status = STORE_PAST_DUE;
	registry_account_set(w->registry, account, &change, on_answer, w);
	a = wait_for(w);
	assert_true(a->account.past_due_ms > first_ms);
}

static void a_rotated_key_ends_after_the_overlap(void **state)
{
	struct world *w = *state;
	uint64_t account = create_account(w, "sub_1"), now_ms;
	const struct answer *old = create_key(w, account), *fresh, *third;
	struct store_key key;

	now_ms = clock_wall_ms();
	registry_key_rotate(w->registry, old->key.id, 60000, on_answer, w);
	fresh = wait_for(w);
	assert_int_equal(fresh->err, 0);
	assert_int_equal(fresh->key.account, account);
	assert_string_not_equal(fresh->text, old->text);
	assert_int_equal(verdict(w, fresh->text), TOLLGATE_ALLOW);
	assert_int_equal(verdict(w, old->text), TOLLGATE_ALLOW);
	assert_true(mirror_key_by_id(w->f->mirror, old->key.id, &key));
	assert_in_range(key.revoked_ms, now_ms + 60000, clock_wall_ms() + 60000);
	assert_int_equal(verdict_at(w, old->text, key.revoked_ms), TOLLGATE_REVOKED_KEY);
	/* A second rotation, with a longer overlap, does not extend the first key's life. */
	registry_key_rotate(w->registry, old->key.id, 600000, on_answer, w);
	third = wait_for(w);
	assert_int_equal(third->err, 0);
	now_ms = key.revoked_ms;
	assert_true(mirror_key_by_id(w->f->mirror, old->key.id, &key));
	assert_int_equal(key.revoked_ms, now_ms);
	/* Without an overlap the key ends at once, and a key that has ended cannot be rotated. */
	registry_key_rotate(w->registry, old->key.id, 0, on_answer, w);
	assert_int_equal(wait_for(w)->err, 0);
	assert_int_equal(verdict(w, old->text), TOLLGATE_REVOKED_KEY);
	registry_key_rotate(w->registry, old->key.id, 0, on_answer, w);
	assert_int_equal(wait_for(w)->err, -EKEYREVOKED);
	registry_key_rotate(w->registry, 99, 0, on_answer, w);
	assert_int_equal(wait_for(w)->err, -ENOENT);
	assert_int_equal(mirror_keys(w->f->mirror), 4);
}

static void a_revoked_key_never_becomes_valid_again(void **state)
{
	struct world *w = *state;
	uint64_t account = create_account(w, "sub_1"), later_ms, ended_ms;
	const struct answer *key = create_key(w, account), *a;

	later_ms = clock_wall_ms() + 60000;
	registry_key_revoke(w->registry, key->key.id, later_ms, on_answer, w);
	a = wait_for(w);
	assert_int_equal(a->err, 0);
	assert_int_equal(a->key.revoked_ms, later_ms);
	assert_int_equal(verdict(w, key->text), TOLLGATE_ALLOW);
	registry_key_revoke(w->registry, key->key.id, 1, on_answer, w); /* never before now */
	ended_ms = wait_for(w)->key.revoked_ms;
	assert_in_range(ended_ms, later_ms - 60000, later_ms - 1);
	assert_int_equal(verdict(w, key->text), TOLLGATE_REVOKED_KEY);
	registry_key_revoke(w->registry, key->key.id, later_ms, on_answer, w);
	assert_int_equal(wait_for(w)->key.revoked_ms, ended_ms);
	assert_int_equal(verdict(w, key->text), TOLLGATE_REVOKED_KEY);
	registry_key_revoke(w->registry, 99, 0, on_answer, w);
	assert_int_equal(wait_for(w)->err, -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD(a_new_key_is_accepted_when_its_callback_runs),
		WORLD(a_change_affects_only_the_fields_it_names),
		WORLD(grace_starts_at_the_first_failure),
		WORLD(a_rotated_key_ends_after_the_overlap),
		WORLD(a_revoked_key_never_becomes_valid_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
