/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mail: the header of a notice that is sent by mail.
 *
 * curl's MIME functions encode bodies, but not header fields; so the encoded words of a subject
 * that is not plain ASCII (RFC 2047) are made here.
 */
#include "portal/mail.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#define WORD_BYTES     39 /* in one encoded word; its line is then at most 76 bytes long */
#define PLAIN_BYTES    60 /* a subject of this length is encoded, so that it can be folded */
#define MAX_ADDRESS    254
#define AUTO_SUBMITTED "Auto-Submitted: auto-generated" /* RFC 3834: do not answer this */

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

static bool is_plain(struct text t)
{
	for (size_t i = 0; i < t.len; i++) {
		if ((unsigned char)t.ptr[i] < ' ' || (unsigned char)t.ptr[i] > '~')
			return false;
	}
	return t.len < PLAIN_BYTES && !(t.len && memmem(t.ptr, t.len, "=?", 2));
}

/* How many bytes of @t go into one encoded word. Does not split UTF-8 characters. */
static size_t word_bytes(struct text t)
{
	size_t len = t.len < WORD_BYTES ? t.len : WORD_BYTES;

	while (len && len < t.len && ((unsigned char)t.ptr[len] & 0xc0) == 0x80)
		len--;
	return len ? len : t.len < WORD_BYTES ? t.len : WORD_BYTES;
}

static int write_word(struct buf *out, const char *data, size_t len)
{
	unsigned char letters[WORD_BYTES / 3 * 4 + 1];

	EVP_EncodeBlock(letters, (const unsigned char *)data, (int)len);
	return buf_printf(out, "=?UTF-8?B?%s?=", (char *)letters);
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

			if (at)
				err = buf_append_str(out, "\r\n ");
			if (!err)
				err = write_word(out, subject.ptr + at, len);
			at += len;
		}
	}
	return err ? err : buf_append(out, "", 1);
}

int mail_write(const struct mail *mail, struct buf *out, const char *ret_fields[MAIL_FIELDS + 1])
{
	time_t at = (time_t)mail->date_s;
	const char *field;
	char date[64];
	struct tm tm;
	int err;

	if (!mail_is_address(mail->from) || !mail_is_address(mail->to))
		return -EINVAL;
	gmtime_r(&at, &tm);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &tm);
	err = buf_printf(out, "Date: %s%cFrom: <%s>%cTo: <%s>%cMessage-ID: <%s@%s>%c", date, 0,
			 mail->from, 0, mail->to, 0, mail->id, strchr(mail->from, '@') + 1, 0);
	if (!err)
		err = write_subject(out, mail->subject);
	if (!err)
		err = buf_append(out, AUTO_SUBMITTED, sizeof(AUTO_SUBMITTED));
	if (err)
		return err;
	field = buf_head(out);
	for (unsigned i = 0; i < MAIL_FIELDS; i++) {
		ret_fields[i] = field;
		field += strlen(field) + 1;
	}
	ret_fields[MAIL_FIELDS] = NULL;
	return 0;
}
