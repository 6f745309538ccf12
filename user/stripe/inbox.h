/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * inbox: what is made of stored events: each marks an object dirty; the object is fetched and applied.
 *
 * Events of one object are worked together: one fetch is under way for it at a time, and covers all
 * events that had come when it began. Before that a subscription's own copy in the event is applied,
 * if it is newer than what is known; a cancellation always. An event's task is done when what it was about
 * is in force; until then it is in the store, and a restart goes on with it. While Stripe cannot be
 * reached the inbox pauses, for longer each time.
 */
#ifndef STRIPE_INBOX_H
#define STRIPE_INBOX_H

#include <jansson.h>

#include "stripe/context.h"

struct inbox;

struct inbox_counters {
	uint64_t worked;   /* events */
	uint64_t ignored;  /* events of a type that is not known or not ours */
	uint64_t failed;   /* events given up, with a reason in the store */
	uint64_t fetches;  /* objects fetched */
	uint64_t failures; /* fetches that did not succeed */
	uint64_t pending;  /* events waiting now */
};

/* What other parts of billing hear of. @arg is theirs; all may be NULL. */
struct inbox_listeners {
	void (*on_catalog)(void *arg); /* prices or products changed: tiers may match others */
	/* A meter event was refused after it was accepted; @event as Stripe has it. */
	void (*on_meter_error)(void *arg, const json_t *event);
	void *arg;
};

/* NULL when memory is short. @context is borrowed. */
struct inbox *inbox_new(const struct stripe_context *context,
			const struct inbox_listeners *listeners);

/*
 * Take up the events that are pending in the store, when the registry is there; and again when this host
 * gets the lease anew: what was waiting here is forgotten first.
 */
void inbox_start(struct inbox *inbox);

/*
 * The note of an event's task that is older than a look at all subscriptions: its own copy of one says
 * nothing new.
 */
#define INBOX_MISSED "missed"

/* Process one event that has just been stored. */
void inbox_take(struct inbox *inbox, const struct store_task *event);

/* Events were stored, by whichever host: take up those that are new, if they are this host's to work. */
void inbox_look(struct inbox *inbox);

/* Fetch and apply the subscription @id soon. */
void inbox_mark(struct inbox *inbox, const char *id);

/* The same for the entitlements of the account's customer, if its tier goes by them. */
void inbox_mark_entitlements(struct inbox *inbox, const struct store_account *account);

const struct inbox_counters *inbox_counters(const struct inbox *inbox);

/* Stop: nothing is fetched any more. Then, when the loop has turned, free. Accept NULL. */
void inbox_stop(struct inbox *inbox);
void inbox_free(struct inbox *inbox);

#endif
