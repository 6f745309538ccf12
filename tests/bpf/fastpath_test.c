// SPDX-License-Identifier: BSD-2-Clause
/*
 * The agent's side of the fast path: pins, records, interfaces, and the sentences for people.
 *
 * Interfaces are the two ends of a veth pair, edge0 and edge1, in the test's own network namespace.
 */
#include "bpf/fixture.h"

#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <pthread.h>

#include "bpf/pass.skel.h"
#include "enforce/fastpath_private.h"

#define ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))
#define THREADS	    4
#define ROUNDS	    2000

static const char *const edge0[] = { "edge0" };
static const char *const both[] = { "edge0", "edge1" };
static const char *const missing[] = { "nosuch0", "edge0" };

static char why[256];

static struct fastpath_listener listener_on(const char *const *interfaces, unsigned count)
{
	return (struct fastpath_listener){ .address = fixture_address(AF_INET, "0.0.0.0", 8080),
					   .interfaces = interfaces,
					   .interface_count = count };
}

static int make_veth(void **state)
{
	(void)state;
	return system("ip link add edge0 type veth peer name edge1 && ip link set edge0 up && "
		      "ip link set edge1 up");
}

static int remove_veth(void **state)
{
	(void)state;
	return system("ip link del edge0");
}

static uint32_t program_on(const char *interface)
{
	uint32_t id = 0;

	assert_int_equal(bpf_xdp_query_id(if_nametoindex(interface), 0, &id), 0);
	return id;
}

static uint32_t link_id(const struct fastpath *fp, const char *pin)
{
	struct bpf_link_info info = { 0 };
	unsigned size = sizeof(info);
	int fd = fixture_map(fp, pin);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size), 0);
	close(fd);
	return info.id;
}

static void a_successor_finds_the_slots_as_they_were(void **state)
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
	/* XDP may have answered on it, so it is kept until it is known to be over. */
	assert_int_equal(fastpath_conn(fp, index)->generation, 1);
	assert_int_equal(fastpath_conn(fp, index)->claim, TOLLGATE_CLAIM_AGENT);
	assert_int_equal(fastpath_enrolled(fp), 1);
	assert_int_equal(fastpath_sweep(fp), 0);
	assert_int_equal(fastpath_conn(fp, index)->generation, 2);
	assert_int_equal(fastpath_enrolled(fp), 0);
	fastpath_close(fp, FASTPATH_LEAVE);

	config.max_flows *= 2;
	fp = fixture_open(&config);
	assert_true(fastpath_was_pinned(fp));
	fastpath_close(fp, FASTPATH_REMOVE);
	fp = fixture_open(&config);
	assert_false(fastpath_was_pinned(fp));
	assert_int_equal(fastpath_slots(fp)[7].account_id, 0);
	fastpath_close(fp, FASTPATH_REMOVE);
	assert_int_equal(rmdir(fixture_bpffs), -1);
	assert_int_equal(errno, EBUSY); /* not ENOTEMPTY: nothing but the mount is left */
}

static void another_number_of_accounts_is_refused_in_words(void **state)
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

static void an_instance_in_use_is_nobody_elses(void **state)
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

static void what_is_missing_is_named(void **state)
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
static void a_late_forget_leaves_the_successor_enrolled(void **state)
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

static void full_tables_are_no_space(void **state)
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
		/* nobody else may hold the record: what was written is still there */
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

static void listeners_and_ports_follow_the_configuration(void **state)
{
	struct fastpath_config config = fixture_config();
	struct fastpath_listener listener = listener_on(both, 2);
	struct tollgate_listener_key key;
	struct fastpath *fp;
	int map, count = 0;

	(void)state;
	config.listeners = &listener;
	config.listener_count = 1;
	fp = fixture_open(&config);
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	assert_int_equal(fastpath_settings(fp)->ports[8080 / 64], 1ULL << 8080 % 64);
	map = fixture_map(fp, "listeners");
	for (bool more = bpf_map_get_next_key(map, NULL, &key) == 0; more; count++)
		more = bpf_map_get_next_key(map, &key, &key) == 0;
	assert_int_equal(count, 2);

	listener = listener_on(edge0, 1);
	((struct sockaddr_in *)&listener.address)->sin_port = htons(9090);
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	assert_int_equal(fastpath_settings(fp)->ports[8080 / 64], 0);
	assert_int_equal(fastpath_settings(fp)->ports[9090 / 64], 1ULL << 9090 % 64);
	assert_int_equal(bpf_map_get_next_key(map, NULL, &key), 0);
	assert_int_equal(ntohs(key.port_be16), 9090);
	assert_int_equal(key.ifindex, if_nametoindex("edge0"));
	assert_int_equal(bpf_map_get_next_key(map, &key, &key), -ENOENT);
	assert_int_equal(program_on("edge1"), 0);
	close(map);
	fastpath_close(fp, FASTPATH_REMOVE);
}

static void a_restart_replaces_the_program_without_detaching(void **state)
{
	struct fastpath_config config = fixture_config();
	struct fastpath_listener listener = listener_on(both, 2);
	struct fastpath *fp;
	uint32_t link, program;

	(void)state;
	config.listeners = &listener;
	config.listener_count = 1;
	fp = fixture_open(&config);
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	assert_int_equal(fastpath_interface(fp, 0)->mode, FASTPATH_NATIVE);
	assert_string_equal(fastpath_interface(fp, 1)->name, "edge1");
	assert_null(fastpath_interface(fp, 2)->name);
	link = link_id(fp, "link-edge0");
	program = program_on("edge0");
	fastpath_close(fp, FASTPATH_LEAVE);
	assert_int_equal(program_on("edge0"), program);

	listener.interface_count = 1;
	fp = fixture_open(&config);
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	assert_int_equal(link_id(fp, "link-edge0"), link);
	assert_int_not_equal(program_on("edge0"), program);
	assert_int_not_equal(program_on("edge0"), 0);
	assert_int_equal(program_on("edge1"), 0); /* no longer configured */
	fastpath_close(fp, FASTPATH_REMOVE);
	assert_int_equal(program_on("edge0"), 0);
}

static void an_interface_made_anew_is_attached_anew(void **state)
{
	struct fastpath_config config = fixture_config();
	struct fastpath_listener listener = listener_on(edge0, 1);
	struct fastpath *fp;

	(void)state;
	config.listeners = &listener;
	config.listener_count = 1;
	fp = fixture_open(&config);
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	fastpath_close(fp, FASTPATH_LEAVE);
	assert_int_equal(remove_veth(NULL), 0);
	assert_int_equal(make_veth(NULL), 0);
	fp = fixture_open(&config);
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	assert_int_not_equal(program_on("edge0"), 0);
	fastpath_close(fp, FASTPATH_REMOVE);
}

static void a_renamed_interface_does_not_keep_the_link(void **state)
{
	struct fastpath_config config = fixture_config();
	struct fastpath_listener listener = listener_on(edge0, 1);
	struct fastpath *fp;

	(void)state;
	config.listeners = &listener;
	config.listener_count = 1;
	fp = fixture_open(&config);
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	fastpath_close(fp, FASTPATH_LEAVE);
	assert_int_equal(system("ip link set edge0 down && ip link set edge0 name other0 && "
				"ip link set edge1 down && ip link set edge1 name edge0"),
			 0);
	fp = fixture_open(&config);
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	assert_int_not_equal(program_on("edge0"), 0);
	assert_int_equal(program_on("other0"), 0);
	fastpath_close(fp, FASTPATH_REMOVE);
}

static void generic_mode_is_had_when_asked_for(void **state)
{
	struct fastpath_config config = fixture_config();
	struct fastpath_listener listener = listener_on(edge0, 1);
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	struct fastpath *fp;

	(void)state;
	config.listeners = &listener;
	config.listener_count = 1;
	for (enum fastpath_mode mode = FASTPATH_NATIVE; mode <= FASTPATH_GENERIC; mode++) {
		config.mode = mode;
		fp = fixture_open(&config);
		assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
		assert_int_equal(fastpath_interface(fp, 0)->mode, mode);
		assert_int_equal(bpf_xdp_query(if_nametoindex("edge0"), 0, &query), 0);
		assert_int_equal(query.attach_mode,
				 mode == FASTPATH_NATIVE ? XDP_ATTACHED_DRV : XDP_ATTACHED_SKB);
		fastpath_close(fp, mode == FASTPATH_GENERIC ? FASTPATH_REMOVE : FASTPATH_LEAVE);
	}
}

static void a_foreign_program_is_named_and_left_alone(void **state)
{
	struct fastpath_config config = fixture_config();
	struct fastpath_listener listener = listener_on(both, 2);
	struct pass_bpf *foreign = pass_bpf__open_and_load();
	int ifindex = if_nametoindex("edge0");
	struct fastpath *fp;
	uint32_t program;

	(void)state;
	assert_non_null(foreign);
	assert_int_equal(bpf_xdp_attach(ifindex, bpf_program__fd(foreign->progs.pass),
					XDP_FLAGS_DRV_MODE, NULL),
			 0);
	program = program_on("edge0");
	config.listeners = &listener;
	config.listener_count = 1;
	fp = fixture_open(&config);
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), -EBUSY);
	assert_non_null(strstr(why, "interface edge0: "));
	assert_non_null(strstr(why, "'pass'"));
	assert_int_equal(fastpath_interface(fp, 0)->mode, FASTPATH_NONE);
	assert_int_equal(fastpath_interface(fp, 1)->mode, FASTPATH_NATIVE);
	fastpath_close(fp, FASTPATH_REMOVE);
	assert_int_equal(program_on("edge0"), program);
	assert_int_equal(bpf_xdp_detach(ifindex, XDP_FLAGS_DRV_MODE, NULL), 0);
	pass_bpf__destroy(foreign);
}

static void a_missing_interface_leaves_the_others_attached(void **state)
{
	struct fastpath_config config = fixture_config();
	struct fastpath_listener listener = listener_on(missing, 2);
	struct fastpath *fp;

	(void)state;
	config.listeners = &listener;
	config.listener_count = 1;
	fp = fixture_open(&config);
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), -ENODEV);
	assert_non_null(strstr(why, "nosuch0"));
	assert_int_not_equal(program_on("edge0"), 0);
	fastpath_close(fp, FASTPATH_REMOVE);
}

static void the_self_check_leaves_no_trace(void **state)
{
	struct fastpath_config config = fixture_config();
	struct fastpath *fp = fixture_open(&config);
	uint64_t counters[TOLLGATE_COUNTER_COUNT];

	(void)state;
	fastpath_set_action(fp, TOLLGATE_ACTION_OFF);
	fastpath_settings(fp)->stale_after_ns = 60000000000; /* as fastpath_attach() has it */
	if (fastpath_check(fp, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(fastpath_enrolled(fp), 0);
	assert_int_equal(fastpath_settings(fp)->check_port_be16, 0);
	for (unsigned i = 0; i < 65536 / 64; i++)
		assert_int_equal(fastpath_settings(fp)->ports[i], 0);
	assert_int_equal(fastpath_read_counters(fp, counters), 0);
	for (unsigned i = 0; i < TOLLGATE_COUNTER_COUNT; i++)
		assert_int_equal(counters[i], 0);
	fastpath_close(fp, FASTPATH_REMOVE);
}

/* The template's sum is what a wrong program would get wrong. */
static void what_answers_wrongly_is_not_attached(void **state)
{
	struct fastpath_config config = fixture_config();
	struct fastpath_listener listener = listener_on(edge0, 1);
	struct fastpath *fp = fixture_open(&config);

	(void)state;
	config.listeners = &listener;
	config.listener_count = 1;
	fastpath_put_template(fp, 0, TOLLGATE_TEMPLATE_REVOKED, TEXT("HTTP/1.1 401 No\r\n\r\n"),
			      (uint16_t[]){ 0, 0 });
	fp->templates[TOLLGATE_TEMPLATE_REVOKED].sum++;
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), -EBADMSG);
	assert_non_null(strstr(why, "wrong checksum"));
	assert_int_equal(program_on("edge0"), 0);
	fp->templates[TOLLGATE_TEMPLATE_REVOKED].sum--;
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	assert_int_not_equal(program_on("edge0"), 0);
	fastpath_close(fp, FASTPATH_REMOVE);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_successor_finds_the_slots_as_they_were),
		cmocka_unit_test(another_number_of_accounts_is_refused_in_words),
		cmocka_unit_test(an_instance_in_use_is_nobody_elses),
		cmocka_unit_test(what_is_missing_is_named),
		cmocka_unit_test(a_record_is_odd_while_it_is_in_use),
		cmocka_unit_test(a_late_forget_leaves_the_successor_enrolled),
		cmocka_unit_test(full_tables_are_no_space),
		cmocka_unit_test(workers_never_share_a_record),
#define WITH_VETH(test) cmocka_unit_test_setup_teardown(test, make_veth, remove_veth)
		WITH_VETH(listeners_and_ports_follow_the_configuration),
		WITH_VETH(a_restart_replaces_the_program_without_detaching),
		WITH_VETH(an_interface_made_anew_is_attached_anew),
		WITH_VETH(a_renamed_interface_does_not_keep_the_link),
		WITH_VETH(generic_mode_is_had_when_asked_for),
		WITH_VETH(a_foreign_program_is_named_and_left_alone),
		WITH_VETH(a_missing_interface_leaves_the_others_attached),
		cmocka_unit_test(the_self_check_leaves_no_trace),
		WITH_VETH(what_answers_wrongly_is_not_attached),
	};

	return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
