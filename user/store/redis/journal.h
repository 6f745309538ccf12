/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * journal: changes and usage that wait on this host while Redis is unreachable. Private to
 * user/store; used on the store's thread.
 *
 * The journal is an SQLite file, synced with every call. Each change is kept, in order, as the
 * words of its call of a script's function. Redis stores the number of the last call that it took
 * from each journal, so a replay that was interrupted can simply be repeated. Usage is kept as
 * running totals, one row per window, so its size does not depend on how long Redis is away. Calls
 * that Redis refuses for good are set aside with the reason, never dropped.
 */
#ifndef STORE_REDIS_JOURNAL_H
#define STORE_REDIS_JOURNAL_H

#include "store/redis/redis.h"

#define JOURNAL_MAX_BYTES (256ULL << 20) /* size of the file; then calls fail with -ENOSPC */

struct journal;

/*
 * Open the file at @path, or create it. 0, -EUCLEAN, -ENOMEM or another negative errno; @ret_why
 * has a message for the error.
 */
int journal_open(const char *path, uint64_t max_bytes, struct journal **ret_journal, char *ret_why,
		 size_t why_size);
void journal_close(struct journal *journal); /* accepts NULL */

uint64_t journal_id(const struct journal *journal);	 /* random, from the file's creation */
uint64_t journal_waiting(const struct journal *journal); /* calls and rows that wait */
uint64_t journal_refused(const struct journal *journal); /* calls that were set aside */

/* Append a call of @script; @args were begun with redis_function(). 0, -ENOSPC, -EIO... */
int journal_add_call(struct journal *journal, enum redis_script script,
		     const struct redis_args *args);

/*
 * Get the oldest call, ready for redis_call(). @ret_args has the journal's id and the call's number
 * in front of the function's name; the caller frees it with redis_args_done(). -ENOENT if there is
 * none.
 */
int journal_first_call(struct journal *journal, uint64_t *ret_seq, enum redis_script *ret_script,
		       struct redis_args *ret_args);

/* End a call: delete it, because Redis took it; or, with @why, set it aside as refused. */
int journal_end_call(struct journal *journal, uint64_t seq, const char *why);

/* Add running totals: each row replaces a row with smaller totals. */
int journal_add_usage(struct journal *journal, const struct store_usage *usage, size_t usage_count,
		      const struct store_quota *quotas, size_t quota_count);

/* Read at most @max rows of each kind into arrays of that size. */
int journal_read_usage(struct journal *journal, struct store_usage *ret_usage,
		       size_t *ret_usage_count, struct store_quota *ret_quotas,
		       size_t *ret_quota_count, size_t max);

/* Delete rows that were written to Redis with these totals. A row that has grown since stays. */
int journal_end_usage(struct journal *journal, const struct store_usage *usage, size_t usage_count,
		      const struct store_quota *quotas, size_t quota_count);

#endif
