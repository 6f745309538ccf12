/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * key: what an API key looks like, and the hash under which it is known.
 *
 * A key of ours is <prefix>_<43 base62 digits of 32 random bytes><6 base62 digits of the CRC-32 of all
 * before them>, most significant digit first, so that a mistyped key is refused without a look-up.
 * Imported keys may have any form. Only HMAC-SHA-256 of a key under the pepper is ever kept.
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

/* Make a new key from the kernel's random source. 0 or a negative errno. */
int key_generate(const char *prefix, char ret_key[KEY_TEXT_SIZE]);

/* The same from given bytes; pure. */
void key_format(const char *prefix, const uint8_t random[KEY_RANDOM_BYTES],
		char ret_key[KEY_TEXT_SIZE]);

/*
 * Whether @key can be a key at all: 16 to 256 printable bytes without blanks, and, if it has our
 * prefix, our length, digits and checksum.
 */
bool key_is_plausible(const char *prefix, struct text key);

/*
 * What people may see of a plausible key: "tg_live...wxyz", a quarter of it at most. @ret_hint holds
 * 16 bytes with the NUL.
 */
void key_hint(struct text key, char ret_hint[16]);

/*
 * The pepper from @path; if there is no such file, 32 random bytes are written to it (mode 0600,
 * durably) first. @ret_check is what the store holds to know the pepper again: HMAC of a fixed text.
 * 0, -EINVAL for a file of fewer than 32 or more than 4096 bytes, or the errno of the file.
 */
int key_pepper_load(const char *path, struct crypto_hmac **ret_pepper,
		    uint8_t ret_check[CRYPTO_HASH_BYTES]);

#endif
