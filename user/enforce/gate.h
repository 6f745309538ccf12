/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gate: the verdict on one request, from memory alone.
 *
 * The first verdict that applies wins: missing, malformed, unknown or revoked key (401), key state
 * unknown (503), account not entitled (403), over quota (429), over rate (429), feature missing
 * (403), over concurrency (429). Only a request that passes all of these is charged. The proxy has
 * already dealt with malformed requests, missing routes and public routes.
 *
 * Several workers may call all functions at once; each has called mirror_register_thread().
 *
 * The module enforce: verdicts, and the state that they need: keys, accounts, buckets, quotas,
 * concurrency, penalties, lists, usage. It knows no HTTP, no libuv and no BPF; it tells XDP about
 * changes through xdp_plane.h alone.
 */
#ifndef ENFORCE_GATE_H
#define ENFORCE_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
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
	bool is_loaded;	 /* atomic: the mirror is filled; until then every key's state is unknown */
	bool is_current; /* atomic: a key that is not in the mirror is not in the store either */
	bool is_refusing; /* atomic: the mirror is too old, and the operator chose to refuse then */
};

struct gate_request {
	struct text key;  /* borrowed; a NULL pointer: none was sent */
	uint32_t cost;	  /* units */
	int feature;	  /* number of the bit that the tier must have, or -1 */
	uint64_t now_ns;  /* CLOCK_MONOTONIC */
	uint64_t wall_ms; /* Unix time */
};

struct gate_result {
	enum tollgate_verdict verdict;
	uint64_t wait_ns; /* OVER_RATE and OVER_QUOTA: until the same request could pass */
	/* The members below are valid if has_account is set, whatever the verdict. */
	bool has_account;
	uint32_t slot, generation;
	uint64_t account_id;
	struct slot_limits limits;
	uint64_t rate_left;	/* units that may be used at once */
	uint64_t rate_more_ns;	/* until there is one more; 0: the bucket is full */
	uint64_t quota_left;	/* units left in the period */
	uint64_t quota_more_ms; /* until the period ends */
	uint32_t cost;
	struct share *share; /* borrowed; NULL: the account's limits are not shared */
	uint8_t key_hash[CRYPTO_HASH_BYTES]; /* of any plausible key */
};

/*
 * Decide about a request. After TOLLGATE_ALLOW the request is charged and holds one concurrency
 * slot, which the caller gives back with gate_release(), exactly once. Any other verdict charges
 * and holds nothing.
 */
void gate_check(const struct gate *gate, const struct gate_request *request,
		struct gate_result *ret_result);

/* Give back the concurrency slot of an allowed request. */
void gate_release(const struct gate *gate, const struct gate_result *result);

/* Count an allowed request as usage (usage.h). */
void gate_count(const struct gate *gate, const struct gate_result *result, struct clock_wall now);

/*
 * Charge @charge_ns to the bucket of @slot at @now_ns (CLOCK_MONOTONIC). Returns 0 if it was
 * charged, otherwise the nanoseconds until the same charge could succeed.
 */
uint64_t gate_bucket_charge(struct tollgate_slot *slot, uint64_t limit_ns, uint64_t charge_ns,
			    uint64_t now_ns);

/*
 * Count a refusal for rate or quota at @now_ns. Returns the number of refusals in this second, with
 * this one; penalties depend on it.
 */
uint32_t gate_note_refusal(struct tollgate_slot *slot, uint64_t now_ns);

#endif
