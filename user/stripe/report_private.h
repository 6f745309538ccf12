/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report_private: what report.c (start and stop, meters, windows), report_close.c (usage becomes
 * tasks), report_send.c (tasks go to Stripe) and report_tally.c (counts of tasks) share.
 */
#ifndef STRIPE_REPORT_PRIVATE_H
#define STRIPE_REPORT_PRIVATE_H

#include <sys/queue.h>

#include "stripe/report.h"

#define REPORT_MAX_SENDING 16

struct stripe_answer;

/* A billing meter at Stripe. */
struct report_meter {
	char event_name[128];
	char id[STORE_NAME_MAX];
	char customer_key[64]; /* names in the payload of its events */
	char value_key[64];
};

/* An account whose usage is closed early. It has a task in this queue until then. */
#define EARLY_QUEUE "close"

struct early_close {
	LIST_ENTRY(early_close) entry; /* in `early` */
	uint64_t account;
	uint64_t due_ms;
	char id[STORE_TASK_ID_MAX]; /* of the task */
	char customer[STORE_NAME_MAX], subscription[STORE_NAME_MAX];
	char meter[128];
};

/* One task that is being sent. */
struct sending {
	struct report *report;	/* borrowed */
	struct store_task task; /* its body is owned */
	char subscription[STORE_NAME_MAX];
	bool is_busy; /* the result is not known yet */
};

struct report {
	const struct stripe_context *context; /* borrowed */
	struct report_counters counters;
	uv_timer_t timer;
	bool is_started, is_stopped;
	bool is_tallied; /* the store's tasks have been counted since this host got the lease */
	uint64_t ticks;
	int64_t skew_s; /* Stripe's clock minus ours, from its last answer */

	/* meters */
	struct report_meter *meters; /* owned */
	size_t meter_count;
	bool has_meters, is_fetching_meters;
	uint64_t meters_ms; /* when they were last fetched */
	uint64_t missed_ms; /* when a missing meter was last logged */

	/* closing */
	bool is_closing;
	LIST_HEAD(, early_close) early; /* owned: waiting */
	struct early_close *current;	/* owned: being closed; NULL: windows that have ended are */
	struct store_usage *rows;	/* owned: the transaction in progress closes these */
	struct store_task *tasks;	/* owned, with their bodies: it adds these */
	size_t row_count, task_count;
	uint64_t task_units; /* units in these tasks */
	bool is_page_full;   /* there may be more rows */
	uint32_t factor;     /* of the windows' length */

	/* sending */
	bool is_listing;
	struct sending sending[REPORT_MAX_SENDING];
	unsigned sending_count;
	struct store_task *marked; /* owned: tasks being written, as tried or with their results */
};

/* report.c */
uint64_t report_now_s(const struct report *report); /* Unix time by Stripe's clock */
void report_start_ticking(struct report *report);
const struct report_meter *report_find_meter(struct report *report, const char *event_name);
void report_note_date(struct report *report, const struct stripe_answer *answer);

/* report_tally.c */
void report_tally(struct report *report); /* count the store's tasks, then start ticking */

/* report_close.c */
void report_close(struct report *report);
void report_load_early(struct report *report);

/* report_send.c */
void report_send(struct report *report);
void report_done_sending(struct report *report);

#endif
