/* SPDX-License-Identifier: BSD-2-Clause */
/* redis_text: commands as lists of words, and records as lines of text. */
#include "store/redis/redis.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

/* Limits of one command. The largest words are bodies of webhooks, up to 1 MB each. */
#define ARGS_MAX  (64u << 20) /* bytes */
#define WORDS_MAX (1u << 20)  /* Redis accepts no more */

void redis_args_init(struct redis_args *args)
{
	*args = (struct redis_args){ 0 };
	buf_init(&args->bytes, ARGS_MAX);
}

void redis_args_done(struct redis_args *args)
{
	buf_done(&args->bytes);
	free(args->ends);
	*args = (struct redis_args){ 0 };
}

static void add_bytes(struct redis_args *args, const void *bytes, size_t len)
{
	if (!args->err)
		args->err = buf_append(&args->bytes, bytes, len);
}

static void end_word(struct redis_args *args)
{
	int err = array_reserve(args->ends, args->room, args->count + 1, WORDS_MAX);

	if (err)
		args->err = err;
	else
		args->ends[args->count++] = buf_len(&args->bytes);
}

void redis_arg_bytes(struct redis_args *args, const void *bytes, size_t len)
{
	add_bytes(args, bytes, len);
	end_word(args);
}

void redis_arg(struct redis_args *args, const char *word)
{
	redis_arg_bytes(args, word, strlen(word));
}

void redis_arg_u64(struct redis_args *args, uint64_t number)
{
	char digits[24];

	redis_arg_bytes(args, digits, (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, number));
}

void redis_arg_id(struct redis_args *args, uint64_t id)
{
	char digits[REDIS_ID_SIZE];

	redis_arg_bytes(args, digits, (size_t)snprintf(digits, sizeof(digits), "%016" PRIx64, id));
}

void redis_copy(char *to, size_t size, const char *bytes, size_t len)
{
	if (len > size - 1)
		len = size - 1;
	memcpy(to, bytes, len);
	to[len] = '\0';
}

/* ---- lines ---- */

/* Each value is written with a tab after it; redis_line_end() removes the last tab. */

void redis_line_begin(struct redis_args *args)
{
	(void)args; /* a line is the bytes since the end of the last word */
}

static void add_value(struct redis_args *args, const char *value, size_t len)
{
	add_bytes(args, value, len);
	add_bytes(args, "\t", 1);
}

void redis_line_word(struct redis_args *args, const char *word)
{
	add_value(args, word, strlen(word));
}

void redis_line_u64(struct redis_args *args, uint64_t number)
{
	char digits[24];

	add_value(args, digits, (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, number));
}

void redis_line_id(struct redis_args *args, uint64_t id)
{
	char digits[REDIS_ID_SIZE];

	add_value(args, digits, (size_t)snprintf(digits, sizeof(digits), "%016" PRIx64, id));
}

void redis_line_hex(struct redis_args *args, const void *bytes, size_t len)
{
	char digits[2 * STORE_HASH_BYTES + 1];

	text_hex(bytes, len, digits);
	add_value(args, digits, 2 * len);
}

void redis_line_text(struct redis_args *args, const char *text)
{
	for (size_t plain; *text; text += plain + (text[plain] != '\0')) {
		plain = strcspn(text, "\\\t\n");
		add_bytes(args, text, plain);
		if (text[plain] == '\\')
			add_bytes(args, "\\\\", 2);
		else if (text[plain] == '\t')
			add_bytes(args, "\\t", 2);
		else if (text[plain] == '\n')
			add_bytes(args, "\\n", 2);
	}
	add_bytes(args, "\t", 1);
}

void redis_line_end(struct redis_args *args)
{
	if (!args->err)
		args->bytes.end--;
	end_word(args);
}

struct redis_line redis_line_of(const char *bytes, size_t len)
{
	return (struct redis_line){ .rest = { bytes, len } };
}

struct text redis_read_word(struct redis_line *line)
{
	const char *tab;
	struct text word;

	if (line->is_over || line->err) {
		line->err = -EUCLEAN;
		return (struct text){ "", 0 };
	}
	tab = line->rest.len ? memchr(line->rest.ptr, '\t', line->rest.len) : NULL;
	word = (struct text){ line->rest.ptr,
			      tab ? (size_t)(tab - line->rest.ptr) : line->rest.len };
	line->is_over = !tab;
	line->rest.ptr += word.len + (tab != NULL);
	line->rest.len -= word.len + (tab != NULL);
	return word;
}

uint64_t redis_read_u64(struct redis_line *line)
{
	uint64_t number = 0;

	if (text_parse_u64(redis_read_word(line), UINT64_MAX, &number))
		line->err = -EUCLEAN;
	return number;
}

int redis_parse_id(const char *text, size_t len, uint64_t *ret_id)
{
	uint8_t bytes[8];
	int err = text_parse_hex((struct text){ text, len }, bytes, sizeof(bytes));

	if (err)
		return err;
	memcpy(ret_id, bytes, sizeof(*ret_id));
	*ret_id = be64toh(*ret_id);
	return 0;
}

uint64_t redis_read_id(struct redis_line *line)
{
	struct text word = redis_read_word(line);
	uint64_t id = 0;

	if (redis_parse_id(word.ptr, word.len, &id))
		line->err = -EUCLEAN;
	return id;
}

void redis_read_hex(struct redis_line *line, void *ret_bytes, size_t len)
{
	if (text_parse_hex(redis_read_word(line), ret_bytes, len))
		line->err = -EUCLEAN;
}

/* Write @word without its escapes to @to, which has room for @size bytes. */
static void unescape(struct text word, char *to, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < word.len && len + 1 < size; i++) {
		char c = word.ptr[i];

		if (c == '\\' && i + 1 < word.len) {
			c = word.ptr[++i];
			c = c == 't' ? '\t' : c == 'n' ? '\n' : c;
		}
		to[len++] = c;
	}
	to[len] = '\0';
}

void redis_read_text(struct redis_line *line, char *ret_text, size_t size)
{
	unescape(redis_read_word(line), ret_text, size);
}

char *redis_read_alloc(struct redis_line *line)
{
	struct text word = redis_read_word(line);
	char *text = line->err ? NULL : malloc(word.len + 1);

	if (text)
		unescape(word, text, word.len + 1);
	else if (!line->err)
		line->err = -ENOMEM;
	return text;
}
