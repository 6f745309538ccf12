/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store_migrate: copy everything from one store into another, empty one, and verify the copy.
 *
 * For a command-line command, not for the agent: the call blocks until everything is done.
 */
#ifndef STORE_STORE_MIGRATE_H
#define STORE_STORE_MIGRATE_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

struct store_migration {
	uint64_t accounts, keys, entries, quotas, usage, tasks; /* records copied */
	uint8_t digest[STORE_HASH_BYTES]; /* of all records; the same for both stores */
};

/*
 * Copy the store at @from to @to. @to must be empty; it is created if it does not exist. Both
 * belong to the pepper of @pepper_check. @from is not changed. The store's id is copied too, so a
 * host's slots and epochs stay valid. No agent may use either store meanwhile: a heartbeat in the
 * last ten seconds is an error.
 *
 * 0; or a negative errno, and @ret_why says what is wrong and what to do with @to: -EEXIST (it is
 * not empty), -EBUSY (in use), -EUCLEAN (the copy differs from the original), or an error of
 * store_open().
 */
int store_migrate(const char *from, const char *to, const uint8_t pepper_check[STORE_HASH_BYTES],
		  struct store_migration *ret_migration, char *ret_why, size_t why_size);

#endif
