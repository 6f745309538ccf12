/* SPDX-License-Identifier: BSD-2-Clause */
/* sqlite_lists: the operator's lists of addresses in the embedded engine. */
#include "store/sqlite/sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void bind_block(sqlite3_stmt *stmt, const struct cidr *block)
{
	sqlite3_bind_blob(stmt, 1, block->address, sizeof(block->address), SQLITE_STATIC);
	sqlite_bind_u64(stmt, 2, block->prefix_bits);
}

int sqlite_read_entry(struct sqlite *s, sqlite3_stmt *stmt, void *ret_record)
{
	const void *address = sqlite3_column_blob(stmt, 0);
	uint64_t bits = sqlite_u64(stmt, 1), list = sqlite_u64(stmt, 2);
	struct store_entry *entry = ret_record;

	if (!address || sqlite3_column_bytes(stmt, 0) != sizeof(entry->block.address) ||
	    bits > 128 || list >= STORE_LIST_COUNT) {
		snprintf(s->engine.error, sizeof(s->engine.error),
			 "%s: an entry of the address lists is malformed", s->path);
		return -EUCLEAN;
	}
	memcpy(entry->block.address, address, sizeof(entry->block.address));
	entry->block.prefix_bits = (uint8_t)bits;
	entry->list = (enum store_list)list;
	entry->created_ms = sqlite_u64(stmt, 3);
	entry->until_ms = sqlite_u64(stmt, 4);
	return 0;
}

int sqlite_entry_put(struct store_engine *engine, const struct store_entry *entry)
{
	struct sqlite *s = (struct sqlite *)engine;
	sqlite3_stmt *stmt;
	int err = sqlite_begin(s);

	if (err)
		return err;
	stmt = STATEMENT(s, ENTRY_PUT);
	bind_block(stmt, &entry->block);
	sqlite_bind_u64(stmt, 3, entry->list);
	sqlite_bind_u64(stmt, 4, entry->created_ms);
	sqlite_bind_u64(stmt, 5, entry->until_ms);
	return sqlite_end(s, sqlite_run(s, stmt));
}

int sqlite_entry_remove(struct store_engine *engine, const struct cidr *block)
{
	struct sqlite *s = (struct sqlite *)engine;
	int err = sqlite_begin(s);

	if (err)
		return err;
	bind_block(STATEMENT(s, ENTRY_REMOVE), block);
	return sqlite_end(s, sqlite_run_on_one(s, STATEMENT(s, ENTRY_REMOVE)));
}

int sqlite_entries_prune(struct store_engine *engine, uint64_t ended_by_ms)
{
	struct sqlite *s = (struct sqlite *)engine;
	int err = sqlite_begin(s);

	if (err)
		return err;
	sqlite_bind_u64(STATEMENT(s, ENTRIES_PRUNE), 1, ended_by_ms);
	return sqlite_end(s, sqlite_run(s, STATEMENT(s, ENTRIES_PRUNE)));
}
