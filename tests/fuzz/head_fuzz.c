/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * head_fuzz: the HTTP/1.1 parser. The first byte selects the side, and how the rest is split into
 * pieces.
 *
 * Besides crashes, this checks that the split changes neither what is parsed nor whether it is
 * refused, and that no accepted field has a byte that could end a line early when it is forwarded.
 */
#include <stdint.h>
#include <stdlib.h>

#include "http/h1.h"
#include "http/h1_chars.h"

#define CHECK(condition)          \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

#define MAX_HEAD_BYTES 2048

struct digest {
	uint64_t hash; /* over all events and bytes */
	uint64_t body_bytes;
	unsigned heads, ends;
	bool is_refused;
};

static void mix(struct digest *d, struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		d->hash = (d->hash ^ (uint8_t)t.ptr[i]) * 0x100000001b3;
	d->hash = (d->hash ^ 0x100) * 0x100000001b3;
}

static void check_message(struct digest *d, enum h1_side side, const struct http_message *m)
{
	CHECK(m->minor <= 1);
	if (side == H1_REQUESTS) {
		CHECK(h1_is_token(m->method));
		CHECK(m->path.len > 0 && (m->path.ptr[0] == '/' || text_is(m->path, "*")));
		CHECK(m->minor == 0 || m->authority.len > 0);
		CHECK(http_count(m, HTTP_HOST) <= 1);
	}
	CHECK(http_count(m, HTTP_CONTENT_LENGTH) + http_count(m, HTTP_TRANSFER_ENCODING) <= 1);
	mix(d, m->method);
	mix(d, m->target);
	http_for_each_header (h, m) {
		CHECK(h1_is_token(h->name));
		CHECK(h1_is_all(h->value, H1_VALUE));
		CHECK(h->id == http_name_find(h->name));
		mix(d, h->name);
		mix(d, h->value);
	}
}

static void feed(struct digest *d, struct h1_parser *p, enum h1_side side, const char *data,
		 size_t len)
{
	size_t at = 0;

	while (!d->is_refused) {
		struct text piece;
		size_t used;
		int event = h1_parser_feed(p, data + at, len - at, &used, &piece);

		CHECK(used <= len - at);
		at += used;
		if (event == H1_HEAD) {
			d->heads++;
			check_message(d, side, h1_parser_message(p));
		} else if (event == H1_BODY) {
			CHECK(piece.len > 0);
			d->body_bytes += piece.len;
		} else if (event == H1_END) {
			d->ends++;
		} else if (event == H1_NEED_MORE) {
			CHECK(at == len);
			return;
		}
		d->is_refused = event < 0;
	}
	CHECK(*h1_parser_error(p));
}

static struct digest understand(enum h1_side side, const char *data, size_t len, size_t step)
{
	struct h1_parser *p = h1_parser_new(side, MAX_HEAD_BYTES);
	struct digest d = { 0 };

	CHECK(p);
	for (size_t at = 0; at < len && !d.is_refused; at += step)
		feed(&d, p, side, data + at, len - at < step ? len - at : step);
	h1_parser_free(p);
	return d;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *bytes = (const char *)data + 1;
	struct digest whole, cut;
	const char *rule = NULL;
	enum h1_side side;

	if (size < 2)
		return 0;
	side = data[0] & 1 ? H1_RESPONSES : H1_REQUESTS;
	whole = understand(side, bytes, size - 1, size - 1);
	cut = understand(side, bytes, size - 1, 1 + (data[0] >> 1) % 16);
	CHECK(whole.is_refused == cut.is_refused);
	CHECK(whole.heads == cut.heads && whole.ends == cut.ends && whole.hash == cut.hash);
	CHECK(whole.is_refused || whole.body_bytes == cut.body_bytes);
	if (h1_check_head(side, (struct text){ bytes, size - 1 }, &rule))
		CHECK(rule && *rule);
	return 0;
}
