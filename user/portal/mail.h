/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mail: the header of a notice that is sent by mail (RFC 5322). net/transfer adds the body and what
 * MIME needs. Pure.
 */
#ifndef PORTAL_MAIL_H
#define PORTAL_MAIL_H

#include "base/buf.h"

#define MAIL_FIELDS 6

struct mail {
	const char *from, *to; /* addresses; see mail_is_address() */
	struct text subject;   /* UTF-8 */
	const char *id;	       /* letters, digits, '_', ':' and '-'; the same on every attempt */
	uint64_t date_s;       /* Unix time */
};

/*
 * Write the fields Date, From, To, Message-ID, Subject and Auto-Submitted to the empty buffer @out,
 * each ended by NUL, and point @ret_fields at them; the last entry is NULL. No line is longer than
 * 78 bytes. A long or non-ASCII subject is encoded (RFC 2047) and may be folded over several lines;
 * no byte of it can end the field.
 *
 * 0; -EINVAL if @from or @to is not an address; else the error of buf_append().
 */
int mail_write(const struct mail *mail, struct buf *out, const char *ret_fields[MAIL_FIELDS + 1]);

/*
 * Whether @address is one address, "name@host", of printable ASCII without quotes, brackets, commas
 * and spaces, so that it can stand in a header and in an SMTP command as it is.
 */
bool mail_is_address(const char *address);

#endif
