/* SPDX-License-Identifier: BSD-2-Clause */
/* form: see form.h. */
#include "stripe/form.h"

#include <inttypes.h>
#include <stdio.h>

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("-_.~", c));
}

int form_encode(struct buf *b, const char *value)
{
	int err = 0;

	for (; *value && !err; value++) {
		if (is_plain(*value))
			err = buf_append(b, value, 1);
		else
			err = buf_printf(b, "%%%02X", (unsigned char)*value);
	}
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
		b->end = b->start + before;
	return err;
}

int form_add_u64(struct buf *b, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	return form_add(b, name, text);
}
