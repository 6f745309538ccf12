/* SPDX-License-Identifier: BSD-2-Clause */
/* request: see request.h. */
#include "portal/request.h"

#include <errno.h>
#include <string.h>

#include "http/form.h"
#include "stripe/field.h"

/* ---- bodies ---- */

int request_params_read(const struct handoff *e, struct request_params *ret_params)
{
	struct text type = { 0 };
	const char *why;

	*ret_params = (struct request_params){ 0 };
	if (!e->body.len)
		return 0;
	if (!handoff_field(e, "Content-Type", &type))
		return -EPROTONOSUPPORT;
	type = text_trim(text_cut(&type, ';'));
	if (text_equal_nocase(type, TEXT("application/x-www-form-urlencoded")))
		ret_params->form = e->body;
	else if (!text_equal_nocase(type, TEXT("application/json")))
		return -EPROTONOSUPPORT;
	else if (field_parse(e->body, &ret_params->json, &why))
		return -EINVAL;
	return 0;
}

void request_params_done(struct request_params *params)
{
	json_decref(params->json);
	*params = (struct request_params){ 0 };
}

int request_param(const struct request_params *params, const char *name, char *ret_value,
		  size_t size)
{
	const json_t *member = json_object_get(params->json, name);
	const char *text;
	char number[24];

	if (!params->json)
		return form_get(params->form, name, ret_value, size);
	ret_value[0] = '\0';
	if (!member || json_is_null(member))
		return -ENOENT;
	text = json_string_value(member);
	if (json_is_integer(member)) {
		snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT,
			 json_integer_value(member));
		text = number;
	}
	if (!text)
		return -EINVAL;
	for (const char *c = text; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return -EINVAL;
	}
	if (strlen(text) >= size)
		return -EMSGSIZE;
	memcpy(ret_value, text, strlen(text) + 1);
	return 0;
}

/* ---- fields ---- */

bool request_cookie(struct text field, const char *name, struct text *ret_value)
{
	unsigned found = 0;
	struct text value = { 0 };

	while (field.len) {
		struct text pair = text_trim(text_cut(&field, ';')), own = text_cut(&pair, '=');

		if (!text_is(own, name))
			continue;
		value = pair;
		found++;
	}
	if (found == 1)
		*ret_value = value;
	return found == 1;
}

/* A weight such as "0.85" (RFC 9110, 12.4.2) in thousandths; 0 if it is not valid. */
static unsigned parse_weight(struct text t)
{
	unsigned weight = 0, worth = 1000;

	for (size_t i = 0; i < t.len; i++) {
		if (i == 1 && t.ptr[i] == '.')
			continue;
		if (t.ptr[i] < '0' || t.ptr[i] > (i ? '9' : '1') || i == 1)
			return 0;
		weight += (unsigned)(t.ptr[i] - '0') * worth;
		worth /= 10;
	}
	return weight;
}

/* The weight that @accept gives to exactly @type, in thousandths; 0 if it is not listed. */
static unsigned weight_of(struct text accept, struct text type)
{
	while (accept.len) {
		struct text range = text_cut(&accept, ','), own = text_trim(text_cut(&range, ';'));
		unsigned weight = 1000;

		if (!text_equal_nocase(own, type))
			continue;
		while (range.len) {
			struct text parameter = text_trim(text_cut(&range, ';'));

			if (text_starts(parameter, TEXT("q=")))
				weight = parse_weight(
					(struct text){ parameter.ptr + 2, parameter.len - 2 });
		}
		return weight;
	}
	return 0;
}

bool request_accepts_json(struct text accept)
{
	unsigned json = weight_of(accept, TEXT("application/json"));

	return json && json > weight_of(accept, TEXT("text/html"));
}

bool request_accepts_html(struct text accept)
{
	return weight_of(accept, TEXT("text/html")) != 0;
}

struct text request_origin(struct text url)
{
	size_t scheme = text_starts(url, TEXT("https://"))  ? 8
			: text_starts(url, TEXT("http://")) ? 7
							    : 0;
	size_t end = scheme;

	while (scheme && end < url.len && !strchr("/?#\\@ \"'<>;,", url.ptr[end]))
		end++;
	if (end == scheme || (end < url.len && url.ptr[end] == '@'))
		return (struct text){ 0 };
	return (struct text){ url.ptr, end };
}

bool request_is_foreign(const struct handoff *e, struct text origin, bool null_is_ours)
{
	struct text site, from, host;

	if (handoff_field_count(e, "Sec-Fetch-Site"))
		return !handoff_field(e, "Sec-Fetch-Site", &site) ||
		       (!text_is(site, "same-origin") && !text_is(site, "none"));
	if (!handoff_field_count(e, "Origin"))
		return false;
	if (!handoff_field(e, "Origin", &from))
		return true;
	if (text_is(from, "null"))
		return !null_is_ours;
	if (text_equal_nocase(from, origin))
		return false;
	host = text_starts(from, TEXT("https://"))  ? (struct text){ from.ptr + 8, from.len - 8 }
	       : text_starts(from, TEXT("http://")) ? (struct text){ from.ptr + 7, from.len - 7 }
						    : (struct text){ 0 };
	return !host.len || !text_equal_nocase(host, e->authority);
}
