/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report_problems: usage that cannot be closed, by reason.
 *
 * It stays open until the reason is gone, and never keeps other usage waiting. A problem is logged
 * when it appears and when it has gone.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "stripe/report_private.h"

static struct report_problem *find(struct report_problems *problems, const char *what,
				   const char *why)
{
	for (unsigned i = 0; i < problems->count; i++) {
		struct report_problem *problem = &problems->list[i];

		if (!strcmp(problem->what, what) && !strcmp(problem->why, why))
			return problem;
	}
	return NULL;
}

void report_problem_add(struct report_problems *problems, const struct report_problem *more)
{
	struct report_problem *problem = find(problems, more->what, more->why);

	problems->units += more->units;
	if (problem) {
		problem->windows += more->windows;
		problem->units += more->units;
		if (more->oldest_s < problem->oldest_s)
			problem->oldest_s = more->oldest_s;
	} else if (problems->count < REPORT_MAX_PROBLEMS) {
		problems->list[problems->count++] = *more;
	}
}

void report_problems_replace(struct report *report, const struct report_problems *fresh)
{
	struct report_problems was = report->problems;

	report->problems = *fresh;
	for (unsigned i = 0; i < fresh->count; i++) {
		const struct report_problem *problem = &fresh->list[i];

		if (!find(&was, problem->what, problem->why))
			log_error("%" PRIu64 " units in %" PRIu64 " windows cannot be billed: %s",
				  problem->units, problem->windows, problem->why);
	}
	for (unsigned i = 0; i < was.count; i++) {
		if (!find(&report->problems, was.list[i].what, was.list[i].why))
			log_info("usage no longer waits: %s", was.list[i].why);
	}
}

json_t *report_problems(const struct report *report)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < report->problems.count; i++) {
		const struct report_problem *problem = &report->problems.list[i];

		json_array_append_new(array, json_pack("{s:s, s:s, s:I, s:I, s:I}", "what",
						       problem->what, "why", problem->why,
						       "windows", (json_int_t)problem->windows,
						       "units", (json_int_t)problem->units,
						       "oldest", (json_int_t)problem->oldest_s));
	}
	return array;
}

uint64_t report_blocked_units(const struct report *report)
{
	return report->problems.units;
}
