// SPDX-License-Identifier: BSD-2-Clause
/*
 * Interfaces: when programs are attached, replaced, kept or left alone; and the self-check.
 *
 * The interfaces are the two ends of a veth pair, edge0 and edge1, in the test's own network
 * namespace.
 */
#include "bpf/fixture.h"
#include "bpf/pair.h"

#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <sys/stat.h>

#include "bpf/pass.skel.h"
#include "fastpath/private.h"

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

static struct fastpath_config config_with(const struct fastpath_listener *listener)
{
	struct fastpath_config config = fixture_config();

	config.listeners = listener;
	config.listener_count = 1;
	return config;
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

static bool is_pinned(const struct fastpath *fp, const char *pin)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", fp->dir, pin);
	return access(path, F_OK) == 0;
}

/* The program attached to the interface at egress. */
static uint32_t egress_on(const char *interface)
{
	LIBBPF_OPTS(bpf_prog_query_opts, query);
	uint32_t ids[4] = { 0 };

	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = if_nametoindex(interface),
		    .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .handle = 1, .priority = 1);

	query.prog_ids = ids;
	query.prog_cnt = 4;
	if (bpf_prog_query_opts(hook.ifindex, 47 /* tcx */, &query)) /* before Linux 6.6 */
		return bpf_tc_query(&hook, &filter) ? 0 : filter.prog_id;
	assert_true(query.prog_cnt <= 1);
	return ids[0];
}

static void listeners_and_ports_follow_the_configuration(void **state)
{
	struct fastpath_listener listener = listener_on(both, 2);
	struct fastpath_config config = config_with(&listener);
	struct tollgate_listener_key key;
	struct fastpath *fp;
	int map, count = 0;

	(void)state;
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
	struct fastpath_listener listener = listener_on(both, 2);
	struct fastpath_config config = config_with(&listener);
	struct fastpath *fp;
	uint32_t link, program;

	(void)state;
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
	assert_int_equal(egress_on("edge1"), 0);
	assert_false(is_pinned(fp, "link-edge1"));
	assert_false(is_pinned(fp, "egress-edge1"));
	fastpath_close(fp, FASTPATH_REMOVE);
	assert_int_equal(program_on("edge0"), 0);
}

static void a_recreated_interface_is_attached_again(void **state)
{
	struct fastpath_listener listener = listener_on(edge0, 1);
	struct fastpath_config config = config_with(&listener);
	struct fastpath *fp;

	(void)state;
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
	struct fastpath_listener listener = listener_on(edge0, 1);
	struct fastpath_config config = config_with(&listener);
	struct fastpath *fp;

	(void)state;
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
	assert_int_not_equal(egress_on("edge0"), 0);
	assert_int_equal(egress_on("other0"), 0);
	fastpath_close(fp, FASTPATH_REMOVE);
}

static void generic_mode_is_used_if_configured(void **state)
{
	struct fastpath_listener listener = listener_on(edge0, 1);
	struct fastpath_config config = config_with(&listener);
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	struct fastpath *fp;

	(void)state;
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
	struct fastpath_listener listener = listener_on(both, 2);
	struct fastpath_config config = config_with(&listener);
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
	struct fastpath_listener listener = listener_on(missing, 2);
	struct fastpath_config config = config_with(&listener);
	struct fastpath *fp;

	(void)state;
	fp = fixture_open(&config);
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), -ENODEV);
	assert_non_null(strstr(why, "nosuch0"));
	assert_int_not_equal(program_on("edge0"), 0);
	fastpath_close(fp, FASTPATH_REMOVE);
}

/*
 * Make what an agent with another layout leaves: a program on edge0, and flows. Returns the flows'
 * fd.
 */
static int leave_older_pins(const struct fastpath *fp, const struct tollgate_flow_key *flow)
{
	struct pass_bpf *pass = pass_bpf__open_and_load();
	int flows = bpf_map_create(BPF_MAP_TYPE_HASH, "flows", sizeof(*flow), 8, 16, NULL);
	int link = bpf_link_create(bpf_program__fd(pass->progs.pass), if_nametoindex("edge0"),
				   BPF_XDP, NULL);
	uint64_t value = 0;
	char path[PATH_MAX];

	assert_true(link >= 0 && flows >= 0);
	assert_int_equal(bpf_map_update_elem(flows, flow, &value, BPF_ANY), 0);
	snprintf(path, sizeof(path), "%s0", fp->dir); /* v30: not ours */
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s0/link-edge0", fp->dir);
	assert_int_equal(bpf_obj_pin(link, path), 0);
	snprintf(path, sizeof(path), "%s0/flows", fp->dir);
	assert_int_equal(bpf_obj_pin(flows, path), 0);
	close(link);
	pass_bpf__destroy(pass);
	return flows;
}

/* Close by RST, so that the kernel has no socket for it from now on. */
static void pair_reset(struct pair *pair)
{
	static const struct linger none = { .l_onoff = 1 };

	setsockopt(pair->server, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	pair_close(pair);
}

static struct tollgate_flow_key key_of_pair(const struct pair *pair)
{
	struct tollgate_flow_key key = { 0 };

	fastpath_map_address(&pair->client_address, key.client_be32, &key.client_port_be16);
	fastpath_map_address(&pair->local_address, key.local_be32, &key.local_port_be16);
	return key;
}

static void another_versions_programs_stay_until_their_connections_end(void **state)
{
	struct fastpath_listener listener = listener_on(edge0, 1);
	struct fastpath_config config = config_with(&listener);
	struct fastpath *fp = fixture_open(&config);
	struct tollgate_flow_key flow;
	struct pair pair;
	uint32_t older;
	char path[PATH_MAX];
	int flows;

	(void)state;
	pair_open(&pair, AF_INET, AF_INET);
	flow = key_of_pair(&pair);
	flows = leave_older_pins(fp, &flow);
	older = program_on("edge0");
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	assert_int_equal(fastpath_interface(fp, 0)->mode, FASTPATH_NONE);
	assert_non_null(strstr(fastpath_interface(fp, 0)->why, "last connections are over"));
	fastpath_attach_waiting(fp);
	assert_int_equal(program_on("edge0"), older);

	pair_reset(&pair);
	fastpath_attach_waiting(fp);
	assert_int_not_equal(program_on("edge0"), older);
	assert_int_equal(fastpath_interface(fp, 0)->mode, FASTPATH_NATIVE);
	assert_string_equal(fastpath_interface(fp, 0)->why, "");
	snprintf(path, sizeof(path), "%s0", fp->dir);
	assert_int_equal(access(path, F_OK), -1);
	close(flows);
	fastpath_close(fp, FASTPATH_REMOVE);
}

/* Enrol a connection and mark it as one that XDP has answered on. */
static uint32_t enrol_shifted(struct fastpath *fp, const struct pair *pair)
{
	uint32_t index;

	assert_int_equal(
		fixture_enter_flow(fp, &pair->client_address, &pair->local_address, &index), 0);
	fastpath_conn(fp, index)->shift.state = TOLLGATE_SHIFT_SHIFTED;
	return index;
}

/* The other version's interface is not in our configuration. */
static void another_versions_leftovers_are_removed_after_its_connections(void **state)
{
	struct fastpath_listener listener = listener_on(&both[1], 1);
	struct fastpath_config config = config_with(&listener);
	struct fastpath *fp = fixture_open(&config);
	struct tollgate_flow_key flow;
	struct pair pair;
	char path[PATH_MAX];
	int flows;

	(void)state;
	pair_open(&pair, AF_INET, AF_INET);
	flow = key_of_pair(&pair);
	flows = leave_older_pins(fp, &flow);
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	assert_int_equal(fastpath_interface(fp, 0)->mode, FASTPATH_NATIVE);
	fastpath_attach_waiting(fp);
	assert_int_not_equal(program_on("edge0"), 0);

	pair_reset(&pair);
	fastpath_attach_waiting(fp);
	assert_int_equal(program_on("edge0"), 0);
	snprintf(path, sizeof(path), "%s0", fp->dir);
	assert_int_equal(access(path, F_OK), -1);
	close(flows);
	fastpath_close(fp, FASTPATH_REMOVE);
}

static bool port_is_ours(const struct fastpath *fp, uint16_t port)
{
	return fp->settings->ports[port / 64] >> port % 64 & 1;
}

static void an_unconfigured_interface_stays_until_its_connections_end(void **state)
{
	struct fastpath_listener listener = listener_on(both, 2);
	struct fastpath_config config = config_with(&listener);
	struct fastpath *fp = fixture_open(&config);
	uint32_t index, link, later;
	struct pair pair, another;
	int on = 1;

	(void)state;
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	link = link_id(fp, "link-edge1");
	pair_open(&pair, AF_INET, AF_INET);
	index = enrol_shifted(fp, &pair);

	listener.interface_count = 1;
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	assert_int_equal(link_id(fp, "link-edge1"), link);
	assert_string_equal(fastpath_interface(fp, 1)->name, "edge1");
	assert_int_equal(fastpath_interface(fp, 1)->mode, FASTPATH_NATIVE);
	assert_non_null(strstr(fastpath_interface(fp, 1)->why, "leaving"));
	assert_string_equal(fastpath_interface(fp, 0)->why, "");
	assert_int_not_equal(program_on("edge1"), program_on("edge0"));
	assert_int_equal(egress_on("edge1"), egress_on("edge0"));
	assert_true(port_is_ours(fp, PACKET_LOCAL_PORT));

	/* Connections answered on later do not keep the interface. */
	close_fd(&pair.listener);
	/* Reading the sequence numbers has cleared the option. */
	setsockopt(pair.server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	pair_open(&another, AF_INET, AF_INET);
	later = enrol_shifted(fp, &another);
	fastpath_attach_waiting(fp);
	assert_int_equal(link_id(fp, "link-edge1"), link);
	pair_reset(&pair);
	fastpath_forget(fp, index);
	assert_int_equal(fastpath_sweep(fp), 0);
	fastpath_attach_waiting(fp);
	assert_null(fastpath_interface(fp, 1)->name);
	assert_int_equal(program_on("edge1"), 0);
	assert_int_equal(egress_on("edge1"), 0);
	assert_false(is_pinned(fp, "link-edge1"));
	assert_false(is_pinned(fp, "egress-edge1"));
	assert_int_not_equal(program_on("edge0"), 0);
	assert_int_not_equal(egress_on("edge0"), 0);
	assert_true(port_is_ours(fp, PACKET_LOCAL_PORT));

	fastpath_forget(fp, later);
	pair_reset(&another);
	fastpath_close(fp, FASTPATH_REMOVE);
	assert_int_equal(egress_on("edge0"), 0);
}

/*
 * An earlier agent's connection, when the new configuration has neither its interface nor its port.
 */
static void an_earlier_agents_interface_and_port_stay_until_its_connections_end(void **state)
{
	struct fastpath_listener listener = listener_on(both, 2);
	struct fastpath_config config = config_with(&listener);
	struct fastpath *fp = fixture_open(&config);
	struct pair pair;
	uint32_t link;

	(void)state;
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	link = link_id(fp, "link-edge1");
	pair_open(&pair, AF_INET, AF_INET);
	enrol_shifted(fp, &pair);
	fastpath_close(fp, FASTPATH_LEAVE);

	listener.interface_count = 1;
	fp = fixture_open(&config);
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	assert_int_equal(fastpath_sweep(fp), 1);
	fastpath_attach_waiting(fp);
	assert_int_equal(link_id(fp, "link-edge1"), link);
	assert_true(port_is_ours(fp, PACKET_LOCAL_PORT));
	assert_true(port_is_ours(fp, 8080));

	pair_reset(&pair);
	assert_int_equal(fastpath_sweep(fp), 0);
	fastpath_attach_waiting(fp);
	assert_int_equal(program_on("edge1"), 0);
	assert_int_equal(egress_on("edge1"), 0);
	assert_false(is_pinned(fp, "link-edge1"));
	assert_false(is_pinned(fp, "egress-edge1"));
	assert_false(port_is_ours(fp, PACKET_LOCAL_PORT));
	assert_true(port_is_ours(fp, 8080));
	fastpath_close(fp, FASTPATH_REMOVE);
}

static void an_unconfigured_interface_is_detached_after_three_minutes(void **state)
{
	struct fastpath_listener listener = listener_on(both, 2);
	struct fastpath_config config = config_with(&listener);
	struct fastpath *fp = fixture_open(&config);
	struct pair pair;

	(void)state;
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	pair_open(&pair, AF_INET, AF_INET);
	enrol_shifted(fp, &pair);
	listener.interface_count = 1;
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	fastpath_attach_waiting(fp);
	assert_int_not_equal(program_on("edge1"), 0);
	assert_true(fp->leave_until_ns > clock_mono_ns() + 170 * NS_PER_SECOND);
	fp->leave_until_ns = clock_mono_ns();
	fastpath_attach_waiting(fp);
	assert_int_equal(program_on("edge1"), 0);
	assert_false(is_pinned(fp, "egress-edge1"));
	pair_reset(&pair);
	fastpath_close(fp, FASTPATH_REMOVE);
}

static void an_interface_that_reappears_is_attached(void **state)
{
	struct fastpath_listener listener = listener_on(edge0, 1);
	struct fastpath_config config = config_with(&listener);
	struct tollgate_listener_key key;
	struct fastpath *fp;
	int map;

	(void)state;
	fp = fixture_open(&config);
	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	assert_int_equal(remove_veth(NULL), 0);
	fastpath_attach_waiting(fp);
	assert_int_equal(fastpath_interface(fp, 0)->mode, FASTPATH_NONE);
	assert_non_null(strstr(fastpath_interface(fp, 0)->why, "no such interface"));

	assert_int_equal(make_veth(NULL), 0);
	fastpath_attach_waiting(fp);
	assert_int_equal(fastpath_interface(fp, 0)->mode, FASTPATH_NATIVE);
	assert_string_equal(fastpath_interface(fp, 0)->why, "");
	assert_int_not_equal(program_on("edge0"), 0);
	assert_int_not_equal(egress_on("edge0"), 0);
	map = fixture_map(fp, "listeners");
	assert_int_equal(bpf_map_get_next_key(map, NULL, &key), 0);
	assert_int_equal(key.ifindex, if_nametoindex("edge0"));
	assert_int_equal(bpf_map_get_next_key(map, &key, &key), -ENOENT);
	close(map);
	fastpath_close(fp, FASTPATH_REMOVE);
	assert_int_equal(program_on("edge0"), 0);
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

/* A wrong sum in the template stands in for a program that computes wrong checksums. */
static void a_program_that_fails_the_self_check_is_not_attached(void **state)
{
	struct fastpath_listener listener = listener_on(edge0, 1);
	struct fastpath_config config = config_with(&listener);
	struct fastpath *fp = fixture_open(&config);

	(void)state;
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
#define WITH_VETH(test) cmocka_unit_test_setup_teardown(test, make_veth, remove_veth)
		WITH_VETH(listeners_and_ports_follow_the_configuration),
		WITH_VETH(a_restart_replaces_the_program_without_detaching),
		WITH_VETH(a_recreated_interface_is_attached_again),
		WITH_VETH(a_renamed_interface_does_not_keep_the_link),
		WITH_VETH(generic_mode_is_used_if_configured),
		WITH_VETH(a_foreign_program_is_named_and_left_alone),
		WITH_VETH(a_missing_interface_leaves_the_others_attached),
		WITH_VETH(another_versions_programs_stay_until_their_connections_end),
		WITH_VETH(another_versions_leftovers_are_removed_after_its_connections),
		WITH_VETH(an_unconfigured_interface_stays_until_its_connections_end),
		WITH_VETH(an_earlier_agents_interface_and_port_stay_until_its_connections_end),
		WITH_VETH(an_unconfigured_interface_is_detached_after_three_minutes),
		WITH_VETH(an_interface_that_reappears_is_attached),
		cmocka_unit_test(the_self_check_leaves_no_trace),
		WITH_VETH(a_program_that_fails_the_self_check_is_not_attached),
	};

	return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
