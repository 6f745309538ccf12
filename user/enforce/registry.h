/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * registry: changes of accounts and keys, first in the store and then in the mirror.
 *
 * Changes are processed one after another, in the order of the calls, so each sees the result of
 * the one before it. When a callback gets 0, the change is durable and in force on every worker and
 * in XDP. Control loop only.
 */
#ifndef ENFORCE_REGISTRY_H
#define ENFORCE_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/crypto.h"
#include "enforce/key.h"
#include "enforce/mirror.h"
#include "store/store.h"

struct registry;

/* All arguments are borrowed. NULL if memory is short. */
struct registry *registry_new(struct store *store, struct mirror *mirror,
			      const struct crypto_hmac *pepper, const char *key_prefix);

/* Waiting changes are dropped; their callbacks are not called. Accepts NULL. */
void registry_free(struct registry *registry);

/*
 * The outbox: a function that makes the tasks that follow from a change of an account, such as a
 * notice. They are stored in the same transaction as the change, so neither a crash nor another
 * host can separate the two. The function writes at most REGISTRY_TASKS_MAX tasks to @ret_tasks and
 * returns their number, or a negative errno, with which the change fails. The registry frees their
 * bodies. @before is NULL for a new account. If @outbox is NULL, there are no such tasks.
 */
#define REGISTRY_TASKS_MAX 4
typedef int (*registry_outbox)(void *arg, const struct store_account *before,
			       const struct store_account *after,
			       struct store_task ret_tasks[REGISTRY_TASKS_MAX]);
void registry_set_outbox(struct registry *registry, registry_outbox outbox, void *arg);

/*
 * The result of a change. The callback may run before the call returns. Pointers are valid during
 * the callback. Those that do not apply are NULL, as are all of them after an error.
 */
struct registry_result {
	/*
	 * 0; -ENOENT, -EEXIST, -EKEYREVOKED (rotation of a key that has ended), -ENOSPC (out of
	 * slots or of disk), -EBUSY, -EIO, -ENOBUFS (too many changes wait)
	 */
	int err;
	const struct store_account *account;
	const struct store_key *key;
	const char *key_text;  /* the new key in clear: shown once, and never stored */
	size_t added, present; /* import */
	size_t failed_at;      /* import: index of the key that failed; SIZE_MAX: unknown */
	const struct store_account *before; /* `account` before the change; NULL: it is new */
	bool is_changed;		    /* accounts: whether anything changed */
	/*
	 * registry_subscription_apply(): nothing was changed, because the account has another state
	 * of the same second, and it is unknown which is newer.
	 */
	bool is_in_doubt;
	size_t changed; /* registry_keys_revoke(): keys; registry_account_entitle(): accounts */
};
typedef void (*registry_done)(void *arg, const struct registry_result *result);

/*
 * Create an account as given. The registry sets its created_ms and, if it is 0, its id. -EEXIST:
 * the store has an account with this id.
 */
void registry_account_create(struct registry *registry, const struct store_account *account,
			     registry_done done, void *arg);

/* Changes to an account. NULL or -1 leaves a field unchanged. */
struct registry_change {
	const char *tier, *customer, *subscription, *label;
	int status;  /* enum store_status */
	int is_held; /* 0 or 1 */
	int mode;    /* enum store_mode */
	/*
	 * The ID of a charge to be added to the account's disputes or, with `is_dispute_over`, to
	 * be removed; NULL: neither. "*" removes all.
	 */
	const char *dispute;
	bool is_dispute_over;
};
#define REGISTRY_NO_CHANGE ((struct registry_change){ .status = -1, .is_held = -1, .mode = -1 })
void registry_account_set(struct registry *registry, uint64_t account,
			  const struct registry_change *change, registry_done done, void *arg);

/*
 * Delete an account, its keys and its usage. -EBUSY if it has usage that is to be billed and is not
 * closed yet; with @drops_usage that usage is deleted too.
 */
void registry_account_delete(struct registry *registry, uint64_t account, bool drops_usage,
			     registry_done done, void *arg);

/* The state of a subscription, from Stripe. Strings are copied. */
struct registry_subscription {
	const char *subscription, *customer;
	const char *email; /* NULL: leave unchanged */
	const char *tier;  /* "": no tier has this price, so there is no account, or no access */
	/*
	 * Whether the account gets no tier after all. Called with @arg when the change is made, so
	 * that it sees all earlier changes; @account is 0 if it is new. NULL: it gets the tier.
	 */
	bool (*withholds_tier)(void *arg, uint64_t account);
	const char *price;     /* the price that selected the tier */
	const char *features;  /* lookup keys separated by spaces; NULL: leave unchanged */
	const char *label;     /* for a new account only; later the operator sets it */
	const char *reference; /* client_reference_id; NULL: leave unchanged */
	const char *metadata;  /* as JSON */
	uint32_t seats;
	uint64_t account; /* the account that it is meant for, see below; 0: none */
	int status;	  /* enum store_status; -1: unknown to tollgate, leave unchanged */
	uint64_t past_due_since_ms; /* if it has become past due: since when; 0: now */
	enum store_mode mode;
	uint64_t period_start_s, period_end_s;
	uint64_t usage_start_s, usage_end_s; /* of the metered item, if another; else 0, 0 */
	uint64_t trial_end_s;		     /* 0: no trial */
	uint64_t cancel_at_s;		     /* 0: it will not be canceled */
	uint64_t as_of_s;		     /* Stripe's time of this state */
	uint64_t now_s;			     /* Stripe's time now; states cannot be later */
	bool is_snapshot;	       /* copied from an event, not just fetched from Stripe */
	bool is_listed;		       /* from a list, so of any time in the second `as_of_s` */
	void (*on_dropped)(void *arg); /* frees @arg if the change is dropped; NULL: not needed */
};

/*
 * Update the account of a subscription, or create it (with status incomplete if the status is
 * unknown). The operator's hold and label stay as they are.
 *
 * A subscription without an account may take over an existing one, so that a returning customer
 * keeps the account and its keys. That is the account that the subscription is meant for, if it has
 * no subscription or one that has ended; otherwise the customer's account whose subscription ended
 * last. It must have the same mode or none. Its grace and disputes end, because they belonged to
 * the former subscription.
 *
 * In three cases the subscription gets no account, neither a former nor a new one, and the result
 * has none:
 *   ended: the subscription has ended or has no tier
 *   snapshot: its customer has an account; the snapshot may be older than the subscription's end
 *   unpaid: it gives no access yet, and would replace access that needs no subscription
 *
 * Outdated states are ignored, with one exception:
 *   fetched: outdated if older than the known state
 *   snapshot: outdated if not newer than the known state, or if the subscription has ended for good
 *	(canceled, incomplete_expired)
 *   listed: outdated if older than the known state, and in doubt if it differs from one of the same
 *	second; then nothing changes, and the caller must fetch the subscription
 * Events of test clocks are dated by a simulated time, which may be far in the future. So a known
 * state that claims to be later than now counts as old, and a snapshot's time is at most now.
 * The exception: a snapshot with status canceled ends the subscription even if it is outdated. Then
 * only the status is taken from it.
 *
 * If nothing changes, at most a later as_of_s is written, and `is_changed` is false. -ENOSPC: no
 * slot is free.
 */
void registry_subscription_apply(struct registry *registry, const struct registry_subscription *s,
				 registry_done done, void *arg);

/*
 * Set the entitlements of all accounts of @customer to @features (lookup keys separated by spaces).
 * `changed` counts the accounts that had others; `account` is any of the customer's accounts.
 * -ENOENT: the customer has no account. After any other error, some accounts may have been changed.
 */
void registry_account_entitle(struct registry *registry, const char *customer, const char *features,
			      registry_done done, void *arg);

/* Create a key for @account. */
void registry_key_create(struct registry *registry, uint64_t account, const char *label,
			 registry_done done, void *arg);

/* Revoke @key from now on, or from @at_ms on if that is later. */
void registry_key_revoke(struct registry *registry, uint64_t key, uint64_t at_ms,
			 registry_done done, void *arg);

/*
 * Revoke all current keys of @account now, at the same time on every worker. `changed` counts them.
 */
void registry_keys_revoke(struct registry *registry, uint64_t account, registry_done done,
			  void *arg);

/*
 * The same as registry_key_create(), but only once for each @session. Every further call with the
 * same @session gets -EEXIST, for any account, even if the key was revoked since. The claim is
 * stored as the task @session of the queue REGISTRY_CLAIMS, in state done, with the key's id as its
 * object. -EINVAL: @session is empty, or has STORE_TASK_ID_MAX bytes or more.
 */
#define REGISTRY_CLAIMS "claim"
void registry_key_claim(struct registry *registry, uint64_t account, const char *session,
			const char *label, registry_done done, void *arg);

/* Create a new key for the account of @key, which ends after @overlap_ms. */
void registry_key_rotate(struct registry *registry, uint64_t key, uint64_t overlap_ms,
			 registry_done done, void *arg);

/* An existing key from another system, which @account will use from now on. */
struct registry_import {
	uint64_t account;
	struct text key;   /* borrowed during the call */
	struct text label; /* borrowed during the call; may be empty */
};

/*
 * Import keys, all or none. A key that its account has already, or that comes twice in @imports,
 * counts as `present`. A key that another account has fails with -EEXIST. The caller has checked
 * that the keys are plausible (key.h).
 */
void registry_keys_import(struct registry *registry, const struct registry_import *imports,
			  size_t count, registry_done done, void *arg);

#endif
