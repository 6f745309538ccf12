/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * journal: changes and usage that could not reach Redis, kept on this host until they can. Private to
 * user/store; the store's thread.
 *
 * An SQLite file, synced with every call. Calls are kept as the words of their script's function, in their
 * order; Redis remembers the number of the last one that it took from each journal, so a replay that
 * is cut off anywhere is simply repeated. Usage is kept as totals, one row a window, however long it takes.
 * What Redis refuses for good is set aside with its reason, never dropped.
 */
#ifndef STORE_REDIS_JOURNAL_H
#define STORE_REDIS_JOURNAL_H

#include "store/redis/redis.h"

#define JOURNAL_MAX_BYTES (256ULL << 20) /* more is refused: -ENOSPC */

struct journal;

/* Open or make the file at @path. 0; else @ret_why says what is wrong: -EUCLEAN, -ENOMEM, an errno. */
int journal_open(const char *path, uint64_t max_bytes, struct journal **ret_journal, char *ret_why,
		 size_t why_size);
void journal_close(struct journal *journal); /* accepts NULL */

uint64_t journal_id(const struct journal *journal);	 /* drawn when the file was made */
uint64_t journal_waiting(const struct journal *journal); /* calls and rows */
uint64_t journal_refused(const struct journal *journal); /* calls that were set aside */

/* Keep a call of @script, as redis_function() and what follows it have made it. -ENOSPC, -EIO. */
int journal_add_call(struct journal *journal, enum redis_script script,
		     const struct redis_args *args);

/*
 * The oldest call: @ret_args is made with redis_function() and journal's own words before the function's
 * name, and the caller's to end. -ENOENT: there is none.
 */
int journal_first_call(struct journal *journal, uint64_t *ret_seq, enum redis_script *ret_script,
		       struct redis_args *ret_args);

/* Redis has taken it, or, with @why, refused it for good. */
int journal_end_call(struct journal *journal, uint64_t seq, const char *why);

int journal_add_usage(struct journal *journal, const struct store_usage *usage, size_t usage_count,
		      const struct store_quota *quotas, size_t quota_count);

/* At most @max rows of each kind, into arrays of that size. */
int journal_read_usage(struct journal *journal, struct store_usage *ret_usage,
		       size_t *ret_usage_count, struct store_quota *ret_quotas,
		       size_t *ret_quota_count, size_t max);

/* These were written, as they are here; a row that has grown since stays. */
int journal_end_usage(struct journal *journal, const struct store_usage *usage, size_t usage_count,
		      const struct store_quota *quotas, size_t quota_count);

#endif
