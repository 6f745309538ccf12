/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * account: one account as the mirror holds it, and whether it is entitled.
 */
#ifndef ENFORCE_ACCOUNT_H
#define ENFORCE_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "store/store.h"

#define ACCOUNT_ID_SIZE 21 /* "acc_" or "key_", 16 hex digits, NUL */

/*
 * Whether this account may use the API at @wall_ms. Active and trialing may; past_due may until
 * @grace_ms after it began; every other status may not, and the operator's hold outranks them all.
 */
bool account_is_entitled(const struct store_account *account, uint64_t grace_ms, uint64_t wall_ms);

/*
 * Let @account have @status from now on. Grace begins when payment first fails, at @failed_ms; only
 * active and trialing end it, so that one who goes from past_due to unpaid and back gets no second one.
 */
void account_set_status(struct store_account *account, enum store_status status,
			uint64_t failed_ms);

/* Whether both say the same; when it was so does not count. */
bool account_is_same(const struct store_account *a, const struct store_account *b);

/* "acc_0123456789abcdef", and back; -EINVAL for anything else. */
void account_format_id(uint64_t id, char ret_text[ACCOUNT_ID_SIZE]);
int account_parse_id(struct text text, uint64_t *ret_id);

/* The same for keys: "key_...". */
void account_format_key_id(uint64_t id, char ret_text[ACCOUNT_ID_SIZE]);
int account_parse_key_id(struct text text, uint64_t *ret_id);

/* A fresh random id, never 0. 0 or a negative errno. */
int account_new_id(uint64_t *ret_id);

#endif
