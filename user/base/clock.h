/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * clock: the only place that asks the kernel for the time.
 *
 * Everything else takes 'now' as a parameter. Buckets and deadlines use the monotonic clock, which the
 * kernel's programs read too; quotas, grace and periods use wall time, which here never runs backwards
 * within a process: after the wall clock was set back it stands still until it is caught up.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_SECOND 1000000000ULL
#define NS_PER_MS     1000000ULL

/* CLOCK_MONOTONIC, as bpf_ktime_get_ns() counts it. Any thread. */
uint64_t clock_mono_ns(void);

/* Unix time in milliseconds, never running backwards. Any thread. */
uint64_t clock_wall_ms(void);

/* The 16 bytes of this boot's id. 0 or a negative errno; @ret_id is untouched on failure. */
int clock_boot_id(uint8_t ret_id[16]);

/* Days since 1970-01-01, UTC. */
uint32_t clock_day(uint64_t wall_ms);

/* Months since 1970-01, UTC. */
uint32_t clock_month(uint64_t wall_ms);

/* Unix milliseconds at which that day or month begins. */
uint64_t clock_day_start_ms(uint32_t day);
uint64_t clock_month_start_ms(uint32_t month);

#endif
