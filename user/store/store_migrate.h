/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store_migrate: all that one store holds, into another that is empty; and whether both are the same then.
 *
 * For a command of its own, without an agent: everything is done before it returns.
 */
#ifndef STORE_STORE_MIGRATE_H
#define STORE_STORE_MIGRATE_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

struct store_migration {
	uint64_t accounts, keys, entries, quotas, usage, tasks; /* records moved */
	uint8_t digest[STORE_HASH_BYTES]; /* over all of them, as they are read back from both */
};

/*
 * Copy the store at @from to @to, which is made, and must not exist or be empty; both made with the pepper of
 * @pepper_check. @from stays as it is. The store's id comes along, so slots and epochs of a host stay
 * valid. Nobody may use either meanwhile: hosts that were heard of in the last ten seconds are an error.
 * 0; or a negative errno, and @ret_why says what is wrong and what is to be done with @to: -EEXIST
 * (there is something in it), -EBUSY (in use), -EUCLEAN (what was read back differs), or as store_open().
 */
int store_migrate(const char *from, const char *to, const uint8_t pepper_check[STORE_HASH_BYTES],
		  struct store_migration *ret_migration, char *ret_why, size_t why_size);

#endif
