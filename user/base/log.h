/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * log: one line an event, on standard error.
 *
 * Under systemd each line opens with the priority that the journal understands; elsewhere with the
 * time. Secrets and whole keys are never logged: callers pass names, ids and reasons only. Control
 * bytes are written as '?', so that a peer cannot forge lines. Any thread; a line is one write.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/* Lines above this level are not written. Default: info. */
void log_set_level(enum log_level level);

/* "error", "warn", "info" or "debug". 0 or -EINVAL. */
int log_level_parse(const char *name, enum log_level *ret_level);

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
