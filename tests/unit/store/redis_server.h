/* SPDX-License-Identifier: BSD-2-Clause */
/* redis_server: a redis-server for one test, on a socket in a temporary directory. */
#ifndef REDIS_SERVER_H
#define REDIS_SERVER_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

struct redis_server {
	char folder[64], socket[96], url[128];
	pid_t pid;
	redisContext *context; /* the test's own connection */
};

static inline void redis_server_connect(struct redis_server *server)
{
	for (int i = 0; i < 1000; i++) {
		server->context = redisConnectUnix(server->socket);
		if (server->context && !server->context->err)
			return;
		redisFree(server->context);
		server->context = NULL;
		usleep(5000); /* it is starting */
	}
	fprintf(stderr, "redis-server did not start\n");
	abort();
}

/* @more: NULL, or further arguments for redis-server, ended by NULL. */
static inline void redis_server_start(struct redis_server *server, const char *const *more)
{
	const char *argv[32] = { "redis-server", "--port", "0",	   "--save", "",
				 "--appendonly", "no",	   "--dir" };
	unsigned argc = 8;

	memset(server, 0, sizeof(*server));
	strcpy(server->folder, "/tmp/tollgate-redis-XXXXXX");
	if (!mkdtemp(server->folder))
		abort();
	snprintf(server->socket, sizeof(server->socket), "%s/redis.sock", server->folder);
	snprintf(server->url, sizeof(server->url), "redis+unix://%s", server->socket);
	argv[argc++] = server->folder;
	argv[argc++] = "--unixsocket";
	argv[argc++] = server->socket;
	argv[argc++] = "--logfile";
	argv[argc++] = "/dev/null";
	for (; more && *more; more++)
		argv[argc++] = *more;
	server->pid = fork();
	if (!server->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	redis_server_connect(server);
}

static inline void redis_server_stop(struct redis_server *server)
{
	if (server->context)
		redisFree(server->context);
	server->context = NULL;
	if (server->pid > 0) {
		kill(server->pid, SIGKILL);
		waitpid(server->pid, NULL, 0);
	}
	unlink(server->socket);
	rmdir(server->folder);
	server->pid = 0;
}

/* Run one command, whose words have no spaces in them. The reply is dropped. */
static inline void redis_server_do(struct redis_server *server, const char *command)
{
	redisReply *reply = redisCommand(server->context, command);

	if (!reply || reply->type == REDIS_REPLY_ERROR) {
		fprintf(stderr, "%s: %s\n", command, reply ? reply->str : server->context->errstr);
		abort();
	}
	freeReplyObject(reply);
}

#endif
