/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * session_test: cookies and tokens are accepted only if the portal made them, for their purpose and
 * until they expire. Also the limiter.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "portal/limiter.h"
#include "portal/session.h"

#define NOW 1800000000ULL
#define KEY 0x0123456789abcdefULL

struct fixture {
	struct crypto_hmac *pepper, *secret;
	char cookie[SESSION_TEXT_SIZE];
};

static struct crypto_hmac *new_secret(const char *words, struct crypto_hmac **ret_pepper)
{
	*ret_pepper = crypto_hmac_new(words, strlen(words));
	return session_secret(*ret_pepper);
}

static int set_up(void **state)
{
	static struct fixture f;

	f.secret = new_secret("pepper", &f.pepper);
	session_write(f.secret, KEY, NOW + SESSION_SECONDS, f.cookie);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	crypto_hmac_free(f->secret);
	crypto_hmac_free(f->pepper);
	return 0;
}

static void a_session_is_read_until_it_ends(void **state)
{
	struct fixture *f = *state;
	uint64_t key = 0;

	assert_int_equal(session_read(f->secret, text_of(f->cookie), NOW, &key), 0);
	assert_true(key == KEY);
	assert_int_equal(
		session_read(f->secret, text_of(f->cookie), NOW + SESSION_SECONDS - 1, &key), 0);
	assert_int_equal(session_read(f->secret, text_of(f->cookie), NOW + SESSION_SECONDS, &key),
			 -ETIMEDOUT);
	assert_int_equal(session_read(f->secret, text_of(f->cookie), NOW - 1, &key), -ETIMEDOUT);
}

static void no_byte_of_a_session_can_be_changed(void **state)
{
	struct fixture *f = *state;
	uint64_t key = 1;

	for (size_t i = 0; i < strlen(f->cookie); i++) {
		char changed[SESSION_TEXT_SIZE];

		memcpy(changed, f->cookie, sizeof(changed));
		changed[i] = changed[i] == '0' ? '1' : '0';
		if (session_read(f->secret, text_of(changed), NOW, &key) != -EBADMSG)
			fail_msg("byte %zu", i);
	}
	assert_int_equal(session_read(f->secret, (struct text){ f->cookie, strlen(f->cookie) - 1 },
				      NOW, &key),
			 -EBADMSG);
	assert_int_equal(session_read(f->secret, TEXT(""), NOW, &key), -EBADMSG);
	assert_true(key == 1);
}

static void a_session_is_valid_only_with_its_pepper(void **state)
{
	struct fixture *f = *state;
	struct crypto_hmac *pepper, *other = new_secret("paprika", &pepper);
	uint64_t key;

	assert_int_equal(session_read(other, text_of(f->cookie), NOW, &key), -EBADMSG);
	crypto_hmac_free(other);
	crypto_hmac_free(pepper);
	other = new_secret("pepper", &pepper); /* as after a restart */
	assert_int_equal(session_read(other, text_of(f->cookie), NOW, &key), 0);
	crypto_hmac_free(other);
	crypto_hmac_free(pepper);
}

static void a_seal_is_valid_for_one_purpose(void **state)
{
	struct fixture *f = *state;
	char seal[SESSION_SEAL_SIZE];
	static char big[2000];

	session_seal(f->secret, "rotate", TEXT("x"), seal);
	assert_true(session_is_sealed(f->secret, "rotate", TEXT("x"), text_of(seal)));
	assert_false(session_is_sealed(f->secret, "revoke", TEXT("x"), text_of(seal)));
	assert_false(session_is_sealed(f->secret, "rotate", TEXT("y"), text_of(seal)));
	assert_false(session_is_sealed(f->secret, "rotat", TEXT("ex"), text_of(seal)));
	assert_false(session_is_sealed(f->secret, "rotate", TEXT("x"), TEXT("")));
	/* A text that is too long gets a seal that is never valid. */
	session_seal(f->secret, "rotate", (struct text){ big, sizeof(big) }, seal);
	assert_false(session_is_sealed(f->secret, "rotate", (struct text){ big, sizeof(big) },
				       text_of(seal)));
}

static void attempts_are_limited_by_source(void **state)
{
	static struct limiter limiter;
	uint64_t now = NOW;

	(void)state;
	limiter_init(&limiter, 1000, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(limiter_wait_ns(&limiter, 7, now), 0);
		limiter_charge(&limiter, 7, now);
	}
	assert_int_equal(limiter_wait_ns(&limiter, 7, now), 1000);
	assert_int_equal(limiter_wait_ns(&limiter, 8, now), 0);
	assert_int_equal(limiter_wait_ns(&limiter, 7, now + 1000), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_session_is_read_until_it_ends),
		cmocka_unit_test(no_byte_of_a_session_can_be_changed),
		cmocka_unit_test(a_session_is_valid_only_with_its_pepper),
		cmocka_unit_test(a_seal_is_valid_for_one_purpose),
		cmocka_unit_test(attempts_are_limited_by_source),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
