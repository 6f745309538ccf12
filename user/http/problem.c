/* SPDX-License-Identifier: BSD-2-Clause */
/* problem: writes problem details. */
#include "http/problem.h"

/* Append @s as a JSON string. Bytes above 0x7f are copied: they are taken to be UTF-8. */
static int append_string(struct buf *b, const char *s)
{
	int err = buf_append(b, "\"", 1);

	while (!err) {
		const char *plain = s;
		unsigned char c;

		while ((unsigned char)*s >= 0x20 && *s != '"' && *s != '\\')
			s++;
		err = buf_append(b, plain, (size_t)(s - plain));
		c = (unsigned char)*s++;
		if (!c)
			break;
		if (!err)
			err = c < 0x20 ? buf_printf(b, "\\u%04x", c) : buf_printf(b, "\\%c", c);
	}
	return err ? err : buf_append(b, "\"", 1);
}

int problem_write_body(struct buf *b, unsigned status, const char *detail,
		       const char *violated_policy)
{
	size_t len = buf_len(b);
	int err = buf_append_str(b, "{\"status\":");

	if (!err)
		err = buf_append_u64(b, status);
	if (!err)
		err = buf_append_str(b, ",\"detail\":");
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
