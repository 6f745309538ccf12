/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mail: formats a notice as an RFC 5322 message.
 *
 * The body is sent as base64 in lines of 76 characters (RFC 2045, 6.8), so no line is too long and
 * every byte survives. A subject that is not plain ASCII is sent as encoded words (RFC 2047).
 */
#include "portal/mail.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#define LINE_BYTES  57 /* 76 characters of base64 */
#define WORD_BYTES  39 /* of one encoded word, whose line may have 76 characters (RFC 2047, 2) */
#define MAX_ADDRESS 254

bool mail_is_address(const char *address)
{
	const char *at = strchr(address, '@');

	if (!at || at == address || !at[1] || strchr(at + 1, '@') || strlen(address) > MAX_ADDRESS)
		return false;
	for (const char *p = address; *p; p++) {
		if ((unsigned char)*p <= ' ' || (unsigned char)*p > '~' ||
		    strchr("<>()[],;:\\\"", *p))
			return false;
	}
	return true;
}

static int write_base64(struct buf *out, const char *data, size_t len)
{
	unsigned char letters[LINE_BYTES / 3 * 4 + 1];
	int count = EVP_EncodeBlock(letters, (const unsigned char *)data, (int)len);

	return buf_append(out, letters, (size_t)count);
}

static bool is_plain(struct text t)
{
	for (size_t i = 0; i < t.len; i++) {
		if ((unsigned char)t.ptr[i] < ' ' || (unsigned char)t.ptr[i] > '~')
			return false;
	}
	return t.len < 60 && !(t.len && memmem(t.ptr, t.len, "=?", 2));
}

/* How many bytes of @t go into one encoded word. Does not split UTF-8 characters. */
static size_t word_bytes(struct text t)
{
	size_t len = t.len < WORD_BYTES ? t.len : WORD_BYTES;

	while (len && len < t.len && ((unsigned char)t.ptr[len] & 0xc0) == 0x80)
		len--;
	return len ? len : t.len < WORD_BYTES ? t.len : WORD_BYTES;
}

static int write_subject(struct buf *out, struct text subject)
{
	int err = buf_append_str(out, "Subject: ");

	if (!err && is_plain(subject))
		err = buf_append_text(out, subject);
	else {
		for (size_t at = 0; at < subject.len && !err;) {
			size_t len =
				word_bytes((struct text){ subject.ptr + at, subject.len - at });

			err = buf_append_str(out, at ? "\r\n =?UTF-8?B?" : "=?UTF-8?B?");
			if (!err)
				err = write_base64(out, subject.ptr + at, len);
			if (!err)
				err = buf_append_str(out, "?=");
			at += len;
		}
	}
	return err ? err : buf_append_str(out, "\r\n");
}

static int write_body(struct buf *out, struct text body)
{
	int err = 0;

	for (size_t at = 0; at < body.len && !err; at += LINE_BYTES) {
		size_t len = body.len - at < LINE_BYTES ? body.len - at : LINE_BYTES;

		err = write_base64(out, body.ptr + at, len);
		if (!err)
			err = buf_append_str(out, "\r\n");
	}
	return err;
}

int mail_write(const struct mail *mail, struct buf *out)
{
	time_t at = (time_t)mail->date_s;
	char date[64];
	struct tm tm;
	int err;

	if (!mail_is_address(mail->from) || !mail_is_address(mail->to))
		return -EINVAL;
	gmtime_r(&at, &tm);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &tm);
	err = buf_printf(out, "Date: %s\r\nFrom: <%s>\r\nTo: <%s>\r\nMessage-ID: <%s@%s>\r\n", date,
			 mail->from, mail->to, mail->id, strchr(mail->from, '@') + 1);
	if (!err)
		err = write_subject(out, mail->subject);
	if (!err)
		err = buf_append_str(out, "MIME-Version: 1.0\r\n"
					  "Content-Type: text/plain; charset=utf-8\r\n"
					  "Content-Transfer-Encoding: base64\r\n"
					  "Auto-Submitted: auto-generated\r\n\r\n");
	return err ? err : write_body(out, mail->body);
}
