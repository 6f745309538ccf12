/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * h1_check: what the strict check finds in a head. The parser compares it with what llhttp finds.
 */
#ifndef HTTP_H1_CHECK_H
#define HTTP_H1_CHECK_H

#include "http/h1.h"

struct h1_facts {
	struct text method;
	struct text target;
	struct text authority;
	struct text path;
	unsigned status;
	unsigned minor;
	bool keep_alive;
	bool lists_no_names; /* as in struct http_message */
	bool expects_continue;
	bool expects_unknown;
	bool has_length;
	bool is_chunked;
	uint64_t content_length;
	uint32_t known; /* as in struct http_message */
	unsigned header_count;
	uint8_t ids[HTTP_MAX_HEADERS]; /* enum http_name of each field */
};

/*
 * Check @head like h1_check_head(), with the same errors, and store what it says in @ret_facts. The
 * texts in @ret_facts point into @head. On failure @ret_facts is undefined.
 */
int h1_examine(enum h1_side side, struct text head, struct h1_facts *ret_facts,
	       const char **ret_rule);

/*
 * h1_target.c: check @f->target, whose form depends on @f->method, and set @f->path and, for
 * absolute-form, @f->authority. NULL, or the rule that the target breaks (a literal).
 */
const char *h1_examine_target(struct h1_facts *f);

/* Whether @t is uri-host [ ":" port ] with a host that is not empty (RFC 9110, 7.2). */
bool h1_is_authority(struct text t);

#endif
