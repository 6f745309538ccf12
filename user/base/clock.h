/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * clock: the only module that asks the kernel for the time.
 *
 * All other code takes "now" as a parameter. Buckets and deadlines use the monotonic clock, which
 * the kernel's programs read too. Signatures, events and usage use wall time as the system has it,
 * right or wrong. Grace, the periods of quotas and the ends of keys use the steady clock, so that a
 * clock that is set back by a little, as time servers do, gives nobody a period twice.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_SECOND 1000000000ULL
#define NS_PER_MS     1000000ULL

/* CLOCK_MONOTONIC, the same clock as bpf_ktime_get_ns(). Any thread. */
uint64_t clock_mono_ns(void);

/* Unix time in milliseconds, by the system's clock, which may be set back. Any thread. */
uint64_t clock_wall_ms(void);

/*
 * Unix time in milliseconds that does not run backwards within a process, with one exception: if
 * the system's clock was set back and has not caught up after CLOCK_STEADY_MS, the clock was wrong
 * before, and this follows it. Any thread.
 */
#define CLOCK_STEADY_MS 45000
uint64_t clock_steady_ms(void);

/*
 * Wall time, and how often the system's clock has been set by more than CLOCK_JUMP_MS since this
 * process began. Two readings with the same `jumps` are apart by as much as the monotonic clock
 * says, give or take CLOCK_JUMP_MS. Any thread.
 */
#define CLOCK_JUMP_MS 60000
struct clock_wall {
	uint64_t ms;
	uint32_t jumps;
};
struct clock_wall clock_wall(void);

/*
 * The last two for a test's own clocks: the first argument is the state, zeroed at first; @wall_ms
 * and @mono_ns are the times of the two clocks.
 */
struct clock_jumps {
	int64_t offset_ms; /* atomic: wall minus monotonic time at the first reading or last jump */
	uint32_t count;	   /* atomic */
};
uint32_t clock_jumps_read(struct clock_jumps *jumps, uint64_t wall_ms, uint64_t mono_ns);

struct clock_steady {
	uint64_t latest_ms; /* atomic */
	uint64_t behind_ns; /* atomic: since when the clock is behind `latest_ms`; 0: it is not */
};
uint64_t clock_steady_read(struct clock_steady *steady, uint64_t wall_ms, uint64_t mono_ns);

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
