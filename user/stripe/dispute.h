/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dispute: suspends the account that a charge paid for, if the charge was fully refunded or its
 * dispute is open or lost, and lifts that when the dispute is won.
 *
 * Private to the inbox, of which a disputed charge is one kind of object.
 */
#ifndef STRIPE_DISPUTE_H
#define STRIPE_DISPUTE_H

#include "stripe/inbox_private.h"

/*
 * Continue with @answer: a charge, or a dispute or refund with its charge expanded. Calls
 * object_done() in the end.
 */
void dispute_act(struct object *object, const struct stripe_answer *answer);

/* Whether a dispute with @status counts against the customer. An inquiry ("warning_...") does not.
 */
bool dispute_counts(const char *status);

#endif
