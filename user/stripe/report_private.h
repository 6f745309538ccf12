/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report_private: what the files of report share.
 *
 * report.c starts, stops and sets the length of windows; report_meters.c knows Stripe's meters;
 * report_close.c turns usage into tasks, report_early.c makes it do so before a window's end;
 * report_problems.c has the usage that cannot be closed; report_event.c encodes tasks;
 * report_send.c sends them to Stripe; report_retry.c sends again what Stripe refused;
 * report_tally.c counts tasks.
 */
#ifndef STRIPE_REPORT_PRIVATE_H
#define STRIPE_REPORT_PRIVATE_H

#include <sys/queue.h>

#include "stripe/meter.h"
#include "stripe/report.h"
#include "stripe/report_event.h"

#define REPORT_MAX_SENDING  16
#define REPORT_OLDEST_S	    (35 * 86400ULL) /* Stripe accepts nothing older */
#define REPORT_WHY_MAX	    256
#define REPORT_MAX_PROBLEMS 64

struct stripe_answer;

/* A billing meter at Stripe. */
struct report_meter {
	char event_name[128];
	char id[STORE_NAME_MAX];
	char customer_key[64]; /* names in the payload of its events */
	char value_key[64];
	char fault[METER_FAULT_MAX]; /* why usage cannot be reported to it; "": it can */
};

struct report_meters {
	struct report_meter *list; /* owned */
	size_t count, room;
};

/* Usage that cannot be closed for one reason. */
struct report_problem {
	char what[128]; /* the meter or, if the tier is not configured, the tier */
	char why[REPORT_WHY_MAX];
	uint64_t windows, units;
	uint64_t oldest_s; /* the start of the oldest window */
};

struct report_problems {
	struct report_problem list[REPORT_MAX_PROBLEMS];
	unsigned count;
	uint64_t units; /* also of problems that have no place in the list */
};

/* An account whose usage is closed early. It has a task in this queue until then. */
#define EARLY_QUEUE "close"

struct early_close {
	LIST_ENTRY(early_close) entry; /* in `early` */
	uint64_t account;
	uint64_t changed_s; /* when it ended or got another meter */
	uint64_t due_ns;    /* on the monotonic clock */
	bool was_tried;
	char id[STORE_TASK_ID_MAX]; /* of the task */
	char customer[STORE_NAME_MAX], subscription[STORE_NAME_MAX];
	char meter[128];
	struct report_problem blocked; /* its usage that could not be closed */
};

/* One task that is being sent. */
struct sending {
	struct report *report;	/* borrowed */
	struct store_task task; /* its body is owned */
	char subscription[STORE_NAME_MAX];
	bool is_busy; /* the result is not known yet */
};

/* The pass over the open windows that is in progress. */
struct closing {
	bool is_running;
	bool is_full;	   /* it began with the first window */
	bool is_page_full; /* there may be more rows */
	bool is_future;	   /* windows that begin in the future: the clock was ahead */
	bool has_last;
	struct store_usage last; /* the last row of the page */
	bool has_before_page;
	struct store_usage before_page; /* the last row before the page */
	size_t limit;			/* of the page */
	uint64_t began_ns;
	struct early_close
		*early; /* owned: only this account's windows; NULL: those that have ended */
	unsigned early_blocked;	  /* windows of it that could not be closed */
	struct store_usage *rows; /* owned: the transaction in progress closes these */
	struct store_task *tasks; /* owned, with their bodies: it adds these */
	size_t row_count, task_count;
	struct report_problems problems, problems_before_page; /* of this pass */
};

struct report {
	const struct stripe_context *context; /* borrowed */
	struct report_counters counters;
	uv_timer_t timer;
	bool is_started, is_stopped;
	bool is_tallied; /* the store's tasks have been counted since this host got the lease */
	uint64_t ticks;

	/* meters */
	struct report_meters meters, fresh_meters; /* in use, and being fetched */
	bool has_meters, is_fetching_meters;
	bool retries_then;  /* once they are fetched, send refused usage again */
	uint64_t meters_ns; /* when they were last fetched, on the monotonic clock */

	/* closing */
	LIST_HEAD(, early_close) early; /* owned: waiting */
	struct closing closing;
	struct report_problems problems; /* after the last full pass, and the short ones since */
	struct store_usage resume;	 /* the last row of the last pass */
	bool has_resume;
	uint64_t full_due_ns; /* when the next full pass is due; 0: at once */
	uint32_t factor;      /* of the windows' length */

	/* sending */
	bool is_listing;
	uint64_t listed_seq; /* where the next round begins; 0: with the first task */
	uint64_t began_seq;  /* where this round began */
	bool has_wrapped;    /* this round has begun again with the first task */
	struct sending sending[REPORT_MAX_SENDING];
	unsigned sending_count;
	struct store_task *marked; /* owned: tasks being written, as tried or with their results */

	/* sending again */
	bool is_retrying;
	bool retries_soon; /* report_retry_soon() was called: begin again with the first task */
	bool retries_all;  /* also those that are not due yet */
	uint64_t retried_seq;
	struct store_task *retried; /* owned, with their bodies: being written */
	size_t retried_count;
};

/* report.c */
uint64_t report_now_s(const struct report *report); /* Unix time by Stripe's clock */
void report_start_ticking(struct report *report);

/* report_meters.c */
void report_refresh_meters(struct report *report); /* fetch them if it is time */

/* The meter to which usage can be reported; or NULL, and why it cannot. */
const struct report_meter *report_find_meter(struct report *report, const char *event_name,
					     char ret_why[REPORT_WHY_MAX]);

/* report_tally.c */
void report_tally(struct report *report); /* count the store's tasks, then start ticking */
void report_count(struct report *report, const struct store_task *task, int sign);

/* report_close.c */
void report_close(struct report *report);
void report_close_future(struct report *report); /* windows that a wrong clock opened */
void report_close_all(struct report *report);	 /* soon, from the first window on */
void report_close_free(struct report *report);

/* report_early.c */
void report_load_early(struct report *report);
struct early_close *report_take_early(struct report *report); /* one that is due, or NULL */
/*
 * Whether the early closing covers @row: its window began before the change or, if the clock was
 * ahead, lies in the future.
 */
bool report_early_covers(const struct report *report, const struct early_close *early,
			 const struct store_usage *row);
/* Whether an early closing waits to close @row; nothing else may close it then. */
bool report_is_early(const struct report *report, const struct store_usage *row);
void report_end_early(struct report *report, struct early_close *early, bool is_done);
void report_wake_early(struct report *report); /* try again now what could not be closed */
void report_forget_early(struct report *report);

/* report_problems.c */
void report_problem_add(struct report_problems *problems, const struct report_problem *problem);
/* The full pass with the result @fresh has ended: log what changed, and keep it. */
void report_problems_replace(struct report *report, const struct report_problems *fresh);

/* report_send.c */
void report_send(struct report *report);
void report_done_sending(struct report *report);

/* report_retry.c */
void report_retry(struct report *report);
void report_retry_soon(struct report *report); /* also what is not due yet */
void report_retry_free(struct report *report);
uint64_t report_retry_due_ms(uint32_t retry); /* when a task that was refused is sent again */

#endif
