/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * route_options: the options of a route.
 *
 * Tiers and upstreams are read before routes, so the names that a route refers to can be looked up
 * at once.
 */
#include "config/parts.h"

#include <stdlib.h>
#include <string.h>

#define MAX_COST 1000000

static void set_route_path(struct conf *conf, const struct conf_node *node,
			   const struct conf_option *option, void *record)
{
	struct route *route = record;
	struct text t;

	if (!conf_text(conf, node, &t))
		return;
	if (!t.len || t.ptr[0] != '/') {
		conf_error(conf, node, "a path must begin with '/'");
	} else if (memchr(t.ptr, '?', t.len) || memchr(t.ptr, '#', t.len) ||
		   memchr(t.ptr, ' ', t.len) || !route_path_is_plain(t)) {
		conf_error(conf, node,
			   "'%.*s' can never match a request; use a path without query, '//', dot "
			   "segments and unnecessary escapes",
			   CONF_SHOWN(t));
	} else {
		conf_set_text(conf, node, option, record);
		route->path_len = t.len;
	}
}

static void set_route_upstream(struct conf *conf, const struct conf_node *node,
			       const struct conf_option *option, void *record)
{
	const struct config *config = conf_owner(conf);
	const char *names[CONF_MAX_ITEMS];
	struct route *route = record;
	size_t count = 0;
	struct text t;

	(void)option;
	if (!conf_text(conf, node, &t))
		return;
	for (unsigned i = 0; i < config->upstream_count; i++) {
		if (!config->upstreams[i].name)
			continue;
		if (text_is(t, config->upstreams[i].name)) {
			route->upstream = i;
			return;
		}
		names[count++] = config->upstreams[i].name;
	}
	conf_error_unknown(conf, node, "upstream", t, names, count);
}

static bool has_entitlements(const struct tiers *tiers)
{
	for (unsigned i = 0; i < tiers->count; i++) {
		if (tiers->list[i].uses_entitlements)
			return true;
	}
	return false;
}

/*
 * A feature that no tier has is an error, unless some tier takes features from Stripe's
 * entitlements.
 */
static void set_route_feature(struct conf *conf, const struct conf_node *node,
			      const struct conf_option *option, void *record)
{
	const struct config *config = conf_owner(conf);
	const struct tiers *tiers = &config->tiers;
	struct route *route = record;
	struct text t;

	(void)option;
	if (has_entitlements(tiers)) {
		route->feature = config_read_feature(conf, node);
		return;
	}
	if (!conf_text(conf, node, &t))
		return;
	for (unsigned i = 0; i < tiers->feature_count; i++) {
		if (text_is(t, tiers->features[i])) {
			route->feature = (int)i;
			return;
		}
	}
	conf_error_unknown(conf, node, "tier feature", t, (const char *const *)tiers->features,
			   tiers->feature_count);
}

/* "api.internal" or "api.internal:8080", which is sent in a header without escaping. */
static void set_route_host(struct conf *conf, const struct conf_node *node,
			   const struct conf_option *option, void *record)
{
	struct text t;

	if (!conf_text(conf, node, &t))
		return;
	for (size_t i = 0; i < t.len; i++) {
		if ((unsigned char)t.ptr[i] <= ' ' || (unsigned char)t.ptr[i] > '~' ||
		    strchr("/?#@,\\", t.ptr[i])) {
			conf_error(conf, node,
				   "'%.*s' is not a valid host; use for example api.internal:8080",
				   CONF_SHOWN(t));
			return;
		}
	}
	conf_set_text(conf, node, option, record);
}

/*
 * Report a cost that is higher than a tier's burst or quota, because such requests are always
 * refused.
 */
static void check_cost(struct conf *conf, const struct conf_node *cost, const struct route *route,
		       const struct tier *tier)
{
	if (route->feature >= 0 && !tier->uses_entitlements &&
	    !(tier->features & 1ULL << route->feature))
		return;
	if (tier->interval_ns && route->cost > tier->burst)
		conf_error(
			conf, cost,
			"the cost %u of route '%s' is higher than the burst %llu of tier '%s', so "
			"its requests would always be refused",
			route->cost, route->path, (unsigned long long)tier->burst, tier->name);
	else if (tier->quota && route->cost > tier->quota)
		conf_error(
			conf, cost,
			"the cost %u of route '%s' is higher than the quota %llu of tier '%s', so "
			"its requests would always be refused",
			route->cost, route->path, (unsigned long long)tier->quota, tier->name);
}

static void finish_route(struct conf *conf, const struct conf_node *mapping, void *record)
{
	const struct conf_node *feature = conf_find(conf, mapping, "feature");
	const struct conf_node *cost = conf_find(conf, mapping, "cost");
	const struct config *config = conf_owner(conf);
	const struct route *route = record;

	if (route->is_public) {
		if (feature)
			conf_error(conf, feature,
				   "a public route needs no key, so it cannot require a feature");
		if (cost)
			conf_error(conf, cost,
				   "a public route needs no key, so it cannot have a cost");
		return;
	}
	for (unsigned i = 0; i < config->tiers.count && cost; i++) {
		if (config->tiers.list[i].name)
			check_cost(conf, cost, route, &config->tiers.list[i]);
	}
}

static const struct conf_option route_options[] = {
	{ .name = "path",
	  .set = set_route_path,
	  .offset = offsetof(struct route, path),
	  .is_required = true,
	  .is_unique = true },
	{ .name = "upstream", .set = set_route_upstream, .is_required = true },
	{ .name = "feature", .set = set_route_feature },
	{ .name = "cost",
	  .set = conf_set_u32,
	  .offset = offsetof(struct route, cost),
	  .max = MAX_COST,
	  .standard = "1" },
	{ .name = "public",
	  .set = conf_set_bool,
	  .offset = offsetof(struct route, is_public),
	  .standard = "false" },
	{ .name = "cors",
	  .set = conf_set_bool,
	  .offset = offsetof(struct route, cors),
	  .standard = "false" },
	{ .name = "host", .set = set_route_host, .offset = offsetof(struct route, host) },
};

static const struct route initial_route = { .feature = -1 };

const struct conf_schema route_schema = {
	CONF_SCHEMA(route_options), .noun = "a route",	    .record_size = sizeof(struct route),
	.initial = &initial_route,  .finish = finish_route,
};
