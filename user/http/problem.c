/* SPDX-License-Identifier: BSD-2-Clause */
/* problem: see problem.h. */
#include "http/problem.h"

/* A JSON string. Bytes above 0x7f are taken to be UTF-8 and pass as they are. */
static int append_string(struct buf *b, const char *s)
{
	int err = buf_append(b, "\"", 1);

	for (; *s && !err; s++) {
		unsigned char c = *s;

		if (c == '"' || c == '\\')
			err = buf_printf(b, "\\%c", c);
		else if (c < 0x20)
			err = buf_printf(b, "\\u%04x", c);
		else
			err = buf_append(b, s, 1);
	}
	return err ? err : buf_append(b, "\"", 1);
}

int problem_write_body(struct buf *b, unsigned status, const char *detail,
		       const char *violated_policy)
{
	size_t len = buf_len(b);
	int err = buf_printf(b, "{\"status\":%u,\"detail\":", status);

	if (!err)
		err = append_string(b, detail);
	if (!err && violated_policy)
		err = buf_append_str(b, ",\"violated-policies\":[");
	if (!err && violated_policy)
		err = append_string(b, violated_policy);
	if (!err && violated_policy)
		err = buf_append(b, "]", 1);
	if (!err)
		err = buf_append(b, "}", 1);
	if (err)
		b->end = b->start + len;
	return err;
}
