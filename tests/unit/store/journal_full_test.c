/* SPDX-License-Identifier: BSD-2-Clause */
/* A full journal refuses calls with -ENOSPC, and keeps what it has. */
#include "unit/store/store_fixture.h"

#include "store/redis/journal.h"

static void a_full_journal_refuses_calls_and_drops_nothing(void **state)
{
	struct redis_args args;
	struct journal *journal;
	enum redis_script script;
	uint64_t seq, kept;
	char folder[] = "/tmp/tollgate-journal-XXXXXX", path[96], why[256], body[2000];
	int err;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/j.db", folder);
	assert_int_equal(journal_open(path, 1 << 20, &journal, why, sizeof(why)), 0);
	memset(body, 'x', sizeof(body));
	do {
		redis_function(&args, "tasks_add");
		redis_arg_bytes(&args, body, sizeof(body));
		redis_arg(&args, "");
		err = journal_add_call(journal, REDIS_TASKS, &args);
		redis_args_done(&args);
	} while (!err);
	assert_int_equal(err, -ENOSPC);
	kept = journal_waiting(journal);
	assert_in_range(kept, 300, 600);
	for (uint64_t i = 0; i < kept; i++) {
		assert_int_equal(journal_first_call(journal, &seq, &script, &args), 0);
		assert_int_equal(script, REDIS_TASKS);
		assert_int_equal(seq, i + 1);
		/* EVALSHA sha 0 @journal id seq tasks_add body "" */
		assert_int_equal(args.count, 9);
		assert_int_equal(args.ends[7] - args.ends[6], sizeof(body));
		assert_int_equal(args.ends[8], args.ends[7]);
		redis_args_done(&args);
		assert_int_equal(journal_end_call(journal, seq, NULL), 0);
	}
	assert_int_equal(journal_first_call(journal, &seq, &script, &args), -ENOENT);
	journal_close(journal);
	unlink(path);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_journal_refuses_calls_and_drops_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
