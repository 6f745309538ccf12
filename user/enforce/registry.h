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

void registry_key_create(struct registry *registry, uint64_t account, const char *label,
			 registry_done done, void *arg);

/* From now on, or from @at_ms on if that is later. */
void registry_key_revoke(struct registry *registry, uint64_t key, uint64_t at_ms,
			 registry_done done, void *arg);

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
