/* SPDX-License-Identifier: BSD-2-Clause */
/* template_test: the texts of notices: built in, replaced by the operator, and invalid. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/template.h"

static char folder[64];

static int make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/tollgate-texts-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static void put(const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/suspended.txt", folder);
	unlink(path);
	if (!text)
		return;
	file = fopen(path, "we");
	fputs(text, file);
	fclose(file);
}

static int remove_folder(void **state)
{
	(void)state;
	put(NULL);
	return rmdir(folder);
}

static void every_built_in_text_can_be_rendered(void **state)
{
	char why[256];

	(void)state;
	assert_int_equal(template_check(NULL, why, sizeof(why)), 0);
	assert_int_equal(template_check(folder, why, sizeof(why)), 0);
}

static void texts_are_filled_in(void **state)
{
	static const struct {
		const char *text, *subject, *body; /* subject NULL: refused */
		const char *why;
	} rows[] = {
		{ "Subject: a\n\nb\n", "a", "b\n", "plain" },
		{ "Subject: {{tier}}!\n\n{{tier}} {{status}}", "pro!", "pro canceled",
		  "placeholders" },
		{ "Subject: {{label}}\n\nx", "one two", "x", "a value cannot break the subject" },
		{ "Subject: a\n\n{ {tier} }", "a", "{ {tier} }", "single braces" },
		{ "Subject: a\n\n{{nonsense}}", NULL, NULL, "an unknown placeholder" },
		{ "Subject: a\n\n{{tier", NULL, NULL, "a placeholder without }}" },
		{ "Hello\n\nb", NULL, NULL, "no subject" },
		{ "", NULL, NULL, "empty" },
	};
	json_t *values = json_pack("{s:s, s:s, s:s}", "tier", "pro", "status", "canceled", "label",
				   "one\ntwo");

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf subject, body;
		char why[256];
		int err;

		put(rows[i].text);
		buf_init(&subject, 4096);
		buf_init(&body, 4096);
		err = template_render(folder, TEMPLATE_SUSPENDED, values, &subject, &body, why,
				      sizeof(why));
		if ((err == -EINVAL && why[0]) != !rows[i].subject ||
		    (!err && (!text_is(buf_text(&subject), rows[i].subject) ||
			      !text_is(buf_text(&body), rows[i].body))))
			fail_msg("%s: %d %s", rows[i].why, err, why);
		buf_done(&subject);
		buf_done(&body);
	}
	json_decref(values);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_built_in_text_can_be_rendered),
		cmocka_unit_test(texts_are_filled_in),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
