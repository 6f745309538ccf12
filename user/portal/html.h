/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * html: pages written into a buffer, so that a text can never become markup by mistake.
 *
 * A writer remembers its first error, and does nothing after it: callers look at `err` once, at the end.
 */
#ifndef PORTAL_HTML_H
#define PORTAL_HTML_H

#include "base/buf.h"

struct html {
	struct buf buf; /* owned */
	int err;
};

void html_init(struct html *h, size_t max_bytes);
void html_done(struct html *h);

/* Markup as it is. */
void html_raw(struct html *h, const char *markup);

/* Escaped for content and for quoted attributes. Control bytes but blanks and newlines become "?". */
void html_text(struct html *h, const char *text);

/*
 * A template: markup in which each "{}" is replaced by the next text, escaped. NULL is the empty text.
 * More "{}" than texts, or fewer, is -EINVAL.
 */
void html_fill(struct html *h, const char *template, const char *const *texts, size_t count);
#define html_put(h, template, ...)                                       \
	html_fill((h), (template), (const char *const[]){ __VA_ARGS__ }, \
		  sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *))

#endif
