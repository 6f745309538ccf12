/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * array: growth of heap arrays.
 *
 * An array is three variables of its owner: the pointer (NULL at first), the room (items allocated,
 * 0 at first) and the owner's count of items in use. The owner frees the pointer with free().
 *
 *     err = array_reserve(list->items, list->room, list->count + 1, LIST_MAX);
 *     if (err)
 *             return err;
 *     list->items[list->count++] = item;
 */
#ifndef BASE_ARRAY_H
#define BASE_ARRAY_H

#include <stddef.h>
#include <stdint.h>

/* For @most, where something else bounds the array already: say what, beside the call. */
#define ARRAY_NO_LIMIT SIZE_MAX

/*
 * Make sure that @items, with room for @room items, has room for @need items. Room at least doubles
 * when it grows, up to @most items. New items are not initialized, and the items may move.
 *
 * @items and @room are the variables themselves, not their addresses; @room is a size_t. Returns 0,
 * -ENOSPC if @need is more than @most, or -ENOMEM; after an error all is as before.
 */
#define array_reserve(items, room, need, most) \
	array_grow(&(items), &(room), (need), sizeof(*(items)), (most))

/* What array_reserve() calls; directly only for items whose size is not that of a type. */
__attribute__((warn_unused_result)) int array_grow(void *items_at, size_t *room, size_t need,
						   size_t item_bytes, size_t most);

#endif
