/* SPDX-License-Identifier: BSD-2-Clause */
/* env: environment files, and hiding secrets in the environment. */
#include "base/env.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#define LINE_MAX_BYTES 8192

/*
 * The block of memory where the kernel put the environment when the process started. Only these
 * bytes are visible in /proc/PID/environ.
 */
static char *block_start, *block_end;

__attribute__((constructor)) static void note_block(int argc, char **argv, char **envp)
{
	(void)argc;
	(void)argv;
	for (; envp && *envp; envp++) {
		if (!block_start || *envp < block_start)
			block_start = *envp;
		if (*envp + strlen(*envp) > block_end)
			block_end = *envp + strlen(*envp);
	}
}

void env_hide(const char *name)
{
	char *value = getenv(name), *copy;

	if (!value || value < block_start || value >= block_end)
		return;
	copy = strdup(value);
	if (!copy)
		return;
	/* setenv() copies the value to the heap. The original in the block is then unused. */
	if (!setenv(name, copy, 1) && getenv(name) != value)
		OPENSSL_cleanse(value, strlen(value));
	OPENSSL_cleanse(copy, strlen(copy));
	free(copy);
}

/* Set the variable of one line NAME=value. -EINVAL if the line has another form. */
static int set_variable(char *line)
{
	char *value = strchr(line, '='), quote;
	size_t len;

	if (!value || value == line)
		return -EINVAL;
	*value++ = '\0';
	len = strlen(value);
	quote = *value;
	if (quote == '"' || quote == '\'') {
		if (len < 2 || value[len - 1] != quote)
			return -EINVAL;
		value[len - 1] = '\0';
		value++;
	}
	return setenv(line, value, 1) ? -errno : 0;
}

static int read_line(char *line)
{
	char *start = line + strspn(line, " \t");

	start[strcspn(start, "\r\n")] = '\0';
	if (!*start || *start == '#')
		return 0;
	if (!strncmp(start, "export ", 7))
		start += 7;
	return set_variable(start);
}

int env_read_file(const char *path, struct buf *messages)
{
	char line[LINE_MAX_BYTES];
	unsigned number = 0;
	FILE *file = fopen(path, "re");
	int err = 0;

	if (!file) {
		err = -errno;
		buf_printf(messages, "%s: %s\n", path, strerror(-err));
		return err;
	}
	while (!err && fgets(line, sizeof(line), file)) {
		number++;
		err = strlen(line) == sizeof(line) - 1 ? -EINVAL : read_line(line);
	}
	fclose(file);
	OPENSSL_cleanse(line, sizeof(line));
	if (err)
		buf_printf(messages, "%s:%u: not a line NAME=value\n", path, number);
	return err;
}
