/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * config: see config.h.
 *
 * The tables here and in the files *_options.c are the only list of options. `options` gives the
 * order in which sections are read, so that a route can refer to upstreams and tiers.
 */
#include "config/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/paths.h"
#include "config/parts.h"
#include "store/store.h"

#define SQLITE_SCHEME	  "sqlite:"
#define MAX_MESSAGE_BYTES (256 << 10)
#define MAX_SOCKET	  107 /* bytes in sockaddr_un */
#define MAX_INSTANCE	  32
#define MAX_PREFIX	  32

static void set_redis(struct conf *conf, const struct conf_node *node, struct text url,
		      struct config *config)
{
	char *copy = text_dup(url), why[256];
	int err = copy ? store_check_url(copy, why, sizeof(why)) : -ENOMEM;

	if (!err) {
		free(config->store);
		config->store = copy;
		return;
	}
	free(copy);
	if (err == -EINVAL) /* do not show the URL: it may contain a password */
		conf_error(conf, node, "%s", why);
	else
		conf_no_memory(conf);
}

/*
 * "sqlite:" and a path, relative to the configuration's folder like all paths; or the URL of a
 * Redis.
 */
static void set_store(struct conf *conf, const struct conf_node *node,
		      const struct conf_option *option, void *record)
{
	struct config *config = record;
	char *path = NULL, *url;
	struct text t;

	(void)option;
	if (!conf_text(conf, node, &t))
		return;
	if (!text_starts(t, TEXT(SQLITE_SCHEME)) || t.len == strlen(SQLITE_SCHEME)) {
		set_redis(conf, node, t, config);
		return;
	}
	path = config_resolve_path(conf_path(conf), (struct text){ t.ptr + strlen(SQLITE_SCHEME),
								   t.len - strlen(SQLITE_SCHEME) });
	if (!path || asprintf(&url, SQLITE_SCHEME "%s", path) < 0) {
		conf_no_memory(conf);
	} else {
		free(config->store);
		config->store = url;
	}
	free(path);
}

static void set_admin_socket(struct conf *conf, const struct conf_node *node,
			     const struct conf_option *option, void *record)
{
	struct config *config = record;

	config_set_path(conf, node, option, record);
	if (config->admin_socket && strlen(config->admin_socket) > MAX_SOCKET)
		conf_error(conf, node, "the path of a socket may have at most %d bytes",
			   MAX_SOCKET);
}

static void set_admin_address(struct conf *conf, const struct conf_node *node,
			      const struct conf_option *option, void *record)
{
	struct config *config = record;

	conf_set_address(conf, node, option, record);
	config->has_admin_address = config->admin_address.ss_family != AF_UNSPEC;
}

static bool is_word(const char *word, const char *allowed, size_t max)
{
	size_t len = strlen(word);

	return len && len <= max && strspn(word, allowed) == len;
}

/* The instance becomes the name of a folder in bpffs, where '.' is not allowed. */
static void set_instance(struct conf *conf, const struct conf_node *node,
			 const struct conf_option *option, void *record)
{
	struct config *config = record;

	conf_set_text(conf, node, option, record);
	if (config->instance &&
	    !is_word(config->instance,
		     "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-",
		     MAX_INSTANCE))
		conf_error(conf, node,
			   "'%.64s' is not a valid instance; use up to %d letters, digits, '_' and "
			   "'-'",
			   config->instance, MAX_INSTANCE);
}

static void set_key_prefix(struct conf *conf, const struct conf_node *node,
			   const struct conf_option *option, void *record)
{
	struct config *config = record;
	const char *prefix;

	conf_set_text(conf, node, option, record);
	prefix = config->key_prefix;
	if (prefix && (!is_word(prefix, "abcdefghijklmnopqrstuvwxyz0123456789_", MAX_PREFIX) ||
		       prefix[strlen(prefix) - 1] == '_'))
		conf_error(conf, node,
			   "'%.64s' is not a valid prefix; use up to %d characters of a-z, 0-9 and "
			   "'_', the last of which must not be '_'",
			   prefix, MAX_PREFIX);
}

static void set_listeners(struct conf *conf, const struct conf_node *node,
			  const struct conf_option *option, void *record)
{
	struct config *config = record;
	unsigned count;

	conf_set_records(conf, node, option, record);
	count = config->listener_count;
	if (!count && conf_list(conf, node) == 0)
		conf_error(conf, node, "at least one listener is needed");
}

static const struct conf_option admin_options[] = {
	{ .name = "socket",
	  .set = set_admin_socket,
	  .offset = offsetof(struct config, admin_socket),
	  .standard = DEFAULT_SOCKET },
	{ .name = "address",
	  .set = set_admin_address,
	  .offset = offsetof(struct config, admin_address) },
};

static const struct conf_schema admin_schema = { CONF_SCHEMA(admin_options), .noun = "admin" };

#define OPTION(text, setter, member, least, most, usual)                                  \
	{                                                                                 \
		.name = text, .set = (setter), .offset = offsetof(struct config, member), \
		.min = (least), .max = (most), .standard = (usual)                        \
	}
#define DURATION(text, member, least, most, usual) \
	OPTION(text, conf_set_duration, member, least, most, usual)
#define SIZE(text, member, least, most, usual) \
	OPTION(text, conf_set_size, member, least, most, usual)
#define NUMBER(text, member, least, most, usual) \
	OPTION(text, conf_set_u32, member, least, most, usual)

static const struct conf_option limits_options[] = {
	SIZE("head", limits.head_bytes, 1024, 1 << 20, "16k"),
	SIZE("body", limits.body_bytes, 0, 1ULL << 50, "1g"),
	DURATION("head_timeout", limits.head_ms, 1, DAY_MS, "10s"),
	DURATION("body_timeout", limits.body_ms, 1, DAY_MS, "30s"),
	DURATION("idle_timeout", limits.idle_ms, 1, DAY_MS, "75s"),
	DURATION("write_timeout", limits.write_ms, 1, DAY_MS, "30s"),
	NUMBER("max_requests", limits.max_requests, 0, UINT32_MAX, "0"),
	NUMBER("max_connections", limits.max_connections, 0, 1 << 24, "0"),
};

static const struct conf_schema limits_schema = { CONF_SCHEMA(limits_options), .noun = "limits" };

static const struct conf_word mode_words[] = {
	{ "auto", FASTPATH_AUTO },
	{ "native", FASTPATH_NATIVE },
	{ "generic", FASTPATH_GENERIC },
	{ "none", FASTPATH_NONE },
	{ NULL, 0 },
};

static const struct conf_word action_words[] = {
#define X(name, word) { word, TOLLGATE_ACTION_##name },
	TOLLGATE_ACTIONS(X)
#undef X
		{ NULL, 0 },
};

static const struct conf_option fastpath_options[] = {
	{ .name = "mode",
	  .set = conf_set_word,
	  .offset = offsetof(struct config, fastpath.mode),
	  .words = mode_words,
	  .standard = "auto" },
	{ .name = "action",
	  .set = conf_set_word,
	  .offset = offsetof(struct config, fastpath.action),
	  .words = action_words + 1, /* without `off`, which can only be set at run time */
	  .standard = "answer" },
	{ .name = "required",
	  .set = conf_set_bool,
	  .offset = offsetof(struct config, fastpath.required),
	  .standard = "false" },
	NUMBER("tolerance", fastpath.tolerance, 1, 1000000, "10"),
	DURATION("stale_after", fastpath.stale_after_ms, 2 * SECOND_MS, DAY_MS, "60s"),
	NUMBER("max_flows", fastpath.max_flows, 1, 1 << 24, "65536"),
	NUMBER("event_every", fastpath.event_every, 0, 1000000, "100"),
};

static const struct conf_schema fastpath_schema = { CONF_SCHEMA(fastpath_options),
						    .noun = "fastpath" };

static const struct conf_word log_words[] = {
	{ "error", LOG_LEVEL_ERROR },
	{ "warn", LOG_LEVEL_WARN },
	{ "info", LOG_LEVEL_INFO },
	{ "debug", LOG_LEVEL_DEBUG },
	{ NULL, 0 },
};

static const struct conf_word stale_words[] = { { "allow", false },
						{ "refuse", true },
						{ NULL, 0 } };

static void set_on_stale(struct conf *conf, const struct conf_node *node,
			 const struct conf_option *option, void *record)
{
	struct conf_option into = *option;
	struct config *config = record;
	unsigned refuse = false;

	into.offset = 0;
	conf_set_word(conf, node, &into, &refuse);
	config->refuse_when_stale = refuse;
}

static const struct conf_word counted_words[] = {
	{ "all", 600 },
	{ "below_500", 500 },
	{ "below_400", 400 },
	{ NULL, 0 },
};

#define RECORDS(text, setter, list, number, of)                                         \
	{                                                                               \
		.name = text, .set = (setter), .offset = offsetof(struct config, list), \
		.count_offset = offsetof(struct config, number), .schema = &(of)        \
	}

static const struct conf_option options[] = {
	{ .name = "store", .set = set_store },
	{ .name = "listeners",
	  .set = set_listeners,
	  .offset = offsetof(struct config, listeners),
	  .count_offset = offsetof(struct config, listener_count),
	  .schema = &listener_schema,
	  .is_required = true },
	{ .name = "admin", .set = conf_set_mapping, .schema = &admin_schema },
	RECORDS("upstreams", conf_set_records, upstreams, upstream_count, upstream_schema),
	RECORDS("tiers", conf_set_records, tiers.list, tiers.count, tier_schema),
	RECORDS("routes", conf_set_records, routes.list, routes.count, route_schema),
	{ .name = "trusted_proxies",
	  .set = config_set_cidrs,
	  .offset = offsetof(struct config, trusted_proxies),
	  .count_offset = offsetof(struct config, trusted_proxy_count) },
	{ .name = "limits", .set = conf_set_mapping, .schema = &limits_schema },
	NUMBER("workers", workers, 0, 1024, "0"),
	{ .name = "state_dir",
	  .set = config_set_path,
	  .offset = offsetof(struct config, state_dir),
	  .standard = "/var/lib/tollgate" },
	{ .name = "instance",
	  .set = set_instance,
	  .offset = offsetof(struct config, instance),
	  .standard = "default" },
	{ .name = "pepper_file",
	  .set = config_set_path,
	  .offset = offsetof(struct config, pepper_file) },
	{ .name = "user", .set = conf_set_name, .offset = offsetof(struct config, user) },
	{ .name = "log",
	  .set = conf_set_word,
	  .offset = offsetof(struct config, log),
	  .words = log_words,
	  .standard = "info" },
	{ .name = "key_prefix",
	  .set = set_key_prefix,
	  .offset = offsetof(struct config, key_prefix),
	  .standard = "tg_live" },
	NUMBER("max_accounts", max_accounts, 1, 1 << 22, "131072"),
	DURATION("redis_timeout", redis_timeout_ms, 50, 30 * SECOND_MS, "2s"),
	DURATION("max_stale", max_stale_ms, SECOND_MS, 3650 * DAY_MS, "15m"),
	{ .name = "on_stale", .set = set_on_stale, .words = stale_words, .standard = "allow" },
	DURATION("drain", drain_ms, 0, DAY_MS, "30s"),
	{ .name = "fastpath", .set = conf_set_mapping, .schema = &fastpath_schema },
	{ .name = "counted",
	  .set = conf_set_word,
	  .offset = offsetof(struct config, count_below),
	  .words = counted_words,
	  .standard = "below_500" },
	{ .name = "stripe", .set = conf_set_mapping, .schema = &stripe_schema },
	{ .name = "notices", .set = conf_set_mapping, .schema = &notices_schema },
};

const struct conf_schema config_schema = { CONF_SCHEMA(options), .noun = "the configuration" };

/* Set *@at to @format with @a, if it is NULL. False if out of memory. */
static bool fill(char **at, const char *format, const char *a)
{
	if (*at)
		return true;
	if (asprintf(at, format, a) < 0) {
		*at = NULL;
		return false;
	}
	return true;
}

/* Set defaults that depend on other options. 0 or -ENOMEM. */
static int fill_texts(struct config *config)
{
	bool ok = fill(&config->store, SQLITE_SCHEME "%s/tollgate.db", config->state_dir) &&
		  fill(&config->pepper_file, "%s/pepper", config->state_dir);

	config_tiers_fill(config);
	return ok ? config_stripe_fill(config) : -ENOMEM;
}

/* A self-service tier needs the pages, and a mail server for the links. 0 or -EINVAL. */
static int check_self_service(const struct config *config, const char *path, struct buf *messages)
{
	const char *missing = !config->stripe.app_url	     ? "stripe.app_url"
			      : !config->notices.smtp_server ? "notices.smtp"
							     : NULL;

	for (unsigned i = 0; missing && i < config->tiers.count; i++) {
		if (!config->tiers.list[i].is_self_service)
			continue;
		buf_printf(messages, "%s: self_service of tier '%s' needs the option %s\n", path,
			   config->tiers.list[i].name, missing);
		return -EINVAL;
	}
	return 0;
}

int config_parse(const char *path, struct text yaml, struct config **ret_config,
		 struct buf *messages)
{
	struct config *config = calloc(1, sizeof(*config));
	struct conf *conf = NULL;
	int err;

	if (!config)
		return -ENOMEM;
	err = conf_parse(path, yaml, messages, &conf);
	if (!err)
		err = conf_read(conf, &config_schema, config, config);
	conf_free(conf);
	if (!err)
		err = check_self_service(config, path, messages);
	if (!err)
		err = fill_texts(config);
	if (err) {
		config_free(config);
		return err;
	}
	routes_sort(&config->routes);
	*ret_config = config;
	return 0;
}

int config_read(const char *path, struct config **ret_config, struct buf *messages)
{
	struct buf content;
	int err;

	buf_init(&content, CONF_MAX_BYTES + 4096);
	err = conf_read_file(path, &content, messages);
	if (!err)
		err = config_parse(path, buf_text(&content), ret_config, messages);
	buf_done(&content);
	return err;
}

static void free_listener(struct config_listener *listener)
{
	free(listener->name);
	for (unsigned i = 0; i < listener->interface_count; i++)
		free(listener->interfaces[i]);
	free(listener->interfaces);
	free(listener->certificate);
	free(listener->private_key);
}

void config_free(struct config *config)
{
	if (!config)
		return;
	free(config->store);
	for (unsigned i = 0; i < config->listener_count; i++)
		free_listener(&config->listeners[i]);
	free(config->listeners);
	free(config->admin_socket);
	for (unsigned i = 0; i < config->upstream_count; i++) {
		free(config->upstreams[i].name);
		free(config->upstreams[i].servers);
	}
	free(config->upstreams);
	tiers_done(&config->tiers);
	routes_done(&config->routes);
	free(config->trusted_proxies);
	free(config->state_dir);
	free(config->instance);
	free(config->pepper_file);
	free(config->user);
	free(config->key_prefix);
	stripe_settings_done(&config->stripe);
	notice_settings_done(&config->notices);
	for (unsigned i = 0; i < sizeof(config->portal_paths) / sizeof(config->portal_paths[0]);
	     i++)
		free(config->portal_paths[i]);
	free(config);
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* The files of a certificate may differ, because a reload reads them again. */
static bool same_listener(const struct config_listener *a, const struct config_listener *b)
{
	if (!same_text(a->name, b->name) || !config_same_address(&a->address, &b->address) ||
	    !a->certificate != !b->certificate || a->interface_count != b->interface_count)
		return false;
	for (unsigned i = 0; i < a->interface_count; i++) {
		if (strcmp(a->interfaces[i], b->interfaces[i]))
			return false;
	}
	return true;
}

bool config_same_listeners(const struct config *a, const struct config *b)
{
	if (a->listener_count != b->listener_count)
		return false;
	for (unsigned i = 0; i < a->listener_count; i++) {
		if (!same_listener(&a->listeners[i], &b->listeners[i]))
			return false;
	}
	return true;
}

unsigned config_needs_restart(const struct config *old, const struct config *fresh,
			      struct buf *ret_names)
{
	const struct {
		const char *name;
		bool is_same;
	} rows[] = {
		{ "store", same_text(old->store, fresh->store) },
		{ "listeners", config_same_listeners(old, fresh) },
		{ "admin",
		  same_text(old->admin_socket, fresh->admin_socket) &&
			  config_same_address(&old->admin_address, &fresh->admin_address) },
		{ "limits", !memcmp(&old->limits, &fresh->limits, sizeof(old->limits)) },
		{ "workers", old->workers == fresh->workers },
		{ "state_dir", same_text(old->state_dir, fresh->state_dir) },
		{ "instance", same_text(old->instance, fresh->instance) },
		{ "pepper_file", same_text(old->pepper_file, fresh->pepper_file) },
		{ "user", same_text(old->user, fresh->user) },
		{ "key_prefix", same_text(old->key_prefix, fresh->key_prefix) },
		{ "max_accounts", old->max_accounts == fresh->max_accounts },
		{ "redis_timeout", old->redis_timeout_ms == fresh->redis_timeout_ms },
		{ "fastpath.mode", old->fastpath.mode == fresh->fastpath.mode },
		{ "fastpath.required", old->fastpath.required == fresh->fastpath.required },
		{ "fastpath.stale_after",
		  old->fastpath.stale_after_ms == fresh->fastpath.stale_after_ms },
		{ "fastpath.max_flows", old->fastpath.max_flows == fresh->fastpath.max_flows },
		{ "fastpath.event_every",
		  old->fastpath.event_every == fresh->fastpath.event_every },
	};
	unsigned count = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].is_same)
			continue;
		buf_printf(ret_names, "%s%s", count++ ? ", " : "", rows[i].name);
	}
	return count;
}
