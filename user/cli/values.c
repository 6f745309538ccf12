/* SPDX-License-Identifier: BSD-2-Clause */
/* values: ids and times as people type them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/cli_private.h"

bool cli_check_id(const char *id, const char *prefix)
{
	struct text text = text_of(id);
	size_t len = strlen(prefix);
	uint8_t bytes[8];

	if (text_starts(text, text_of(prefix)) &&
	    !text_parse_hex((struct text){ id + len, text.len - len }, bytes, sizeof(bytes)))
		return true;
	output_error("not a valid id: expected %s followed by 16 hex digits", prefix);
	return false;
}

/* The number in @count digits at @from, of a text whose shape was checked. */
static int digits(const char *from, unsigned count)
{
	int value = 0;

	while (count--)
		value = value * 10 + (*from++ - '0');
	return value;
}

static bool has_shape(struct text text, const char *shape)
{
	if (text.len != strlen(shape))
		return false;
	for (size_t i = 0; i < text.len; i++) {
		bool is_digit = text.ptr[i] >= '0' && text.ptr[i] <= '9';

		if (shape[i] == '0' ? !is_digit : text.ptr[i] != shape[i])
			return false;
	}
	return true;
}

int cli_parse_since(struct text text, uint64_t now_ms, uint64_t *ret_s)
{
	bool has_time = has_shape(text, "0000-00-00T00:00:00Z");
	struct tm tm = { 0 }, back;
	uint64_t ago_ms;
	time_t seconds;

	if (!text_parse_duration_ms(text, &ago_ms)) {
		*ret_s = ago_ms < now_ms ? (now_ms - ago_ms) / 1000 : 0;
		return 0;
	}
	if (!has_time && !has_shape(text, "0000-00-00"))
		return -EINVAL;
	tm.tm_year = digits(text.ptr, 4) - 1900;
	tm.tm_mon = digits(text.ptr + 5, 2) - 1;
	tm.tm_mday = digits(text.ptr + 8, 2);
	if (has_time) {
		tm.tm_hour = digits(text.ptr + 11, 2);
		tm.tm_min = digits(text.ptr + 14, 2);
		tm.tm_sec = digits(text.ptr + 17, 2);
	}
	back = tm;
	seconds = timegm(&back);
	/*
	 * timegm() turns 31 February into 3 March: if it changed anything, the date was not valid.
	 */
	if (seconds < 0 || seconds > UINT32_MAX || back.tm_mday != tm.tm_mday ||
	    back.tm_mon != tm.tm_mon || back.tm_hour != tm.tm_hour || back.tm_min != tm.tm_min ||
	    back.tm_sec != tm.tm_sec)
		return -EINVAL;
	*ret_s = (uint64_t)seconds;
	return 0;
}
