/* SPDX-License-Identifier: BSD-2-Clause */
/* mail: formats a notice as an RFC 5322 message whose body is plain text in UTF-8. Pure. */
#ifndef PORTAL_MAIL_H
#define PORTAL_MAIL_H

#include "base/buf.h"

struct mail {
	const char *from, *to; /* addresses; see mail_is_address() */
	struct text subject;   /* UTF-8 in one line */
	struct text body;      /* UTF-8, lines ended by '\n' */
	const char *id;	       /* letters, digits, '_', ':', '-'; the same on every retry */
	uint64_t date_s;       /* Unix time */
};

/*
 * Append the whole message, with CRLF. 0, -EINVAL if an address is not valid, or errors of
 * buf_append().
 */
int mail_write(const struct mail *mail, struct buf *out);

/*
 * Whether @address is a single "name@host" of at most 254 bytes, all of which are safe without
 * quoting in a header and in an SMTP command.
 */
bool mail_is_address(const char *address);

#endif
