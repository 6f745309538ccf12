/* SPDX-License-Identifier: BSD-2-Clause */
/* credential: finds the key of a request. */
#include "proxy/credential.h"

bool credential_is_ambiguous(const struct http_message *m)
{
	return (http_has(m, HTTP_X_API_KEY) && http_count(m, HTTP_X_API_KEY) > 1) ||
	       (http_has(m, HTTP_AUTHORIZATION) && http_count(m, HTTP_AUTHORIZATION) > 1);
}

/* RFC 6750: the scheme is not case-sensitive, and one or more spaces follow it. */
static struct text bearer_token(struct text value)
{
	const struct text none = { NULL, 0 };

	if (value.len < 7 || !text_equal_nocase((struct text){ value.ptr, 6 }, TEXT("Bearer")) ||
	    value.ptr[6] != ' ')
		return none;
	return text_trim((struct text){ value.ptr + 6, value.len - 6 });
}

struct text credential_find(const struct http_message *m, bool *ret_in_authorization)
{
	struct text key = { NULL, 0 };

	*ret_in_authorization = false;
	if (http_has(m, HTTP_X_API_KEY))
		return http_find(m, HTTP_X_API_KEY)->value;
	if (http_has(m, HTTP_AUTHORIZATION)) {
		key = bearer_token(http_find(m, HTTP_AUTHORIZATION)->value);
		*ret_in_authorization = key.ptr;
	}
	return key;
}
