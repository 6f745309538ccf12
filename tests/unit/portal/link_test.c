/* SPDX-License-Identifier: BSD-2-Clause */
/* link_test: the tokens in links that customers are sent. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "portal/link.h"
#include "portal/session.h"

#define NOW_S 1760000000ULL

static struct crypto_hmac *make_secret(const char *pepper)
{
	struct crypto_hmac *hmac = crypto_hmac_new(pepper, strlen(pepper));
	struct crypto_hmac *secret = session_secret(hmac);

	crypto_hmac_free(hmac);
	return secret;
}

static void a_link_is_valid_until_it_expires(void **state)
{
	struct crypto_hmac *secret = make_secret("a pepper of a store");
	char token[LINK_SIZE], other[LINK_SIZE];
	struct link_token read;

	(void)state;
	assert_int_equal(link_write(secret, "a", "J\xc3\xb6rg-1@example.com", NOW_S + 60, token),
			 0);
	assert_int_equal(link_read(secret, "a", text_of(token), NOW_S + 59, &read), 0);
	assert_string_equal(read.subject, "J\xc3\xb6rg-1@example.com");
	assert_true(read.expires_s == NOW_S + 60 && strlen(read.id) == 32);
	assert_int_equal(link_read(secret, "a", text_of(token), NOW_S + 60, &read), -ETIMEDOUT);
	/* Each has its own ID. */
	assert_int_equal(link_write(secret, "a", "J\xc3\xb6rg-1@example.com", NOW_S + 60, other),
			 0);
	assert_string_not_equal(token, other);
	crypto_hmac_free(secret);
}

static void nobody_else_can_write_one(void **state)
{
	struct crypto_hmac *secret = make_secret("a pepper of a store");
	struct crypto_hmac *other = make_secret("the pepper of another");
	char token[LINK_SIZE], changed[LINK_SIZE];
	struct link_token read;

	(void)state;
	assert_int_equal(link_write(secret, "a", "x@example.com", NOW_S + 60, token), 0);
	assert_int_equal(link_read(secret, "b", text_of(token), NOW_S, &read), -EBADMSG);
	assert_int_equal(link_read(other, "a", text_of(token), NOW_S, &read), -EBADMSG);
	for (size_t i = 0; token[i]; i++) {
		strcpy(changed, token);
		changed[i] = token[i] == '1' ? '2' : '1';
		assert_int_equal(link_read(secret, "a", text_of(changed), NOW_S, &read), -EBADMSG);
		assert_int_equal(link_read(secret, "a", (struct text){ token, i }, NOW_S, &read),
				 -EBADMSG);
	}
	crypto_hmac_free(secret);
	crypto_hmac_free(other);
}

static void subjects_have_a_limit(void **state)
{
	struct crypto_hmac *secret = make_secret("a pepper of a store");
	char subject[LINK_SUBJECT_MAX + 1], token[LINK_SIZE];
	struct link_token read;

	(void)state;
	memset(subject, 'x', sizeof(subject));
	subject[LINK_SUBJECT_MAX] = '\0';
	assert_int_equal(link_write(secret, "a", subject, UINT64_MAX, token), -EINVAL);
	assert_int_equal(link_write(secret, "a", "", UINT64_MAX, token), -EINVAL);
	subject[LINK_SUBJECT_MAX - 1] = '\0';
	assert_int_equal(link_write(secret, "a", subject, UINT64_MAX, token), 0);
	assert_int_equal(link_read(secret, "a", text_of(token), NOW_S, &read), 0);
	assert_string_equal(read.subject, subject);
	crypto_hmac_free(secret);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_link_is_valid_until_it_expires),
		cmocka_unit_test(nobody_else_can_write_one),
		cmocka_unit_test(subjects_have_a_limit),
	};

	return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
