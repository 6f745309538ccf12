/* SPDX-License-Identifier: BSD-2-Clause */
/* store_share: the front of store_share_exchange(). */
#include <errno.h>
#include <stdlib.h>

#include "store/store_private.h"

static void deliver_grants(struct store *store, struct job *job)
{
	(void)store;
	job->share_done(job->arg, job->err, job->err ? NULL : job->more, job->err ? 0 : job->count);
}

static int run_exchange(struct store_engine *engine, struct job *job)
{
	if (!engine->ops->share_exchange)
		return -ENOTSUP;
	return engine->ops->share_exchange(engine, job->id, (uint32_t)job->number, job->records,
					   job->count, job->more);
}

void store_share_exchange(struct store *store, uint64_t instance, uint32_t hosts,
			  const struct store_share_want *wants, size_t count, store_share_done done,
			  void *arg)
{
	struct job *job = job_new(run_exchange, wants, count, sizeof(*wants));

	if (job)
		job->more = calloc(count + 1, sizeof(struct store_share_grant));
	if (!job || !job->more) {
		job_free(job);
		done(arg, -ENOMEM, NULL, 0);
		return;
	}
	job->deliver = deliver_grants;
	job->id = instance;
	job->number = hosts;
	job->share_done = done;
	job->arg = arg;
	job_submit(store, job);
}
