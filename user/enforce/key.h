/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * key: the format of API keys, and the keyed hash under which they are stored.
 *
 * tollgate's own keys consist of the prefix, '_', 43 base62 digits for 32 random bytes, and 6
 * base62 digits for the CRC-32 of everything before them, the most significant digit first. The
 * checksum lets a mistyped key be refused without a lookup. Imported keys may have any format. Only
 * the HMAC-SHA-256 of a key, keyed with the pepper, is ever stored.
 */
#ifndef ENFORCE_KEY_H
#define ENFORCE_KEY_H

#include <stdbool.h>

#include "base/crypto.h"
#include "base/text.h"

#define KEY_MIN_BYTES	 16
#define KEY_MAX_BYTES	 256
#define KEY_RANDOM_BYTES 32
#define KEY_PREFIX_MAX	 32
/* prefix, '_', 49 digits, NUL */
#define KEY_TEXT_SIZE (KEY_PREFIX_MAX + 1 + 43 + 6 + 1)

/* Make a new random key. 0, or the error of crypto_random(). */
int key_generate(const char *prefix, char ret_key[KEY_TEXT_SIZE]);

/* Make the key of @random. Pure. */
void key_format(const char *prefix, const uint8_t random[KEY_RANDOM_BYTES],
		char ret_key[KEY_TEXT_SIZE]);

/*
 * Whether @key can be valid: 16 to 256 printable ASCII characters without spaces and, if it starts
 * with
 * @prefix and '_', the length, digits and checksum of tollgate's own keys. Pure.
 */
bool key_is_plausible(const char *prefix, struct text key);

/*
 * The part of a plausible key that may be shown, for example "tg_live...wxyz": at most a quarter of
 * the key. Pure.
 */
void key_hint(struct text key, char ret_hint[16]);

/*
 * Load the pepper from the file at @path. If there is no such file, write one with 32 random bytes
 * first (mode 0600, durable). @ret_check is the HMAC of a fixed text, by which a store recognizes
 * its pepper. 0, -EINVAL if the file has fewer than 32 or more than 4096 bytes, or another negative
 * errno.
 */
int key_pepper_load(const char *path, struct crypto_hmac **ret_pepper,
		    uint8_t ret_check[CRYPTO_HASH_BYTES]);

#endif
