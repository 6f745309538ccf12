/* SPDX-License-Identifier: BSD-2-Clause */
/* table: hash tables of intrusive nodes, on liburcu's cds_lfht. */
#include "base/table.h"

#include <errno.h>
#include <string.h>

#include "base/crypto.h"
#include "tollgate/siphash.h"

#define MIN_BUCKETS 1024

/*
 * We resize tables ourselves. A table that resizes itself looks at the length of its chains, grows
 * until hardly any three of a million records share a bucket, and does so in a thread of its own,
 * which lags behind a load.
 */
int table_init(struct table *table)
{
	int err;

	*table = (struct table){ 0 };
	err = crypto_random(table->secret, sizeof(table->secret));
	if (err)
		return err;
	table->lfht = cds_lfht_new_flavor(MIN_BUCKETS, MIN_BUCKETS, 0, 0, &urcu_memb_flavor, NULL);
	return table->lfht ? 0 : -ENOMEM;
}

void table_done(struct table *table)
{
	if (table->lfht)
		cds_lfht_destroy(table->lfht, NULL);
	*table = (struct table){ 0 };
}

unsigned long table_hash_id(uint64_t id)
{
	return (unsigned long)(id * 0x9e3779b97f4a7c15ULL >> 16);
}

unsigned long table_hash_text(const struct table *table, const char *text)
{
	const __u64 key[2] = { table->secret[0], table->secret[1] };
	__u64 hash[2];

	tollgate_siphash128(key, text, strlen(text), hash);
	return (unsigned long)hash[0];
}

void table_add(struct table *table, unsigned long hash, struct cds_lfht_node *node)
{
	cds_lfht_node_init(node);
	urcu_memb_read_lock();
	cds_lfht_add(table->lfht, hash, node);
	urcu_memb_read_unlock();
	table->count++;
	/* At least one bucket for each record. */
	if (table->count >= MIN_BUCKETS && !(table->count & (table->count - 1)))
		cds_lfht_resize(table->lfht, table->count * 2);
}

void table_remove(struct table *table, struct cds_lfht_node *node)
{
	urcu_memb_read_lock();
	cds_lfht_del(table->lfht, node);
	urcu_memb_read_unlock();
	table->count--;
}

struct cds_lfht_node *table_find(const struct table *table, unsigned long hash,
				 cds_lfht_match_fct match, const void *key)
{
	struct cds_lfht_iter iter;

	urcu_memb_read_lock();
	cds_lfht_lookup(table->lfht, hash, match, key, &iter);
	urcu_memb_read_unlock();
	return cds_lfht_iter_get_node(&iter);
}
