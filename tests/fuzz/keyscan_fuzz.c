/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Holds the kernel's key scan against the agent's own parser: the scan may say that it does not know,
 * never another key, path, length or end of head than the agent finds.
 */
#include <stdint.h>
#include <stdlib.h>

#include "http/h1.h"
#include "proxy/credential.h"
#include "proxy/route.h"
#include "tollgate/keyscan.h"

#define CHECK(condition)          \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

#define AGENT_HEAD_MAX 16384 /* the agent's default, limits.head */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void compare(const struct tollgate_scan *scan, const char *data,
		    const struct http_message *m)
{
	static const char *const methods[] = { "", "GET", "POST", "PUT", "PATCH", "DELETE" };
	bool in_authorization;
	struct text key = credential_find(m, &in_authorization);
	uint32_t key_at, key_len = tollgate_scan_key(scan, &key_at);

	CHECK(!credential_is_ambiguous(m));
	CHECK(route_path_is_plain(m->path));
	CHECK(text_is(m->method, methods[scan->method]));
	CHECK(text_equal(m->path, (struct text){ data + scan->path_at, scan->path_len }));
	CHECK(key_len == key.len);
	CHECK(!key_len || text_equal(key, (struct text){ data + key_at, key_len }));
	CHECK(m->minor == 1 && m->keep_alive && !m->expects_continue && !m->expects_unknown);
	CHECK(m->body == HTTP_BODY_NONE
		      ? scan->length == 0
		      : m->body == HTTP_BODY_LENGTH && scan->length == m->content_length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct tollgate_scan scan;
	struct h1_parser *parser;
	struct text piece;
	size_t used, at = 0;
	int event;

	tollgate_scan_init(&scan);
	while (at < len && scan.state < TOLLGATE_SCAN_DONE)
		tollgate_scan_byte(&scan, data[at++]);
	if (scan.state != TOLLGATE_SCAN_DONE)
		return 0;
	CHECK(scan.at == at);
	parser = h1_parser_new(H1_REQUESTS, AGENT_HEAD_MAX);
	CHECK(parser);
	event = h1_parser_feed(parser, (const char *)data, at, &used, &piece);
	CHECK(event == H1_HEAD);
	CHECK(used == at);
	compare(&scan, (const char *)data, h1_parser_message(parser));
	h1_parser_free(parser);
	return 0;
}
