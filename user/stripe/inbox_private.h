/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * inbox_private: what inbox.c (when objects are fetched) and inbox_kinds.c (what is done then)
 * share.
 */
#ifndef STRIPE_INBOX_PRIVATE_H
#define STRIPE_INBOX_PRIVATE_H

#include <sys/queue.h>

#include "base/table.h"
#include "stripe/api.h"
#include "stripe/event.h"
#include "stripe/inbox.h"

/* The IDs of events that wait for an object. */
struct event_list {
	char **ids; /* owned, with the strings */
	size_t count, room;
};

/* A dirty object at Stripe. */
struct object {
	struct cds_lfht_node by_key; /* by kind and ID */
	STAILQ_ENTRY(object) entry;  /* in the inbox's queue */
	struct inbox *inbox;	     /* borrowed */
	enum event_kind kind;
	struct event_list covered; /* events that the fetch in progress covers */
	struct event_list waiting; /* events that need another fetch */
	uint64_t date_s;	   /* of the answer that is being applied */
	unsigned pending;	   /* unfinished steps of applying the answer */
	int err;		   /* an error of these steps, or 0 */
	bool is_queued, is_fetching;
	bool is_dirty;	 /* an event came since its fetch began */
	char *reference; /* owned: its checkout's client_reference_id; NULL: unknown */
	char id[EVENT_ID_MAX];
};

struct inbox {
	const struct stripe_context *context; /* borrowed */
	struct inbox_listeners listeners;
	struct inbox_counters counters;
	struct table objects;	     /* owns them */
	STAILQ_HEAD(, object) queue; /* to be fetched, in the order in which they became dirty */
	unsigned fetching;
	unsigned setbacks; /* failures in a row, which decide how long to pause */
	uv_timer_t pause;
	bool is_paused, is_stopped, is_pumping;
	bool is_reading;    /* a page of the store's pending events is being read */
	bool reads_again;   /* there may be more events than that page */
	bool discards_page; /* inbox_start() was called since: read again from the first event */
	uint64_t seen_seq;  /* of the last event that was read */
	struct store_task *finished, *writing; /* owned: results to be written, and being written */
	size_t finished_count, finished_room, writing_count;
};

/*
 * Mark an object dirty. The event @event_id (may be NULL) is done when it has been fetched and
 * applied.
 */
void inbox_add(struct inbox *inbox, enum event_kind kind, const char *id, const char *event_id);

/* As inbox_add() for a subscription; also keep @reference, its client_reference_id or "". */
void inbox_add_bought(struct inbox *inbox, const char *subscription, const char *reference,
		      const char *event_id);

/* Write the event's final state and note to the store. */
void inbox_finish(struct inbox *inbox, const char *event_id, enum store_task_state state,
		  const char *note);

/*
 * The object's answer has been applied; or, with @err, has not, and the object is fetched again
 * later.
 */
void object_done(struct object *object, int err, const char *note);

/* The object's events have failed for good; @note says why. */
void object_give_up(struct object *object, const char *note);

/* The path to fetch the object from. */
void object_path(const struct object *object, char *ret_path, size_t size);

/*
 * Stripe has no such subscription, or has it in the other mode: keep that of its account. Calls
 * object_done() with @note, now or later.
 */
void object_is_gone(struct object *object, const struct stripe_answer *answer, const char *note);

/* Apply the answer. Calls object_done() or object_give_up(), now or later. */
void object_act(struct object *object, const struct stripe_answer *answer);

/* Process a new event: apply what is possible without a fetch, and mark the object dirty. */
void inbox_sort(struct inbox *inbox, const struct event *event);

#endif
