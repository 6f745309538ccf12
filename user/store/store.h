/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store: where accounts, keys and usage are kept for good. One interface; engines behind it.
 *
 * Calls are asynchronous: they return at once, and the callback follows on the loop that the store was
 * opened with. Calls complete in the order they were made. Nothing here is ever on a request's path:
 * requests read the mirror.
 *
 * Errors that any callback may see: -EBUSY (locked by someone else: try again), -ENOSPC (the disk is
 * full), -EIO, -EROFS, -EUCLEAN (corrupt), -ENOTCONN (not open), -ENOBUFS (too many calls under way),
 * -ENOMEM. store_error() has the engine's own words for the last one. Only where memory for the call
 * itself is short does the callback come before the call returns.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct store;

#define STORE_NAME_MAX	 64 /* tier, customer, subscription: bytes with the NUL */
#define STORE_LABEL_MAX	 128
#define STORE_HASH_BYTES 32
#define STORE_ID_BYTES	 16

/* Stripe's words for a subscription's status, and nothing else. X(name, word) */
#define STORE_STATUSES(X)                           \
	X(ACTIVE, "active")                         \
	X(TRIALING, "trialing")                     \
	X(PAST_DUE, "past_due")                     \
	X(UNPAID, "unpaid")                         \
	X(CANCELED, "canceled")                     \
	X(INCOMPLETE, "incomplete")                 \
	X(INCOMPLETE_EXPIRED, "incomplete_expired") \
	X(PAUSED, "paused")

enum store_status {
#define X(name, word) STORE_##name,
	STORE_STATUSES(X)
#undef X
		STORE_STATUS_COUNT
};

const char *store_status_word(enum store_status status);
int store_status_parse(const char *word, enum store_status *ret_status); /* 0 or -EINVAL */

struct store_account {
	uint64_t id; /* random, never 0; shown as acc_<16 hex digits> */
	enum store_status status;
	bool is_held;	      /* the operator's own hold */
	uint64_t created_ms;  /* Unix time, as all times here */
	uint64_t past_due_ms; /* when it first became past due; 0: it is not */
	char tier[STORE_NAME_MAX];
	char customer[STORE_NAME_MAX];	   /* Stripe's id or "" */
	char subscription[STORE_NAME_MAX]; /* Stripe's id or "" */
	char label[STORE_LABEL_MAX];
};

struct store_key {
	uint64_t id; /* random, never 0; shown as key_<16 hex digits> */
	uint64_t account;
	uint8_t hash[STORE_HASH_BYTES]; /* HMAC-SHA-256 of the whole key under the pepper */
	uint64_t created_ms;
	uint64_t
		revoked_ms; /* 0: not revoked; in the future: valid until then (rotation's overlap) */
	char hint[16];	    /* for people: the end of the prefix and the last four characters */
	char label[STORE_LABEL_MAX];
};

/* Running totals of one account in one window of one epoch. Writing the same twice is harmless. */
struct store_usage {
	uint64_t account;
	uint64_t epoch;
	uint64_t window_start_s; /* Unix seconds */
	uint32_t window_seconds;
	uint64_t requests;
	uint64_t units;
};

/* Units charged against a quota in one period, by one epoch. */
struct store_quota {
	uint64_t account;
	uint64_t epoch;
	uint32_t period_kind; /* enum tollgate_period */
	uint32_t period;      /* number of the day or month */
	uint64_t units;
};

typedef void (*store_done)(void *arg, int err);

/*
 * A store that is to be at @url ("sqlite:/path"); no I/O yet. @loop's thread makes all calls and gets
 * all callbacks; the store keeps the loop alive only while calls are under way. -EINVAL for an unknown
 * scheme, -ENOMEM.
 */
int store_new(uv_loop_t *loop, const char *url, struct store **ret_store);

/*
 * Carry out the calls under way, close and free. Callbacks not yet delivered are dropped. The loop
 * must turn once more afterwards. Accepts NULL.
 */
void store_free(struct store *store);

/*
 * Connect, migrate the schema, and hold the pepper's check value against the stored one (a new store
 * takes it over). Must succeed before anything else; may be repeated after -EBUSY.
 *   -EUCLEAN	the file is corrupt or no store of ours
 *   -ENOTSUP	its schema is newer than this program
 *   -EKEYREJECTED	another pepper made the hashes in it
 *   -EBUSY	locked by another process
 * On those nothing was written. Others say why the file cannot be had: -ENOENT, -EACCES, -EISDIR,
 * -ELOOP (a symbolic link)...
 */
void store_open(struct store *store, const uint8_t pepper_check[STORE_HASH_BYTES], store_done done,
		void *arg);

/* The id drawn when the store was made: STORE_ID_BYTES. Valid after store_open(). */
const uint8_t *store_id(const struct store *store);

/* The engine's words for the last error; valid until the next call. For logs and people. */
const char *store_error(const struct store *store);

/*
 * Read everything. The visitor's functions are called on the STORE'S thread, batch by batch: accounts
 * first, then keys, then quotas of the periods given (others are history). They return 0 or an error
 * that ends the load and becomes @done's.
 */
struct store_visitor {
	int (*on_accounts)(void *arg, const struct store_account *accounts, size_t count);
	int (*on_keys)(void *arg, const struct store_key *keys, size_t count);
	int (*on_quotas)(void *arg, const struct store_quota *quotas, size_t count);
};
void store_load(struct store *store, const struct store_visitor *visitor, void *visitor_arg,
		uint32_t day, uint32_t month, store_done done, void *arg);

/*
 * Changes: each is one durable transaction. Records are copied.
 *   store_account_add: -EEXIST if the id or the subscription is there already
 *   store_account_set: all fields of the account with that id; -ENOENT
 *   store_keys_add: all or none; -EEXIST if a hash or id is there, -ENOENT for an unknown account
 *   store_key_rotate: add @fresh, and let @old end at @old_revoked_ms, or sooner if it was to end
 *	sooner; -ENOENT, -EEXIST
 *   store_key_revoke: set revoked_ms of @key; -ENOENT
 */
void store_account_add(struct store *store, const struct store_account *account, store_done done,
		       void *arg);
void store_account_set(struct store *store, const struct store_account *account, store_done done,
		       void *arg);
void store_keys_add(struct store *store, const struct store_key *keys, size_t count,
		    store_done done, void *arg);
void store_key_rotate(struct store *store, uint64_t old, uint64_t old_revoked_ms,
		      const struct store_key *fresh, store_done done, void *arg);
void store_key_revoke(struct store *store, uint64_t key, uint64_t revoked_ms, store_done done,
		      void *arg);

/*
 * The keys of @account (0: of all), in the order of their creation, from the one after @after_id (0:
 * from the beginning; -ENOENT if there is none such), at most @limit. The array lives during the
 * callback.
 */
typedef void (*store_keys_done)(void *arg, int err, const struct store_key *keys, size_t count);
void store_keys_list(struct store *store, uint64_t account, uint64_t after_id, size_t limit,
		     store_keys_done done, void *arg);

/* Write totals: each row replaces the same row with smaller totals. One transaction. */
void store_usage_put(struct store *store, const struct store_usage *usage, size_t usage_count,
		     const struct store_quota *quotas, size_t quota_count, store_done done,
		     void *arg);

/*
 * Usage of @account (0: of all) summed over epochs (0 in the rows), in windows that begin at @since_s
 * or later, by window and account, at most @limit rows.
 */
typedef void (*store_usage_done)(void *arg, int err, const struct store_usage *rows, size_t count);
void store_usage_list(struct store *store, uint64_t account, uint64_t since_s, size_t limit,
		      store_usage_done done, void *arg);

#endif
