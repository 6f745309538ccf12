/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * template: the texts of notices, built in or the operator's.
 *
 * A text's first line is "Subject: ...", then an empty line, then the body. {{name}} stands for a value.
 * An operator's text is the file <kind>.txt in a folder; kinds without a file keep the built-in text.
 */
#ifndef CONFIG_TEMPLATE_H
#define CONFIG_TEMPLATE_H

#include <jansson.h>

#include "base/buf.h"

#define TEMPLATE_MAX_BYTES (64 << 10)

/* The kinds of notices, and what they are called. X(name, word) */
#define TEMPLATE_KINDS(X)                   \
	X(PAYMENT_FAILED, "payment_failed") \
	X(GRACE_ENDING, "grace_ending")     \
	X(SUSPENDED, "suspended")           \
	X(TRIAL_ENDING, "trial_ending")     \
	X(QUOTA_80, "quota_80")             \
	X(QUOTA_100, "quota_100")

enum template_kind {
#define X(name, word) TEMPLATE_##name,
	TEMPLATE_KINDS(X)
#undef X
		TEMPLATE_KIND_COUNT
};

const char *template_word(enum template_kind kind);

/*
 * Write subject (one line, no control bytes) and body of @kind with @values, an object of strings. @folder
 * may be NULL. 0; -EINVAL and words in @ret_why for a text that is none, or a {{name}} that @values lacks;
 * the errno of a file that is there and cannot be read; -ENOMEM, -EMSGSIZE.
 */
int template_render(const char *folder, enum template_kind kind, const json_t *values,
		    struct buf *subject, struct buf *body, char *ret_why, size_t why_size);

/*
 * Whether @folder is one, and every text in it can be rendered; the first that cannot is in @ret_why.
 * 0 or as above; -ENOENT if there is no such folder.
 */
int template_check(const char *folder, char *ret_why, size_t why_size);

#endif
