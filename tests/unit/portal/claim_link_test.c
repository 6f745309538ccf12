/* SPDX-License-Identifier: BSD-2-Clause */
/* claim_link_test: the tokens of claim links, and which claim an account's first key has. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "portal/claim_link.h"
#include "portal/session.h"

#define NOW_S 1760000000ULL

static struct crypto_hmac *make_secret(void)
{
	struct crypto_hmac *pepper = crypto_hmac_new("a pepper of a store", 19);
	struct crypto_hmac *secret = session_secret(pepper);

	crypto_hmac_free(pepper);
	return secret;
}

static void a_token_says_what_was_written(void **state)
{
	struct claim_link links[] = {
		{ .account = 1 },
		{ .account = UINT64_MAX, .claim = "more_0123456789abcdef0123456789abcdef" },
		{ .account = 0x1234, .label = " two  spaces J\xc3\xb6rg " },
		{ .account = 7, .claim = "more_1", .label = "a label" },
		{ .account = 8 }, /* filled below */
	};
	struct crypto_hmac *secret = make_secret();
	char token[LINK_SIZE];
	struct claim_link read;

	(void)state;
	memset(links[4].claim, 'c', sizeof(links[4].claim) - 1);
	memset(links[4].label, 'l', sizeof(links[4].label) - 1);
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		assert_int_equal(claim_link_write(secret, &links[i], NOW_S + 1, token), 0);
		assert_int_equal(claim_link_read(secret, token, NOW_S, &read), 0);
		assert_true(read.account == links[i].account);
		assert_string_equal(read.claim, links[i].claim);
		assert_string_equal(read.label, links[i].label);
		assert_int_equal(claim_link_read(secret, token, NOW_S + 1, &read), -ETIMEDOUT);
	}
	crypto_hmac_free(secret);
}

static void other_tokens_are_refused(void **state)
{
	static const struct {
		const char *purpose, *subject, *why;
	} cases[] = {
		{ "recovery", "acc_0000000000000001  ", "another purpose" },
		{ "claim link", "acc_0000000000000001", "no claim and no label" },
		{ "claim link", "acc_0000000000000001 more_1", "no label" },
		{ "claim link", "acc_000000000000001  ", "an account's ID that is too short" },
		{ "claim link", "acc_0000000000000000  ", "no account has the ID 0" },
		{ "claim link", "key_0000000000000001  ", "a key's ID" },
		{ "claim link", "  ", "nothing" },
	};
	struct crypto_hmac *secret = make_secret();
	char token[LINK_SIZE], subject[LINK_SUBJECT_MAX];
	struct claim_link read;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(
			link_write(secret, cases[i].purpose, cases[i].subject, NOW_S + 1, token),
			0);
		if (claim_link_read(secret, token, NOW_S, &read) != -EBADMSG)
			fail_msg("%s: accepted", cases[i].why);
	}
	snprintf(subject, sizeof(subject), "acc_0000000000000001 %0*d ", CLAIM_LINK_ID_SIZE, 0);
	assert_int_equal(link_write(secret, "claim link", subject, NOW_S + 1, token), 0);
	assert_int_equal(claim_link_read(secret, token, NOW_S, &read), -EBADMSG);
	snprintf(subject, sizeof(subject), "acc_0000000000000001  %0*d", STORE_LABEL_MAX, 0);
	assert_int_equal(link_write(secret, "claim link", subject, NOW_S + 1, token), 0);
	assert_int_equal(claim_link_read(secret, token, NOW_S, &read), -EBADMSG);
	crypto_hmac_free(secret);
}

static void the_first_key_belongs_to_the_subscription(void **state)
{
	struct store_account account = { .id = 0x12 };
	char own[CLAIM_LINK_ID_SIZE], first[CLAIM_LINK_ID_SIZE], second[CLAIM_LINK_ID_SIZE];

	(void)state;
	claim_first_id(&account, own);
	snprintf(account.subscription, sizeof(account.subscription), "sub_1");
	claim_first_id(&account, first);
	snprintf(account.subscription, sizeof(account.subscription), "sub_2");
	claim_first_id(&account, second);
	assert_string_equal(own, "start_acc_0000000000000012_0"); /* created then */
	assert_string_equal(first, "sub_1");
	assert_string_equal(second, "sub_2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_says_what_was_written),
		cmocka_unit_test(other_tokens_are_refused),
		cmocka_unit_test(the_first_key_belongs_to_the_subscription),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
