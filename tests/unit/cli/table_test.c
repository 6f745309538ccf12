/* SPDX-License-Identifier: BSD-2-Clause */
/* table_test: columns that are aligned, and cells that cannot speak to the terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/table.h"

static const struct table_column columns[] = {
	{ "ID", "id", TABLE_TEXT },
	{ "USED", "used", TABLE_NUMBER },
	{ "QUOTA", "quota", TABLE_LIMIT },
	{ "LABEL", "label", TABLE_TEXT },
	{ 0 },
};

static void check(const char *json, bool is_object, const char *expected)
{
	json_t *value = json_loads(json, 0, NULL);
	char *printed = NULL;
	size_t size;
	FILE *out = open_memstream(&printed, &size);

	assert_non_null(value);
	assert_non_null(out);
	if (is_object)
		table_print_object(out, columns, value);
	else
		table_print(out, columns, value);
	fclose(out);
	assert_string_equal(printed, expected);
	free(printed);
	json_decref(value);
}

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
	(void)state;
	check("[]", false, "ID  USED  QUOTA  LABEL\n");
	check("[{\"id\":\"abcdef\",\"used\":7,\"quota\":1000000,\"label\":\"x\"},"
	      "{\"id\":\"a\",\"used\":12345,\"quota\":0,\"label\":\"y\"}]",
	      false,
	      "ID       USED    QUOTA  LABEL\n"
	      "abcdef      7  1000000  x\n"
	      "a       12345        -  y\n");
}

static void what_is_absent_null_or_empty_is_a_dash(void **state)
{
	(void)state;
	check("[{\"id\":\"\",\"used\":null}]", false,
	      "ID  USED  QUOTA  LABEL\n"
	      "-      -      -  -\n");
	check("{\"id\":true,\"used\":0,\"label\":false}", true,
	      "ID     yes\n"
	      "USED   0\n"
	      "QUOTA  -\n"
	      "LABEL  no\n");
}

static void control_characters_are_not_written(void **state)
{
	(void)state;
	check("[{\"id\":\"\\u001b[2J\\n\",\"label\":\"\\u009b\\u007fé\"}]", false,
	      "ID     USED  QUOTA  LABEL\n"
	      "?[2J?     -      -  ??é\n");
}

static void widths_count_characters_and_not_bytes(void **state)
{
	(void)state;
	check("[{\"id\":\"éé\"},{\"id\":\"abc\"}]", false,
	      "ID   USED  QUOTA  LABEL\n"
	      "éé      -      -  -\n"
	      "abc     -      -  -\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
		cmocka_unit_test(what_is_absent_null_or_empty_is_a_dash),
		cmocka_unit_test(control_characters_are_not_written),
		cmocka_unit_test(widths_count_characters_and_not_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
