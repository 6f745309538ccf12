/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table_test: records are found by their keys while the table grows, and not after they were
 * removed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/table.h"

#define RECORDS 5000

struct record {
	struct cds_lfht_node by_id, by_name;
	uint64_t id;
	char name[16];
};

static int match_id(struct cds_lfht_node *node, const void *id)
{
	return caa_container_of(node, struct record, by_id)->id == *(const uint64_t *)id;
}

static int match_name(struct cds_lfht_node *node, const void *name)
{
	return !strcmp(caa_container_of(node, struct record, by_name)->name, name);
}

static unsigned count_of(const struct table *table, const char *name)
{
	struct cds_lfht_iter iter;
	struct record *record;
	unsigned count = 0;

	urcu_memb_read_lock();
	cds_lfht_for_each_entry_duplicate (table->lfht, table_hash_text(table, name), match_name,
					   name, &iter, record, by_name)
		count++;
	urcu_memb_read_unlock();
	return count;
}

static void records_are_found_until_they_are_removed(void **state)
{
	struct record *records = calloc(RECORDS, sizeof(*records));
	struct table ids, names;

	(void)state;
	urcu_memb_register_thread();
	assert_int_equal(table_init(&ids), 0);
	assert_int_equal(table_init(&names), 0);
	for (unsigned i = 0; i < RECORDS; i++) {
		records[i].id = i + 1;
		/* Each name twice. */
		snprintf(records[i].name, sizeof(records[i].name), "name%u", i / 2);
		table_add(&ids, table_hash_id(records[i].id), &records[i].by_id);
		table_add(&names, table_hash_text(&names, records[i].name), &records[i].by_name);
	}
	assert_int_equal(ids.count, RECORDS);
	for (unsigned i = 0; i < RECORDS; i++) {
		struct record *record = &records[i];

		if (table_find(&ids, table_hash_id(record->id), match_id, &record->id) !=
			    &record->by_id ||
		    count_of(&names, record->name) != 2)
			fail_msg("%u is not found", i);
	}
	for (unsigned i = 0; i < RECORDS; i++) {
		struct record *record = &records[i];

		table_remove(&ids, &record->by_id);
		table_remove(&names, &record->by_name);
		if (table_find(&ids, table_hash_id(record->id), match_id, &record->id) ||
		    count_of(&names, record->name) != (i + 1) % 2)
			fail_msg("%u is still found", i);
	}
	assert_int_equal(ids.count, 0);
	table_done(&ids);
	table_done(&names);
	urcu_memb_unregister_thread();
	free(records);
}

static void a_table_that_was_never_made_can_be_freed(void **state)
{
	struct table table = { 0 };

	(void)state;
	table_done(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_are_found_until_they_are_removed),
		cmocka_unit_test(a_table_that_was_never_made_can_be_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
