/* SPDX-License-Identifier: BSD-2-Clause */
/* html: see html.h. */
#include "portal/html.h"

#include <errno.h>
#include <string.h>

void html_init(struct html *h, size_t max_bytes)
{
	buf_init(&h->buf, max_bytes);
	h->err = 0;
}

void html_done(struct html *h)
{
	buf_done(&h->buf);
}

static void append(struct html *h, const char *bytes, size_t len)
{
	if (!h->err)
		h->err = buf_append(&h->buf, bytes, len);
}

void html_raw(struct html *h, const char *markup)
{
	append(h, markup, strlen(markup));
}

static const char *escape(unsigned char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&#39;";
	case '\t':
	case '\n':
		return NULL;
	default:
		return c < ' ' || c == 0x7f ? "?" : NULL;
	}
}

void html_text(struct html *h, const char *text)
{
	const char *plain = text;

	for (; *text; text++) {
		const char *escaped = escape((unsigned char)*text);

		if (!escaped)
			continue;
		append(h, plain, (size_t)(text - plain));
		html_raw(h, escaped);
		plain = text + 1;
	}
	append(h, plain, (size_t)(text - plain));
}

void html_fill(struct html *h, const char *template, const char *const *texts, size_t count)
{
	const char *hole;
	size_t used = 0;

	for (; (hole = strstr(template, "{}")); template = hole + 2) {
		append(h, template, (size_t)(hole - template));
		if (used == count) {
			h->err = h->err ? h->err : -EINVAL;
			return;
		}
		html_text(h, texts[used] ? texts[used] : "");
		used++;
	}
	html_raw(h, template);
	if (used != count && !h->err)
		h->err = -EINVAL;
}
