/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * account: rules about a single account: entitlement, status, ids. Pure, but for account_new_id().
 */
#ifndef ENFORCE_ACCOUNT_H
#define ENFORCE_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "store/store.h"

#define ACCOUNT_ID_SIZE 21 /* "acc_" or "key_", 16 hex digits, NUL */

/*
 * Whether the account may use the API at @wall_ms. Active and trialing accounts may; a past-due
 * account may until @grace_ms after its first failed payment; others may not. The operator's hold,
 * a dispute that suspends the account, and a subscription of the other mode than @mode override
 * all. STORE_MODE_NONE, as the account's mode or @mode, fits any mode.
 */
bool account_is_entitled(const struct store_account *account, enum store_mode mode,
			 uint64_t grace_ms, uint64_t wall_ms);

/* Whether the account's subscription is of the other mode than @mode. */
bool account_is_of_other_mode(const struct store_account *account, enum store_mode mode);

/* Whether @status gives access, in the case of past_due while grace lasts. */
bool account_status_gives_access(enum store_status status);

/* Whether a subscription with this status has ended for good. Stripe never changes it again. */
bool account_status_is_final(int status);

/*
 * Set the status of @account. Grace starts with the first failed payment, at @failed_ms. Only the
 * statuses active and trialing end it: an account that goes from past_due to unpaid and back gets
 * no second grace.
 */
void account_set_status(struct store_account *account, enum store_status status,
			uint64_t failed_ms);

/* Whether two accounts are equal, apart from `as_of_s`, the time at which Stripe said so. */
bool account_is_same(const struct store_account *a, const struct store_account *b);

/* Write an id as "acc_" and 16 hex digits; parse one: 0 or -EINVAL. */
void account_format_id(uint64_t id, char ret_text[ACCOUNT_ID_SIZE]);
int account_parse_id(struct text text, uint64_t *ret_id);

/* The same for ids of keys: "key_" and 16 hex digits. */
void account_format_key_id(uint64_t id, char ret_text[ACCOUNT_ID_SIZE]);
int account_parse_key_id(struct text text, uint64_t *ret_id);

/* Make a new random id, never 0, for an account or a key. 0, or the error of crypto_random(). */
int account_new_id(uint64_t *ret_id);

#endif
