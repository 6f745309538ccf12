/* SPDX-License-Identifier: BSD-2-Clause */
/* template: see template.h. */
#include "config/template.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DASHBOARD "\n\nYour account: {{dashboard}}\n"

static const char *const words[] = {
#define X(name, word) word,
	TEMPLATE_KINDS(X)
#undef X
};

static const char *const built_in[] = {
	[TEMPLATE_PAYMENT_FAILED] =
		"Subject: Your payment failed\n\n"
		"Hello,\n\n"
		"A payment for your {{product}} subscription ({{tier}}) failed.\n"
		"Your API keys keep working until {{grace_ends}}.\n"
		"Please update your payment details before then." DASHBOARD,
	[TEMPLATE_GRACE_ENDING] = "Subject: Your API access ends soon\n\n"
				  "Hello,\n\n"
				  "Your {{product}} subscription ({{tier}}) is still unpaid.\n"
				  "Your API keys will stop working on {{grace_ends}}.\n"
				  "To keep your access, please pay before then." DASHBOARD,
	[TEMPLATE_SUSPENDED] =
		"Subject: Your API access is suspended\n\n"
		"Hello,\n\n"
		"Your API keys no longer work, because your {{product}} subscription\n"
		"({{tier}}) now has the status \"{{status}}\".\n"
		"They will work again as soon as the subscription is active." DASHBOARD,
	[TEMPLATE_TRIAL_ENDING] =
		"Subject: Your trial ends soon\n\n"
		"Hello,\n\n"
		"The trial of your {{product}} subscription ({{tier}}) ends on {{trial_ends}}.\n"
		"To keep your access, please make sure that your payment details are up to\n"
		"date." DASHBOARD,
	[TEMPLATE_QUOTA_80] =
		"Subject: You have used 80% of your quota\n\n"
		"Hello,\n\n"
		"You have used 80% of the {{quota}} requests in your {{product}}\n"
		"subscription ({{tier}}). Your quota resets on {{quota_resets}}." DASHBOARD,
	[TEMPLATE_QUOTA_100] = "Subject: You have used all of your quota\n\n"
			       "Hello,\n\n"
			       "You have used all {{quota}} requests in your {{product}} "
			       "subscription ({{tier}}).\n"
			       "Further requests are refused until your quota resets on\n"
			       "{{quota_resets}}." DASHBOARD,
	[TEMPLATE_RECOVERY] =
		"Subject: Get a new API key\n\n"
		"Hello,\n\n"
		"You asked for a new API key for {{product}}.\n"
		"To get it, open the link for your account within an hour:\n\n"
		"{{links}}\n"
		"If you didn't ask for it, you can ignore this email: nothing has changed.\n",
	[TEMPLATE_CONFIRM] =
		"Subject: Confirm your email address\n\n"
		"Hello,\n\n"
		"Open this link within 24 hours to get your API key for {{product}}:\n\n"
		"{{links}}\n\n"
		"If you didn't ask for it, you can ignore this email: nothing has changed.\n",
};

const char *template_word(enum template_kind kind)
{
	return words[kind];
}

/* Append the operator's text of @kind, or the built-in one if there is none. */
static int load(const char *folder, enum template_kind kind, struct buf *text, char *why,
		size_t why_size)
{
	char path[4096], piece[4096];
	FILE *file = NULL;
	size_t got;
	int err = 0;

	if (folder) {
		snprintf(path, sizeof(path), "%s/%s.txt", folder, words[kind]);
		file = fopen(path, "re");
		if (!file && errno != ENOENT) {
			err = -errno;
			snprintf(why, why_size, "%s: %s", path, strerror(-err));
			return err;
		}
	}
	if (!file)
		return buf_append_str(text, built_in[kind]);
	while (!err && (got = fread(piece, 1, sizeof(piece), file)) > 0)
		err = buf_append(text, piece, got);
	if (!err && ferror(file))
		err = -EIO;
	fclose(file);
	if (err)
		snprintf(why, why_size, "%s: %s", path, strerror(-err));
	return err;
}

static int refuse(char *why, size_t why_size, enum template_kind kind, const char *what,
		  struct text name)
{
	snprintf(why, why_size, "%s.txt: %s%.*s", words[kind], what,
		 (int)(name.len < 40 ? name.len : 40), name.ptr);
	return -EINVAL;
}

/* Append @from to @to, with each {{name}} replaced by its value. */
static int fill(struct text from, const json_t *values, enum template_kind kind, struct buf *to,
		char *why, size_t why_size)
{
	int err = 0;

	for (size_t at = 0; at < from.len && !err;) {
		const char *open = memmem(from.ptr + at, from.len - at, "{{", 2), *close;
		size_t plain = open ? (size_t)(open - from.ptr) - at : from.len - at;
		const char *value;
		char name[40];

		err = buf_append(to, from.ptr + at, plain);
		at += plain;
		if (err || !open)
			continue;
		close = memmem(open, from.len - at, "}}", 2);
		if (!close || close - open - 2 >= (ptrdiff_t)sizeof(name))
			return refuse(why, why_size, kind, "'{{' without a matching '}}'",
				      TEXT(""));
		snprintf(name, sizeof(name), "%.*s", (int)(close - open - 2), open + 2);
		value = json_string_value(json_object_get(values, name));
		if (!value)
			return refuse(why, why_size, kind, "unknown placeholder: ", text_of(name));
		err = buf_append_str(to, value);
		at += (size_t)(close + 2 - open);
	}
	return err;
}

int template_render(const char *folder, enum template_kind kind, const json_t *values,
		    struct buf *subject, struct buf *body, char *ret_why, size_t why_size)
{
	struct text all, head, rest;
	const char *newline;
	struct buf text;
	int err;

	ret_why[0] = '\0';
	buf_init(&text, TEMPLATE_MAX_BYTES);
	err = load(folder, kind, &text, ret_why, why_size);
	all = buf_text(&text);
	newline = all.len ? memchr(all.ptr, '\n', all.len) : NULL;
	if (!err && (!text_starts(all, TEXT("Subject: ")) || !newline))
		err = refuse(ret_why, why_size, kind, "the first line must be 'Subject: ...'",
			     TEXT(""));
	if (!err) {
		head = (struct text){ all.ptr + 9, (size_t)(newline - all.ptr) - 9 };
		rest = (struct text){ newline + 1, all.len - 10 - head.len };
		while (rest.len && (*rest.ptr == '\n' || *rest.ptr == '\r')) {
			rest.ptr++;
			rest.len--;
		}
		err = fill(text_trim(head), values, kind, subject, ret_why, why_size);
		if (!err)
			err = fill(rest, values, kind, body, ret_why, why_size);
	}
	buf_done(&text);
	for (size_t i = 0; i < buf_len(subject); i++) {
		if ((unsigned char)buf_head(subject)[i] < 0x20)
			buf_head(subject)[i] = ' ';
	}
	return err;
}

int template_check(const char *folder, char *ret_why, size_t why_size)
{
	json_t *values =
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}",
			  "account", "", "tier", "", "status", "", "email", "", "label", "",
			  "dashboard", "", "grace_ends", "", "trial_ends", "", "quota", "",
			  "quota_resets", "", "customer", "", "links", "", "product", "");
	struct buf subject, body;
	struct stat st;
	int err = values ? 0 : -ENOMEM;

	if (folder && (stat(folder, &st) || !S_ISDIR(st.st_mode))) {
		snprintf(ret_why, why_size, "%s is not a readable folder", folder);
		err = -ENOENT;
	}
	buf_init(&subject, TEMPLATE_MAX_BYTES);
	buf_init(&body, TEMPLATE_MAX_BYTES);
	for (unsigned i = 0; i < TEMPLATE_KIND_COUNT && !err; i++) {
		buf_clear(&subject);
		buf_clear(&body);
		err = template_render(folder, (enum template_kind)i, values, &subject, &body,
				      ret_why, why_size);
	}
	buf_done(&subject);
	buf_done(&body);
	json_decref(values);
	return err;
}
