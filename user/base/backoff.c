/* SPDX-License-Identifier: BSD-2-Clause */
/* backoff: how long to wait before the next attempt after failures in a row. */
#include "base/backoff.h"

#include "base/crypto.h"

uint64_t backoff_plain(const struct backoff *backoff, unsigned failures)
{
	uint64_t wait = backoff->first;

	for (unsigned i = 1; i < failures && wait < backoff->most; i++)
		wait = wait <= UINT64_MAX / 2 ? wait * 2 : UINT64_MAX;
	return wait < backoff->most ? wait : backoff->most;
}

uint64_t backoff_spread(const struct backoff *backoff, unsigned failures, uint64_t random)
{
	uint64_t wait = backoff_plain(backoff, failures), half = wait / 2;

	return half ? half + random % half : wait;
}

uint64_t backoff_draw(const struct backoff *backoff, unsigned failures)
{
	uint64_t random = 0;

	crypto_random(&random, sizeof(random));
	return backoff_spread(backoff, failures, random);
}
