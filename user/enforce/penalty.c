/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * penalty: clients that keep sending refused requests, so that XDP drops their packets for a while.
 *
 * Sources are in a table of fixed size with a few places in each bucket. The place that was used
 * longest ago makes room for a new source. A forgotten offender is simply counted from the start
 * again.
 */
#include "enforce/penalty.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "enforce/gate.h"
#include "tollgate/siphash.h"

#define ACCOUNT_MIN_NS	(50 * NS_PER_MS)
#define ACCOUNT_MAX_NS	(5 * NS_PER_SECOND)
#define SOURCE_FIRST_NS NS_PER_SECOND
#define SOURCE_MAX_NS	(60 * NS_PER_SECOND)
#define ENTITLED_NS	(600 * NS_PER_SECOND)
#define BUCKETS		8192
#define PLACES		8
#define LOCKS		64

struct source {
	uint64_t address[2]; /* the /64 of IPv6, or mapped IPv4 */
	uint64_t used_ns;    /* 0: free */
	struct {
		uint64_t until_ns;
		uint32_t slot;
	} entitled[2];	 /* two: at least one of them is not the offending account */
	uint64_t second; /* in which the offences were counted */
	uint32_t offences;
	uint32_t penalties;    /* in a row: the next one lasts 2^penalties seconds */
	uint32_t penalty_slot; /* of the account whose offences caused the penalty */
	uint64_t penalty_until_ns;
};

struct penalty {
	struct xdp_plane *xdp; /* borrowed; NULL: sources are not tracked */
	struct lists *lists;   /* borrowed; may be NULL */
	__u64 secret[2];       /* of the hash, so that nobody can aim at a bucket */
	pthread_mutex_t locks[LOCKS];
	struct source buckets[BUCKETS][PLACES];
};

struct penalty *penalty_new(struct xdp_plane *xdp, struct lists *lists)
{
	struct penalty *penalty = calloc(1, sizeof(*penalty));

	if (!penalty)
		return NULL;
	penalty->xdp = xdp;
	penalty->lists = lists;
	if (crypto_random(penalty->secret, sizeof(penalty->secret))) {
		free(penalty);
		return NULL;
	}
	for (unsigned i = 0; i < LOCKS; i++)
		pthread_mutex_init(&penalty->locks[i], NULL);
	return penalty;
}

void penalty_free(struct penalty *penalty)
{
	if (!penalty)
		return;
	for (unsigned i = 0; i < LOCKS; i++)
		pthread_mutex_destroy(&penalty->locks[i]);
	free(penalty);
}

bool penalty_account_refused(struct tollgate_slot *slot, unsigned tolerance, uint64_t wait_ns,
			     uint64_t now_ns)
{
	uint64_t until_ns = atomic_read(&slot->drop_until_ns);

	if (gate_note_refusal(slot, now_ns) > tolerance) {
		if (wait_ns < ACCOUNT_MIN_NS)
			wait_ns = ACCOUNT_MIN_NS;
		if (wait_ns > ACCOUNT_MAX_NS)
			wait_ns = ACCOUNT_MAX_NS;
		if (until_ns < now_ns + wait_ns)
			until_ns = now_ns + wait_ns;
		atomic_write_release(&slot->drop_until_ns, until_ns);
	}
	return until_ns > now_ns;
}

static bool address_of(const struct sockaddr_storage *source, uint64_t ret_address[2])
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)source;
	const struct sockaddr_in *in = (const struct sockaddr_in *)source;
	uint8_t mapped[16] = { [10] = 0xff, [11] = 0xff };

	if (source->ss_family == AF_INET)
		memcpy(mapped + 12, &in->sin_addr, 4);
	else if (source->ss_family == AF_INET6)
		memcpy(mapped, &in6->sin6_addr, IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) ? 16 : 8);
	else
		return false;
	if (source->ss_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		memset(mapped + 8, 0, 8);
	memcpy(ret_address, mapped, sizeof(mapped));
	return true;
}

/* The place of @address, which is created if needed. The caller holds the bucket's lock. */
static struct source *place_of(struct source *bucket, const uint64_t address[2], uint64_t now_ns)
{
	struct source *oldest = bucket;

	for (unsigned i = 0; i < PLACES; i++) {
		struct source *s = &bucket[i];

		if (s->used_ns && !memcmp(s->address, address, sizeof(s->address))) {
			s->used_ns = now_ns;
			return s;
		}
		if (s->used_ns < oldest->used_ns)
			oldest = s;
	}
	*oldest = (struct source){ .used_ns = now_ns };
	memcpy(oldest->address, address, sizeof(oldest->address));
	return oldest;
}

static struct source *lock_source(struct penalty *penalty, const struct sockaddr_storage *source,
				  uint64_t now_ns, pthread_mutex_t **ret_lock)
{
	uint64_t address[2];
	__u64 hash[2];

	if (!penalty->xdp || !address_of(source, address))
		return NULL;
	tollgate_siphash128(penalty->secret, address, sizeof(address), hash);
	*ret_lock = &penalty->locks[hash[0] % LOCKS];
	pthread_mutex_lock(*ret_lock);
	return place_of(penalty->buckets[hash[0] % BUCKETS], address, now_ns);
}

static void mark_entitled(struct source *s, uint32_t slot, uint64_t until_ns)
{
	unsigned at = s->entitled[0].until_ns <= s->entitled[1].until_ns ? 0 : 1;

	for (unsigned i = 0; i < 2; i++) {
		if (s->entitled[i].until_ns && s->entitled[i].slot == slot)
			at = i;
	}
	s->entitled[at].slot = slot;
	s->entitled[at].until_ns = until_ns;
}

static bool is_shared(const struct source *s, uint32_t slot, uint64_t now_ns)
{
	for (unsigned i = 0; i < 2; i++) {
		if (s->entitled[i].until_ns > now_ns && s->entitled[i].slot != slot)
			return true;
	}
	return false;
}

void penalty_source_entitled(struct penalty *penalty, const struct sockaddr_storage *source,
			     uint32_t slot, uint64_t now_ns)
{
	pthread_mutex_t *lock;
	struct source *s = lock_source(penalty, source, now_ns, &lock);

	if (!s)
		return;
	mark_entitled(s, slot, now_ns + ENTITLED_NS);
	if (s->penalty_until_ns > now_ns && s->penalty_slot != slot) {
		s->penalty_until_ns = 0;
		s->penalties = 0;
		xdp_forgive_source(penalty->xdp, source);
	}
	pthread_mutex_unlock(lock);
}

/* Each penalty is twice as long as the last. A minute after a penalty ended, it starts over. */
static uint64_t next_penalty_ns(struct source *s, uint64_t now_ns)
{
	uint64_t length_ns;

	if (s->penalty_until_ns + SOURCE_MAX_NS < now_ns)
		s->penalties = 0;
	length_ns = SOURCE_FIRST_NS << s->penalties;
	if (length_ns >= SOURCE_MAX_NS)
		return SOURCE_MAX_NS;
	s->penalties++;
	return length_ns;
}

static bool is_allowed(struct penalty *penalty, const struct sockaddr_storage *source)
{
	return penalty->lists &&
	       lists_look_up(penalty->lists, source, clock_wall_ms()) == LISTS_ALLOWED;
}

void penalty_source_offended(struct penalty *penalty, const struct sockaddr_storage *source,
			     uint32_t slot, unsigned tolerance, uint64_t now_ns)
{
	pthread_mutex_t *lock;
	struct source *s = lock_source(penalty, source, now_ns, &lock);
	uint64_t until_ns;

	if (!s)
		return;
	if (s->second != now_ns / NS_PER_SECOND) {
		s->second = now_ns / NS_PER_SECOND;
		s->offences = 0;
	}
	s->offences++;
	if (s->offences > tolerance && !is_shared(s, slot, now_ns) &&
	    s->penalty_until_ns <= now_ns && !is_allowed(penalty, source)) {
		until_ns = now_ns + next_penalty_ns(s, now_ns);
		if (!xdp_penalize_source(penalty->xdp, source, until_ns)) {
			s->penalty_until_ns = until_ns;
			s->penalty_slot = slot;
		}
	}
	pthread_mutex_unlock(lock);
}
