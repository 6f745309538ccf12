/* SPDX-License-Identifier: BSD-2-Clause */
/* Mail to servers that accept it, refuse it, or do not answer QUIT. */
#include "unit/net/transfer_fixture.h"

static const char *const to_one[] = { "b@example.com", NULL };
static const char *const fields[] = { "From: <a@example.com>",
				      "Subject: =?UTF-8?B?w7w=?=\r\n folded", NULL };

static struct transfer_mail mail_to(const struct fixture *f)
{
	return (struct transfer_mail){
		.url = f->url,
		.starttls = TRANSFER_STARTTLS_NONE,
		.from = "a@example.com",
		.to = to_one,
		.fields = fields,
		.text = TEXT("Hello.\n.hidden\n\xc3\xbc\n"),
		.total_ms = 60000,
	};
}

static void send_mail(struct fixture *f, struct transfer_mail mail)
{
	assert_int_equal(transfer_mail(f->transfers, &mail, on_end, f, NULL), 0);
	PEER_WAIT(&f->peer, f->ends == 1);
	f->ends = 0;
	assert_int_equal(transfers_count(f->transfers), 0);
}

static void start_smtp(struct fixture *f, const struct peer_answer *script)
{
	start(f, script);
	f->peer.is_smtp = true;
	peer_url(&f->peer, "smtp", "127.0.0.1", "", f->url);
}

static const struct peer_answer smtp[] = {
	{ "220 mail.example.com\r\n", PEER_KEEP, "" },
	{ "250-mail\r\n250 AUTH PLAIN LOGIN\r\n", PEER_KEEP, "EHLO " },
	{ "334 \r\n", PEER_KEEP, "AUTH PLAIN" },
	{ "235 in\r\n", PEER_KEEP, "AG1l" },
	{ "250 ok\r\n", PEER_KEEP, "MAIL FROM:<a@example.com>" },
	{ "250 ok\r\n", PEER_KEEP, "RCPT TO:<b@example.com>" },
	{ "550 no\r\n", PEER_KEEP, "RCPT TO:<c@example.com>" },
	{ "354 go\r\n", PEER_KEEP, "DATA" },
	{ "250 taken\r\n", PEER_KEEP, ".\r\n" },
	{ "221 bye\r\n", PEER_CLOSE, "QUIT" },
	{ 0 },
};

static void a_mail_is_sent(void **state)
{
	struct fixture f;
	struct transfer_mail mail;
	const char *said;

	(void)state;
	start_smtp(&f, smtp);
	mail = mail_to(&f);
	mail.user = "me@example.com";
	mail.password = "secret";
	send_mail(&f, mail);
	if (f.err)
		fail_msg("%d %s", f.err, f.words);
	buf_append(&f.peer.transcript, "", 1);
	said = buf_head(&f.peer.transcript);
	assert_non_null(strstr(said, "AUTH PLAIN\r\nAG1lQGV4YW1wbGUuY29tAHNlY3JldA==\r\n"));
	said = strstr(said, "DATA\r\n");
	assert_non_null(strstr(said, "\r\nFrom: <a@example.com>\r\n"));
	assert_non_null(strstr(said, "\r\nSubject: =?UTF-8?B?w7w=?=\r\n folded\r\n"));
	assert_non_null(strstr(said, "\r\nMime-Version: 1.0\r\n"));
	assert_non_null(strstr(said, "\r\nContent-Type: text/plain; charset=utf-8\r\n"
				     "Content-Transfer-Encoding: base64\r\n\r\n"
				     "SGVsbG8uCi5oaWRkZW4Kw7wK\r\n--"));
	assert_non_null(strstr(said, "\r\n.\r\nQUIT\r\n"));
	stop(&f);
}

static void no_line_of_a_mail_is_too_long(void **state)
{
	char text[5000];
	struct fixture f;
	struct transfer_mail mail;
	unsigned lines = 0;

	(void)state;
	memset(text, '.', sizeof(text)); /* a line with one dot would end the mail */
	start_smtp(&f, smtp);
	mail = mail_to(&f);
	mail.text = (struct text){ text, sizeof(text) };
	send_mail(&f, mail);
	assert_int_equal(f.err, 0);
	buf_append(&f.peer.transcript, "", 1);
	for (char *line = buf_head(&f.peer.transcript), *end; (end = strstr(line, "\r\n"));
	     line = end + 2) {
		/*
		 * curl does not fold the line with its boundary: RFC 5322, 2.1.1 allows 998 bytes.
		 */
		assert_true(end - line <= 78 || !strncmp(line, "Content-Type: multipart/", 24));
		lines++;
	}
	assert_true(lines > sizeof(text) / 57);
	stop(&f);
}

static void a_mail_may_be_empty(void **state)
{
	struct fixture f;
	struct transfer_mail mail;

	(void)state;
	start_smtp(&f, smtp);
	mail = mail_to(&f);
	mail.text = TEXT("");
	send_mail(&f, mail);
	assert_int_equal(f.err, 0);
	stop(&f);
}

/* No text can end a field and add another one. */
static void fields_are_checked(void **state)
{
	static const char *const bad[] = { "Subject: a\r\nBcc: c@example.com",
					   "Subject: a\nBcc: c@example.com",
					   "Subject: a\rb",
					   "Subject: a\r\n",
					   "Subject: a\r\n\r\n b",
					   "Sub\r\n ject: a",
					   "Subject",
					   ": a",
					   "" };
	struct fixture f;
	struct transfer_mail mail;

	(void)state;
	start_smtp(&f, smtp);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *const lines[] = { bad[i], NULL };

		mail = mail_to(&f);
		mail.fields = lines;
		if (transfer_mail(f.transfers, &mail, on_end, &f, NULL) != -EINVAL)
			fail_msg("'%s'", bad[i]);
	}
	stop(&f);
}

/* What a mail server answers, and the result of the mail. */
static void a_refused_mail_has_its_errno_and_status(void **state)
{
	static const struct {
		const char *to, *answer;
		int err;
		unsigned status;
	} rows[] = {
		{ "AUTH PLAIN", "535 wrong\r\n", -EACCES, 535 },
		{ "MAIL FROM:", "451 later\r\n", -EREMOTEIO, 451 },
		{ "RCPT TO:", "550 nobody\r\n", -EREMOTEIO, 550 },
		{ "DATA", "554 no\r\n", -EREMOTEIO, 554 },
		{ ".\r\n", "554 spam\r\n", -EREMOTEIO, 554 },
		{ "", "554 go away\r\n", -EREMOTEIO, 554 },
		{ "", "HTTP/1.1 400 what\r\n", -ETIMEDOUT, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct peer_answer script[sizeof(smtp) / sizeof(smtp[0])];
		struct fixture f;
		struct transfer_mail mail;

		memcpy(script, smtp, sizeof(smtp));
		for (struct peer_answer *a = script; a->to; a++) {
			if (rows[i].to[0] ? text_starts(text_of(a->to), text_of(rows[i].to))
					  : !a->to[0])
				a->text = rows[i].answer;
		}
		start_smtp(&f, script);
		mail = mail_to(&f);
		mail.user = "me";
		mail.password = "secret";
		if (rows[i].err == -ETIMEDOUT)
			mail.total_ms = 100;
		send_mail(&f, mail);
		if (f.err != rows[i].err || (rows[i].status && f.status != rows[i].status))
			fail_msg("%s%s: %d, %u, %s", rows[i].to, rows[i].answer, f.err, f.status,
				 f.words);
		assert_null(strstr(f.words, "secret"));
		stop(&f);
	}
}

static void a_login_that_needs_tls_is_not_tried_without_it(void **state)
{
	struct fixture f;
	struct transfer_mail mail;

	(void)state;
	start_smtp(&f, smtp);
	mail = mail_to(&f);
	mail.user = "me";
	mail.password = "secret";
	mail.starttls = TRANSFER_STARTTLS_REQUIRED;
	send_mail(&f, mail);
	assert_int_equal(f.err, -EPROTO);
	buf_append(&f.peer.transcript, "", 1);
	assert_null(strstr(buf_head(&f.peer.transcript), "AUTH"));
	assert_null(strstr(buf_head(&f.peer.transcript), "MAIL"));
	stop(&f);
}

static void mail_goes_over_tls(void **state)
{
	struct fixture f;
	struct transfer_mail mail;
	char why[256];

	(void)state;
	start_smtp(&f, smtp);
	assert_int_equal(
		tls_context_new_server(certificate_file, key_file, &f.peer.tls, why, sizeof(why)),
		0);
	peer_url(&f.peer, "smtps", "localhost", "", f.url);
	mail = mail_to(&f);
	send_mail(&f, mail);
	assert_int_equal(f.err, -EPROTO);
	assert_int_equal(buf_len(&f.peer.transcript), 0);
	mail.ca_file = certificate_file;
	send_mail(&f, mail);
	if (f.err)
		fail_msg("%d %s", f.err, f.words);
	stop(&f);
}

static void addresses_are_checked(void **state)
{
	static const char *const bad[] = { "b@example.com>\r\nRCPT TO:<c@example.com", "b", "",
					   "b@example.com c@example.com", "<b@example.com>" };
	struct fixture f;
	struct transfer_mail mail;

	(void)state;
	start_smtp(&f, smtp);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *const to[] = { bad[i], NULL };

		mail = mail_to(&f);
		mail.to = to;
		assert_int_equal(transfer_mail(f.transfers, &mail, on_end, &f, NULL), -EINVAL);
		mail = mail_to(&f);
		mail.from = bad[i];
		assert_int_equal(transfer_mail(f.transfers, &mail, on_end, &f, NULL), -EINVAL);
	}
	mail = mail_to(&f);
	mail.user = "me";
	assert_int_equal(transfer_mail(f.transfers, &mail, on_end, &f, NULL), -EINVAL);
	stop(&f);
}

/* The server does not answer QUIT, and the agent stops. */
static void a_mail_under_way_does_not_hold_up_the_end(void **state)
{
	struct peer_answer script[sizeof(smtp) / sizeof(smtp[0])];
	struct fixture f;
	struct transfer_mail mail;

	(void)state;
	memcpy(script, smtp, sizeof(smtp));
	for (struct peer_answer *a = script; a->to; a++) {
		if (!strcmp(a->to, "QUIT"))
			*a = (struct peer_answer){ NULL, PEER_HOLD, "QUIT" };
	}
	start_smtp(&f, script);
	mail = mail_to(&f);
	assert_int_equal(transfer_mail(f.transfers, &mail, on_end, &f, NULL), 0);
	PEER_WAIT(&f.peer,
		  buf_len(&f.peer.transcript) && memmem(buf_head(&f.peer.transcript),
							buf_len(&f.peer.transcript), "QUIT", 4));
	transfers_free(f.transfers);
	f.transfers = NULL;
	PEER_WAIT(&f.peer, !f.peer.clients[0]->conn);
	stop(&f);
	assert_int_equal(f.ends, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mail_is_sent),
		cmocka_unit_test(no_line_of_a_mail_is_too_long),
		cmocka_unit_test(a_mail_may_be_empty),
		cmocka_unit_test(fields_are_checked),
		cmocka_unit_test(a_refused_mail_has_its_errno_and_status),
		cmocka_unit_test(a_login_that_needs_tls_is_not_tried_without_it),
		cmocka_unit_test(mail_goes_over_tls),
		cmocka_unit_test(addresses_are_checked),
		cmocka_unit_test(a_mail_under_way_does_not_hold_up_the_end),
	};

	return cmocka_run_group_tests_name("transfer_mail", tests, make_certificate,
					   remove_certificate);
}
