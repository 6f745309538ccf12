/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * engine: the interface that each kind of store implements. Private to user/store.
 *
 * The front (store.c) owns the thread, the queue and the callbacks. An engine is plain synchronous
 * code, called only on the store's thread, one call at a time; follow() is the exception. Each call
 * has the meaning and the errors of the function with the same name in store.h.
 */
#ifndef STORE_ENGINE_H
#define STORE_ENGINE_H

#include "store/store.h"

#define STORE_ERROR_MAX 256 /* bytes of an engine's error message, including the NUL */

/* Embedded in each engine's own record as its first member. */
struct store_engine {
	const struct store_engine_ops *ops; /* borrowed: static */
	char error[STORE_ERROR_MAX];	    /* message for the last call that failed */
	uint64_t journaled, refused;	    /* calls in the journal; refused on replay. Atomic */
	bool was_journaled;		    /* the last call went to the journal */
	uint64_t changed; /* number in the stream of the change that the last call made; 0: none */
};

/* Selects tasks of a queue: the one with `id`, or, if that is NULL, those that match the rest. */
struct store_task_query {
	const char *queue, *id; /* borrowed */
	enum store_task_state state;
	uint64_t due_by_ms, after_seq;
	size_t limit;
};

/* A change read from the stream. */
struct store_change {
	enum {
		STORE_CHANGE_OTHER,
		STORE_CHANGE_ACCOUNT,
		STORE_CHANGE_ACCOUNT_GONE, /* only `account.id` is set */
		STORE_CHANGE_KEY,
		STORE_CHANGE_KEYS_END,
		STORE_CHANGE_ENTRY,
		STORE_CHANGE_ENTRY_GONE, /* only `entry.block` is set */
		STORE_CHANGE_TASK,
	} kind;
	uint64_t n; /* its number */
	union {
		struct store_account account;
		struct store_key key;
		struct store_entry entry;
		struct {
			uint64_t account, before_ms, at_ms;
		} keys_end;
		char queue[STORE_QUEUE_MAX];
	};
};

struct store_engine_ops {
	const char *scheme; /* the URL's scheme, including the colon */

	/*
	 * Create an engine for the part of the URL after the scheme, without I/O. @timeout_ms
	 * bounds each wait for another machine. -EINVAL, -ENOMEM. The loop's thread.
	 */
	int (*new)(const char *location, unsigned timeout_ms, struct store_engine **ret_engine);
	void (*free)(struct store_engine *engine);			    /* closes too */
	int (*check)(const char *location, char *ret_why, size_t why_size); /* store_check_url() */

	int (*open)(struct store_engine *engine, const uint8_t pepper_check[STORE_HASH_BYTES],
		    uint8_t ret_id[STORE_ID_BYTES]);
	int (*load)(struct store_engine *engine, const struct store_visitor *visitor,
		    void *visitor_arg, uint32_t day, uint32_t month_day);
	int (*account_add)(struct store_engine *engine, const struct store_account_change *change);
	int (*account_set)(struct store_engine *engine, const struct store_account_change *change);
	int (*account_delete)(struct store_engine *engine, uint64_t account, bool drops_usage);
	int (*keys_add)(struct store_engine *engine, const struct store_key *keys, size_t count);
	int (*key_rotate)(struct store_engine *engine, uint64_t old, uint64_t old_revoked_ms,
			  const struct store_key *fresh);
	int (*key_revoke)(struct store_engine *engine, uint64_t key, uint64_t revoked_ms);
	int (*keys_revoke)(struct store_engine *engine, uint64_t account, uint64_t revoked_ms);
	int (*key_claim)(struct store_engine *engine, const struct store_task *claim,
			 const struct store_key *key);
	/* The lists are malloc'd and the caller frees them; NULL if there are no rows. */
	int (*keys_list)(struct store_engine *engine, uint64_t account, uint64_t after_id,
			 size_t limit, struct store_key **ret_keys, size_t *ret_count);
	int (*usage_put)(struct store_engine *engine, const struct store_usage *usage,
			 size_t usage_count, const struct store_quota *quotas, size_t quota_count);
	int (*usage_list)(struct store_engine *engine, uint64_t account, uint64_t since_s,
			  size_t limit, struct store_usage **ret_rows, size_t *ret_count);
	int (*usage_open)(struct store_engine *engine, const struct store_usage_query *query,
			  struct store_usage **ret_rows, size_t *ret_count);
	int (*usage_close)(struct store_engine *engine, const struct store_usage *rows,
			   size_t row_count, const struct store_task *tasks, size_t task_count);
	int (*tasks_add)(struct store_engine *engine, const struct store_task *tasks, size_t count,
			 bool *ret_fresh);
	/* The caller frees the tasks with store_tasks_free(). */
	int (*tasks_list)(struct store_engine *engine, const struct store_task_query *query,
			  struct store_task **ret_tasks, size_t *ret_count);
	int (*tasks_set)(struct store_engine *engine, const struct store_task *tasks, size_t count);
	int (*tasks_prune)(struct store_engine *engine, const char *queue, uint64_t before_ms);
	int (*usage_prune)(struct store_engine *engine, uint64_t before_s);
	int (*queues_count)(struct store_engine *engine, struct store_queue_count **ret_rows,
			    size_t *ret_count);
	int (*entry_put)(struct store_engine *engine, const struct store_entry *entry);
	int (*entry_remove)(struct store_engine *engine, const struct cidr *block);
	int (*entries_prune)(struct store_engine *engine, uint64_t ended_by_ms);

	/*
	 * Read the changes after the last ones read. Called on the follower's thread. NULL for an
	 * engine that serves a single host. Waits a fraction of a second if there are none. The
	 * list is malloc'd. -EHOSTDOWN, -ESTALE: see on_state() in store.h; follow_error() returns
	 * the message. place() returns the number of the last change read, or the place where the
	 * last load began.
	 */
	int (*follow)(struct store_engine *engine, struct store_change **ret_changes,
		      size_t *ret_count);
	/*
	 * store_beat() and store_leave(); NULL for an engine that serves a single host. The hosts
	 * are malloc'd.
	 */
	int (*beat)(struct store_engine *engine, const struct store_host *self, bool wants_lease,
		    uint64_t lease_ms, struct store_fleet *ret_fleet);
	int (*leave)(struct store_engine *engine, uint64_t host);
	/* store_share_exchange(); NULL for an engine that serves a single host. */
	int (*share_exchange)(struct store_engine *engine, uint64_t instance, uint32_t hosts,
			      const struct store_share_want *wants, size_t count,
			      struct store_share_grant *ret_grants);
	/*
	 * set_journal(): store_set_journal(). catch_up(): replay the journal if the server is
	 * reachable; runs before each call. Both NULL for an engine without a journal.
	 */
	int (*set_journal)(struct store_engine *engine, const char *path, char *ret_why,
			   size_t why_size);
	void (*catch_up)(struct store_engine *engine);
	/*
	 * For store_migrate():
	 *   usage_dump: visit all usage, one row per epoch. `closings` is right in each row, but of
	 *	`closed_units` only the sum over the window's epochs
	 *   usage_restore: write such rows unchanged, for windows that do not exist yet
	 *   set_id: replace the store's id
	 *   is_used: whether an agent uses the store now
	 */
	int (*usage_dump)(struct store_engine *engine,
			  int (*visit)(void *arg, const struct store_usage *rows, size_t count),
			  void *arg);
	int (*usage_restore)(struct store_engine *engine, const struct store_usage *rows,
			     size_t count);
	int (*set_id)(struct store_engine *engine, const uint8_t id[STORE_ID_BYTES]);
	int (*is_used)(struct store_engine *engine, bool *ret_is_used);
	const char *(*follow_error)(const struct store_engine *engine);
	uint64_t (*place)(const struct store_engine *engine);
};

/* The engine for @url's scheme, or NULL if there is none. */
const struct store_engine_ops *store_engine_of(const char *url);

/* Free an array of tasks whose bodies are malloc'd. Accepts NULL. */
void store_tasks_free(struct store_task *tasks, size_t count);

extern const struct store_engine_ops store_sqlite_ops, store_redis_ops, store_redis_unix_ops,
	store_redis_sentinel_ops;

#endif
