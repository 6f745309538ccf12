/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * notice: notifies customers about payments, grace periods, trials and quotas, by mail and webhook,
 * and the operator about changes of accounts, by webhook only.
 *
 * Each cause, such as one failed payment, becomes one task in the store per channel (mail,
 * webhook). The task's ID names the cause, so an event that is repeated does not notify twice. A
 * task is retried until it is accepted, for at most three days. Causes that come with time, such as
 * the end of a trial, are found by a check of all accounts that takes at most half a minute.
 * Control loop only.
 */
#ifndef PORTAL_NOTICE_H
#define PORTAL_NOTICE_H

#include "config/template.h"
#include "enforce/registry.h"
#include "net/transfer.h"
#include "stripe/context.h"

struct notices;

struct notice_counters {
	uint64_t sent;
	uint64_t setbacks; /* attempts that failed and will be retried */
	uint64_t failed;   /* given up; the store keeps the task and the reason */
};

/* All arguments are borrowed; @settings until notices_set(). NULL if out of memory. */
struct notices *notices_new(const struct stripe_context *context, struct transfers *transfers,
			    const struct notice_settings *settings);
void notices_set(struct notices *notices, const struct notice_settings *settings);

/* Start, which also sends tasks left from before. Call it once, when the registry exists. */
void notices_start(struct notices *notices);

/* Stripe has changed an account; @before is NULL for a new one. */
void notices_account_changed(struct notices *notices, const struct store_account *before,
			     const struct store_account *after);

/*
 * Write the tasks that report a change of an account to the operator's webhook. The caller stores
 * them together with the change, which any host may make, and frees their bodies. @before is NULL
 * for a new account. Returns their number or a negative errno.
 */
int notices_make_tasks(struct notices *notices, const struct store_account *before,
		       const struct store_account *after,
		       struct store_task ret_tasks[REGISTRY_TASKS_MAX]);

/* Whether mails can be sent. */
bool notices_can_mail(const struct notices *notices);

/*
 * Mail @links, one or more lines of text, to @email. The mail waits in the store's queue like a
 * notice, but is not sent after @expires_s, when the links are no longer valid. 0, -ENOTCONN
 * without a mail server, -EINVAL if the address is not valid, -ENOMEM. If the store fails later,
 * that is logged and the mail is lost.
 */
int notices_mail_link(struct notices *notices, enum template_kind kind, const char *email,
		      const char *links, uint64_t expires_s);

const struct notice_counters *notices_counters(const struct notices *notices);

/* notices_stop() stops; notices_free() frees after the loop has turned. Both accept NULL. */
void notices_stop(struct notices *notices);
void notices_free(struct notices *notices);

#endif
