/* SPDX-License-Identifier: BSD-2-Clause */
/* portal_options: setters of options for the pages that customers see. */
#include "config/parts.h"

#include <stdlib.h>
#include <string.h>

#define MAX_NAME_BYTES 80
#define MAX_URL_BYTES  2000

static bool has_only_graphic_ascii(struct text t)
{
	for (size_t i = 0; i < t.len; i++) {
		if ((unsigned char)t.ptr[i] <= ' ' || (unsigned char)t.ptr[i] >= 0x7f)
			return false;
	}
	return true;
}

/* Replace the text at @at with @prefix and @t. */
static void set_copy(struct conf *conf, const char *prefix, struct text t, char **at)
{
	free(*at);
	*at = malloc(strlen(prefix) + t.len + 1);
	if (!*at) {
		conf_no_memory(conf);
		return;
	}
	memcpy(stpcpy(*at, prefix), t.ptr, t.len);
	(*at)[strlen(prefix) + t.len] = '\0';
}

void config_set_product_name(struct conf *conf, const struct conf_node *node,
			     const struct conf_option *option, void *record)
{
	struct text t;
	bool is_valid;

	if (!conf_text(conf, node, &t))
		return;
	is_valid = t.len && t.len <= MAX_NAME_BYTES;
	for (size_t i = 0; i < t.len; i++)
		is_valid &= (unsigned char)t.ptr[i] >= ' ' && t.ptr[i] != 0x7f;
	if (is_valid)
		set_copy(conf, "", t, (char **)((char *)record + option->offset));
	else
		conf_error(conf, node,
			   "not a valid product name; use 1 to %d bytes without control "
			   "characters",
			   MAX_NAME_BYTES);
}

static bool is_web_url(struct text t)
{
	size_t scheme = text_starts(t, TEXT("https://"))  ? 8
			: text_starts(t, TEXT("http://")) ? 7
							  : 0;

	return scheme && t.len > scheme && t.len <= MAX_URL_BYTES && t.ptr[scheme] != '/' &&
	       has_only_graphic_ascii(t);
}

static bool is_mail_address(struct text t)
{
	const char *at = t.len ? memchr(t.ptr, '@', t.len) : NULL;
	size_t before = at ? (size_t)(at - t.ptr) : 0;

	return before && before + 1 < t.len && t.len <= 254 && has_only_graphic_ascii(t) &&
	       !memchr(at + 1, '@', t.len - before - 1) && !memchr(t.ptr, '?', t.len) &&
	       !memchr(t.ptr, '/', t.len);
}

void config_set_link(struct conf *conf, const struct conf_node *node,
		     const struct conf_option *option, void *record)
{
	char **at = (char **)((char *)record + option->offset);
	bool takes_mail = option->max;
	struct text t;

	if (!conf_text(conf, node, &t))
		return;
	if (is_web_url(t))
		set_copy(conf, "", t, at);
	else if (takes_mail && is_mail_address(t))
		set_copy(conf, "mailto:", t, at);
	else
		conf_error(conf, node, "'%.*s' is not a valid URL; use for example %s",
			   CONF_SHOWN(t),
			   takes_mail ? "https://example.com/help or help@example.com"
				      : "https://example.com/terms");
}

/* Whether @t is ":" and a port as browsers write it. They leave out @standard, the scheme's own. */
static bool is_port(struct text t, uint64_t standard)
{
	const struct text digits = { t.ptr + 1, t.len - 1 };
	uint64_t port;

	return t.ptr[0] == ':' && digits.len && digits.ptr[0] != '0' &&
	       !text_parse_u64(digits, UINT16_MAX, &port) && port != standard;
}

/* Whether @t is an origin as browsers write it: lower case, no path, no standard port. */
static bool is_origin(struct text t)
{
	static const char name[] = "abcdefghijklmnopqrstuvwxyz0123456789-._";
	bool is_https = text_starts(t, TEXT("https://"));
	size_t start = is_https ? 8 : 7, end;
	bool is_ip6;

	if (!is_web_url(t))
		return false;
	is_ip6 = t.ptr[start] == '[';
	start += is_ip6;
	end = start;
	while (end < t.len && strchr(is_ip6 ? "0123456789abcdef:." : name, t.ptr[end]))
		end++;
	if (end == start || (is_ip6 && (end == t.len || t.ptr[end++] != ']')))
		return false;
	return end == t.len ||
	       is_port((struct text){ t.ptr + end, t.len - end }, is_https ? 443 : 80);
}

void config_set_origins(struct conf *conf, const struct conf_node *node,
			const struct conf_option *option, void *record)
{
	char **list;
	unsigned count;

	conf_set_texts(conf, node, option, record);
	list = *(char ***)((char *)record + option->offset);
	count = *(unsigned *)((char *)record + option->count_offset);
	for (unsigned i = 0; i < count; i++) {
		if (!is_origin(text_of(list[i])))
			conf_error(conf, conf_item(conf, node, (int)i),
				   "'%.64s' is not a valid origin; use for example "
				   "https://www.example.com, without a path",
				   list[i]);
	}
}
