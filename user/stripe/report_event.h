/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report_event: what a task of REPORT_QUEUE reports to Stripe, and how that is kept in the task.
 *
 * A task that waits or failed has a body, the complete form of its call. A task that Stripe has
 * accepted has only a note, from which the body can be written again. Pure.
 */
#ifndef STRIPE_REPORT_EVENT_H
#define STRIPE_REPORT_EVENT_H

#include "base/buf.h"
#include "store/store.h"

/* `due_ms` of a failed task that is never sent again by itself. Stores have signed numbers. */
#define REPORT_NEVER_MS ((uint64_t)INT64_MAX)

/* What became of a failed task. The note begins with the word after "N units of ...: ". */
enum report_fate {
	REPORT_REFUSED,	 /* Stripe does not have it, and sending it again may help */
	REPORT_IN_DOUBT, /* Stripe may have it */
	REPORT_LOST,	 /* too old for Stripe */
};

/* Names of the members of a meter's events, at Stripe. */
struct report_keys {
	const char *customer, *value;
};

struct report_event {
	char meter[128]; /* the meter's event_name; "" for a usage record */
	uint64_t units;
	uint64_t at_s;	/* its timestamp; 0: unknown, because an older version wrote the note */
	uint32_t retry; /* how often Stripe refused it and it got another identifier */
};

/*
 * Write the identifier of the event of the task @task_id: the task's ID, and for a retry "_r" and
 * its number, because Stripe would take the same identifier for a repetition.
 */
#define REPORT_IDENTIFIER_MAX 100 /* with the NUL; Stripe accepts up to 100 bytes */
void report_event_identifier(const char *task_id, uint32_t retry,
			     char ret_identifier[REPORT_IDENTIFIER_MAX]);

/* The task's ID in @identifier, and the number of the retry. */
void report_event_task(const char *identifier, char ret_task_id[STORE_TASK_ID_MAX],
		       uint32_t *ret_retry);

/* Read what @task reports, from its body or its note. */
void report_event_read(const struct store_task *task, struct report_event *ret);

/*
 * Write the form of the call for @task, whose object is the customer. @keys NULL: a usage record. 0
 * or an error of buf_append().
 */
int report_event_write(const struct store_task *task, const struct report_event *event,
		       const struct report_keys *keys, struct buf *body);

/* Write a note: the event, and then @why, which may be "" and is truncated. */
void report_event_note(const struct report_event *event, const char *why,
		       char ret_note[STORE_NOTE_MAX]);

/* The same for a failed task, with its fate. */
void report_fate_note(const struct report_event *event, enum report_fate fate, const char *why,
		      char ret_note[STORE_NOTE_MAX]);

/* The fate of a failed @task, and its word. */
enum report_fate report_fate_of(const struct store_task *task);
const char *report_fate_word(enum report_fate fate);

/* Why @task failed: what its note says after the event and the fate. Points into the note. */
const char *report_fate_why(const struct store_task *task);

#endif
