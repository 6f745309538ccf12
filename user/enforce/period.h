/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * period: when quotas start again. Pure.
 *
 * A daily quota follows UTC days. A monthly quota follows UTC months or, for an account with a
 * Stripe subscription, its billing period: the quota starts again with each period and, within a
 * period of more than a month, every month from the start of the period.
 *
 * A span packs such a stretch of time into one word, so that readers get it whole: its first second
 * in the upper 32 bits, and the second after its last in the lower (Unix time). 0 means that there
 * is none: calendar months apply.
 */
#ifndef ENFORCE_PERIOD_H
#define ENFORCE_PERIOD_H

#include <stdbool.h>
#include <stdint.h>

#define PERIOD_SPAN(start_s, end_s) ((uint64_t)(start_s) << 32 | (uint32_t)(end_s))
#define PERIOD_START_S(span)	    ((uint64_t)(span) >> 32)
#define PERIOD_END_S(span)	    ((span)&0xffffffffULL)

/* The billing period as a span; 0 if it is empty, ends before it starts, or ends after 2106. */
uint64_t period_span(uint64_t start_s, uint64_t end_s);

/*
 * The span of the monthly quota at @now_s, given the billing period @billing (a span). After its
 * end, the next period is assumed to be as long, because Stripe reports it seconds to an hour
 * later.
 */
uint64_t period_quota_span(uint64_t billing, uint64_t now_s);

/* @s plus @months, at the same time of day; the last day of the month if it has no such day. */
uint64_t period_add_months(uint64_t s, unsigned months);

#endif
