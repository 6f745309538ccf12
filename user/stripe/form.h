/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * form: writes request bodies for Stripe, application/x-www-form-urlencoded. Nested names have
 * brackets: "metadata[source]".
 */
#ifndef STRIPE_FORM_H
#define STRIPE_FORM_H

#include "base/buf.h"

/*
 * Append "name=value", preceded by "&" unless @b is empty. In both, all bytes except letters,
 * digits and -_.~ are percent-encoded. 0 or the error of buf_append(); after an error @b is
 * unchanged.
 */
int form_add(struct buf *b, const char *name, const char *value);
int form_add_u64(struct buf *b, const char *name, uint64_t value);

/* Append @value, percent-encoded for a path or a query. */
int form_encode(struct buf *b, const char *value);

#endif
