/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * output: what goes to standard output, and whether it got there.
 *
 * Everything is printed to output_stdout(), and every subcommand that printed returns through
 * output_finish(), so that a full disk or a closed pipe is a failure that shows in the exit code.
 */
#ifndef BASE_OUTPUT_H
#define BASE_OUTPUT_H

#include <jansson.h>
#include <stdio.h>

/* Standard output; from the first call on, a closed pipe is an error and no longer a signal. */
FILE *output_stdout(void);

/* @json, indented, and a newline. */
void output_json(const json_t *json);

/* @code if all that was printed is written; else 1, after a message. */
int output_finish(int code);

/* "error: <message>" on standard error; control bytes but newlines become '?'. */
void output_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same as "note: <message>", for what the user should know after a success. */
void output_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
