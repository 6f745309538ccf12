// SPDX-License-Identifier: BSD-2-Clause
/*
 * Compares how many instructions the verifier processes with the table in instructions.txt, so that
 * growth is seen when it happens, and not when an older kernel refuses to load the program.
 */
#include "bpf/fixture.h"

#include <bpf/libbpf.h>

#include "bpf/edge.skel.h"
#include "bpf/pass.skel.h"
#include "fastpath/private.h"

#define TABLE		"tests/bpf/instructions.txt"
#define GROWTH_PERCENT	10
#define TRANSLATED_SIZE 8 /* bytes per instruction */

struct size {
	unsigned verified;
	unsigned translated;
};

static struct size measure(int program_fd)
{
	struct bpf_prog_info info = { 0 };
	unsigned size = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(program_fd, &info, &size), 0);
	return (struct size){ info.verified_insns, info.xlated_prog_len / TRANSLATED_SIZE };
}

static struct size look_up(const char *program)
{
	FILE *table = fopen(TABLE, "r");
	struct size size = { 0 };
	char line[128], name[32];
	bool found = false;

	if (!table)
		fail_msg("%s: %s (run this from the top of the tree)", TABLE, strerror(errno));
	while (!found && fgets(line, sizeof(line), table))
		found = sscanf(line, "%31s %u %u", name, &size.verified, &size.translated) == 3 &&
			!strcmp(name, program);
	fclose(table);
	if (!found)
		fail_msg("%s has no row for %s", TABLE, program);
	return size;
}

static bool has_grown(unsigned now, unsigned then)
{
	return now * 100ULL > then * (100ULL + GROWTH_PERCENT);
}

static void compare(const char *program, int program_fd)
{
	struct size now = measure(program_fd), then = look_up(program);

	print_message("%s: %u verified, %u translated\n", program, now.verified, now.translated);
	if (has_grown(now.verified, then.verified) || has_grown(now.translated, then.translated))
		fail_msg("%s has grown by more than %d%%. If this is worth it, put this row into "
			 "%s:\n%s %u %u",
			 program, GROWTH_PERCENT, TABLE, program, now.verified, now.translated);
}

static void programs_have_not_grown_past_the_table(void **state)
{
	struct fastpath_config config = fixture_config();
	struct fastpath *fp = fixture_open(&config);
	struct pass_bpf *pass = pass_bpf__open_and_load();

	(void)state;
	assert_non_null(pass);
	compare("edge", fastpath_program_fd(fp));
	compare("edge_generic", fastpath_generic_fd(fp));
	compare("edge_egress", bpf_program__fd(fp->skel->progs.edge_egress));
	compare("pass", bpf_program__fd(pass->progs.pass));
	pass_bpf__destroy(pass);
	fastpath_close(fp, FASTPATH_REMOVE);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(programs_have_not_grown_past_the_table),
	};

	return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
