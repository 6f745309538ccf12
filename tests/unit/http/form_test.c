/* SPDX-License-Identifier: BSD-2-Clause */
/* form_test: forms are encoded as Stripe expects them, and decoded strictly. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/form.h"

static void must_be(const struct buf *b, const char *expected)
{
	if (!text_is(buf_text(b), expected))
		fail_msg("%.*s", TEXT_ARG(buf_text(b)));
}

static void names_and_values_are_encoded(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1024);
	assert_int_equal(form_add(&b, "line_items[0][price]", "price_1"), 0);
	assert_int_equal(form_add_u64(&b, "line_items[0][quantity]", UINT64_MAX), 0);
	assert_int_equal(form_add(&b, "empty", ""), 0);
	assert_int_equal(form_add(&b, "a+b", "Az09-_.~ &=%+/\n\xc3\xa9{}"), 0);
	must_be(&b, ""
		    "line_items%5B0%5D%5Bprice%5D=price_1&line_items%5B0%5D%5Bquantity%5D="
		    "18446744073709551615&empty=&a%2Bb=Az09-_.~%20%26%3D%25%2B%2F%0A%C3%A9%7B%7D");
	buf_done(&b);
}

static void a_value_alone_is_encoded_for_a_path(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 64);
	assert_int_equal(form_encode(&b, "../sub_1?x#y"), 0);
	must_be(&b, "..%2Fsub_1%3Fx%23y");
	buf_done(&b);
}

/* Half a field could mean something else. */
static void a_field_that_does_not_fit_changes_nothing(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 11);
	assert_int_equal(form_add(&b, "a", "1"), 0);
	assert_int_equal(form_add(&b, "b", "123456"), -EMSGSIZE);
	must_be(&b, "a=1");
	assert_int_equal(form_add(&b, "b", "%%"), -EMSGSIZE);
	must_be(&b, "a=1");
	assert_int_equal(form_add(&b, "c", "12345"), 0);
	must_be(&b, "a=1&c=12345");
	buf_done(&b);
}

static void forms_are_decoded_strictly(void **state)
{
	static const struct {
		const char *form;
		int err;
		const char *value, *why;
	} rows[] = {
		{ "a=1", 0, "1", "alone" },
		{ "b=2&a=1&c", 0, "1", "among others" },
		{ "a=x+y%20z%2B", 0, "x y z+", "spaces and escapes" },
		{ "%61=1", 0, "1", "an escaped name" },
		{ "a=", 0, "", "empty" },
		{ "a", 0, "", "without '='" },
		{ "a=b=c", 0, "b=c", "a second '='" },
		{ "a=%c3%bc", 0, "\xc3\xbc", "UTF-8" },
		{ "a=1234567", 0, "1234567", "as long as fits" },
		{ "a=12345678", -EMSGSIZE, "", "a byte longer" },
		{ "", -ENOENT, "", "nothing" },
		{ "&&&=&", -ENOENT, "", "only separators" },
		{ "aa=1&A=2", -ENOENT, "", "other names" },
		{ "a=1&a=1", -EINVAL, "", "twice" },
		{ "a=1&%61=2", -EINVAL, "", "twice, once escaped" },
		{ "a=%", -EINVAL, "", "an escape that ends" },
		{ "a=%4", -EINVAL, "", "an escape that ends later" },
		{ "a=%4g", -EINVAL, "", "an invalid escape" },
		{ "a=%00", -EINVAL, "", "NUL" },
		{ "a=x%0d%0ay", -EINVAL, "", "a line feed" },
		{ "a=\x7f", -EINVAL, "", "DEL" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char value[8] = "before";
		int err = form_get(text_of(rows[i].form), "a", value, sizeof(value));

		if (err != rows[i].err || strcmp(value, rows[i].value))
			fail_msg("%s: %d '%s'", rows[i].why, err, value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms_are_decoded_strictly),
		cmocka_unit_test(names_and_values_are_encoded),
		cmocka_unit_test(a_value_alone_is_encoded_for_a_path),
		cmocka_unit_test(a_field_that_does_not_fit_changes_nothing),
	};

	return cmocka_run_group_tests_name("form", tests, NULL, NULL);
}
