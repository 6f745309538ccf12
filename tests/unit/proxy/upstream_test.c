/* SPDX-License-Identifier: BSD-2-Clause */
/* upstream_test: every server of an upstream gets its turn when others are down. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "proxy/upstream.h"

struct attempt {
	bool is_over;
	int err;
};

static void on_ready(void *owner, int err)
{
	struct attempt *attempt = owner;

	attempt->is_over = true;
	attempt->err = err;
}

static void on_error(void *owner, int err)
{
	on_ready(owner, err);
}

static const struct upstream_events events = { .on_ready = on_ready, .on_error = on_error };

/* A socket at a free port of the loopback, which is its until it is closed. */
static int bind_socket(struct sockaddr_storage *ret_address)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ret_address;
	socklen_t len = sizeof(*in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret_address = (struct sockaddr_storage){ 0 };
	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)in, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)in, &len), 0);
	return fd;
}

/*
 * Open links one after another, as the retries of one request do. How many until one is connected.
 */
static unsigned attempts_until_connected(struct upstreams *set, uv_loop_t *loop)
{
	struct upstream_tried tried = { 0 };
	struct upstream_link *link;
	unsigned attempts = 0;

	for (;;) {
		struct attempt attempt = { 0 };
		int err = upstream_open(set, 0, &tried, &events, &attempt, &link);

		if (err == -EHOSTUNREACH)
			return 0;
		assert_int_equal(err, 0);
		attempts++;
		while (!attempt.is_over)
			uv_run(loop, UV_RUN_ONCE);
		if (!attempt.err) {
			upstream_abandon(link);
			return attempts;
		}
		assert_int_equal(attempt.err, -ECONNREFUSED);
	}
}

static void the_last_of_many_servers_is_reached_when_the_others_are_down(void **state)
{
	static const unsigned counts[] = { 1, 2, 64, 65, 70, 128, UPSTREAM_MAX_SERVERS };
	struct sockaddr_storage servers[UPSTREAM_MAX_SERVERS];
	int fds[UPSTREAM_MAX_SERVERS];

	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	/* Bound but not listening: connections to all but the last are refused. */
	for (unsigned i = 0; i < UPSTREAM_MAX_SERVERS; i++)
		fds[i] = bind_socket(&servers[i]);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		unsigned count = counts[i], first = UPSTREAM_MAX_SERVERS - count;
		struct upstream_config config = { .name = (char *)"many",
						  .servers = servers + first,
						  .server_count = count,
						  .connect_ms = 5000,
						  .max_idle = 1,
						  .max_connections = 4 };
		struct upstreams *set;
		uv_loop_t loop;

		assert_int_equal(listen(fds[UPSTREAM_MAX_SERVERS - 1], 64), 0);
		assert_int_equal(uv_loop_init(&loop), 0);
		set = upstreams_new(&loop, &config, 1);
		assert_non_null(set);
		/* In turn first, and then, when the others are known to be down, at once. */
		assert_int_equal(attempts_until_connected(set, &loop), count);
		assert_int_equal(attempts_until_connected(set, &loop), 1);
		for (unsigned j = 0; j + 1 < count; j++)
			assert_true(upstream_is_failing(set, 0, j));
		assert_false(upstream_is_failing(set, 0, count - 1));
		upstreams_free(set, NULL, NULL);
		uv_run(&loop, UV_RUN_DEFAULT);
		assert_int_equal(uv_loop_close(&loop), 0);
	}
	for (unsigned i = 0; i < UPSTREAM_MAX_SERVERS; i++)
		close(fds[i]);
}

static void when_all_servers_are_down_each_is_tried_once(void **state)
{
	struct sockaddr_storage servers[UPSTREAM_MAX_SERVERS];
	struct upstream_config config = { .name = (char *)"down",
					  .servers = servers,
					  .server_count = UPSTREAM_MAX_SERVERS,
					  .connect_ms = 5000,
					  .max_connections = 4 };
	int fds[UPSTREAM_MAX_SERVERS];
	struct upstreams *set;
	uv_loop_t loop;

	(void)state;
	for (unsigned i = 0; i < UPSTREAM_MAX_SERVERS; i++)
		fds[i] = bind_socket(&servers[i]);
	assert_int_equal(uv_loop_init(&loop), 0);
	set = upstreams_new(&loop, &config, 1);
	assert_non_null(set);
	assert_int_equal(attempts_until_connected(set, &loop), 0);
	for (unsigned i = 0; i < UPSTREAM_MAX_SERVERS; i++)
		assert_true(upstream_is_failing(set, 0, i));
	upstreams_free(set, NULL, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	for (unsigned i = 0; i < UPSTREAM_MAX_SERVERS; i++)
		close(fds[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_of_many_servers_is_reached_when_the_others_are_down),
		cmocka_unit_test(when_all_servers_are_down_each_is_tried_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
