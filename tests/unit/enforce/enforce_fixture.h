/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * enforce_fixture: slots in plain memory, tiers, a mirror and a gate, with a simulated clock.
 */
#ifndef ENFORCE_FIXTURE_H
#define ENFORCE_FIXTURE_H

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "enforce/gate.h"
#include "enforce/key.h"
#include "enforce/mirror.h"
#include "enforce/usage.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define SLOTS	  64
#define NOW_NS	  (1000 * NS_PER_SECOND)
#define WALL_MS	  1700000000000ULL /* 2023-11-14T22:13:20Z */
#define GRACE_MS  (7 * 86400000ULL)
#define PREFIX	  "tg_test"
#define PLAIN_KEY "an-imported-key-1"

/* Features of the tiers below, by bit. */
enum { EXPORT = 0, ADMIN = 63 };

struct fixture {
	struct tollgate_slots_head head;
	struct tollgate_slot *list; /* owned */
	struct slots slots;
	struct tier tier_list[4];
	struct tiers tiers;
	struct mirror *mirror;
	struct crypto_hmac *pepper;
	struct gate gate;
	uint8_t boot_id[16], store_id[16];
};

static inline struct tier make_tier(const char *name, uint64_t interval_ns, uint64_t burst)
{
	return (struct tier){ .name = (char *)name,
			      .interval_ns = interval_ns,
			      .burst = burst,
			      .grace_ms = GRACE_MS,
			      .limit_ns = interval_ns * burst };
}

static inline void fixture_tiers(struct fixture *f)
{
	f->tier_list[0] = make_tier("basic", 10 * NS_PER_MS, 5); /* 100/s */
	f->tier_list[0].quota = 1000;
	f->tier_list[0].period = TOLLGATE_PERIOD_MONTH;
	f->tier_list[0].concurrency = 8;
	f->tier_list[0].features = 1ULL << EXPORT | 1ULL << ADMIN;
	f->tier_list[1] = make_tier("free", 0, 0); /* no limit at all */
	f->tier_list[2] = make_tier("slow", NS_PER_SECOND, 10);
	f->tier_list[3] = make_tier("daily", 0, 0);
	f->tier_list[3].quota = 10;
	f->tier_list[3].period = TOLLGATE_PERIOD_DAY;
	f->tiers = (struct tiers){ .list = f->tier_list, .count = 4 };
}

static inline int fixture_adopt(struct fixture *f)
{
	return slots_adopt(&f->slots, f->boot_id, f->store_id, USAGE_WINDOW_SECONDS);
}

static inline int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->list = aligned_alloc(64, SLOTS * sizeof(*f->list));
	memset(f->list, 0, SLOTS * sizeof(*f->list));
	memset(f->boot_id, 'b', sizeof(f->boot_id));
	memset(f->store_id, 's', sizeof(f->store_id));
	fixture_tiers(f);
	mirror_register_thread();
	if (slots_use_map(&f->slots, f->list, &f->head, SLOTS) || fixture_adopt(f) != SLOTS_NEW)
		return -1;
	f->mirror = mirror_new(&f->slots);
	f->pepper = crypto_hmac_new("pepper", 6);
	if (!f->mirror || !f->pepper || mirror_set_tiers(f->mirror, &f->tiers, WALL_MS, NOW_NS))
		return -1;
	f->gate = (struct gate){ .slots = &f->slots,
				 .mirror = f->mirror,
				 .pepper = f->pepper,
				 .key_prefix = PREFIX,
				 .is_loaded = true,
				 .is_current = true };
	*state = f;
	return 0;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	mirror_free(f->mirror);
	mirror_unregister_thread();
	slots_done(&f->slots);
	crypto_hmac_free(f->pepper);
	free(f->list);
	free(f);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

static inline void put_account(struct fixture *f, uint64_t id, const char *tier,
			       enum store_status status)
{
	struct store_account account = { .id = id, .status = status };

	snprintf(account.tier, sizeof(account.tier), "%s", tier);
	if (status == STORE_PAST_DUE)
		account.past_due_ms = WALL_MS;
	assert_int_equal(mirror_put_account(f->mirror, &account, WALL_MS, NOW_NS), 0);
}

static inline void put_key(struct fixture *f, uint64_t id, uint64_t account, struct text text,
			   uint64_t revoked_ms)
{
	struct store_key key = { .id = id, .account = account, .revoked_ms = revoked_ms };

	crypto_hmac_sha256(f->pepper, text.ptr, text.len, key.hash);
	assert_int_equal(mirror_put_key(f->mirror, &key), 0);
}

/* The slot of an existing account. */
static inline struct tollgate_slot *slot_of_account(struct fixture *f, uint64_t id)
{
	struct store_account account;
	uint32_t slot;

	assert_true(mirror_account(f->mirror, id, &account, &slot));
	return &f->list[slot];
}

/* An account with the key PLAIN_KEY. */
static inline struct tollgate_slot *put_customer(struct fixture *f, const char *tier)
{
	put_account(f, 7, tier, STORE_ACTIVE);
	put_key(f, 70, 7, TEXT(PLAIN_KEY), 0);
	return slot_of_account(f, 7);
}

static inline struct gate_request make_request(void)
{
	return (struct gate_request){ .key = TEXT(PLAIN_KEY),
				      .cost = 1,
				      .feature = -1,
				      .now_ns = NOW_NS,
				      .wall_ms = WALL_MS };
}

static inline struct gate_result check(struct fixture *f, const struct gate_request *request)
{
	struct gate_result result;

	gate_check(&f->gate, request, &result);
	return result;
}

/* Run @threads threads with @arg; all start at the same moment. */
struct crew {
	void (*work)(void *arg, unsigned index);
	void *arg;
	unsigned index;
	pthread_barrier_t *start;
};

static inline void *crew_main(void *arg)
{
	struct crew *member = arg;

	mirror_register_thread();
	pthread_barrier_wait(member->start);
	member->work(member->arg, member->index);
	mirror_unregister_thread();
	return NULL;
}

#define CREW_MAX 16

static inline void run_crew(unsigned threads, void (*work)(void *arg, unsigned index), void *arg)
{
	struct crew members[CREW_MAX];
	pthread_t ids[CREW_MAX];
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, threads);
	for (unsigned i = 0; i < threads; i++) {
		members[i] = (struct crew){ work, arg, i, &start };
		assert_int_equal(pthread_create(&ids[i], NULL, crew_main, &members[i]), 0);
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	pthread_barrier_destroy(&start);
}

/* A small, fast, repeatable generator. Tests print the seed when they fail. */
static inline uint64_t draw(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

#endif
