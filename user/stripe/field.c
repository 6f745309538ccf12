/* SPDX-License-Identifier: BSD-2-Clause */
/* field: see field.h. */
#include "stripe/field.h"

#include <errno.h>
#include <string.h>

/*
 * jansson's parser is recursive and allows a depth of 2048, so the depth is checked before it runs,
 * to save the stack. Brackets in strings do not count. Whether the text is valid JSON is left to
 * jansson.
 */
static bool is_too_deep(struct text t)
{
	bool is_string = false;
	unsigned depth = 0;

	for (size_t i = 0; i < t.len; i++) {
		char c = t.ptr[i];

		if (is_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				is_string = false;
		} else if (c == '"') {
			is_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > FIELD_MAX_DEPTH)
				return true;
		} else if ((c == '}' || c == ']') && depth) {
			depth--;
		}
	}
	return false;
}

int field_parse(struct text text, json_t **ret_object, const char **ret_why)
{
	json_error_t error;
	json_t *object;

	if (is_too_deep(text)) {
		*ret_why = "nested too deeply";
		return -EBADMSG;
	}
	object = json_loadb(text.len ? text.ptr : "", text.len, JSON_REJECT_DUPLICATES, &error);
	if (!object) {
		*ret_why = json_error_code(&error) == json_error_duplicate_key
				   ? "a name occurs twice in an object"
				   : "not valid JSON";
		return -EBADMSG;
	}
	if (!json_is_object(object)) {
		json_decref(object);
		*ret_why = "not a JSON object";
		return -EBADMSG;
	}
	*ret_object = object;
	return 0;
}

json_t *field_at(const json_t *object, const char *path)
{
	for (;;) {
		const char *dot = strchrnul(path, '.');

		object = json_object_getn(object, path, (size_t)(dot - path));
		if (!*dot || !object)
			return (json_t *)object;
		path = dot + 1;
	}
}

const char *field_text(const json_t *object, const char *path)
{
	return json_string_value(field_at(object, path));
}

const char *field_id(const json_t *object, const char *path)
{
	const json_t *value = field_at(object, path);

	return json_string_value(json_is_object(value) ? json_object_get(value, "id") : value);
}

uint64_t field_u64(const json_t *object, const char *path)
{
	json_int_t value = json_integer_value(field_at(object, path));

	return value > 0 ? (uint64_t)value : 0;
}

bool field_bool(const json_t *object, const char *path)
{
	return json_is_true(field_at(object, path));
}

bool field_copy(const char *text, char *ret_text, size_t size)
{
	size_t len = text ? strlen(text) : 0;

	ret_text[0] = '\0';
	if (len >= size)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	}
	if (len)
		memcpy(ret_text, text, len);
	ret_text[len] = '\0';
	return true;
}

void field_copy_words(const char *text, char *ret_text, size_t size)
{
	size_t len = strnlen(text ? text : "", size - 1);

	/* Do not cut within a UTF-8 character, whose later bytes are 10xxxxxx. */
	if (text && text[len]) {
		while (len && ((unsigned char)text[len] & 0xc0) == 0x80)
			len--;
	}
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		ret_text[i] = c < ' ' || c == 0x7f ? '?' : (char)c;
	}
	ret_text[len] = '\0';
}
