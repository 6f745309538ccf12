/* SPDX-License-Identifier: BSD-2-Clause */
/* field_test: values are read from untrusted JSON. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stripe/field.h"

static json_t *load(const char *text)
{
	const char *why = NULL;
	json_t *object = NULL;

	if (field_parse(text_of(text), &object, &why))
		fail_msg("%s: %s", why, text);
	return object;
}

static void values_of_another_type_read_as_nothing(void **state)
{
	json_t *o = load("{\"text\":\"a\",\"number\":7,\"below\":-7,\"real\":1.5,\"yes\":true,"
			 "\"null\":null,\"deep\":{\"er\":{\"text\":\"b\"}},\"list\":[1],"
			 "\"expanded\":{\"id\":\"x_1\"},\"odd\":{\"id\":5}}");

	(void)state;
	assert_string_equal(field_text(o, "text"), "a");
	assert_string_equal(field_text(o, "deep.er.text"), "b");
	assert_null(field_text(o, "number"));
	assert_null(field_text(o, "null"));
	assert_null(field_text(o, "none"));
	assert_null(field_text(o, "text.more"));
	assert_null(field_text(o, "list.0"));
	assert_null(field_text(o, "deep.er"));
	assert_null(field_text(o, "deep."));
	assert_null(field_text(NULL, "text"));
	assert_int_equal(field_u64(o, "number"), 7);
	assert_int_equal(field_u64(o, "below"), 0);
	assert_int_equal(field_u64(o, "real"), 0);
	assert_int_equal(field_u64(o, "text"), 0);
	assert_true(field_bool(o, "yes"));
	assert_false(field_bool(o, "number"));
	assert_string_equal(field_id(o, "text"), "a");
	assert_string_equal(field_id(o, "expanded"), "x_1");
	assert_null(field_id(o, "odd"));
	assert_null(field_id(o, "null"));
	json_decref(o);
}

static void an_id_is_copied_whole_or_not_at_all(void **state)
{
	char id[5] = "old";

	(void)state;
	assert_true(field_copy("abcd", id, sizeof(id)));
	assert_string_equal(id, "abcd");
	assert_false(field_copy("abcde", id, sizeof(id)));
	assert_string_equal(id, "");
	assert_false(field_copy("a b", id, sizeof(id)));
	assert_false(field_copy("a\x7f", id, sizeof(id)));
	assert_false(field_copy("\xc3\xa9", id, sizeof(id)));
	assert_true(field_copy(NULL, id, sizeof(id)));
	assert_string_equal(id, "");
}

static void text_is_cut_between_characters(void **state)
{
	static const struct {
		const char *text, *words;
	} rows[] = {
		{ NULL, "" },
		{ "abcd", "abcd" },
		{ "abcde", "abcd" },
		{ "abc\xc3\xa9", "abc" },
		{ "ab\xc3\xa9", "ab\xc3\xa9" },
		{ "ab\xe2\x82\xac", "ab" },
		{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
		{ "a\r\nb", "a??b" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char words[5];

		field_copy_words(rows[i].text, words, sizeof(words));
		assert_string_equal(words, rows[i].words);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_of_another_type_read_as_nothing),
		cmocka_unit_test(an_id_is_copied_whole_or_not_at_all),
		cmocka_unit_test(text_is_cut_between_characters),
	};

	return cmocka_run_group_tests_name("field", tests, NULL, NULL);
}
