/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * form: writes and reads application/x-www-form-urlencoded, the format of forms and queries. Pure.
 */
#ifndef HTTP_FORM_H
#define HTTP_FORM_H

#include "base/buf.h"

/*
 * Append "name=value", preceded by "&" unless @b is empty. In both, all bytes except letters,
 * digits and -_.~ are percent-encoded. 0 or the error of buf_append(); after an error @b is
 * unchanged.
 */
int form_add(struct buf *b, const char *name, const char *value);
int form_add_u64(struct buf *b, const char *name, uint64_t value);

/* Append @value, percent-encoded for a path or a query. 0 or the error of buf_append(). */
int form_encode(struct buf *b, const char *value);

/*
 * Decode parameter @name of @form into @ret_value, ended by NUL. Errors leave @ret_value empty:
 * -ENOENT if there is no such parameter, -EINVAL if there are several, or one with a broken escape
 * or a control byte, -EMSGSIZE if it is too long, -ENOMEM.
 */
int form_get(struct text form, const char *name, char *ret_value, size_t size);

#endif
