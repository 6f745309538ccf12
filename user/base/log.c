/* SPDX-License-Identifier: BSD-2-Clause */
/* log: the program's log, one line per event, on standard error. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"

#define LINE_MAX_BYTES 1024

/* The journal uses syslog's priorities: see sd-daemon(3). */
static const struct {
	const char *name;
	int priority;
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", 3 },
	[LOG_LEVEL_WARN] = { "warn", 4 },
	[LOG_LEVEL_INFO] = { "info", 6 },
	[LOG_LEVEL_DEBUG] = { "debug", 7 },
};

static int threshold = LOG_LEVEL_INFO; /* atomic */

void log_set_level(enum log_level level)
{
	atomic_write(&threshold, (int)level);
}

int log_level_parse(const char *name, enum log_level *ret_level)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (!strcmp(levels[i].name, name)) {
			*ret_level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

static size_t write_prefix(char *line, enum log_level level)
{
	struct timespec now;
	struct tm utc;
	size_t len;

	if (getenv("JOURNAL_STREAM"))
		return (size_t)snprintf(line, 8, "<%d>", levels[level].priority);
	clock_gettime(CLOCK_REALTIME, &now); /* shown only; nothing depends on it */
	gmtime_r(&now.tv_sec, &utc);
	len = strftime(line, 32, "%Y-%m-%dT%H:%M:%S", &utc);
	len += (size_t)snprintf(line + len, 32, ".%03dZ %s ", (int)(now.tv_nsec / 1000000),
				levels[level].name);
	return len;
}

void log_write(enum log_level level, const char *format, ...)
{
	char line[LINE_MAX_BYTES];
	size_t prefix, len;
	va_list args;
	int wanted;

	if ((int)level > atomic_read(&threshold))
		return;
	prefix = write_prefix(line, level);
	va_start(args, format);
	wanted = vsnprintf(line + prefix, sizeof(line) - prefix - 1, format, args);
	va_end(args);
	if (wanted < 0)
		return;
	len = prefix + (size_t)wanted;
	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	for (size_t i = prefix; i < len; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	}
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0)
		return; /* there is nowhere to report it */
}
