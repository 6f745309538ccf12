/* SPDX-License-Identifier: BSD-2-Clause */
/* slot_test: adopting slots, allocating them, and the file without BPF. */
#include "unit/enforce/enforce_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* A slot with something in each of its words. */
static void fill(struct tollgate_slot *slot)
{
	slot->tat_ns = 1;
	slot->interval_ns = 2;
	slot->limit_ns = 3;
	slot->drop_until_ns = 4;
	slot->closed_until_ns = 5;
	slot->closed_reason = TOLLGATE_OVER_QUOTA;
	slot->limits_seq = 7; /* odd: the agent died while it wrote */
	slot->state = TOLLGATE_SLOT_OPEN;
	slot->xdp_dropped = 8;
	slot->refused_window = 9;
	slot->quota_word = 20000ULL << TOLLGATE_QUOTA_SHIFT | 10;
	slot->quota_collected = slot->quota_word;
	slot->concurrency = 11;
	slot->refused = 12;
	slot->usage[0] = (struct tollgate_usage){ TOLLGATE_USAGE_WINDOW(3600, 60), 13, 14, 15 };
	slot->usage[1] = (struct tollgate_usage){ TOLLGATE_USAGE_BUSY, 16, 17, 18 };
}

static void what_is_kept_depends_on_whose_slots_they_are(void **state)
{
	static const struct {
		const char *why;
		char boot, store;
		uint32_t window_seconds;
		int origin;
		bool keeps_usage, keeps_bucket;
	} rows[] = {
		{ "the same boot", 'b', 's', USAGE_WINDOW_SECONDS, SLOTS_SAME_BOOT, true, true },
		{ "another boot", 'x', 's', USAGE_WINDOW_SECONDS, SLOTS_OTHER_BOOT, true, false },
		{ "another store", 'b', 'x', USAGE_WINDOW_SECONDS, SLOTS_OTHER_STORE, false,
		  false },
		{ "another boot and store", 'x', 'x', USAGE_WINDOW_SECONDS, SLOTS_OTHER_STORE,
		  false, false },
		{ "other windows", 'b', 's', 60, SLOTS_SAME_BOOT, true, true },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct fixture *f;
		struct tollgate_slot *slot;
		uint64_t epoch;
		int origin;

		assert_int_equal(fixture_setup(state), 0);
		f = *state;
		epoch = f->head.epoch;
		slot = &f->list[slots_take(&f->slots, 7)];
		fill(slot);
		memset(f->boot_id, rows[i].boot, sizeof(f->boot_id));
		memset(f->store_id, rows[i].store, sizeof(f->store_id));
		origin = slots_adopt(&f->slots, f->boot_id, f->store_id, rows[i].window_seconds);
		if (origin != rows[i].origin || (f->head.epoch == epoch) != rows[i].keeps_usage ||
		    (slot->account_id == 7) != rows[i].keeps_usage ||
		    (slot->usage[0].requests == 13) != rows[i].keeps_usage ||
		    (slot->quota_word != 0) != rows[i].keeps_usage ||
		    (slot->tat_ns == 1) != rows[i].keeps_bucket ||
		    (slot->drop_until_ns == 4) != rows[i].keeps_bucket ||
		    (slot->closed_until_ns == 5) != rows[i].keeps_bucket ||
		    f->slots.used != rows[i].keeps_usage)
			fail_msg("%s: origin %d", rows[i].why, origin);
		assert_int_equal(slot->concurrency, 0);
		assert_int_equal(slot->refused_window, 0);
		assert_int_equal(fixture_teardown(state), 0);
	}
}

static void half_written_slots_are_repaired(void **state)
{
	struct fixture *f = *state;
	struct tollgate_slot *slot = &f->list[slots_take(&f->slots, 7)];
	struct slot_limits limits;

	fill(slot);
	assert_int_equal(fixture_adopt(f), SLOTS_SAME_BOOT);
	assert_int_equal(slot->limits_seq, 8);
	slot_read_limits(slot, &limits); /* does not wait for a writer that is gone */
	assert_int_equal(limits.interval_ns, 2);
	assert_int_equal(slot->usage[1].window, 0);
	assert_int_equal(slot->usage[1].requests, 0);
	assert_int_equal(slot->usage[0].window, TOLLGATE_USAGE_WINDOW(3600, 60));
	assert_int_equal(slot->usage[0].units, 14);
	/* It is not known whether the last batch arrived, so everything is written again. */
	assert_int_equal(slot->usage[0].collected, 0);
	assert_int_equal(slot->quota_collected, 0);
	/* Adopting twice, as after a second crash, changes nothing more. */
	assert_int_equal(fixture_adopt(f), SLOTS_SAME_BOOT);
	assert_int_equal(slot->usage[0].requests, 13);
	assert_int_equal(slot->limits_seq, 8);
}

static void a_damaged_head_is_not_used(void **state)
{
	struct fixture *f = *state;
	struct tollgate_slots_head good = f->head;

	for (unsigned flaw = 0; flaw < 4; flaw++) {
		struct tollgate_slot *slot = &f->list[0];

		f->head = good;
		f->head.magic[7] ^= flaw == 0;
		f->head.abi ^= flaw == 1;
		f->head.max_accounts += flaw == 2;
		if (flaw == 3)
			f->head.epoch = 0;
		slot->account_id = 7;
		if (fixture_adopt(f) != SLOTS_NEW || slot->account_id || f->slots.used)
			fail_msg("flaw %u was adopted", flaw);
		assert_int_not_equal(f->head.epoch, 0);
		assert_int_not_equal(f->head.epoch, good.epoch);
		assert_int_equal(fixture_adopt(f), SLOTS_SAME_BOOT);
	}
}

static void each_slot_is_allocated_once(void **state)
{
	struct fixture *f = *state;
	bool seen[SLOTS] = { false };

	for (unsigned i = 0; i < SLOTS; i++) {
		int64_t index = slots_take(&f->slots, i + 1);

		assert_in_range(index, 0, SLOTS - 1);
		assert_false(seen[index]);
		seen[index] = true;
		assert_int_equal(f->list[index].account_id, i + 1);
	}
	assert_int_equal(slots_take(&f->slots, 100), -ENOSPC);
	slots_give_back(&f->slots, 17);
	slots_give_back(&f->slots, 3);
	assert_int_equal(slots_take(&f->slots, 101) + slots_take(&f->slots, 102), 20);
	assert_int_equal(slots_take(&f->slots, 103), -ENOSPC);
}

static void a_reused_slot_is_clean_and_has_another_generation(void **state)
{
	struct fixture *f = *state;
	int64_t index = slots_take(&f->slots, 7);
	struct tollgate_slot *slot = &f->list[index];
	uint32_t generation = slot->generation;
	struct tollgate_slot clean = { 0 };

	assert_int_not_equal(generation, 0);
	fill(slot);
	slots_give_back(&f->slots, (uint32_t)index);
	assert_int_equal(slot->account_id, 0);
	assert_int_equal(slot->state, TOLLGATE_SLOT_FREE);
	assert_int_equal(slots_take(&f->slots, 8), index);
	assert_int_not_equal(slot->generation, generation);
	assert_int_not_equal(slot->generation, 0);
	clean.account_id = 8;
	clean.generation = slot->generation;
	assert_memory_equal(slot, &clean, sizeof(clean));
	/* As after a crash while it was freed: it has no account but old content. */
	fill(slot);
	slot->account_id = 0;
	assert_int_equal(fixture_adopt(f), SLOTS_SAME_BOOT);
	assert_int_equal(slots_take(&f->slots, 8), index);
	clean.generation = slot->generation;
	assert_memory_equal(slot, &clean, sizeof(clean));
	f->head.next_generation = UINT32_MAX; /* the last one before it wraps; 0 is not used */
	slots_take(&f->slots, 9);
	assert_int_not_equal(f->list[slots_take(&f->slots, 10)].generation, 0);
}

static void adopted_slots_leave_their_gaps_free(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 10; i++)
		slots_take(&f->slots, i + 1);
	slots_give_back(&f->slots, 4);
	slots_give_back(&f->slots, 9);
	f->list[4].generation = 99; /* old content does not make it used */
	assert_int_equal(fixture_adopt(f), SLOTS_SAME_BOOT);
	assert_int_equal(f->slots.used, 9);
	assert_int_equal(f->slots.free_count, 1);
	assert_int_equal(slots_take(&f->slots, 20), 4);
	assert_int_equal(slots_take(&f->slots, 21), 9);
	assert_int_equal(f->list[0].account_id, 1);
}

/* Files. */

struct file {
	char folder[64], path[96];
	uint8_t boot_id[16], store_id[16];
};

static int file_setup(void **state)
{
	struct file *file = calloc(1, sizeof(*file));

	strcpy(file->folder, "/tmp/tollgate-slots-XXXXXX");
	if (!mkdtemp(file->folder))
		return -1;
	snprintf(file->path, sizeof(file->path), "%s/slots", file->folder);
	*state = file;
	return 0;
}

static int file_teardown(void **state)
{
	struct file *file = *state;

	unlink(file->path);
	rmdir(file->folder);
	free(file);
	return 0;
}

/* Open the file and adopt the slots. Returns their origin. */
static int open_file(struct file *file, struct slots *slots, uint32_t count)
{
	int err = slots_use_file(slots, file->path, count);

	if (err)
		fail_msg("%s: %s", file->path, strerror(-err));
	return slots_adopt(slots, file->boot_id, file->store_id, 3600);
}

static void a_file_keeps_its_slots(void **state)
{
	struct file *file = *state;
	struct slots slots;
	struct stat st;

	assert_int_equal(open_file(file, &slots, 8), SLOTS_NEW);
	fill(&slots.list[slots_take(&slots, 7)]);
	slots_done(&slots);
	assert_null(slots.file_map);
	slots_done(&slots); /* may be called twice */

	assert_int_equal(stat(file->path, &st), 0);
	assert_int_equal(st.st_size, 4096 + 8 * 256);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(open_file(file, &slots, 8), SLOTS_SAME_BOOT);
	assert_int_equal(slots.list[0].account_id, 7);
	assert_int_equal(slots.list[0].usage[0].units, 14);
	slots_done(&slots);
	file->boot_id[0]++;
	assert_int_equal(open_file(file, &slots, 8), SLOTS_OTHER_BOOT);
	slots_done(&slots);
}

static void the_whole_file_has_room_on_disk_before_it_is_used(void **state)
{
	struct file *file = *state;
	struct slots slots;
	struct stat st;

	assert_int_equal(slots_use_file(&slots, file->path, 100000), 0);
	assert_int_equal(stat(file->path, &st), 0);
	assert_true(st.st_blocks * 512 >= st.st_size);
	slots_done(&slots);
}

static void a_file_that_does_not_fit_is_replaced(void **state)
{
	static const struct {
		off_t at; /* a byte that is changed, or -1 */
		uint32_t count;
		off_t size; /* cut or grown to, or 0 */
		const char *why;
	} rows[] = {
		{ -1, 9, 0, "more accounts than before" },
		{ -1, 7, 0, "fewer" },
		{ 0, 8, 0, "another magic" },
		{ 8, 8, 0, "another ABI" },
		{ 12, 8, 0, "its head says another size" },
		{ -1, 8, 4096 + 8 * 256 - 1, "torn at the end" },
		{ -1, 8, 4096, "without slots" },
		{ -1, 8, 30, "torn in its head" },
		{ -1, 8, 4096 + 9 * 256, "longer than it says" },
	};
	struct file *file = *state;

	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct tollgate_slot empty = { 0 };
		struct slots slots;
		int fd, origin;

		origin = open_file(file, &slots, 8);
		fill(&slots.list[slots_take(&slots, 7)]);
		slots_done(&slots);
		fd = open(file->path, O_RDWR);
		if (rows[i].at >= 0)
			assert_int_equal(pwrite(fd, "\xee", 1, rows[i].at), 1);
		if (rows[i].size)
			assert_int_equal(ftruncate(fd, rows[i].size), 0);
		close(fd);
		origin = open_file(file, &slots, rows[i].count);
		if (origin != SLOTS_NEW || memcmp(&slots.list[0], &empty, sizeof(empty)))
			fail_msg("%s: origin %d", rows[i].why, origin);
		slots_done(&slots);
		unlink(file->path);
	}
}

static void an_unusable_path_says_why(void **state)
{
	struct file *file = *state;
	struct rlimit before, limit;
	struct slots slots;
	char path[128];

	snprintf(path, sizeof(path), "%s/none/slots", file->folder);
	assert_int_equal(slots_use_file(&slots, path, 8), -ENOENT);
	assert_int_equal(slots_use_file(&slots, file->folder, 8), -EISDIR);
	assert_int_equal(symlink("elsewhere", file->path), 0);
	assert_int_equal(slots_use_file(&slots, file->path, 8), -ELOOP);
	unlink(file->path);
	/* If the whole file does not fit on the disk, that is an error now, not a signal later. */
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = 5000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(slots_use_file(&slots, file->path, 8), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_kept_depends_on_whose_slots_they_are),
		TEST(half_written_slots_are_repaired),
		TEST(a_damaged_head_is_not_used),
		TEST(each_slot_is_allocated_once),
		TEST(a_reused_slot_is_clean_and_has_another_generation),
		TEST(adopted_slots_leave_their_gaps_free),
		cmocka_unit_test_setup_teardown(a_file_keeps_its_slots, file_setup, file_teardown),
		cmocka_unit_test_setup_teardown(the_whole_file_has_room_on_disk_before_it_is_used,
						file_setup, file_teardown),
		cmocka_unit_test_setup_teardown(a_file_that_does_not_fit_is_replaced, file_setup,
						file_teardown),
		cmocka_unit_test_setup_teardown(an_unusable_path_says_why, file_setup,
						file_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
