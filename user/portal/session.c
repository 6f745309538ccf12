/* SPDX-License-Identifier: BSD-2-Clause */
/* session: see session.h. */
#include "portal/session.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include <openssl/crypto.h>

#define LABEL	     "tollgate portal 1"
#define MAX_SEALED   1024
#define FIELDS_BYTES (16 + 1 + 16) /* the sealed part of the cookie */

struct crypto_hmac *session_secret(const struct crypto_hmac *pepper)
{
	uint8_t derived[CRYPTO_HASH_BYTES];
	struct crypto_hmac *secret;

	crypto_hmac_sha256(pepper, LABEL, sizeof(LABEL) - 1, derived);
	secret = crypto_hmac_new(derived, sizeof(derived));
	OPENSSL_cleanse(derived, sizeof(derived));
	return secret;
}

/*
 * The HMAC of purpose, NUL, text. Purposes contain no NUL, so no two pairs have the same bytes. A
 * text that is too long gets random bytes.
 */
static void seal_bytes(const struct crypto_hmac *secret, const char *purpose, struct text text,
		       uint8_t ret_hash[CRYPTO_HASH_BYTES])
{
	char sealed[MAX_SEALED];
	size_t len = strlen(purpose) + 1;

	if (len + text.len > sizeof(sealed)) {
		if (crypto_random(ret_hash, CRYPTO_HASH_BYTES))
			memset(ret_hash, 0, CRYPTO_HASH_BYTES);
		return;
	}
	memcpy(sealed, purpose, len);
	if (text.len)
		memcpy(sealed + len, text.ptr, text.len);
	crypto_hmac_sha256(secret, sealed, len + text.len, ret_hash);
}

void session_seal(const struct crypto_hmac *secret, const char *purpose, struct text text,
		  char ret_seal[SESSION_SEAL_SIZE])
{
	uint8_t hash[CRYPTO_HASH_BYTES];

	seal_bytes(secret, purpose, text, hash);
	text_hex(hash, sizeof(hash), ret_seal);
}

bool session_is_sealed(const struct crypto_hmac *secret, const char *purpose, struct text text,
		       struct text seal)
{
	uint8_t hash[CRYPTO_HASH_BYTES], given[CRYPTO_HASH_BYTES];

	if (strlen(purpose) + 1 + text.len > MAX_SEALED ||
	    text_parse_hex(seal, given, sizeof(given)))
		return false;
	seal_bytes(secret, purpose, text, hash);
	return crypto_equal(hash, given, sizeof(hash));
}

void session_write(const struct crypto_hmac *secret, uint64_t key, uint64_t expires_s,
		   char ret_cookie[SESSION_TEXT_SIZE])
{
	char seal[SESSION_SEAL_SIZE];

	snprintf(ret_cookie, SESSION_TEXT_SIZE, "%016" PRIx64 ".%016" PRIx64, key, expires_s);
	session_seal(secret, "session", text_of(ret_cookie), seal);
	ret_cookie[FIELDS_BYTES] = '.';
	memcpy(ret_cookie + FIELDS_BYTES + 1, seal, sizeof(seal));
}

int session_read(const struct crypto_hmac *secret, struct text cookie, uint64_t now_s,
		 uint64_t *ret_key)
{
	const struct text fields = { cookie.ptr, FIELDS_BYTES };
	uint64_t key, expires_s;

	if (cookie.len != SESSION_TEXT_SIZE - 1 || cookie.ptr[16] != '.' ||
	    cookie.ptr[FIELDS_BYTES] != '.' ||
	    !session_is_sealed(
		    secret, "session", fields,
		    (struct text){ cookie.ptr + FIELDS_BYTES + 1, SESSION_SEAL_SIZE - 1 }) ||
	    text_parse_hex((struct text){ cookie.ptr, 16 }, &key, 8) ||
	    text_parse_hex((struct text){ cookie.ptr + 17, 16 }, &expires_s, 8))
		return -EBADMSG;
	expires_s = be64toh(expires_s);
	if (expires_s <= now_s || expires_s > now_s + SESSION_SECONDS)
		return -ETIMEDOUT;
	*ret_key = be64toh(key);
	return 0;
}
