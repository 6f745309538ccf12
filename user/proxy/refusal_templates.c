/* SPDX-License-Identifier: BSD-2-Clause */
/* refusal_templates: every refusal that XDP may send, written with the agent's own code. */
#include "proxy/refusal_templates.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "http/h1.h"
#include "proxy/refuse.h"

#define ROOM 4096

/* The offset of the last digit of the number that follows @before; 0 if @before does not occur. */
static uint16_t find_number(struct text bytes, struct text before)
{
	for (size_t i = 0; i + before.len < bytes.len; i++) {
		size_t at = i + before.len;

		if (memcmp(bytes.ptr + i, before.ptr, before.len) != 0)
			continue;
		while (at < bytes.len && bytes.ptr[at] >= '0' && bytes.ptr[at] <= '9')
			at++;
		return at > i + before.len ? (uint16_t)(at - 1) : 0;
	}
	return 0;
}

/* XDP expects '0' where it will write digits. */
static void clear_number(struct buf *bytes, uint16_t last)
{
	char *at = buf_head(bytes) + last;

	while (last && *at >= '0' && *at <= '9')
		*at-- = '0';
}

static int put_whole(enum tollgate_verdict verdict, const struct gate_result *result,
		     struct buf *whole, struct buf *fields, struct buf *body)
{
	int err = refuse_write(verdict, result, fields, body);

	if (!err)
		err = h1_write_status_line(whole, refuse_status(verdict));
	if (!err)
		err = buf_append_text(whole, buf_text(fields));
	if (!err)
		err = h1_write_header_u64(whole, TEXT("Content-Length"), buf_len(body));
	if (!err)
		err = h1_write_end_of_head(whole);
	return err ? err : buf_append_text(whole, buf_text(body));
}

static int write_one(struct fastpath *fp, uint32_t set, unsigned kind,
		     enum tollgate_verdict verdict, const struct gate_result *result)
{
	struct buf whole, fields, body;
	uint16_t at[2] = { 0 };
	int err;

	buf_init(&whole, ROOM);
	buf_init(&fields, ROOM);
	buf_init(&body, ROOM);
	err = put_whole(verdict, result, &whole, &fields, &body);
	if (!err && result) {
		at[0] = find_number(buf_text(&whole), TEXT("Retry-After: "));
		at[1] = find_number(buf_text(&whole), TEXT(";r=0;t="));
		clear_number(&whole, at[0]);
		clear_number(&whole, at[1]);
	}
	if (!err)
		fastpath_put_template(fp, set, kind, buf_text(&whole), at);
	buf_done(&whole);
	buf_done(&fields);
	buf_done(&body);
	return err;
}

int refusal_templates_write_common(struct fastpath *fp)
{
	int err = write_one(fp, 0, TOLLGATE_TEMPLATE_INACTIVE, TOLLGATE_INACTIVE, NULL);

	return err ? err : write_one(fp, 0, TOLLGATE_TEMPLATE_REVOKED, TOLLGATE_REVOKED_KEY, NULL);
}

int refusal_templates_write_tier(struct fastpath *fp, uint32_t set, const struct tier *tier)
{
	uint64_t seconds = 1;
	int err = 0;

	for (unsigned digit = 0; digit < TOLLGATE_DIGITS_MAX && !err; digit++, seconds *= 10) {
		const struct gate_result result = {
			.has_account = true,
			.wait_ns = seconds * NS_PER_SECOND,
			.quota_more_ms = seconds * 1000,
			.limits = { .interval_ns = tier->interval_ns,
				    .limit_ns = tier->limit_ns,
				    .quota_limit = tier->quota,
				    .quota_period = tier->period },
		};

		if (tier->interval_ns)
			err = write_one(fp, set, TOLLGATE_TEMPLATE_RATE + digit, TOLLGATE_OVER_RATE,
					&result);
		if (!err && tier->quota)
			err = write_one(fp, set, TOLLGATE_TEMPLATE_QUOTA + digit,
					TOLLGATE_OVER_QUOTA, &result);
	}
	return err;
}
