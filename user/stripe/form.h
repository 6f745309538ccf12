/* SPDX-License-Identifier: BSD-2-Clause */
/* form: bodies of calls to Stripe: application/x-www-form-urlencoded, with brackets in names. */
#ifndef STRIPE_FORM_H
#define STRIPE_FORM_H

#include "base/buf.h"

/*
 * Append "name=value", after a "&" if there is something before. All bytes but letters, digits and
 * -_.~ are percent-encoded in both. 0 or the error of buf_append(), and then nothing was appended.
 */
int form_add(struct buf *b, const char *name, const char *value);
int form_add_u64(struct buf *b, const char *name, uint64_t value);

/* Percent-encode @value alone, for a path or a query. */
int form_encode(struct buf *b, const char *value);

#endif
