/* SPDX-License-Identifier: BSD-2-Clause */
/* h1_check: what the strict pass learns about a head, for the parser to hold against llhttp. */
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
	bool lists_no_names; /* as in http_message */
	bool expects_continue;
	bool expects_unknown;
	bool has_length;
	bool is_chunked;
	uint64_t content_length;
	uint32_t known; /* as in http_message */
	unsigned header_count;
	uint8_t ids[HTTP_MAX_HEADERS]; /* enum http_name of each field */
};

/* As h1_check_head(). @ret_facts is undefined on failure; its slices point into @head. */
int h1_examine(enum h1_side side, struct text head, struct h1_facts *ret_facts,
	       const char **ret_rule);

/*
 * h1_target.c: the request target, whose form depends on the method, into @f's path and, for
 * absolute-form, authority. NULL or the rule that it breaks.
 */
const char *h1_examine_target(struct h1_facts *f);

/* uri-host [ ":" port ] with a host that is not empty (RFC 9110, 7.2). */
bool h1_is_authority(struct text t);

#endif
