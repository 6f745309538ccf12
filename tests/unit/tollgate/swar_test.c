/* SPDX-License-Identifier: BSD-2-Clause */
/* Tests of eight bytes at once, compared with the same test of each byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <linux/types.h>

#include "tollgate/swar.h"

static bool is_letter(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_not_digit(uint8_t c)
{
	return c < '0' || c > '9';
}

static bool is_past_name(uint8_t c)
{
	return !is_letter(c) && is_not_digit(c) && c != '-' && c != '.';
}

static bool is_past_query(uint8_t c)
{
	return is_past_name(c) && (!c || !strchr("&'()*+,/:;=_", c));
}

static bool is_control(uint8_t c)
{
	return c < 0x20 || c >= 0x7f;
}

static const struct {
	__u64 (*mark)(__u64 word);
	bool (*is_marked)(uint8_t c);
	const char *why;
} classes[] = {
	{ tollgate_swar_past_digits, is_not_digit, "digits" },
	{ tollgate_swar_past_name, is_past_name, "name" },
	{ tollgate_swar_past_query, is_past_query, "query" },
	{ tollgate_swar_controls, is_control, "controls" },
};

static __u64 word_of(const uint8_t bytes[8])
{
	__u64 word;

	memcpy(&word, bytes, sizeof(word));
	return word;
}

/* Every pair of bytes, at every place, after bytes that are in the class and before random ones. */
static void the_first_byte_outside_a_class_is_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		for (unsigned pair = 0; pair < 65536 * 7; pair++) {
			unsigned at = pair >> 16, expected = at;
			uint8_t bytes[8] = "55555555";
			__u64 mask;

			bytes[at] = pair;
			bytes[at + 1] = pair >> 8;
			while (expected < 8 && !classes[i].is_marked(bytes[expected]))
				expected++;
			mask = classes[i].mark(word_of(bytes));
			if ((mask ? tollgate_swar_first(mask) : 8) != expected)
				fail_msg("%s: %02x %02x at %u", classes[i].why, bytes[at],
					 bytes[at + 1], at);
		}
	}
}

static void letters_ranges_and_bytes_are_recognized_below_0x80(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 0x80; c++) {
		__u64 word = TOLLGATE_SWAR(c), all = TOLLGATE_SWAR_HIGH;

		assert_int_equal(tollgate_swar_letters(word) & all, is_letter(c) ? all : 0);
		assert_int_equal(tollgate_swar_range(word, '&', ';') & all,
				 c >= '&' && c <= ';' ? all : 0);
		assert_int_equal(tollgate_swar_not(word, '=') & all, c == '=' ? 0 : all);
	}
}

static void odd_slashes_are_found_across_words(void **state)
{
	static const struct {
		const char *path;
		unsigned first; /* index of the first odd slash, or 8 */
	} rows[] = {
		{ "/a/b/c/de", 8 }, { "//aaaaaaa", 0 }, { "/.aaaaaaa", 0 }, { "aaaaaaa//", 7 },
		{ "aaaaaaa/.", 7 }, { "aaaaaaa/-", 8 }, { "a.a.a.a.a", 8 }, { "a/a/./a/a", 3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const uint8_t *path = (const uint8_t *)rows[i].path;
		__u64 mask = tollgate_swar_odd_slashes(word_of(path), word_of(path + 1));

		if ((mask ? tollgate_swar_first(mask) : 8) != rows[i].first)
			fail_msg("%s", rows[i].path);
	}
}

static void before_masks_the_bits_below_a_mark(void **state)
{
	(void)state;
	assert_int_equal(tollgate_swar_before(0), ~0ULL);
	assert_int_equal(tollgate_swar_before(0x80), 0x7f);
	assert_int_equal(tollgate_swar_before(0x80800000), 0x7fffff);
	assert_int_equal(tollgate_swar_low(0), 0);
	assert_int_equal(tollgate_swar_low(3), 0xffffff);
}

static void numbers_are_read_without_what_follows(void **state)
{
	char text[16];
	uint8_t bytes[8];

	(void)state;
	for (unsigned count = 1, number = 7; count <= 8; count++, number = number * 10 + count) {
		memset(bytes, 0xff, sizeof(bytes));
		snprintf(text, sizeof(text), "%u", number);
		memcpy(bytes, text, count);
		assert_int_equal(tollgate_swar_number(word_of(bytes), count), number);
	}
	assert_int_equal(tollgate_swar_number(word_of((const uint8_t *)"99999999"), 8), 99999999);
	assert_int_equal(tollgate_swar_number(word_of((const uint8_t *)"00000012"), 8), 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_byte_outside_a_class_is_found),
		cmocka_unit_test(letters_ranges_and_bytes_are_recognized_below_0x80),
		cmocka_unit_test(odd_slashes_are_found_across_words),
		cmocka_unit_test(before_masks_the_bits_below_a_mark),
		cmocka_unit_test(numbers_are_read_without_what_follows),
	};

	return cmocka_run_group_tests_name("swar", tests, NULL, NULL);
}
