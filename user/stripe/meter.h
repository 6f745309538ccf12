/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * meter: which of Stripe's billing meters usage can be reported to. Pure.
 *
 * tollgate reports the units of a whole window in one event. That is exact only for a meter that
 * sums the values of all its events: one that counts events would count 1, one that takes the last
 * event would forget all others, and so would one with an event_time_window within that window
 * (https://docs.stripe.com/api/billing/meter).
 */
#ifndef STRIPE_METER_H
#define STRIPE_METER_H

#include <jansson.h>

#define METER_FAULT_MAX 64
#define METER_REMEDY	"use a meter with the formula 'sum' and no event_time_window"

/* Why usage cannot be reported to @meter, such as "has the formula 'count'"; "" if it can. */
void meter_fault(const json_t *meter, char ret_fault[METER_FAULT_MAX]);

#endif
