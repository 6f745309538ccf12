/* SPDX-License-Identifier: BSD-2-Clause */
/* network_options: options of listeners and upstreams; setters of paths and address blocks. */
#include "config/parts.h"

#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"

#define MAX_HOST 253 /* RFC 1035, 2.3.4: 255 bytes in DNS messages are 253 characters */

bool config_resolves_names = true;

bool config_same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;
	const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;

	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_INET)
		return a4->sin_port == b4->sin_port && a4->sin_addr.s_addr == b4->sin_addr.s_addr;
	if (a->ss_family == AF_INET6)
		return a6->sin6_port == b6->sin6_port &&
		       !memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr));
	return true;
}

char *config_resolve_path(const char *config_path, struct text path)
{
	const char *slash = strrchr(config_path, '/');
	char *name;

	if (path.ptr[0] == '/' || !slash)
		return text_dup(path);
	if (asprintf(&name, "%.*s/%.*s", (int)(slash - config_path), config_path, TEXT_ARG(path)) <
	    0)
		return NULL;
	return name;
}

void config_set_path(struct conf *conf, const struct conf_node *node,
		     const struct conf_option *option, void *record)
{
	char **at = (void *)((char *)record + option->offset), *name;
	struct text t;

	if (!conf_text(conf, node, &t))
		return;
	if (!t.len || t.len > 1024) {
		conf_error(conf, node, "a file name must have 1 to 1024 bytes");
		return;
	}
	name = config_resolve_path(conf_path(conf), t);
	if (!name) {
		conf_no_memory(conf);
		return;
	}
	free(*at);
	*at = name;
}

void config_set_cidrs(struct conf *conf, const struct conf_node *node,
		      const struct conf_option *option, void *record)
{
	struct cidr **list = (void *)((char *)record + option->offset);
	unsigned *count = (void *)((char *)record + option->count_offset);
	int items;

	*list = conf_new_list(conf, node, sizeof(**list), &items);
	for (int i = 0; i < items; i++) {
		const struct conf_node *item = conf_item(conf, node, i);
		struct text t;

		if (!conf_text(conf, item, &t))
			continue;
		if (cidr_parse(t, &(*list)[*count]))
			conf_error(conf, item,
				   "'%.*s' is not a valid address block; use for example "
				   "10.0.0.0/8 or 2001:db8::1",
				   CONF_SHOWN(t));
		else
			++*count;
	}
}

static void finish_listener(struct conf *conf, const struct conf_node *mapping, void *record)
{
	const struct config *config = conf_owner(conf);
	const struct config_listener *listener = record;

	if (listener->certificate && !listener->private_key)
		conf_error(conf, conf_find(conf, mapping, "certificate"),
			   "a certificate needs the option 'private_key'");
	if (listener->private_key && !listener->certificate)
		conf_error(conf, conf_find(conf, mapping, "private_key"),
			   "a private key needs the option 'certificate'");
	if (!listener->address.ss_family) /* missing or not valid, which has been reported */
		return;
	for (const struct config_listener *l = config->listeners; l < listener; l++) {
		if (config_same_address(&l->address, &listener->address))
			conf_error(conf, conf_find(conf, mapping, "address"),
				   "listener '%s' already has this address",
				   l->name ? l->name : "");
	}
}

static void set_interfaces(struct conf *conf, const struct conf_node *node,
			   const struct conf_option *option, void *record)
{
	struct config_listener *listener = record;

	conf_set_texts(conf, node, option, record);
	for (unsigned i = 0; i < listener->interface_count; i++) {
		if (strlen(listener->interfaces[i]) >= IFNAMSIZ ||
		    strpbrk(listener->interfaces[i], "/ "))
			conf_error(conf, node, "'%.32s' is not a valid interface name",
				   listener->interfaces[i]);
	}
}

static const struct conf_option listener_options[] = {
	{ .name = "name",
	  .set = conf_set_name,
	  .offset = offsetof(struct config_listener, name),
	  .is_required = true,
	  .is_unique = true },
	{ .name = "address",
	  .set = conf_set_address,
	  .offset = offsetof(struct config_listener, address),
	  .is_required = true },
	{ .name = "interfaces",
	  .set = set_interfaces,
	  .offset = offsetof(struct config_listener, interfaces),
	  .count_offset = offsetof(struct config_listener, interface_count) },
	{ .name = "certificate",
	  .set = config_set_path,
	  .offset = offsetof(struct config_listener, certificate) },
	{ .name = "private_key",
	  .set = config_set_path,
	  .offset = offsetof(struct config_listener, private_key) },
};

const struct conf_schema listener_schema = {
	CONF_SCHEMA(listener_options),
	.noun = "a listener",
	.record_size = sizeof(struct config_listener),
	.finish = finish_listener,
};

/* Add a server unless the upstream has it already. False after reporting an error. */
static bool add_server(struct conf *conf, const struct conf_node *node,
		       struct upstream_config *upstream, const struct sockaddr_storage *address)
{
	int err;

	for (unsigned i = 0; i < upstream->server_count; i++) {
		if (config_same_address(&upstream->servers[i], address))
			return true;
	}
	err = array_reserve(upstream->servers, upstream->server_room,
			    upstream->server_count + (size_t)1, UPSTREAM_MAX_SERVERS);
	if (err == -ENOSPC)
		conf_error(conf, node, "the servers of this upstream have more than %d addresses",
			   UPSTREAM_MAX_SERVERS);
	else if (err)
		conf_no_memory(conf);
	else
		upstream->servers[upstream->server_count++] = *address;
	return !err;
}

/*
 * Add all addresses of @host that are of one family: IPv4, or IPv6 if there are no IPv4 addresses.
 * A name such as "localhost" has both, but a server rarely listens on both.
 */
static void add_resolved(struct conf *conf, const struct conf_node *node, const char *host,
			 const char *port, struct upstream_config *upstream)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *list;
	int family = AF_INET6, code = getaddrinfo(host, port, &hints, &list);

	if (code) {
		conf_error(conf, node, "cannot resolve '%s': %s", host, gai_strerror(code));
		return;
	}
	for (const struct addrinfo *a = list; a; a = a->ai_next) {
		if (a->ai_family == AF_INET)
			family = AF_INET;
	}
	for (const struct addrinfo *a = list; a; a = a->ai_next) {
		struct sockaddr_storage address = { 0 };

		if (a->ai_family != family)
			continue;
		memcpy(&address, a->ai_addr, a->ai_addrlen);
		if (!add_server(conf, node, upstream, &address))
			break;
	}
	freeaddrinfo(list);
}

/* Whether @host has the form of a host name, and not that of an IP address. */
static bool is_host_name(struct text host)
{
	bool has_letter = false;

	for (size_t i = 0; i < host.len; i++) {
		char c = host.ptr[i] | 0x20;
		bool is_letter = c >= 'a' && c <= 'z';

		has_letter |= is_letter;
		if (!is_letter && !(host.ptr[i] >= '0' && host.ptr[i] <= '9') &&
		    host.ptr[i] != '.' && host.ptr[i] != '-' && host.ptr[i] != '_')
			return false;
	}
	return has_letter && host.len <= MAX_HOST;
}

static void read_server(struct conf *conf, const struct conf_node *node,
			struct upstream_config *upstream)
{
	struct sockaddr_storage address;
	char host[MAX_HOST + 1], port[8];
	const char *colon;
	struct text t;
	uint64_t number;

	if (!conf_text(conf, node, &t))
		return;
	if (!conf_parse_address(t, &address)) {
		add_server(conf, node, upstream, &address);
		return;
	}
	colon = t.len ? memrchr(t.ptr, ':', t.len) : NULL;
	if (!colon || !is_host_name((struct text){ t.ptr, (size_t)(colon - t.ptr) }) ||
	    text_parse_u64((struct text){ colon + 1, t.len - (size_t)(colon - t.ptr) - 1 }, 65535,
			   &number) ||
	    !number) {
		conf_error(conf, node,
			   "'%.*s' is not a valid server; use for example 10.0.0.1:9000 or "
			   "api.internal:9000",
			   CONF_SHOWN(t));
		return;
	}
	snprintf(host, sizeof(host), "%.*s", (int)(colon - t.ptr), t.ptr);
	snprintf(port, sizeof(port), "%u", (unsigned)number);
	if (config_resolves_names)
		add_resolved(conf, node, host, port, upstream);
	else
		conf_error(conf, node, "cannot resolve '%s': names are not resolved here", host);
}

static void set_servers(struct conf *conf, const struct conf_node *node,
			const struct conf_option *option, void *record)
{
	int items = conf_list(conf, node);

	(void)option;
	if (!items || items > UPSTREAM_MAX_SERVERS)
		conf_error(conf, node, "an upstream must have 1 to %d servers",
			   UPSTREAM_MAX_SERVERS);
	for (int i = 0; i < items && items <= UPSTREAM_MAX_SERVERS; i++)
		read_server(conf, conf_item(conf, node, i), record);
}

#define TIMEOUT(text, member, usual)                                                         \
	{                                                                                    \
		.name = text, .set = conf_set_duration,                                      \
		.offset = offsetof(struct upstream_config, member), .min = 1, .max = DAY_MS, \
		.standard = (usual)                                                          \
	}

static const struct conf_option upstream_options[] = {
	{ .name = "name",
	  .set = conf_set_name,
	  .offset = offsetof(struct upstream_config, name),
	  .is_required = true,
	  .is_unique = true },
	{ .name = "servers", .set = set_servers, .is_required = true },
	TIMEOUT("connect_timeout", connect_ms, "2s"),
	TIMEOUT("answer_timeout", answer_ms, "60s"),
	TIMEOUT("body_timeout", body_ms, "60s"),
	TIMEOUT("idle_timeout", idle_ms, "60s"),
	{ .name = "max_idle",
	  .set = conf_set_u32,
	  .offset = offsetof(struct upstream_config, max_idle),
	  .max = 65536,
	  .standard = "64" },
	{ .name = "max_connections",
	  .set = conf_set_u32,
	  .offset = offsetof(struct upstream_config, max_connections),
	  .min = 1,
	  .max = 1000000,
	  .standard = "1024" },
};

const struct conf_schema upstream_schema = {
	CONF_SCHEMA(upstream_options),
	.noun = "an upstream",
	.record_size = sizeof(struct upstream_config),
};
