/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * crypto: random bytes, HMAC-SHA-256, and comparison in constant time.
 *
 * HMAC (RFC 2104) is built on OpenSSL's SHA256_* functions. Their context is a plain struct, so the
 * two padded key blocks are compressed once and the contexts are then copied. OpenSSL 3 deprecates
 * these functions in favour of EVP_MAC, but copying a prepared EVP_MAC context takes longer than
 * the hash.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "base/crypto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/crypto.h>
#include <openssl/sha.h>

struct crypto_hmac {
	SHA256_CTX inner; /* after key ^ ipad */
	SHA256_CTX outer; /* after key ^ opad */
};

int crypto_random(void *ret_bytes, size_t len)
{
	unsigned char *at = ret_bytes;

	while (len) {
		ssize_t got = getrandom(at, len, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		at += got;
		len -= (size_t)got;
	}
	return 0;
}

bool crypto_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

struct crypto_hmac *crypto_hmac_new(const void *key, size_t key_len)
{
	struct crypto_hmac *hmac = calloc(1, sizeof(*hmac));
	unsigned char block[SHA256_CBLOCK] = { 0 };

	if (!hmac)
		return NULL;
	if (key_len > sizeof(block))
		SHA256(key, key_len, block);
	else if (key_len)
		memcpy(block, key, key_len);
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] ^= 0x36;
	SHA256_Init(&hmac->inner);
	SHA256_Update(&hmac->inner, block, sizeof(block));
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] ^= 0x36 ^ 0x5c;
	SHA256_Init(&hmac->outer);
	SHA256_Update(&hmac->outer, block, sizeof(block));
	OPENSSL_cleanse(block, sizeof(block));
	return hmac;
}

void crypto_hmac_free(struct crypto_hmac *hmac)
{
	if (!hmac)
		return;
	OPENSSL_cleanse(hmac, sizeof(*hmac));
	free(hmac);
}

void crypto_hmac_sha256(const struct crypto_hmac *hmac, const void *data, size_t len,
			uint8_t ret_hash[CRYPTO_HASH_BYTES])
{
	SHA256_CTX ctx = hmac->inner;

	SHA256_Update(&ctx, data, len);
	SHA256_Final(ret_hash, &ctx);
	ctx = hmac->outer;
	SHA256_Update(&ctx, ret_hash, CRYPTO_HASH_BYTES);
	SHA256_Final(ret_hash, &ctx);
}
