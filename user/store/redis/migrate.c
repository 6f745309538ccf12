/* SPDX-License-Identifier: BSD-2-Clause */
/* redis_migrate: the calls that store_migrate() needs from Redis. */
#include "store/redis/redis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct dump {
	int (*visit)(void *arg, const struct store_usage *rows, size_t count);
	void *arg;
	uint64_t start_s;
	uint32_t seconds;
};

/* Visit all epochs of an account in a window. The first row has the closed units of all epochs. */
static int take_window(void *arg, const char *field, size_t field_len, const char *line, size_t len)
{
	struct redis_line l = redis_line_of(line, len);
	struct dump *dump = arg;
	uint64_t closed;
	uint32_t closings;
	int err = 0;

	redis_read_u64(&l);
	redis_read_u64(&l);
	closed = redis_read_u64(&l);
	closings = (uint32_t)redis_read_u64(&l);
	while (!l.is_over && !l.err && !err) {
		struct store_usage row;

		memset(&row, 0, sizeof(row)); /* including the padding, which goes into digests */
		row.window_start_s = dump->start_s;
		row.window_seconds = dump->seconds;
		row.closed_units = closed;
		row.closings = closings;
		row.epoch = redis_read_id(&l);
		row.requests = redis_read_u64(&l);
		row.units = redis_read_u64(&l);
		if (l.err || redis_parse_id(field, field_len, &row.account))
			return -EUCLEAN;
		closed = 0;
		err = dump->visit(dump->arg, &row, 1);
	}
	return l.err ? -EUCLEAN : err;
}

int redis_usage_dump(struct store_engine *engine,
		     int (*visit)(void *arg, const struct store_usage *rows, size_t count),
		     void *arg)
{
	struct redis *r = (struct redis *)engine;
	struct dump dump = { .visit = visit, .arg = arg };

	return redis_each_window(r, &dump.start_s, &dump.seconds, take_window, &dump);
}

/* The rows of one window and account are neighbours, and become one line. */
int redis_usage_restore(struct store_engine *engine, const struct store_usage *rows, size_t count)
{
	struct redis *r = (struct redis *)engine;
	struct redis_args args;

	redis_function(&args, "usage_restore");
	for (size_t i = 0; i < count; i++) {
		redis_arg_usage(&args, &rows[i]);
		redis_arg_u64(&args, rows[i].closed_units);
		redis_arg_u64(&args, rows[i].closings);
	}
	return redis_change(r, REDIS_USAGE, &args);
}

int redis_set_id(struct store_engine *engine, const uint8_t id[STORE_ID_BYTES])
{
	struct redis *r = (struct redis *)engine;
	char digits[2 * STORE_ID_BYTES + 1];
	struct redis_args args;
	redisReply *reply;
	int err;

	text_hex(id, STORE_ID_BYTES, digits);
	redis_args_init(&args);
	redis_arg(&args, "HSET");
	redis_arg(&args, REDIS_PREFIX "meta");
	redis_arg(&args, "store_id");
	redis_arg(&args, digits);
	err = redis_link_up(&r->link);
	if (!err)
		err = redis_command(&r->link, &args, REDIS_REPLY_INTEGER, &reply);
	redis_args_done(&args);
	if (err)
		return err;
	freeReplyObject(reply);
	memcpy(r->id, id, STORE_ID_BYTES);
	return 0;
}

int redis_is_used(struct store_engine *engine, bool *ret_is_used)
{
	struct redis *r = (struct redis *)engine;
	struct redis_args args;
	int err;

	redis_function(&args, "hosts_alive");
	err = redis_change(r, REDIS_FLEET, &args);
	*ret_is_used = !err && r->engine.changed;
	return err;
}
