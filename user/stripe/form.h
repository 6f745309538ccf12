/* SPDX-License-Identifier: BSD-2-Clause */
/* form: application/x-www-form-urlencoded bodies for Stripe, with brackets in names. Pure. */
#ifndef STRIPE_FORM_H
#define STRIPE_FORM_H

#include "base/buf.h"

/*
 * Append "name=value", after a "&" if @b is not empty. All bytes but letters, digits and -_.~ are
 * percent-encoded. 0, or the error of buf_append(), and then nothing was appended.
 */
int form_add(struct buf *b, const char *name, const char *value);
int form_add_u64(struct buf *b, const char *name, uint64_t value);

/* Append @value, percent-encoded, for a path or a query. Errors as above. */
int form_encode(struct buf *b, const char *value);

#endif
