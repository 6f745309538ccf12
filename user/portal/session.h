/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * session: cookies and tokens that only the portal can create.
 *
 * The server keeps no sessions: each cookie carries its data and an HMAC of them. The HMAC's secret
 * is derived from the pepper, so it survives restarts and is the same on all hosts that share a
 * store. Pure.
 */
#ifndef PORTAL_SESSION_H
#define PORTAL_SESSION_H

#include "base/crypto.h"
#include "base/text.h"

#define SESSION_SECONDS	  1800
#define SESSION_SEAL_SIZE (2 * CRYPTO_HASH_BYTES + 1)
#define SESSION_TEXT_SIZE (16 + 1 + 16 + 1 + SESSION_SEAL_SIZE)

/* Derive the portal's secret from @pepper; the caller owns it. NULL if out of memory. */
struct crypto_hmac *session_secret(const struct crypto_hmac *pepper);

/*
 * A seal is an HMAC of @purpose and @text, in 64 hex digits. A seal for one purpose is not valid
 * for another. If @purpose and @text together have more than 1023 bytes, the seal is random and
 * never valid. session_is_sealed() compares in constant time.
 */
void session_seal(const struct crypto_hmac *secret, const char *purpose, struct text text,
		  char ret_seal[SESSION_SEAL_SIZE]);
bool session_is_sealed(const struct crypto_hmac *secret, const char *purpose, struct text text,
		       struct text seal);

/*
 * Write the cookie for a visitor who signed in with the key whose ID is @key, until @expires_s
 * (Unix time).
 */
void session_write(const struct crypto_hmac *secret, uint64_t key, uint64_t expires_s,
		   char ret_cookie[SESSION_TEXT_SIZE]);

/*
 * Read the key's ID from a cookie. 0; -EBADMSG if the portal did not write it; -ETIMEDOUT if it has
 * expired at @now_s, or expires later than SESSION_SECONDS from now.
 */
int session_read(const struct crypto_hmac *secret, struct text cookie, uint64_t now_s,
		 uint64_t *ret_key);

#endif
