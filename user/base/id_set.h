/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * id_set: a growing set of 64-bit numbers other than 0.
 *
 * Eight to thirty-two bytes a number; nothing can be removed but everything. Not for several
 * threads at once.
 */
#ifndef BASE_ID_SET_H
#define BASE_ID_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct id_set {
	uint64_t *places; /* owned: an open hash; 0 is free */
	size_t place_count, count;
};

/* A zeroed set is empty. Free what it holds; it is empty again. */
void id_set_done(struct id_set *set);

bool id_set_has(const struct id_set *set, uint64_t id);

/*
 * Add @id. 1 if it is new, 0 if it was there, -ENOSPC if @most numbers are there already, -ENOMEM;
 * after an error the set is as before.
 */
int id_set_add(struct id_set *set, uint64_t id, size_t most);

#endif
