/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * period: when quotas begin anew. Pure.
 *
 * A daily quota follows UTC days. A monthly one follows UTC months, but for an account with a Stripe
 * subscription the billing period: it begins anew with each one, and within a period of more than a
 * month also at each month's turn, counted from the period's beginning.
 *
 * A span is such a stretch of time in one word, so that it is read whole: its first second << 32 | the
 * second after its last (Unix time). 0: none, the calendar's months hold.
 */
#ifndef ENFORCE_PERIOD_H
#define ENFORCE_PERIOD_H

#include <stdbool.h>
#include <stdint.h>

#define PERIOD_SPAN(start_s, end_s) ((uint64_t)(start_s) << 32 | (uint32_t)(end_s))
#define PERIOD_START_S(span)	    ((uint64_t)(span) >> 32)
#define PERIOD_END_S(span)	    ((span)&0xffffffffULL)

/* The billing period as a span; 0 if it is none that can be: empty, backwards, past the year 2106. */
uint64_t period_span(uint64_t start_s, uint64_t end_s);

/*
 * The stretch of the monthly quota at @now_s within @billing (a span). After its end the next one is
 * expected to be as long: Stripe's word for it comes seconds or an hour later.
 */
uint64_t period_quota_span(uint64_t billing, uint64_t now_s);

/* The second at the same time of day @months later, or on that month's last day if it has no such day. */
uint64_t period_add_months(uint64_t s, unsigned months);

#endif
