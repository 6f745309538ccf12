/* SPDX-License-Identifier: BSD-2-Clause */
/* form: writes and reads application/x-www-form-urlencoded. */
#include "http/form.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

int form_encode(struct buf *b, const char *value)
{
	char *encoded = curl_easy_escape(NULL, value, 0);
	int err = encoded ? buf_append_str(b, encoded) : -ENOMEM;

	curl_free(encoded);
	return err;
}

int form_add(struct buf *b, const char *name, const char *value)
{
	size_t before = buf_len(b);
	int err = buf_len(b) ? buf_append(b, "&", 1) : 0;

	if (!err)
		err = form_encode(b, name);
	if (!err)
		err = buf_append(b, "=", 1);
	if (!err)
		err = form_encode(b, value);
	if (err)
		b->end = b->start + before; /* half a field could mean something else */
	return err;
}

int form_add_u64(struct buf *b, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	return form_add(b, name, text);
}

/* curl decodes escapes, but it leaves broken ones as they are. */
static bool has_broken_escape(struct text t)
{
	for (size_t i = 0; i < t.len; i++) {
		if (t.ptr[i] == '%' && (i + 2 >= t.len || !isxdigit((unsigned char)t.ptr[i + 1]) ||
					!isxdigit((unsigned char)t.ptr[i + 2])))
			return true;
	}
	return false;
}

static bool has_control_byte(const char *value, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)value[i] < ' ' || value[i] == 0x7f)
			return true;
	}
	return false;
}

/* A malloc'd copy of @t with a space for each '+'. NULL when memory is short. */
static char *spaced(struct text t)
{
	char *copy = text_dup(t);

	for (size_t i = 0; copy && i < t.len; i++) {
		if (copy[i] == '+')
			copy[i] = ' ';
	}
	return copy;
}

static int decode(struct text t, char *ret_value, size_t size)
{
	char *encoded, *value;
	int len = 0, err = 0;

	/* Each byte takes at most three, and curl's lengths are of type int. */
	if (t.len > 3 * size)
		return -EMSGSIZE;
	if (has_broken_escape(t))
		return -EINVAL;
	encoded = spaced(t);
	value = encoded && t.len ? curl_easy_unescape(NULL, encoded, (int)t.len, &len) : NULL;
	if (!encoded || (t.len && !value))
		err = -ENOMEM;
	else if (value && has_control_byte(value, (size_t)len))
		err = -EINVAL;
	else if ((size_t)len >= size)
		err = -EMSGSIZE;
	else if (value)
		memcpy(ret_value, value, (size_t)len);
	if (!err)
		ret_value[len] = '\0';
	curl_free(value);
	free(encoded);
	return err;
}

static bool is_name(struct text encoded, const char *name)
{
	char plain[64];

	return !decode(encoded, plain, sizeof(plain)) && !strcmp(plain, name);
}

int form_get(struct text form, const char *name, char *ret_value, size_t size)
{
	bool is_found = false;
	int err = 0;

	ret_value[0] = '\0';
	while (form.len && !err) {
		struct text value = text_cut(&form, '&'), own = text_cut(&value, '=');

		if (!is_name(own, name))
			continue;
		err = is_found ? -EINVAL : decode(value, ret_value, size);
		is_found = true;
	}
	if (err)
		ret_value[0] = '\0';
	return err ? err : is_found ? 0 : -ENOENT;
}
