/* SPDX-License-Identifier: BSD-2-Clause */
/* message: field names, lookups and reason phrases. */
#include "http/message.h"

#include <stddef.h>

static const struct text spellings[HTTP_NAME_COUNT] = { [HTTP_OTHER] = { "", 0 },
#define X(name, spelling) [HTTP_##name] = { spelling, sizeof(spelling) - 1 },
							HTTP_NAMES(X)
#undef X
};

_Static_assert(HTTP_NAME_COUNT <= 32, "http_message.known has one bit for each name");

/*
 * The names by their length. With the first letter, mostly one candidate is left to be compared. A
 * unit test compares these lengths with HTTP_NAMES.
 */
static const uint8_t by_length[][5] = {
	[2] = { HTTP_TE },
	[4] = { HTTP_HOST, HTTP_DATE },
	[6] = { HTTP_EXPECT, HTTP_SERVER, HTTP_ORIGIN },
	[7] = { HTTP_TRAILER, HTTP_UPGRADE },
	[9] = { HTTP_X_API_KEY, HTTP_FORWARDED, HTTP_RATELIMIT },
	[10] = { HTTP_CONNECTION, HTTP_KEEP_ALIVE },
	[12] = { HTTP_CONTENT_TYPE, HTTP_X_REQUEST_ID },
	[13] = { HTTP_AUTHORIZATION },
	[14] = { HTTP_CONTENT_LENGTH },
	[15] = { HTTP_X_FORWARDED_FOR, HTTP_X_TOLLGATE_TIER },
	[16] = { HTTP_PROXY_CONNECTION, HTTP_RATELIMIT_POLICY, HTTP_X_FORWARDED_HOST },
	[17] = { HTTP_TRANSFER_ENCODING, HTTP_X_FORWARDED_PROTO },
	[18] = { HTTP_PROXY_AUTHENTICATE, HTTP_X_TOLLGATE_ACCOUNT },
	[19] = { HTTP_PROXY_AUTHORIZATION },
	[29] = { HTTP_ACCESS_CONTROL_REQUEST_METHOD },
	[30] = { HTTP_ACCESS_CONTROL_REQUEST_HEADERS },
};

enum http_name http_name_find(struct text name)
{
	if (name.len >= sizeof(by_length) / sizeof(by_length[0]))
		return HTTP_OTHER;
	for (const uint8_t *id = by_length[name.len]; *id != HTTP_OTHER; id++) {
		if ((name.ptr[0] ^ spellings[*id].ptr[0]) & ~0x20)
			continue;
		/* Most clients spell names as the RFCs do. */
		if (text_equal(name, spellings[*id]) || text_equal_nocase(name, spellings[*id]))
			return *id;
	}
	return HTTP_OTHER;
}

const char *http_name_spelling(enum http_name id)
{
	return spellings[id].ptr;
}

const struct http_header *http_find(const struct http_message *m, enum http_name id)
{
	if (!http_has(m, id))
		return NULL;
	http_for_each_header (h, m)
		if (h->id == id)
			return h;
	return NULL;
}

unsigned http_count(const struct http_message *m, enum http_name id)
{
	unsigned count = 0;

	if (!http_has(m, id))
		return 0;
	http_for_each_header (h, m)
		count += h->id == id;
	return count;
}

bool http_list_next(struct text *list, struct text *ret_element)
{
	const char *comma;

	if (!list->len)
		return false;
	comma = memchr(list->ptr, ',', list->len);
	*ret_element = (struct text){ list->ptr, comma ? (size_t)(comma - list->ptr) : list->len };
	list->ptr += ret_element->len + (comma != NULL);
	list->len -= ret_element->len + (comma != NULL);
	*ret_element = text_trim(*ret_element);
	return true;
}

bool http_connection_lists(const struct http_message *m, struct text name)
{
	struct text list, element;

	if (!http_has(m, HTTP_CONNECTION))
		return false;
	if (m->lists_no_names && name.len != TEXT("close").len &&
	    name.len != TEXT("keep-alive").len)
		return false;
	http_for_each_header (h, m) {
		if (h->id != HTTP_CONNECTION)
			continue;
		list = h->value;
		while (http_list_next(&list, &element))
			if (text_equal_nocase(element, name))
				return true;
	}
	return false;
}

/* The most frequent ones first. */
static const struct {
	unsigned status;
	const char *reason;
} reasons[] = {
	{ 200, "OK" },
	{ 429, "Too Many Requests" },
	{ 401, "Unauthorized" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 100, "Continue" },
	{ 101, "Switching Protocols" },
	{ 103, "Early Hints" },
	{ 201, "Created" },
	{ 202, "Accepted" },
	{ 203, "Non-Authoritative Information" },
	{ 204, "No Content" },
	{ 205, "Reset Content" },
	{ 206, "Partial Content" },
	{ 207, "Multi-Status" },
	{ 300, "Multiple Choices" },
	{ 301, "Moved Permanently" },
	{ 302, "Found" },
	{ 303, "See Other" },
	{ 304, "Not Modified" },
	{ 307, "Temporary Redirect" },
	{ 308, "Permanent Redirect" },
	{ 400, "Bad Request" },
	{ 402, "Payment Required" },
	{ 405, "Method Not Allowed" },
	{ 406, "Not Acceptable" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 410, "Gone" },
	{ 411, "Length Required" },
	{ 412, "Precondition Failed" },
	{ 413, "Content Too Large" },
	{ 414, "URI Too Long" },
	{ 415, "Unsupported Media Type" },
	{ 416, "Range Not Satisfiable" },
	{ 417, "Expectation Failed" },
	{ 421, "Misdirected Request" },
	{ 422, "Unprocessable Content" },
	{ 425, "Too Early" },
	{ 426, "Upgrade Required" },
	{ 428, "Precondition Required" },
	{ 431, "Request Header Fields Too Large" },
	{ 451, "Unavailable For Legal Reasons" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 502, "Bad Gateway" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
	{ 505, "HTTP Version Not Supported" },
	{ 507, "Insufficient Storage" },
};

const char *http_reason(unsigned status)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Unknown";
}
