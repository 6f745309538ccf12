/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * registry: changes of accounts and keys, to the store first and then to the mirror.
 *
 * Changes are worked one after the other, in the order they were asked for, so that each one sees
 * what the one before it did. When a callback says 0 the change is durable, and every worker and XDP
 * go by it. Control loop only.
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

/* All borrowed. NULL when memory is short. */
struct registry *registry_new(struct store *store, struct mirror *mirror,
			      const struct crypto_hmac *pepper, const char *key_prefix);

/* Changes that wait are dropped without a callback. Accepts NULL. */
void registry_free(struct registry *registry);

/*
 * What came of a change; it may come before the call returns. Pointers live during the callback; those
 * that do not apply are NULL, and after an error all are.
 */
struct registry_result {
	int err; /* 0; -ENOENT, -EEXIST, -ENOSPC (slots or disk), -EBUSY, -EIO, -ENOBUFS (too many wait) */
	const struct store_account *account;
	const struct store_key *key;
	const char *key_text;  /* the new key itself: shown once, kept nowhere */
	size_t added, present; /* import */
	size_t failed_at; /* import: which one -ENOENT or -EEXIST is about; SIZE_MAX: not known */
	const struct store_account *before; /* `account` before the change; NULL: it is new */
	bool is_changed;		    /* of accounts: whether it says anything new */
	size_t changed; /* keys ended by registry_keys_revoke(), accounts by registry_account_entitle() */
};
typedef void (*registry_done)(void *arg, const struct registry_result *result);

/* Make an account as given; its id and created_ms are filled in. */
void registry_account_create(struct registry *registry, const struct store_account *account,
			     registry_done done, void *arg);

/* What is to be changed of an account; NULL or -1: leave as it is. */
struct registry_change {
	const char *tier, *customer, *subscription, *label;
	int status;  /* enum store_status */
	int is_held; /* 0 or 1 */
};
void registry_account_set(struct registry *registry, uint64_t account,
			  const struct registry_change *change, registry_done done, void *arg);

/* What Stripe says of a subscription. Texts are copied. */
struct registry_subscription {
	const char *subscription, *customer;
	const char *email;    /* NULL: leave as it is */
	const char *tier;     /* "": no tier has its price, and the account is not entitled */
	const char *price;    /* that gave the tier */
	const char *features; /* lookup keys between spaces; NULL: leave as they are */
	const char *label;    /* for an account that is made; later it is the operator's */
	int status;	      /* enum store_status; -1: no word that is known, leave it as it is */
	uint64_t past_due_since_ms; /* if it is past due now and was not: since when; 0: now */
	uint64_t period_start_s, period_end_s;
	uint64_t trial_end_s; /* 0: no trial */
	uint64_t cancel_at_s; /* 0: it goes on */
	uint64_t as_of_s;     /* Stripe's time at which it was so */
	bool is_snapshot;     /* an event's own copy, and not fetched just now */
};

/*
 * Bring the account of a subscription up to date; one that is not there is made (with an unknown
 * status: incomplete). The operator's hold and label stay. What is older than what is known is ignored:
 * a fetched one only if it is, a snapshot also if it is as old, or if the subscription has ended for
 * good (canceled, incomplete_expired). But that it was canceled is believed of any snapshot: of an older
 * one that alone. Without a change nothing is written, and `is_changed` is false. -ENOSPC: all slots are
 * taken.
 */
void registry_subscription_apply(struct registry *registry, const struct registry_subscription *s,
				 registry_done done, void *arg);

/*
 * Let all accounts of @customer have the entitlements @features (lookup keys between spaces). Accounts
 * that have them are left alone; `changed` counts the others, and `account` is one of them all. -ENOENT:
 * it has no account. After another error some may have been changed.
 */
void registry_account_entitle(struct registry *registry, const char *customer, const char *features,
			      registry_done done, void *arg);

void registry_key_create(struct registry *registry, uint64_t account, const char *label,
			 registry_done done, void *arg);

/* From now on, or from @at_ms on if that is later. */
void registry_key_revoke(struct registry *registry, uint64_t key, uint64_t at_ms,
			 registry_done done, void *arg);

/* All keys that @account has now, from now on, at once for every worker; `changed` counts them. */
void registry_keys_revoke(struct registry *registry, uint64_t account, registry_done done,
			  void *arg);

/*
 * As registry_key_create(), but once for each @session: -EEXIST for every further time, on whichever
 * account, and whatever became of the key. The claim is the task @session of queue REGISTRY_CLAIMS,
 * done, with the key's id as its object. -EINVAL: no session, or one of STORE_TASK_ID_MAX bytes.
 */
#define REGISTRY_CLAIMS "claim"
void registry_key_claim(struct registry *registry, uint64_t account, const char *session,
			const char *label, registry_done done, void *arg);

/* A new key for the same account; the old one ends after @overlap_ms. */
void registry_key_rotate(struct registry *registry, uint64_t key, uint64_t overlap_ms,
			 registry_done done, void *arg);

/* A foreign key, to be known for @account from now on. */
struct registry_import {
	uint64_t account;
	struct text key;   /* borrowed during the call */
	struct text label; /* likewise; may be empty */
};

/*
 * Import keys, all or none. One that its account has already, be it further up in @imports, is counted
 * as present; one that another account has is -EEXIST. Keys must be plausible (key.h): the caller has
 * checked.
 */
void registry_keys_import(struct registry *registry, const struct registry_import *imports,
			  size_t count, registry_done done, void *arg);

#endif
