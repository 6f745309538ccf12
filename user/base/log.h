/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * log: the program's log, one line per event, on standard error.
 *
 * Under systemd, each line starts with a priority that the journal understands; otherwise with the
 * time (UTC) and the level. Callers pass names, ids and reasons, never secrets or whole keys.
 * Control characters are replaced by '?', so a peer cannot forge lines. A line that is too long is
 * cut. Any thread may log; each line is one write(2).
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/* Set the least important level that is still written. The default is info. Any thread. */
void log_set_level(enum log_level level);

/* Parse "error", "warn", "info" or "debug". 0 or -EINVAL. */
int log_level_parse(const char *name, enum log_level *ret_level);

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
