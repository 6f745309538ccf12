/* SPDX-License-Identifier: BSD-2-Clause */
/* store_fleet: the front of the calls for heartbeats and the lease. */
#include <errno.h>

#include "store/store_private.h"

static void deliver_fleet(struct store *store, struct job *job)
{
	(void)store;
	job->beat_done(job->arg, job->err, job->err ? NULL : &job->fleet);
}

static int run_beat(struct store_engine *engine, struct job *job)
{
	int err;

	if (!engine->ops->beat) {
		/* A single host always holds the lease. */
		job->fleet =
			(struct store_fleet){ .holder = ((struct store_host *)job->records)->id,
					      .holds_forever = true };
		return 0;
	}
	err = engine->ops->beat(engine, job->records, job->number, job->limit, &job->fleet);
	if (!err)
		job->more = job->fleet.hosts; /* freed with the job */
	return err;
}

static int run_leave(struct store_engine *engine, struct job *job)
{
	return engine->ops->leave ? engine->ops->leave(engine, job->number) : 0;
}

void store_beat(struct store *store, const struct store_host *self, bool wants_lease,
		uint64_t lease_ms, store_beat_done done, void *arg)
{
	struct job *job = job_new(run_beat, self, 1, sizeof(*self));

	if (!job) {
		done(arg, -ENOMEM, NULL);
		return;
	}
	job->deliver = deliver_fleet;
	job->number = wants_lease;
	job->limit = lease_ms;
	job->beat_done = done;
	job->arg = arg;
	job_submit(store, job);
}

void store_leave(struct store *store, uint64_t host, store_done done, void *arg)
{
	struct job *job = job_new(run_leave, NULL, 0, 0);

	if (job)
		job->number = host;
	job_submit_done(store, job, done, arg);
}
