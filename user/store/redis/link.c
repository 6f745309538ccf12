/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * redis_link: one connection to the Redis that accepts writes, and calls on it.
 *
 * The circuit breaker is a point in time before which there is no new attempt. Each failure in a
 * row puts it further ahead, with jitter, so that a fleet does not reconnect all at once.
 */
#include "store/redis/redis.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "store/redis/lua.h"

static const struct backoff waits_ns = { .first = 50 * NS_PER_MS, .most = 2 * NS_PER_SECOND };

static const char *const sources[REDIS_SCRIPT_COUNT] = {
	[REDIS_RECORDS] = redis_lua_records, [REDIS_TASKS] = redis_lua_tasks,
	[REDIS_USAGE] = redis_lua_usage,     [REDIS_FLEET] = redis_lua_fleet,
	[REDIS_SHARE] = redis_lua_share,
};

/* Errors from our scripts and from Redis: the first word of each, and its errno. */
static const struct {
	const char *word;
	int err;
	bool is_lost; /* the connection is useless: drop it */
} words[] = {
	{ "EEXIST", -EEXIST, false },	     { "ENOENT", -ENOENT, false },
	{ "EAGAIN", -EAGAIN, false },	     { "EINVAL", -EINVAL, false },
	{ "ESTALE", -ESTALE, false },	     { "EKEYREJECTED", -EKEYREJECTED, false },
	{ "EBUSY", -EBUSY, false },	     { "ENOTSUP", -ENOTSUP, false },
	{ "EUCLEAN", -EUCLEAN, false },	     { "OOM", -ENOSPC, false },
	{ "MISCONF", -EIO, false },	     { "NOAUTH", -EACCES, true },
	{ "WRONGPASS", -EACCES, true },	     { "NOPERM", -EACCES, false },
	{ "NOREPLICAS", -EHOSTDOWN, false }, { "EGONE", -EHOSTDOWN, false },
	{ "READONLY", -EHOSTDOWN, true },    { "LOADING", -EHOSTDOWN, true },
	{ "MASTERDOWN", -EHOSTDOWN, true },  { "BUSY", -EHOSTDOWN, true },
	{ "UNKILLABLE", -EHOSTDOWN, true },  { "CLUSTERDOWN", -EHOSTDOWN, true },
};

void redis_link_init(struct redis_link *link, const struct redis_address *address, char *error,
		     unsigned timeout_ms)
{
	*link = (struct redis_link){ .address = address, .error = error, .timeout_ms = timeout_ms };
}

static void drop(struct redis_link *link)
{
	if (link->context)
		redisFree(link->context);
	link->context = NULL;
}

void redis_link_done(struct redis_link *link)
{
	drop(link);
}

int redis_say(struct redis_link *link, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(link->error, STORE_ERROR_MAX, format, args);
	va_end(args);
	return err;
}

/*
 * Discard unsent bytes when the connection is closed. Otherwise the kernel would still deliver a
 * call that was reported as failed, possibly after calls that were made later on another
 * connection.
 */
static void discard_unsent(int fd)
{
	const struct linger none = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
}

void redis_link_fail(struct redis_link *link)
{
	snprintf(link->failure, sizeof(link->failure), "%s", link->error);
	if (link->context)
		discard_unsent(link->context->fd);
	drop(link);
	link->retry_at_ns = clock_mono_ns() + backoff_draw(&waits_ns, ++link->failures);
}

static struct timeval timeout_of(const struct redis_link *link)
{
	return (struct timeval){ link->timeout_ms / 1000, link->timeout_ms % 1000 * 1000L };
}

/* Connect, without authentication. NULL after an error, and @ret_why has the message. */
static redisContext *dial(const struct redis_link *link, const char *host, int port,
			  const char *path, char ret_why[128])
{
	struct timeval timeout = timeout_of(link);
	redisContext *context = path ? redisConnectUnixWithTimeout(path, timeout)
				     : redisConnectWithTimeout(host, port, timeout);

	if (context && !context->err && !redisSetTimeout(context, timeout)) {
		if (!path)
			redisEnableKeepAlive(context);
		return context;
	}
	snprintf(ret_why, 128, "%s", context ? context->errstr : "out of memory");
	if (context)
		redisFree(context);
	return NULL;
}

/* Ask one Sentinel for the host and port of the master. */
static int ask_sentinel(const struct redis_link *link, unsigned which, char ret_host[256],
			int *ret_port, char ret_why[128])
{
	const struct redis_address *address = link->address;
	redisContext *context = dial(link, address->sentinels[which],
				     address->sentinel_ports[which], NULL, ret_why);
	redisReply *reply;
	uint64_t port = 0;
	int err = -EHOSTDOWN;

	if (!context)
		return err;
	reply = redisCommand(context, "SENTINEL get-master-addr-by-name %s", address->master);
	if (!reply)
		snprintf(ret_why, 128, "%s", context->errstr);
	else if (reply->type == REDIS_REPLY_ERROR)
		snprintf(ret_why, 128, "%s", reply->str);
	else if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
		 text_parse_u64(text_of(reply->element[1]->str), 65535, &port))
		snprintf(ret_why, 128, "there is no master with this name");
	else
		err = 0;
	if (!err) {
		snprintf(ret_host, 256, "%s", reply->element[0]->str);
		*ret_port = (int)port;
	}
	freeReplyObject(reply);
	redisFree(context);
	return err;
}

static int connect_by_sentinel(struct redis_link *link)
{
	const struct redis_address *address = link->address;
	char host[256], why[128] = "";
	int port = 0;

	for (unsigned i = 0; i < address->sentinel_count; i++) {
		if (ask_sentinel(link, i, host, &port, why))
			continue;
		link->context = dial(link, host, port, NULL, why);
		snprintf(link->server, sizeof(link->server), "%.100s:%d", host, port);
		if (link->context)
			return 0;
	}
	return redis_say(link, -EHOSTDOWN, "Redis '%s' via Sentinel: %s", address->master, why);
}

static int connect_directly(struct redis_link *link)
{
	const struct redis_address *address = link->address;
	char why[128] = "";

	if (address->path)
		snprintf(link->server, sizeof(link->server), "%s", address->path);
	else
		snprintf(link->server, sizeof(link->server), "%.100s:%d", address->host,
			 address->port);
	link->context = dial(link, address->host, address->port, address->path, why);
	if (link->context)
		return 0;
	return redis_say(link, -EHOSTDOWN, "Redis %s: %s", link->server, why);
}

/* Run one command of the handshake. */
static int run_words(struct redis_link *link, const char *const *list, size_t count)
{
	struct redis_args args;
	redisReply *reply;
	int err;

	redis_args_init(&args);
	for (size_t i = 0; i < count; i++)
		redis_arg(&args, list[i]);
	err = redis_command(link, &args, 0, &reply);
	if (!err)
		freeReplyObject(reply);
	redis_args_done(&args);
	return err;
}

/* Check the role: after a failover, a Sentinel may still name the old master or a replica. */
static int check_role(struct redis_link *link)
{
	struct redis_args args;
	redisReply *reply;
	int err;

	if (!link->address->master)
		return 0;
	redis_args_init(&args);
	redis_arg(&args, "ROLE");
	err = redis_command(link, &args, REDIS_REPLY_ARRAY, &reply);
	redis_args_done(&args);
	if (err)
		return err;
	if (!reply->elements || reply->element[0]->type != REDIS_REPLY_STRING ||
	    strcmp(reply->element[0]->str, "master"))
		err = redis_say(link, -EHOSTDOWN, "Redis %s is not the master", link->server);
	freeReplyObject(reply);
	return err;
}

static int greet(struct redis_link *link)
{
	const struct redis_address *address = link->address;
	const char *auth[] = { "AUTH", address->user ? address->user : address->password,
			       address->password };
	char number[16];
	const char *database[] = { "SELECT", number };
	int err = 0;

	if (address->password)
		err = run_words(link, auth, address->user ? 3 : 2);
	if (!err && address->database) {
		snprintf(number, sizeof(number), "%u", address->database);
		err = run_words(link, database, 2);
	}
	return err ? err : check_role(link);
}

int redis_link_up(struct redis_link *link)
{
	int err;

	if (link->context)
		return 0;
	if (clock_mono_ns() < link->retry_at_ns)
		return redis_say(link, -EHOSTDOWN, "%s", link->failure);
	memset(link->shas, 0, sizeof(link->shas));
	err = link->address->master ? connect_by_sentinel(link) : connect_directly(link);
	if (!err)
		err = greet(link);
	if (err) {
		redis_link_fail(link);
		return err == -EACCES ? err : -EHOSTDOWN;
	}
	link->failures = 0;
	return 0;
}

/* Translate an error reply. */
static int fail_reply(struct redis_link *link, const redisReply *reply)
{
	size_t len = strcspn(reply->str, " ");

	redis_say(link, 0, "Redis %s: %s", link->server, reply->str);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strlen(words[i].word) != len || memcmp(words[i].word, reply->str, len))
			continue;
		if (words[i].is_lost)
			redis_link_fail(link);
		return words[i].err;
	}
	return -EIO;
}

/* The connection failed during a call. */
static int fail_io(struct redis_link *link)
{
	/* A read that timed out has EAGAIN, whose own text does not help anyone. */
	redis_say(link, 0, "Redis %s: %s", link->server,
		  link->context->err == REDIS_ERR_IO && errno == EAGAIN ? "does not answer"
									: link->context->errstr);
	redis_link_fail(link);
	return -EHOSTDOWN;
}

static int append(struct redis_link *link, struct redis_args *args)
{
	const char **argv;
	size_t *lens, at = 0;
	int err = args->err;

	if (err)
		return redis_say(link, err, "out of memory, or a command for Redis is too large");
	argv = malloc(args->count * sizeof(*argv));
	lens = malloc(args->count * sizeof(*lens));
	for (size_t i = 0; argv && lens && i < args->count; i++) {
		argv[i] = buf_head(&args->bytes) + at;
		lens[i] = args->ends[i] - at;
		at = args->ends[i];
	}
	if (!argv || !lens || redisAppendCommandArgv(link->context, (int)args->count, argv, lens))
		err = -ENOMEM;
	free(argv);
	free(lens);
	return err;
}

int redis_send(struct redis_link *link, struct redis_args *args)
{
	int is_sent = 0, err = link->context ? append(link, args) : -EHOSTDOWN;

	while (!err && !is_sent) {
		if (redisBufferWrite(link->context, &is_sent))
			err = fail_io(link);
	}
	return err;
}

/* Read one reply. The caller checks for error replies. */
static int receive(struct redis_link *link, redisReply **ret_reply)
{
	void *reply = NULL;

	if (!link->context)
		return -EHOSTDOWN;
	if (redisGetReply(link->context, &reply))
		return fail_io(link);
	*ret_reply = reply;
	return 0;
}

static int exchange(struct redis_link *link, struct redis_args *args, redisReply **ret_reply)
{
	int err = redis_send(link, args);

	return err ? err : receive(link, ret_reply);
}

/* Return @reply if it is of @type (0: any). Otherwise free it and return an error. */
static int check_reply(struct redis_link *link, redisReply *reply, int type, redisReply **ret_reply)
{
	int err = 0;

	if (reply->type == REDIS_REPLY_ERROR)
		err = fail_reply(link, reply);
	else if (type && reply->type != type)
		err = redis_say(link, -EUCLEAN, "Redis %s: unexpected reply", link->server);
	if (err)
		freeReplyObject(reply);
	else
		*ret_reply = reply;
	return err;
}

int redis_receive(struct redis_link *link, int type, redisReply **ret_reply)
{
	redisReply *reply;
	int err = receive(link, &reply);

	return err ? err : check_reply(link, reply, type, ret_reply);
}

int redis_command(struct redis_link *link, struct redis_args *args, int type,
		  redisReply **ret_reply)
{
	redisReply *reply;
	int err = exchange(link, args, &reply);

	return err ? err : check_reply(link, reply, type, ret_reply);
}

static int load_script(struct redis_link *link, enum redis_script script)
{
	struct redis_args args;
	redisReply *reply;
	int err;

	redis_args_init(&args);
	redis_arg(&args, "SCRIPT");
	redis_arg(&args, "LOAD");
	redis_arg(&args, sources[script]);
	err = redis_command(link, &args, REDIS_REPLY_STRING, &reply);
	redis_args_done(&args);
	if (err)
		return err;
	snprintf(link->shas[script], sizeof(link->shas[script]), "%s", reply->str);
	freeReplyObject(reply);
	return 0;
}

#define SHA_SIZE 40

void redis_function(struct redis_args *args, const char *function)
{
	char no_sha[SHA_SIZE];

	memset(no_sha, '0', sizeof(no_sha));
	redis_args_init(args);
	redis_arg(args, "EVALSHA");
	redis_arg_bytes(args, no_sha, sizeof(no_sha)); /* redis_call() fills it in */
	redis_arg(args, "0");
	redis_arg(args, function);
}

static bool is_script_missing(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_ERROR && !strncmp(reply->str, "NOSCRIPT", 8);
}

int redis_call(struct redis_link *link, enum redis_script script, struct redis_args *args, int type,
	       redisReply **ret_reply)
{
	redisReply *reply = NULL;
	int err = redis_link_up(link);

	/* The second attempt is for a script that was flushed after it was loaded. */
	for (int i = 0; i < 2 && !err; i++) {
		if (!link->shas[script][0] && (err = load_script(link, script)))
			return err;
		if (!args->err)
			memcpy(buf_head(&args->bytes) + args->ends[0], link->shas[script],
			       SHA_SIZE);
		err = exchange(link, args, &reply);
		if (err || !is_script_missing(reply))
			break;
		link->shas[script][0] = '\0';
		freeReplyObject(reply);
		reply = NULL;
	}
	if (!err && !reply)
		err = redis_say(link, -EIO,
				"Redis %s: scripts disappear as soon as they are loaded",
				link->server);
	if (err)
		return err;
	return check_reply(link, reply, type, ret_reply);
}
