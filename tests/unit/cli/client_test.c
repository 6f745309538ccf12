/* SPDX-License-Identifier: BSD-2-Clause */
/* client_test: answers and failures, from a server of one canned answer on a Unix socket. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/client.h"

struct server {
	char directory[32], path[64];
	int listener;
	const char *answer;
	char request[4096]; /* what came in the first read */
	pthread_t thread;
};

static void *serve(void *arg)
{
	struct server *s = arg;
	int fd = accept(s->listener, NULL, NULL);
	ssize_t len = fd >= 0 ? read(fd, s->request, sizeof(s->request) - 1) : -1;

	s->request[len > 0 ? len : 0] = '\0';
	if (len > 0 && write(fd, s->answer, strlen(s->answer)) < 0)
		s->request[0] = '\0';
	if (fd >= 0)
		close(fd);
	return NULL;
}

static void server_start(struct server *s, const char *answer)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	*s = (struct server){ .directory = "/tmp/client_test.XXXXXX", .answer = answer };
	assert_non_null(mkdtemp(s->directory));
	snprintf(s->path, sizeof(s->path), "%s/socket", s->directory);
	strcpy(address.sun_path, s->path);
	s->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(s->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(s->listener, 4), 0);
	if (answer)
		assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_stop(struct server *s)
{
	if (s->answer)
		pthread_join(s->thread, NULL);
	close(s->listener);
	unlink(s->path);
	rmdir(s->directory);
}

static void answers_and_refusals_are_told_apart(void **state)
{
	static const struct {
		const char *answer;
		int err;
		unsigned status;
		const char *error, *why;
	} rows[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}", 0, 200, "",
		  "an answer" },
		{ "HTTP/1.1 404 Not Found\r\nContent-Length: 36\r\n\r\n"
		  "{\"status\":404,\"detail\":\"no account x\"}",
		  -EREMOTEIO, 404, "HTTP status 404", "a problem document that is cut short" },
		{ "HTTP/1.1 404 Not Found\r\nContent-Length: 38\r\n\r\n"
		  "{\"status\":404,\"detail\":\"no account x\"}",
		  -EREMOTEIO, 404, "no account x", "a problem document" },
		{ "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops", -EREMOTEIO, 502,
		  "HTTP status 502", "an error without a document" },
		{ "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 2\r\n\r\n{}", -EREMOTEIO,
		  302, "HTTP status 302", "no redirect is followed" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", -EPROTO, 200, "is not JSON",
		  "something else that speaks HTTP" },
		{ "SSH-2.0-OpenSSH\r\n", -EIO, 0, "failed", "something that does not" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\n{\"a\":1}", -EIO, 0, "failed",
		  "an answer that is cut short" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct server server;
		struct client client;
		json_t *answer = NULL;
		int err;

		server_start(&server, rows[i].answer);
		client_init(&client, server.path);
		err = client_call(&client, "GET", "/api/v1/status", NULL, &answer);
		if (err != rows[i].err || client.status != rows[i].status || !answer != !!err ||
		    !strstr(client.error, rows[i].error))
			fail_msg("%s: %d, status %u, %s", rows[i].why, err, client.status,
				 client.error);
		json_decref(answer);
		client_done(&client);
		server_stop(&server);
	}
}

static void a_body_is_sent_as_json_with_its_method(void **state)
{
	json_t *body = json_pack("{s:b}", "held", 1), *answer = NULL;
	struct server server;
	struct client client;

	(void)state;
	server_start(&server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
	client_init(&client, server.path);
	assert_int_equal(client_call(&client, "PATCH", "/api/v1/accounts/x", body, &answer), 0);
	client_done(&client);
	server_stop(&server);
	assert_ptr_equal(strstr(server.request, "PATCH /api/v1/accounts/x HTTP/1.1\r\n"),
			 server.request);
	assert_non_null(strstr(server.request, "Content-Type: application/json\r\n"));
	assert_non_null(strstr(server.request, "{\"held\":true}"));
	json_decref(answer);
	json_decref(body);
}

static void an_agent_that_is_not_there_is_said_to_be_so(void **state)
{
	struct server server;
	struct client client;
	json_t *answer = NULL;
	char longest[200];

	(void)state;
	client_init(&client, "/nonexistent/socket");
	assert_int_equal(client_call(&client, "GET", "/", NULL, &answer), -ENOTCONN);
	assert_string_equal(client.error, "tollgate is not running at /nonexistent/socket "
					  "(No such file or directory)");
	client_done(&client);

	server_start(&server, NULL);
	close(server.listener); /* the file stays, and nobody listens */
	server.listener = -1;
	client_init(&client, server.path);
	assert_int_equal(client_call(&client, "GET", "/", NULL, &answer), -ENOTCONN);
	assert_non_null(strstr(client.error, "(Connection refused)"));
	client_done(&client);
	server_stop(&server);

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	client_init(&client, longest);
	assert_int_equal(client_call(&client, "GET", "/", NULL, &answer), -ENOTCONN);
	assert_non_null(strstr(client.error, "too long"));
	client_done(&client);
	assert_null(answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_and_refusals_are_told_apart),
		cmocka_unit_test(a_body_is_sent_as_json_with_its_method),
		cmocka_unit_test(an_agent_that_is_not_there_is_said_to_be_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
