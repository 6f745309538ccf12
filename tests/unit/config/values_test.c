/* SPDX-License-Identifier: BSD-2-Clause */
/* values_test: what valid configurations contain: defaults, values, tiers and routes. */
#include "unit/config/config_fixture.h"

#include <stdlib.h>

#include <netinet/in.h>

static void defaults_are_those_of_the_sample(void **state)
{
	struct config *c = parse_ok("listeners: [{ name: a, address: \"[::1]:80\" }]\n");

	(void)state;
	assert_string_equal(c->store, "sqlite:/var/lib/tollgate/tollgate.db");
	assert_string_equal(c->state_dir, "/var/lib/tollgate");
	assert_string_equal(c->pepper_file, "/var/lib/tollgate/pepper");
	assert_string_equal(c->admin_socket, "/run/tollgate/admin.sock");
	assert_false(c->has_admin_address);
	assert_string_equal(c->instance, "default");
	assert_string_equal(c->key_prefix, "tg_live");
	assert_null(c->user);
	assert_int_equal(c->log, LOG_LEVEL_INFO);
	assert_int_equal(c->workers, 0);
	assert_int_equal(c->max_accounts, 131072);
	assert_int_equal(c->max_stale_ms, 900000);
	assert_false(c->refuse_when_stale);
	assert_int_equal(c->drain_ms, 30000);
	assert_memory_equal(&c->limits, &http_default_limits, sizeof(c->limits));
	assert_int_equal(c->fastpath.mode, FASTPATH_AUTO);
	assert_int_equal(c->fastpath.action, TOLLGATE_ACTION_ANSWER);
	assert_false(c->fastpath.required);
	assert_int_equal(c->fastpath.tolerance, 10);
	assert_int_equal(c->fastpath.stale_after_ms, 60000);
	assert_int_equal(c->fastpath.max_flows, 65536);
	assert_int_equal(c->fastpath.event_every, 100);
	assert_int_equal(c->listeners[0].address.ss_family, AF_INET6);
	config_free(c);
}

static void servers_and_listeners_are_stored(void **state)
{
	const struct upstream_config *u;
	const struct config_listener *l;
	struct config *c =
		parse_ok("listeners: [{ name: a, address: \"1.2.3.4:80\",\n"
			 "  interfaces: [eth0, eth1], certificate: c.pem, private_key: /k.pem }]\n"
			 "upstreams: [{ name: u, servers: [\"1.2.3.4:5\", \"[::1]:6\"],\n"
			 "  connect_timeout: 1s, answer_timeout: 2s, body_timeout: 3s,\n"
			 "  idle_timeout: 4s, max_idle: 5, max_connections: 6 }]\n"
			 "admin: { socket: /s, address: \"127.0.0.1:9901\" }\n"
			 "trusted_proxies: [10.0.0.0/8]\n");

	(void)state;
	l = &c->listeners[0];
	assert_int_equal(l->interface_count, 2);
	assert_string_equal(l->interfaces[1], "eth1");
	assert_string_equal(l->certificate, "c.pem");
	assert_string_equal(l->private_key, "/k.pem");
	u = &c->upstreams[0];
	assert_int_equal(u->server_count, 2);
	assert_int_equal(u->servers[1].ss_family, AF_INET6);
	assert_int_equal(ntohs(((struct sockaddr_in *)&u->servers[0])->sin_port), 5);
	assert_int_equal(u->connect_ms, 1000);
	assert_int_equal(u->answer_ms, 2000);
	assert_int_equal(u->body_ms, 3000);
	assert_int_equal(u->idle_ms, 4000);
	assert_int_equal(u->max_idle, 5);
	assert_int_equal(u->max_connections, 6);
	assert_string_equal(c->admin_socket, "/s");
	assert_true(c->has_admin_address);
	assert_int_equal(c->trusted_proxy_count, 1);
	assert_int_equal(c->trusted_proxies[0].prefix_bits, 104);
	config_free(c);
}

static void single_values_are_stored(void **state)
{
	struct config *c;

	(void)state;
	setenv("TOLLGATE_TEST_DIR", "/srv", 1);
	setenv("TOLLGATE_TEST_EMPTY", "", 1);
	c = parse_ok("state_dir: ${TOLLGATE_TEST_DIR}/t\n"
		     "user: ${TOLLGATE_TEST_EMPTY:-nobody}\n"
		     "listeners: [{ name: a, address: \"1.2.3.4:80\" }]\n"
		     "limits: { head: 8k, body: 2m, head_timeout: 1s, body_timeout: 2s, "
		     "idle_timeout: 3s,\n"
		     "  write_timeout: 4s, max_requests: 5, max_connections: 6 }\n"
		     "workers: 2\ninstance: blue\npepper_file: /p\nlog: debug\nkey_prefix: k1\n"
		     "max_accounts: 10\nmax_stale: 1m\non_stale: refuse\ndrain: 5s\n"
		     "fastpath: { mode: none, action: observe, required: true, tolerance: 3,\n"
		     "  stale_after: 5s, max_flows: 7, event_every: 0 }\n");
	assert_string_equal(c->state_dir, "/srv/t");
	assert_string_equal(c->store, "sqlite:/srv/t/tollgate.db");
	assert_string_equal(c->user, "nobody");
	assert_int_equal(c->limits.head_bytes, 8192);
	assert_int_equal(c->limits.body_bytes, 2 << 20);
	assert_int_equal(c->limits.head_ms, 1000);
	assert_int_equal(c->limits.body_ms, 2000);
	assert_int_equal(c->limits.idle_ms, 3000);
	assert_int_equal(c->limits.write_ms, 4000);
	assert_int_equal(c->limits.max_requests, 5);
	assert_int_equal(c->limits.max_connections, 6);
	assert_int_equal(c->workers, 2);
	assert_string_equal(c->instance, "blue");
	assert_string_equal(c->pepper_file, "/p");
	assert_int_equal(c->log, LOG_LEVEL_DEBUG);
	assert_string_equal(c->key_prefix, "k1");
	assert_int_equal(c->max_accounts, 10);
	assert_int_equal(c->max_stale_ms, 60000);
	assert_true(c->refuse_when_stale);
	assert_int_equal(c->drain_ms, 5000);
	assert_int_equal(c->fastpath.mode, FASTPATH_NONE);
	assert_int_equal(c->fastpath.action, TOLLGATE_ACTION_OBSERVE);
	assert_true(c->fastpath.required);
	assert_int_equal(c->fastpath.tolerance, 3);
	assert_int_equal(c->fastpath.stale_after_ms, 5000);
	assert_int_equal(c->fastpath.max_flows, 7);
	assert_int_equal(c->fastpath.event_every, 0);
	config_free(c);
}

static void tiers_and_routes_are_ready_for_use(void **state)
{
	struct config *c = parse_ok(
		"listeners: [{ name: a, address: \"1.2.3.4:80\" }]\n"
		"routes:\n"
		"  - { path: /, upstream: b }\n"
		"  - { path: /long/, upstream: c, feature: y, cost: 0, cors: true, host: h }\n"
		"  - { path: /p, upstream: c, public: true }\n"
		"upstreams: [{ name: b, servers: [\"1.2.3.4:5\"] },\n"
		"  { name: c, servers: [\"1.2.3.4:6\"] }]\n"
		"tiers:\n"
		"  - { name: t, prices: [p1, p2], rate: 90/m, quota: 5/day, features: [x, y] }\n"
		"  - { name: u, rate: 3/s, burst: 7, quota: 6/month, concurrency: 8,\n"
		"      features: [y], meter: m }\n"
		"  - { name: v, rate: 1/h }\n");
	const struct tier *t = tiers_find(&c->tiers, "t"), *u = tiers_find(&c->tiers, "u");
	const struct route *r = c->routes.list;

	(void)state;
	assert_int_equal(t->interval_ns, 60000000000 / 90);
	assert_int_equal(t->burst, 90);
	assert_int_equal(tiers_find(&c->tiers, "v")->burst, 1);
	assert_int_equal(t->price_count, 2);
	assert_int_equal(t->period, TOLLGATE_PERIOD_DAY);
	assert_int_equal(t->features, 3);
	assert_null(t->meter);
	assert_int_equal(u->burst, 7);
	assert_int_equal(u->limit_ns, 7 * (1000000000ULL / 3));
	assert_int_equal(u->quota, 6);
	assert_int_equal(u->period, TOLLGATE_PERIOD_MONTH);
	assert_int_equal(u->concurrency, 8);
	assert_int_equal(u->features, 2);
	assert_string_equal(u->meter, "m");

	assert_string_equal(r[0].path,
			    "/long/"); /* the longest first, whatever the order in the file */
	assert_int_equal(r[0].upstream, 1);
	assert_int_equal(r[0].cost, 0);
	assert_int_equal(r[0].feature, 1);
	assert_true(r[0].cors);
	assert_string_equal(r[0].host, "h");
	assert_true(r[1].is_public);
	assert_string_equal(r[2].path, "/");
	assert_int_equal(r[2].cost, 1);
	assert_int_equal(r[2].feature, -1);
	config_free(c);
}

static void the_default_burst_is_the_number_of_the_rate_and_at_least_ten(void **state)
{
	static const struct {
		const char *rate;
		uint64_t burst;
		const char *why;
	} cases[] = {
		{ "100/m", 100, "100 requests per 60 seconds" },
		{ "60/m", 60, "not one, as 60 requests a minute are one a second" },
		{ "10/m", 10, "the number itself is ten" },
		{ "5/m", 5, "ten would be what the rate allows in two minutes" },
		{ "1/m", 1, "the least" },
		{ "100/s", 100, "100 requests per second" },
		{ "3/s", 10, "at least ten, less than the rate allows in a minute" },
		{ "1/s", 10, "the same" },
		{ "3600/h", 3600, "3600 requests per hour" },
		{ "7/h", 7, "seven per hour" },
		{ "1/h", 1, "one per hour" },
		{ "1000000000/s", 1000000000, "the largest burst" },
		{ "60000000000/m", 1000000000, "not above the largest burst" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config *c;
		char text[256];

		snprintf(text, sizeof(text),
			 "listeners: [{ name: a, address: \"1.2.3.4:80\" }]\n"
			 "tiers: [{ name: t, rate: %s }]\n",
			 cases[i].rate);
		c = parse_ok(text);
		if (c->tiers.list[0].burst != cases[i].burst)
			fail_msg("%s: burst %llu, not %llu: %s", cases[i].rate,
				 (unsigned long long)c->tiers.list[0].burst,
				 (unsigned long long)cases[i].burst, cases[i].why);
		config_free(c);
	}
}

static void server_names_are_resolved(void **state)
{
	struct config *c = parse_ok("listeners: [{ name: a, address: \"1.2.3.4:80\" }]\n"
				    "upstreams: [{ name: u, servers: [\"localhost:80\"] }]\n");
	const struct sockaddr_in *server = (void *)&c->upstreams[0].servers[0];

	(void)state;
	assert_int_equal(c->upstreams[0].server_count, 1);
	assert_int_equal(server->sin_family, AF_INET);
	assert_int_equal(ntohl(server->sin_addr.s_addr), INADDR_LOOPBACK);
	assert_int_equal(ntohs(server->sin_port), 80);
	config_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_the_sample),
		cmocka_unit_test(servers_and_listeners_are_stored),
		cmocka_unit_test(single_values_are_stored),
		cmocka_unit_test(tiers_and_routes_are_ready_for_use),
		cmocka_unit_test(the_default_burst_is_the_number_of_the_rate_and_at_least_ten),
		cmocka_unit_test(server_names_are_resolved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
