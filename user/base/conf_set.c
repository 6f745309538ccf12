/* SPDX-License-Identifier: BSD-2-Clause */
/* conf_set: the setters that read each kind of value, with the messages for wrong ones. */
#include "base/conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define MAX_TEXT  4096
#define MAX_NAME  63
#define MAX_WORDS 16

static void *place(const struct conf_option *option, void *record)
{
	return (char *)record + option->offset;
}

/* Store a copy of @t in the char pointer at @at. */
static void store_text(struct conf *conf, struct text t, char **at)
{
	char *copy = text_dup(t);

	if (!copy) {
		conf_no_memory(conf);
		return;
	}
	free(*at);
	*at = copy;
}

static bool read_text(struct conf *conf, const struct conf_node *node, struct text *ret_text)
{
	if (!conf_text(conf, node, ret_text))
		return false;
	if (!ret_text->len)
		conf_error(conf, node, "the value must not be empty");
	else if (ret_text->len > MAX_TEXT)
		conf_error(conf, node, "the value is longer than %d bytes", MAX_TEXT);
	return ret_text->len && ret_text->len <= MAX_TEXT;
}

bool conf_name(struct conf *conf, const struct conf_node *node, struct text *ret_name)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
	size_t i = 0;

	if (!read_text(conf, node, ret_name))
		return false;
	while (i < ret_name->len && strchr(allowed, ret_name->ptr[i]))
		i++;
	if (i == ret_name->len && i <= MAX_NAME)
		return true;
	conf_error(conf, node,
		   "'%.*s' is not a valid name; use up to %d letters, digits, '_', '.' and '-'",
		   (int)(ret_name->len < MAX_NAME ? ret_name->len : MAX_NAME), ret_name->ptr,
		   MAX_NAME);
	return false;
}

void conf_set_text(struct conf *conf, const struct conf_node *node,
		   const struct conf_option *option, void *record)
{
	struct text t;

	if (read_text(conf, node, &t))
		store_text(conf, t, place(option, record));
}

void conf_set_name(struct conf *conf, const struct conf_node *node,
		   const struct conf_option *option, void *record)
{
	struct text t;

	if (conf_name(conf, node, &t))
		store_text(conf, t, place(option, record));
}

void conf_set_texts(struct conf *conf, const struct conf_node *node,
		    const struct conf_option *option, void *record)
{
	unsigned *count = (void *)((char *)record + option->count_offset);
	char ***list = place(option, record);
	int items;

	*list = conf_new_list(conf, node, sizeof(**list), &items);
	for (int i = 0; i < items; i++) {
		struct text t;

		if (!read_text(conf, conf_item(conf, node, i), &t))
			continue;
		store_text(conf, t, &(*list)[*count]);
		if ((*list)[*count])
			++*count;
	}
}

void conf_set_bool(struct conf *conf, const struct conf_node *node,
		   const struct conf_option *option, void *record)
{
	struct text t;

	if (!conf_text(conf, node, &t))
		return;
	if (text_is(t, "true") || text_is(t, "false"))
		*(bool *)place(option, record) = text_is(t, "true");
	else
		conf_error(conf, node, "'%.*s' is not valid; use true or false", CONF_SHOWN(t));
}

static bool read_u64(struct conf *conf, const struct conf_node *node,
		     const struct conf_option *option, uint64_t *ret_value)
{
	struct text t;

	if (!conf_text(conf, node, &t))
		return false;
	if (!text_parse_u64(t, option->max, ret_value) && *ret_value >= option->min)
		return true;
	conf_error(conf, node, "'%.*s' is not valid; use a whole number from %llu to %llu",
		   CONF_SHOWN(t), (unsigned long long)option->min, (unsigned long long)option->max);
	return false;
}

void conf_set_u32(struct conf *conf, const struct conf_node *node, const struct conf_option *option,
		  void *record)
{
	uint64_t value;

	if (read_u64(conf, node, option, &value))
		*(uint32_t *)place(option, record) = (uint32_t)value;
}

void conf_set_u64(struct conf *conf, const struct conf_node *node, const struct conf_option *option,
		  void *record)
{
	uint64_t value;

	if (read_u64(conf, node, option, &value))
		*(uint64_t *)place(option, record) = value;
}

/* A duration as it is written in the file, in the largest unit of which it is a whole number. */
static const char *format_duration(uint64_t ms, char ret_text[32])
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = { { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 } };

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (ms < units[i].ms || ms % units[i].ms)
			continue;
		snprintf(ret_text, 32, "%llu%s", (unsigned long long)(ms / units[i].ms),
			 units[i].unit);
		return ret_text;
	}
	snprintf(ret_text, 32, "%llums", (unsigned long long)ms);
	return ret_text;
}

void conf_set_duration(struct conf *conf, const struct conf_node *node,
		       const struct conf_option *option, void *record)
{
	char min[32], max[32];
	struct text t;
	uint64_t ms;

	if (!conf_text(conf, node, &t))
		return;
	if (text_parse_duration_ms(t, &ms))
		conf_error(
			conf, node,
			"'%.*s' is not a valid duration; use for example 500ms, 30s, 5m, 24h or 7d",
			CONF_SHOWN(t));
	else if (ms < option->min || ms > option->max)
		conf_error(conf, node, "the duration must be from %s to %s",
			   format_duration(option->min, min), format_duration(option->max, max));
	else
		*(uint64_t *)place(option, record) = ms;
}

void conf_set_size(struct conf *conf, const struct conf_node *node,
		   const struct conf_option *option, void *record)
{
	struct text t;
	uint64_t bytes;

	if (!conf_text(conf, node, &t))
		return;
	if (text_parse_size(t, &bytes))
		conf_error(conf, node,
			   "'%.*s' is not a valid size; use for example 512, 64k, 10m or 1g",
			   CONF_SHOWN(t));
	else if (bytes < option->min || bytes > option->max)
		conf_error(conf, node, "the size must be from %llu to %llu bytes",
			   (unsigned long long)option->min, (unsigned long long)option->max);
	else
		*(uint64_t *)place(option, record) = bytes;
}

/* Report that @t is not one of @words, and suggest the nearest. */
static void unknown_word(struct conf *conf, const struct conf_node *node, struct text t,
			 const struct conf_word *words)
{
	const char *names[MAX_WORDS], *nearest;
	struct buf list;
	size_t count = 0;

	buf_init(&list, MAX_TEXT);
	for (; words[count].word && count < MAX_WORDS; count++) {
		names[count] = words[count].word;
		if (count)
			buf_append_str(&list, words[count + 1].word ? ", " : " or ");
		buf_append_str(&list, words[count].word);
	}
	nearest = text_nearest(t, names, count);
	if (nearest)
		conf_error(conf, node, "'%.*s' is not valid; use %.*s (did you mean '%s'?)",
			   CONF_SHOWN(t), TEXT_ARG(buf_text(&list)), nearest);
	else
		conf_error(conf, node, "'%.*s' is not valid; use %.*s", CONF_SHOWN(t),
			   TEXT_ARG(buf_text(&list)));
	buf_done(&list);
}

void conf_set_word(struct conf *conf, const struct conf_node *node,
		   const struct conf_option *option, void *record)
{
	struct text t;

	if (!conf_text(conf, node, &t))
		return;
	for (const struct conf_word *w = option->words; w->word; w++) {
		if (text_is(t, w->word)) {
			memcpy(place(option, record), &w->value, sizeof(w->value));
			return;
		}
	}
	unknown_word(conf, node, t, option->words);
}

static int parse_ip(struct text host, bool is_ipv6, uint16_t port, struct sockaddr_storage *ret)
{
	struct sockaddr_storage address = { 0 };
	struct sockaddr_in6 *in6 = (void *)&address;
	struct sockaddr_in *in = (void *)&address;
	char name[INET6_ADDRSTRLEN];
	bool ok;

	if (!host.len || host.len >= sizeof(name))
		return -EINVAL;
	memcpy(name, host.ptr, host.len);
	name[host.len] = '\0';
	address.ss_family = is_ipv6 ? AF_INET6 : AF_INET;
	if (is_ipv6) {
		in6->sin6_port = htons(port);
		ok = inet_pton(AF_INET6, name, &in6->sin6_addr) == 1;
	} else {
		in->sin_port = htons(port);
		ok = inet_pton(AF_INET, name, &in->sin_addr) == 1;
	}
	if (!ok)
		return -EINVAL;
	*ret = address;
	return 0;
}

int conf_parse_address(struct text t, struct sockaddr_storage *ret_address)
{
	const char *colon = t.len ? memrchr(t.ptr, ':', t.len) : NULL;
	struct text host;
	uint64_t port;

	if (!colon)
		return -EINVAL;
	host = (struct text){ t.ptr, (size_t)(colon - t.ptr) };
	if (text_parse_u64((struct text){ colon + 1, t.len - host.len - 1 }, 65535, &port) || !port)
		return -EINVAL;
	if (host.len < 2 || host.ptr[0] != '[')
		return parse_ip(host, false, (uint16_t)port, ret_address);
	if (host.ptr[host.len - 1] != ']')
		return -EINVAL;
	host = (struct text){ host.ptr + 1, host.len - 2 };
	return parse_ip(host, true, (uint16_t)port, ret_address);
}

void conf_set_address(struct conf *conf, const struct conf_node *node,
		      const struct conf_option *option, void *record)
{
	struct text t;

	if (conf_text(conf, node, &t) && conf_parse_address(t, place(option, record)))
		conf_error(conf, node,
			   "'%.*s' is not an address with a port; use for example 0.0.0.0:8080 or "
			   "[::1]:80",
			   CONF_SHOWN(t));
}
