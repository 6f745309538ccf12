// SPDX-License-Identifier: BSD-2-Clause
/*
 * Detaching from interfaces that no listener names any more.
 *
 * Their links are found by their pins, because an earlier agent may have attached them. A
 * connection that XDP has answered on must be translated until it ends, on whatever interface its
 * packets arrive. Records do not say which interface that is, so an interface stays until all such
 * connections are over.
 */
#include "fastpath/private.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static bool has_prefix(const char *pin, const char *prefix)
{
	return !strncmp(pin, prefix, strlen(prefix));
}

/* Whether the pin belongs to a port; @prefix says what kind of pin it is. */
static bool is_ours(const struct fastpath *fp, const char *pin, const char *prefix)
{
	char name[NAME_MAX];

	for (unsigned i = 0; i < fp->port_count; i++) {
		fastpath_pin_name(name, sizeof(name), prefix, fp->ports[i].name);
		if (!strcmp(name, pin))
			return true;
	}
	return false;
}

bool fastpath_is_link(const char *pin)
{
	return has_prefix(pin, FASTPATH_LINK_PREFIX) || has_prefix(pin, FASTPATH_EGRESS_PREFIX);
}

bool fastpath_has_port_for(const struct fastpath *fp, const char *pin)
{
	return is_ours(fp, pin, FASTPATH_LINK_PREFIX) || is_ours(fp, pin, FASTPATH_EGRESS_PREFIX);
}

int fastpath_remove_pin(const char *path)
{
	int fd = bpf_obj_get(path);

	if (fd >= 0) {
		fastpath_egress_remove_filter(fastpath_link_ifindex(fd));
		bpf_link_detach(fd); /* unlink() alone does not detach if someone holds it open */
		close(fd);
	}
	return unlink(path);
}

/* The interface that the link is attached to. False if it is gone or has been renamed. */
static bool find_interface(const char *path, const char *pin, const char *prefix,
			   char ret_name[IF_NAMESIZE])
{
	int fd = bpf_obj_get(path), ifindex;
	char name[NAME_MAX];

	if (fd < 0)
		return false;
	ifindex = fastpath_link_ifindex(fd);
	close(fd);
	if (!ifindex || !if_indextoname(ifindex, ret_name))
		return false;
	fastpath_pin_name(name, sizeof(name), prefix, ret_name);
	return !strcmp(name, pin);
}

/*
 * For each pin with @prefix that no port stands for: if @may_stay, make its interface a leaving
 * port, else detach it at once.
 */
static int for_orphans(struct fastpath *fp, const char *prefix, bool may_stay)
{
	char name[IF_NAMESIZE], path[PATH_MAX];
	struct dirent *entry;
	DIR *dir = opendir(fp->pins);
	int err = 0;

	while (dir && !err && (entry = readdir(dir))) {
		if (!has_prefix(entry->d_name, prefix) || is_ours(fp, entry->d_name, prefix))
			continue;
		snprintf(path, sizeof(path), "%s/%s", fp->pins, entry->d_name);
		if (may_stay && find_interface(path, entry->d_name, prefix, name))
			err = fastpath_port_add(fp, name, true);
		else
			fastpath_remove_pin(path);
	}
	if (dir)
		closedir(dir);
	return err;
}

void fastpath_leave_orphans(struct fastpath *fp)
{
	for_orphans(fp, FASTPATH_LINK_PREFIX, false);
	for_orphans(fp, FASTPATH_EGRESS_PREFIX, false);
}

/*
 * Put our programs into the port's links. At XDP the generic one, whatever the mode: it translates
 * but answers nothing.
 */
static int update_port(struct fastpath *fp, struct fastpath_port *port)
{
	int ifindex = if_nametoindex(port->name), err;
	char path[PATH_MAX];

	port->ifindex = ifindex;
	err = ifindex ? fastpath_egress_attach(fp, port, ifindex) : -ENODEV;
	if (err)
		return err;
	fastpath_link_path(fp, port->name, path);
	port->link_fd = bpf_obj_get(path);
	if (port->link_fd < 0)
		return port->link_fd;
	err = bpf_link_update(port->link_fd, fastpath_generic_fd(fp), NULL);
	if (err)
		return err;
	port->shown.mode = fastpath_mode_of(ifindex);
	snprintf(port->shown.why, sizeof(port->shown.why),
		 "leaving: no listener names it; it stays until connections that XDP has "
		 "answered on are over");
	return 0;
}

static void remove_at(struct fastpath *fp, unsigned i)
{
	fastpath_port_remove(fp, &fp->ports[i]);
	fp->port_count--;
	memmove(&fp->ports[i], &fp->ports[i + 1], (fp->port_count - i) * sizeof(*fp->ports));
	for (unsigned j = i; j < fp->port_count; j++)
		fp->ports[j].shown.name = fp->ports[j].name;
}

int fastpath_leave_begin(struct fastpath *fp)
{
	int err = for_orphans(fp, FASTPATH_LINK_PREFIX, fastpath_flows_await(fp));

	if (err)
		return err;
	for_orphans(fp, FASTPATH_EGRESS_PREFIX, false);
	for (unsigned i = fp->port_count; i-- > 0;) {
		if (!fp->ports[i].is_leaving)
			continue;
		err = update_port(fp, &fp->ports[i]);
		if (err) {
			log_warn("fast path: interface %s is detached early, connections that XDP "
				 "has answered on may break: %s",
				 fp->ports[i].name, strerror(-err));
			remove_at(fp, i);
		}
	}
	fastpath_flows_await(fp); /* the old programs may have answered in the meantime */
	fp->leave_until_ns = clock_mono_ns() + FASTPATH_WAIT_NS;
	return 0;
}

void fastpath_leave_pass(struct fastpath *fp)
{
	uint32_t left = fastpath_flows_awaited(fp);

	if (left && clock_mono_ns() < fp->leave_until_ns)
		return;
	for (unsigned i = fp->port_count; i-- > 0;) {
		if (!fp->ports[i].is_leaving)
			continue;
		log_info("fast path: interface %s is detached; %u connections that XDP has "
			 "answered on are left",
			 fp->ports[i].name, left);
		remove_at(fp, i);
	}
	if (fp->has_old_ports && !left)
		fastpath_listens_enter_ports(fp);
}
