/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * key_test: the format of keys, what is refused without a lookup, and the pepper's file.
 *
 * The vectors were computed independently, with Python's integers and zlib.crc32.
 */
#include "unit/enforce/enforce_fixture.h"

#include <ctype.h>
#include <fcntl.h>
#include <sys/stat.h>

static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static void keys_have_one_form(void **state)
{
	static const struct {
		const char *prefix;
		uint8_t first, step; /* the random bytes */
		uint8_t last;
		const char *key;
	} rows[] = {
		{ "tg_live", 0, 0, 0, "tg_live_00000000000000000000000000000000000000000003lyvF0" },
		{ "tg_live", 0xff, 0, 0xff,
		  "tg_live_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp11rN4sg" },
		{ "tg_live", 0, 1, 31,
		  "tg_live_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf49qrxe" },
		{ "k", 0xff, 0xff, 0xe0, "k_yhgIGB9quGfHP8Y83EcC2im5kZukTeYkpb69aekqK3M081Q6c" },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0, 0, 62,
		  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_"
		  "00000000000000000000000000000000000000000101TmGDC" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint8_t random[KEY_RANDOM_BYTES];
		char key[KEY_TEXT_SIZE];

		for (unsigned n = 0; n < sizeof(random); n++)
			random[n] = (uint8_t)(rows[i].first + n * rows[i].step);
		random[31] = rows[i].last;
		key_format(rows[i].prefix, random, key);
		assert_string_equal(key, rows[i].key);
		assert_true(key_is_plausible(rows[i].prefix, text_of(key)));
	}
}

static void generated_keys_differ(void **state)
{
	char keys[64][KEY_TEXT_SIZE];

	(void)state;
	for (unsigned i = 0; i < 64; i++) {
		assert_int_equal(key_generate("tg_live", keys[i]), 0);
		assert_int_equal(strlen(keys[i]), 57);
		assert_true(key_is_plausible("tg_live", text_of(keys[i])));
		for (unsigned j = 0; j < i; j++)
			assert_memory_not_equal(keys[i], keys[j], 20);
	}
}

static void every_mistyped_digit_is_noticed(void **state)
{
	char key[KEY_TEXT_SIZE];
	unsigned tried = 0;

	(void)state;
	for (unsigned n = 0; n < 20; n++) {
		assert_int_equal(key_generate("tg_live", key), 0);
		for (size_t at = 8; at < 57; at++) {
			char was = key[at];

			for (const char *c = digits; *c; c++) {
				key[at] = *c;
				if (key_is_plausible("tg_live", text_of(key)) != (*c == was))
					fail_msg("'%s': '%c' for '%c' at %zu", key, *c, was, at);
				tried++;
			}
			key[at] = was;
		}
	}
	assert_int_equal(tried, 20 * 49 * 62);
}

static void swapped_digits_are_noticed(void **state)
{
	char key[KEY_TEXT_SIZE];

	(void)state;
	for (unsigned n = 0; n < 50; n++) {
		assert_int_equal(key_generate("tg_live", key), 0);
		for (size_t at = 8; at < 56; at++) {
			char was = key[at];

			key[at] = key[at + 1];
			key[at + 1] = was;
			if (key[at] != was && key_is_plausible("tg_live", text_of(key)))
				fail_msg("'%s': at %zu", key, at);
			key[at + 1] = key[at];
			key[at] = was;
		}
	}
}

#define OWN "tg_live_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf49qrxe"

static void implausible_keys_are_refused_without_a_lookup(void **state)
{
	char longest[KEY_MAX_BYTES + 1];
	const struct {
		struct text key;
		bool is_plausible;
		const char *why;
	} rows[] = {
		{ TEXT(OWN), true, "one of ours" },
		{ TEXT(OWN "0"), false, "one of ours and a digit" },
		{ { OWN, sizeof(OWN) - 2 }, false, "one of ours without its last digit" },
		{ TEXT("tg_live_imported_123"), false, "our prefix, another form" },
		{ TEXT("tg_live_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf49qrx-"), false,
		  "our prefix and length, a byte that is no digit" },
		{ TEXT("tg_live_-0000000000000000000000000000000000000000003F9swX"), false,
		  "the right checksum of a secret that is none" },
		{ TEXT("tg_live_00000000000000000000000000000000000000000008SeAR4"), false,
		  "the checksum and 2^32" },
		{ TEXT("tg_live_"), false, "our prefix alone" },
		{ TEXT("tg_lives_imported_123"), true, "a longer prefix than ours" },
		{ TEXT("tg_liv_0123456789abcdef"), true, "a shorter one" },
		{ TEXT("TG_LIVE_0123456789abcdef"), true, "in capitals: another prefix" },
		{ TEXT("0123456789abcdef"), true, "16 bytes" },
		{ TEXT("0123456789abcde"), false, "15 bytes" },
		{ TEXT(""), false, "nothing" },
		{ { longest, KEY_MAX_BYTES }, true, "256 bytes" },
		{ { longest, KEY_MAX_BYTES + 1 }, false, "257 bytes" },
		{ TEXT("01234567 89abcdef"), false, "a blank" },
		{ TEXT("01234567\t89abcdef"), false, "a tab" },
		{ TEXT("01234567\00089abcdef"), false, "a NUL" },
		{ TEXT("01234567\x7f"
		       "89abcdef"),
		  false, "DEL" },
		{ TEXT("01234567\xc3\xa4"
		       "9abcdef"),
		  false, "not ASCII" },
		{ TEXT("!\"#$%&'()*+,-./~"), true, "all that is printable" },
	};

	(void)state;
	memset(longest, 'x', sizeof(longest));
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (key_is_plausible("tg_live", rows[i].key) != rows[i].is_plausible)
			fail_msg("%s", rows[i].why);
	}
}

static void hints_show_the_end_of_the_prefix_and_four_more(void **state)
{
	static const struct {
		const char *key, *hint, *why;
	} rows[] = {
		{ OWN, "tg_live...qrxe", "one of ours" },
		{ "k_yhgIGB9quGfHP8Y83EcC2im5kZukTeYkpb69aekqK3M081Q6c", "k...1Q6c",
		  "a short prefix" },
		{ "0123456789abcdef", "...cdef", "16 bytes: four of them" },
		{ "0123456789abcdefghij", "0...ghij", "20 bytes: five" },
		{ "a_bcdef_01234567", "...4567", "a prefix that would be half of the key" },
		{ "sk_live_0123456789abcdefghijklmnopqrstuv", "sk...stuv",
		  "40 bytes: a prefix of seven is too much, of two not" },
		{ "0123456789abcdefghijklmnopqrstuvwxyz0123456789ABCDEF", "01234567...CDEF",
		  "52 bytes without a prefix" },
		{ "my_rather_long_prefix_0123456789abcdefghijklmnopqrst", "my...qrst",
		  "a prefix that is longer than shown" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char hint[16];

		key_hint(text_of(rows[i].key), hint);
		if (strcmp(hint, rows[i].hint))
			fail_msg("%s: '%s'", rows[i].why, hint);
	}
}

static void hints_show_at_most_a_quarter(void **state)
{
	uint64_t seed = 0x9e3779b97f4a7c15ULL;
	char key[KEY_MAX_BYTES + 1], hint[16];

	(void)state;
	for (unsigned n = 0; n < 20000; n++) {
		size_t len = KEY_MIN_BYTES + draw(&seed) % (KEY_MAX_BYTES - KEY_MIN_BYTES + 1);
		size_t shown;

		for (size_t i = 0; i < len; i++)
			key[i] = draw(&seed) % 6 ? digits[draw(&seed) % 62] : '_';
		key_hint((struct text){ key, len }, hint);
		shown = strlen(hint) - 3; /* the dots */
		if (shown > len / 4 || strncmp(hint, key, shown - 4) ||
		    strncmp(hint + shown - 4, "...", 3) ||
		    memcmp(hint + shown - 1, key + len - 4, 4))
			fail_msg("'%.*s': '%s'", (int)len, key, hint);
	}
}

/* The pepper. */

struct pepper {
	char folder[64], path[96];
};

static int pepper_setup(void **state)
{
	struct pepper *p = calloc(1, sizeof(*p));

	strcpy(p->folder, "/tmp/tollgate-pepper-XXXXXX");
	if (!mkdtemp(p->folder))
		return -1;
	snprintf(p->path, sizeof(p->path), "%s/pepper", p->folder);
	*state = p;
	return 0;
}

static int pepper_teardown(void **state)
{
	struct pepper *p = *state;

	unlink(p->path);
	assert_int_equal(rmdir(p->folder), 0); /* no other file was left */
	free(p);
	return 0;
}

static int load_pepper(const char *path, uint8_t ret_check[CRYPTO_HASH_BYTES])
{
	struct crypto_hmac *pepper = NULL;
	int err = key_pepper_load(path, &pepper, ret_check);

	assert_int_equal(!err, pepper != NULL);
	crypto_hmac_free(pepper);
	return err;
}

static void write_file(const char *path, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static void a_pepper_is_made_once_and_only_its_owner_can_read_it(void **state)
{
	struct pepper *p = *state;
	uint8_t first[CRYPTO_HASH_BYTES], again[CRYPTO_HASH_BYTES];
	mode_t mask = umask(0);
	struct stat st;
	char left_over[128];

	/* A process with the same id died while it made a pepper. */
	snprintf(left_over, sizeof(left_over), "%s.%d", p->path, getpid());
	write_file(left_over, "half", 4);
	assert_int_equal(load_pepper(p->path, first), 0);
	assert_int_equal(stat(p->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 32);
	assert_int_equal(load_pepper(p->path, again), 0);
	assert_memory_equal(first, again, sizeof(first));
	unlink(p->path);
	assert_int_equal(load_pepper(p->path, again), 0);
	assert_memory_not_equal(first, again, sizeof(first));
	umask(mask);
}

static void the_check_is_an_hmac_of_a_fixed_text(void **state)
{
	struct pepper *p = *state;
	uint8_t check[CRYPTO_HASH_BYTES];
	char bytes[32], hex[65];

	memset(bytes, 'p', sizeof(bytes));
	write_file(p->path, bytes, sizeof(bytes));
	assert_int_equal(load_pepper(p->path, check), 0);
	text_hex(check, sizeof(check), hex);
	assert_string_equal(hex,
			    "8965960f9102c23b7e57df5aabace7da8d74c7430feacbc431ad435b58258572");
}

static void a_pepper_has_32_to_4096_bytes(void **state)
{
	static const struct {
		size_t len;
		int err;
	} rows[] = {
		{ 0, -EINVAL }, { 31, -EINVAL },   { 32, 0 },
		{ 4096, 0 },	{ 4097, -EINVAL }, { 8000, -EINVAL },
	};
	struct pepper *p = *state;
	uint8_t check[CRYPTO_HASH_BYTES];
	static char bytes[8000];

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct stat st;

		write_file(p->path, bytes, rows[i].len);
		if (load_pepper(p->path, check) != rows[i].err)
			fail_msg("%zu bytes", rows[i].len);
		assert_int_equal(stat(p->path, &st), 0);
		assert_int_equal(st.st_size, (off_t)rows[i].len); /* the file is unchanged */
	}
}

static void every_byte_of_the_pepper_counts(void **state)
{
	struct pepper *p = *state;
	uint8_t check[CRYPTO_HASH_BYTES], other[CRYPTO_HASH_BYTES];
	char bytes[100] = { 0 };

	write_file(p->path, bytes, sizeof(bytes));
	assert_int_equal(load_pepper(p->path, check), 0);
	bytes[99] = 1;
	write_file(p->path, bytes, sizeof(bytes));
	assert_int_equal(load_pepper(p->path, other), 0);
	assert_memory_not_equal(check, other, sizeof(check));
}

static void a_pepper_that_cannot_be_loaded_says_why(void **state)
{
	struct pepper *p = *state;
	uint8_t check[CRYPTO_HASH_BYTES];
	char path[128];

	snprintf(path, sizeof(path), "%s/none/pepper", p->folder);
	assert_int_equal(load_pepper(path, check), -ENOENT);
	assert_int_equal(load_pepper(p->folder, check), -EISDIR);
}

#define PEPPER(f) cmocka_unit_test_setup_teardown(f, pepper_setup, pepper_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_have_one_form),
		cmocka_unit_test(generated_keys_differ),
		cmocka_unit_test(every_mistyped_digit_is_noticed),
		cmocka_unit_test(swapped_digits_are_noticed),
		cmocka_unit_test(implausible_keys_are_refused_without_a_lookup),
		cmocka_unit_test(hints_show_the_end_of_the_prefix_and_four_more),
		cmocka_unit_test(hints_show_at_most_a_quarter),
		PEPPER(a_pepper_is_made_once_and_only_its_owner_can_read_it),
		PEPPER(the_check_is_an_hmac_of_a_fixed_text),
		PEPPER(a_pepper_has_32_to_4096_bytes),
		PEPPER(every_byte_of_the_pepper_counts),
		PEPPER(a_pepper_that_cannot_be_loaded_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
