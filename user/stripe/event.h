/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * event: what a webhook says has happened.
 *
 * Two shapes come to one endpoint: a snapshot holds the object as it was then; a thin event only names
 * it, and its types begin with "v1.". As events come in any order and more than once, they are read for
 * one thing: which object is dirty and is to be fetched. Pure.
 */
#ifndef STRIPE_EVENT_H
#define STRIPE_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/text.h"

#define EVENT_MAX_BYTES (1 << 20)
#define EVENT_ID_MAX	256 /* with the NUL */
#define EVENT_TYPE_MAX	128

/* What is dirty, and what object_id is. */
enum event_kind {
	EVENT_UNKNOWN,	    /* nothing of ours, also an invoice of no subscription */
	EVENT_SUBSCRIPTION, /* a subscription, be it by its invoice */
	EVENT_INVOICE,	    /* an invoice that has to be fetched, to learn whose it is */
	EVENT_CHECKOUT,	    /* a checkout session */
	EVENT_CUSTOMER,	    /* a customer */
	EVENT_ENTITLEMENTS, /* a customer whose active entitlements changed; thin: see object_type */
	EVENT_METER_ERROR,  /* a billing meter, or ""; fetch the event itself for what was wrong */
	EVENT_DISPUTE, /* a charge, disputed or refunded; thin: maybe a dispute, see object_type */
	EVENT_CATALOG, /* a price or a product */
};

struct event {
	char id[EVENT_ID_MAX];	   /* printable; never "" */
	char type[EVENT_TYPE_MAX]; /* as it came, for logs */
	enum event_kind kind;
	bool is_thin;
	bool is_live;
	uint64_t created_s;
	char api_version[64]; /* of a snapshot's data; "" in thin events */
	char account[64];     /* of a connected account whose event this is; "": our own */
	char object_id[EVENT_ID_MAX];
	char object_type[64]; /* Stripe's word for what object_id names: "subscription", ... */
	char customer[64];    /* whom it is about, if that is told, or "" */
	json_t *snapshot; /* owned: the object that object_id names, as of then; NULL: not told */
};

/*
 * Read @body. 0, and event_done() is due; or -EBADMSG, a few words in @ret_why for the answer and the
 * log, and *@ret untouched. -EMSGSIZE, and words, above EVENT_MAX_BYTES.
 */
int event_parse(struct text body, struct event *ret, const char **ret_why);

/* Free what @event owns. It is zeroed; doing it twice is harmless. */
void event_done(struct event *event);

/* "subscription", "checkout", ...: for logs and metrics. */
const char *event_kind_word(enum event_kind kind);

/*
 * Unix seconds of "2026-10-28T01:02:03.456Z", as newer Stripe objects have times; offsets other than Z are
 * none of Stripe's. 0 or -EINVAL.
 */
int event_parse_time(const char *text, uint64_t *ret_s);

#endif
