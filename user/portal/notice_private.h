/* SPDX-License-Identifier: BSD-2-Clause */
/* What notice.c (causes) and notice_send.c (tasks) know of each other. */
#ifndef PORTAL_NOTICE_PRIVATE_H
#define PORTAL_NOTICE_PRIVATE_H

#include "base/id_set.h"
#include "config/template.h"
#include "portal/notice.h"

#define NOTICE_MAIL	   "mail" /* queues of the store */
#define NOTICE_HOOK	   "hook"
#define NOTICE_MAX_SENDING 8

/* One task on its way. */
struct notice_sending {
	struct notice_sender *sender; /* borrowed */
	struct store_task task;	      /* its body is owned */
	bool is_busy;
};

/* The tasks of one queue. */
struct notice_sender {
	struct notices *notices; /* borrowed */
	const char *queue;
	bool (*is_wanted)(const struct notices *notices);
	/* Start; notice_settle() follows, now or later. */
	void (*send)(struct notice_sending *s);
	bool is_running;
	struct notice_sending sending[NOTICE_MAX_SENDING];
	unsigned count;
	struct store_task *settled; /* owned: being written */
};

struct notices {
	const struct stripe_context *context; /* borrowed, as the next two */
	const struct notice_settings *settings;
	struct transfers *transfers;
	struct notice_sender senders[2];
	struct notice_counters counters;
	uv_timer_t timer;
	uint32_t next_slot; /* to be looked at */
	bool is_stopped;
	struct id_set raised; /* hashes of causes that became tasks, to spare the store */
};

void notice_senders_init(struct notices *notices);
void notice_send(struct notices *notices);
void notice_senders_done(struct notices *notices);

#endif
