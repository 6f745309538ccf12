/* SPDX-License-Identifier: BSD-2-Clause */
/* key: the format of API keys, and the keyed hash under which they are stored. */
#include "enforce/key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <openssl/crypto.h>

#define SECRET_DIGITS	 43
#define CHECK_DIGITS	 6
#define PEPPER_MIN_BYTES 32
#define PEPPER_MAX_BYTES 4096
#define HINT_START	 8
#define HINT_END	 4

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* Write @bytes, a big-endian number, as @digits digits in base 62. Destroys @bytes. */
static void write_base62(uint8_t *bytes, size_t len, char *ret_digits, size_t digits)
{
	for (size_t d = digits; d-- > 0;) {
		unsigned rest = 0;

		for (size_t i = 0; i < len; i++) {
			unsigned value = rest << 8 | bytes[i];

			bytes[i] = (uint8_t)(value / 62);
			rest = value % 62;
		}
		ret_digits[d] = base62[rest];
	}
}

static void write_check(const char *text, size_t len, char *ret_digits)
{
	uint32_t crc = (uint32_t)crc32(0, (const Bytef *)text, (uInt)len);
	uint8_t bytes[4] = { (uint8_t)(crc >> 24), (uint8_t)(crc >> 16), (uint8_t)(crc >> 8),
			     (uint8_t)crc };

	write_base62(bytes, sizeof(bytes), ret_digits, CHECK_DIGITS);
}

void key_format(const char *prefix, const uint8_t random[KEY_RANDOM_BYTES],
		char ret_key[KEY_TEXT_SIZE])
{
	uint8_t bytes[KEY_RANDOM_BYTES];
	size_t len = (size_t)snprintf(ret_key, KEY_TEXT_SIZE, "%.*s_", KEY_PREFIX_MAX, prefix);

	memcpy(bytes, random, sizeof(bytes));
	write_base62(bytes, sizeof(bytes), ret_key + len, SECRET_DIGITS);
	len += SECRET_DIGITS;
	write_check(ret_key, len, ret_key + len);
	ret_key[len + CHECK_DIGITS] = '\0';
}

int key_generate(const char *prefix, char ret_key[KEY_TEXT_SIZE])
{
	uint8_t random[KEY_RANDOM_BYTES];
	int err = crypto_random(random, sizeof(random));

	if (err)
		return err;
	key_format(prefix, random, ret_key);
	OPENSSL_cleanse(random, sizeof(random));
	return 0;
}

/* The value of each base62 digit plus one; 0 for all other characters. */
static const uint8_t digit_values[256] = {
	['0'] = 1,  ['1'] = 2,	['2'] = 3,  ['3'] = 4,	['4'] = 5,  ['5'] = 6,	['6'] = 7,
	['7'] = 8,  ['8'] = 9,	['9'] = 10, ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14,
	['E'] = 15, ['F'] = 16, ['G'] = 17, ['H'] = 18, ['I'] = 19, ['J'] = 20, ['K'] = 21,
	['L'] = 22, ['M'] = 23, ['N'] = 24, ['O'] = 25, ['P'] = 26, ['Q'] = 27, ['R'] = 28,
	['S'] = 29, ['T'] = 30, ['U'] = 31, ['V'] = 32, ['W'] = 33, ['X'] = 34, ['Y'] = 35,
	['Z'] = 36, ['a'] = 37, ['b'] = 38, ['c'] = 39, ['d'] = 40, ['e'] = 41, ['f'] = 42,
	['g'] = 43, ['h'] = 44, ['i'] = 45, ['j'] = 46, ['k'] = 47, ['l'] = 48, ['m'] = 49,
	['n'] = 50, ['o'] = 51, ['p'] = 52, ['q'] = 53, ['r'] = 54, ['s'] = 55, ['t'] = 56,
	['u'] = 57, ['v'] = 58, ['w'] = 59, ['x'] = 60, ['y'] = 61, ['z'] = 62,
};

/* Whether a key with our prefix is well formed. Its digits start at @secret_at. */
static bool is_own(struct text key, size_t secret_at)
{
	const unsigned char *digits = (const unsigned char *)key.ptr + secret_at;
	uint64_t check = 0;

	if (key.len != secret_at + SECRET_DIGITS + CHECK_DIGITS)
		return false;
	for (size_t i = 0; i < SECRET_DIGITS + CHECK_DIGITS; i++) {
		if (!digit_values[digits[i]])
			return false;
	}
	/* Six digits can hold more than 32 bits, so compare the full number. */
	for (size_t i = SECRET_DIGITS; i < SECRET_DIGITS + CHECK_DIGITS; i++)
		check = check * 62 + digit_values[digits[i]] - 1;
	return check == crc32(0, (const Bytef *)key.ptr, (uInt)(secret_at + SECRET_DIGITS));
}

/* Without an early exit, so that the compiler can vectorize the loop. */
static bool is_printable(struct text key)
{
	unsigned others = 0;

	for (size_t i = 0; i < key.len; i++)
		others |= (unsigned char)(key.ptr[i] - '!') > '~' - '!';
	return !others;
}

bool key_is_plausible(const char *prefix, struct text key)
{
	size_t prefix_len = strlen(prefix);

	if (key.len < KEY_MIN_BYTES || key.len > KEY_MAX_BYTES || !is_printable(key))
		return false;
	if (key.len > prefix_len && !memcmp(key.ptr, prefix, prefix_len) &&
	    key.ptr[prefix_len] == '_')
		return is_own(key, prefix_len + 1);
	return true;
}

void key_hint(struct text key, char ret_hint[16])
{
	/* At most a quarter of the key, so that the hint of a short imported key reveals little. */
	size_t room = key.len / 4 > HINT_END ? key.len / 4 - HINT_END : 0;
	const char *prefix_end;

	if (room > HINT_START)
		room = HINT_START;
	prefix_end = memrchr(key.ptr, '_', room + 1);
	snprintf(ret_hint, 16, "%.*s...%.*s", (int)(prefix_end ? prefix_end - key.ptr : (long)room),
		 key.ptr, HINT_END, key.ptr + key.len - HINT_END);
}

static int write_all(int fd, const uint8_t *bytes, size_t len)
{
	while (len) {
		ssize_t wrote = write(fd, bytes, len);

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0)
			return -errno;
		bytes += wrote;
		len -= (size_t)wrote;
	}
	return fsync(fd) ? -errno : 0;
}

/* Make the file name durable too: without the pepper, every key would be unknown. */
static int sync_folder(const char *path)
{
	char folder[4096];
	const char *slash = strrchr(path, '/');
	int fd, err = 0;

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 1,
		 slash ? path : ".");
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fsync(fd))
		err = -errno;
	close(fd);
	return err;
}

static int pepper_make(const char *path)
{
	uint8_t pepper[PEPPER_MIN_BYTES];
	char fresh[4096];
	int fd, err = crypto_random(pepper, sizeof(pepper));

	if (err)
		return err;
	/* Write another file and link it, so that no reader sees an incomplete pepper. */
	if (snprintf(fresh, sizeof(fresh), "%s.%d", path, getpid()) >= (int)sizeof(fresh))
		return -ENAMETOOLONG;
	unlink(fresh); /* left by a process that died here and had the same id */
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	err = write_all(fd, pepper, sizeof(pepper));
	OPENSSL_cleanse(pepper, sizeof(pepper));
	close(fd);
	if (!err && link(fresh, path) && errno != EEXIST)
		err = -errno;
	unlink(fresh);
	return err ? err : sync_folder(path);
}

static int pepper_read(const char *path, uint8_t *ret_bytes, size_t *ret_len)
{
	size_t len = 0;
	ssize_t got = 0;
	int err = 0, fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	while (len <= PEPPER_MAX_BYTES) {
		got = read(fd, ret_bytes + len, PEPPER_MAX_BYTES + 1 - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		len += (size_t)got;
	}
	if (got < 0)
		err = -errno;
	close(fd);
	if (!err && (len < PEPPER_MIN_BYTES || len > PEPPER_MAX_BYTES))
		err = -EINVAL;
	*ret_len = len;
	return err;
}

int key_pepper_load(const char *path, struct crypto_hmac **ret_pepper,
		    uint8_t ret_check[CRYPTO_HASH_BYTES])
{
	static const char known[] = "tollgate pepper check";
	uint8_t bytes[PEPPER_MAX_BYTES + 1];
	struct crypto_hmac *pepper;
	size_t len;
	int err = pepper_read(path, bytes, &len);

	if (err == -ENOENT) {
		err = pepper_make(path);
		if (!err)
			err = pepper_read(path, bytes, &len);
	}
	if (err)
		return err;
	pepper = crypto_hmac_new(bytes, len);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	if (!pepper)
		return -ENOMEM;
	crypto_hmac_sha256(pepper, known, sizeof(known) - 1, ret_check);
	*ret_pepper = pepper;
	return 0;
}
