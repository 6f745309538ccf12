/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * inbox: processes stored events. Each marks an object dirty; dirty objects are fetched and
 * applied.
 *
 * Events of the same object are processed together: it has at most one fetch at a time, which
 * covers all events that arrived before the fetch began. If an event contains a copy of the
 * subscription, that copy is applied first, unless the stored state is newer; a cancellation is
 * always applied.
 *
 * An event's task is done once the fetched state is in force. Until then it stays in the store, and
 * a restart processes it again. While Stripe cannot be reached the inbox pauses, with backoff.
 */
#ifndef STRIPE_INBOX_H
#define STRIPE_INBOX_H

#include <jansson.h>

#include "stripe/context.h"

struct inbox;

struct inbox_counters {
	uint64_t processed; /* events processed */
	uint64_t ignored;   /* events of a type that tollgate does not use */
	uint64_t failed;    /* events given up, with a reason in the store */
	uint64_t fetches;   /* objects fetched */
	uint64_t failures;  /* fetches or changes that failed */
	uint64_t pending;   /* events waiting now */
};

/* Callbacks for other parts of billing. Each may be NULL. */
struct inbox_listeners {
	void (*on_catalog)(void *arg); /* a price or product changed, so tiers may match others */
	/* Stripe refused usage after accepting it; @event is the error event, as fetched. */
	void (*on_meter_error)(void *arg, const json_t *event);
	void *arg;
};

/* @context is borrowed. NULL if out of memory. */
struct inbox *inbox_new(const struct stripe_context *context,
			const struct inbox_listeners *listeners);

/*
 * Process the events that are pending in the store. Call it when the registry exists, each time
 * this host gets the lease, and when the store was loaded again; what the inbox knew of events is
 * forgotten first.
 */
void inbox_start(struct inbox *inbox);

/*
 * The note of a task whose event was missed and found by a reconciliation. All subscriptions have
 * been fetched since, so the event's own copy is out of date.
 */
#define INBOX_MISSED "missed"

/* Process one event that has just been stored. */
void inbox_take(struct inbox *inbox, const struct store_task *event);

/* Some host has stored events: process those that are new, if this host holds the lease. */
void inbox_look(struct inbox *inbox);

/* Fetch and apply the subscription @id soon. */
void inbox_mark(struct inbox *inbox, const char *id);

/* Fetch and apply the entitlements of the account's customer soon, if its tier uses them. */
void inbox_mark_entitlements(struct inbox *inbox, const struct store_account *account);

const struct inbox_counters *inbox_counters(const struct inbox *inbox);

/* inbox_stop() stops fetching; inbox_free() frees after the loop has turned. Both accept NULL. */
void inbox_stop(struct inbox *inbox);
void inbox_free(struct inbox *inbox);

#endif
