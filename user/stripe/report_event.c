/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report_event: see report_event.h.
 *
 * A note is "<units> units of <meter> at <timestamp>[ retry <n>][: <why>]".
 */
#include "stripe/report_event.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "http/form.h"

#define OF	" units of "
#define AT	" at "
#define RETRY	" retry "
#define SUFFIX	"_r"
#define UNNAMED "-" /* in a note, the meter of a usage record */

static const char *const fates[] = {
	[REPORT_REFUSED] = "refused",
	[REPORT_IN_DOUBT] = "in doubt",
	[REPORT_LOST] = "lost",
};

const char *report_fate_word(enum report_fate fate)
{
	return fates[fate];
}

void report_event_identifier(const char *task_id, uint32_t retry,
			     char ret_identifier[REPORT_IDENTIFIER_MAX])
{
	if (retry)
		snprintf(ret_identifier, REPORT_IDENTIFIER_MAX, "%.86s" SUFFIX "%" PRIu32, task_id,
			 retry);
	else
		snprintf(ret_identifier, REPORT_IDENTIFIER_MAX, "%.99s", task_id);
}

void report_event_task(const char *identifier, char ret_task_id[STORE_TASK_ID_MAX],
		       uint32_t *ret_retry)
{
	const char *suffix = strstr(identifier, SUFFIX);
	size_t len = suffix ? (size_t)(suffix - identifier) : strlen(identifier);

	snprintf(ret_task_id, STORE_TASK_ID_MAX, "%.*s", (int)len, identifier);
	*ret_retry = suffix ? (uint32_t)strtoul(suffix + strlen(SUFFIX), NULL, 10) : 0;
}

static uint64_t form_u64(struct text form, const char *name)
{
	char digits[32];
	uint64_t value = 0;

	if (form_get(form, name, digits, sizeof(digits)) ||
	    text_parse_u64(text_of(digits), UINT64_MAX, &value))
		return 0;
	return value;
}

static void read_body(const char *body, struct report_event *ret)
{
	char identifier[REPORT_IDENTIFIER_MAX], task_id[STORE_TASK_ID_MAX];
	struct text form = text_of(body);
	const char *last = strrchr(body, '=');

	ret->at_s = form_u64(form, "timestamp");
	form_get(form, "event_name", ret->meter, sizeof(ret->meter));
	if (!form_get(form, "identifier", identifier, sizeof(identifier)))
		report_event_task(identifier, task_id, &ret->retry);
	if (!ret->meter[0])
		ret->units = form_u64(form, "quantity");
	else if (last) /* the value comes last; its name is the meter's */
		ret->units = strtoull(last + 1, NULL, 10);
}

/* Notes of older versions have neither a time nor a retry. */
static void read_note(const char *note, struct report_event *ret)
{
	char *end;
	size_t len;

	ret->units = strtoull(note, &end, 10);
	if (strncmp(end, OF, strlen(OF)) != 0)
		return;
	note = end + strlen(OF);
	len = strcspn(note, " ,:");
	if (len != strlen(UNNAMED) || *note != *UNNAMED)
		snprintf(ret->meter, sizeof(ret->meter), "%.*s", (int)len, note);
	note += len;
	if (!strncmp(note, AT, strlen(AT))) {
		ret->at_s = strtoull(note + strlen(AT), &end, 10);
		note = end;
	}
	if (!strncmp(note, RETRY, strlen(RETRY)))
		ret->retry = (uint32_t)strtoul(note + strlen(RETRY), NULL, 10);
}

void report_event_read(const struct store_task *task, struct report_event *ret)
{
	*ret = (struct report_event){ 0 };
	if (!task->body || !*task->body) {
		read_note(task->note, ret);
		return;
	}
	read_body(task->body, ret);
	if (!ret->meter[0]) { /* a usage record has no identifier: its retry is in the note */
		struct report_event noted = { 0 };

		read_note(task->note, &noted);
		ret->retry = noted.retry;
	}
}

static int write_meter_event(const struct store_task *task, const struct report_event *event,
			     const struct report_keys *keys, struct buf *body)
{
	char identifier[REPORT_IDENTIFIER_MAX], name[128];
	int err = form_add(body, "event_name", event->meter);

	report_event_identifier(task->id, event->retry, identifier);
	if (!err)
		err = form_add(body, "identifier", identifier);
	if (!err)
		err = form_add_u64(body, "timestamp", event->at_s);
	snprintf(name, sizeof(name), "payload[%s]", keys->customer);
	if (!err)
		err = form_add(body, name, task->object);
	snprintf(name, sizeof(name), "payload[%s]", keys->value);
	return err ? err : form_add_u64(body, name, event->units);
}

int report_event_write(const struct store_task *task, const struct report_event *event,
		       const struct report_keys *keys, struct buf *body)
{
	int err;

	if (keys)
		return write_meter_event(task, event, keys, body);
	err = form_add(body, "action", "increment");
	if (!err)
		err = form_add_u64(body, "quantity", event->units);
	return err ? err : form_add_u64(body, "timestamp", event->at_s);
}

void report_event_note(const struct report_event *event, const char *why,
		       char ret_note[STORE_NOTE_MAX])
{
	int len = snprintf(ret_note, STORE_NOTE_MAX, "%" PRIu64 OF "%s" AT "%" PRIu64, event->units,
			   event->meter[0] ? event->meter : UNNAMED, event->at_s);

	if (event->retry)
		len += snprintf(ret_note + len, STORE_NOTE_MAX - (size_t)len, RETRY "%" PRIu32,
				event->retry);
	if (*why)
		snprintf(ret_note + len, STORE_NOTE_MAX - (size_t)len, ": %s", why);
}

void report_fate_note(const struct report_event *event, enum report_fate fate, const char *why,
		      char ret_note[STORE_NOTE_MAX])
{
	char text[STORE_NOTE_MAX];

	snprintf(text, sizeof(text), "%s: %s", fates[fate], why);
	report_event_note(event, text, ret_note);
}

const char *report_fate_why(const struct store_task *task)
{
	const char *why;

	for (size_t i = 0; i < sizeof(fates) / sizeof(fates[0]); i++) {
		why = strstr(task->note, fates[i]);
		if (why && !strncmp(why + strlen(fates[i]), ": ", 2))
			return why + strlen(fates[i]) + 2;
	}
	return task->note;
}

enum report_fate report_fate_of(const struct store_task *task)
{
	/* The second word of each is how older versions began the note. */
	static const struct {
		const char *now, *before;
		enum report_fate fate;
	} rows[] = {
		{ ": in doubt: ", "sent over a day ago", REPORT_IN_DOUBT },
		{ ": lost: ", "older than the 35 days", REPORT_LOST },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strstr(task->note, rows[i].now) ||
		    !strncmp(task->note, rows[i].before, strlen(rows[i].before)))
			return rows[i].fate;
	}
	return REPORT_REFUSED;
}
