/* SPDX-License-Identifier: BSD-2-Clause */
/* notice_private: what notice.c (causes) and notice_send.c (sending) share. */
#ifndef PORTAL_NOTICE_PRIVATE_H
#define PORTAL_NOTICE_PRIVATE_H

#include "base/id_set.h"
#include "config/template.h"
#include "portal/notice.h"

#define NOTICE_MAIL	   "mail" /* queues of the store */
#define NOTICE_HOOK	   "hook"
#define NOTICE_MAX_SENDING 8

/* One task that is being sent. */
struct notice_sending {
	struct notice_sender *sender; /* borrowed */
	struct store_task task;	      /* its body is owned */
	bool is_busy;		      /* the result is not known yet */
};

/* One channel: sends the tasks of one queue. */
struct notice_sender {
	struct notices *notices; /* borrowed */
	const char *queue;
	bool (*is_wanted)(const struct notices *notices);
	/* Start sending. The result is noted in the task, now or later. */
	void (*send)(struct notice_sending *s);
	bool is_running; /* a round is in progress */
	struct notice_sending sending[NOTICE_MAX_SENDING];
	unsigned count;
	struct store_task *settled; /* owned: results being written to the store */
};

struct notices {
	const struct stripe_context *context; /* borrowed, as are the next two */
	const struct notice_settings *settings;
	struct transfers *transfers;
	struct notice_sender senders[2];
	struct notice_counters counters;
	uv_timer_t timer;
	uint32_t next_slot; /* the next slot to check */
	bool is_stopped;
	struct id_set
		raised; /* hashes of task IDs already added, so that the store is not asked again */
};

void notice_senders_init(struct notices *notices);
void notice_send(struct notices *notices);
void notice_senders_done(struct notices *notices);

#endif
