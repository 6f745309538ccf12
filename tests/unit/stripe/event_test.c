/* SPDX-License-Identifier: BSD-2-Clause */
/* event_test: events in both formats, valid ones as Stripe sends them, and invalid ones. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "stripe/event.h"
#include "stripe/field.h"

#define SNAPSHOT(type, object)                                                                     \
	"{\"id\":\"evt_1MqqbKLt4dXK03v5qaIbiNCC\",\"object\":\"event\",\"api_version\":"           \
	"\"2026-10-28.endive\",\"created\":1680064028,\"type\":\"" type "\",\"data\":{\"object\":" \
	"" object "},\"livemode\":false,\"pending_webhooks\":0,\"request\":{\"id\":null,"          \
	"\"idempotency_key\":null}}"

#define THIN(type, related)                                                                        \
	"{\"id\":\"evt_test_65R9Ijk8dKEYZcXeRWn16R9A7j1FSQ3w3TGDPLLGSM4CW0\",\"object\":"          \
	"\"v2.core.event\",\"type\":\"" type "\",\"livemode\":true,\"created\":"                   \
	"\"2024-09-17T06:20:52.246Z\",\"context\":null,\"related_object\":" related ",\"reason\":" \
	"{\"type\":\"request\",\"request\":{\"id\":\"req_v2\",\"idempotency_key\":\"k\"}}}"

#define SUBSCRIPTION                                                                       \
	"{\"id\":\"sub_1\",\"object\":\"subscription\",\"customer\":\"cus_1\",\"status\":" \
	"\"active\"}"
#define RELATED(type, id) \
	"{\"id\":\"" id "\",\"type\":\"" type "\",\"url\":\"/v1/" type "s/" id "\"}"

static struct event parse(const char *body)
{
	struct event e;
	const char *why = NULL;

	if (event_parse(text_of(body), &e, &why))
		fail_msg("%s: %s", why, body);
	return e;
}

static void a_snapshot_is_read(void **state)
{
	struct event e = parse(SNAPSHOT("customer.subscription.updated", SUBSCRIPTION));

	(void)state;
	assert_string_equal(e.id, "evt_1MqqbKLt4dXK03v5qaIbiNCC");
	assert_string_equal(e.type, "customer.subscription.updated");
	assert_string_equal(e.api_version, "2026-10-28.endive");
	assert_int_equal(e.created_s, 1680064028);
	assert_int_equal(e.kind, EVENT_SUBSCRIPTION);
	assert_false(e.is_thin || e.is_live);
	assert_string_equal(e.account, "");
	assert_string_equal(e.object_id, "sub_1");
	assert_string_equal(e.customer, "cus_1");
	assert_string_equal(field_text(e.snapshot, "status"), "active");
	event_done(&e);
	assert_null(e.snapshot);
	event_done(&e);
}

static void a_thin_event_is_read(void **state)
{
	struct event e =
		parse(THIN("v1.customer.subscription.updated", RELATED("subscription", "sub_2")));

	(void)state;
	assert_string_equal(e.id, "evt_test_65R9Ijk8dKEYZcXeRWn16R9A7j1FSQ3w3TGDPLLGSM4CW0");
	assert_string_equal(e.type, "v1.customer.subscription.updated");
	assert_int_equal(e.created_s, 1726554052);
	assert_int_equal(e.kind, EVENT_SUBSCRIPTION);
	assert_true(e.is_thin && e.is_live);
	assert_string_equal(e.object_id, "sub_2");
	assert_null(e.snapshot);
	event_done(&e);
}

static const struct {
	const char *body;
	enum event_kind kind;
	const char *object_type, *object_id, *customer;
	bool has_snapshot;
} dirty_objects[] = {
	{ SNAPSHOT("customer.subscription.deleted", SUBSCRIPTION), EVENT_SUBSCRIPTION,
	  "subscription", "sub_1", "cus_1", true },
	{ SNAPSHOT("invoice.payment_failed",
		   "{\"id\":\"in_1\",\"object\":\"invoice\",\"customer\":\"cus_1\","
		   "\"subscription\":\"sub_3\"}"),
	  EVENT_SUBSCRIPTION, "subscription", "sub_3", "cus_1", false },
	{ SNAPSHOT("invoice.paid", "{\"id\":\"in_1\",\"object\":\"invoice\",\"customer\":\"cus_1\","
				   "\"parent\":{\"type\":\"subscription_details\","
				   "\"subscription_details\":{\"subscription\":\"sub_4\"}}}"),
	  EVENT_SUBSCRIPTION, "subscription", "sub_4", "cus_1", false },
	{ SNAPSHOT("invoice.paid", "{\"id\":\"in_1\",\"object\":\"invoice\",\"customer\":"
				   "\"cus_1\",\"subscription\":null,\"parent\":null}"),
	  EVENT_UNKNOWN, "", "", "", false },
	{ SNAPSHOT("checkout.session.completed",
		   "{\"id\":\"cs_test_1\",\"object\":\"checkout.session\",\"customer\":"
		   "{\"id\":\"cus_5\",\"object\":\"customer\"}}"),
	  EVENT_CHECKOUT, "checkout.session", "cs_test_1", "cus_5", true },
	{ SNAPSHOT("checkout.session.expired", "{\"id\":\"cs_test_1\",\"object\":"
					       "\"checkout.session\",\"customer\":null}"),
	  EVENT_CHECKOUT, "checkout.session", "cs_test_1", "", true },
	{ SNAPSHOT("customer.deleted", "{\"id\":\"cus_6\",\"object\":\"customer\"}"),
	  EVENT_CUSTOMER, "customer", "cus_6", "cus_6", true },
	{ SNAPSHOT("customer.created", "{\"id\":\"cus_6\",\"object\":\"customer\"}"), EVENT_UNKNOWN,
	  "", "", "", false },
	{ SNAPSHOT("entitlements.active_entitlement_summary.updated",
		   "{\"object\":\"entitlements.active_entitlement_summary\",\"customer\":"
		   "\"cus_7\",\"entitlements\":{\"object\":\"list\",\"data\":[]}}"),
	  EVENT_ENTITLEMENTS, "customer", "cus_7", "cus_7", false },
	{ SNAPSHOT("charge.dispute.created",
		   "{\"id\":\"dp_1\",\"object\":\"dispute\",\"charge\":\"ch_1\"}"),
	  EVENT_DISPUTE, "charge", "ch_1", "", false },
	{ SNAPSHOT("charge.dispute.updated",
		   "{\"id\":\"dp_1\",\"object\":\"dispute\",\"charge\":\"ch_1\"}"),
	  EVENT_DISPUTE, "charge", "ch_1", "", false },
	{ SNAPSHOT("charge.dispute.created", "{\"id\":\"dp_1\",\"object\":\"dispute\"}"),
	  EVENT_DISPUTE, "charge", "", "", false },
	{ SNAPSHOT("charge.refund.updated", "{\"id\":\"re_1\",\"object\":\"refund\","
					    "\"charge\":\"ch_3\"}"),
	  EVENT_DISPUTE, "charge", "ch_3", "", false },
	{ SNAPSHOT("invoice.upcoming", "{\"object\":\"invoice\",\"subscription\":\"sub_1\","
				       "\"customer\":\"cus_1\"}"),
	  EVENT_SUBSCRIPTION, "subscription", "sub_1", "cus_1", false },
	{ SNAPSHOT("customer.subscription.updated", "{\"id\":7}"), EVENT_SUBSCRIPTION,
	  "subscription", "", "", false },
	{ THIN("v1.customer.subscription.updated", "null"), EVENT_SUBSCRIPTION, "", "", "", false },
	{ THIN("v1.invoice.upcoming", "null,\"snapshot_event\":\"evt_5\""), EVENT_REFERENCE, "",
	  "evt_5", "", false },
	{ THIN("v1.entitlements.active_entitlement_summary.updated",
	       "null,\"snapshot_event\":\"evt_5\""),
	  EVENT_REFERENCE, "", "evt_5", "", false },
	{ THIN("v1.a.type.of.tomorrow", "null,\"snapshot_event\":\"evt_5\""), EVENT_UNKNOWN, "", "",
	  "", false },
	{ SNAPSHOT("charge.refunded",
		   "{\"id\":\"ch_2\",\"object\":\"charge\",\"customer\":\"cus_8\"}"),
	  EVENT_DISPUTE, "charge", "ch_2", "cus_8", true },
	{ SNAPSHOT("price.updated", "{\"id\":\"price_1\",\"object\":\"price\"}"), EVENT_CATALOG,
	  "price", "price_1", "", true },
	{ SNAPSHOT("product.deleted", "{\"id\":\"prod_1\",\"object\":\"product\"}"), EVENT_CATALOG,
	  "product", "prod_1", "", true },
	{ SNAPSHOT("price.created", "{\"id\":\"p\",\"object\":\"price\",\"customer\":\"\\u00e9\"}"),
	  EVENT_CATALOG, "price", "p", "", true },
	{ SNAPSHOT("invoiceitem.created", "{\"id\":\"ii_1\",\"object\":\"invoiceitem\","
					  "\"subscription\":\"sub_1\"}"),
	  EVENT_UNKNOWN, "", "", "", false },
	{ SNAPSHOT("a.type.of.tomorrow", "{}"), EVENT_UNKNOWN, "", "", "", false },
	{ SNAPSHOT("v1.customer.subscription.updated", SUBSCRIPTION), EVENT_UNKNOWN, "", "", "",
	  false },
	{ THIN("v1.invoice.paid", RELATED("invoice", "in_9")), EVENT_INVOICE, "invoice", "in_9", "",
	  false },
	{ THIN("v1.customer.deleted", RELATED("customer", "cus_9")), EVENT_CUSTOMER, "customer",
	  "cus_9", "cus_9", false },
	{ THIN("v1.charge.dispute.closed", RELATED("dispute", "dp_9")), EVENT_DISPUTE, "dispute",
	  "dp_9", "", false },
	{ THIN("v1.billing.meter.error_report_triggered", RELATED("billing.meter", "mtr_9")),
	  EVENT_METER_ERROR, "billing.meter", "mtr_9", "", false },
	{ THIN("v1.billing.meter.no_meter_found", "null"), EVENT_METER_ERROR, "", "", "", false },
	{ THIN("v2.core.account.updated", RELATED("account", "acct_9")), EVENT_UNKNOWN, "account",
	  "acct_9", "", false },
	{ THIN("customer.deleted", RELATED("customer", "cus_9")), EVENT_UNKNOWN, "customer",
	  "cus_9", "cus_9", false },
};

static void each_event_names_its_dirty_object(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(dirty_objects) / sizeof(dirty_objects[0]); i++) {
		struct event e = parse(dirty_objects[i].body);

		if (e.kind != dirty_objects[i].kind)
			fail_msg("%s: %s", e.type, event_kind_word(e.kind));
		assert_string_equal(e.object_type, dirty_objects[i].object_type);
		assert_string_equal(e.object_id, dirty_objects[i].object_id);
		assert_string_equal(e.customer, dirty_objects[i].customer);
		if (!e.snapshot != !dirty_objects[i].has_snapshot)
			fail_msg("%s: wrong snapshot", e.type);
		event_done(&e);
	}
}

static void the_connected_account_of_an_event_is_read(void **state)
{
	struct event e =
		parse("{\"id\":\"evt_1\",\"object\":\"event\",\"account\":\"acct_1\","
		      "\"created\":1,\"type\":\"x\",\"data\":{\"object\":{}},\"livemode\":true}");

	(void)state;
	assert_string_equal(e.account, "acct_1");
	event_done(&e);
}

static void refused(struct text body, int err, const char *expected_why)
{
	struct event e = { .created_s = 77 };
	const char *why = "taken";

	if (event_parse(body, &e, &why) != err)
		fail_msg("%.*s: %s", (int)(body.len < 200 ? body.len : 200), body.ptr, why);
	assert_string_equal(why, expected_why);
	assert_int_equal(e.created_s, 77);
}

static void invalid_events_are_refused(void **state)
{
	static const struct {
		struct text body;
		const char *why;
	} rows[] = {
		{ { "", 0 }, "not valid JSON" },
		{ { NULL, 0 }, "not valid JSON" },
		{ { "[]", 2 }, "not a JSON object" },
		{ { "{}", 2 }, "not an event" },
		{ { "{\"object\":\"event\"} x", 20 }, "not valid JSON" },
		{ { "{\"object\":\"event\"}\0", 19 }, "not valid JSON" },
		{ { "{\"object\":\"eve\\u0000nt\"}", 24 }, "not valid JSON" },
		{ { "{\"object\":\"\xc3\x28\"}", 15 }, "not valid JSON" },
		{ { "{\"object\":\"event\",\"object\":\"event\"}", 35 },
		  "a name occurs twice in an object" },
		{ { "{\"object\":[\"event\"]}", 20 }, "not an event" },
		{ { "{\"object\":\"event\"}", 18 }, "id is missing or not valid" },
		{ { "{\"object\":\"event\",\"id\":5}", 25 }, "id is missing or not valid" },
		{ { "{\"object\":\"event\",\"id\":\"a\\nb\"}", 30 }, "id is missing or not valid" },
		{ { "{\"object\":\"event\",\"id\":\"e\"}", 27 }, "type is missing or not valid" },
		{ { "{\"object\":\"event\",\"id\":\"e\",\"type\":\"t\"}", 38 },
		  "livemode is missing or not valid" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		refused(rows[i].body, -EBADMSG, rows[i].why);
}

static void members_of_wrong_types_are_refused(void **state)
{
	static const struct {
		const char *body, *why;
	} rows[] = {
		{ SNAPSHOT("customer.subscription.updated", "[]"), "data.object is missing" },
		{ SNAPSHOT("customer.subscription.updated", "null"), "data.object is missing" },
		{ SNAPSHOT("anything", "\"x\""), "data.object is missing" },
		{ SNAPSHOT("customer.subscription.updated", "{\"id\":\"a b\"}"),
		  "the id in data.object is not valid" },
		{ THIN("v1.customer.deleted", "{\"id\":\"a\\tb\",\"type\":\"customer\"}"),
		  "the id or type of related_object is not valid" },
		{ "{\"id\":\"e\",\"object\":\"v2.core.event\",\"type\":\"t\",\"livemode\":true,"
		  "\"created\":1700000000}",
		  "created is missing or not valid" },
		{ "{\"id\":\"e\",\"object\":\"event\",\"type\":\"t\",\"livemode\":true,"
		  "\"created\":\"2024-09-17T06:20:52Z\"}",
		  "created is missing or not valid" },
		{ "{\"id\":\"e\",\"object\":\"event\",\"type\":\"t\",\"livemode\":\"no\","
		  "\"created\":1}",
		  "livemode is missing or not valid" },
		{ "{\"id\":\"e\",\"object\":\"event\",\"type\":\"t\",\"livemode\":true,"
		  "\"account\":\"a b\"}",
		  "account is not valid" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		refused(text_of(rows[i].body), -EBADMSG, rows[i].why);
}

static void depth_length_and_size_are_limited(void **state)
{
	enum { LEVELS = FIELD_MAX_DEPTH };
	struct buf body;
	struct event e;
	const char *why;

	(void)state;
	buf_init(&body, 2 * EVENT_MAX_BYTES);
	for (int extra = 0; extra < 2; extra++) {
		buf_clear(&body);
		buf_append_str(&body, "{\"quoted\":\"[[[[\\\"[[[[\",\"deep\":");
		for (int i = 0; i < LEVELS - 1 + extra; i++)
			buf_append_str(&body, "[");
		for (int i = 0; i < LEVELS - 1 + extra; i++)
			buf_append_str(&body, "]");
		buf_append_str(&body, "}");
		refused(buf_text(&body), -EBADMSG, extra ? "nested too deeply" : "not an event");
	}
	buf_clear(&body);
	buf_printf(&body, SNAPSHOT("x", "{\"pad\":\"%0*d\"}"), 200000, 0);
	assert_int_equal(event_parse(buf_text(&body), &e, &why), 0);
	event_done(&e);
	buf_clear(&body);
	buf_printf(&body, SNAPSHOT("x", "{\"pad\":\"%0*d\"}"), EVENT_MAX_BYTES, 0);
	refused(buf_text(&body), -EMSGSIZE, "too large");
	for (int len = EVENT_ID_MAX - 1; len <= EVENT_ID_MAX; len++) {
		buf_clear(&body);
		buf_printf(&body,
			   "{\"id\":\"%0*d\",\"object\":\"event\",\"created\":1,\"type\":\"x\","
			   "\"data\":{\"object\":{}},\"livemode\":true}",
			   len, 0);
		if (len == EVENT_ID_MAX) {
			refused(buf_text(&body), -EBADMSG, "id is missing or not valid");
		} else {
			assert_int_equal(event_parse(buf_text(&body), &e, &why), 0);
			event_done(&e);
		}
	}
	buf_done(&body);
}

static void times_are_read_strictly(void **state)
{
	static const struct {
		const char *text;
		uint64_t s; /* 0: refused */
	} rows[] = {
		{ "2024-09-17T06:20:52.246Z", 1726554052 },
		{ "2024-09-17T06:20:52Z", 1726554052 },
		{ "2024-02-29T00:00:00Z", 1709164800 },
		{ "1970-01-01T00:00:01.999999Z", 1 },
		{ "2024-09-17T06:20:52", 0 },
		{ "2024-09-17T06:20:52+02:00", 0 },
		{ "2024-09-17 06:20:52Z", 0 },
		{ "2024-13-17T06:20:52Z", 0 },
		{ "2024-09-17T24:20:52Z", 0 },
		{ "2024-09-17T06:20:5", 0 },
		{ "2024-09-17T06:2", 0 },
		{ "2024-0", 0 },
		{ "1969-12-31T23:59:59Z", 0 },
		{ "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *copy = strdup(rows[i].text); /* exact size, so the sanitizer sees overreads */
		uint64_t s = 0;
		int err = event_parse_time(copy, &s);

		free(copy);
		if (err != (rows[i].s ? 0 : -EINVAL) || s != rows[i].s)
			fail_msg("%s: %d, %llu", rows[i].text, err, (unsigned long long)s);
	}
}

static enum event_kind kind_of(const char *format, const char *type)
{
	enum event_kind kind;
	struct event e;
	char body[1024];

	snprintf(body, sizeof(body), format, type);
	e = parse(body);
	kind = e.kind;
	event_done(&e);
	return kind;
}

static void needed_events_are_single_names_that_are_understood(void **state)
{
	unsigned count = 0;
	const char *name;

	(void)state;
	for (; (name = event_needed(EVENT_SNAPSHOT, count)); count++) {
		char thin[128];

		assert_null(strchr(name, '*'));
		assert_true(name[strlen(name) - 1] != '.' && strncmp(name, "v1.", 3) != 0);
		if (kind_of(SNAPSHOT("%s", "{\"id\":\"x_1\",\"customer\":\"c\",\"charge\":"
					   "\"ch\",\"subscription\":\"sub_1\"}"),
			    name) == EVENT_UNKNOWN)
			fail_msg("%s is not understood", name);
		snprintf(thin, sizeof(thin), "v1.%s", name);
		if (kind_of(THIN("%s", RELATED("x", "x_1")), thin) == EVENT_UNKNOWN)
			fail_msg("%s is not understood", thin);
	}
	assert_in_range(count, 20, 100);
	for (count = 0; (name = event_needed(EVENT_THIN, count)); count++)
		assert_int_equal(kind_of(THIN("%s", "null"), name), EVENT_METER_ERROR);
	assert_int_equal(count, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_snapshot_is_read),
		cmocka_unit_test(a_thin_event_is_read),
		cmocka_unit_test(each_event_names_its_dirty_object),
		cmocka_unit_test(needed_events_are_single_names_that_are_understood),
		cmocka_unit_test(the_connected_account_of_an_event_is_read),
		cmocka_unit_test(invalid_events_are_refused),
		cmocka_unit_test(members_of_wrong_types_are_refused),
		cmocka_unit_test(depth_length_and_size_are_limited),
		cmocka_unit_test(times_are_read_strictly),
	};

	return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
