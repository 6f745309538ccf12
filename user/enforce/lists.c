/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lists: blocks of addresses that are denied, or that never get a penalty.
 *
 * The entries are in one array, sorted by the length of the prefix, longest first, and then by
 * address. A lookup searches the blocks of each length that occurs; the first match is the most
 * specific one. Lists are short and looked up once per connection, so a read-write lock is fast
 * enough.
 */
#include "enforce/lists.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/atomic.h"
#include "base/clock.h"

struct lists {
	struct xdp_plane *xdp; /* borrowed; NULL: the agent alone */
	pthread_rwlock_t lock; /* protects the members below */
	struct store_entry *entries;
	size_t count;	   /* atomic: also read without the lock, since it is usually 0 */
	size_t first[130]; /* [i]: first entry with a prefix of 128 - i bits or fewer */
	size_t room;
};

static unsigned place_of_length(const struct cidr *block)
{
	return 128u - block->prefix_bits;
}

/* The index of @block in the array, or where to insert it. */
static size_t find(const struct lists *lists, const struct cidr *block, bool *ret_found)
{
	size_t low = lists->first[place_of_length(block)];
	size_t high = lists->first[place_of_length(block) + 1];

	*ret_found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = memcmp(lists->entries[middle].block.address, block->address,
				   sizeof(block->address));

		if (!order)
			*ret_found = true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void set_count(struct lists *lists, size_t count)
{
	atomic_write(&lists->count, count);
	xdp_set_list_count(lists->xdp, (uint32_t)count);
}

struct lists *lists_new(struct xdp_plane *xdp)
{
	struct lists *lists = calloc(1, sizeof(*lists));

	if (!lists)
		return NULL;
	lists->xdp = xdp;
	set_count(lists, 0); /* XDP may still have the count of an earlier agent */
	pthread_rwlock_init(&lists->lock, NULL);
	return lists;
}

void lists_free(struct lists *lists)
{
	if (!lists)
		return;
	pthread_rwlock_destroy(&lists->lock);
	free(lists->entries);
	free(lists);
}

/* Move the start of all lengths after @place by @by entries. */
static void shift_lengths(struct lists *lists, unsigned place, int by)
{
	for (unsigned i = place + 1; i < sizeof(lists->first) / sizeof(lists->first[0]); i++)
		lists->first[i] += (size_t)by;
}

static int insert(struct lists *lists, const struct store_entry *entry)
{
	bool found;
	size_t at = find(lists, &entry->block, &found);
	int err = 0;

	if (!found)
		err = array_reserve(lists->entries, lists->room, lists->count + 1, LISTS_MAX);
	if (err)
		return err;
	if (!found) {
		memmove(&lists->entries[at + 1], &lists->entries[at],
			(lists->count - at) * sizeof(*entry));
		shift_lengths(lists, place_of_length(&entry->block), 1);
		set_count(lists, lists->count + 1);
	}
	lists->entries[at] = *entry;
	return 0;
}

/* Remove the entry at index @at, also from XDP's copy. The caller holds the lock. */
static void take_out(struct lists *lists, size_t at)
{
	struct cidr block = lists->entries[at].block;

	memmove(&lists->entries[at], &lists->entries[at + 1],
		(lists->count - at - 1) * sizeof(*lists->entries));
	shift_lengths(lists, place_of_length(&block), -1);
	xdp_list_remove(lists->xdp, &block);
	set_count(lists, lists->count - 1);
}

void lists_clear(struct lists *lists)
{
	pthread_rwlock_wrlock(&lists->lock);
	while (lists->count)
		take_out(lists, lists->count - 1);
	pthread_rwlock_unlock(&lists->lock);
}

static bool has_ended(const struct store_entry *entry, uint64_t wall_ms)
{
	return entry->until_ms && entry->until_ms <= wall_ms;
}

int lists_put(struct lists *lists, const struct store_entry *entry, uint64_t wall_ms,
	      uint64_t mono_ns)
{
	uint64_t until_ns = 0;
	int err;

	if (has_ended(entry, wall_ms)) {
		lists_remove(lists, &entry->block);
		return 0;
	}
	if (entry->until_ms)
		until_ns = mono_ns + (entry->until_ms - wall_ms) * NS_PER_MS;
	pthread_rwlock_wrlock(&lists->lock);
	err = insert(lists, entry);
	if (!err)
		err = xdp_list_put(lists->xdp, &entry->block, entry->list == STORE_ALLOW, until_ns);
	pthread_rwlock_unlock(&lists->lock);
	return err;
}

void lists_remove(struct lists *lists, const struct cidr *block)
{
	bool found;
	size_t at;

	pthread_rwlock_wrlock(&lists->lock);
	at = find(lists, block, &found);
	if (found)
		take_out(lists, at);
	pthread_rwlock_unlock(&lists->lock);
}

size_t lists_expire(struct lists *lists, uint64_t wall_ms)
{
	size_t ended = 0;

	for (size_t i = lists->count; i-- > 0;) {
		if (!has_ended(&lists->entries[i], wall_ms))
			continue;
		pthread_rwlock_wrlock(&lists->lock);
		take_out(lists, i);
		pthread_rwlock_unlock(&lists->lock);
		ended++;
	}
	return ended;
}

/* The block of the first @bits bits of @address. */
static struct cidr cut(const struct cidr *address, unsigned bits)
{
	struct cidr block = { .prefix_bits = (uint8_t)bits };

	memcpy(block.address, address->address, bits / 8);
	if (bits % 8)
		block.address[bits / 8] =
			address->address[bits / 8] & (uint8_t)(0xff00 >> bits % 8);
	return block;
}

enum lists_verdict lists_look_up(struct lists *lists, const struct sockaddr_storage *address,
				 uint64_t wall_ms)
{
	enum lists_verdict verdict = LISTS_NONE;
	struct cidr one;

	if (!atomic_read(&lists->count) || !cidr_of_address(address, &one))
		return LISTS_NONE;
	pthread_rwlock_rdlock(&lists->lock);
	for (unsigned place = 0; place <= 128 && verdict == LISTS_NONE; place++) {
		struct cidr block;
		bool found;
		size_t at;

		if (lists->first[place] == lists->first[place + 1])
			continue;
		block = cut(&one, 128 - place);
		at = find(lists, &block, &found);
		if (found && !has_ended(&lists->entries[at], wall_ms))
			verdict = lists->entries[at].list == STORE_ALLOW ? LISTS_ALLOWED
									 : LISTS_DENIED;
	}
	pthread_rwlock_unlock(&lists->lock);
	return verdict;
}

const struct store_entry *lists_entries(const struct lists *lists, size_t *ret_count)
{
	*ret_count = lists->count;
	return lists->entries;
}

const struct store_entry *lists_find(const struct lists *lists, const struct cidr *block)
{
	bool found;
	size_t at = find(lists, block, &found);

	return found ? &lists->entries[at] : NULL;
}
