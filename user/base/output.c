/* SPDX-License-Identifier: BSD-2-Clause */
/* output: what goes to standard output, and whether it got there. */
#include "base/output.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#define MESSAGE_MAX 8192

FILE *output_stdout(void)
{
	signal(SIGPIPE, SIG_IGN);
	return stdout;
}

void output_json(const json_t *json)
{
	FILE *out = output_stdout();

	/* Its failures are those of `out`, which output_finish() sees. */
	json_dumpf(json, out, JSON_INDENT(2) | JSON_ENCODE_ANY);
	fputc('\n', out);
}

int output_finish(int code)
{
	errno = 0;
	if (!fflush(stdout) && !ferror(stdout))
		return code;
	output_error("the output could not be written: %s", strerror(errno ? errno : EIO));
	return 1;
}

static void print(const char *kind, const char *format, va_list args)
{
	char message[MESSAGE_MAX];

	vsnprintf(message, sizeof(message), format, args);
	for (char *c = message; *c; c++) {
		if (((unsigned char)*c < 0x20 && *c != '\n') || *c == 0x7f)
			*c = '?';
	}
	fprintf(stderr, "%s: %s\n", kind, message);
}

void output_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print("error", format, args);
	va_end(args);
}

void output_note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print("note", format, args);
	va_end(args);
}
