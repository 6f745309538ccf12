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

#include "base/cidr.h"

struct store;
struct store_task;

#define STORE_NAME_MAX	   64 /* tier, customer, subscription: bytes with the NUL */
#define STORE_LABEL_MAX	   128
#define STORE_FEATURES_MAX 512
#define STORE_QUEUE_MAX	   16
#define STORE_TASK_ID_MAX  256
#define STORE_NOTE_MAX	   256
#define STORE_HASH_BYTES   32
#define STORE_ID_BYTES	   16

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

/*
 * The fields of an account that can change, in the order in which the Redis engine writes them: their
 * numbers are part of its format.
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
	X(LABEL)

enum store_account_field {
#define X(name) STORE_FIELD_##name,
	STORE_ACCOUNT_FIELDS(X)
#undef X
};

/* As a bit of a mask. */
#define STORE_FIELD(name) (1u << STORE_FIELD_##name)

struct store_account {
	uint64_t id; /* random, never 0; shown as acc_<16 hex digits> */
	enum store_status status;
	bool is_held;	      /* the operator's own hold */
	uint64_t created_ms;  /* Unix time, as all times here */
	uint64_t past_due_ms; /* when payment first failed; 0: not since it was last active */
	/* What Stripe last said of the subscription; all 0 or "" for an account without one. */
	uint64_t period_start_s, period_end_s; /* the billing period */
	uint64_t trial_end_s;		       /* 0: no trial */
	uint64_t cancel_at_s;		       /* when it is to end; 0: it goes on */
	uint64_t as_of_s;		       /* Stripe's time at which all this was true */
	char price[STORE_NAME_MAX];	       /* that gave the tier */
	char email[STORE_LABEL_MAX];
	char features[STORE_FEATURES_MAX]; /* entitlements: lookup keys between spaces */
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
	uint64_t closed_units; /* of these, closed by store_usage_close(); in lists only */
	uint32_t closings;     /* how often the window was closed; in lists only */
};

/* Units charged against a quota in one period, by one epoch. */
struct store_quota {
	uint64_t account;
	uint64_t epoch;
	uint32_t period_kind; /* enum tollgate_period */
	uint32_t period;      /* number of the day on which it began */
	uint64_t units;
};

/* Whether new connections from a block of addresses are refused, or never penalized. */
enum store_list { STORE_DENY, STORE_ALLOW, STORE_LIST_COUNT };

/* An entry of the operator's lists. A block is in one of them at most. */
struct store_entry {
	struct cidr block;
	enum store_list list;
	uint64_t created_ms;
	uint64_t until_ms; /* 0: for ever */
};

/*
 * Whether store_new() would take @url: 0, or -EINVAL and @ret_why says what it must look like, or
 * -ENOMEM. @ret_why never has anything of @url in it, which may hold a password.
 */
int store_check_url(const char *url, char *ret_why, size_t why_size);

/* @url without its user and password, cut to @size: for people. */
void store_show_url(const char *url, char *ret_shown, size_t size);

typedef void (*store_done)(void *arg, int err);

/*
 * A store that is to be at @url ("sqlite:/path", "redis://host/0"...); no I/O yet. @loop's thread makes
 * all calls and gets all callbacks; the store keeps the loop alive only while calls are under way. A
 * call to another machine is given up after @timeout_ms. -EINVAL for an unknown scheme or a malformed
 * URL, -ENOMEM.
 */
int store_new(uv_loop_t *loop, const char *url, unsigned timeout_ms, struct store **ret_store);

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

/*
 * Where changes and usage wait, synced, while another machine's store is away: the file at @path. Before
 * store_open(); an engine of one host has no need of it. Then calls that change accounts, keys or lists,
 * add tasks or write usage succeed all the same, and are replayed once, in their order; but for
 * store_key_claim(). -ENOSPC when the journal is full: nothing is ever dropped for another. Errors:
 * as journal.h has them, with words in @ret_why.
 */
int store_set_journal(struct store *store, const char *path, char *ret_why, size_t why_size);

/* Calls and rows that wait; calls that the store refused for good when it was back. */
void store_journal_counts(const struct store *store, uint64_t *ret_waiting, uint64_t *ret_refused);

/* The id drawn when the store was made: STORE_ID_BYTES. Valid after store_open(). */
const uint8_t *store_id(const struct store *store);

/* The engine's words for the last error; valid until the next call. For logs and people. */
const char *store_error(const struct store *store);

/*
 * Read everything. The visitor's functions are called on the loop, batch by batch: accounts
 * first, then keys, then quotas of periods that began on @day (daily ones) or @month_day (monthly ones)
 * or later, those of each kind in the order of their periods (others are history), then the entries of
 * the lists, those that have ended too; otherwise in no order, and a record may come twice. They return 0 or an error that ends the load and becomes @done's.
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
 * The feed: everything that changes accounts, keys and lists, and the tasks that are added, by this host
 * or another, in the order in which it was committed. A change of ours is told here before its callback
 * is called, so that it is in force when its caller learns of it. Nothing else needs to be applied.
 *
 * Call it in the callback of each store_load(): the feed goes on from where that load began. The functions
 * are called on the loop. Some records of a shared store may be older than what was loaded; newer ones
 * follow.
 *
 * While a shared store's server is away, changes that this host keeps in its journal are told at once,
 * except tasks; they are told again, in their place among the other hosts' changes, once the server has
 * them.
 */
struct store_follower {
	void (*on_account)(void *arg, const struct store_account *account); /* added or changed */
	void (*on_key)(void *arg, const struct store_key *key);		    /* added or changed */
	/* The key ends at @at_ms, unless it was to end sooner. */
	void (*on_key_end)(void *arg, uint64_t key, uint64_t at_ms);
	/* So do the keys of @account that were created before @before_ms; 0: all that it has. */
	void (*on_keys_end)(void *arg, uint64_t account, uint64_t before_ms, uint64_t at_ms);
	void (*on_entry)(void *arg, const struct store_entry *entry);
	/* It was removed. Entries that end by themselves may not be told. */
	void (*on_entry_gone)(void *arg, const struct cidr *block);
	/* A task was added to @queue. @task is NULL when only the store has it: list the queue. */
	void (*on_task)(void *arg, const char *queue, const struct store_task *task);
	/*
	 * Of a shared store, after each batch and several times a second: 0 if all changes up to now
	 * were told; -EHOSTDOWN while the server cannot be asked (the feed continues by itself); -ESTALE
	 * when changes may be missing (the feed has ended: open, load and follow again). @why has words
	 * for an error.
	 */
	void (*on_state)(void *arg, int err, const char *why);
};

/* 0, or an error of pthread_create(). @follower is copied. */
int store_follow(struct store *store, const struct store_follower *follower, void *arg);

/* Whether hosts can share limits through this store: store_share_exchange() works. */
bool store_can_share(const struct store *store);

/* Number of the last change that was told. */
uint64_t store_followed(const struct store *store);

/*
 * Changes: each is one durable transaction. Records are copied.
 *   store_account_add: -EEXIST if the id or the subscription is there already
 *   store_account_set: sets the fields in which @account differs from @before, which is what the caller
 *	started from, and the fields in the mask @named, whatever their values; what another host has
 *	changed meanwhile in other fields stays. @before NULL: all fields. -ENOENT, -EEXIST if the
 *	subscription has another account, -ESTALE if a later word of Stripe's is known
 *   store_keys_add: all or none; -EEXIST if a hash or id is there, -ENOENT for an unknown account
 *   store_key_rotate: add @fresh, and let @old end at @old_revoked_ms, or sooner if it was to end
 *	sooner; -ENOENT, -EEXIST
 *   store_key_revoke: let @key end at @revoked_ms, or sooner if it was to end sooner; -ENOENT
 *   store_keys_revoke: let all keys of @account end at @revoked_ms, or sooner if they were to end
 *	sooner; that there are none is no error
 *   store_entry_put: in place of the one with that block, if there is one
 *   store_entry_remove: the one with that block; -ENOENT
 *   store_entries_prune: those that ended at @ended_by_ms or before
 */
void store_account_add(struct store *store, const struct store_account *account, store_done done,
		       void *arg);
void store_account_set(struct store *store, const struct store_account *before,
		       const struct store_account *account, uint32_t named, store_done done,
		       void *arg);
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

/*
 * Windows with units that are not closed, summed over epochs as above: those that have ended by
 * @ended_by_s in the order of their end; with @account (not 0) those of that account, ended or not.
 * At most @limit. Windows long closed cost nothing here, however many there are.
 */
void store_usage_open(struct store *store, uint64_t account, uint64_t ended_by_s, size_t limit,
		      store_usage_done done, void *arg);

/*
 * tasks: what must be done once, and survives a crash until it is. A task is known by its queue and
 * its id in there.
 */
enum store_task_state {
	STORE_TASK_PENDING,
	STORE_TASK_DONE,
	STORE_TASK_FAILED, /* given up; kept for people */
	STORE_TASK_STATE_COUNT
};

struct store_task {
	char queue[STORE_QUEUE_MAX]; /* "event", "mail", ... */
	char id[STORE_TASK_ID_MAX];
	char object[STORE_TASK_ID_MAX]; /* what it is about, or "" */
	uint64_t account;		/* or 0 */
	uint64_t seq; /* order of arrival over all queues, never used twice; the store's to give */
	uint64_t created_ms;
	uint64_t due_ms;   /* not before then */
	uint64_t tried_ms; /* the first try; 0: none yet */
	uint32_t attempts;
	enum store_task_state state;
	char note[STORE_NOTE_MAX]; /* what became of it, for people */
	char *body; /* text of any length, or NULL; borrowed by calls, the list's own in callbacks */
};

/*
 * Add tasks as they are given, but for `seq`, in one transaction. One whose id its queue has already,
 * in whatever state, is left as it was; @is_fresh says of each whether it was added, and lives during
 * the callback (NULL after an error, when none was).
 */
typedef void (*store_tasks_added)(void *arg, int err, const bool *is_fresh, size_t count);
void store_tasks_add(struct store *store, const struct store_task *tasks, size_t count,
		     store_tasks_added done, void *arg);

/*
 * Tasks of @queue in @state that are due by @due_by_ms and came after @after_seq, in the order of
 * their arrival, at most @limit. The array and the bodies live during the callback.
 */
typedef void (*store_tasks_done)(void *arg, int err, const struct store_task *tasks, size_t count);
void store_tasks_list(struct store *store, const char *queue, enum store_task_state state,
		      uint64_t due_by_ms, uint64_t after_seq, size_t limit, store_tasks_done done,
		      void *arg);

/* The task with that id: @count is 1, or 0 if there is none. */
void store_task_find(struct store *store, const char *queue, const char *id, store_tasks_done done,
		     void *arg);

/*
 * Set due_ms, tried_ms, attempts, state and note of these tasks, in one transaction; what is not there
 * is passed over. A task that becomes DONE loses its body.
 */
void store_tasks_set(struct store *store, const struct store_task *tasks, size_t count,
		     store_done done, void *arg);

/* Forget the DONE tasks of @queue that were created before @before_ms. */
void store_tasks_prune(struct store *store, const char *queue, uint64_t before_ms, store_done done,
		       void *arg);

/*
 * Forget the usage of windows that ended by @before_s and have no open units; but of each account those
 * that begin last are kept, for slots may still hold them and write them again.
 */
void store_usage_prune(struct store *store, uint64_t before_s, store_done done, void *arg);

/* How many tasks each queue has that has any, by the queue's name. Walks an index of all tasks. */
struct store_queue_count {
	char queue[STORE_QUEUE_MAX];
	uint64_t pending, done, failed;
	uint64_t oldest_ms; /* created_ms of the oldest pending one; 0: none */
};
typedef void (*store_queues_done)(void *arg, int err, const struct store_queue_count *rows,
				  size_t count);
void store_queues_count(struct store *store, store_queues_done done, void *arg);

/*
 * The hosts that share the store. Each says every second that it is there; one of them holds the
 * lease of what only one may do.
 */
struct store_host {
	uint64_t id; /* of its slots' storage: their epoch */
	char name[64], version[16];
	uint64_t started_ms;
	uint64_t seen_ms;  /* when it was heard of last, by the store's clock; in answers only */
	uint64_t followed; /* number of the last change that it knows of */
	uint64_t accounts, keys; /* in its mirror */
	uint64_t lent_units;	 /* borrowed of shared limits, and not used yet */
};

struct store_fleet {
	uint64_t now_ms;	  /* the store's clock */
	uint64_t changes;	  /* number of the last change */
	uint64_t holder;	  /* host that holds the lease; 0: nobody */
	bool holds_forever;	  /* the lease cannot be lost: this host is alone */
	struct store_host *hosts; /* the callback's */
	size_t host_count;
};

/*
 * Say that @self is there. With @wants_lease it gets the lease for @lease_ms from now, by the store's
 * clock, if no other host has it. From then on, until it is lost, store_tasks_set() and
 * store_usage_close() are the holder's: -ESTALE for others, whatever they believe. An engine of one
 * host gives the lease and no hosts.
 */
typedef void (*store_beat_done)(void *arg, int err, const struct store_fleet *fleet);
void store_beat(struct store *store, const struct store_host *self, bool wants_lease,
		uint64_t lease_ms, store_beat_done done, void *arg);

/* @host goes; its lease is free at once. */
void store_leave(struct store *store, uint64_t host, store_done done, void *arg);

/*
 * What a host used and wants of the limits that an account has on all hosts together; enforce/share.h says
 * how they are held. Totals, so that telling twice is harmless.
 */
struct store_share_want {
	uint64_t account, epoch;
	uint32_t slot;	     /* the caller's own */
	uint32_t generation; /* totals begin at 0 with each */
	uint64_t seq;	     /* grows with each call for this account */
	uint64_t used, paid; /* units since then; and what the last grant said */
	uint64_t want;	     /* units that it would like to have next; 0: give back what is left */
	uint32_t need;	     /* fewer than these are of no use */
	uint64_t interval_ns, burst; /* of the account; 0: without a rate */
	uint64_t quota_limit;	     /* 0: without a quota */
	uint32_t quota_kind, quota_period;
	uint64_t quota_used, quota_want; /* by this epoch in that period; and to have next */
	uint32_t held, places_want, concurrency;
};

struct store_share_grant {
	bool is_known;	  /* false: a later call of this host came first */
	uint64_t paid;	  /* `used` may rise to here */
	uint64_t left;	  /* units that nobody has */
	uint64_t wait_ns; /* 0, or until there is something to be had */
	uint64_t quota_cap, quota_others,
		quota_left; /* own units at most; charged by others; nobody's */
	uint32_t places;
};

/*
 * Settle and borrow, for all of @wants in one step; the grants are in their order. @instance is random for
 * each run of a host, @hosts how many there are. -ENOTSUP with an engine of one host.
 */
typedef void (*store_share_done)(void *arg, int err, const struct store_share_grant *grants,
				 size_t count);
void store_share_exchange(struct store *store, uint64_t instance, uint32_t hosts,
			  const struct store_share_want *wants, size_t count, store_share_done done,
			  void *arg);

/*
 * Close usage. Each row names a window as store_usage_open() or store_usage_list() gave it: account,
 * window_start_s, window_seconds, `units` and `closed_units`. All of these units are closed from then
 * on, the window has one closing more, and @tasks are added, all in one transaction. Units that were
 * counted since the listing stay open, whichever epoch counted them.
 *   -EAGAIN	another closing came first: list again
 *   -EEXIST	a task is there already
 *   -EINVAL	a row with nothing to close, or with more units than there are
 * After an error nothing has changed.
 */
void store_usage_close(struct store *store, const struct store_usage *rows, size_t row_count,
		       const struct store_task *tasks, size_t task_count, store_done done,
		       void *arg);

/*
 * Add @key, and the task @claim that stands for whoever may have it once, in one transaction: -EEXIST
 * if the claim (or the key) is there already, -ENOENT for an unknown account.
 */
void store_key_claim(struct store *store, const struct store_task *claim,
		     const struct store_key *key, store_done done, void *arg);

#endif
