/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * link: tokens in the links that customers get. Only the portal can write one.
 *
 * A token contains the link's subject, the time when it expires and a random ID, by which a caller
 * can make it work only once. It is valid on every host that has the same pepper.
 */
#ifndef PORTAL_LINK_H
#define PORTAL_LINK_H

#include "base/crypto.h"
#include "base/text.h"

#define LINK_SUBJECT_MAX 384 /* bytes of a subject, with its NUL */
#define LINK_ID_SIZE	 33
#define LINK_SIZE	 1024 /* bytes of a token, with its NUL */

struct link_token {
	char subject[LINK_SUBJECT_MAX]; /* for example a mail address */
	char id[LINK_ID_SIZE];		/* random, 32 hex digits */
	uint64_t expires_s;		/* Unix time */
};

/*
 * Write the token of a link for @purpose about @subject, valid until @expires_s. 0; -EINVAL if the
 * subject is empty or too long; or the error of crypto_random().
 */
int link_write(const struct crypto_hmac *secret, const char *purpose, const char *subject,
	       uint64_t expires_s, char ret_token[LINK_SIZE]);

/*
 * 0; -EBADMSG if the portal did not write @token for @purpose; -ETIMEDOUT if it has expired at
 * @now_s. Pure.
 */
int link_read(const struct crypto_hmac *secret, const char *purpose, struct text token,
	      uint64_t now_s, struct link_token *ret_link);

#endif
