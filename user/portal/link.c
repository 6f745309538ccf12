/* SPDX-License-Identifier: BSD-2-Clause */
/* link: see link.h. A token is SUBJECT-ID-EXPIRES-SEAL, all of it in hexadecimal digits. */
#include "portal/link.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "portal/session.h"

#define ID_BYTES ((LINK_ID_SIZE - 1) / 2)

int link_write(const struct crypto_hmac *secret, const char *purpose, const char *subject,
	       uint64_t expires_s, char ret_token[LINK_SIZE])
{
	char hex[2 * LINK_SUBJECT_MAX], id[LINK_ID_SIZE], seal[SESSION_SEAL_SIZE];
	uint8_t random[ID_BYTES];
	size_t len = strlen(subject);
	int err = crypto_random(random, sizeof(random));

	if (err)
		return err;
	if (!len || len >= LINK_SUBJECT_MAX)
		return -EINVAL;
	text_hex(subject, len, hex);
	text_hex(random, sizeof(random), id);
	len = (size_t)snprintf(ret_token, LINK_SIZE, "%s-%s-%" PRIx64, hex, id, expires_s);
	session_seal(secret, purpose, (struct text){ ret_token, len }, seal);
	snprintf(ret_token + len, LINK_SIZE - len, "-%s", seal);
	return 0;
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode @hex to a text. False if it does not fit, is not hexadecimal, or has a NUL. */
static bool unhex(struct text hex, char *ret_text, size_t size)
{
	if (hex.len % 2 || hex.len / 2 >= size)
		return false;
	for (size_t i = 0; i < hex.len / 2; i++) {
		int high = digit(hex.ptr[2 * i]), low = digit(hex.ptr[2 * i + 1]);

		if (high < 0 || low < 0 || (high == 0 && low == 0))
			return false;
		ret_text[i] = (char)(high << 4 | low);
	}
	ret_text[hex.len / 2] = '\0';
	return true;
}

/* Cut the beginning of @t up to the next '-'. Empty if there is none. */
static struct text cut(struct text *t)
{
	const char *end = t->len ? memchr(t->ptr, '-', t->len) : NULL;
	struct text word = { t->ptr, end ? (size_t)(end - t->ptr) : 0 };

	if (end) {
		t->len -= word.len + 1;
		t->ptr = end + 1;
	}
	return word;
}

int link_read(const struct crypto_hmac *secret, const char *purpose, struct text token,
	      uint64_t now_s, struct link_token *ret_link)
{
	struct text rest = token, subject = cut(&rest), id = cut(&rest), expires = cut(&rest);
	struct text sealed = { token.ptr, token.len - rest.len - 1 };
	char number[17];

	if (!subject.len || id.len != LINK_ID_SIZE - 1 || !expires.len ||
	    expires.len >= sizeof(number) || !session_is_sealed(secret, purpose, sealed, rest) ||
	    !unhex(subject, ret_link->subject, sizeof(ret_link->subject)))
		return -EBADMSG;
	snprintf(ret_link->id, sizeof(ret_link->id), "%.*s", TEXT_ARG(id));
	snprintf(number, sizeof(number), "%.*s", TEXT_ARG(expires));
	ret_link->expires_s = strtoull(number, NULL, 16);
	return now_s < ret_link->expires_s ? 0 : -ETIMEDOUT;
}
