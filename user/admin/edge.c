/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * edge: admin calls about the address lists and the fast path, which refuse clients before a
 * request is read.
 */
#include <errno.h>
#include <stdlib.h>

#include "admin/admin_private.h"
#include "base/action.h"
#include "base/clock.h"

static const char *const list_words[STORE_LIST_COUNT] = {
	[STORE_DENY] = "deny", [STORE_ALLOW] = "allow"
};

static bool parse_list(const char *word, enum store_list *ret_list)
{
	for (unsigned i = 0; i < STORE_LIST_COUNT; i++) {
		if (word && !strcmp(word, list_words[i])) {
			*ret_list = (enum store_list)i;
			return true;
		}
	}
	return false;
}

static json_t *json_entry(const struct store_entry *entry)
{
	char block[CIDR_TEXT_SIZE];

	cidr_format(&entry->block, block);
	return json_pack("{s:s, s:s, s:o, s:o}", "cidr", block, "list", list_words[entry->list],
			 "created", admin_time(entry->created_ms), "until",
			 admin_time(entry->until_ms));
}

void admin_lists_show(struct admin_request *r, const char *id)
{
	const struct store_entry *entries;
	json_t *array = json_array();
	enum store_list list = STORE_LIST_COUNT;
	char word[16];
	size_t count;

	(void)id;
	if (admin_query(r, "list", word, sizeof(word)) && !parse_list(word, &list)) {
		json_decref(array);
		admin_fail(r, 400, "list must be deny or allow");
		return;
	}
	entries = lists_entries(*r->agent->lists, &count);
	for (size_t i = 0; i < count; i++) {
		if (list == STORE_LIST_COUNT || entries[i].list == list)
			json_array_append_new(array, json_entry(&entries[i]));
	}
	admin_answer_json(r, 200, array);
}

static void on_changed(void *arg, int err)
{
	struct admin_request *r = arg;
	const struct admin_list_change *change = r->work;

	if (err)
		admin_fail_errno(r, err, "entry");
	else
		admin_answer_json(r, 200, json_entry(&change->entry));
}

/*
 * Get what both calls have: the block and the list. False if the request was answered with an
 * error.
 */
static bool parse_change(struct admin_request *r, struct admin_list_change *ret_change)
{
	const char *bad = NULL;
	const char *block = admin_string(r, "cidr", CIDR_TEXT_SIZE, &bad);
	const char *list = admin_string(r, "list", 16, &bad);

	if (bad || !block || cidr_parse(text_of(block), &ret_change->entry.block)) {
		admin_fail(r, 400,
			   "cidr is an address or a block such as 192.0.2.0/24 or 2001:db8::/32, "
			   "without bits behind the prefix");
		return false;
	}
	if (!parse_list(list, &ret_change->entry.list)) {
		admin_fail(r, 400, "list must be deny or allow");
		return false;
	}
	return true;
}

static void change_lists(struct admin_request *r, const struct admin_list_change *change)
{
	struct admin_list_change *kept = malloc(sizeof(*kept));
	char why[256] = "", block[CIDR_TEXT_SIZE];
	int err = kept ? 0 : -ENOMEM;

	r->work = kept; /* this also tells on_abort() that a change is under way */
	if (!err) {
		*kept = *change;
		err = r->agent->change_lists(r->agent->arg, kept, why, sizeof(why), on_changed, r);
	}
	if (!err)
		return;
	cidr_format(&change->entry.block, block);
	if (err == -ENOENT)
		admin_fail(r, 404, "%s is not on the %s list", block,
			   list_words[change->entry.list]);
	else if (err == -EPERM)
		admin_fail(r, 409, "%s", why);
	else if (err == -EAGAIN)
		admin_fail(r, 503, "the agent is stopping");
	else
		admin_fail_errno(r, err, "entry");
}

void admin_list_put(struct admin_request *r, const char *id)
{
	struct admin_list_change change = { 0 };
	const char *bad = NULL;
	const char *length = admin_string(r, "for", 32, &bad);
	uint64_t length_ms = 0;

	(void)id;
	if (!parse_change(r, &change))
		return;
	if (bad ||
	    (length && (text_parse_duration_ms(text_of(length), &length_ms) || !length_ms))) {
		admin_fail(r, 400, "for must be a duration, for example 1h");
		return;
	}
	change.is_forced = json_is_true(json_object_get(r->json, "force"));
	change.entry.created_ms = clock_wall_ms();
	change.entry.until_ms = length ? change.entry.created_ms + length_ms : 0;
	change_lists(r, &change);
}

void admin_list_remove(struct admin_request *r, const char *id)
{
	struct admin_list_change change = { .is_removal = true };
	const struct store_entry *entry;

	(void)id;
	if (!parse_change(r, &change))
		return;
	entry = lists_find(*r->agent->lists, &change.entry.block);
	if (entry && entry->list == change.entry.list)
		change.entry = *entry; /* for the answer */
	change_lists(r, &change);
}

void admin_fastpath_show(struct admin_request *r, const char *id)
{
	(void)id;
	admin_answer_json(r, 200, r->agent->fastpath(r->agent->arg));
}

void admin_fastpath_set(struct admin_request *r, const char *id)
{
	const char *bad = NULL, *why = "";
	const char *word = admin_string(r, "action", 16, &bad);
	enum tollgate_action action;
	int err;

	(void)id;
	if (!word || action_parse(word, &action)) {
		admin_fail(r, 400, "action must be off, observe, drop or answer");
		return;
	}
	err = r->agent->set_action(r->agent->arg, action, &why);
	if (err == -ENODEV)
		admin_fail(r, 409, "the fast path is not loaded: %s", why);
	else if (err)
		admin_fail(r, 503, "not ready yet; try again");
	else
		admin_answer_json(r, 200, r->agent->fastpath(r->agent->arg));
}

void admin_events(struct admin_request *r, const char *id)
{
	bool has_since;
	uint64_t since = 0;
	char text[32];

	(void)id;
	has_since = admin_query(r, "since", text, sizeof(text));
	if (has_since && text_parse_u64(text_of(text), INT64_MAX, &since)) {
		admin_fail(r, 400, "since must be the serial number of an event");
		return;
	}
	admin_answer_json(r, 200, r->agent->events(r->agent->arg, has_since, since));
}
