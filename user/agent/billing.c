/* SPDX-License-Identifier: BSD-2-Clause */
/* billing: the agent's own paths, and who answers on which. */
#include "agent/billing.h"

#include <stdlib.h>

#include "agent/agent_private.h"
#include "http/problem.h"

#define MAX_ERRANDS 4096

struct billing {
	struct agent *agent;	  /* borrowed */
	struct errand_desk *desk; /* owned */
};

static void answer_problem(struct errand *e, unsigned status, const char *detail)
{
	struct buf body;

	buf_init(&body, 1024);
	problem_write_body(&body, status, detail, NULL);
	errand_answer(e, status, TEXT(PROBLEM_FIELD), buf_text(&body));
	buf_done(&body);
}

static void on_errand(void *arg, struct errand *e)
{
	(void)arg;
	answer_problem(e, 503, "Not ready");
}

struct billing *billing_new(struct agent *agent)
{
	struct billing *billing = calloc(1, sizeof(*billing));

	if (!billing)
		return NULL;
	billing->agent = agent;
	billing->desk = errand_desk_new(&agent->loop, MAX_ERRANDS, on_errand, billing);
	if (!billing->desk) {
		free(billing);
		return NULL;
	}
	return billing;
}

struct errand_desk *billing_desk(const struct billing *billing)
{
	return billing->desk;
}

void billing_stop(struct billing *billing)
{
	if (!billing)
		return;
	errand_desk_close(billing->desk);
	billing->desk = NULL;
}

void billing_free(struct billing *billing)
{
	free(billing);
}
