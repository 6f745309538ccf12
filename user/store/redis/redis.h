/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * redis: the engine that many hosts share. Private to user/store.
 *
 * address.c parses URLs; link.c is one connection and its circuit breaker; text.c writes commands
 * and records. redis.c opens the store and lists the operations: load.c reads the snapshot,
 * records.c has accounts, keys and lists, tasks.c tasks, usage.c usage and quotas, follow.c the
 * stream of changes, fleet.c heartbeats and the lease, share.c shared limits, and migrate.c the
 * calls for store_migrate(). journal.c is the journal, and replay.c fills and replays it.
 *
 * Every operation that changes more than one key is a function in lua/, which Redis runs
 * atomically. A record is one line of text: values in a fixed order, separated by tabs. In strings,
 * a backslash, a tab and a newline are written as \\, \t and \n. Ids are 16 hex digits.
 * tollgate-redis(7) lists the keys.
 */
#ifndef STORE_REDIS_H
#define STORE_REDIS_H

#include <hiredis/hiredis.h>

#include "base/buf.h"
#include "store/engine.h"

#define REDIS_SCHEMA	    1
#define REDIS_SENTINELS_MAX 16
#define REDIS_PREFIX	    "tollgate:"
#define REDIS_BLOCK_MS	    300 /* wait of one XREAD for changes, on top of the timeout */
#define REDIS_PLACE_SIZE    48	/* an entry's id in the stream */
#define REDIS_ID_SIZE	    17	/* 16 hex digits and the NUL */

/* The address of Redis, parsed from a URL. */
struct redis_address {
	char *host, *path;     /* owned; one of them is set, or neither with Sentinels */
	char *user, *password; /* owned; NULL: none */
	char *master;	       /* owned; the master's name at the Sentinels; NULL: no Sentinels */
	char *sentinels[REDIS_SENTINELS_MAX]; /* owned */
	int sentinel_ports[REDIS_SENTINELS_MAX];
	unsigned sentinel_count;
	int port;
	unsigned database;
};

/*
 * Parse @location, the part of a URL after its @scheme ("redis:", "redis+unix:",
 * "redis+sentinel:"). 0; -EINVAL, and @ret_why says what is wrong; or -ENOMEM. Call
 * redis_address_done() in every case.
 */
int redis_address_parse(const char *scheme, const char *location, struct redis_address *ret_address,
			char *ret_why, size_t why_size);
void redis_address_done(struct redis_address *address);

/* The scripts: each is lua/common.lua followed by the file of the same name. */
enum redis_script {
	REDIS_RECORDS,
	REDIS_TASKS,
	REDIS_USAGE,
	REDIS_FLEET,
	REDIS_SHARE,
	REDIS_SCRIPT_COUNT
};

/*
 * The words of a command; each may hold any bytes. `err` is the first failure; redis_call() returns
 * it.
 */
struct redis_args {
	struct buf bytes;
	size_t *ends; /* owned: the end of each word in `bytes` */
	size_t count, room;
	int err;
};

void redis_args_init(struct redis_args *args);
void redis_args_done(struct redis_args *args);
void redis_arg_bytes(struct redis_args *args, const void *bytes, size_t len);
void redis_arg(struct redis_args *args, const char *word);
void redis_arg_u64(struct redis_args *args, uint64_t number);
void redis_arg_id(struct redis_args *args, uint64_t id);

/*
 * Write a record's line, value by value: begin, add values, end. The line is one word of the
 * command. redis_line_text() escapes.
 */
void redis_line_begin(struct redis_args *args);
void redis_line_word(struct redis_args *args, const char *word);
void redis_line_u64(struct redis_args *args, uint64_t number);
void redis_line_id(struct redis_args *args, uint64_t id);
void redis_line_hex(struct redis_args *args, const void *bytes, size_t len);
void redis_line_text(struct redis_args *args, const char *text);
void redis_line_end(struct redis_args *args);

/*
 * Read a record's line, value by value: each call takes the next value off `rest`. `err` becomes
 * -EUCLEAN with the first malformed value, and stays so.
 */
struct redis_line {
	struct text rest;
	bool is_over;
	int err;
};

struct redis_line redis_line_of(const char *bytes, size_t len);
struct text redis_read_word(struct redis_line *line);
uint64_t redis_read_u64(struct redis_line *line);
uint64_t redis_read_id(struct redis_line *line);
void redis_read_hex(struct redis_line *line, void *ret_bytes, size_t len);
void redis_read_text(struct redis_line *line, char *ret_text, size_t size); /* truncates to @size */
char *redis_read_alloc(struct redis_line *line); /* a malloc'd string; NULL with `err` */

/* Copy at most @size - 1 of @len bytes, and add a NUL. */
void redis_copy(char *to, size_t size, const char *bytes, size_t len);

/* Parse 16 hex digits. 0 or -EINVAL. */
int redis_parse_id(const char *text, size_t len, uint64_t *ret_id);

/*
 * One connection to the master, opened on demand. After a failure there is no new attempt for a
 * while, and calls fail at once. This time has jitter, and grows to seconds with failures in a row.
 */
struct redis_link {
	const struct redis_address *address; /* borrowed */
	char *error;			     /* borrowed: STORE_ERROR_MAX bytes for a message */
	redisContext *context;		     /* owned; NULL: not connected */
	unsigned timeout_ms;		     /* for connecting, and for each call */
	uint64_t retry_at_ns;		     /* no attempt before this time */
	unsigned failures;		     /* in a row */
	char shas[REDIS_SCRIPT_COUNT][41];   /* of the scripts that Redis has; "": not loaded */
	char failure[256];		     /* message of the last failure */
	char server[128];		     /* the current or last server, for messages */
};

void redis_link_init(struct redis_link *link, const struct redis_address *address, char *error,
		     unsigned timeout_ms);
void redis_link_done(struct redis_link *link);

/* Connect unless connected. 0, -EHOSTDOWN, or -EACCES (wrong user or password). */
int redis_link_up(struct redis_link *link);

/* Drop the connection after a failure. Calls connect again when the wait is over. */
void redis_link_fail(struct redis_link *link);

/* Save the message for an error. Returns @err. */
int redis_say(struct redis_link *link, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Send @args as a command, and wait for the reply, which the caller frees with freeReplyObject().
 *
 * Errors of our scripts carry the name of an errno (EEXIST, ENOENT, EAGAIN, EINVAL, ESTALE...),
 * which is returned. Errors of Redis: -ENOSPC (maxmemory), -EACCES, and -EHOSTDOWN for conditions
 * that may pass or that another server may not have (unreachable, loading, no longer the master).
 * After -EHOSTDOWN it is unknown whether the call took effect. -EUCLEAN if the reply is not of
 * @type (REDIS_REPLY_*; 0: any).
 */
int redis_command(struct redis_link *link, struct redis_args *args, int type,
		  redisReply **ret_reply);

/*
 * The two halves of redis_command(), for other work in between. Send nothing else before the reply
 * is read.
 */
int redis_send(struct redis_link *link, struct redis_args *args);
int redis_receive(struct redis_link *link, int type, redisReply **ret_reply);

/* Begin a call of a script's @function. Add its arguments with redis_arg() and the like. */
void redis_function(struct redis_args *args, const char *function);

/*
 * The same as redis_command() for a call begun with redis_function(). Loads the script if Redis
 * does not have it.
 */
int redis_call(struct redis_link *link, enum redis_script script, struct redis_args *args, int type,
	       redisReply **ret_reply);

/* The same for a function that returns the number of its change. Frees the contents of @args. */
struct redis;
int redis_change(struct redis *r, enum redis_script script, struct redis_args *args);

/* The same for a change that goes to the journal while Redis is unreachable. */
int redis_lasting_change(struct redis *r, enum redis_script script, struct redis_args *args);

/* ---- the engine ---- */

struct redis {
	struct store_engine engine;
	struct redis_address address;
	struct redis_link link;	    /* used on the store's thread */
	struct redis_link follower; /* used on the follower's thread */
	char follower_error[STORE_ERROR_MAX];
	uint8_t id[STORE_ID_BYTES]; /* valid with `is_known` */
	bool is_open;		    /* opened, and the store is the one with `id` */
	bool is_known;		    /* `id` was read once */
	struct journal *journal;    /* owned; NULL: changes fail while Redis is unreachable */
	char fence[24];		    /* fence of the lease that this host holds; "" or "0": none */
	/* The last entry that was read from the stream, or the last one before the snapshot. */
	char seen_id[REDIS_PLACE_SIZE];
	uint64_t seen_n;
};

/* 0 or -ENOTCONN. */
int redis_check_open(struct redis *r);

/* In records.c: records to and from lines, and operations. */
int redis_read_account(const char *id, size_t id_len, const char *line, size_t len,
		       struct store_account *ret_account);
int redis_read_key(const char *id, size_t id_len, const char *line, size_t len,
		   struct store_key *ret_key);
int redis_read_entry(const char *block, size_t block_len, const char *line, size_t len,
		     struct store_entry *ret_entry);
int redis_read_block(const char *text, size_t len, struct cidr *ret_block);
void redis_line_key(struct redis_args *args, const struct store_key *key);

int redis_account_add(struct store_engine *engine, const struct store_account_change *change);
int redis_account_delete(struct store_engine *engine, uint64_t account, bool drops_usage);
int redis_account_set(struct store_engine *engine, const struct store_account_change *change);
int redis_keys_add(struct store_engine *engine, const struct store_key *keys, size_t count);
int redis_key_rotate(struct store_engine *engine, uint64_t old, uint64_t old_revoked_ms,
		     const struct store_key *fresh);
int redis_key_revoke(struct store_engine *engine, uint64_t key, uint64_t revoked_ms);
int redis_keys_revoke(struct store_engine *engine, uint64_t account, uint64_t revoked_ms);
int redis_keys_list(struct store_engine *engine, uint64_t account, uint64_t after_id, size_t limit,
		    struct store_key **ret_keys, size_t *ret_count);
int redis_entry_put(struct store_engine *engine, const struct store_entry *entry);
int redis_entry_remove(struct store_engine *engine, const struct cidr *block);
int redis_entries_prune(struct store_engine *engine, uint64_t ended_by_ms);

/*
 * In load.c: the snapshot, and a walk over a hash of any size. @take gets each field and its value
 * until it returns an error; some may come twice.
 */
int redis_scan(struct redis *r, const char *key,
	       int (*take)(void *arg, const char *field, size_t field_len, const char *value,
			   size_t len),
	       void *arg);
int redis_load(struct store_engine *engine, const struct store_visitor *visitor, void *visitor_arg,
	       uint32_t day, uint32_t month_day);

/* In follow.c. */
int redis_note_place(struct redis *r); /* follow the stream from its current end */
int redis_follow(struct store_engine *engine, struct store_change **ret_changes, size_t *ret_count);
const char *redis_follow_error(const struct store_engine *engine);
uint64_t redis_place(const struct store_engine *engine);

/* In usage.c. */
int redis_load_quotas(struct redis *r, const struct store_visitor *visitor, void *visitor_arg,
		      uint32_t day, uint32_t month_day);
int redis_usage_put(struct store_engine *engine, const struct store_usage *usage,
		    size_t usage_count, const struct store_quota *quotas, size_t quota_count);
int redis_usage_list(struct store_engine *engine, uint64_t account, uint64_t since_s, size_t limit,
		     struct store_usage **ret_rows, size_t *ret_count);
int redis_usage_open(struct store_engine *engine, const struct store_usage_query *query,
		     struct store_usage **ret_rows, size_t *ret_count);
int redis_usage_close(struct store_engine *engine, const struct store_usage *rows, size_t row_count,
		      const struct store_task *tasks, size_t task_count);
int redis_usage_prune(struct store_engine *engine, uint64_t before_s);

/* Add a row's account, epoch, window and totals: six words. */
void redis_arg_usage(struct redis_args *args, const struct store_usage *row);

/* Write usage to Redis, never to the journal. */
int redis_write_usage(struct redis *r, const struct store_usage *usage, size_t usage_count,
		      const struct store_quota *quotas, size_t quota_count);

/*
 * In replay.c: filling the journal, and replaying it. redis_must_queue(): the journal has entries,
 * so new changes must queue behind them even if Redis is back.
 */
bool redis_must_queue(const struct redis *r);
int redis_keep_call(struct redis *r, enum redis_script script, const struct redis_args *args);
int redis_keep_usage(struct redis *r, const struct store_usage *usage, size_t usage_count,
		     const struct store_quota *quotas, size_t quota_count);
int redis_set_journal(struct store_engine *engine, const char *path, char *ret_why,
		      size_t why_size);
void redis_catch_up(struct store_engine *engine);

/*
 * Walk all windows. @take gets each account's line; during that call, *@start_s and *@seconds are
 * those of its window.
 */
int redis_each_window(struct redis *r, uint64_t *start_s, uint32_t *seconds,
		      int (*take)(void *arg, const char *field, size_t field_len, const char *value,
				  size_t len),
		      void *arg);

/* In migrate.c. */
int redis_usage_dump(struct store_engine *engine,
		     int (*visit)(void *arg, const struct store_usage *rows, size_t count),
		     void *arg);
int redis_usage_restore(struct store_engine *engine, const struct store_usage *rows, size_t count);
int redis_set_id(struct store_engine *engine, const uint8_t id[STORE_ID_BYTES]);
int redis_is_used(struct store_engine *engine, bool *ret_is_used);

/* In fleet.c. */
int redis_beat(struct store_engine *engine, const struct store_host *self, bool wants_lease,
	       uint64_t lease_ms, struct store_fleet *ret_fleet);
int redis_leave(struct store_engine *engine, uint64_t host);

/* In share.c. */
int redis_share_exchange(struct store_engine *engine, uint64_t instance, uint32_t hosts,
			 const struct store_share_want *wants, size_t count,
			 struct store_share_grant *ret_grants);

/* In tasks.c. */
int redis_tasks_add(struct store_engine *engine, const struct store_task *tasks, size_t count,
		    bool *ret_fresh);
int redis_tasks_list(struct store_engine *engine, const struct store_task_query *query,
		     struct store_task **ret_tasks, size_t *ret_count);
int redis_tasks_set(struct store_engine *engine, const struct store_task *tasks, size_t count);
int redis_tasks_prune(struct store_engine *engine, const char *queue, uint64_t before_ms);
int redis_queues_count(struct store_engine *engine, struct store_queue_count **ret_rows,
		       size_t *ret_count);
int redis_key_claim(struct store_engine *engine, const struct store_task *claim,
		    const struct store_key *key);
/* Add a task's queue, id, line and body: four words. */
void redis_arg_task(struct redis_args *args, const struct store_task *task);

#endif
