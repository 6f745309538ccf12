/* SPDX-License-Identifier: BSD-2-Clause */
/* flush: writes usage from the slots to the store, every second and completely at the end. */
#include <string.h>

#include "agent/agent_private.h"
#include "base/log.h"

#define MAX_ROWS	   10000
#define MAX_FINAL_FAILURES 3

static void on_written(void *arg, int err)
{
	struct agent *agent = arg;
	bool was_full =
		agent->batch.usage_count >= MAX_ROWS || agent->batch.quota_count >= MAX_ROWS;

	agent->is_writing_usage = false;
	if (!err)
		usage_confirm(&agent->slots, &agent->batch);
	else if (!agent->was_usage_error)
		log_error("usage cannot be written to the store and is kept in memory: %s (%s)",
			  store_error(agent->store), strerror(-err));
	if (!err && agent->was_usage_error)
		log_info("usage is being written to the store again");
	agent->was_usage_error = err;
	usage_batch_done(&agent->batch);
	if (agent->is_final_flush) {
		agent->final_failures += err != 0;
		flush_finally(agent);
	} else if (!err && was_full) {
		flush_usage(agent);
	}
}

/* Write the next batch. Whether there was one. */
static bool write_batch(struct agent *agent)
{
	if (usage_collect(&agent->slots, MAX_ROWS, &agent->batch)) {
		log_error("usage cannot be collected: out of memory");
		return false;
	}
	if (!agent->batch.usage_count && !agent->batch.quota_count) {
		usage_batch_done(&agent->batch);
		return false;
	}
	agent->is_writing_usage = true;
	store_usage_put(agent->store, agent->batch.usage, agent->batch.usage_count,
			agent->batch.quotas, agent->batch.quota_count, on_written, agent);
	return true;
}

void flush_usage(struct agent *agent)
{
	if (agent->registry && !agent->is_writing_usage)
		write_batch(agent);
}

void flush_finally(struct agent *agent)
{
	agent->is_final_flush = true;
	if (agent->is_writing_usage)
		return; /* on_written() comes back here */
	if (agent->final_failures >= MAX_FINAL_FAILURES)
		log_error("the last usage could not be written to the store; it stays in the slots "
			  "for the next "
			  "start");
	else if (agent->registry && write_batch(agent))
		return;
	agent_close(agent);
}
