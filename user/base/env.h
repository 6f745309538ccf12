/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * env: the environment, as far as it holds secrets: files of lines NAME=value, and hiding.
 *
 * Only before other threads read the environment, or on the one thread that does.
 */
#ifndef BASE_ENV_H
#define BASE_ENV_H

#include "base/buf.h"

/*
 * Put the lines NAME=value of the file at @path into the environment, over what is there. Values stand
 * bare or in single or double quotes; empty lines, comments (#) and a leading "export " are allowed.
 * 0, or a negative errno and a message that shows no value.
 */
int env_read_file(const char *path, struct buf *messages);

/*
 * Wipe the value of @name from where the kernel shows it (/proc/PID/environ); getenv() has it still.
 * Without memory nothing happens.
 */
void env_hide(const char *name);

#endif
