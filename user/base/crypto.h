/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * crypto: random bytes, HMAC-SHA-256, and comparison in constant time. Any thread.
 */
#ifndef BASE_CRYPTO_H
#define BASE_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRYPTO_HASH_BYTES 32

/* Fill @ret_bytes with @len random bytes from getrandom(2). 0 or a negative errno. */
int crypto_random(void *ret_bytes, size_t len);

/* Whether @len bytes are equal. The time taken does not depend on where they differ. */
bool crypto_equal(const void *a, const void *b, size_t len);

/*
 * A prepared key for HMAC-SHA-256: hashing a short message then takes two compressions instead of
 * four. It never changes, so several threads may use it at once.
 */
struct crypto_hmac;

/* Prepare @key, which is copied. NULL if memory is short. */
struct crypto_hmac *crypto_hmac_new(const void *key, size_t key_len);

/* Wipe and free it. Accepts NULL. */
void crypto_hmac_free(struct crypto_hmac *hmac);

void crypto_hmac_sha256(const struct crypto_hmac *hmac, const void *data, size_t len,
			uint8_t ret_hash[CRYPTO_HASH_BYTES]);

#endif
