/* SPDX-License-Identifier: BSD-2-Clause */
/* subscription_test: subscriptions in the formats of Stripe's API versions, and invalid ones. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "stripe/field.h"
#include "stripe/subscription.h"

/* API version 2022-11-15: the billing period is a member of the subscription. */
static const char old_shape[] =
	"{\"id\":\"sub_1Old\",\"object\":\"subscription\",\"cancel_at\":null,"
	"\"cancel_at_period_end\":true,\"created\":1700000000,"
	"\"current_period_start\":1700000000,\"current_period_end\":1702592000,"
	"\"customer\":\"cus_1\",\"ended_at\":null,\"items\":{\"object\":\"list\",\"data\":[{"
	"\"id\":\"si_1\",\"object\":\"subscription_item\",\"plan\":{\"id\":\"price_pro\","
	"\"usage_type\":\"licensed\"},\"price\":{\"id\":\"price_pro\",\"object\":\"price\","
	"\"lookup_key\":null,\"product\":\"prod_pro\",\"recurring\":{\"interval\":\"month\","
	"\"usage_type\":\"licensed\"}},\"quantity\":1}],\"has_more\":false},"
	"\"latest_invoice\":\"in_1\",\"livemode\":false,\"metadata\":{\"team\":\"a\"},"
	"\"pause_collection\":null,\"status\":\"active\",\"trial_end\":null}";

/* API version 2026-10-28.endive: billing periods are members of items. Everything is expanded. */
static const char new_shape[] =
	""
	"{\"id\":\"sub_1New\",\"object\":\"subscription\",\"cancel_at\":1790000000,\"cancel_at_"
	"period_end\":false,\"created\":1780000000,\"customer\":{\"id\":\"cus_2\",\"object\":"
	"\"customer\",\"email\":\"a@example.com\"},\"items\":{\"object\":\"list\",\"data\":[{"
	"\"id\":\"si_1\",\"current_period_start\":1780000000,\"current_period_end\":1782592000,"
	"\"price\":{\"id\":\"price_base\",\"lookup_key\":\"base\",\"product\":{\"id\":\"prod_"
	"base\",\"object\":\"product\"},\"recurring\":{\"meter\":null,\"usage_type\":\"licensed\"}}"
	"},{\"id\":\"si_2\",\"current_period_start\":1780000000,\"current_period_end\":1811536000,"
	"\"price\":{\"id\":\"price_calls\",\"lookup_key\":\"calls\",\"product\":\"prod_calls\","
	"\"recurring\":{\"meter\":\"mtr_1\",\"usage_type\":\"metered\"}}}],\"has_more\":false},"
	"\"latest_invoice\":{\"id\":\"in_2\",\"object\":\"invoice\",\"status\":\"open\",\"attempt_"
	"count\":2,\"created\":1781000000,\"status_transitions\":{\"finalized_at\":1781003600}},"
	"\"livemode\":true,\"metadata\":{},\"pause_collection\":{\"behavior\":\"void\"},\"status\":"
	"\"past_due\",\"trial_end\":1780500000}";

static json_t *load(const char *text)
{
	const char *why = NULL;
	json_t *object = NULL;

	if (field_parse(text_of(text), &object, &why))
		fail_msg("%s: %s", why, text);
	return object;
}

static struct subscription read_text(const char *text)
{
	json_t *object = load(text);
	struct subscription s;
	const char *why = NULL;

	if (subscription_parse(object, &s, &why))
		fail_msg("%s: %s", why, text);
	json_decref(object);
	return s;
}

/* A copy of @text in which the first @from is replaced by @to. */
static const char *with(const char *text, const char *from, const char *to)
{
	static char result[4096];
	const char *at = strstr(text, from);

	assert_non_null(at);
	snprintf(result, sizeof(result), "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
	return result;
}

static void the_old_format_is_read(void **state)
{
	struct subscription s = read_text(old_shape);

	(void)state;
	assert_string_equal(s.id, "sub_1Old");
	assert_string_equal(s.customer, "cus_1");
	assert_string_equal(s.email, "");
	assert_int_equal(s.status, STORE_ACTIVE);
	assert_false(s.is_live || s.is_customer_deleted || s.is_collection_paused);
	assert_int_equal(s.created_s, 1700000000);
	assert_int_equal(s.period_start_s, 1700000000);
	assert_int_equal(s.period_end_s, 1702592000);
	assert_int_equal(s.trial_end_s, 0);
	assert_int_equal(s.ended_at_s, 0);
	assert_int_equal(s.cancel_at_s, 1702592000); /* at the period's end */
	assert_string_equal(s.invoice, "in_1");
	assert_string_equal(s.invoice_status, "");
	assert_int_equal(s.owed_since_s, 0);
	assert_int_equal(s.item_count, 1);
	assert_string_equal(s.items[0].price, "price_pro");
	assert_string_equal(s.items[0].product, "prod_pro");
	assert_string_equal(s.items[0].lookup_key, "");
	assert_int_equal(s.items[0].period_start_s, 1700000000);
	assert_int_equal(s.items[0].period_end_s, 1702592000);
	assert_false(s.items[0].is_metered || s.has_more_items);
}

static void the_new_format_is_read(void **state)
{
	struct subscription s = read_text(new_shape);

	(void)state;
	assert_string_equal(s.customer, "cus_2");
	assert_string_equal(s.email, "a@example.com");
	assert_int_equal(s.status, STORE_PAST_DUE);
	assert_true(s.is_live && s.is_collection_paused);
	assert_int_equal(s.period_start_s, 1780000000);
	assert_int_equal(s.period_end_s, 1782592000);
	assert_int_equal(s.trial_end_s, 1780500000);
	assert_int_equal(s.cancel_at_s, 1790000000);
	assert_string_equal(s.invoice, "in_2");
	assert_string_equal(s.invoice_status, "open");
	assert_int_equal(s.invoice_attempts, 2);
	assert_int_equal(s.invoice_created_s, 1781000000);
	assert_int_equal(s.owed_since_s, 1781003600);
	assert_int_equal(s.item_count, 2);
	assert_string_equal(s.items[0].product, "prod_base");
	assert_string_equal(s.items[1].lookup_key, "calls");
	assert_string_equal(s.items[1].meter, "mtr_1");
	assert_true(s.items[1].is_metered && !s.items[0].is_metered);
	assert_int_equal(s.items[1].period_end_s, 1811536000);
}

static void a_scheduled_cancellation_is_at_the_end_of_the_last_period(void **state)
{
	const char *text =
		with(new_shape, "\"cancel_at\":1790000000,\"cancel_at_period_end\":false",
		     "\"cancel_at\":null,\"cancel_at_period_end\":true");

	(void)state;
	assert_int_equal(read_text(text).cancel_at_s, 1811536000);
}

static void an_invoice_is_owed_only_after_a_failed_attempt(void **state)
{
	static const struct {
		const char *from, *to;
		uint64_t owed_since_s;
		const char *why;
	} rows[] = {
		{ "\"attempt_count\":2", "\"attempt_count\":0", 0, "not tried yet" },
		{ "\"status\":\"open\"", "\"status\":\"paid\"", 0, "paid" },
		{ "\"status\":\"open\"", "\"status\":\"void\"", 0, "void" },
		{ "\"status\":\"open\"", "\"status\":\"uncollectible\"", 1781003600, "given up" },
		{ "{\"finalized_at\":1781003600}", "{\"finalized_at\":null}", 1781000000,
		  "only the creation time is known" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct subscription s = read_text(with(new_shape, rows[i].from, rows[i].to));

		if (s.owed_since_s != rows[i].owed_since_s)
			fail_msg("%s: owed since %llu", rows[i].why,
				 (unsigned long long)s.owed_since_s);
	}
}

static void unknown_statuses_keep_their_word(void **state)
{
	(void)state;
	for (int i = 0; i < STORE_STATUS_COUNT; i++) {
		char to[64];

		snprintf(to, sizeof(to), "\"status\":\"%s\"",
			 store_status_word((enum store_status)i));
		assert_int_equal(read_text(with(old_shape, "\"status\":\"active\"", to)).status, i);
	}
	struct subscription s = read_text(
		with(old_shape, "\"status\":\"active\"", "\"status\":\"hiber\\nnating\""));

	assert_int_equal(s.status, -1);
	assert_string_equal(s.status_word, "hiber?nating");
}

static void the_cause_of_a_pause_is_read(void **state)
{
	struct subscription s = read_text(
		with(old_shape, "\"status\":\"active\"",
		     "\"status\":\"paused\",\"status_details\":{\"paused\":{\"subscription\":{"
		     "\"type\":\"trial_end_without_payment_method\"}}}"));

	(void)state;
	assert_int_equal(s.status, STORE_PAUSED);
	assert_string_equal(s.paused_cause, "trial_end_without_payment_method");
}

static void a_deleted_customer_is_recognized(void **state)
{
	struct subscription s = read_text(
		with(old_shape, "\"customer\":\"cus_1\"",
		     "\"customer\":{\"id\":\"cus_1\",\"object\":\"customer\",\"deleted\":true}"));

	(void)state;
	assert_true(s.is_customer_deleted);
	assert_string_equal(s.customer, "cus_1");
}

static void invalid_subscriptions_are_refused(void **state)
{
	static const struct {
		const char *from, *to, *why;
	} rows[] = {
		{ "\"object\":\"subscription\"", "\"object\":\"invoice\"", "not a subscription" },
		{ "\"object\":\"subscription\"", "\"object\":7", "not a subscription" },
		{ "\"id\":\"sub_1Old\"", "\"id\":\"\"", "id is missing or not valid" },
		{ "\"id\":\"sub_1Old\"", "\"id\":null", "id is missing or not valid" },
		{ "\"id\":\"sub_1Old\"", "\"id\":\"sub 1\"", "id is missing or not valid" },
		{ "\"id\":\"sub_1Old\"",
		  "\"id\":\"sub_45678901234567890123456789012345678901234567890123456789012345\"",
		  "id is missing or not valid" },
		{ "\"customer\":\"cus_1\"", "\"customer\":null",
		  "customer is missing or not valid" },
		{ "\"customer\":\"cus_1\"", "\"customer\":{}", "customer is missing or not valid" },
		{ "\"status\":\"active\"", "\"status\":1", "status is missing or not valid" },
		{ "\"items\":{", "\"item\":{", "items is missing or not valid" },
		{ "\"price\":{\"id\":\"price_pro\"", "\"price\":{\"id\":null",
		  "an item has no price, or an id that is not valid" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *object = load(with(old_shape, rows[i].from, rows[i].to));
		struct subscription s = { .created_s = 5 };
		const char *why = NULL;

		if (subscription_parse(object, &s, &why) != -EBADMSG)
			fail_msg("accepted: %s", rows[i].to);
		assert_string_equal(why, rows[i].why);
		assert_int_equal(s.created_s, 5);
		json_decref(object);
	}
}

static void too_many_items_are_cut_and_noted(void **state)
{
	json_t *object = load(old_shape), *items = field_at(object, "items.data");
	struct subscription s;
	const char *why;

	(void)state;
	for (int i = 1; i < SUBSCRIPTION_MAX_ITEMS; i++)
		json_array_append_new(items, json_deep_copy(json_array_get(items, 0)));
	assert_int_equal(subscription_parse(object, &s, &why), 0);
	assert_int_equal(s.item_count, SUBSCRIPTION_MAX_ITEMS);
	assert_false(s.has_more_items);
	json_array_append_new(items, json_deep_copy(json_array_get(items, 0)));
	assert_int_equal(subscription_parse(object, &s, &why), 0);
	assert_int_equal(s.item_count, SUBSCRIPTION_MAX_ITEMS);
	assert_true(s.has_more_items);
	json_decref(object);
}

static void the_first_tier_with_a_price_of_an_item_is_chosen(void **state)
{
	char *by_lookup_key[] = { "other", "calls" }, *by_product[] = { "prod_base" },
	     *by_price[] = { "price_base" }, *by_nothing[] = { "", "prod" };
	static const char *const names[] = { "lookup", "product", "price" };
	struct tier list[] = {
		{ .name = "nothing", .prices = by_nothing, .price_count = 2 },
		{ .name = "lookup", .prices = by_lookup_key, .price_count = 2 },
		{ .name = "product", .prices = by_product, .price_count = 1 },
		{ .name = "price", .prices = by_price, .price_count = 1 },
	};
	struct tiers tiers = { .list = list, .count = 4 };
	struct subscription s = read_text(new_shape);
	const struct subscription_item *item;

	(void)state;
	s.items[0].lookup_key[0] = '\0';
	for (size_t i = 0; i < 3; i++) {
		const struct tier *tier = subscription_tier(&tiers, &s, &item);

		assert_non_null(tier);
		assert_string_equal(tier->name, names[i]);
		assert_ptr_equal(item, &s.items[i == 0 ? 1 : 0]);
		list[i + 1].price_count = 0;
	}
	assert_null(subscription_tier(&tiers, &s, &item));
	assert_ptr_equal(item, &s.items[0]);
	s.item_count = 0;
	assert_null(subscription_tier(&tiers, &s, &item));
	assert_null(item);
}

static void metadata_is_kept_as_text(void **state)
{
	json_t *object = load(old_shape);
	char name[8], value[501];
	struct subscription s;
	json_t *metadata;
	const char *why;

	(void)state;
	assert_int_equal(subscription_parse(object, &s, &why), 0);
	assert_string_equal(s.metadata, "{\"team\":\"a\"}");
	assert_int_equal(s.account, 0);
	metadata = json_object_get(object, "metadata");
	json_object_set_new(metadata, SUBSCRIPTION_ACCOUNT, json_string("acc_00000000000000ff"));
	/* As much as Stripe allows: what does not fit is left out, the last names first. */
	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (unsigned i = 0; i < 49; i++) {
		snprintf(name, sizeof(name), "x%02u", i);
		json_object_set_new(metadata, name, json_string(value));
	}
	assert_int_equal(subscription_parse(object, &s, &why), 0);
	assert_int_equal(s.account, 0xff);
	assert_non_null(strstr(s.metadata, "\"team\":\"a\""));
	assert_non_null(strstr(s.metadata, "\"x02\":"));
	assert_null(strstr(s.metadata, "\"x03\":"));
	assert_true(json_object_size(json_object_get(object, "metadata")) > 49); /* unchanged */
	json_object_clear(metadata);
	assert_int_equal(subscription_parse(object, &s, &why), 0);
	assert_string_equal(s.metadata, "");
	json_decref(object);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_old_format_is_read),
		cmocka_unit_test(the_new_format_is_read),
		cmocka_unit_test(a_scheduled_cancellation_is_at_the_end_of_the_last_period),
		cmocka_unit_test(an_invoice_is_owed_only_after_a_failed_attempt),
		cmocka_unit_test(unknown_statuses_keep_their_word),
		cmocka_unit_test(the_cause_of_a_pause_is_read),
		cmocka_unit_test(a_deleted_customer_is_recognized),
		cmocka_unit_test(invalid_subscriptions_are_refused),
		cmocka_unit_test(too_many_items_are_cut_and_noted),
		cmocka_unit_test(the_first_tier_with_a_price_of_an_item_is_chosen),
		cmocka_unit_test(metadata_is_kept_as_text),
	};

	return cmocka_run_group_tests_name("subscription", tests, NULL, NULL);
}
