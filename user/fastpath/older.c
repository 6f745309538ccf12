// SPDX-License-Identifier: BSD-2-Clause
/*
 * Taking interfaces over from a tollgate version with another layout of the maps.
 *
 * That agent has stopped, but its programs still translate the connections that they have answered
 * on, and our programs cannot read its maps. So its programs stay until the kernel has no socket
 * for any of those connections. Then we take the link over and replace the program, so that the
 * interface is never without one. After that we also remove that version's programs from interfaces
 * that we do not use, and its maps.
 */
#include "fastpath/private.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"

/* Find another layout's directory that holds @pin, and its name. False: there is none. */
static bool find_dir(const struct fastpath *fp, const char *pin, char ret_dir[PATH_MAX],
		     char ret_name[NAME_MAX + 1])
{
	const char *our_name = strrchr(fp->dir, '/') + 1;
	char path[2 * PATH_MAX];
	bool found = false;
	struct dirent *entry;
	DIR *dir = opendir(fp->instance_pins);

	while (dir && !found && (entry = readdir(dir))) {
		if (entry->d_name[0] != 'v' || !strcmp(entry->d_name, our_name))
			continue;
		snprintf(ret_name, NAME_MAX + 1, "%s", entry->d_name);
		snprintf(ret_dir, PATH_MAX, "%s/%s", fp->instance_pins, entry->d_name);
		snprintf(path, sizeof(path), "%s/%s", ret_dir, pin);
		found = access(path, F_OK) == 0;
	}
	if (dir)
		closedir(dir);
	return found;
}

static bool is_in_use(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool in_use = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;

	if (fd >= 0)
		close(fd);
	return in_use;
}

static int open_pin(const char *dir, const char *pin)
{
	char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, pin);
	return bpf_obj_get(path);
}

/* Delete the flows whose socket is gone from the map. Returns how many are left. */
static unsigned sweep_flows(const struct fastpath *fp, int flows_fd)
{
	struct tollgate_flow_key key, next;
	bool more = bpf_map_get_next_key(flows_fd, NULL, &next) == 0, is_waiting;
	unsigned left = 0;

	while (more) {
		key = next;
		more = bpf_map_get_next_key(flows_fd, &key, &next) == 0;
		if (fastpath_diag_find(fp->flows.diag_fd, &key, &is_waiting) == 0)
			bpf_map_delete_elem(flows_fd, &key);
		else
			left++;
	}
	return left;
}

/* How many connections its programs may still translate; UINT_MAX if we cannot read its map. */
static unsigned count_left(const struct fastpath *fp, const char *dir)
{
	struct bpf_map_info info = { 0 };
	unsigned size = sizeof(info), left = 0;
	int fd = open_pin(dir, "flows");

	if (fd < 0)
		return 0;
	if (bpf_obj_get_info_by_fd(fd, &info, &size) ||
	    info.key_size != sizeof(struct tollgate_flow_key))
		left = UINT_MAX;
	else
		left = sweep_flows(fp, fd);
	close(fd);
	return left;
}

bool fastpath_older_is_there(struct fastpath *fp, const char *link, char *ret_why, size_t why_size)
{
	uint64_t now_ns = clock_mono_ns();
	char dir[PATH_MAX], name[NAME_MAX + 1];
	unsigned left;

	if (!find_dir(fp, link, dir, name))
		return false;
	if (!fp->older_until_ns)
		fp->older_until_ns = now_ns + FASTPATH_WAIT_NS;
	if (is_in_use(dir)) {
		snprintf(ret_why, why_size, "another version of tollgate is running: %s/../%s",
			 fp->dir, name);
		return true;
	}
	left = count_left(fp, dir);
	if (!left || now_ns >= fp->older_until_ns)
		return false;
	snprintf(ret_why, why_size,
		 "another version's programs stay until their last connections are over: %s/../%s",
		 fp->dir, name);
	return true;
}

/* Once none of that layout's links is left, remove its maps' pins and its directory. */
static void remove_rest(const char *dir)
{
	char path[2 * PATH_MAX];
	struct dirent *entry;
	bool has_links = false;
	DIR *list = opendir(dir);

	while (list && (entry = readdir(list)))
		has_links |= fastpath_is_link(entry->d_name);
	if (list && !has_links) {
		rewinddir(list);
		while ((entry = readdir(list))) {
			snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
			unlink(path);
		}
		rmdir(dir);
	}
	if (list)
		closedir(list);
}

void fastpath_older_take_over(struct fastpath *fp, const char *link, const char *egress,
			      const char *our_path)
{
	char dir[PATH_MAX], name[NAME_MAX + 1], path[2 * PATH_MAX];
	int fd;

	if (!find_dir(fp, link, dir, name))
		return;
	snprintf(path, sizeof(path), "%s/%s", dir, link);
	fd = bpf_obj_get(path);
	if (fd >= 0) {
		/* fastpath_attach() finds it at our path, like a link of our own layout. */
		bpf_obj_pin(fd, our_path);
		close(fd);
	}
	unlink(path);
	snprintf(path, sizeof(path), "%s/%s", dir, egress);
	fd = bpf_obj_get(path);
	if (fd >= 0) {
		bpf_link_detach(fd);
		close(fd);
	}
	unlink(path);
	remove_rest(dir);
}

/* Find a link's pin in @dir whose interface has no port. */
static bool find_orphan(const struct fastpath *fp, const char *dir, char ret_path[2 * PATH_MAX])
{
	struct dirent *entry;
	bool found = false;
	DIR *list = opendir(dir);

	while (list && !found && (entry = readdir(list))) {
		if (!fastpath_is_link(entry->d_name) || fastpath_has_port_for(fp, entry->d_name))
			continue;
		snprintf(ret_path, 2 * PATH_MAX, "%s/%s", dir, entry->d_name);
		found = true;
	}
	if (list)
		closedir(list);
	return found;
}

static void remove_orphans(const struct fastpath *fp, const char *dir)
{
	char path[2 * PATH_MAX];

	while (find_orphan(fp, dir, path) && fastpath_remove_pin(path) == 0)
		;
}

/* Remove what is no longer needed of another layout. Returns whether anything is left of it. */
static bool sweep_dir(struct fastpath *fp, const char *dir)
{
	char path[2 * PATH_MAX];

	if (is_in_use(dir))
		return true;
	if (!fp->older_until_ns)
		fp->older_until_ns = clock_mono_ns() + FASTPATH_WAIT_NS;
	if (find_orphan(fp, dir, path) &&
	    (!count_left(fp, dir) || clock_mono_ns() >= fp->older_until_ns))
		remove_orphans(fp, dir);
	remove_rest(dir);
	return access(dir, F_OK) == 0;
}

void fastpath_older_sweep(struct fastpath *fp)
{
	const char *our_name = strrchr(fp->dir, '/') + 1;
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir = fp->has_older ? opendir(fp->instance_pins) : NULL;

	if (!dir)
		return;
	fp->has_older = false;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] != 'v' || !strcmp(entry->d_name, our_name))
			continue;
		snprintf(path, sizeof(path), "%s/%s", fp->instance_pins, entry->d_name);
		fp->has_older |= sweep_dir(fp, path);
	}
	closedir(dir);
}
