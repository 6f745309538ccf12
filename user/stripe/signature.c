/* SPDX-License-Identifier: BSD-2-Clause */
/* signature: see signature.h. */
#include "stripe/signature.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/crypto.h"

struct signed_header {
	struct text time; /* exactly as sent, because the signature covers it */
	uint64_t time_s;
	size_t count;
	uint8_t candidates[SIGNATURE_MAX_CANDIDATES][CRYPTO_HASH_BYTES];
};

const char *signature_reason(enum signature_verdict verdict)
{
	static const char *const reasons[] = {
		[SIGNATURE_OK] = "ok",
		[SIGNATURE_MALFORMED] = "malformed header",
		[SIGNATURE_MISMATCH] = "no signature matches",
		[SIGNATURE_EXPIRED] = "timestamp outside the tolerance",
		[SIGNATURE_FUTURE] = "timestamp in the future",
	};

	return reasons[verdict];
}

static struct text next_part(struct text *rest)
{
	const char *comma = memchr(rest->ptr, ',', rest->len);
	size_t len = comma ? (size_t)(comma - rest->ptr) : rest->len, skip = len + (comma != NULL);
	struct text part = { rest->ptr, len };

	*rest = (struct text){ rest->ptr + skip, rest->len - skip };
	return part;
}

static bool take_time(struct signed_header *parsed, struct text value)
{
	if (parsed->time.ptr)
		return false; /* two times: it is unclear which one was signed */
	parsed->time = value;
	return !text_parse_u64(value, INT64_MAX, &parsed->time_s);
}

/*
 * A v1 that is not the lower-case hex of a hash is skipped: it cannot match. False if there are too
 * many.
 */
static bool take_candidate(struct signed_header *parsed, struct text value)
{
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] >= 'A' && value.ptr[i] <= 'F')
			return true;
	}
	if (parsed->count == SIGNATURE_MAX_CANDIDATES)
		return false;
	if (!text_parse_hex(value, parsed->candidates[parsed->count], CRYPTO_HASH_BYTES))
		parsed->count++;
	return true;
}

/*
 * Names of schemes are lower-case letters and digits. A space, which appears where two header lines
 * were joined, makes the header malformed.
 */
static bool is_name(struct text t)
{
	for (size_t i = 0; i < t.len; i++) {
		if (!(t.ptr[i] >= 'a' && t.ptr[i] <= 'z') && !(t.ptr[i] >= '0' && t.ptr[i] <= '9'))
			return false;
	}
	return t.len;
}

static bool parse(struct text header, struct signed_header *parsed)
{
	*parsed = (struct signed_header){ 0 };
	while (header.len) {
		struct text part = next_part(&header);
		const char *equals = memchr(part.ptr, '=', part.len);
		struct text name, value;

		if (!equals)
			return false;
		name = (struct text){ part.ptr, (size_t)(equals - part.ptr) };
		value = (struct text){ equals + 1, part.len - name.len - 1 };
		if (!is_name(name))
			return false;
		if (text_is(name, "t") && !take_time(parsed, value))
			return false;
		if (text_is(name, "v1") && !take_candidate(parsed, value))
			return false;
	}
	return parsed->time.ptr && parsed->count;
}

/* HMAC-SHA-256 of "<t>.<body>", without copying them together. */
static bool sign(const char *secret, struct text time, struct text body,
		 uint8_t ret_hash[CRYPTO_HASH_BYTES])
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
	char digest[] = "SHA256";
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
				OSSL_PARAM_construct_end() };
	size_t len = 0;
	bool ok = ctx && EVP_MAC_init(ctx, (const unsigned char *)secret, strlen(secret), params) &&
		  EVP_MAC_update(ctx, (const unsigned char *)time.ptr, time.len) &&
		  EVP_MAC_update(ctx, (const unsigned char *)".", 1) &&
		  (!body.len || EVP_MAC_update(ctx, (const unsigned char *)body.ptr, body.len)) &&
		  EVP_MAC_final(ctx, ret_hash, &len, CRYPTO_HASH_BYTES) && len == CRYPTO_HASH_BYTES;

	EVP_MAC_CTX_free(ctx);
	EVP_MAC_free(mac);
	return ok;
}

static bool matches(const struct signed_header *parsed, struct text body, const char *secret)
{
	uint8_t hash[CRYPTO_HASH_BYTES];
	bool any = false;

	if (!secret || !*secret || !sign(secret, parsed->time, body, hash))
		return false;
	for (size_t i = 0; i < parsed->count; i++)
		any |= crypto_equal(parsed->candidates[i], hash, sizeof(hash));
	return any;
}

enum signature_verdict signature_verify(struct text header, struct text body,
					const char *const *secrets, size_t count, uint64_t now_s,
					uint64_t tolerance_s)
{
	struct signed_header parsed;
	bool any = false;

	if (!parse(header, &parsed))
		return SIGNATURE_MALFORMED;
	for (size_t i = 0; i < count; i++)
		any |= matches(&parsed, body, secrets[i]);
	if (!any)
		return SIGNATURE_MISMATCH;
	if (parsed.time_s < now_s && now_s - parsed.time_s > tolerance_s)
		return SIGNATURE_EXPIRED;
	if (parsed.time_s > now_s && parsed.time_s - now_s > SIGNATURE_FUTURE_S)
		return SIGNATURE_FUTURE;
	return SIGNATURE_OK;
}

int signature_write(const char *secret, uint64_t now_s, struct text body, struct buf *header)
{
	char time[24], hex[2 * CRYPTO_HASH_BYTES + 1];
	uint8_t hash[CRYPTO_HASH_BYTES];

	if (!*secret)
		return -EINVAL;
	snprintf(time, sizeof(time), "%" PRIu64, now_s);
	if (!sign(secret, text_of(time), body, hash))
		return -ENOMEM;
	text_hex(hash, sizeof(hash), hex);
	return buf_printf(header, "t=%s,v1=%s", time, hex);
}
