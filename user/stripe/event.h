/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * event: reads Stripe's events.
 *
 * One endpoint receives both of Stripe's formats: a snapshot event contains the object as it was at
 * the time; a thin event only names the object, and its type begins with "v1.". Events may arrive
 * in any order and more than once, so tollgate reads from them only which object is dirty, that is,
 * must be fetched again. Pure.
 */
#ifndef STRIPE_EVENT_H
#define STRIPE_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/text.h"

#define EVENT_MAX_BYTES (1 << 20)
#define EVENT_ID_MAX	256 /* with the NUL */
#define EVENT_TYPE_MAX	128

/* What kind of object is dirty; object_id is its ID, or "" if the event does not say. */
enum event_kind {
	EVENT_UNKNOWN,	    /* tollgate does not use it; also an invoice without a subscription */
	EVENT_SUBSCRIPTION, /* a subscription, also if the event is about its invoice */
	EVENT_INVOICE,	    /* an invoice that must be fetched to learn its subscription */
	EVENT_CHECKOUT,	    /* a checkout session */
	EVENT_CUSTOMER,	    /* a customer */
	EVENT_ENTITLEMENTS, /* a customer whose entitlements changed; thin: see object_type */
	EVENT_METER_ERROR, /* a billing meter, or ""; the details are in the event, to be fetched */
	EVENT_DISPUTE,	   /* a charge, disputed or refunded; or a dispute or a refund */
	EVENT_CATALOG,	   /* a price, a product or a meter */
	EVENT_REFERENCE,   /* a snapshot event that says what is dirty, and must be fetched */
};

struct event {
	char id[EVENT_ID_MAX];	   /* printable; never "" */
	char type[EVENT_TYPE_MAX]; /* as Stripe sent it, for logs */
	enum event_kind kind;
	bool is_thin;
	bool is_live;
	uint64_t created_s;
	char api_version[64]; /* of a snapshot's data; "" in thin events */
	char account[64];     /* the connected account that the event belongs to; "": our own */
	char object_id[EVENT_ID_MAX];
	char object_type[64]; /* Stripe's name for the object's type: "subscription", ... */
	char customer[64];    /* the customer concerned; "" if the event does not say */
	json_t *snapshot;     /* owned: the object at the time of the event; NULL if not included */
};

/*
 * Read @body. 0, and the caller must call event_done(). -EBADMSG if it is not a valid event,
 * -EMSGSIZE if it has more than EVENT_MAX_BYTES; then *@ret is untouched and @ret_why is a static
 * description for the answer and the log.
 */
int event_parse(struct text body, struct event *ret, const char **ret_why);

/* Free what @event owns, and zero it. Safe to call twice. */
void event_done(struct event *event);

enum event_format {
	EVENT_SNAPSHOT, /* events with a copy of the object; an endpoint is registered for them */
	EVENT_THIN,	/* events that exist only as thin ones; they need an event destination */
};

/*
 * The names of the events that tollgate needs from Stripe, from @index 0; NULL after the last. Each
 * snapshot event exists as a thin event, too, with "v1." before its name.
 */
const char *event_needed(enum event_format format, size_t index);

#define EVENT_TYPES_MAX 20 /* how many types GET /v1/events takes in one call */

/*
 * Append "&types[0]=..." for the needed snapshot events from @first on, at most EVENT_TYPES_MAX, to
 * the path of GET /v1/events. 0 or the error of buf_append().
 */
int event_write_types(struct buf *path, size_t first);

/* The name of @kind for logs and metrics: "subscription", "checkout", ... */
const char *event_kind_word(enum event_kind kind);

/*
 * Read a time such as "2026-10-28T01:02:03.456Z", the format of Stripe's newer objects, as Unix
 * seconds. 0, or -EINVAL, also for an offset other than Z, which Stripe does not send.
 */
int event_parse_time(const char *text, uint64_t *ret_s);

#endif
