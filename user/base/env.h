/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * env: environment files, and hiding secrets in the environment.
 *
 * Both functions change the environment. Call them before other threads read it, or only on the
 * thread that reads it.
 */
#ifndef BASE_ENV_H
#define BASE_ENV_H

#include "base/buf.h"

/*
 * Set variables from the lines NAME=value of the file at @path; they replace variables of the same
 * names. A value may be bare or in single or double quotes. Empty lines, lines that start with '#'
 * and a leading "export " are allowed. 0, or a negative errno and a message in @messages, which
 * never contains a value. Lines before the wrong one have taken effect.
 */
int env_read_file(const char *path, struct buf *messages);

/*
 * Wipe the value of @name from /proc/PID/environ. getenv() still returns it. Does nothing if the
 * variable is not set, was set later than the process started, or if memory is short.
 */
void env_hide(const char *name);

#endif
