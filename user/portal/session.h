/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * session: who a browser is, in cookies and tokens that nobody else can make.
 *
 * Nothing is kept of sessions: each cookie carries what it says under an HMAC. Its secret derives from
 * the pepper, so it survives restarts and is the same on all hosts of a store. Pure.
 */
#ifndef PORTAL_SESSION_H
#define PORTAL_SESSION_H

#include "base/crypto.h"
#include "base/text.h"

#define SESSION_SECONDS	  1800
#define SESSION_SEAL_SIZE (2 * CRYPTO_HASH_BYTES + 1)
#define SESSION_TEXT_SIZE (16 + 1 + 16 + 1 + SESSION_SEAL_SIZE)

/* The portal's secret; NULL when memory is short. */
struct crypto_hmac *session_secret(const struct crypto_hmac *pepper);

/*
 * A seal on @text for one purpose: 64 hex digits. What is sealed for one purpose is worth nothing for
 * another. session_is_sealed() compares in constant time.
 */
void session_seal(const struct crypto_hmac *secret, const char *purpose, struct text text,
		  char ret_seal[SESSION_SEAL_SIZE]);
bool session_is_sealed(const struct crypto_hmac *secret, const char *purpose, struct text text,
		       struct text seal);

/* The cookie of somebody who proved to have key @key, until @expires_s (Unix time). */
void session_write(const struct crypto_hmac *secret, uint64_t key, uint64_t expires_s,
		   char ret_cookie[SESSION_TEXT_SIZE]);

/* 0 and the key; -EBADMSG: not ours; -ETIMEDOUT: it is over at @now_s, or ends later than we ever say. */
int session_read(const struct crypto_hmac *secret, struct text cookie, uint64_t now_s,
		 uint64_t *ret_key);

#endif
