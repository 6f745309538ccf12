/* SPDX-License-Identifier: BSD-2-Clause */
/* redis_fleet: heartbeats of the hosts, and the lease. The other half is lua/fleet.lua. */
#include "store/redis/redis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int read_host(const redisReply *id, const redisReply *line, struct store_host *ret_host)
{
	struct redis_line l = redis_line_of(line->str, line->len);

	*ret_host = (struct store_host){ 0 };
	ret_host->seen_ms = redis_read_u64(&l);
	redis_read_text(&l, ret_host->name, sizeof(ret_host->name));
	redis_read_text(&l, ret_host->version, sizeof(ret_host->version));
	ret_host->started_ms = redis_read_u64(&l);
	ret_host->followed = redis_read_u64(&l);
	ret_host->accounts = redis_read_u64(&l);
	ret_host->keys = redis_read_u64(&l);
	ret_host->lent_units = redis_read_u64(&l);
	return l.err || redis_parse_id(id->str, id->len, &ret_host->id) ? -EUCLEAN : 0;
}

static int read_fleet(struct redis *r, const redisReply *reply, struct store_fleet *ret_fleet)
{
	size_t count = reply->elements >= 4 ? (reply->elements - 4) / 2 : 0;
	struct store_host *hosts = calloc(count + 1, sizeof(*hosts));
	redisReply *const *words = reply->element;

	if (!hosts)
		return -ENOMEM;
	*ret_fleet = (struct store_fleet){ .hosts = hosts };
	if (reply->elements < 4)
		return -EUCLEAN;
	ret_fleet->now_ms = strtoull(words[0]->str, NULL, 10);
	ret_fleet->changes = strtoull(words[1]->str, NULL, 10);
	redis_parse_id(words[2]->str, words[2]->len, &ret_fleet->holder);
	redis_copy(r->fence, sizeof(r->fence), words[3]->str, words[3]->len);
	/* Skip hosts whose line cannot be parsed: they may run another version. */
	for (size_t i = 0; i < count; i++)
		ret_fleet->host_count += !read_host(words[4 + 2 * i], words[5 + 2 * i],
						    &hosts[ret_fleet->host_count]);
	return 0;
}

int redis_beat(struct store_engine *engine, const struct store_host *self, bool wants_lease,
	       uint64_t lease_ms, struct store_fleet *ret_fleet)
{
	struct redis *r = (struct redis *)engine;
	struct redis_args args;
	redisReply *reply;
	int err = redis_check_open(r);

	if (err)
		return err;
	redis_function(&args, "beat");
	redis_arg_id(&args, self->id);
	redis_line_begin(&args);
	redis_line_text(&args, self->name);
	redis_line_text(&args, self->version);
	redis_line_u64(&args, self->started_ms);
	redis_line_u64(&args, self->followed);
	redis_line_u64(&args, self->accounts);
	redis_line_u64(&args, self->keys);
	redis_line_u64(&args, self->lent_units);
	redis_line_end(&args);
	redis_arg(&args, wants_lease ? "1" : "0");
	redis_arg_u64(&args, lease_ms);
	err = redis_call(&r->link, REDIS_FLEET, &args, REDIS_REPLY_ARRAY, &reply);
	redis_args_done(&args);
	if (err)
		return err;
	err = read_fleet(r, reply, ret_fleet);
	freeReplyObject(reply);
	if (err)
		free(ret_fleet->hosts);
	return err;
}

int redis_leave(struct store_engine *engine, uint64_t host)
{
	struct redis *r = (struct redis *)engine;
	struct redis_args args;

	r->fence[0] = '\0';
	redis_function(&args, "leave");
	redis_arg_id(&args, host);
	return redis_change(r, REDIS_FLEET, &args);
}
