/* SPDX-License-Identifier: BSD-2-Clause */
/* config_fixture: parses configurations for tests, and compares the messages about invalid ones. */
#ifndef UNIT_CONFIG_FIXTURE_H
#define UNIT_CONFIG_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"

/* Parse @yaml as the file t.yaml. The caller owns @messages, which is initialized here. */
static inline struct config *parse(const char *yaml, struct buf *messages, int *ret_err)
{
	struct config *config = NULL;

	buf_init(messages, 1 << 16);
	*ret_err = config_parse("t.yaml", text_of(yaml), &config, messages);
	return config;
}

/* Parse @yaml, which must be valid and give no warning. */
static inline struct config *parse_ok(const char *yaml)
{
	struct config *config;
	struct buf messages;
	int err;

	config = parse(yaml, &messages, &err);
	if (err || buf_len(&messages))
		fail_msg("error %d\n%.*s", err, TEXT_ARG(buf_text(&messages)));
	buf_done(&messages);
	return config;
}

struct wrong {
	const char *yaml, *messages, *why;
};

/* Check that each row gives exactly its messages, and that none contains @secret (may be NULL). */
static inline void check_wrong(const struct wrong *rows, size_t count, const char *secret)
{
	for (size_t i = 0; i < count; i++) {
		struct config *config;
		struct buf messages;
		int err;

		config = parse(rows[i].yaml, &messages, &err);
		if (err != -EINVAL || config || !text_is(buf_text(&messages), rows[i].messages))
			fail_msg("%s: error %d\n%.*sexpected:\n%s", rows[i].why, err,
				 TEXT_ARG(buf_text(&messages)), rows[i].messages);
		if (secret &&
		    memmem(buf_head(&messages), buf_len(&messages), secret, strlen(secret)))
			fail_msg("%s: a secret is shown", rows[i].why);
		buf_done(&messages);
	}
}

#endif
