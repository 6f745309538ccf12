/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table: hash tables of intrusive nodes, on liburcu's cds_lfht.
 *
 * A record embeds one struct cds_lfht_node for each table it is in. One thread changes a table. Any
 * registered thread may look records up meanwhile, between urcu_memb_read_lock() and _unlock(); a
 * record that was removed may be freed after urcu_memb_synchronize_rcu(), or at once if no other
 * thread looks.
 *
 * cds_lfht's own functions and macros serve for all that is not here: iteration, and look-ups that
 * several steps need, by `lfht`.
 */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stdint.h>

#include <urcu/urcu-memb.h>
#include <urcu/rculfhash.h>

struct table {
	struct cds_lfht *lfht; /* owned, without the records */
	uint64_t count;
	uint64_t secret[2]; /* of table_hash_text(), so that nobody can aim at a bucket */
};

/* Make an empty table. 0, -ENOMEM, or crypto_random()'s error. */
int table_init(struct table *table);

/* Free it; its records must be gone. Accepts a zeroed table. No thread may be in a read lock. */
void table_done(struct table *table);

/* The hash of a record's key: an id, which may be a sequence; or a text. */
unsigned long table_hash_id(uint64_t id);
unsigned long table_hash_text(const struct table *table, const char *text);

/* Add @node, also beside others of the same key. Not within a read lock: the table may grow. */
void table_add(struct table *table, unsigned long hash, struct cds_lfht_node *node);

/* Remove @node, which is in the table. */
void table_remove(struct table *table, struct cds_lfht_node *node);

/* A node with @key, or NULL. Only for the thread that changes the table. */
struct cds_lfht_node *table_find(const struct table *table, unsigned long hash,
				 cds_lfht_match_fct match, const void *key);

#endif
