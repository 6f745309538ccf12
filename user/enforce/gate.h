/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gate: the verdict on one request, from memory alone.
 *
 * The order is that of the agreement, first that applies: key (401), key state not knowable (503),
 * account not entitled (403), quota (429), rate (429), feature (403), concurrency (429); then, and
 * only then, the request is charged. Malformed requests, missing routes and public ones have been
 * dealt with before.
 *
 * Everything here may be called by any registered worker at once.
 */
#ifndef ENFORCE_GATE_H
#define ENFORCE_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/crypto.h"
#include "base/text.h"
#include "enforce/mirror.h"
#include "enforce/slot.h"
#include "tollgate/verdict.h"

struct gate {
	const struct slots *slots;	  /* borrowed */
	const struct mirror *mirror;	  /* borrowed */
	const struct crypto_hmac *pepper; /* borrowed */
	const char *key_prefix;		  /* borrowed */
	struct shares *shares;		  /* borrowed; NULL: no limits are shared */
	bool is_loaded;	  /* atomic: the mirror has been filled; until then nothing is knowable */
	bool is_current;  /* atomic: unknown to the mirror means unknown to the store */
	bool is_refusing; /* atomic: too stale, and the operator chose to refuse */
};

struct gate_request {
	struct text key; /* NULL pointer: none was sent */
	uint32_t cost;
	int feature; /* bit that the tier must have, or -1 */
	uint64_t now_ns, wall_ms;
};

struct gate_result {
	enum tollgate_verdict verdict;
	uint64_t wait_ns; /* OVER_RATE, OVER_QUOTA: until the same request could pass */
	/* What follows is set once the key is known, whatever the verdict. */
	bool has_account;
	uint32_t slot, generation;
	uint64_t account_id;
	struct slot_limits limits;
	uint64_t rate_left;	/* units that may be used at once now */
	uint64_t rate_more_ns;	/* until there is one more of them; 0: the bucket is full */
	uint64_t quota_left;	/* units left in the period */
	uint64_t quota_more_ms; /* until the period ends */
	uint32_t cost;
	struct share *share; /* of an account whose limits all hosts hold together; or NULL */
	uint8_t key_hash[CRYPTO_HASH_BYTES]; /* of a plausible key, as the mirror knows it */
};

/*
 * Decide. With TOLLGATE_ALLOW the request is charged and holds one place of its account's
 * concurrency, to be given back with gate_release() exactly once; every other verdict charges and
 * holds nothing.
 */
void gate_check(const struct gate *gate, const struct gate_request *request,
		struct gate_result *ret_result);

/* The allowed request is over, however it ended. */
void gate_release(const struct gate *gate, const struct gate_result *result);

/* Count an answered request of that account (usage.h). */
void gate_count(const struct gate *gate, const struct gate_result *result, uint64_t wall_ms);

/*
 * Charge @charge_ns to the bucket of @slot at @now_ns (CLOCK_MONOTONIC). 0 when charged; otherwise
 * nothing is charged, and the nanoseconds until the same charge could succeed are returned. Safe from
 * any worker, and against XDP's reads.
 */
uint64_t gate_bucket_charge(struct tollgate_slot *slot, uint64_t limit_ns, uint64_t charge_ns,
			    uint64_t now_ns);

/*
 * Note a refusal for rate or quota at @now_ns. Returns how many there were in this second, this one
 * included: what a penalty is decided by.
 */
uint32_t gate_note_refusal(struct tollgate_slot *slot, uint64_t now_ns);

#endif
