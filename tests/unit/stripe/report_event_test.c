/* SPDX-License-Identifier: BSD-2-Clause */
/* report_event_test: what a task reports survives in its body and, after that, in its note. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "stripe/report_event.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct report_event events[] = {
	{ .meter = "api_requests", .units = 40, .at_s = 1760000000 },
	{ .meter = "api_requests", .units = UINT64_MAX, .at_s = 1, .retry = UINT32_MAX },
	{ .meter = "quantity", .units = 0, .at_s = 1760000000, .retry = 2 },
	{ .meter = "", .units = 7, .at_s = 1760000000 },
	{ .meter = "", .units = 8, .at_s = 1760000000, .retry = 3 },
};

static void check_same(const struct report_event *event, const struct report_event *wanted)
{
	assert_string_equal(event->meter, wanted->meter);
	assert_int_equal(event->units, wanted->units);
	assert_int_equal(event->at_s, wanted->at_s);
	assert_int_equal(event->retry, wanted->retry);
}

static void an_event_is_read_from_its_body(void **state)
{
	const struct report_keys keys = { "identifier", "timestamp" }; /* the worst names */

	(void)state;
	for (size_t i = 0; i < COUNT(events); i++) {
		struct store_task task = { .id = "tg_0000000000000001_3600_0", .object = "cus_1" };
		struct report_event event;
		struct buf body;

		buf_init(&body, 1024);
		assert_int_equal(report_event_write(&task, &events[i],
						    events[i].meter[0] ? &keys : NULL, &body),
				 0);
		assert_int_equal(buf_append(&body, "", 1), 0);
		task.body = buf_head(&body);
		report_event_note(&events[i], "", task.note); /* as of a task that is sent again */
		report_event_read(&task, &event);
		check_same(&event, &events[i]);
		buf_done(&body);
	}
}

static void an_event_is_read_from_its_note(void **state)
{
	static const char *const whys[] = { "", "already at Stripe", "refused: 9 units of x at 8" };

	(void)state;
	for (size_t i = 0; i < COUNT(events); i++) {
		for (size_t j = 0; j < COUNT(whys); j++) {
			struct store_task task = { 0 };
			struct report_event event;

			report_event_note(&events[i], whys[j], task.note);
			report_event_read(&task, &event);
			check_same(&event, &events[i]);
		}
	}
}

static void notes_of_older_versions_are_read(void **state)
{
	static const struct {
		const char *note;
		struct report_event event;
		enum report_fate fate;
	} rows[] = {
		{ "13 units of api_requests",
		  { .meter = "api_requests", .units = 13 },
		  REPORT_REFUSED },
		{ "13 units of api_requests, already at Stripe",
		  { .meter = "api_requests", .units = 13 },
		  REPORT_REFUSED },
		{ "13 units: archived_meter: The meter is archived.",
		  { .units = 13 },
		  REPORT_REFUSED },
		{ "sent over a day ago, and so on", { .units = 0 }, REPORT_IN_DOUBT },
		{ "older than the 35 days that Stripe accepts", { .units = 0 }, REPORT_LOST },
		{ "", { .units = 0 }, REPORT_REFUSED },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct store_task task = { 0 };
		struct report_event event;

		snprintf(task.note, sizeof(task.note), "%s", rows[i].note);
		report_event_read(&task, &event);
		check_same(&event, &rows[i].event);
		assert_int_equal(report_fate_of(&task), rows[i].fate);
	}
}

static void a_fate_is_read_from_the_note(void **state)
{
	(void)state;
	for (unsigned fate = REPORT_REFUSED; fate <= REPORT_LOST; fate++) {
		struct store_task task = { 0 };
		char why[400];

		memset(why, 'x', sizeof(why));
		why[sizeof(why) - 1] = '\0';
		report_fate_note(&events[0], fate, why, task.note);
		assert_int_equal(report_fate_of(&task), fate);
		report_fate_note(&events[0], fate, "the meter: archived", task.note);
		assert_int_equal(report_fate_of(&task), fate);
		assert_string_equal(report_fate_why(&task), "the meter: archived");
	}
}

static void each_retry_has_an_identifier_of_its_own(void **state)
{
	static const struct {
		const char *task, *identifier;
		uint32_t retry;
	} rows[] = {
		{ "tg_0000000000000001_3600_0", "tg_0000000000000001_3600_0", 0 },
		{ "tg_0000000000000001_3600_0", "tg_0000000000000001_3600_0_r1", 1 },
		{ "tg_ffffffffffffffff_18446744073709551615_4294967295",
		  "tg_ffffffffffffffff_18446744073709551615_4294967295_r4294967295", UINT32_MAX },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char identifier[REPORT_IDENTIFIER_MAX], task[STORE_TASK_ID_MAX];
		uint32_t retry;

		report_event_identifier(rows[i].task, rows[i].retry, identifier);
		assert_string_equal(identifier, rows[i].identifier);
		report_event_task(identifier, task, &retry);
		assert_string_equal(task, rows[i].task);
		assert_int_equal(retry, rows[i].retry);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_event_is_read_from_its_body),
		cmocka_unit_test(an_event_is_read_from_its_note),
		cmocka_unit_test(notes_of_older_versions_are_read),
		cmocka_unit_test(a_fate_is_read_from_the_note),
		cmocka_unit_test(each_retry_has_an_identifier_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
