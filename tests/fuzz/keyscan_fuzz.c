/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyscan_fuzz: compares the kernel's key scan with the agent's parser. The scan may give up, but
 * it must never find another key, path, length or end of the head than the agent.
 */
#include <stdint.h>
#include <stdlib.h>

#include "http/h1.h"
#include "proxy/credential.h"
#include "config/route.h"
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

	CHECK(!credential_is_ambiguous(m));
	CHECK(route_path_is_plain(m->path));
	CHECK(text_is(m->method, methods[scan->method]));
	CHECK(text_equal(m->path, (struct text){ data + scan->path_at, scan->path_len }));
	CHECK(scan->key_len == key.len);
	CHECK(!key.len || text_equal(key, (struct text){ data + scan->key_at, scan->key_len }));
	CHECK(m->minor == 1 && m->keep_alive && !m->expects_continue && !m->expects_unknown);
	CHECK(m->body == HTTP_BODY_NONE
		      ? scan->content_length == 0
		      : m->body == HTTP_BODY_LENGTH && scan->content_length == m->content_length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static __u8 room[TOLLGATE_SCAN_ROOM_SIZE];
	enum tollgate_scan_result result;
	struct tollgate_scan scan;
	struct h1_parser *parser;
	struct text piece;
	size_t used;
	int event;

	if (len >= TOLLGATE_SCAN_ROOM)
		return 0;
	memcpy(room, data, len);
	result = tollgate_scan_head(&scan, room, (__u32)len);
	if (result != TOLLGATE_SCAN_KEY && result != TOLLGATE_SCAN_NO_KEY)
		return 0;
	CHECK(scan.head_len <= len);
	CHECK((result == TOLLGATE_SCAN_KEY) == (scan.key_len != 0));
	parser = h1_parser_new(H1_REQUESTS, AGENT_HEAD_MAX);
	CHECK(parser);
	event = h1_parser_feed(parser, (const char *)data, len, &used, &piece);
	CHECK(event == H1_HEAD);
	CHECK(used == scan.head_len);
	compare(&scan, (const char *)data, h1_parser_message(parser));
	h1_parser_free(parser);
	return 0;
}
