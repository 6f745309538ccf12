/* SPDX-License-Identifier: BSD-2-Clause */
/* h1_target: request targets (RFC 9112, 3.2) and hosts (RFC 3986, 3.2.2). */
#include <arpa/inet.h>

#include "http/h1_chars.h"
#include "http/h1_check.h"

static struct text after(struct text t, size_t len)
{
	return (struct text){ t.ptr + len, t.len - len };
}

/* The number of bytes at the start of @t that are in @mask or part of a valid "%XX". */
static size_t span(struct text t, unsigned mask)
{
	size_t i = 0;

	while (i < t.len) {
		if (h1_is(t.ptr[i], mask))
			i++;
		else if (t.ptr[i] == '%' && t.len - i >= 3 && h1_is(t.ptr[i + 1], H1_HEX) &&
			 h1_is(t.ptr[i + 2], H1_HEX))
			i += 3;
		else
			break;
	}
	return i;
}

/* "[" IPv6address "]". IPvFuture is not accepted: no version of it exists. */
static bool is_ip_literal(struct text t)
{
	char address[INET6_ADDRSTRLEN];
	struct in6_addr ignored;

	if (t.len < 4 || t.len - 2 >= sizeof(address))
		return false;
	memcpy(address, t.ptr + 1, t.len - 2);
	address[t.len - 2] = '\0';
	return !memchr(address, '\0', t.len - 2) && inet_pton(AF_INET6, address, &ignored) == 1;
}

bool h1_is_authority(struct text t)
{
	struct text port;
	uint64_t number;
	size_t len;

	if (t.len && t.ptr[0] == '[') {
		const char *end = memchr(t.ptr, ']', t.len);

		len = end ? (size_t)(end - t.ptr) + 1 : 0;
		if (!len || !is_ip_literal((struct text){ t.ptr, len }))
			return false;
	} else {
		len = span(t, H1_REG_NAME);
	}
	if (!len)
		return false;
	port = after(t, len);
	if (!port.len)
		return true;
	if (port.ptr[0] != ':')
		return false;
	port = after(port, 1);
	return !port.len || text_parse_u64(port, UINT16_MAX, &number) == 0;
}

/* Whether all of @t is path-abempty [ "?" query ]. */
static bool is_path_and_query(struct text t, struct text *ret_path)
{
	size_t len = t.len && t.ptr[0] == '/' ? span(t, H1_PATH) : 0;
	struct text rest = after(t, len);

	*ret_path = (struct text){ t.ptr, len };
	if (!rest.len)
		return true;
	return rest.ptr[0] == '?' && span(after(rest, 1), H1_QUERY) == rest.len - 1;
}

static const char *examine_absolute(struct h1_facts *f)
{
	struct text rest = f->target;
	size_t len = 0;

	if (rest.len >= 7 && text_equal_nocase((struct text){ rest.ptr, 7 }, TEXT("http://")))
		rest = after(rest, 7);
	else if (rest.len >= 8 && text_equal_nocase((struct text){ rest.ptr, 8 }, TEXT("https://")))
		rest = after(rest, 8);
	else
		return "target is neither a path nor an http or https URL";
	while (len < rest.len && rest.ptr[len] != '/' && rest.ptr[len] != '?')
		len++;
	f->authority = (struct text){ rest.ptr, len };
	if (!h1_is_authority(f->authority))
		return "malformed authority in the target";
	if (!is_path_and_query(after(rest, len), &f->path))
		return "byte in the target that the grammar does not allow";
	if (f->path.len)
		return NULL;
	/* The grammar allows it, but there is no origin-form in it that could be forwarded. */
	if (rest.len > len)
		return "target has a query without a path";
	f->path = TEXT("/");
	return NULL;
}

const char *h1_examine_target(struct h1_facts *f)
{
	struct text t = f->target;

	if (text_is(f->method, "CONNECT"))
		return "CONNECT is not supported";
	if (text_is(t, "*")) {
		f->path = t;
		return text_is(f->method, "OPTIONS") ? NULL : "target * is for OPTIONS only";
	}
	if (t.ptr[0] != '/')
		return examine_absolute(f);
	if (!is_path_and_query(t, &f->path))
		return "byte in the target that the grammar does not allow";
	return NULL;
}
