/* SPDX-License-Identifier: BSD-2-Clause */
/* SipHash-2-4-128 compared with: openssl mac -macopt size:16 -macopt hexkey:0001..0f SIPHASH. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"
#include "tollgate/siphash.h"

static void the_hash_equals_openssls(void **state)
{
	static const struct {
		unsigned len;
		const char *hash, *why;
	} rows[] = {
		{ 0, "a3817f04ba25a8e66df67214c7550293", "nothing" },
		{ 1, "da87c1d86b99af44347659119b22fc45", "one byte" },
		{ 7, "a1f1ebbed8dbc153c0b84aa61ff08239", "a full last word" },
		{ 8, "3b62a9ba6258f5610f83e264f31497b4", "one whole word" },
		{ 15, "5493e99933b0a8117e08ec0f97cfc3d9", "a word and seven bytes" },
		{ 55, "67f14984c7da791248e32bb5922583da", "about as long as our keys" },
		{ 63, "5150d1772f50834a503e069a973fbd7c", "longer" },
	};
	uint8_t message[64], key_bytes[16];
	__u64 key[2], hash[2];
	char hex[33];

	(void)state;
	for (unsigned i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)i;
	memcpy(key_bytes, message, sizeof(key_bytes));
	memcpy(key, key_bytes, sizeof(key));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		tollgate_siphash128(key, message, rows[i].len, hash);
		text_hex(hash, sizeof(hash), hex);
		if (strcmp(hex, rows[i].hash) != 0)
			fail_msg("%s: %s", rows[i].why, hex);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_hash_equals_openssls),
	};

	return cmocka_run_group_tests_name("siphash", tests, NULL, NULL);
}
