/* SPDX-License-Identifier: BSD-2-Clause */
/* registry_keys_test: revoking all keys of an account, and keys that can be claimed only once. */
#include "unit/enforce/registry_fixture.h"

/* The verdict for a request now. The bucket is full. */
static enum tollgate_verdict verdict_of(struct world *w, uint64_t account, const char *key)
{
	struct tollgate_slot *slot = slot_of_account(w->f, account);

	slot->tat_ns = 0;
	slot->concurrency = 0;
	return verdict_at(w, key, clock_wall_ms());
}

static void all_keys_end_but_not_those_created_afterwards(void **state)
{
	struct world *w = *state;
	uint64_t account = create_account(w, "sub_1"), other = create_account(w, "sub_2");
	char old[2][KEY_TEXT_SIZE], others[KEY_TEXT_SIZE];
	const struct answer *a;

	strcpy(old[0], create_key(w, account)->text);
	strcpy(old[1], create_key(w, account)->text);
	strcpy(others, create_key(w, other)->text);
	for (unsigned round = 0; round < 50; round++) {
		/* Usually all of this happens within one millisecond. */
		registry_keys_revoke(w->registry, account, on_answer, w);
		registry_key_create(w->registry, account, NULL, on_answer, w);
		run(w);
		a = &w->answers[w->taken++ % MAX_ANSWERS];
		assert_int_equal(a->err, 0);
		assert_int_equal(a->account.id, account);
		assert_int_equal(a->changed, round ? 1 : 2);
		a = &w->answers[w->taken++ % MAX_ANSWERS];
		assert_int_equal(a->err, 0);
		for (unsigned i = 0; i < 2; i++)
			assert_int_equal(verdict_of(w, account, old[i]), TOLLGATE_REVOKED_KEY);
		assert_int_equal(verdict_of(w, account, a->text), TOLLGATE_ALLOW);
		strcpy(old[round % 2], a->text);
	}
	assert_int_equal(verdict_of(w, other, others), TOLLGATE_ALLOW);
	registry_keys_revoke(w->registry, 99, on_answer, w);
	assert_int_equal(wait_for(w)->err, -ENOENT);
}

static void all_keys_end_but_not_those_imported_afterwards(void **state)
{
	struct world *w = *state;
	uint64_t account = create_account(w, "sub_1");
	char last[32] = PLAIN_KEY, key[32];

	for (unsigned round = 0; round < 50; round++) {
		struct registry_import import = { .account = account };

		snprintf(key, sizeof(key), "an-imported-key-%u", round + 2);
		import.key = text_of(key);
		/* The import is requested before all keys end, and runs afterwards. */
		registry_keys_revoke(w->registry, account, on_answer, w);
		registry_keys_import(w->registry, &import, 1, on_answer, w);
		run(w);
		assert_int_equal(w->answers[w->taken++ % MAX_ANSWERS].err, 0);
		assert_int_equal(w->answers[w->taken++ % MAX_ANSWERS].added, 1);
		assert_int_equal(verdict_of(w, account, key), TOLLGATE_ALLOW);
		assert_int_not_equal(verdict_of(w, account, last), TOLLGATE_ALLOW);
		strcpy(last, key);
	}
}

static void a_rotation_overlap_ends_with_all_keys(void **state)
{
	struct world *w = *state;
	uint64_t account = create_account(w, "sub_1");
	const struct answer *old = create_key(w, account);

	registry_key_rotate(w->registry, old->key.id, 60000, on_answer, w);
	assert_int_equal(wait_for(w)->err, 0);
	assert_int_equal(verdict(w, old->text), TOLLGATE_ALLOW);
	registry_keys_revoke(w->registry, account, on_answer, w);
	assert_int_equal(wait_for(w)->changed, 2);
	assert_int_equal(verdict(w, old->text), TOLLGATE_REVOKED_KEY);
}

static void claim(struct world *w, uint64_t account, const char *session)
{
	registry_key_claim(w->registry, account, session, "from the checkout", on_answer, w);
}

struct found {
	size_t count;
	struct store_task task;
};

static void on_found(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct found *found = arg;

	assert_int_equal(err, 0);
	found->count = count;
	if (count)
		found->task = tasks[0];
}

static void a_session_gives_one_key(void **state)
{
	struct world *w = *state;
	uint64_t account = create_account(w, "sub_1"), other = create_account(w, "sub_2");
	char session[] = "cs_1", id[ACCOUNT_ID_SIZE];
	struct found found = { 0 };
	const struct answer *a;

	claim(w, account, session);
	claim(w, account, session); /* calls back at once */
	memset(session, 'x', sizeof(session) - 1);
	run(w);
	a = &w->answers[w->taken++];
	assert_int_equal(a->err, 0);
	assert_true(a->has_key && a->has_text);
	assert_string_equal(a->key.label, "from the checkout");
	assert_int_equal(verdict(w, a->text), TOLLGATE_ALLOW);
	store_task_find(w->store, REGISTRY_CLAIMS, "cs_1", on_found, &found);
	run(w);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.task.state, STORE_TASK_DONE);
	assert_int_equal(found.task.account, account);
	account_format_key_id(a->key.id, id);
	assert_string_equal(found.task.object, id);
	a = &w->answers[w->taken++];
	assert_int_equal(a->err, -EEXIST);
	assert_false(a->has_key || a->has_text);
	claim(w, other, "cs_1"); /* not even for another account */
	assert_int_equal(wait_for(w)->err, -EEXIST);
	assert_int_equal(mirror_keys(w->f->mirror), 1);
	claim(w, account, "cs_2");
	assert_int_equal(wait_for(w)->err, 0);
}

static void a_failed_claim_may_be_repeated(void **state)
{
	struct world *w = *state;
	char longer[STORE_TASK_ID_MAX + 1];
	uint64_t account;

	claim(w, 99, "cs_1");
	assert_int_equal(wait_for(w)->err, -ENOENT);
	w->taken = w->answer_count = 0;
	account = create_account(w, "sub_1");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	claim(w, account, longer);
	assert_int_equal(wait_for(w)->err, -EINVAL);
	claim(w, account, "");
	assert_int_equal(wait_for(w)->err, -EINVAL);
	claim(w, account, longer + 1);
	assert_int_equal(wait_for(w)->err, 0);
	claim(w, account, "cs_1");
	assert_int_equal(wait_for(w)->err, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD(all_keys_end_but_not_those_created_afterwards),
		WORLD(all_keys_end_but_not_those_imported_afterwards),
		WORLD(a_rotation_overlap_ends_with_all_keys),
		WORLD(a_session_gives_one_key),
		WORLD(a_failed_claim_may_be_repeated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
