/* SPDX-License-Identifier: BSD-2-Clause */
/* id_set: a growing set of 64-bit numbers other than 0. */
#include "base/id_set.h"

#include <errno.h>
#include <stdlib.h>

#define MIN_PLACES 64

/* Where @id is, or would be. There is always a free place. */
static size_t place_of(const struct id_set *set, uint64_t id)
{
	size_t mask = set->place_count - 1, at = (id * 0x9e3779b97f4a7c15ULL >> 16) & mask;

	while (set->places[at] && set->places[at] != id)
		at = (at + 1) & mask;
	return at;
}

void id_set_done(struct id_set *set)
{
	free(set->places);
	*set = (struct id_set){ 0 };
}

bool id_set_has(const struct id_set *set, uint64_t id)
{
	return set->place_count && set->places[place_of(set, id)];
}

static int grow(struct id_set *set)
{
	struct id_set larger = { .place_count =
					 set->place_count ? 2 * set->place_count : MIN_PLACES,
				 .count = set->count };

	larger.places = calloc(larger.place_count, sizeof(*larger.places));
	if (!larger.places)
		return -ENOMEM;
	for (size_t i = 0; i < set->place_count; i++) {
		if (set->places[i])
			larger.places[place_of(&larger, set->places[i])] = set->places[i];
	}
	free(set->places);
	*set = larger;
	return 0;
}

int id_set_add(struct id_set *set, uint64_t id, size_t most)
{
	if (id_set_has(set, id))
		return 0;
	if (set->count >= most)
		return -ENOSPC;
	if (2 * (set->count + 1) > set->place_count && grow(set))
		return -ENOMEM;
	set->places[place_of(set, id)] = id;
	set->count++;
	return 1;
}
