/* SPDX-License-Identifier: BSD-2-Clause */
/* redis_share: store_share_exchange() in Redis. The other half is lua/share.lua. */
#include "store/redis/redis.h"

#include <errno.h>
#include <stdlib.h>

#define ANSWER_WORDS 8

static void arg_want(struct redis_args *args, const struct store_share_want *want)
{
	redis_arg_id(args, want->account);
	redis_arg_id(args, want->epoch);
	redis_arg_u64(args, want->seq);
	redis_arg_u64(args, want->used);
	redis_arg_u64(args, want->need);
	redis_arg_u64(args, want->want);
	redis_arg_u64(args, want->interval_ns);
	redis_arg_u64(args, want->burst);
	redis_arg_u64(args, want->quota_limit);
	redis_arg_u64(args, want->quota_kind);
	redis_arg_u64(args, want->quota_period);
	redis_arg_u64(args, want->quota_used);
	redis_arg_u64(args, want->quota_want);
	redis_arg_u64(args, want->places_want);
	redis_arg_u64(args, want->concurrency);
	redis_arg_u64(args, want->held);
	redis_arg_u64(args, want->paid);
	redis_arg_u64(args, want->generation);
}

static void read_grant(redisReply *const *words, struct store_share_grant *ret_grant)
{
	uint64_t n[ANSWER_WORDS];

	for (size_t i = 0; i < ANSWER_WORDS; i++)
		n[i] = words[i]->type == REDIS_REPLY_STRING ? strtoull(words[i]->str, NULL, 10) : 0;
	*ret_grant = (struct store_share_grant){
		.is_known = n[0] != 0,
		.paid = n[1],
		.left = n[2],
		.wait_ns = n[3],
		.quota_cap = n[4],
		.quota_others = n[5],
		.quota_left = n[6],
		.places = (uint32_t)n[7],
	};
}

int redis_share_exchange(struct store_engine *engine, uint64_t instance, uint32_t hosts,
			 const struct store_share_want *wants, size_t count,
			 struct store_share_grant *ret_grants)
{
	struct redis *r = (struct redis *)engine;
	struct redis_args args;
	redisReply *reply;
	int err = redis_check_open(r);

	if (err)
		return err;
	redis_function(&args, "exchange");
	redis_arg_id(&args, instance);
	redis_arg_u64(&args, hosts);
	for (size_t i = 0; i < count; i++)
		arg_want(&args, &wants[i]);
	err = redis_call(&r->link, REDIS_SHARE, &args, REDIS_REPLY_ARRAY, &reply);
	redis_args_done(&args);
	if (err)
		return err;
	if (reply->elements != count * ANSWER_WORDS)
		err = redis_say(&r->link, -EUCLEAN, "Redis %s: unexpected reply to exchange",
				r->link.server);
	for (size_t i = 0; i < count && !err; i++)
		read_grant(reply->element + i * ANSWER_WORDS, &ret_grants[i]);
	freeReplyObject(reply);
	return err;
}
