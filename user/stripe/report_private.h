/* SPDX-License-Identifier: BSD-2-Clause */
/* What report.c (life), report_close.c (usage to tasks) and report_send.c (tasks to Stripe) share. */
#ifndef STRIPE_REPORT_PRIVATE_H
#define STRIPE_REPORT_PRIVATE_H

#include <sys/queue.h>

#include "stripe/report.h"

#define REPORT_MAX_SENDING 16

struct stripe_answer;

/* A billing meter, as Stripe has it. */
struct report_meter {
	char event_name[128];
	char id[STORE_NAME_MAX];
	char customer_key[64]; /* of the payload */
	char value_key[64];
};

/* An account whose usage is closed before its window ends; a task of this queue until it is. */
#define EARLY_QUEUE "close"

struct early_close {
	LIST_ENTRY(early_close) entry; /* of `early` */
	uint64_t account;
	uint64_t due_ms;
	char id[STORE_TASK_ID_MAX]; /* the task's */
	char customer[STORE_NAME_MAX], subscription[STORE_NAME_MAX];
	char meter[128];
};

/* One task under way. */
struct sending {
	struct report *report;	/* borrowed */
	struct store_task task; /* its body is owned */
	char subscription[STORE_NAME_MAX];
	bool is_busy;
};

struct report {
	const struct stripe_context *context; /* borrowed */
	struct report_counters counters;
	uv_timer_t timer;
	bool is_started, is_stopped;
	bool is_tallied; /* since this host got the lease: what was there from before is known */
	uint64_t ticks;
	int64_t skew_s; /* Stripe's clock minus ours, by its last answer */

	/* meters */
	struct report_meter *meters; /* owned */
	size_t meter_count;
	bool has_meters, is_fetching_meters;
	uint64_t meters_ms; /* when they were asked for last */
	uint64_t missed_ms; /* when the log said that one is missing */

	/* closing */
	bool is_closing;
	LIST_HEAD(, early_close) early; /* owned: waiting */
	struct early_close *current;	/* owned: being closed */
	struct store_usage *rows;	/* owned: of the transaction under way */
	struct store_task *tasks;	/* owned, with their bodies */
	size_t row_count, task_count;
	uint64_t task_units; /* in them */
	bool is_page_full;
	uint32_t factor;

	/* sending */
	bool is_listing;
	struct sending sending[REPORT_MAX_SENDING];
	unsigned sending_count;
	struct store_task *marked; /* owned: being marked as tried, or as settled */
};

/* report.c */
uint64_t report_now_s(const struct report *report); /* by Stripe's clock */
void report_start_ticking(struct report *report);
const struct report_meter *report_find_meter(struct report *report, const char *event_name);
void report_note_date(struct report *report, const struct stripe_answer *answer);

/* report_tally.c */
void report_tally(struct report *report); /* what is there from before; then it ticks */

/* report_close.c */
void report_close(struct report *report);
void report_load_early(struct report *report);

/* report_send.c */
void report_send(struct report *report);
void report_done_sending(struct report *report);

#endif
