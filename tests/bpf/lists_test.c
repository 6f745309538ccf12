// SPDX-License-Identifier: BSD-2-Clause
/*
 * How the operators' lists decide about a SYN. Without an entry it passes; in rows with `penalty`
 * its source is in penalty, so without an entry it is dropped.
 */
#include "bpf/fixture.h"

#define ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

enum end { FOR_EVER, ENDED, LATER };

struct list_entry {
	const char *block; /* NULL ends the list */
	bool is_allowed;
	enum end end;
};

struct row {
	const char *why;
	int family;
	struct list_entry entries[4];
	bool penalty;
	int verdict, counter;
	void (*change)(struct fastpath *fp);
};

#define NONE                          \
	{                             \
		NULL, false, FOR_EVER \
	}
#define DENY(block)                    \
	{                              \
		block, false, FOR_EVER \
	}
#define DENY_ENDED(block)           \
	{                           \
		block, false, ENDED \
	}
#define DENY_LATER(block)           \
	{                           \
		block, false, LATER \
	}
#define ALLOW(block)                  \
	{                             \
		block, true, FOR_EVER \
	}
#define ALLOW_ENDED(block)         \
	{                          \
		block, true, ENDED \
	}

#define PASSES(name)   XDP_PASS, TOLLGATE_COUNTER_PASS_##name
#define DROPS(name)    XDP_DROP, TOLLGATE_COUNTER_DROP_##name
#define OBSERVES(name) XDP_PASS, TOLLGATE_COUNTER_OBSERVE_##name

static void enter_listener(const struct fastpath *fp)
{
	struct tollgate_listener_key key = { .port_be16 = htons(PACKET_LOCAL_PORT), .ifindex = 1 };
	int fd = fixture_map(fp, "listeners");

	assert_int_equal(bpf_map_update_elem(fd, &key, &(uint32_t){ 1 }, BPF_ANY), 0);
	close(fd);
}

static void leave_listener(struct fastpath *fp)
{
	struct tollgate_listener_key key = { .port_be16 = htons(PACKET_LOCAL_PORT), .ifindex = 1 };
	int fd = fixture_map(fp, "listeners");

	assert_int_equal(bpf_map_delete_elem(fd, &key), 0);
	close(fd);
}

static struct fastpath *open_all(void)
{
	struct fastpath_config config = fixture_config();
	struct fastpath *fp = fixture_open(&config);
	char why[256];

	assert_int_equal(fastpath_attach(fp, &config, why, sizeof(why)), 0);
	fastpath_settings(fp)->ports[PACKET_LOCAL_PORT / 64] |= 1ULL << PACKET_LOCAL_PORT % 64;
	enter_listener(fp);
	return fp;
}

static void enter(struct fastpath *fp, const struct row *row)
{
	uint64_t now_ns = clock_mono_ns();
	uint32_t count = 0;

	for (size_t i = 0; i < ELEMENTS(row->entries) && row->entries[i].block; i++) {
		const struct list_entry *entry = &row->entries[i];
		uint64_t until_ns = entry->end == FOR_EVER ? 0
				    : entry->end == ENDED  ? now_ns - 1
							   : now_ns + 50 * NS_PER_SECOND;
		struct cidr block;

		assert_int_equal(cidr_parse(text_of(entry->block), &block), 0);
		assert_int_equal(
			xdp_list_put(fastpath_plane(fp), &block, entry->is_allowed, until_ns), 0);
		count++;
	}
	xdp_set_list_count(fastpath_plane(fp), count);
}

static void penalize(struct fastpath *fp, int family)
{
	struct sockaddr_storage client =
		fixture_address(family, family == AF_INET6 ? PACKET_CLIENT6 : PACKET_CLIENT4, 1);

	assert_int_equal(xdp_penalize_source(fastpath_plane(fp), &client,
					     clock_mono_ns() + 50 * NS_PER_SECOND),
			 0);
}

static void run_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int family = rows[i].family ? rows[i].family : AF_INET, verdict;
		struct packet packet = packet_build(
			&(struct packet_spec){ .family = family, .flags = PACKET_SYN });
		uint64_t before[TOLLGATE_COUNTER_COUNT];
		struct fastpath *fp = open_all();

		enter(fp, &rows[i]);
		if (rows[i].penalty)
			penalize(fp, family);
		if (rows[i].change)
			rows[i].change(fp);
		assert_int_equal(fastpath_read_counters(fp, before), 0);
		verdict = fixture_run(fp, packet.data, packet.len);
		if (verdict != rows[i].verdict)
			fail_msg("%s: verdict %d, expected %d", rows[i].why, verdict,
				 rows[i].verdict);
		fixture_assert_counted(fp, before, rows[i].counter, rows[i].why);
		fastpath_close(fp, FASTPATH_REMOVE);
	}
}

static void the_most_specific_entry_decides(void **state)
{
	static const struct row rows[] = {
		{ "no entry", 0, { NONE }, false, PASSES(SYN), NULL },
		{ "the address itself", 0, { DENY("10.9.0.1") }, false, DROPS(DENIED), NULL },
		{ "its block", 0, { DENY("10.9.0.0/16") }, false, DROPS(DENIED), NULL },
		{ "all of IPv4", 0, { DENY("0.0.0.0/0") }, false, DROPS(DENIED), NULL },
		{ "the neighbouring address", 0, { DENY("10.9.0.0") }, false, PASSES(SYN), NULL },
		{ "another block", 0, { DENY("10.8.0.0/16") }, false, PASSES(SYN), NULL },
		{ "IPv6", AF_INET6, { DENY("fd09::/16") }, false, DROPS(DENIED), NULL },
		{ "an IPv6 address",
		  AF_INET6,
		  { DENY("fd09::1:2:3:4") },
		  false,
		  DROPS(DENIED),
		  NULL },
		{ "IPv6 does not match IPv4 blocks",
		  AF_INET6,
		  { DENY("0.0.0.0/0") },
		  false,
		  PASSES(SYN),
		  NULL },
		{ "all addresses", AF_INET6, { DENY("::/0") }, false, DROPS(DENIED), NULL },
		{ "allowed within denied",
		  0,
		  { DENY("10.0.0.0/8"), ALLOW("10.9.0.1") },
		  false,
		  PASSES(SYN),
		  NULL },
		{ "denied within allowed",
		  0,
		  { ALLOW("10.0.0.0/8"), DENY("10.9.0.0/24") },
		  false,
		  DROPS(DENIED),
		  NULL },
		{ "three deep",
		  0,
		  { DENY("10.0.0.0/8"), ALLOW("10.9.0.0/16"), DENY("10.9.0.1") },
		  false,
		  DROPS(DENIED),
		  NULL },
	};

	(void)state;
	run_rows(rows, ELEMENTS(rows));
}

static void an_allowed_source_is_exempt_from_penalties(void **state)
{
	static const struct row rows[] = {
		{ "not listed", 0, { NONE }, true, DROPS(SOURCE), NULL },
		{ "allowed", 0, { ALLOW("10.9.0.0/16") }, true, PASSES(SYN), NULL },
		{ "allowed, IPv6", AF_INET6, { ALLOW("fd09::/16") }, true, PASSES(SYN), NULL },
		{ "denied and in penalty", 0, { DENY("10.9.0.1") }, true, DROPS(DENIED), NULL },
		{ "the allow entry has expired",
		  0,
		  { ALLOW_ENDED("10.9.0.0/16") },
		  true,
		  DROPS(SOURCE),
		  NULL },
	};

	(void)state;
	run_rows(rows, ELEMENTS(rows));
}

static void an_expired_entry_has_no_effect(void **state)
{
	static const struct row rows[] = {
		{ "not expired yet", 0, { DENY_LATER("10.9.0.1") }, false, DROPS(DENIED), NULL },
		{ "expired", 0, { DENY_ENDED("10.9.0.1") }, false, PASSES(SYN), NULL },
		{ "the wider block applies again",
		  0,
		  { DENY("10.9.0.0/16"), ALLOW_ENDED("10.9.0.1") },
		  false,
		  DROPS(DENIED),
		  NULL },
		{ "two nested blocks have expired",
		  0,
		  { DENY("10.0.0.0/8"), ALLOW_ENDED("10.9.0.0/16"), ALLOW_ENDED("10.9.0.1") },
		  false,
		  DROPS(DENIED),
		  NULL },
		{ "all addresses, expired",
		  AF_INET6,
		  { DENY_ENDED("::/0") },
		  false,
		  PASSES(SYN),
		  NULL },
	};

	(void)state;
	run_rows(rows, ELEMENTS(rows));
}

static void observe(struct fastpath *fp)
{
	fastpath_set_action(fp, TOLLGATE_ACTION_OBSERVE);
}

static void miss_heartbeats(struct fastpath *fp)
{
	fastpath_settings(fp)->stale_after_ns = NS_PER_MS;
	fastpath_beat(fp, clock_mono_ns() - 2 * NS_PER_MS);
}

static void set_list_count_to_zero(struct fastpath *fp)
{
	xdp_set_list_count(fastpath_plane(fp), 0);
}

static void remove_entry(struct fastpath *fp)
{
	struct cidr block;

	assert_int_equal(cidr_parse(TEXT("10.9.0.0/16"), &block), 0);
	xdp_list_remove(fastpath_plane(fp), &block);
}

static void a_denied_source_passes_if_nothing_may_be_refused(void **state)
{
	static const struct row rows[] = {
		{ "observe", 0, { DENY("10.9.0.0/16") }, false, OBSERVES(DENIED), observe },
		{ "no agent", 0, { DENY("10.9.0.0/16") }, false, PASSES(STALE), miss_heartbeats },
		{ "no listener", 0, { DENY("10.9.0.0/16") }, false, PASSES(SYN), leave_listener },
		{ "the count of entries is 0",
		  0,
		  { DENY("10.9.0.0/16") },
		  false,
		  PASSES(SYN),
		  set_list_count_to_zero },
		{ "removed", 0, { DENY("10.9.0.0/16") }, false, PASSES(SYN), remove_entry },
	};

	(void)state;
	run_rows(rows, ELEMENTS(rows));
}

static void on_event(void *arg, const struct tollgate_event *event)
{
	*(struct tollgate_event *)arg = *event;
}

static void a_denied_syn_sends_an_event(void **state)
{
	static const struct row row = { .entries = { DENY("10.9.0.1") } };
	struct packet packet = packet_build(&(struct packet_spec){ .flags = PACKET_SYN });
	struct tollgate_event event = { 0 };
	struct fastpath *fp = open_all();

	(void)state;
	enter(fp, &row);
	assert_int_equal(fixture_run(fp, packet.data, packet.len), XDP_DROP);
	assert_int_equal(fastpath_poll_events(fp, on_event, &event), 1);
	assert_int_equal(event.verdict, TOLLGATE_DENIED);
	fastpath_close(fp, FASTPATH_REMOVE);
}

static void an_agent_starts_with_empty_lists(void **state)
{
	static const struct row row = { .entries = { DENY("10.9.0.1") } };
	struct packet packet = packet_build(&(struct packet_spec){ .flags = PACKET_SYN });
	struct fastpath *fp = open_all();

	(void)state;
	enter(fp, &row);
	fastpath_close(fp, FASTPATH_LEAVE);
	fp = open_all();
	xdp_set_list_count(fastpath_plane(fp), 1);
	assert_int_equal(fixture_run(fp, packet.data, packet.len), XDP_PASS);
	fastpath_close(fp, FASTPATH_REMOVE);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_most_specific_entry_decides),
		cmocka_unit_test(an_allowed_source_is_exempt_from_penalties),
		cmocka_unit_test(an_expired_entry_has_no_effect),
		cmocka_unit_test(a_denied_source_passes_if_nothing_may_be_refused),
		cmocka_unit_test(a_denied_syn_sends_an_event),
		cmocka_unit_test(an_agent_starts_with_empty_lists),
	};

	return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
