/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * template: the texts of notices, built in or written by the operator.
 *
 * The first line of a text is "Subject: ...", followed by an empty line and the body. {{name}} is
 * replaced by a value. The operator's texts are files <kind>.txt in a folder; a kind without a file
 * has the built-in text.
 */
#ifndef CONFIG_TEMPLATE_H
#define CONFIG_TEMPLATE_H

#include <jansson.h>

#include "base/buf.h"

#define TEMPLATE_MAX_BYTES (64 << 10)

/* The kinds of notices, with their names in files and JSON. X(name, word) */
#define TEMPLATE_KINDS(X)                   \
	X(PAYMENT_FAILED, "payment_failed") \
	X(GRACE_ENDING, "grace_ending")     \
	X(SUSPENDED, "suspended")           \
	X(TRIAL_ENDING, "trial_ending")     \
	X(QUOTA_80, "quota_80")             \
	X(QUOTA_100, "quota_100")           \
	X(RECOVERY, "recovery")             \
	X(CONFIRM, "confirm")

enum template_kind {
#define X(name, word) TEMPLATE_##name,
	TEMPLATE_KINDS(X)
#undef X
		TEMPLATE_KIND_COUNT
};

/* The name of @kind, such as "payment_failed". */
const char *template_word(enum template_kind kind);

/*
 * Append the subject (one line, no control bytes) and the body of @kind, filled in with @values, an
 * object of strings. @folder is NULL for the built-in texts. 0; -EINVAL if the text is not valid or
 * has a {{name}} that is not in @values; the errno of a file that exists but cannot be read;
 * -ENOMEM, -EMSGSIZE. The first two also write a message to @ret_why.
 */
int template_render(const char *folder, enum template_kind kind, const json_t *values,
		    struct buf *subject, struct buf *body, char *ret_why, size_t why_size);

/*
 * Check that @folder is a folder and that every text can be rendered; @ret_why describes the first
 * error. 0 or as above; -ENOENT if there is no such folder. @folder is NULL for the built-in texts.
 */
int template_check(const char *folder, char *ret_why, size_t why_size);

#endif
