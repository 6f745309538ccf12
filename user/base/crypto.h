/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * crypto: random bytes, HMAC-SHA-256 and comparison in constant time, on OpenSSL and the kernel.
 */
#ifndef BASE_CRYPTO_H
#define BASE_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRYPTO_HASH_BYTES 32

/* Fill @ret_bytes from the kernel's random source (getrandom). 0 or a negative errno. Any thread. */
int crypto_random(void *ret_bytes, size_t len);

/* Whether both are the same @len bytes, in a time that does not tell where they differ. */
bool crypto_equal(const void *a, const void *b, size_t len);

/*
 * A key for HMAC-SHA-256, prepared once so that hashing a short message costs two compressions.
 * Immutable after crypto_hmac_new(); any number of threads may hash with it at once.
 */
struct crypto_hmac;

/* NULL when memory is short. @key may be forgotten afterwards. */
struct crypto_hmac *crypto_hmac_new(const void *key, size_t key_len);
void crypto_hmac_free(struct crypto_hmac *hmac);

void crypto_hmac_sha256(const struct crypto_hmac *hmac, const void *data, size_t len,
			uint8_t ret_hash[CRYPTO_HASH_BYTES]);

#endif
