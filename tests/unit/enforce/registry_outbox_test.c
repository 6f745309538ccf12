/* SPDX-License-Identifier: BSD-2-Clause */
/* registry_outbox_test: tasks that are stored together with a change of an account. */
#include "unit/enforce/registry_fixture.h"

#include "unit/enforce/registry_subscription.h"

/* What the outbox was asked, and what it answers. */
struct outbox {
	int asked, err;
	bool had_before;
	struct store_account before, after;
};

static int note_change(void *arg, const struct store_account *before,
		       const struct store_account *after,
		       struct store_task ret_tasks[REGISTRY_TASKS_MAX])
{
	struct outbox *o = arg;

	o->asked++;
	o->had_before = before;
	o->before = before ? *before : (struct store_account){ 0 };
	o->after = *after;
	strcpy(ret_tasks[0].queue, "hook");
	snprintf(ret_tasks[0].id, sizeof(ret_tasks[0].id), "task_%d", o->asked);
	ret_tasks[0].body = strdup("body");
	return o->err ? o->err : 1;
}

static size_t found_count;

static void on_found(void *arg, int err, const struct store_task *tasks, size_t count)
{
	(void)arg;
	(void)tasks;
	assert_int_equal(err, 0);
	found_count = count;
}

static bool has_task(struct world *w, const char *id)
{
	store_task_find(w->store, "hook", id, on_found, NULL);
	run(w);
	return found_count;
}

static void each_change_of_an_account_asks_the_outbox_once(void **state)
{
	struct store_account account = { .status = STORE_ACTIVE, .tier = "basic" };
	struct registry_change change = { .status = -1, .is_held = 1, .mode = -1 };
	struct registry_subscription s = make_subscription();
	struct world *w = *state;
	struct outbox o = { 0 };
	uint64_t id;

	registry_set_outbox(w->registry, note_change, &o);
	registry_account_create(w->registry, &account, on_answer, w);
	id = wait_for(w)->account.id;
	assert_true(o.asked == 1 && !o.had_before && o.after.id == id && has_task(w, "task_1"));
	registry_account_set(w->registry, id, &change, on_answer, w);
	assert_int_equal(wait_for(w)->err, 0);
	assert_true(o.asked == 2 && o.had_before && !o.before.is_held && o.after.is_held &&
		    has_task(w, "task_2"));
	assert_true(apply(w, &s)->has_account);
	assert_true(o.asked == 3 && !o.had_before && has_task(w, "task_3"));
	s.tier = "pro";
	s.as_of_s++;
	assert_string_equal(apply(w, &s)->account.tier, "pro");
	assert_true(o.asked == 4 && o.had_before && has_task(w, "task_4"));
	assert_string_equal(o.before.tier, "basic");
	assert_string_equal(known(w, "sub_1").tier, "pro");
	registry_set_outbox(w->registry, NULL, NULL);
	change.is_held = 0;
	registry_account_set(w->registry, id, &change, on_answer, w);
	assert_int_equal(wait_for(w)->err, 0);
	assert_int_equal(o.asked, 4);
}

static void a_change_fails_with_its_outbox(void **state)
{
	struct store_account account = { .status = STORE_ACTIVE, .tier = "basic" };
	struct world *w = *state;
	struct outbox o = { .err = -ENOMEM };

	registry_set_outbox(w->registry, note_change, &o);
	registry_account_create(w->registry, &account, on_answer, w);
	assert_int_equal(wait_for(w)->err, -ENOMEM);
	assert_false(has_task(w, "task_1"));
	assert_int_equal(mirror_accounts(w->f->mirror), 0);
	o.err = 0;
	registry_account_create(w->registry, &account, on_answer, w); /* the next one is served */
	assert_int_equal(wait_for(w)->err, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD(each_change_of_an_account_asks_the_outbox_once),
		WORLD(a_change_fails_with_its_outbox),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
