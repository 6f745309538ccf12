/* SPDX-License-Identifier: BSD-2-Clause */
/* Mails: what is in them, and what cannot get into their heads. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "portal/mail.h"

static char *write_mail(const char *to, const char *subject, const char *body, struct buf *out)
{
	const struct mail mail = {
		.from = "a@example.com",
		.to = to,
		.subject = text_of(subject),
		.body = text_of(body),
		.id = "acc_1:payment_failed:1",
		.date_s = 1760000000,
	};
	int err;

	buf_init(out, 1 << 20);
	err = mail_write(&mail, out);
	assert_int_equal(err, 0);
	buf_append(out, "", 1);
	return buf_head(out);
}

static void a_message_has_its_head_and_body(void **state)
{
	struct buf out;
	char *text = write_mail("b@example.com", "Hello", "Line\n", &out);

	(void)state;
	assert_string_equal(text, "Date: Thu, 09 Oct 2025 08:53:20 +0000\r\n"
				  "From: <a@example.com>\r\n"
				  "To: <b@example.com>\r\n"
				  "Message-ID: <acc_1:payment_failed:1@example.com>\r\n"
				  "Subject: Hello\r\n"
				  "MIME-Version: 1.0\r\n"
				  "Content-Type: text/plain; charset=utf-8\r\n"
				  "Content-Transfer-Encoding: base64\r\n"
				  "Auto-Submitted: auto-generated\r\n"
				  "\r\n"
				  "TGluZQo=\r\n");
	buf_done(&out);
}

static void subjects_are_encoded_where_they_must(void **state)
{
	static const struct {
		const char *subject, *line;
	} rows[] = {
		{ "plain", "Subject: plain\r\n" },
		{ "\xc3\xbc", "Subject: =?UTF-8?B?w7w=?=\r\n" },
		{ "=?x", "Subject: =?UTF-8?B?PT94?=\r\n" },
		{ "a\nBcc: x@example.com",
		  "Subject: =?UTF-8?B?YQpCY2M6IHhAZXhhbXBsZS5jb20=?=\r\n" },
		/* 38 letters and a character of two bytes: it is not torn apart. */
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xbc",
		  "Subject: =?UTF-8?B?YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=?=\r\n"
		  " =?UTF-8?B?w7w=?=\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out;
		char *text = write_mail("b@example.com", rows[i].subject, "", &out);

		if (!strstr(text, rows[i].line))
			fail_msg("'%s': %s", rows[i].subject, text);
		buf_done(&out);
	}
}

static void no_line_is_too_long(void **state)
{
	char body[5000];
	struct buf out;
	char *text;

	(void)state;
	memset(body, 'x', sizeof(body) - 1);
	body[sizeof(body) - 1] = '\0';
	text = write_mail("b@example.com", body, body, &out);
	for (char *line = text, *end; (end = strstr(line, "\r\n")); line = end + 2)
		assert_true(end - line <= 78);
	buf_done(&out);
}

static void only_addresses_are_addresses(void **state)
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
		struct buf out;

		buf_init(&out, 4096);
		if (mail_is_address(rows[i].address) != rows[i].is_one ||
		    (mail_write(&mail, &out) == -EINVAL) == rows[i].is_one)
			fail_msg("%s", rows[i].address);
		buf_done(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_has_its_head_and_body),
		cmocka_unit_test(subjects_are_encoded_where_they_must),
		cmocka_unit_test(no_line_is_too_long),
		cmocka_unit_test(only_addresses_are_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
