/* SPDX-License-Identifier: BSD-2-Clause */
/* env_test: environment files, and what /proc shows of the environment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/env.h"

#define SECRET "whsec_not_to_be_seen"

static void write_file(char path[], const char *content)
{
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)), strlen(content));
	close(fd);
}

static void lines_become_variables(void **state)
{
	static const struct {
		const char *content, *value; /* of TOLLGATE_A; NULL: refused */
		const char *why;
	} rows[] = {
		{ "TOLLGATE_A=1\n", "1", "bare" },
		{ "TOLLGATE_A=1", "1", "no newline at the end" },
		{ "# c\n\n  export TOLLGATE_A='a b'\r\n", "a b",
		  "quoted, exported, after a comment" },
		{ "TOLLGATE_A=\"x=y\"\n", "x=y", "an equals sign in the value" },
		{ "TOLLGATE_A=\n", "", "empty" },
		{ "TOLLGATE_A=1\nTOLLGATE_A=2\n", "2", "the last one holds" },
		{ "TOLLGATE_A\n", NULL, "no value" },
		{ "=1\n", NULL, "no name" },
		{ "TOLLGATE_A='1\n", NULL, "a quote that is not closed" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char path[] = "/tmp/tollgate-env-XXXXXX";
		struct buf messages;
		int err;

		unsetenv("TOLLGATE_A");
		write_file(path, rows[i].content);
		buf_init(&messages, 4096);
		err = env_read_file(path, &messages);
		unlink(path);
		if (!rows[i].value != !!err || (err && !buf_len(&messages)) ||
		    (!err && strcmp(getenv("TOLLGATE_A"), rows[i].value)))
			fail_msg("%s: %d, '%s'", rows[i].why, err, getenv("TOLLGATE_A"));
		buf_done(&messages);
	}
}

/* Whether /proc/self/environ contains @text. */
static int is_shown(const char *text)
{
	static char block[1 << 17];
	FILE *file = fopen("/proc/self/environ", "re");
	size_t len = fread(block, 1, sizeof(block) - 1, file);

	fclose(file);
	return memmem(block, len, text, strlen(text)) != NULL;
}

static void hidden_values_are_not_shown_but_can_be_read(void **state)
{
	(void)state;
	assert_true(is_shown("TOLLGATE_SECRET=" SECRET));
	for (unsigned twice = 0; twice < 2; twice++) {
		env_hide("TOLLGATE_SECRET");
		assert_string_equal(getenv("TOLLGATE_SECRET"), SECRET);
		assert_false(is_shown(SECRET));
	}
	assert_true(is_shown("PATH="));
	env_hide("TOLLGATE_NO_SUCH_NAME");
	setenv("TOLLGATE_LATER", "later", 1);
	env_hide("TOLLGATE_LATER");
	assert_string_equal(getenv("TOLLGATE_LATER"), "later");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_become_variables),
		cmocka_unit_test(hidden_values_are_not_shown_but_can_be_read),
	};

	(void)argc;
	/* The secret must be in the environment when the process starts. */
	if (!getenv("TOLLGATE_SECRET")) {
		setenv("TOLLGATE_SECRET", SECRET, 1);
		execv("/proc/self/exe", argv);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
