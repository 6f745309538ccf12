/* SPDX-License-Identifier: BSD-2-Clause */
/* mail: a notice as a message of RFC 5322: plain text in UTF-8, whatever is in it. Pure. */
#ifndef PORTAL_MAIL_H
#define PORTAL_MAIL_H

#include "base/buf.h"

struct mail {
	const char *from, *to; /* addresses; see mail_is_address() */
	struct text subject;   /* UTF-8 in one line */
	struct text body;      /* UTF-8, lines ended by '\n' */
	const char *id;	       /* of letters, digits, '_', ':' and '-': the same for each try */
	uint64_t date_s;
};

/* Append the whole message with CRLF. 0; -EINVAL for an address that is none; errors of buf_append(). */
int mail_write(const struct mail *mail, struct buf *out);

/* One address as "name@host", of bytes that may stand in a header and an SMTP command as they are. */
bool mail_is_address(const char *address);

#endif
