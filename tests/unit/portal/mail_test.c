/* SPDX-License-Identifier: BSD-2-Clause */
/* mail_test: the header fields of a mail, and that addresses and subjects cannot add others. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "portal/mail.h"

/* Write a mail's fields; they point into @out. */
static void write_mail(const char *to, const char *subject, struct buf *out,
		       const char *fields[MAIL_FIELDS + 1])
{
	const struct mail mail = {
		.from = "a@example.com",
		.to = to,
		.subject = text_of(subject),
		.id = "acc_1:payment_failed:1",
		.date_s = 1760000000,
	};

	buf_init(out, 1 << 20);
	assert_int_equal(mail_write(&mail, out, fields), 0);
}

static void a_mail_has_its_fields(void **state)
{
	static const char *const expected[] = {
		"Date: Thu, 09 Oct 2025 08:53:20 +0000",
		"From: <a@example.com>",
		"To: <b@example.com>",
		"Message-ID: <acc_1:payment_failed:1@example.com>",
		"Subject: Hello",
		"Auto-Submitted: auto-generated",
	};
	const char *fields[MAIL_FIELDS + 1];
	struct buf out;

	(void)state;
	write_mail("b@example.com", "Hello", &out, fields);
	for (unsigned i = 0; i < MAIL_FIELDS; i++)
		assert_string_equal(fields[i], expected[i]);
	assert_null(fields[MAIL_FIELDS]);
	buf_done(&out);
}

static void subjects_are_encoded_if_needed(void **state)
{
	static const struct {
		const char *subject, *line;
	} rows[] = {
		{ "plain", "Subject: plain" },
		{ "\xc3\xbc", "Subject: =?UTF-8?B?w7w=?=" },
		{ "=?x", "Subject: =?UTF-8?B?PT94?=" },
		{ "a\nBcc: x@example.com", "Subject: =?UTF-8?B?YQpCY2M6IHhAZXhhbXBsZS5jb20=?=" },
		/* 38 letters and a character of two bytes, which must not be split. */
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xbc",
		  "Subject: =?UTF-8?B?YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=?=\r\n"
		  " =?UTF-8?B?w7w=?=" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *fields[MAIL_FIELDS + 1];
		struct buf out;

		write_mail("b@example.com", rows[i].subject, &out, fields);
		if (strcmp(fields[4], rows[i].line))
			fail_msg("'%s': %s", rows[i].subject, fields[4]);
		buf_done(&out);
	}
}

static void no_line_is_too_long(void **state)
{
	const char *fields[MAIL_FIELDS + 1];
	char subject[5000];
	struct buf out;

	(void)state;
	memset(subject, 'x', sizeof(subject) - 1);
	subject[sizeof(subject) - 1] = '\0';
	write_mail("b@example.com", subject, &out, fields);
	for (unsigned i = 0; i < MAIL_FIELDS; i++) {
		const char *line = fields[i], *end;

		for (; (end = strstr(line, "\r\n")); line = end + 2) {
			assert_true(end - line <= 78);
			assert_int_equal(end[2], ' ');
		}
		assert_true(strlen(line) <= 78);
	}
	buf_done(&out);
}

static void invalid_addresses_are_refused(void **state)
{
	static const struct {
		const char *address;
		bool is_one;
	} rows[] = {
		{ "a@b", true },
		{ "first.last+tag@example.com", true },
		{ "", false },
		{ "a", false },
		{ "@b", false },
		{ "a@", false },
		{ "a@b@c", false },
		{ "a b@c", false },
		{ "a@b\r\nBcc: x@y", false },
		{ "a@b>\r\nDATA", false },
		{ "<a@b>", false },
		{ "a@b,c@d", false },
		{ "\xc3\xbc@b", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mail mail = { .from = "a@b", .to = rows[i].address, .id = "x" };
		const char *fields[MAIL_FIELDS + 1];
		struct buf out;

		buf_init(&out, 4096);
		if (mail_is_address(rows[i].address) != rows[i].is_one ||
		    (mail_write(&mail, &out, fields) == -EINVAL) == rows[i].is_one)
			fail_msg("%s", rows[i].address);
		buf_done(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mail_has_its_fields),
		cmocka_unit_test(subjects_are_encoded_if_needed),
		cmocka_unit_test(no_line_is_too_long),
		cmocka_unit_test(invalid_addresses_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
