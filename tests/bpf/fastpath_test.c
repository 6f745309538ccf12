// SPDX-License-Identifier: BSD-2-Clause
/*
 * The agent's side of the fast path: pins, records, and the reasons shown to the operator.
 */
#include "bpf/fixture.h"

#include <bpf/libbpf.h>
#include <pthread.h>

#include "fastpath/private.h"

#define ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))
#define THREADS	    4
#define ROUNDS	    2000

static char why[256];

static void a_restart_finds_the_slots_as_they_were(void **state)
{
	struct fastpath_config config = fixture_config();
	struct sockaddr_storage client = fixture_address(AF_INET, "10.0.0.1", 1);
	struct fastpath *fp = fixture_open(&config);
	uint32_t index;

	(void)state;
	assert_false(fastpath_was_pinned(fp));
	assert_int_equal(fastpath_slots(fp)[7].account_id, 0);
	fastpath_slots(fp)[7].account_id = 77;
	fastpath_settings(fp)->slots.epoch = 99;
	assert_int_equal(fixture_enter_flow(fp, &client, &client, &index), 0);
	fastpath_close(fp, FASTPATH_LEAVE);

	fp = fixture_open(&config);
	assert_true(fastpath_was_pinned(fp));
	assert_int_equal(fastpath_slots(fp)[7].account_id, 77);
	assert_int_equal(fastpath_settings(fp)->slots.epoch, 99);
	/* XDP may have answered on it, so it is kept until the kernel has no socket for it. */
	assert_int_equal(fastpath_conn(fp, index)->generation, 1);
	assert_int_equal(fastpath_conn(fp, index)->claim, TOLLGATE_CLAIM_AGENT);
	assert_int_equal(fastpath_enrolled(fp), 1);
	assert_int_equal(fastpath_sweep(fp), 0);
	assert_int_equal(fastpath_conn(fp, index)->generation, 2);
	assert_int_equal(fastpath_enrolled(fp), 0);
	fastpath_close(fp, FASTPATH_LEAVE);

	fp = fixture_open(&config);
	assert_int_equal(fixture_enter_flow(fp, &client, &client, &index), 0);
	fastpath_close(fp, FASTPATH_LEAVE);
	config.max_flows *= 2; /* new maps would lose the connection, so this has no effect yet */
	fp = fixture_open(&config);
	assert_int_equal(fastpath_enrolled(fp), 1);
	assert_int_equal(fp->max_flows, config.max_flows / 2);
	assert_int_equal(fastpath_sweep(fp), 0);
	fastpath_close(fp, FASTPATH_LEAVE);
	fp = fixture_open(&config);
	assert_true(fastpath_was_pinned(fp));
	fastpath_close(fp, FASTPATH_REMOVE);
	fp = fixture_open(&config);
	assert_false(fastpath_was_pinned(fp));
	assert_int_equal(fastpath_slots(fp)[7].account_id, 0);
	fastpath_close(fp, FASTPATH_REMOVE);
	assert_int_equal(rmdir(fixture_bpffs), -1);
	assert_int_equal(errno, EBUSY); /* not ENOTEMPTY: only the mount is left */
}

static void changing_max_accounts_fails_with_a_reason(void **state)
{
	struct fastpath_config config = fixture_config();
	struct fastpath *fp = fixture_open(&config), *other = NULL;

	(void)state;
	fastpath_close(fp, FASTPATH_LEAVE);
	config.max_accounts = 16;
	assert_int_equal(fastpath_open(&config, &other, why, sizeof(why)), -EEXIST);
	assert_null(other);
	assert_non_null(strstr(why, "max_accounts 8, not 16"));

	config.instance = "two.0";
	other = fixture_open(&config);
	assert_false(fastpath_was_pinned(other));
	fastpath_close(other, FASTPATH_REMOVE);
	config = fixture_config();
	fp = fixture_open(&config);
	assert_true(fastpath_was_pinned(fp));
	fastpath_close(fp, FASTPATH_REMOVE);
}

static void an_instance_in_use_cannot_be_opened_again(void **state)
{
	struct fastpath_config config = fixture_config();
	struct fastpath *fp = fixture_open(&config), *other = NULL;

	(void)state;
	fastpath_slots(fp)[7].account_id = 77;
	assert_int_equal(fastpath_open(&config, &other, why, sizeof(why)), -EBUSY);
	assert_null(other);
	assert_non_null(strstr(why, "in use by another tollgate"));
	assert_int_equal(fastpath_slots(fp)[7].account_id, 77);
	fastpath_close(fp, FASTPATH_LEAVE);
	fp = fixture_open(&config);
	fastpath_close(fp, FASTPATH_REMOVE);
}

static void a_missing_requirement_is_named(void **state)
{
	struct fastpath_config config = fixture_config();
	struct fastpath *fp = NULL;

	(void)state;
	config.bpffs = "/proc";
	assert_int_equal(fastpath_open(&config, &fp, why, sizeof(why)), -ENODEV);
	assert_non_null(strstr(why, "mount -t bpf bpf /proc"));
	config = fixture_config();
	config.mode = FASTPATH_NONE;
	assert_int_equal(fastpath_open(&config, &fp, why, sizeof(why)), -ENOTSUP);
	assert_null(fp);
}

static void a_record_is_odd_while_it_is_in_use(void **state)
{
	struct fastpath_config config = fixture_config();
	struct fastpath *fp = fixture_open(&config);
	struct sockaddr_storage client = fixture_address(AF_INET6, "fd00::1", 1000);
	struct sockaddr_storage local = fixture_address(AF_INET6, "fd00::2", 443);
	struct tollgate_conn *conn;
	uint32_t first, second;

	(void)state;
	assert_int_equal(fixture_enter_flow(fp, &client, &local, &first), 0);
	conn = fastpath_conn(fp, first);
	assert_int_equal(conn->generation, 1);
	assert_int_equal(conn->slot, TOLLGATE_NO_SLOT);
	conn->answered = 12345;
	fastpath_forget(fp, first);
	fastpath_forget(fp, first);
	assert_int_equal(conn->generation, 2);

	assert_int_equal(fixture_enter_flow(fp, &client, &local, &second), 0);
	conn = fastpath_conn(fp, second);
	assert_int_equal(second, first);
	assert_int_equal(conn->generation, 3);
	assert_int_equal(conn->answered, 0);
	fastpath_close(fp, FASTPATH_REMOVE);
}

/* A client may reuse its port before its old connection is forgotten. */
static void a_late_forget_leaves_the_new_connection_enrolled(void **state)
{
	struct fastpath_config config = fixture_config();
	struct fastpath *fp = fixture_open(&config);
	struct sockaddr_storage client = fixture_address(AF_INET, "10.0.0.1", 1000);
	struct sockaddr_storage local = fixture_address(AF_INET, "10.0.0.2", 443);
	struct tollgate_flow_key key;
	struct tollgate_flow flow;
	uint32_t first, second;
	int flows;

	(void)state;
	assert_int_equal(fixture_enter_flow(fp, &client, &local, &first), 0);
	assert_int_equal(fixture_enter_flow(fp, &client, &local, &second), 0);
	assert_int_not_equal(first, second);
	fastpath_forget(fp, first);
	flows = fixture_map(fp, "flows");
	assert_int_equal(bpf_map_get_next_key(flows, NULL, &key), 0);
	assert_int_equal(bpf_map_lookup_elem(flows, &key, &flow), 0);
	assert_int_equal(flow.conn_index, second);
	fastpath_forget(fp, second);
	assert_int_equal(bpf_map_get_next_key(flows, NULL, &key), -ENOENT);
	close(flows);
	fastpath_close(fp, FASTPATH_REMOVE);
}

static void full_tables_return_enospc(void **state)
{
	struct fastpath_config config = fixture_config();
	struct fastpath *fp = fixture_open(&config);
	struct sockaddr_storage local = fixture_address(AF_INET, "10.0.0.2", 443);
	struct sockaddr_storage unix_address = { .ss_family = AF_UNIX }, client;
	uint32_t index, last = 0;

	(void)state;
	for (unsigned i = 0; i < FIXTURE_FLOWS; i++) {
		client = fixture_address(AF_INET, "10.0.0.1", 1000 + i);
		assert_int_equal(fixture_enter_flow(fp, &client, &local, &last), 0);
	}
	client = fixture_address(AF_INET, "10.0.0.1", 999);
	assert_int_equal(fixture_enter_flow(fp, &client, &local, &index), -ENOSPC);
	assert_int_equal(fixture_enter_flow(fp, &unix_address, &local, &index), -ENOTSUP);
	fastpath_forget(fp, last);
	assert_int_equal(fixture_enter_flow(fp, &client, &local, &index), 0);
	assert_int_equal(index, last);
	fastpath_close(fp, FASTPATH_REMOVE);
}

struct worker {
	struct fastpath *fp;
	uint16_t number;
	int failures;
};

static void *enrol_and_forget(void *arg)
{
	struct worker *w = arg;
	struct sockaddr_storage client = fixture_address(AF_INET, "10.0.0.1", w->number);
	struct sockaddr_storage local = fixture_address(AF_INET, "10.0.0.2", 443);
	uint32_t index;

	for (unsigned i = 0; i < ROUNDS; i++) {
		if (fixture_enter_flow(w->fp, &client, &local, &index) != 0) {
			w->failures++;
			continue;
		}
		/* No other worker has the record: what we wrote is still there. */
		fastpath_conn(w->fp, index)->active_ns = w->number;
		sched_yield();
		w->failures += fastpath_conn(w->fp, index)->active_ns != w->number;
		fastpath_forget(w->fp, index);
	}
	return NULL;
}

static void workers_never_share_a_record(void **state)
{
	struct fastpath_config config = fixture_config();
	struct fastpath *fp = fixture_open(&config);
	struct worker workers[THREADS];
	pthread_t threads[THREADS];

	(void)state;
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .fp = fp, .number = i + 1 };
		assert_int_equal(pthread_create(&threads[i], NULL, enrol_and_forget, &workers[i]),
				 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(workers[i].failures, 0);
	}
	fastpath_close(fp, FASTPATH_REMOVE);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_restart_finds_the_slots_as_they_were),
		cmocka_unit_test(changing_max_accounts_fails_with_a_reason),
		cmocka_unit_test(an_instance_in_use_cannot_be_opened_again),
		cmocka_unit_test(a_missing_requirement_is_named),
		cmocka_unit_test(a_record_is_odd_while_it_is_in_use),
		cmocka_unit_test(a_late_forget_leaves_the_new_connection_enrolled),
		cmocka_unit_test(full_tables_return_enospc),
		cmocka_unit_test(workers_never_share_a_record),
	};

	return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
