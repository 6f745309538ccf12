/* SPDX-License-Identifier: BSD-2-Clause */
/* What inbox.c (which object is when fetched) and inbox_kinds.c (what is then done) know of each other. */
#ifndef STRIPE_INBOX_PRIVATE_H
#define STRIPE_INBOX_PRIVATE_H

#include <sys/queue.h>

#include "base/table.h"
#include "stripe/api.h"
#include "stripe/event.h"
#include "stripe/inbox.h"

/* Events that wait for an object, by their ids. */
struct event_list {
	char **ids; /* owned, and what they point to */
	size_t count, room;
};

/* Something that Stripe has, and that is dirty. */
struct object {
	struct cds_lfht_node by_key; /* by kind and id */
	STAILQ_ENTRY(object) entry;  /* of the queue */
	struct inbox *inbox;	     /* borrowed */
	enum event_kind kind;
	struct event_list covered; /* by the fetch under way */
	struct event_list waiting;
	uint64_t date_s;  /* of the answer that is being applied */
	unsigned pending; /* steps of its application that are not over */
	int err;	  /* the first error of those */
	bool is_queued, is_fetching;
	bool is_dirty; /* since its fetch began */
	char id[EVENT_ID_MAX];
};

struct inbox {
	const struct stripe_context *context; /* borrowed */
	struct inbox_listeners listeners;
	struct inbox_counters counters;
	struct table objects; /* owns them */
	STAILQ_HEAD(, object)
	queue; /* those to be fetched, in the order in which they became dirty */
	unsigned fetching;
	unsigned setbacks; /* in a row: how long to pause */
	uv_timer_t pause;
	bool is_paused, is_stopped, is_pumping;
	bool is_reading, reads_again;	       /* the store's list; there is more by now */
	uint64_t seen_seq;		       /* of the last event that was taken from it */
	struct store_task *finished, *writing; /* owned: tasks to be set, and those being set */
	size_t finished_count, finished_room, writing_count;
};

/* Mark the object dirty; @event_id (may be NULL) is done when it was fetched and applied. */
void inbox_add(struct inbox *inbox, enum event_kind kind, const char *id, const char *event_id);

/* The event needs nothing more. */
void inbox_finish(struct inbox *inbox, const char *event_id, enum store_task_state state,
		  const char *note);

/* All that the object's answer led to is over, with 0 or why not: then it is fetched again later. */
void object_done(struct object *object, int err, const char *note);

/* Nothing more can be done for the object's events; @note says why. */
void object_give_up(struct object *object, const char *note);

/* What to ask Stripe for. */
void object_path(const struct object *object, char *ret_path, size_t size);

/* Act on the answer; object_done() follows, now or later. */
void object_act(struct object *object, const struct stripe_answer *answer);

/* A new event: whatever can be done before a fetch, and the object that it makes dirty. */
void inbox_sort(struct inbox *inbox, const struct event *event);

#endif
