/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store: durable storage of accounts, keys and usage. One interface in front of several engines.
 *
 * Calls are asynchronous: they return at once, and the callback runs later on the loop that was
 * passed to store_new(). Calls complete in the order in which they were made. No request ever waits
 * for the store: requests read the mirror.
 *
 * Errors that any callback may get: -EBUSY (locked by another process: retry), -ENOSPC (the disk is
 * full), -EIO, -EROFS, -EUCLEAN (corrupt), -ENOTCONN (not open), -ENOBUFS (too many calls are
 * outstanding), -ENOMEM. store_error() returns the engine's message for the last error. The
 * callback runs before the call returns in one case only: -ENOMEM because the call itself could not
 * be allocated.
 *
 * The module store: keeping records for good, reporting changes, moving a store. It does not know
 * what a record means for a request; that belongs to enforce.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/cidr.h"

struct store;
struct store_task;

#define STORE_NAME_MAX	    64 /* tier, customer, subscription: bytes, including the NUL */
#define STORE_LABEL_MAX	    128
#define STORE_FEATURES_MAX  512
#define STORE_DISPUTES_MAX  256
#define STORE_DISPUTES_MORE "+"
#define STORE_REFERENCE_MAX 256
#define STORE_METADATA_MAX  2048
#define STORE_QUEUE_MAX	    16
#define STORE_TASK_ID_MAX   256
#define STORE_NOTE_MAX	    256
#define STORE_HASH_BYTES    32
#define STORE_ID_BYTES	    16

/* Exactly the values that Stripe has for a subscription's status. X(name, word) */
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

/* Stripe's two modes. Their objects are apart: test customers pay nothing. */
enum store_mode {
	STORE_MODE_NONE, /* not from Stripe; or stored before modes were kept */
	STORE_MODE_TEST,
	STORE_MODE_LIVE,
	STORE_MODE_GONE, /* Stripe no longer has the subscription, in either mode */
};

const char *store_mode_word(enum store_mode mode); /* "test", "live", "gone" or "" */
const char *store_status_word(enum store_status status);
int store_status_parse(const char *word, enum store_status *ret_status); /* 0 or -EINVAL */

/*
 * The fields of an account that can change, in the order in which the Redis engine writes them.
 * Their numbers are part of its format: only append.
 */
#define STORE_ACCOUNT_FIELDS(X) \
	X(STATUS)               \
	X(IS_HELD)              \
	X(CREATED_MS)           \
	X(PAST_DUE_MS)          \
	X(PERIOD_START_S)       \
	X(PERIOD_END_S)         \
	X(TRIAL_END_S)          \
	X(CANCEL_AT_S)          \
	X(AS_OF_S)              \
	X(PRICE)                \
	X(EMAIL)                \
	X(FEATURES)             \
	X(TIER)                 \
	X(CUSTOMER)             \
	X(SUBSCRIPTION)         \
	X(LABEL)                \
	X(MODE)                 \
	X(USAGE_START_S)        \
	X(USAGE_END_S)          \
	X(DISPUTES)             \
	X(SEATS)                \
	X(REFERENCE)            \
	X(METADATA)

enum store_account_field {
#define X(name) STORE_FIELD_##name,
	STORE_ACCOUNT_FIELDS(X)
#undef X
};

/* A field as one bit of a mask. */
#define STORE_FIELD(name) (1u << STORE_FIELD_##name)

struct store_account {
	uint64_t id; /* random, never 0; shown as acc_<16 hex digits> */
	enum store_status status;
	bool is_held;	      /* the operator's own hold */
	uint64_t created_ms;  /* Unix time, like all times here */
	uint64_t past_due_ms; /* when payment first failed; 0: never since it was last active */
	/* The latest state of the subscription from Stripe; all 0 or "" without a subscription. */
	uint64_t period_start_s, period_end_s; /* the billing period */
	uint64_t trial_end_s;		       /* 0: no trial */
	uint64_t cancel_at_s;		       /* when it will be canceled; 0: it will not */
	uint64_t as_of_s;		       /* Stripe's time of this state */
	enum store_mode mode;		       /* of the subscription */
	/* The period of the metered item; 0, 0: the billing period. Usage windows end with it. */
	uint64_t usage_start_s, usage_end_s;
	/*
	 * IDs, separated by spaces, of charges that were fully refunded or whose dispute is open or
	 * lost, if that suspends the account. STORE_DISPUTES_MORE: there were more than fit, so
	 * only the operator can end the suspension.
	 */
	char disputes[STORE_DISPUTES_MAX];
	char price[STORE_NAME_MAX]; /* the price that selected the tier */
	uint32_t seats;		    /* its quantity; 0: unknown, which counts as 1 */
	/* client_reference_id of the checkout session, and the subscription's metadata as JSON. */
	char reference[STORE_REFERENCE_MAX];
	char metadata[STORE_METADATA_MAX];
	char email[STORE_LABEL_MAX];
	char features[STORE_FEATURES_MAX]; /* entitlements: lookup keys separated by spaces */
	char tier[STORE_NAME_MAX];
	char customer[STORE_NAME_MAX];	   /* Stripe's id or "" */
	char subscription[STORE_NAME_MAX]; /* Stripe's id or "" */
	char label[STORE_LABEL_MAX];
};

struct store_key {
	uint64_t id; /* random, never 0; shown as key_<16 hex digits> */
	uint64_t account;
	uint8_t hash[STORE_HASH_BYTES]; /* HMAC-SHA-256 of the whole key, keyed with the pepper */
	uint64_t created_ms;
	uint64_t revoked_ms; /* 0: not revoked; in the future: the key is valid until then */
	char hint[16];	     /* for display: the end of the prefix and the last four characters */
	char label[STORE_LABEL_MAX];
};

/*
 * Running totals of one account in one window of one epoch. They are totals, not increments, so
 * writing the same row twice is harmless.
 */
struct store_usage {
	uint64_t account;
	uint64_t epoch;
	uint64_t window_start_s; /* Unix seconds */
	uint32_t window_seconds;
	uint64_t requests;
	uint64_t units;
	uint64_t closed_units; /* of `units`, closed by store_usage_close(); set in lists only */
	uint32_t closings;     /* how often the window was closed; set in lists only */
};

/* Units charged against a quota in one period, by one epoch. */
struct store_quota {
	uint64_t account;
	uint64_t epoch;
	uint32_t period_kind; /* enum tollgate_period */
	uint32_t period;      /* number of the day on which the period began */
	uint64_t units;
};

/*
 * The operator's lists of address blocks. Deny: new connections are refused. Allow: the addresses
 * are never penalized.
 */
enum store_list { STORE_DENY, STORE_ALLOW, STORE_LIST_COUNT };

/* An entry of the operator's lists. A block is in at most one of them. */
struct store_entry {
	struct cidr block;
	enum store_list list;
	uint64_t created_ms;
	uint64_t until_ms; /* 0: forever */
};

/*
 * Check whether store_new() would accept @url. 0; -EINVAL, and @ret_why says what the URL must look
 * like; or -ENOMEM. @ret_why never quotes @url, which may contain a password.
 */
int store_check_url(const char *url, char *ret_why, size_t why_size);

/* @url without its user and password, truncated to @size: for logs and messages. */
void store_show_url(const char *url, char *ret_shown, size_t size);

typedef void (*store_done)(void *arg, int err);

/*
 * Create a store for @url ("sqlite:/path", "redis://host/0"...), without any I/O yet. All calls are
 * made on @loop's thread, and all callbacks run there. The store keeps the loop alive only while
 * calls are outstanding. A call to another machine times out after @timeout_ms. -EINVAL for an
 * unknown scheme or a malformed URL, -ENOMEM.
 */
int store_new(uv_loop_t *loop, const char *url, unsigned timeout_ms, struct store **ret_store);

/*
 * Finish the outstanding calls, close the store and free it. Callbacks that have not run yet are
 * dropped. The loop must run once more afterwards. Accepts NULL.
 */
void store_free(struct store *store);

/*
 * Connect, migrate the schema, and compare the pepper's check value with the stored one (a new
 * store saves it). Must succeed before any other call. May be repeated after -EBUSY.
 *   -EUCLEAN	the file is corrupt, or is not a tollgate store
 *   -ENOTSUP	its schema is newer than this program
 *   -EKEYREJECTED	its hashes were made with another pepper
 *   -EBUSY	locked by another process
 * None of these errors writes anything. Other errors say why the file cannot be opened: -ENOENT,
 * -EACCES, -EISDIR, -ELOOP (a symbolic link)...
 */
void store_open(struct store *store, const uint8_t pepper_check[STORE_HASH_BYTES], store_done done,
		void *arg);

/*
 * Keep a journal in the file at @path, for the time when a store on another machine is unreachable.
 * Call it before store_open(). Engines that serve a single host ignore it.
 *
 * While the store is unreachable, calls that change accounts, keys or lists, add tasks or write
 * usage are written to the journal, synced, and succeed. They are replayed exactly once, in order,
 * when the store is back. store_key_claim() is the exception: it needs the store. When the journal
 * is full, calls fail with -ENOSPC; older calls are never dropped to make room.
 *
 * 0, or an error as in redis/journal.h with a message in @ret_why.
 */
int store_set_journal(struct store *store, const char *path, char *ret_why, size_t why_size);

/* Calls and rows that wait in the journal; calls that the store refused for good when replayed. */
void store_journal_counts(const struct store *store, uint64_t *ret_waiting, uint64_t *ret_refused);

/*
 * The random id that the store got when it was created: STORE_ID_BYTES. Valid after store_open().
 */
const uint8_t *store_id(const struct store *store);

/* The engine's message for the last error, for logs and people. Valid until the next call. */
const char *store_error(const struct store *store);

/*
 * Read everything. The visitor's functions run on the loop, batch by batch, in this order:
 *   accounts
 *   keys
 *   quotas of periods that began on or after @day (daily quotas) or @month_day (monthly quotas),
 *	each kind in the order of its periods; older periods are history and are left out
 *   entries of the lists, including expired ones
 * Apart from that there is no order, and a record may come twice. Each function returns 0, or an
 * error that ends the load and is passed to @done.
 */
struct store_visitor {
	int (*on_accounts)(void *arg, const struct store_account *accounts, size_t count);
	int (*on_keys)(void *arg, const struct store_key *keys, size_t count);
	int (*on_quotas)(void *arg, const struct store_quota *quotas, size_t count);
	int (*on_entries)(void *arg, const struct store_entry *entries, size_t count);
};
void store_load(struct store *store, const struct store_visitor *visitor, void *visitor_arg,
		uint32_t day, uint32_t month_day, store_done done, void *arg);

/*
 * The feed: every change of accounts, keys and lists and every added task, by this host or another,
 * in the order in which they were committed. A change that this host makes is reported here before
 * its callback runs, so it is in force when the caller hears that it succeeded. Callers need not
 * apply their changes themselves.
 *
 * Call store_follow() in the callback of each store_load(): the feed continues from the moment at
 * which that load began. The functions run on the loop. With a shared store, some reported records
 * may be older than what was loaded; the newer versions follow.
 *
 * While the server of a shared store is unreachable, changes that go to this host's journal are
 * reported at once, except tasks. They are reported again, in their place among the other hosts'
 * changes, once the server has them.
 */
struct store_follower {
	void (*on_account)(void *arg, const struct store_account *account); /* added or changed */
	void (*on_account_gone)(void *arg, uint64_t account);	/* deleted, with its keys */
	void (*on_key)(void *arg, const struct store_key *key); /* added or changed */
	/* The key ends at @at_ms, unless it already ends sooner. */
	void (*on_key_end)(void *arg, uint64_t key, uint64_t at_ms);
	/*
	 * The same for all keys of @account that were created before @before_ms; 0: all its keys.
	 */
	void (*on_keys_end)(void *arg, uint64_t account, uint64_t before_ms, uint64_t at_ms);
	void (*on_entry)(void *arg, const struct store_entry *entry);
	/* The entry was removed. Entries that expire may not be reported. */
	void (*on_entry_gone)(void *arg, const struct cidr *block);
	/* A task was added to @queue. @task is NULL if only the store has it: list the queue. */
	void (*on_task)(void *arg, const char *queue, const struct store_task *task);
	/*
	 * Shared stores only, after each batch and several times a second.
	 *   0		all changes up to now were reported
	 *   -EHOSTDOWN	the server is unreachable; the feed resumes by itself
	 *   -ESTALE	changes may be missing and the feed has ended: open, load and follow again
	 * @why is a message for an error.
	 */
	void (*on_state)(void *arg, int err, const char *why);
};

/* 0, or an error of pthread_create(). @follower is copied. */
int store_follow(struct store *store, const struct store_follower *follower, void *arg);

/* Whether hosts can share limits through this store, that is, store_share_exchange() works. */
bool store_can_share(const struct store *store);

/* Number of the last change that was reported to the follower. */
uint64_t store_followed(const struct store *store);

/*
 * Changes. Each call is one durable transaction. Records are copied.
 *   store_account_add: -EEXIST if the id or the subscription exists already
 *   store_account_set: set the fields in which @account differs from @before, the version that the
 *	caller started from, and the fields in the mask @named even if they do not differ. Other
 *	fields keep what another host may have written meanwhile. @before NULL: set all fields.
 *	-ENOENT, -EEXIST if the subscription belongs to another account, -ESTALE if another host has
 *	stored a later state from Stripe since @before
 *   store_account_delete: delete the account, its keys and its usage; -ENOENT; -EBUSY if it has
 *	open usage (store_usage_open()), unless @drops_usage. Needs the store: not journaled
 *   store_keys_add: all or none; -EEXIST if a hash or id exists, -ENOENT for an unknown account
 *   store_key_rotate: add @fresh, and let @old end at @old_revoked_ms unless it already ends
 *	sooner; -ENOENT, -EEXIST
 *   store_key_revoke: let @key end at @revoked_ms unless it already ends sooner; -ENOENT
 *   store_keys_revoke: let all keys of @account end at @revoked_ms, except those that already end
 *	sooner; 0 even if there are none
 *   store_entry_put: add an entry, or replace the one with the same block
 *   store_entry_remove: remove the entry with that block; -ENOENT
 *   store_entries_prune: remove the entries that expired at or before @ended_by_ms
 */
void store_account_add(struct store *store, const struct store_account *account, store_done done,
		       void *arg);
void store_account_set(struct store *store, const struct store_account *before,
		       const struct store_account *account, uint32_t named, store_done done,
		       void *arg);
void store_account_delete(struct store *store, uint64_t account, bool drops_usage, store_done done,
			  void *arg);

/*
 * store_account_add() or store_account_set() with tasks that follow from the change. The same
 * transaction adds them, so they are added if and only if the account is written, even if the
 * change waits in the journal first. A task whose id already exists in its queue is left unchanged.
 */
struct store_account_change {
	const struct store_account *before,
		*account; /* borrowed during the call, as are the tasks */
	uint32_t named;
	bool is_new;
	const struct store_task *tasks;
	size_t task_count;
};
void store_account_change(struct store *store, const struct store_account_change *change,
			  store_done done, void *arg);

void store_keys_add(struct store *store, const struct store_key *keys, size_t count,
		    store_done done, void *arg);
void store_key_rotate(struct store *store, uint64_t old, uint64_t old_revoked_ms,
		      const struct store_key *fresh, store_done done, void *arg);
void store_key_revoke(struct store *store, uint64_t key, uint64_t revoked_ms, store_done done,
		      void *arg);
void store_keys_revoke(struct store *store, uint64_t account, uint64_t revoked_ms, store_done done,
		       void *arg);
void store_entry_put(struct store *store, const struct store_entry *entry, store_done done,
		     void *arg);
void store_entry_remove(struct store *store, const struct cidr *block, store_done done, void *arg);
void store_entries_prune(struct store *store, uint64_t ended_by_ms, store_done done, void *arg);

/*
 * List the keys of @account (0: of all accounts) in the order of their creation, at most @limit.
 * The list starts after the key @after_id (-ENOENT if it does not exist), or at the beginning if
 * that is 0. The array is valid during the callback.
 */
typedef void (*store_keys_done)(void *arg, int err, const struct store_key *keys, size_t count);
void store_keys_list(struct store *store, uint64_t account, uint64_t after_id, size_t limit,
		     store_keys_done done, void *arg);

/* Write running totals: each row replaces a stored row with smaller totals. One transaction. */
void store_usage_put(struct store *store, const struct store_usage *usage, size_t usage_count,
		     const struct store_quota *quotas, size_t quota_count, store_done done,
		     void *arg);

/*
 * List the usage of @account (0: of all accounts) in windows that begin at @since_s or later,
 * ordered by window and account, at most @limit rows. The rows are summed over epochs; their
 * `epoch` is 0.
 */
typedef void (*store_usage_done)(void *arg, int err, const struct store_usage *rows, size_t count);
void store_usage_list(struct store *store, uint64_t account, uint64_t since_s, size_t limit,
		      store_usage_done done, void *arg);

/*
 * List windows that have open (not closed) units, summed over epochs as above. With `account` 0:
 * windows that have ended by `ended_by_s`. With another account: its windows, ended or not. The
 * order is that of end, start, account and length. The cost does not depend on the number of closed
 * windows.
 */
struct store_usage_query {
	uint64_t account, ended_by_s;
	const struct store_usage *after; /* begin after this row, which may be closed, or NULL */
	size_t limit;			 /* at most so many rows */
};
void store_usage_open(struct store *store, const struct store_usage_query *query,
		      store_usage_done done, void *arg);

/*
 * tasks: work that must be done once and survives a crash until it is done. A queue and an id
 * within that queue identify a task.
 */
enum store_task_state {
	STORE_TASK_PENDING,
	STORE_TASK_DONE,
	STORE_TASK_FAILED, /* given up; kept for the operator */
	STORE_TASK_STATE_COUNT
};

struct store_task {
	char queue[STORE_QUEUE_MAX]; /* "event", "mail", ... */
	char id[STORE_TASK_ID_MAX];
	char object[STORE_TASK_ID_MAX]; /* id of the object that it concerns, or "" */
	uint64_t account;		/* or 0 */
	uint64_t seq; /* order of arrival over all queues, never used twice; the store assigns it */
	uint64_t created_ms;
	uint64_t due_ms;   /* the earliest time for the next attempt */
	uint64_t tried_ms; /* time of the first attempt; 0: none yet */
	uint32_t attempts;
	enum store_task_state state;
	char note[STORE_NOTE_MAX]; /* the outcome, for people */
	char *body; /* text of any length, or NULL. Calls borrow it; a callback's list owns it */
};

/*
 * Add tasks in one transaction. The store assigns `seq`; all else is stored as given. A task whose
 * id exists already in its queue, in any state, is left unchanged. @is_fresh says for each task
 * whether it was added; it is valid during the callback, and NULL after an error, when no task was
 * added.
 */
typedef void (*store_tasks_added)(void *arg, int err, const bool *is_fresh, size_t count);
void store_tasks_add(struct store *store, const struct store_task *tasks, size_t count,
		     store_tasks_added done, void *arg);

/*
 * List the tasks of @queue in @state that are due by @due_by_ms and whose seq is after @after_seq,
 * in the order of their arrival, at most @limit. The array and the bodies are valid during the
 * callback.
 */
typedef void (*store_tasks_done)(void *arg, int err, const struct store_task *tasks, size_t count);
void store_tasks_list(struct store *store, const char *queue, enum store_task_state state,
		      uint64_t due_by_ms, uint64_t after_seq, size_t limit, store_tasks_done done,
		      void *arg);

/* Find the task with that id: @count is 1, or 0 if there is none. */
void store_task_find(struct store *store, const char *queue, const char *id, store_tasks_done done,
		     void *arg);

/*
 * Set due_ms, tried_ms, attempts, state and note of these tasks, and the body unless it is NULL, in
 * one transaction. Tasks that do not exist are skipped. A task that becomes DONE loses its body.
 */
void store_tasks_set(struct store *store, const struct store_task *tasks, size_t count,
		     store_done done, void *arg);

/* Delete the DONE tasks of @queue that were created before @before_ms. */
void store_tasks_prune(struct store *store, const char *queue, uint64_t before_ms, store_done done,
		       void *arg);

/*
 * Delete the usage of windows that ended by @before_s and have no open units. The latest windows of
 * each account are kept, because a slot may still hold their totals and write them again.
 */
void store_usage_prune(struct store *store, uint64_t before_s, store_done done, void *arg);

/*
 * Count the tasks of each queue that has any, ordered by the queue's name. Walks an index of all
 * tasks.
 */
struct store_queue_count {
	char queue[STORE_QUEUE_MAX];
	uint64_t pending, done, failed;
	uint64_t oldest_ms; /* created_ms of the oldest pending task; 0: none */
};
typedef void (*store_queues_done)(void *arg, int err, const struct store_queue_count *rows,
				  size_t count);
void store_queues_count(struct store *store, store_queues_done done, void *arg);

/*
 * The hosts that share the store. Each sends a heartbeat every second. One of them holds the lease
 * for the work that only one host may do.
 */
struct store_host {
	uint64_t id; /* the epoch of its slots */
	char name[64], version[16];
	uint64_t started_ms;
	uint64_t seen_ms;	 /* its last heartbeat, by the store's clock; set in answers only */
	uint64_t followed;	 /* number of the last change that it has applied */
	uint64_t accounts, keys; /* in its mirror */
	uint64_t lent_units;	 /* borrowed from shared limits and not used yet */
};

struct store_fleet {
	uint64_t now_ms;	  /* the store's clock */
	uint64_t changes;	  /* number of the last change */
	uint64_t holder;	  /* host that holds the lease; 0: none */
	bool holds_forever;	  /* the lease cannot be lost: this is the only host */
	struct store_host *hosts; /* valid during the callback */
	size_t host_count;
};

/*
 * Send a heartbeat of @self. With @wants_lease, it gets the lease for @lease_ms from now, by the
 * store's clock, unless another host has it. The lease fences: as long as a host holds it,
 * store_tasks_set() and store_usage_close() fail with -ESTALE on every other host, even on one that
 * believes it holds it. An engine that serves a single host always grants the lease and lists no
 * hosts.
 */
typedef void (*store_beat_done)(void *arg, int err, const struct store_fleet *fleet);
void store_beat(struct store *store, const struct store_host *self, bool wants_lease,
		uint64_t lease_ms, store_beat_done done, void *arg);

/* Remove @host from the fleet and release its lease at once. */
void store_leave(struct store *store, uint64_t host, store_done done, void *arg);

/*
 * What a host has used and asks for of an account's limits that all hosts share; enforce/share.h
 * explains the protocol. The numbers are totals, so repeating a request is harmless.
 */
struct store_share_want {
	uint64_t account, epoch;
	uint32_t slot;		     /* for the caller only; ignored here */
	uint32_t generation;	     /* totals restart at 0 with each generation */
	uint64_t seq;		     /* grows with each call for this account */
	uint64_t used, paid;	     /* units used in this generation; `paid` of the last grant */
	uint64_t want;		     /* units to borrow next; 0: give back what is left */
	uint32_t need;		     /* fewer units than this are useless */
	uint64_t interval_ns, burst; /* of the account's rate; 0: no rate */
	uint64_t quota_limit;	     /* 0: no quota */
	uint32_t quota_kind, quota_period;
	uint64_t quota_used, quota_want; /* used by this epoch in that period; wanted next */
	uint32_t held, places_want, concurrency;
};

struct store_share_grant {
	bool is_known;	  /* false: ignored, because a later call of this host came first */
	uint64_t paid;	  /* `used` may grow up to this total */
	uint64_t left;	  /* units that no host has borrowed */
	uint64_t wait_ns; /* time until units are available; 0: none to wait for */
	uint64_t quota_cap, quota_others,
		quota_left; /* this host's maximum; charged by others; borrowed by none */
	uint32_t places;
};

/*
 * Settle what was used and borrow more, for all of @wants in one step; the grants come in the same
 * order. @instance is a random number for each run of a host, @hosts the number of hosts. -ENOTSUP
 * with an engine that serves a single host.
 */
typedef void (*store_share_done)(void *arg, int err, const struct store_share_grant *grants,
				 size_t count);
void store_share_exchange(struct store *store, uint64_t instance, uint32_t hosts,
			  const struct store_share_want *wants, size_t count, store_share_done done,
			  void *arg);

/*
 * Close usage. Each row names a window as store_usage_open() or store_usage_list() returned it:
 * account, window_start_s, window_seconds, `units` and `closed_units`. One transaction closes all
 * of these units, increments the windows' `closings`, and adds @tasks. Units that were counted
 * after the listing stay open, whichever epoch counted them.
 *   -EAGAIN	another call closed the window first: list again
 *   -EEXIST	a task exists already
 *   -EINVAL	a row has nothing to close, or more units than the store
 * An error changes nothing.
 */
void store_usage_close(struct store *store, const struct store_usage *rows, size_t row_count,
		       const struct store_task *tasks, size_t task_count, store_done done,
		       void *arg);

/*
 * Add @key and the task @claim, which records that a one-time claim for a key was redeemed, in one
 * transaction. -EEXIST if the claim or the key exists already, -ENOENT for an unknown account.
 */
void store_key_claim(struct store *store, const struct store_task *claim,
		     const struct store_key *key, store_done done, void *arg);

#endif
