/* SPDX-License-Identifier: BSD-2-Clause */
/* log_test: levels, the format of a line, its length, and bytes that would forge another line. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"

static int saved_stderr, from_log;
static char seen[8192];

static int catch_stderr(void **state)
{
	int fds[2];

	(void)state;
	if (pipe(fds))
		return -1;
	saved_stderr = dup(STDERR_FILENO);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	from_log = fds[0];
	setenv("JOURNAL_STREAM", "8:1", 1);
	log_set_level(LOG_LEVEL_INFO);
	return 0;
}

static int release_stderr(void **state)
{
	(void)state;
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(from_log);
	return 0;
}

/* What was logged since; a mark is written after it so that reading never waits. */
static const char *logged(void)
{
	ssize_t len;

	if (write(STDERR_FILENO, "|", 1) != 1)
		return NULL;
	len = read(from_log, seen, sizeof(seen) - 1);
	seen[len > 0 ? len - 1 : 0] = '\0';
	return seen;
}

static void lines_above_the_level_are_not_written(void **state)
{
	(void)state;
	log_error("e%d", 1);
	log_warn("w");
	log_info("i");
	log_debug("d");
	assert_string_equal(logged(), "<3>e1\n<4>w\n<6>i\n");
	log_set_level(LOG_LEVEL_ERROR);
	log_warn("w");
	log_error("e");
	assert_string_equal(logged(), "<3>e\n");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("d");
	assert_string_equal(logged(), "<7>d\n");
}

static void control_bytes_forge_no_lines(void **state)
{
	(void)state;
	log_info("a\nb\r\t\x1b[31m\x7f\xc3\xa4");
	assert_string_equal(logged(), "<6>a?b???[31m?\xc3\xa4\n");
}

static void a_long_line_is_cut_and_still_ends(void **state)
{
	static char text[5000];
	const char *line;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	log_info("%s", text);
	line = logged();
	assert_true(strlen(line) <= 1024);
	assert_true(strlen(line) > 1000);
	assert_int_equal(line[strlen(line) - 1], '\n');
}

static void without_a_journal_the_line_has_time_and_level(void **state)
{
	int year, month, day;
	char rest[64];

	(void)state;
	unsetenv("JOURNAL_STREAM");
	log_warn("hello");
	assert_int_equal(sscanf(logged(), "%4d-%2d-%2dT%*2d:%*2d:%*2d.%*3dZ %63[^\n]", &year,
				&month, &day, rest),
			 4);
	assert_in_range(year, 2024, 3000);
	assert_string_equal(rest, "warn hello");
}

static void levels_have_names(void **state)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	enum log_level level;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(log_level_parse(names[i], &level), 0);
		assert_int_equal(level, i);
	}
	assert_int_equal(log_level_parse("warning", &level), -EINVAL);
	assert_int_equal(log_level_parse("", &level), -EINVAL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, catch_stderr, release_stderr)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lines_above_the_level_are_not_written),
		TEST(control_bytes_forge_no_lines),
		TEST(a_long_line_is_cut_and_still_ends),
		TEST(without_a_journal_the_line_has_time_and_level),
		cmocka_unit_test(levels_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
