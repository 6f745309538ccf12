/* SPDX-License-Identifier: BSD-2-Clause */
/* form: see form.h. */
#include "stripe/form.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

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
