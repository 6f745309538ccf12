/* SPDX-License-Identifier: BSD-2-Clause */
/* claim_ticket_test: the tokens of claim links. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "portal/claim_link.h"
#include "portal/session.h"

#define NOW_S 1760000000ULL

static struct crypto_hmac *make_secret(const char *pepper)
{
	struct crypto_hmac *hmac = crypto_hmac_new(pepper, strlen(pepper));
	struct crypto_hmac *secret = session_secret(hmac);

	crypto_hmac_free(hmac);
	return secret;
}

static void a_ticket_is_valid_until_it_expires(void **state)
{
	const struct claim_ticket ticket = { 0xfedcba9876543210, NOW_S + 60, "cs_test_a1B2" };
	struct crypto_hmac *secret = make_secret("a pepper of a store");
	char token[CLAIM_LINK_SIZE];
	struct claim_ticket read;

	(void)state;
	assert_int_equal(claim_ticket_write(secret, &ticket, token), 0);
	assert_int_equal(claim_ticket_read(secret, text_of(token), NOW_S + 59, &read), 0);
	assert_true(read.account == ticket.account && read.expires_s == ticket.expires_s);
	assert_string_equal(read.id, ticket.id);
	assert_int_equal(claim_ticket_read(secret, text_of(token), NOW_S + 60, &read), -ETIMEDOUT);
	crypto_hmac_free(secret);
}

static void nobody_else_can_write_one(void **state)
{
	const struct claim_ticket ticket = { 1, NOW_S + 60, "acc_0000000000000001" };
	struct crypto_hmac *secret = make_secret("a pepper of a store");
	struct crypto_hmac *other = make_secret("the pepper of another");
	char token[CLAIM_LINK_SIZE], changed[CLAIM_LINK_SIZE];
	struct claim_ticket read;

	(void)state;
	assert_int_equal(claim_ticket_write(secret, &ticket, token), 0);
	assert_int_equal(claim_ticket_read(other, text_of(token), NOW_S, &read), -EBADMSG);
	for (size_t i = 0; token[i]; i++) {
		strcpy(changed, token);
		changed[i] = token[i] == '1' ? '2' : '1';
		assert_int_equal(claim_ticket_read(secret, text_of(changed), NOW_S, &read),
				 -EBADMSG);
		assert_int_equal(claim_ticket_read(secret, (struct text){ token, i }, NOW_S, &read),
				 -EBADMSG);
	}
	crypto_hmac_free(secret);
	crypto_hmac_free(other);
}

static void the_longest_id_fits(void **state)
{
	struct crypto_hmac *secret = make_secret("a pepper of a store");
	struct claim_ticket ticket = { UINT64_MAX, UINT64_MAX, "" }, read;
	char token[CLAIM_LINK_SIZE];

	(void)state;
	memset(ticket.id, 'x', sizeof(ticket.id) - 1);
	assert_int_equal(claim_ticket_write(secret, &ticket, token), 0);
	assert_int_equal(claim_ticket_read(secret, text_of(token), NOW_S, &read), 0);
	assert_string_equal(read.id, ticket.id);
	assert_true(read.account == UINT64_MAX && read.expires_s == UINT64_MAX);
	crypto_hmac_free(secret);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ticket_is_valid_until_it_expires),
		cmocka_unit_test(nobody_else_can_write_one),
		cmocka_unit_test(the_longest_id_fits),
	};

	return cmocka_run_group_tests_name("claim_ticket", tests, NULL, NULL);
}
