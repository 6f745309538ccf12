/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * signature: does a webhook come from Stripe? And the same for the webhooks that tollgate sends.
 *
 * The header is "t=<unix>,v1=<hex>[,v1=<hex>...]"; what is signed is "<t>.<raw body>" with HMAC-SHA-256
 * under the whole text of an endpoint's secret. While a secret is rolled there are several signatures,
 * and several secrets are held: any pair may match (docs.stripe.com/webhooks#verify-manually). Pure.
 */
#ifndef STRIPE_SIGNATURE_H
#define STRIPE_SIGNATURE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/text.h"

#define SIGNATURE_TOLERANCE_S	 300 /* how old a signature may be */
#define SIGNATURE_FUTURE_S	 300 /* how far ahead its clock may be; the SDKs set no bound */
#define SIGNATURE_MAX_CANDIDATES 16  /* v1 parts looked at; more are refused */

enum signature_verdict {
	SIGNATURE_OK,
	SIGNATURE_MALFORMED, /* no or two times, no v1, too many of them, odd bytes */
	SIGNATURE_MISMATCH,  /* none of the secrets made any of the v1 */
	SIGNATURE_EXPIRED,   /* right, but older than @tolerance_s */
	SIGNATURE_FUTURE,    /* right, but from too far ahead */
};

/* Why, in a few words for the answer's detail and the log. */
const char *signature_reason(enum signature_verdict verdict);

/*
 * Verify @header, the value of the one Stripe-Signature line there is, over @body against @count secrets at Unix time @now_s. An empty secret never
 * verifies. Comparison takes the same time wherever two signatures differ. The time is looked at only
 * once a signature is right, so that nobody learns of clocks without a secret.
 */
enum signature_verdict signature_verify(struct text header, struct text body,
					const char *const *secrets, size_t count, uint64_t now_s,
					uint64_t tolerance_s);

/*
 * Append to @header what makes @body, sent at Unix time @now_s, verify against @secret. 0; -EINVAL
 * for an empty secret, -EMSGSIZE, -ENOMEM.
 */
int signature_write(const char *secret, uint64_t now_s, struct text body, struct buf *header);

#endif
