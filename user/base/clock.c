/* SPDX-License-Identifier: BSD-2-Clause */
/* clock: the only module that asks the kernel for the time. */
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/text.h"

#define MS_PER_DAY 86400000ULL

uint64_t clock_mono_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_SECOND + (uint64_t)t.tv_nsec;
}

uint64_t clock_wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / NS_PER_MS;
}

/* The wall clock is behind @seen_ms: stay there for a while, then follow. */
static uint64_t wait_behind(struct clock_steady *steady, uint64_t seen_ms, uint64_t wall_ms,
			    uint64_t mono_ns)
{
	uint64_t since_ns = atomic_read(&steady->behind_ns);

	if (!since_ns) {
		atomic_write(&steady->behind_ns, mono_ns);
		return seen_ms;
	}
	if (mono_ns < since_ns || mono_ns - since_ns < CLOCK_STEADY_MS * NS_PER_MS)
		return seen_ms;
	if (!atomic_compare_exchange(&steady->latest_ms, &seen_ms, wall_ms))
		return seen_ms; /* another thread has moved it */
	atomic_write(&steady->behind_ns, 0);
	return wall_ms;
}

uint64_t clock_steady_read(struct clock_steady *steady, uint64_t wall_ms, uint64_t mono_ns)
{
	uint64_t seen_ms = atomic_read(&steady->latest_ms);

	do {
		if (wall_ms < seen_ms)
			return wait_behind(steady, seen_ms, wall_ms, mono_ns);
	} while (wall_ms > seen_ms &&
		 !atomic_compare_exchange(&steady->latest_ms, &seen_ms, wall_ms));
	if (atomic_read(&steady->behind_ns))
		atomic_write(&steady->behind_ns, 0);
	return wall_ms;
}

uint64_t clock_steady_ms(void)
{
	static struct clock_steady steady;

	return clock_steady_read(&steady, clock_wall_ms(), clock_mono_ns());
}

uint32_t clock_jumps_read(struct clock_jumps *jumps, uint64_t wall_ms, uint64_t mono_ns)
{
	int64_t offset_ms = (int64_t)wall_ms - (int64_t)(mono_ns / NS_PER_MS);
	int64_t seen_ms = atomic_read(&jumps->offset_ms);

	if (offset_ms - seen_ms > CLOCK_JUMP_MS || seen_ms - offset_ms > CLOCK_JUMP_MS) {
		/* Another thread may have noticed it, and counts it in a moment. */
		if (atomic_compare_exchange(&jumps->offset_ms, &seen_ms, offset_ms) && seen_ms)
			atomic_add(&jumps->count, 1);
	}
	return atomic_read(&jumps->count);
}

struct clock_wall clock_wall(void)
{
	static struct clock_jumps jumps;
	uint64_t wall_ms = clock_wall_ms();

	return (struct clock_wall){ wall_ms, clock_jumps_read(&jumps, wall_ms, clock_mono_ns()) };
}

int clock_boot_id(uint8_t ret_id[16])
{
	char line[36], hex[33];
	size_t digits = 0;
	ssize_t got;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	got = read(fd, line, sizeof(line));
	close(fd);
	if (got != (ssize_t)sizeof(line))
		return -EIO;
	for (size_t i = 0; i < sizeof(line) && digits < 32; i++) {
		if (line[i] != '-')
			hex[digits++] = line[i];
	}
	return text_parse_hex((struct text){ hex, digits }, ret_id, 16);
}

uint32_t clock_day(uint64_t wall_ms)
{
	return (uint32_t)(wall_ms / MS_PER_DAY);
}

/*
 * The civil calendar by Euclidean affine functions. The year starts in March, so the leap day is
 * its last day and the first day of month m (0: March) is day (153 * m + 2) / 5 of the year.
 */
uint32_t clock_month(uint64_t wall_ms)
{
	uint64_t day = wall_ms / MS_PER_DAY + 719468; /* since 0000-03-01 */
	uint64_t era = day / 146097, day_of_era = day % 146097;
	uint64_t year =
		(day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	uint64_t day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
	uint64_t month = (5 * day_of_year + 2) / 153; /* 0: March */

	return (uint32_t)((era * 400 + year) * 12 + month + 2 - 1970 * 12);
}

uint64_t clock_day_start_ms(uint32_t day)
{
	return day * MS_PER_DAY;
}

uint64_t clock_month_start_ms(uint32_t month)
{
	uint64_t since_march = month + 1970ULL * 12 - 2;
	uint64_t year = since_march / 12, era = year / 400, year_of_era = year % 400;
	uint64_t day_of_year = (153 * (since_march % 12) + 2) / 5;
	uint64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

	return (era * 146097 + day_of_era - 719468) * MS_PER_DAY;
}
