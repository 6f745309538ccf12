// SPDX-License-Identifier: BSD-2-Clause
/*
 * The maps' pins: which maps outlive the agent, and when a pinned map is adopted.
 *
 * A connection that XDP has answered on must be translated until it ends, so flows, their records,
 * and the templates for repeating a lost answer are adopted. Maps that the agent fills again at
 * every start are created again; their pins only help an operator who uses bpftool.
 */
#include "fastpath/private.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "bpf/edge.skel.h"

enum keep {
	KEEP_ALWAYS,  /* if layout or size differ, fail: it holds what customers have used */
	KEEP_FITTING, /* if layout or size differ, create a new one */
	KEEP_NEVER,   /* always create a new one */
};

static const struct map_rule {
	const char *name;
	enum keep keep;
} map_rules[] = {
	{ "slots", KEEP_ALWAYS },	{ "settings", KEEP_ALWAYS },
	{ "sources", KEEP_FITTING },	{ "flows", KEEP_FITTING },
	{ "conns", KEEP_FITTING },	{ "templates", KEEP_FITTING },
	{ "listeners", KEEP_FITTING },	{ "counters", KEEP_FITTING },
	{ "hints", KEEP_NEVER },	{ "routes", KEEP_NEVER },
	{ "fingerprints", KEEP_NEVER }, { "events", KEEP_NEVER },
	{ "lists", KEEP_NEVER },
};

#define MAP_COUNT (sizeof(map_rules) / sizeof(map_rules[0]))

void fastpath_pin_name(char *ret_name, size_t size, const char *prefix, const char *name)
{
	snprintf(ret_name, size, "%s%s", prefix, name);
	for (char *c = ret_name; *c; c++)
		if (*c == '.' || *c == '/')
			*c = ',';
}

static void pin_path(const struct fastpath *fp, const char *map, char ret_path[PATH_MAX])
{
	snprintf(ret_path, PATH_MAX, "%s/%s", fp->pins, map);
}

static bool is_same_layout(const struct bpf_map *map, const struct bpf_map_info *info)
{
	return info->type == bpf_map__type(map) && info->key_size == bpf_map__key_size(map) &&
	       info->value_size == bpf_map__value_size(map) &&
	       info->map_flags == bpf_map__map_flags(map);
}

/* Use the map @fd as @map. -EEXIST if layout or size differ. */
static int adopt_fd(struct bpf_map *map, int fd, struct bpf_map_info *ret_info)
{
	unsigned size = sizeof(*ret_info);
	int err = bpf_obj_get_info_by_fd(fd, ret_info, &size);

	if (err)
		return err;
	if (!is_same_layout(map, ret_info) || ret_info->max_entries != bpf_map__max_entries(map))
		return -EEXIST;
	return bpf_map__reuse_fd(map, fd);
}

/* Name the pin by fp->dir: the path by descriptor means nothing to the operator. */
static int refuse_pinned(const struct fastpath *fp, const struct bpf_map *map,
			 const struct bpf_map_info *info, int err, char *ret_why, size_t why_size)
{
	if (err != -EEXIST)
		return fastpath_refuse(ret_why, why_size, err,
				       "cannot use the map pinned at %s/%s: %s", fp->dir,
				       bpf_map__name(map), strerror(-err));
	if (!is_same_layout(map, info))
		return fastpath_refuse(ret_why, why_size, err,
				       "the map pinned at %s/%s has another layout: remove the "
				       "directory, or choose another `instance`",
				       fp->dir, bpf_map__name(map));
	return fastpath_refuse(
		ret_why, why_size, err,
		"the maps pinned in %s were created for max_accounts %u, not %u: set it back, or "
		"stop tollgate, remove the directory and start it again",
		fp->dir, info->max_entries, bpf_map__max_entries(map));
}

static int adopt(struct fastpath *fp, const struct map_rule *rule, char *ret_why, size_t why_size)
{
	struct bpf_map *map = bpf_object__find_map_by_name(fp->skel->obj, rule->name);
	struct bpf_map_info info = { 0 };
	char path[PATH_MAX];
	int fd, err;

	pin_path(fp, rule->name, path);
	fd = rule->keep == KEEP_NEVER ? -ENOENT : bpf_obj_get(path);
	if (fd == -ENOENT) {
		fp->was_pinned = fp->was_pinned && rule->keep != KEEP_ALWAYS;
		return 0;
	}
	err = fd < 0 ? fd : adopt_fd(map, fd, &info);
	if (fd >= 0)
		close(fd); /* libbpf has duplicated it */
	if (err && (err != -EEXIST || rule->keep == KEEP_ALWAYS))
		return refuse_pinned(fp, map, &info, err, ret_why, why_size);
	if (!err)
		fp->adopted |= 1u << (rule - map_rules);
	return 0;
}

/* While connections of an earlier agent are left, their maps must be kept, and so max_flows. */
static uint32_t max_flows_for(const struct fastpath *fp, uint32_t wanted)
{
	struct bpf_map_info info = { 0 };
	struct tollgate_flow_key first;
	unsigned size = sizeof(info);
	char path[PATH_MAX];
	int fd;

	pin_path(fp, "flows", path);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return wanted;
	if (bpf_obj_get_info_by_fd(fd, &info, &size) == 0 &&
	    is_same_layout(fp->skel->maps.flows, &info) && info.max_entries != wanted &&
	    bpf_map_get_next_key(fd, NULL, &first) == 0) {
		log_warn("fast path: max_flows stays %u, because connections of an earlier agent "
			 "are left; restart once they are over",
			 info.max_entries);
		wanted = info.max_entries;
	}
	close(fd);
	return wanted;
}

int fastpath_maps_adopt(struct fastpath *fp, const struct fastpath_config *config, char *ret_why,
			size_t why_size)
{
	int err;

	fp->max_flows = max_flows_for(fp, config->max_flows);
	err = bpf_map__set_max_entries(fp->skel->maps.slots, config->max_accounts);
	if (!err)
		err = bpf_map__set_max_entries(fp->skel->maps.conns, fp->max_flows);
	if (!err)
		err = bpf_map__set_max_entries(fp->skel->maps.flows, fp->max_flows);
	if (!err)
		err = bpf_map__set_max_entries(fp->skel->maps.fingerprints, FASTPATH_KEYS);
	if (!err)
		err = bpf_map__set_max_entries(fp->skel->maps.templates,
					       FASTPATH_SETS * TOLLGATE_TEMPLATE_SET);
	if (err)
		return fastpath_refuse(ret_why, why_size, err, "cannot set the maps' sizes: %s",
				       strerror(-err));
	fp->was_pinned = true;
	for (size_t i = 0; i < MAP_COUNT && !err; i++)
		err = adopt(fp, &map_rules[i], ret_why, why_size);
	return err;
}

int fastpath_maps_pin(struct fastpath *fp, char *ret_why, size_t why_size)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < MAP_COUNT; i++) {
		struct bpf_map *map =
			bpf_object__find_map_by_name(fp->skel->obj, map_rules[i].name);

		if (fp->adopted & 1u << i)
			continue;
		pin_path(fp, map_rules[i].name, path);
		if (unlink(path) < 0 && errno != ENOENT)
			return fastpath_refuse(ret_why, why_size, -errno,
					       "cannot replace the pin %s/%s: %s", fp->dir,
					       map_rules[i].name, strerror(errno));
		if (bpf_obj_pin(bpf_map__fd(map), path) < 0)
			return fastpath_refuse(ret_why, why_size, -errno, "cannot pin %s/%s: %s",
					       fp->dir, map_rules[i].name, strerror(errno));
	}
	return 0;
}

void fastpath_maps_unpin(struct fastpath *fp)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < MAP_COUNT; i++) {
		pin_path(fp, map_rules[i].name, path);
		unlink(path);
	}
}
