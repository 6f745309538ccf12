// SPDX-License-Identifier: BSD-2-Clause
/*
 * What XDP needs in order to answer: which account each key belongs to, what requests cost, and the
 * bytes of each refusal.
 */
#include "fastpath/private.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "bpf/edge.skel.h"
#include "enforce/mirror.h"
#include "tollgate/siphash.h"

#define SET_IN_USE  UINT64_MAX
#define SET_REST_NS (180 * NS_PER_SECOND)

int fastpath_keys_init(struct fastpath_keys *keys)
{
	keys->places = calloc(FASTPATH_KEYS, sizeof(*keys->places));
	return keys->places ? -pthread_mutex_init(&keys->lock, NULL) : -ENOMEM;
}

void fastpath_keys_done(struct fastpath_keys *keys)
{
	if (keys->places)
		pthread_mutex_destroy(&keys->lock);
	free(keys->places);
	keys->places = NULL;
}

static struct fastpath_key *place_of(struct fastpath *fp, const uint8_t hash[32])
{
	uint32_t number;

	memcpy(&number, hash, sizeof(number));
	return &fp->keys.places[number % FASTPATH_KEYS];
}

/* What the mirror knows of the key. False: nothing that may be published. */
static bool look_up(const struct mirror *mirror, const uint8_t hash[32], uint64_t wall_ms,
		    struct tollgate_known_key *ret_known)
{
	struct mirror_key key;

	if (!mirror_find(mirror, hash, &key) || key.revoked_ms > wall_ms)
		return false;
	*ret_known = (struct tollgate_known_key){ .slot = key.slot,
						  .generation = key.generation,
						  .is_revoked = key.revoked_ms != 0 };
	return true;
}

static bool is_same(const struct tollgate_known_key *a, const struct tollgate_known_key *b)
{
	return a->slot == b->slot && a->generation == b->generation &&
	       a->is_revoked == b->is_revoked;
}

/* The lock is held. */
static void drop(struct fastpath *fp, struct fastpath_key *place)
{
	if (place->is_used)
		bpf_map_delete_elem(bpf_map__fd(fp->skel->maps.fingerprints), &place->print);
	place->is_used = false;
}

static void publish(struct fastpath *fp, struct fastpath_key *place, struct text key,
		    const uint8_t hash[32], const struct tollgate_known_key *known)
{
	__u64 secret[2] = { fp->settings->fingerprint[0], fp->settings->fingerprint[1] };

	drop(fp, place);
	memcpy(place->hash, hash, sizeof(place->hash));
	tollgate_siphash128(secret, key.ptr, key.len, place->print.hash);
	place->known = *known;
	place->is_used = !bpf_map_update_elem(bpf_map__fd(fp->skel->maps.fingerprints),
					      &place->print, known, BPF_ANY);
}

/*
 * The mirror changes first and then calls xdp_forget_key(). We publish first and then look at the
 * mirror again. So whichever happens second withdraws an outdated entry.
 */
void fastpath_know_key(struct fastpath *fp, const struct mirror *mirror, struct text key,
		       const uint8_t hash[32], uint64_t wall_ms)
{
	struct fastpath_key *place = place_of(fp, hash);
	struct tollgate_known_key known, again;

	if (!look_up(mirror, hash, wall_ms, &known))
		return;
	pthread_mutex_lock(&fp->keys.lock);
	if (!place->is_used || memcmp(place->hash, hash, sizeof(place->hash)) != 0 ||
	    !is_same(&place->known, &known)) {
		publish(fp, place, key, hash, &known);
		if (!look_up(mirror, hash, wall_ms, &again) || !is_same(&known, &again))
			drop(fp, place);
	}
	pthread_mutex_unlock(&fp->keys.lock);
}

void fastpath_keys_forget(struct fastpath *fp, const uint8_t hash[32])
{
	struct fastpath_key *place = place_of(fp, hash);

	pthread_mutex_lock(&fp->keys.lock);
	if (!memcmp(place->hash, hash, sizeof(place->hash)))
		drop(fp, place);
	pthread_mutex_unlock(&fp->keys.lock);
}

void fastpath_keys_forget_slot(struct fastpath *fp, uint32_t slot)
{
	pthread_mutex_lock(&fp->keys.lock);
	for (unsigned i = 0; i < FASTPATH_KEYS; i++) {
		if (fp->keys.places[i].is_used && fp->keys.places[i].known.slot == slot)
			drop(fp, &fp->keys.places[i]);
	}
	pthread_mutex_unlock(&fp->keys.lock);
}

/*
 * Set 0 holds the templates that depend on no tier and is never allocated. An earlier agent's sets
 * count as free at once, but its pending answers keep their bytes: sets are allocated in turn,
 * starting where that agent stopped, so its last sets are reused last.
 */
void fastpath_sets_init(struct fastpath_sets *sets)
{
	*sets = (struct fastpath_sets){ .free_since_ns[0] = SET_IN_USE };
}

uint32_t fastpath_take_set(struct fastpath *fp, uint64_t now_ns)
{
	struct fastpath_sets *sets = &fp->sets;

	for (unsigned i = 0; i < FASTPATH_SETS; i++) {
		uint32_t set = fp->settings->template_next++ % FASTPATH_SETS;
		uint64_t since_ns = sets->free_since_ns[set];

		if (since_ns == SET_IN_USE || (since_ns && now_ns - since_ns < SET_REST_NS))
			continue;
		sets->free_since_ns[set] = SET_IN_USE;
		memset(&fp->templates[set * TOLLGATE_TEMPLATE_SET], 0,
		       TOLLGATE_TEMPLATE_SET * sizeof(*fp->templates));
		return set;
	}
	return TOLLGATE_NO_ANSWERS;
}

void fastpath_give_set(struct fastpath *fp, uint32_t set, uint64_t now_ns)
{
	if (set != TOLLGATE_NO_ANSWERS && set < FASTPATH_SETS)
		fp->sets.free_since_ns[set] = now_ns;
}

/*
 * The sum of the bytes as the BPF programs compute it: 16-bit little-endian words, carries not
 * folded.
 */
static uint32_t sum_of(const uint8_t *bytes, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? bytes[i] << 8 : bytes[i];
	return sum;
}

void fastpath_put_template(struct fastpath *fp, uint32_t set, unsigned kind, struct text bytes,
			   const uint16_t at[2])
{
	struct tollgate_template *t = &fp->templates[set * TOLLGATE_TEMPLATE_SET + kind];

	if (bytes.len > TOLLGATE_ANSWER_MAX)
		return;
	memcpy(t->bytes, bytes.ptr, bytes.len);
	memset(t->bytes + bytes.len, 0, sizeof(t->bytes) - bytes.len);
	t->at[0] = at[0];
	t->at[1] = at[1];
	t->sum = sum_of(t->bytes, bytes.len);
	atomic_write_release(&t->len, (uint32_t)bytes.len);
}

/*
 * XDP compares at most sizeof(route.word) bytes and no percent-escapes. Of a path that is longer or
 * has an escape it gets the beginning only, and passes every request that starts with it to the
 * agent.
 */
static struct tollgate_route route_of(const struct fastpath_route *from)
{
	struct tollgate_route route = { .len = (uint32_t)from->path.len, .cost = from->cost };
	const char *escape = memchr(from->path.ptr, '%', from->path.len);

	if (escape)
		route.len = (uint32_t)(escape - from->path.ptr);
	if (route.len > sizeof(route.word))
		route.len = sizeof(route.word);
	if (route.len < from->path.len)
		route.cost = TOLLGATE_ROUTE_CUT;
	memcpy(route.word, from->path.ptr, route.len);
	memset(route.mask, 0xff, route.len);
	return route;
}

bool fastpath_set_routes(struct fastpath *fp, const struct fastpath_route *routes, unsigned count)
{
	uint32_t at = !atomic_read_acquire(&fp->settings->routes_at);
	struct tollgate_routes *to = &fp->routes[at];
	bool fits = count <= TOLLGATE_ROUTES;

	to->count = fits ? count : 0;
	for (unsigned i = 0; i < to->count; i++)
		to->list[i] = route_of(&routes[i]);
	atomic_write_release(&fp->settings->routes_at, at);
	return fits;
}

void fastpath_set_answering(struct fastpath *fp, bool is_answering)
{
	atomic_write_release(&fp->settings->is_answering, is_answering);
}
