/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * signature: verifies that a webhook comes from Stripe, and signs the webhooks that tollgate sends.
 *
 * The header is "t=<unix>,v1=<hex>[,v1=<hex>...]". Each v1 is the HMAC-SHA-256 of "<t>.<raw body>",
 * and its key is the whole text of an endpoint's secret. While a secret is being rolled there may
 * be several signatures and several configured secrets; any pair may match
 * (docs.stripe.com/webhooks#verify-manually). Pure.
 */
#ifndef STRIPE_SIGNATURE_H
#define STRIPE_SIGNATURE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/text.h"

#define SIGNATURE_TOLERANCE_S	 300 /* how old a signature may be */
#define SIGNATURE_FUTURE_S	 300 /* how far in the future its time may be */
#define SIGNATURE_MAX_CANDIDATES 16  /* the most v1 parts; a header with more is malformed */

enum signature_verdict {
	SIGNATURE_OK,
	SIGNATURE_MALFORMED, /* not one t, no valid v1, too many v1, or bad syntax */
	SIGNATURE_MISMATCH,  /* no v1 matches any secret */
	SIGNATURE_EXPIRED,   /* it matches, but is older than @tolerance_s */
	SIGNATURE_FUTURE,    /* it matches, but its time is too far in the future */
};

/* A description of @verdict for the answer's detail and the log. */
const char *signature_reason(enum signature_verdict verdict);

/*
 * Verify @header, the value of the only Stripe-Signature field, for @body, with @count secrets, at
 * Unix time @now_s. An empty secret never matches. Signatures are compared in constant time. The
 * time is checked only after a signature has matched, so nobody without a secret learns anything
 * about the clock.
 */
enum signature_verdict signature_verify(struct text header, struct text body,
					const char *const *secrets, size_t count, uint64_t now_s,
					uint64_t tolerance_s);

/*
 * Append the header's value with which @body, sent at Unix time @now_s, verifies with @secret. 0;
 * -EINVAL if the secret is empty; -EMSGSIZE, -ENOMEM.
 */
int signature_write(const char *secret, uint64_t now_s, struct text body, struct buf *header);

#endif
