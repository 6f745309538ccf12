/* SPDX-License-Identifier: BSD-2-Clause */
/* billing: calls that the agent answers after asking Stripe. */
#include <errno.h>
#include <stdlib.h>

#include "admin/admin_private.h"

static void on_answered(void *arg, json_t *answer, const char *why)
{
	struct admin_request *r = arg;

	if (answer)
		admin_answer_json(r, 200, answer);
	else
		admin_fail(r, 502, "%s", why);
}

static void ask(struct admin_request *r, const struct admin_question *question)
{
	int err = r->agent->ask(r->agent->arg, question, on_answered, r);

	if (err == -ENOSYS)
		admin_fail(r, 409, "Stripe is not configured");
	else if (err == -EREMOTE)
		admin_fail(r, 409,
			   "another host does the billing (`tollgate status` says "
			   "which): ask it");
	else if (err == -EAGAIN)
		admin_fail(r, 503, "not ready yet; try again");
	else if (err)
		admin_fail_errno(r, err, "billing");
}

void admin_sync(struct admin_request *r, const char *id)
{
	(void)id;
	ask(r, &(struct admin_question){ .kind = ADMIN_SYNC });
}

void admin_drift(struct admin_request *r, const char *id)
{
	uint64_t since_s = 0;
	char text[32];

	(void)id;
	if (admin_query(r, "since", text, sizeof(text)) &&
	    text_parse_u64(text_of(text), UINT32_MAX, &since_s)) {
		admin_fail(r, 400, "since must be a time in Unix seconds");
		return;
	}
	ask(r, &(struct admin_question){ .kind = ADMIN_DRIFT, .since_s = since_s });
}

void admin_usage_failed(struct admin_request *r, const char *id)
{
	(void)id;
	ask(r, &(struct admin_question){ .kind = ADMIN_FAILED });
}

void admin_usage_retry(struct admin_request *r, const char *id)
{
	const char *bad = NULL, *task = admin_string(r, "task", STORE_TASK_ID_MAX, &bad);

	(void)id;
	if (bad)
		admin_fail(r, 400, "'%s' has the wrong type or is too long", bad);
	else
		ask(r, &(struct admin_question){ .kind = ADMIN_RETRY, .task = task });
}
