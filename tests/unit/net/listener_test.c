/* SPDX-License-Identifier: BSD-2-Clause */
/* Listening sockets: addresses as text, stale Unix sockets, and running out of descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "net/conn.h"
#include "net/listener.h"

static void addresses_are_parsed_and_formatted(void **state)
{
	static const struct {
		const char *text;
		int err;
	} rows[] = {
		{ "127.0.0.1:80", 0 },
		{ "0.0.0.0:0", 0 },
		{ "[::1]:65535", 0 },
		{ "[2001:db8::1]:8443", 0 },
		{ "", -EINVAL },
		{ "127.0.0.1", -EINVAL },
		{ "127.0.0.1:", -EINVAL },
		{ "127.0.0.1:65536", -EINVAL },
		{ "::1:80", -EINVAL },
		{ "[127.0.0.1]:80", -EINVAL },
		{ "localhost:80", -EINVAL },
		{ ":80", -EINVAL },
		{ "[]:80", -EINVAL },
		{ "127.0.0.1:8x", -EINVAL },
		{ "127.1:80", -EINVAL },
		{ "[::1]80", -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sockaddr_storage address;
		char text[64] = "";
		int err = listener_parse_address(rows[i].text, &address);

		if (err != rows[i].err)
			fail_msg("'%s': %d", rows[i].text, err);
		if (err)
			continue;
		listener_format_address(&address, text, sizeof(text));
		assert_string_equal(text, rows[i].text);
	}
}

struct fixture {
	uv_loop_t loop;
	unsigned connections;
	char dir[32];
	char path[64];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/listener_XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/socket", f->dir);
	assert_int_equal(uv_loop_init(&f->loop), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	unlink(f->path);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void on_connection(struct listener *l)
{
	struct fixture *f = listener_owner(l);
	struct conn *c;

	f->connections++;
	assert_int_equal(conn_accept(listener_stream(l), NULL, NULL, NULL, &c), 0);
	conn_close(c, false);
}

static int dial(const struct sockaddr *address, socklen_t len)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, address, len), 0);
	return fd;
}

static void a_unix_socket_is_for_its_owner_only(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct listener *l, *second;
	mode_t mask = umask(0);
	struct stat st;
	int fd;

	assert_int_equal(listener_open_unix(&f->loop, f->path, on_connection, f, &l), 0);
	umask(mask);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(listener_port(l), 0);
	assert_int_equal(listener_open_unix(&f->loop, f->path, on_connection, f, &second),
			 -EADDRINUSE);
	strcpy(address.sun_path, f->path);
	fd = dial((struct sockaddr *)&address, sizeof(address));
	for (int i = 0; i < 1000 && f->connections < 2; i++)
		uv_run(&f->loop, UV_RUN_NOWAIT);
	assert_int_equal(f->connections, 2); /* the check for a live socket, and this one */
	close(fd);
	listener_close(l);
	assert_int_equal(access(f->path, F_OK), -1);
}

static void a_stale_unix_socket_is_replaced_but_no_file(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct listener *l;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, f->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd); /* the file stays */
	assert_int_equal(listener_open_unix(&f->loop, f->path, on_connection, f, &l), 0);
	listener_close(l);
	fd = open(f->path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(listener_open_unix(&f->loop, f->path, on_connection, f, &l), -EADDRINUSE);
	assert_int_equal(access(f->path, F_OK), 0);
}

static void every_worker_may_bind_the_same_port(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_storage address;
	struct listener *l, *second;
	char text[64];

	assert_int_equal(listener_parse_address("127.0.0.1:0", &address), 0);
	assert_int_equal(listener_open_tcp(&f->loop, &address, on_connection, f, &l), 0);
	assert_true(listener_port(l) > 0);
	snprintf(text, sizeof(text), "127.0.0.1:%u", listener_port(l));
	listener_parse_address(text, &address);
	assert_int_equal(listener_open_tcp(&f->loop, &address, on_connection, f, &second), 0);
	listener_close(l);
	listener_close(second);
	listener_parse_address("192.0.2.1:80", &address);
	assert_int_equal(listener_open_tcp(&f->loop, &address, on_connection, f, &l),
			 -EADDRNOTAVAIL);
}

static void the_last_descriptors_are_not_for_connections(void **state)
{
	enum { COUNT = 40 };
	struct fixture *f = *state;
	struct sockaddr_storage address;
	struct rlimit old, few;
	struct listener *l;
	int fds[COUNT];
	char text[64];
	char byte;

	log_set_level(LOG_LEVEL_ERROR);
	getrlimit(RLIMIT_NOFILE, &old);
	for (int i = 0; i < COUNT; i++)
		fds[i] = open("/dev/null", O_RDONLY);
	few = (struct rlimit){ .rlim_cur = fds[COUNT - 1] + 8, .rlim_max = old.rlim_max };
	setrlimit(RLIMIT_NOFILE, &few);
	listener_parse_address("127.0.0.1:0", &address);
	assert_int_equal(listener_open_tcp(&f->loop, &address, on_connection, f, &l), 0);
	snprintf(text, sizeof(text), "127.0.0.1:%u", listener_port(l));
	listener_parse_address(text, &address);
	close(fds[0]);
	fds[0] = dial((struct sockaddr *)&address, sizeof(struct sockaddr_in));
	for (int i = 0; i < 100; i++)
		uv_run(&f->loop, UV_RUN_NOWAIT);
	assert_int_equal(f->connections, 0);
	assert_true(recv(fds[0], &byte, 1, MSG_DONTWAIT) < 0);
	assert_int_equal(errno, ECONNRESET);
	for (int i = 1; i < COUNT; i++)
		close(fds[i]);
	close(fds[0]);
	fds[0] = dial((struct sockaddr *)&address, sizeof(struct sockaddr_in));
	for (int i = 0; i < 1000 && !f->connections; i++)
		uv_run(&f->loop, UV_RUN_NOWAIT);
	assert_int_equal(f->connections, 1); /* and it goes on accepting */
	close(fds[0]);
	setrlimit(RLIMIT_NOFILE, &old);
	log_set_level(LOG_LEVEL_INFO);
	listener_close(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_parsed_and_formatted),
		cmocka_unit_test_setup_teardown(a_unix_socket_is_for_its_owner_only, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_stale_unix_socket_is_replaced_but_no_file, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(every_worker_may_bind_the_same_port, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(the_last_descriptors_are_not_for_connections,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
