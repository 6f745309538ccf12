/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * event_fuzz: arbitrary bytes give either an event whose parts can be stored and logged, or a
 * message that says why not. The object of an event is also parsed as a subscription.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "stripe/event.h"
#include "stripe/field.h"
#include "stripe/subscription.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_printable(const char *text)
{
	for (; *text; text++) {
		if (*text <= ' ' || *text > '~')
			abort();
	}
}

static void check_event(const struct event *e)
{
	if (!e->id[0] || !e->type[0] || !*event_kind_word(e->kind))
		abort();
	if (e->kind == EVENT_REFERENCE && !e->object_id[0])
		abort();
	if (e->snapshot && (e->is_thin || !e->object_id[0] || !json_is_object(e->snapshot)))
		abort();
	must_be_printable(e->id);
	must_be_printable(e->type);
	must_be_printable(e->account);
	must_be_printable(e->object_id);
	must_be_printable(e->object_type);
	must_be_printable(e->customer);
}

static void check_subscription(const json_t *object)
{
	static struct subscription s;
	const char *why = NULL;
	int err = subscription_parse(object, &s, &why);

	if (err ? err != -EBADMSG || !why || !*why
		: !s.id[0] || !s.customer[0] || s.item_count > SUBSCRIPTION_MAX_ITEMS)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text body = { (const char *)data, size };
	struct event e;
	const char *why = NULL;
	int err = event_parse(body, &e, &why);
	json_t *object;

	if (err) {
		if (!why || !*why)
			abort();
	} else {
		check_event(&e);
		if (e.snapshot)
			check_subscription(e.snapshot);
		event_done(&e);
	}
	if (!field_parse(body, &object, &why)) {
		check_subscription(object);
		json_decref(object);
	}
	return 0;
}
