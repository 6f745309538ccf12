/* SPDX-License-Identifier: BSD-2-Clause */
/* account: rules about a single account: entitlement, status, ids. */
#include "enforce/account.h"

#include <errno.h>
#include <endian.h>

#include "base/crypto.h"

bool account_is_of_other_mode(const struct store_account *account, enum store_mode mode)
{
	/*
	 * A subscription that is gone keeps its last status: if the secret key is that of a wrong
	 * Stripe account, all of them seem to be gone.
	 */
	return account->mode && mode && account->mode != STORE_MODE_GONE && account->mode != mode;
}

bool account_is_entitled(const struct store_account *account, enum store_mode mode,
			 uint64_t grace_ms, uint64_t wall_ms)
{
	if (account->is_held || account->disputes[0] || account_is_of_other_mode(account, mode))
		return false;
	switch (account->status) {
	case STORE_ACTIVE:
	case STORE_TRIALING:
		return true;
	case STORE_PAST_DUE:
		return wall_ms < account->past_due_ms + grace_ms;
	default:
		return false;
	}
}

bool account_status_gives_access(enum store_status status)
{
	return status == STORE_ACTIVE || status == STORE_TRIALING || status == STORE_PAST_DUE;
}

void account_set_status(struct store_account *account, enum store_status status, uint64_t failed_ms)
{
	account->status = status;
	if (status == STORE_ACTIVE || status == STORE_TRIALING)
		account->past_due_ms = 0;
	else if (status == STORE_PAST_DUE && !account->past_due_ms)
		account->past_due_ms = failed_ms;
}

bool account_status_is_final(int status)
{
	return status == STORE_CANCELED || status == STORE_INCOMPLETE_EXPIRED;
}

bool account_is_same(const struct store_account *a, const struct store_account *b)
{
	return a->id == b->id && a->status == b->status && a->is_held == b->is_held &&
	       a->created_ms == b->created_ms && a->past_due_ms == b->past_due_ms &&
	       a->period_start_s == b->period_start_s && a->period_end_s == b->period_end_s &&
	       a->trial_end_s == b->trial_end_s && a->cancel_at_s == b->cancel_at_s &&
	       a->mode == b->mode && a->usage_start_s == b->usage_start_s &&
	       a->usage_end_s == b->usage_end_s && !strcmp(a->disputes, b->disputes) &&
	       !strcmp(a->price, b->price) && !strcmp(a->email, b->email) &&
	       !strcmp(a->features, b->features) && !strcmp(a->tier, b->tier) &&
	       !strcmp(a->customer, b->customer) && !strcmp(a->subscription, b->subscription) &&
	       !strcmp(a->label, b->label) && a->seats == b->seats &&
	       !strcmp(a->reference, b->reference) && !strcmp(a->metadata, b->metadata);
}

static void format_id(const char *kind, uint64_t id, char ret_text[ACCOUNT_ID_SIZE])
{
	uint64_t id_be64 = htobe64(id);

	memcpy(ret_text, kind, 4);
	text_hex(&id_be64, sizeof(id_be64), ret_text + 4);
}

static int parse_id(struct text kind, struct text text, uint64_t *ret_id)
{
	uint8_t bytes[8];
	uint64_t id = 0;

	if (!text_starts(text, kind) ||
	    text_parse_hex((struct text){ text.ptr + kind.len, text.len - kind.len }, bytes,
			   sizeof(bytes)))
		return -EINVAL;
	for (unsigned i = 0; i < sizeof(bytes); i++)
		id = id << 8 | bytes[i];
	if (!id)
		return -EINVAL;
	*ret_id = id;
	return 0;
}

void account_format_id(uint64_t id, char ret_text[ACCOUNT_ID_SIZE])
{
	format_id("acc_", id, ret_text);
}

int account_parse_id(struct text text, uint64_t *ret_id)
{
	return parse_id(TEXT("acc_"), text, ret_id);
}

void account_format_key_id(uint64_t id, char ret_text[ACCOUNT_ID_SIZE])
{
	format_id("key_", id, ret_text);
}

int account_parse_key_id(struct text text, uint64_t *ret_id)
{
	return parse_id(TEXT("key_"), text, ret_id);
}

int account_new_id(uint64_t *ret_id)
{
	uint64_t id = 0;
	int err = 0;

	while (!id && !err) {
		err = crypto_random(&id, sizeof(id));
		id >>= 1; /* stores have signed numbers */
	}
	if (!err)
		*ret_id = id;
	return err;
}
