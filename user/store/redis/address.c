/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * redis_address: URLs that name a Redis.
 *
 *	redis://[user[:password]@]host[:port][/database]
 *	redis+unix://[user[:password]@]/path/to/socket[?db=database]
 *	redis+sentinel://[user[:password]@]host[:port][,host[:port]...]/master[/database]
 *
 * User and password may be percent-encoded. "redis://:password@host" gives the password of Redis's
 * default user, as with other clients.
 */
#include "store/redis/redis.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORT	      6379
#define SENTINEL_PORT 26379
#define DATABASE_MAX  1000000

/* Index of the first @c in @t, or the length of @t. */
static size_t find(struct text t, char c)
{
	const char *at = t.len ? memchr(t.ptr, c, t.len) : NULL;

	return at ? (size_t)(at - t.ptr) : t.len;
}

static struct text before(struct text t, size_t at)
{
	return (struct text){ t.ptr, at };
}

static struct text after(struct text t, size_t at)
{
	size_t skip = at < t.len ? at + 1 : t.len;

	return (struct text){ t.ptr + skip, t.len - skip };
}

static int decode(struct text t, char **ret_text)
{
	char *text = malloc(t.len + 1), *to = text;

	if (!text)
		return -ENOMEM;
	for (size_t i = 0; i < t.len; i++) {
		struct text digits = { t.ptr + i + 1, 2 };
		uint8_t byte;

		if (t.ptr[i] != '%') {
			*to++ = t.ptr[i];
			continue;
		}
		if (i + 2 >= t.len || text_parse_hex(digits, &byte, 1) || !byte) {
			free(text);
			return -EINVAL;
		}
		*to++ = (char)byte;
		i += 2;
	}
	*to = '\0';
	*ret_text = text;
	return 0;
}

/* Take user and password, up to the '@', off @rest, if there is an '@'. */
static int take_user(struct text *rest, struct redis_address *address)
{
	size_t at = rest->len, colon;
	struct text who;
	int err = 0;

	for (size_t i = 0; i < rest->len && rest->ptr[i] != '/'; i++) {
		if (rest->ptr[i] == '@')
			at = i;
	}
	if (at == rest->len)
		return 0;
	who = before(*rest, at);
	colon = find(who, ':');
	*rest = after(*rest, at);
	if (colon)
		err = decode(before(who, colon), &address->user);
	if (!err && colon < who.len)
		err = decode(after(who, colon), &address->password);
	return err;
}

/* Parse "host", "host:port" or "[v6]:port". */
static int take_host(struct text t, int default_port, char **ret_host, int *ret_port)
{
	struct text host = before(t, find(t, ':')), port = after(t, find(t, ':'));
	uint64_t number = (uint64_t)default_port;

	if (t.len && t.ptr[0] == '[') {
		size_t end = find(t, ']');

		if (end == t.len)
			return -EINVAL;
		host = (struct text){ t.ptr + 1, end - 1 };
		t = after(t, end);
		if (t.len && t.ptr[0] != ':')
			return -EINVAL;
		port = after(t, 0);
	}
	if (!host.len || (port.len && text_parse_u64(port, 65535, &number)) || !number)
		return -EINVAL;
	*ret_port = (int)number;
	*ret_host = text_dup(host);
	return *ret_host ? 0 : -ENOMEM;
}

static int take_database(struct text t, struct redis_address *address)
{
	uint64_t number = 0;

	if (t.len && text_parse_u64(t, DATABASE_MAX, &number))
		return -EINVAL;
	address->database = (unsigned)number;
	return 0;
}

static int parse_host(struct text rest, struct redis_address *address)
{
	size_t slash = find(rest, '/');
	int err = take_host(before(rest, slash), PORT, &address->host, &address->port);

	return err ? err : take_database(after(rest, slash), address);
}

static int parse_unix(struct text rest, struct redis_address *address)
{
	struct text path = before(rest, find(rest, '?')), query = after(rest, find(rest, '?'));

	if (!path.len || path.ptr[0] != '/' || (query.len && !text_starts(query, TEXT("db="))))
		return -EINVAL;
	address->path = text_dup(path);
	if (!address->path)
		return -ENOMEM;
	return query.len ? take_database((struct text){ query.ptr + 3, query.len - 3 }, address)
			 : 0;
}

static int parse_sentinels(struct text rest, struct redis_address *address)
{
	size_t slash = find(rest, '/');
	struct text hosts = before(rest, slash), name = after(rest, slash);
	int err = 0;

	while (!err && hosts.len) {
		unsigned n = address->sentinel_count;
		size_t comma = find(hosts, ',');

		if (n == REDIS_SENTINELS_MAX)
			return -EINVAL;
		err = take_host(before(hosts, comma), SENTINEL_PORT, &address->sentinels[n],
				&address->sentinel_ports[n]);
		address->sentinel_count += !err;
		hosts = after(hosts, comma);
	}
	if (err)
		return err;
	slash = find(name, '/');
	if (!address->sentinel_count || !slash)
		return -EINVAL;
	address->master = text_dup(before(name, slash));
	return address->master ? take_database(after(name, slash), address) : -ENOMEM;
}

int redis_address_parse(const char *scheme, const char *location, struct redis_address *ret_address,
			char *ret_why, size_t why_size)
{
	const struct {
		const char *scheme, *form;
		int (*parse)(struct text rest, struct redis_address *address);
	} forms[] = {
		{ "redis:", "redis://[user:password@]host[:port][/database]", parse_host },
		{ "redis+unix:", "redis+unix:///path/to/socket[?db=database]", parse_unix },
		{ "redis+sentinel:",
		  "redis+sentinel://[user:password@]host[:port][,host[:port]...]/master[/database]",
		  parse_sentinels },
	};
	struct text rest = text_of(location);
	int err = -EINVAL;

	*ret_address = (struct redis_address){ 0 };
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (strcmp(forms[i].scheme, scheme))
			continue;
		snprintf(ret_why, why_size, "must be %s", forms[i].form);
		if (!text_starts(rest, TEXT("//")))
			break;
		rest = (struct text){ rest.ptr + 2, rest.len - 2 };
		err = take_user(&rest, ret_address);
		if (!err)
			err = forms[i].parse(rest, ret_address);
	}
	return err;
}

void redis_address_done(struct redis_address *address)
{
	free(address->host);
	free(address->path);
	free(address->user);
	free(address->password);
	free(address->master);
	for (unsigned i = 0; i < address->sentinel_count; i++)
		free(address->sentinels[i]);
	*address = (struct redis_address){ 0 };
}
