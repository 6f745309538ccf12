/* SPDX-License-Identifier: BSD-2-Clause */
/* html_test: text is escaped and never becomes markup; errors are kept. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "portal/html.h"

static bool holds(const struct html *h, const char *wanted)
{
	struct text text = buf_text(&h->buf);

	if (text_is(text, wanted))
		return true;
	print_message("got '%.*s', expected '%s'\n", TEXT_ARG(text), wanted);
	return false;
}

static void texts_are_escaped(void **state)
{
	static const struct {
		const char *text, *escaped, *why;
	} rows[] = {
		{ "", "", "nothing" },
		{ "plain", "plain", "nothing to escape" },
		{ "<script>", "&lt;script&gt;", "markup" },
		{ "\" onload='x'", "&quot; onload=&#39;x&#39;", "the end of an attribute" },
		{ "&lt;", "&amp;lt;", "already escaped" },
		{ "a\x01\x7f\r\n\tb", "a???\n\tb", "control bytes" },
		{ "Z\xc3\xbcrich {}", "Z\xc3\xbcrich {}", "UTF-8, and a text with \"{}\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct html h;

		html_init(&h, 1000);
		html_put(&h, "{}", rows[i].text);
		if (h.err || !holds(&h, rows[i].escaped))
			fail_msg("%s", rows[i].why);
		html_done(&h);
	}
}

static void placeholders_are_filled_in_order(void **state)
{
	struct html h;

	(void)state;
	html_init(&h, 1000);
	html_put(&h, "<a href=\"{}\">{}</a>{}", "/x?a&b", "{}", NULL);
	assert_int_equal(h.err, 0);
	assert_true(holds(&h, "<a href=\"/x?a&amp;b\">{}</a>"));
	html_done(&h);
}

static void wrong_counts_and_full_buffers_are_errors(void **state)
{
	struct html h;

	(void)state;
	html_init(&h, 1000);
	html_put(&h, "{}{}", "one");
	assert_int_equal(h.err, -EINVAL);
	html_done(&h);
	html_init(&h, 1000);
	html_put(&h, "{}", "one", "two");
	assert_int_equal(h.err, -EINVAL);
	html_done(&h);
	html_init(&h, 8);
	html_raw(&h, "12345678");
	html_raw(&h, "9");
	assert_int_equal(h.err, -EMSGSIZE);
	html_put(&h, "{}{}", "one"); /* the first error is kept */
	assert_int_equal(h.err, -EMSGSIZE);
	assert_true(holds(&h, "12345678"));
	html_done(&h);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_are_escaped),
		cmocka_unit_test(placeholders_are_filled_in_order),
		cmocka_unit_test(wrong_counts_and_full_buffers_are_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
