/* SPDX-License-Identifier: BSD-2-Clause */
/* keys: calls about keys. */
#include <errno.h>
#include <stdlib.h>

#include "admin/admin_private.h"
#include "base/array.h"
#include "base/clock.h"
#include "enforce/account.h"

#define LIST_MAX 1000000

static json_t *json_key(const struct store_key *key)
{
	char id[ACCOUNT_ID_SIZE], account[ACCOUNT_ID_SIZE];
	bool is_over = key->revoked_ms && key->revoked_ms <= clock_steady_ms();

	account_format_key_id(key->id, id);
	account_format_id(key->account, account);
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:b, s:o}", "id", id, "account", account,
			 "hint", key->hint, "label", key->label, "created",
			 admin_time(key->created_ms), "revoked", is_over, "ends",
			 admin_time(key->revoked_ms));
}

static void on_keys(void *arg, int err, const struct store_key *keys, size_t count)
{
	struct admin_request *r = arg;
	json_t *array;

	if (err) {
		admin_fail_errno(r, err, "key");
		return;
	}
	if (count == LIST_MAX) {
		admin_fail(r, 507, "there are more than %d keys; ask for those of one account",
			   LIST_MAX);
		return;
	}
	array = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, json_key(&keys[i]));
	admin_answer_json(r, 200, array);
}

void admin_keys_list(struct admin_request *r, const char *id)
{
	uint64_t account = 0;
	char text[64];

	(void)id;
	if (admin_query(r, "account", text, sizeof(text)) &&
	    account_parse_id(text_of(text), &account)) {
		admin_fail(r, 400, "'%s' is not a valid account id; it is acc_ and 16 hex digits",
			   text);
		return;
	}
	store_keys_list(*r->agent->store, account, 0, LIST_MAX, on_keys, r);
}

static void on_key(void *arg, const struct registry_result *result)
{
	struct admin_request *r = arg;
	json_t *json;

	if (result->err) {
		admin_fail_errno(r, result->err, result->err == -ENOENT ? "key or account" : "key");
		return;
	}
	json = json_key(result->key);
	/* The only time that the key itself is shown. */
	if (result->key_text)
		json_object_set_new(json, "key", json_string(result->key_text));
	admin_answer_json(r, 200, json);
}

void admin_key_create(struct admin_request *r, const char *id)
{
	const char *bad = NULL;
	const char *account = admin_string(r, "account", 64, &bad);
	const char *label = admin_string(r, "label", STORE_LABEL_MAX, &bad);
	uint64_t number;

	(void)id;
	if (bad) {
		admin_fail(r, 400, "'%s' has the wrong type or is too long", bad);
		return;
	}
	if (!account || account_parse_id(text_of(account), &number)) {
		admin_fail(r, 400, "account is required: acc_ and 16 hex digits");
		return;
	}
	registry_key_create(*r->agent->registry, number, label, on_key, r);
}

static bool parse_key_id(struct admin_request *r, const char *id, uint64_t *ret_number)
{
	if (!account_parse_key_id(text_of(id), ret_number))
		return true;
	admin_fail(r, 400, "'%s' is not a valid key id; it is key_ and 16 hex digits", id);
	return false;
}

void admin_key_revoke(struct admin_request *r, const char *id)
{
	uint64_t number;

	if (parse_key_id(r, id, &number))
		registry_key_revoke(*r->agent->registry, number, 0, on_key, r);
}

static void on_keys_revoked(void *arg, const struct registry_result *result)
{
	struct admin_request *r = arg;
	char account[ACCOUNT_ID_SIZE];

	if (result->err) {
		admin_fail_errno(r, result->err, "account");
		return;
	}
	account_format_id(result->account->id, account);
	admin_answer_json(r, 200,
			  json_pack("{s:s, s:I}", "account", account, "revoked",
				    (json_int_t)result->changed));
}

void admin_keys_revoke(struct admin_request *r, const char *id)
{
	uint64_t number;

	if (account_parse_id(text_of(id), &number))
		admin_fail(r, 400, "'%s' is not a valid account id; it is acc_ and 16 hex digits",
			   id);
	else
		registry_keys_revoke(*r->agent->registry, number, on_keys_revoked, r);
}

void admin_key_rotate(struct admin_request *r, const char *id)
{
	uint64_t number, overlap_ms = 0;
	const char *bad = NULL;
	const char *overlap = admin_string(r, "overlap", 32, &bad);

	if (!parse_key_id(r, id, &number))
		return;
	if (bad || (overlap && text_parse_duration_ms(text_of(overlap), &overlap_ms))) {
		admin_fail(r, 400, "overlap must be a duration, for example 24h");
		return;
	}
	registry_key_rotate(*r->agent->registry, number, overlap_ms, on_key, r);
}

/*
 * ---- import: lines "ACCOUNT KEY [LABEL]"; empty lines and those that begin with '#' are ignored
 * ----
 */

static struct text next_line(struct text *rest)
{
	const char *end = memchr(rest->ptr, '\n', rest->len);
	size_t len = end ? (size_t)(end - rest->ptr) : rest->len, skip = len + (end != NULL);
	struct text line = { rest->ptr, len };

	*rest = (struct text){ rest->ptr + skip, rest->len - skip };
	if (line.len && line.ptr[line.len - 1] == '\r')
		line.len--;
	return text_trim(line);
}

static struct text next_word(struct text *line)
{
	struct text word = { line->ptr, 0 };

	while (word.len < line->len && word.ptr[word.len] != ' ' && word.ptr[word.len] != '\t')
		word.len++;
	*line = text_trim((struct text){ line->ptr + word.len, line->len - word.len });
	return word;
}

static bool is_utf8(struct text t)
{
	json_t *string = json_stringn(t.ptr, t.len);

	json_decref(string);
	return string;
}

/* Parse a line. NULL, or what is wrong with it. */
static const char *parse_import(const struct admin_request *r, struct text line,
				struct registry_import *ret_import)
{
	struct text account = next_word(&line);

	if (account_parse_id(account, &ret_import->account))
		return "the first word is no account id";
	ret_import->key = next_word(&line);
	ret_import->label = line;
	if (ret_import->label.len >= STORE_LABEL_MAX)
		return "the label is too long";
	if (!is_utf8(ret_import->label))
		return "the label is not UTF-8";
	if (!key_is_plausible(r->agent->key_prefix, ret_import->key))
		return "the key is not 16 to 256 printable characters, or has our prefix and a "
		       "wrong checksum";
	return NULL;
}

/* Number of the line in the body that has the import with that index. */
static size_t line_of(const struct admin_request *r, size_t index)
{
	struct text rest = buf_text(&r->body);
	size_t number = 0;

	while (rest.len) {
		struct text line = next_line(&rest);

		number++;
		if (line.len && line.ptr[0] != '#' && index-- == 0)
			break;
	}
	return number;
}

static void on_import(void *arg, const struct registry_result *result)
{
	struct admin_request *r = arg;

	if ((result->err == -ENOENT || result->err == -EEXIST) && result->failed_at != SIZE_MAX) {
		admin_fail(r, result->err == -ENOENT ? 404 : 409,
			   "line %zu: %s; nothing was imported", line_of(r, result->failed_at),
			   result->err == -ENOENT ? "no such account"
						  : "the key belongs to another account");
		return;
	}
	if (result->err == -EEXIST)
		admin_fail(r, 409,
			   "one of the keys belongs to another account, or occurs twice; nothing "
			   "was imported");
	else if (result->err)
		admin_fail_errno(r, result->err, "key");
	else
		admin_answer_json(r, 200,
				  json_pack("{s:I, s:I}", "imported", (json_int_t)result->added,
					    "present", (json_int_t)result->present));
}

void admin_keys_import(struct admin_request *r, const char *id)
{
	struct text rest = buf_text(&r->body);
	struct registry_import *imports = NULL;
	size_t count = 0, room = 0, line_number = 0;

	(void)id;
	while (rest.len) {
		struct text line = next_line(&rest);
		const char *wrong;

		line_number++;
		if (!line.len || line.ptr[0] == '#')
			continue;
		/* The limit on the body's size also limits the number of lines. */
		if (array_reserve(imports, room, count + 1, ARRAY_NO_LIMIT)) {
			admin_fail(r, 500, "out of memory");
			return;
		}
		r->work = imports;
		wrong = parse_import(r, line, &imports[count++]);
		if (wrong) {
			admin_fail(r, 400, "line %zu: %s; nothing was imported", line_number,
				   wrong);
			return;
		}
	}
	/* Keep `work` until the answer: it also tells on_abort() that a change is under way. */
	if (!r->work)
		r->work = calloc(1, 1);
	registry_keys_import(*r->agent->registry, imports, count, on_import, r);
}
