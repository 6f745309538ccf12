/* SPDX-License-Identifier: BSD-2-Clause */
/* billing: calls about billing, most of which the agent answers after asking Stripe. */
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

#define DAY_MS	 86400000ULL
#define LAST_MS	 (30 * DAY_MS) /* the longest validity of a link */
#define FIRST_MS 60000ULL      /* the shortest */

static void on_claimed(void *arg, json_t *answer, unsigned status, const char *why)
{
	struct admin_request *r = arg;

	if (answer) {
		json_object_set_new(answer, "expires",
				    admin_time(1000 * (uint64_t)json_integer_value(
							      json_object_get(answer, "expires"))));
		admin_answer_json(r, 200, answer);
	} else {
		admin_fail(r, status, "%s", why);
	}
}

/* Read the body of the request. False if it has been answered with an error. */
static bool read_claim(struct admin_request *r, struct admin_claim *ret)
{
	const char *bad = NULL, *expires;
	json_t *further = json_object_get(r->json, "further");
	unsigned named = 0;

	*ret = (struct admin_claim){
		.account = admin_string(r, "account", STORE_NAME_MAX, &bad),
		.customer = admin_string(r, "customer", STORE_NAME_MAX, &bad),
		.subscription = admin_string(r, "subscription", STORE_NAME_MAX, &bad),
		.session = admin_string(r, "checkout_session", 128, &bad),
		.label = admin_string(r, "label", STORE_LABEL_MAX, &bad),
		.lasts_ms = DAY_MS,
		.is_further = json_is_true(further),
	};
	expires = admin_string(r, "expires", 32, &bad);
	named = !!ret->account + !!ret->customer + !!ret->subscription + !!ret->session;
	if (bad || (further && !json_is_boolean(further))) {
		admin_fail(r, 400, "'%s' has the wrong type or is too long", bad ? bad : "further");
	} else if (named != 1) {
		admin_fail(r, 400,
			   "name exactly one of account, customer, subscription and "
			   "checkout_session");
	} else if (expires && (text_parse_duration_ms(text_of(expires), &ret->lasts_ms) ||
			       ret->lasts_ms < FIRST_MS || ret->lasts_ms > LAST_MS)) {
		admin_fail(r, 400, "expires must be a duration from 1m to 30d");
	} else {
		return true;
	}
	return false;
}

void admin_claim_create(struct admin_request *r, const char *id)
{
	struct admin_claim claim;
	int err;

	(void)id;
	if (!read_claim(r, &claim))
		return;
	err = r->agent->make_claim(r->agent->arg, &claim, on_claimed, r);
	if (err == -ENOSYS)
		admin_fail(r, 409, "Stripe is not configured");
	else if (err)
		admin_fail(r, 503, "not ready yet; try again");
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
