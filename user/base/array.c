/* SPDX-License-Identifier: BSD-2-Clause */
/* array: growth of heap arrays. */
#include "base/array.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 8

int array_grow(void *items_at, size_t *room, size_t need, size_t item_bytes, size_t most)
{
	size_t larger = *room <= SIZE_MAX / 2 ? *room * 2 : SIZE_MAX;
	size_t bytes;
	void *items;

	if (need > most)
		return -ENOSPC;
	if (need <= *room)
		return 0;
	if (larger < FIRST_ROOM)
		larger = FIRST_ROOM;
	if (larger > most)
		larger = most;
	if (larger < need)
		larger = need;
	if (__builtin_mul_overflow(larger, item_bytes, &bytes))
		return -ENOMEM;
	/*
	 * The caller's pointer has a type of its own, so it is copied, not accessed as a void
	 * pointer.
	 */
	memcpy(&items, items_at, sizeof(items));
	items = realloc(items, bytes);
	if (!items)
		return -ENOMEM;
	memcpy(items_at, &items, sizeof(items));
	*room = larger;
	return 0;
}
