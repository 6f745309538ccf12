/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * html: writes pages into a buffer and escapes every text, so that text never becomes markup.
 *
 * After its first error a writer does nothing, so callers check `err` only once, at the end.
 */
#ifndef PORTAL_HTML_H
#define PORTAL_HTML_H

#include "base/buf.h"

struct html {
	struct buf buf; /* owned */
	int err;	/* 0 or the first error, a negative errno */
};

void html_init(struct html *h, size_t max_bytes);
void html_done(struct html *h);

/* Append markup without escaping. */
void html_raw(struct html *h, const char *markup);

/*
 * Append text, escaped for content and quoted attributes. Control bytes other than tab and newline
 * become "?".
 */
void html_text(struct html *h, const char *text);

/*
 * Append markup in which each "{}" is replaced by the next text, escaped. A NULL text is empty.
 * -EINVAL if the number of "{}" is not the number of texts.
 */
void html_fill(struct html *h, const char *template, const char *const *texts, size_t count);
#define html_put(h, template, ...)                                       \
	html_fill((h), (template), (const char *const[]){ __VA_ARGS__ }, \
		  sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *))

#endif
