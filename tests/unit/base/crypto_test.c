/* SPDX-License-Identifier: BSD-2-Clause */
/* crypto_test: HMAC-SHA-256 against RFC 4231, comparison, and random bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "base/text.h"

/* A text, or one byte many times. */
struct bytes {
	const char *text;
	uint8_t byte;
	size_t count;
};

static size_t expand(const struct bytes *bytes, uint8_t *ret)
{
	if (bytes->text) {
		memcpy(ret, bytes->text, strlen(bytes->text));
		return strlen(bytes->text);
	}
	memset(ret, bytes->byte, bytes->count);
	return bytes->count;
}

static void hmac_is_that_of_rfc_4231(void **state)
{
	static const struct {
		struct bytes key, data;
		const char *hash;
	} rows[] = {
		{ { NULL, 0x0b, 20 },
		  { "Hi There", 0, 0 },
		  "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
		{ { "Jefe", 0, 0 },
		  { "what do ya want for nothing?", 0, 0 },
		  "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
		{ { NULL, 0xaa, 20 },
		  { NULL, 0xdd, 50 },
		  "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe" },
		{ { NULL, 0xaa, 131 },
		  { "Test Using Larger Than Block-Size Key - Hash Key First", 0, 0 },
		  "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
		{ { NULL, 0xaa, 131 },
		  { "This is a test using a larger than block-size key and a larger than "
		    "block-size "
		    "data. The key needs to be hashed before being used by the HMAC algorithm.",
		    0, 0 },
		  "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t key[256], data[256], hash[CRYPTO_HASH_BYTES];
		struct crypto_hmac *hmac = crypto_hmac_new(key, expand(&rows[i].key, key));
		size_t len = expand(&rows[i].data, data);
		char hex[2 * CRYPTO_HASH_BYTES + 1];

		assert_non_null(hmac);
		memset(key, 0, sizeof(key)); /* the caller may wipe it */
		for (int again = 0; again < 2; again++) {
			crypto_hmac_sha256(hmac, data, len, hash);
			text_hex(hash, sizeof(hash), hex);
			assert_string_equal(hex, rows[i].hash);
		}
		crypto_hmac_free(hmac);
	}
}

static void comparison_sees_every_byte(void **state)
{
	uint8_t a[64] = { 0 }, b[64] = { 0 };

	(void)state;
	assert_true(crypto_equal(a, b, sizeof(a)));
	assert_true(crypto_equal(a, b, 0));
	for (size_t i = 0; i < 8 * sizeof(b); i++) {
		b[i / 8] ^= 1 << i % 8;
		assert_false(crypto_equal(a, b, sizeof(a)));
		b[i / 8] ^= 1 << i % 8;
	}
}

static void random_bytes_fill_all_and_differ(void **state)
{
	uint8_t a[4096] = { 0 }, b[4096] = { 0 }, zeros[32] = { 0 };

	(void)state;
	assert_int_equal(crypto_random(a, sizeof(a)), 0);
	assert_int_equal(crypto_random(b, sizeof(b)), 0);
	assert_memory_not_equal(a, b, sizeof(a));
	for (size_t i = 0; i < sizeof(a); i += sizeof(zeros))
		assert_memory_not_equal(a + i, zeros, sizeof(zeros));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hmac_is_that_of_rfc_4231),
		cmocka_unit_test(comparison_sees_every_byte),
		cmocka_unit_test(random_bytes_fill_all_and_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
