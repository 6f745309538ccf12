/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * clock: the only module that asks the kernel for the time.
 *
 * All other code takes "now" as a parameter. Buckets and deadlines use the monotonic clock, which
 * the kernel's programs read too. Quotas, grace and periods use wall time, which never runs
 * backwards here: if the system clock is set back, wall time stands still until the clock has
 * caught up.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_SECOND 1000000000ULL
#define NS_PER_MS     1000000ULL

/* CLOCK_MONOTONIC, the same clock as bpf_ktime_get_ns(). Any thread. */
uint64_t clock_mono_ns(void);

/* Unix time in milliseconds. Never runs backwards within a process. Any thread. */
uint64_t clock_wall_ms(void);

/* The id of this boot. 0 or a negative errno; @ret_id is unchanged after an error. */
int clock_boot_id(uint8_t ret_id[16]);

/* Days since 1970-01-01 (UTC). Pure, like the functions below. */
uint32_t clock_day(uint64_t wall_ms);

/* Months since 1970-01 (UTC). */
uint32_t clock_month(uint64_t wall_ms);

/* The Unix time in milliseconds at which that day or month begins. */
uint64_t clock_day_start_ms(uint32_t day);
uint64_t clock_month_start_ms(uint32_t month);

#endif
